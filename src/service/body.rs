//! What a finished tile is sent as: bytes, or counts that become the bytes of an array while they are sent.

use super::packed::PackedGrid;
use crate::encode::{NpyCounts, NpyDtype};
use bytes::Bytes;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum TileBody {
    Whole(Bytes),
    /// Packed, they are a tenth of their array, and shared with the cache of grids.
    Counts { grid: Arc<PackedGrid>, layout: NpyCounts },
}

impl TileBody {
    /// Counts as an array of NumPy's.
    pub fn npy(grid: Arc<PackedGrid>, dtype: NpyDtype) -> TileBody {
        let layout = grid.npy_layout(dtype);
        TileBody::Counts { grid, layout }
    }

    /// Bytes that are sent.
    pub fn len(&self) -> usize {
        match self {
            TileBody::Whole(bytes) => bytes.len(),
            TileBody::Counts { layout, .. } => layout.header().len() + layout.elements() * layout.element.bytes(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that it holds, for cache budgets.
    pub fn held_bytes(&self) -> usize {
        match self {
            TileBody::Whole(bytes) => bytes.len(),
            TileBody::Counts { grid, .. } => grid.bytes(),
        }
    }

    /// What is sent i-th; `None` after the last piece.
    pub fn piece(&self, i: usize) -> Option<Bytes> {
        match self {
            TileBody::Whole(bytes) => (i == 0).then(|| bytes.clone()),
            TileBody::Counts { grid, layout } => grid.npy_piece(layout, i),
        }
    }

    /// All of it at once, for those who keep bytes.
    pub fn bytes(&self) -> Bytes {
        match self {
            TileBody::Whole(bytes) => bytes.clone(),
            TileBody::Counts { .. } => {
                let mut bytes = Vec::with_capacity(self.len());
                (0..).map_while(|i| self.piece(i)).for_each(|piece| bytes.extend_from_slice(&piece));
                bytes.into()
            }
        }
    }
}

impl From<Bytes> for TileBody {
    fn from(bytes: Bytes) -> TileBody {
        TileBody::Whole(bytes)
    }
}
