//! Room for the next selection, made while nobody waits for it.
//!
//! A selection of 40 million points in five groups is 10 MB of new memory. A virtual machine's host takes back what is idle, and there to
//! touch 10 MB for the first time takes two to three times as long as the filter.

use crate::dataset::Part;
use crate::engine::bitmap::Ranks;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A smaller selection is not worth a thread.
const BYTES_MIN: usize = 1 << 20;

/// After a selection its tiles are counted, and both processors are theirs.
const REST: Duration = Duration::from_millis(200);

/// What the selection of a part is written to: words that are anything, ranks that are zeros.
pub(super) struct Room {
    pub words: Vec<u64>,
    /// Of all that are selected, then of each group that has its own.
    pub ranks: Vec<Ranks>,
}

/// Room for one selection, of the shape that was asked for last.
#[derive(Default)]
pub(super) struct Spare {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Of every part.
    rooms: Option<Vec<Room>>,
    is_coming: bool,
}

impl Room {
    fn new(points: usize, ranks: usize) -> Room {
        Room { words: vec![0; points.div_ceil(64)], ranks: (0..ranks).map(|_| Ranks::zeros(points)).collect() }
    }

    /// Has all of its memory.
    fn touched(mut self) -> Room {
        touch(&mut self.words, u64::MAX, 0);
        for ranks in &mut self.ranks {
            touch(&mut ranks.before, u32::MAX, 0);
            touch(&mut ranks.within, u64::MAX, 0);
        }
        self
    }

    fn bytes(&self) -> usize {
        self.words.len() * 8 + self.ranks.iter().map(Ranks::bytes).sum::<usize>()
    }
}

/// Zeros that are asked for are not there before something else has been written.
fn touch<T: Copy>(array: &mut [T], other: T, zero: T) {
    array.fill(other);
    std::hint::black_box(&mut *array).fill(zero);
}

impl Spare {
    /// Room for a selection with so many ranks a part; and has the next one made.
    pub(super) fn take(self: &Arc<Spare>, parts: &[Part], ranks: usize) -> Vec<Room> {
        let kept = self.lock().rooms.take();
        let fits = |rooms: &Vec<Room>| rooms.first().is_none_or(|room| room.ranks.len() == ranks);
        let rooms = kept.filter(fits).unwrap_or_else(|| rooms(&points_of(parts), ranks));
        self.prepare(parts, ranks);
        rooms
    }

    /// Has room made for a selection that may come.
    pub(super) fn prepare(self: &Arc<Spare>, parts: &[Part], ranks: usize) {
        let points = points_of(parts);
        let bytes: usize = points.iter().map(|points| points.div_ceil(64) * 8).sum();
        if bytes < BYTES_MIN || std::mem::replace(&mut self.lock().is_coming, true) {
            return;
        }
        let spare = Arc::downgrade(self);
        let made = std::thread::Builder::new().name("spare".into()).spawn(move || {
            std::thread::sleep(REST);
            // Nobody needs it where the engine has gone.
            let Some(spare) = spare.upgrade() else { return };
            let rooms: Vec<Room> = rooms(&points, ranks).into_iter().map(Room::touched).collect();
            tracing::trace!("room for a selection of {} bytes", rooms.iter().map(Room::bytes).sum::<usize>());
            *spare.lock() = Kept { rooms: Some(rooms), is_coming: false };
        });
        if let Err(error) = made {
            tracing::debug!("no thread for the next selection's room, which will take longer: {error}");
            self.lock().is_coming = false;
        }
    }

    /// What is behind the lock is whole at any time.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn points_of(parts: &[Part]) -> Vec<usize> {
    parts.iter().map(|part| part.rows() as usize).collect()
}

fn rooms(points: &[usize], ranks: usize) -> Vec<Room> {
    points.iter().map(|&points| Room::new(points, ranks)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_has_been_touched_is_zeros_of_the_shape_asked_for() {
        let room = Room::new(70_000, 3).touched();
        assert_eq!((room.words.len(), room.ranks.len(), room.bytes()), (1094, 3, 1094 * 8 + 3 * (138 * 4 + 137 * 8)));
        assert!(room.words.iter().all(|&word| word == 0));
        assert!(room.ranks.iter().all(|ranks| *ranks == Ranks::zeros(70_000)));
    }
}
