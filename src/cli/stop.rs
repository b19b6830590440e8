//! Ctrl-C and SIGTERM, for commands that end in good order.

use super::Partial;
use std::time::Duration;

/// What a command that has been told to stop may still take before it gives up what is under way, and then for its last steps: ten
/// seconds in all, less what a busy machine takes to notice.
pub const DRAIN_MAX: Duration = Duration::from_secs(8);
const LAST_STEPS_MAX: Duration = Duration::from_millis(1500);

/// As shells report a program that was ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Calls `on_stop` when the process is told to stop, and `on_overdue` when [`DRAIN_MAX`] is over then. What cannot be given up, a
/// store or a disk that takes its time, ends with the process. Told again, it ends at once.
///
/// # Errors
/// The process cannot be told.
pub fn at_signal(on_stop: impl FnOnce() + Send + 'static, on_overdue: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("stop".into()).spawn(move || {
        runtime.block_on(async {
            let mut signals = match Signals::new() {
                Ok(signals) => signals,
                Err(error) => return drop(ready.send(Err(error))),
            };
            drop(ready.send(Ok(())));
            signals.next().await;
            on_stop();
            let overdue = async {
                tokio::time::sleep(DRAIN_MAX).await;
                on_overdue();
                tokio::time::sleep(LAST_STEPS_MAX).await;
                eprintln!("stopped amid what cannot be given up: nothing bears its name that is not whole, and --resume goes on");
                std::process::exit(Partial::EXIT_CODE.into());
            };
            tokio::select! {
                () = signals.next() => std::process::exit(INTERRUPTED),
                () = overdue => {}
            }
        });
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(std::io::Error::other("the thread that waits for signals has ended")))
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
