//! Answers that are made and not yet sent: their bytes are counted until clients have read them, for each client and for all, and beyond
//! a bound no more are given. Without it clients that ask for much and read nothing would fill the memory.
//!
//! What is counted are the bytes themselves: the last one who holds them, be it a connection's buffer, gives them back.

use super::clients::Refusal;
use super::sent::InPieces;
use super::{App, Problem};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Smaller answers are not counted: the kernel takes them at once, and a connection's own buffers are as large.
const SMALL_BYTES: u64 = 16 << 10;

/// One client may hold the bound divided by this, so that none alone keeps the others from their answers.
const CLIENT_SHARE: usize = 4;

/// Bytes that wait to be read.
#[derive(Clone, Default)]
pub struct Unread(Arc<AtomicUsize>);

/// Who reads an answer: one of all clients.
#[derive(Clone)]
pub struct Reader {
    own: Unread,
    all: Unread,
}

/// Bytes that count as unread for as long as anybody holds them.
struct Held {
    bytes: Bytes,
    reader: Reader,
}

/// The layer around the handlers.
pub async fn bound(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let reader = request.extensions().get::<Reader>().cloned();
    let response = next.run(request).await;
    // What has no length yet is written while it is read as well: its own writer waits for the client.
    let is_large = response.body().size_hint().exact().is_some_and(|bytes| bytes >= SMALL_BYTES);
    let is_whole = response.extensions().get::<InPieces>().is_none();
    let Some(reader) = reader.filter(|_| is_large && is_whole) else { return response };
    let (parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else { return Problem::lost().into_response() };
    let config = app.config();
    match reader.hold(bytes, config.limits.unread(config.cache.size).bytes()) {
        Ok(bytes) => Response::from_parts(parts, Body::from(bytes)),
        Err(refusal) => {
            app.service.metrics().shed("unread");
            Problem::from(refusal).into_response()
        }
    }
}

impl Reader {
    pub fn new(own: &Unread, all: &Unread) -> Reader {
        Reader { own: own.clone(), all: all.clone() }
    }

    /// Counts bytes until nobody holds them any more. Whoever has read enough gets an answer of any length, so no answer is too long for
    /// the bound: it is exceeded by one at most.
    ///
    /// # Errors
    /// This client, or all together, must read first.
    fn hold(self, bytes: Bytes, bytes_max: usize) -> Result<Bytes, Refusal> {
        let own_max = bytes_max / CLIENT_SHARE;
        let length = bytes.len();
        let own_before = self.own.0.fetch_add(length, Ordering::AcqRel);
        let all_before = self.all.0.fetch_add(length, Ordering::AcqRel);
        // From here on they are counted, and given back where they are refused and dropped at once.
        let held = Held { bytes, reader: self };
        match (own_before < own_max.max(1), all_before < bytes_max) {
            (true, true) => Ok(Bytes::from_owner(held)),
            (false, _) => Err(Refusal::ReadsTooLittle { bytes_max: own_max }),
            (true, false) => Err(Refusal::AllReadTooLittle { bytes_max }),
        }
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for counted in [&self.reader.own, &self.reader.all] {
            counted.0.fetch_sub(self.bytes.len(), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_until_nobody_holds_them() {
        let all = Unread::default();
        let readers: Vec<Reader> = (0..6).map(|_| Reader::new(&Unread::default(), &all)).collect();
        let hold = |reader: usize, length: usize| readers[reader].clone().hold(Bytes::from(vec![7; length]), 400);
        // A client's share is 100: what exceeds it is given to whoever has read enough, and no more after it.
        let first = hold(0, 150).unwrap();
        assert_eq!((first.len(), first[149]), (150, 7));
        assert_eq!(hold(0, 1), Err(Refusal::ReadsTooLittle { bytes_max: 100 }));
        let others: Vec<Bytes> = (1..4).map(|reader| hold(reader, 99).unwrap()).collect();
        assert_eq!(all.0.load(Ordering::Relaxed), 150 + 3 * 99);
        assert_eq!(hold(4, 1), Err(Refusal::AllReadTooLittle { bytes_max: 400 }));
        // A part of them is all of them.
        let part = first.slice(10..20);
        drop(first);
        assert_eq!(hold(0, 1), Err(Refusal::ReadsTooLittle { bytes_max: 100 }));
        drop(part);
        assert_eq!(hold(0, 1).map(|bytes| bytes.len()), Ok(1));
        drop(others);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
