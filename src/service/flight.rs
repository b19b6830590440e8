//! Flights: requests under way. Equal ones share a flight, and a flight that everybody has left is cancelled.

use super::tile::TileKey;
use super::{Answer, Origin, ServiceError, lock};
use crate::engine::Cancel;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

pub type Reply = Box<dyn FnOnce(Result<Answer, ServiceError>) + Send>;

#[derive(Default)]
pub struct Flights {
    aloft: Mutex<HashMap<TileKey, Aloft>>,
    ids: AtomicU64,
}

struct Aloft {
    flight: u64,
    cancel: Cancel,
    waiting: Vec<(u64, Reply)>,
}

pub enum Boarding {
    /// The request is the first of its kind: whoever boarded it must see that the flight lands.
    First(Ticket, Flight),
    Joined(Ticket),
}

/// A request's right to an answer. Dropping it gives the right up.
#[must_use = "dropping the ticket cancels the request"]
pub struct Ticket {
    leave: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// The duty to land a flight. Dropped without having landed, it fails for everybody.
pub struct Flight {
    flights: Arc<Flights>,
    key: TileKey,
    id: u64,
    cancel: Cancel,
    has_landed: bool,
}

impl Flights {
    pub fn board(self: &Arc<Flights>, key: TileKey, deadline: Instant, reply: Reply) -> Boarding {
        let waiter = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut aloft = lock(&self.aloft);
        if let Some(joined) = aloft.get_mut(&key) {
            joined.waiting.push((waiter, reply));
            let flight = joined.flight;
            return Boarding::Joined(self.ticket(key, flight, waiter));
        }
        let cancel = Cancel::at(deadline);
        let id = waiter;
        aloft.insert(key, Aloft { flight: id, cancel: cancel.clone(), waiting: vec![(waiter, reply)] });
        let flight = Flight { flights: self.clone(), key, id, cancel, has_landed: false };
        Boarding::First(self.ticket(key, id, waiter), flight)
    }

    fn ticket(self: &Arc<Flights>, key: TileKey, flight: u64, waiter: u64) -> Ticket {
        let flights = self.clone();
        Ticket { leave: Some(Box::new(move || flights.leave(key, flight, waiter))) }
    }

    fn leave(&self, key: TileKey, flight: u64, waiter: u64) {
        let mut aloft = lock(&self.aloft);
        let Some(joined) = aloft.get_mut(&key).filter(|joined| joined.flight == flight) else { return };
        joined.waiting.retain(|(id, _)| *id != waiter);
        if joined.waiting.is_empty() {
            joined.cancel.cancel();
            // Removed now, so that whoever asks next does not join a flight that will not arrive.
            aloft.remove(&key);
        }
    }
}

impl Flight {
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Answers everybody who waits; the first as the flight's own, the others as joined.
    pub fn land(mut self, result: Result<Answer, ServiceError>) {
        self.answer(result);
    }

    fn answer(&mut self, result: Result<Answer, ServiceError>) {
        self.has_landed = true;
        let waiting = {
            let mut aloft = lock(&self.flights.aloft);
            match aloft.get(&self.key) {
                Some(joined) if joined.flight == self.id => aloft.remove(&self.key).map(|joined| joined.waiting),
                _ => None,
            }
        };
        for (waiter, reply) in waiting.into_iter().flatten() {
            let mut answer = result.clone();
            if let (Ok(answer), true) = (&mut answer, waiter != self.id) {
                answer.origin = Origin::Coalesced;
            }
            reply(answer);
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.has_landed {
            self.answer(Err(ServiceError::Internal("a request was given up by its thread".into())));
        }
    }
}

impl Ticket {
    /// A ticket whose drop cancels.
    pub fn cancelling(cancel: Cancel) -> Ticket {
        Ticket { leave: Some(Box::new(move || cancel.cancel())) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}
