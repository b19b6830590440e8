//! Connections that stand still are cut off: one that sends nothing from the start, and one whose other end reads nothing of an
//! answer.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Until so many bytes have come it is not known which HTTP is spoken: the length of HTTP/2's preface. From then on the
/// protocol has timeouts of its own for heads, and handlers for bodies.
const PREFACE_BYTES: usize = 24;

pub struct Watched<S> {
    stream: S,
    bytes_read: usize,
    /// By when the preface must have come.
    preface: Pin<Box<Sleep>>,
    stall_timeout: Duration,
    /// Runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, preface_timeout: Duration, stall_timeout: Duration) -> Watched<S> {
        let preface = Box::pin(sleep_until(Instant::now() + preface_timeout));
        Watched { stream, bytes_read: 0, preface, stall_timeout, stalled: None }
    }

    /// What a write came to; with an error where the other end has taken nothing for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + timeout)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bytes_read = self.bytes_read.saturating_add(buffer.filled().len() - before);
        if outcome.is_pending() && self.bytes_read < PREFACE_BYTES && self.preface.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(3600);

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn who_sends_nothing_is_cut_off_and_who_has_sent_is_not() {
        run(async {
            let (mut client, server) = duplex(64);
            let mut server = Watched::new(server, SHORT, LONG);
            client.write_all(b"GET").await.unwrap();
            let mut bytes = Vec::new();
            let cut = server.read_to_end(&mut bytes).await.unwrap_err();
            assert_eq!((cut.kind(), &bytes[..]), (io::ErrorKind::TimedOut, &b"GET"[..]));

            let (mut client, server) = duplex(64);
            let mut server = Watched::new(server, SHORT, LONG);
            let late = async {
                client.write_all(&[b'x'; PREFACE_BYTES]).await.unwrap();
                tokio::time::sleep(3 * SHORT).await;
                client.write_all(b"y").await.unwrap();
                drop(client);
            };
            let mut bytes = Vec::new();
            let (read, ()) = tokio::join!(server.read_to_end(&mut bytes), late);
            assert_eq!(read.unwrap(), PREFACE_BYTES + 1);
        });
    }

    #[test]
    fn who_reads_nothing_is_cut_off_and_who_reads_slowly_is_not() {
        run(async {
            let (client, server) = duplex(64);
            let mut server = Watched::new(server, LONG, SHORT);
            let cut = server.write_all(&[0; 1000]).await.unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::TimedOut);
            drop(client);

            let (mut client, server) = duplex(64);
            let mut server = Watched::new(server, LONG, 3 * SHORT);
            let slowly = async {
                let mut bytes = [0; 64];
                let mut read = 0;
                while read < 640 {
                    tokio::time::sleep(SHORT).await;
                    read += client.read(&mut bytes).await.unwrap();
                }
            };
            let (written, ()) = tokio::join!(server.write_all(&[0; 640]), slowly);
            written.unwrap();
        });
    }
}
