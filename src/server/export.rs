//! Exports: rows that do not fit in memory, written by a thread of their own as fast as the client reads.

use super::{App, Problem};
use crate::engine::Cancel;
use crate::points::PointsQuestion;
use crate::service::Source;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Bytes of a piece, and pieces that may wait for the client: a megabyte an export.
const PIECE_BYTES: usize = 128 << 10;
const PIECES_MAX: usize = 8;

static EXPORTS: AtomicUsize = AtomicUsize::new(0);

/// An answer that is written while it is read. An error on the way breaks the connection off, so that nobody takes a part for
/// the whole.
///
/// # Errors
/// 503 where too many exports are under way.
pub fn streamed(app: &App, source: Arc<Source>, question: PointsQuestion) -> Result<Response, Problem> {
    let slot = Slot::taken(app.config().limits.exports)?;
    let (send, receive) = mpsc::channel(PIECES_MAX);
    let media_type = question.format.media_type();
    let spawned = std::thread::Builder::new().name("export".into()).spawn(move || {
        let _slot = slot;
        let mut sink = Pieces { send: send.clone(), pending: Vec::with_capacity(PIECE_BYTES) };
        let written = source.write_rows(&question, &Cancel::never(), &mut sink).map_err(io::Error::other);
        if let Err(error) = written.and_then(|()| sink.flush()) {
            // A client that has left is no fault; either way the channel is the one to tell.
            if send.blocking_send(Err(io::Error::other("the export failed"))).is_ok() {
                tracing::error!("an export failed: {error}");
            }
        }
    });
    spawned.map_err(|error| {
        tracing::error!("an export cannot start: {error}");
        Problem::lost()
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::new(Received(receive))).into_response())
}

/// One of the exports that there may be.
struct Slot;

impl Slot {
    fn taken(exports_max: usize) -> Result<Slot, Problem> {
        let taken = EXPORTS.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < exports_max).then_some(n + 1));
        taken.map(|_| Slot).map_err(|_| {
            let detail = format!("{exports_max} exports are under way, and there may be no more: try again later");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        EXPORTS.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Collects what is written into pieces, and waits where the client has enough of them.
struct Pieces {
    send: mpsc::Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(PIECE_BYTES));
        self.send.blocking_send(Ok(piece.into())).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// A body that comes through a channel. Dropped, because the client has left, it closes the channel.
pub struct Received(pub mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|result| result.map(Frame::data)))
    }
}
