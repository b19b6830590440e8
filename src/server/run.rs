//! Running the server: from a bound socket to a graceful end.

use super::{App, router};
use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::oneshot;

/// How long the server goes on accepting after it has said that it is not ready, so that balancers notice first.
const NOTICE: Duration = Duration::from_millis(500);

/// How long answers under way may take once the server has been told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot start the server: {0}")]
    Start(std::io::Error),
    #[error("the server stopped: {0}")]
    Stopped(std::io::Error),
}

/// Serves until the process is told to stop (Ctrl-C or SIGTERM), then drains: `/ready` turns 503, new connections are refused
/// a moment later, and answers under way are finished. Blocks. `on_ready` is called once requests are answered.
///
/// # Errors
/// The runtime cannot be started, or the socket fails.
pub fn serve(listener: TcpListener, app: Arc<App>, on_ready: impl FnOnce()) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError::Start)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Start)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Start)?;
        let stop = stop_signal().map_err(ServeError::Start)?;
        let (drain, draining) = oneshot::channel::<()>();
        let server = axum::serve(listener, router(app.clone()))
            // The sender is only dropped, never used, when the task below ends: either way it is time to drain.
            .with_graceful_shutdown(async move { drop(draining.await) });
        let server = tokio::spawn(server.into_future());
        on_ready();
        stop.await;
        tracing::info!("stopping: answers under way are finished");
        app.stop_being_ready();
        tokio::time::sleep(NOTICE).await;
        drop(drain);
        match tokio::time::timeout(DRAIN_MAX, server).await {
            Ok(Ok(result)) => result.map_err(ServeError::Stopped),
            Ok(Err(panic)) => Err(ServeError::Stopped(std::io::Error::other(panic))),
            Err(_) => {
                tracing::warn!("some connections were still open after {} s and are cut", DRAIN_MAX.as_secs());
                Ok(())
            }
        }
    })
}

/// Resolves at Ctrl-C or SIGTERM.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a signal to wait for, only the end of the process stops the server.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
