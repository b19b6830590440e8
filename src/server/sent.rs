//! Tiles on their way to a client: arrays of counts are written piece by piece, as fast as the client reads.

use crate::service::TileBody;
use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Marks an answer whose bytes are made as they are sent: of it no more than a piece waits for its client.
#[derive(Clone)]
pub struct InPieces;

/// What a tile is sent as.
pub fn body_of(tile: &TileBody) -> (Option<Extension<InPieces>>, Body) {
    match tile {
        TileBody::Whole(bytes) => (None, Body::from(bytes.clone())),
        TileBody::Counts { .. } => {
            (Some(Extension(InPieces)), Body::new(Pieces { bytes_left: tile.len() as u64, tile: tile.clone(), next: 0 }))
        }
    }
}

struct Pieces {
    tile: TileBody,
    next: usize,
    bytes_left: u64,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.tile.piece(self.next);
        self.next += 1;
        self.bytes_left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    /// So that the length is said before the body comes.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}
