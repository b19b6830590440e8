//! Running the server: from bound sockets to a graceful end.
//!
//! axum's own `serve` waits for ever on a client that sends nothing, and takes as many as come. Here every wait ends and every
//! number has a bound: connections, the head of a request, its body [guard], and an answer that nobody reads [stall].

use super::asker::Peer;
use super::prefix::Prefix;
use super::stall::Watched;
use super::tls::Certificate;
use super::{App, files, admin_router, router};
use crate::config::Limits;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

/// After an error of the listening socket, such as too many open files: time for some to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Requests of one HTTP/2 connection under way: a map on a large screen asks for fewer tiles.
const STREAMS_MAX: u32 = 128;

/// What a client that finds all connections taken is told: nothing is allocated for it.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

#[derive(Debug, Error)]
pub enum ServeError {
    #[error("cannot start the server: {0}")]
    Start(std::io::Error),
    #[error("the server stopped: {0}")]
    Stopped(std::io::Error),
}

/// Bound sockets.
pub struct Listeners {
    pub public: TcpListener,
    pub admin: Option<TcpListener>,
}

/// Serves until the process is told to stop (Ctrl-C or SIGTERM), then drains: `/ready` turns 503, new connections are refused
/// a moment later, and answers under way are finished. SIGHUP reloads. Blocks. `on_ready` is called once requests are answered.
///
/// # Errors
/// The runtime cannot be started, or a socket fails.
pub fn serve(listeners: Listeners, app: Arc<App>, on_ready: impl FnOnce()) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Start)?;
    runtime.block_on(async {
        let limits = app.config().limits.clone();
        let mut signals = Signals::new().map_err(ServeError::Start)?;
        let (stop, stopping) = watch::channel(());
        let door = |listener: TcpListener, routes: Router, connections_max: usize| {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let connections = Arc::new(Semaphore::new(connections_max));
            Ok(Door { listener, routes, connections, limits: limits.clone(), app: app.clone(), tls: None, prefix: Prefix::new(None) })
        };
        let mut public = door(listeners.public, router(app.clone()), limits.connections()).map_err(ServeError::Start)?;
        public.tls = app.certificate.as_ref().map(Certificate::acceptor);
        public.prefix = Prefix::new(app.config().route_prefix.as_deref());
        let admin = match listeners.admin {
            // Its own connections, so that it can be reached while all others are taken.
            Some(listener) => Some(door(listener, admin_router(app.clone()), ADMIN_CONNECTIONS_MAX).map_err(ServeError::Start)?),
            None => None,
        };
        crate::dataset::survive_cut_files();
        let mut doors = tokio::task::JoinSet::new();
        for door in [Some(public), admin].into_iter().flatten() {
            doors.spawn(door.answer(stopping.clone()));
        }
        tokio::spawn(rest_when_idle(app.clone()));
        tokio::spawn(files::watch(app.clone()));
        let watching = Some(app.config().datasets.watch.0).filter(|interval| !interval.is_zero());
        let watching = watching.map(|interval| tokio::spawn(watch_datasets(app.clone(), interval)));
        on_ready();
        while signals.next().await == Signal::Reload {
            let app = app.clone();
            // A failure is logged where it happens; what is served stays as it was.
            let _ = tokio::task::spawn_blocking(move || app.reload()).await;
        }
        if let Some(watching) = watching {
            watching.abort();
        }
        tracing::info!("stopping: answers under way are finished");
        app.stop_being_ready();
        tokio::time::sleep(limits.drain_notice.0).await;
        drop(stop);
        let drained = async { while doors.join_next().await.is_some() {} };
        if tokio::time::timeout(limits.drain_timeout.0, drained).await.is_err() {
            tracing::warn!("some connections were still open after {} and are cut", limits.drain_timeout);
        }
        Ok(())
    })
}

/// Looks from time to time which datasets nobody asks for, for as long as the server runs.
async fn rest_when_idle(app: Arc<App>) {
    loop {
        let idle = app.config().datasets.idle;
        let pause = idle.map_or(IDLE_LOOK_MAX, |idle| (idle.0 / 4).clamp(IDLE_LOOK_MIN, IDLE_LOOK_MAX));
        tokio::time::sleep(pause).await;
        if let Some(idle) = idle {
            let app = app.clone();
            // It logs what it does, and what it cannot.
            let _ = tokio::task::spawn_blocking(move || app.rest(idle.0)).await;
        }
    }
}

/// Looks again and again whether datasets have new versions. What goes wrong is said once, and not every time.
async fn watch_datasets(app: Arc<App>, interval: Duration) {
    let mut said = String::new();
    loop {
        tokio::time::sleep(interval).await;
        let app = app.clone();
        let Ok(Err(error)) = tokio::task::spawn_blocking(move || app.refresh()).await else { continue };
        let error = error.to_string();
        if error != said {
            tracing::warn!("a new version of a dataset cannot be served, and the former one stays: {error}");
            said = error;
        }
    }
}

/// A look costs nothing to speak of, and an idle time is minutes.
const IDLE_LOOK_MAX: Duration = Duration::from_secs(15);
const IDLE_LOOK_MIN: Duration = Duration::from_millis(100);

/// Connections to `/admin`: some people, and a Prometheus.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A listening socket and what answers behind it.
struct Door {
    listener: tokio::net::TcpListener,
    routes: Router,
    connections: Arc<Semaphore>,
    limits: Limits,
    app: Arc<App>,
    tls: Option<TlsAcceptor>,
    prefix: Prefix,
}

impl Door {
    /// Accepts until it is told to stop; ends when all answers have been given.
    async fn answer(self, mut stopping: watch::Receiver<()>) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                // The sender is only ever dropped.
                _ = stopping.changed() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(permit) = self.connections.clone().try_acquire_owned() else {
                self.app.service.metrics().shed("connections");
                // Nobody waits for a client here: what does not fit into the socket at once is not said, nor is anything in TLS.
                if self.tls.is_none() {
                    let _ = stream.try_write(FULL);
                }
                continue;
            };
            let connection = self.connection(stream, address, graceful.watcher());
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        watcher: Watcher,
    ) -> impl Future<Output = ()> + Send + 'static {
        let limits = &self.limits;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_timeout.0)
            .max_buf_size(limits.head.bytes());
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.head_timeout.0)
            .keep_alive_timeout(limits.stall_timeout.0)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(limits.head.0).unwrap_or(u32::MAX));
        let (head_timeout, stall_timeout) = (limits.head_timeout.0, limits.stall_timeout.0);
        let routes = TowerToHyperService::new(self.routes.clone());
        let (tls, prefix) = (self.tls.clone(), self.prefix.clone());
        async move {
            // Tiles are written whole: waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let stream = Watched::new(stream, head_timeout, stall_timeout);
            let Some(tls) = tls else {
                let peer = Peer { address, scheme: "http" };
                return spoken(stream, builder, routes, prefix, peer, watcher).await;
            };
            match tokio::time::timeout(head_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => spoken(stream, builder, routes, prefix, Peer { address, scheme: "https" }, watcher).await,
                Ok(Err(error)) => tracing::debug!(%address, "no TLS came about: {error}"),
                Err(_) => tracing::debug!(%address, "TLS did not come about in time"),
            }
        }
    }
}

/// HTTP over one connection, to its end.
async fn spoken(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    builder: Builder<TokioExecutor>,
    routes: TowerToHyperService<Router>,
    prefix: Prefix,
    peer: Peer,
    watcher: Watcher,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        prefix.take_off(&mut request);
        routes.call(request.map(Body::new))
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(address = %peer.address, "a connection ended early: {error}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Stop,
    Reload,
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.hangup.recv() => Signal::Reload,
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

    async fn next(&mut self) -> Signal {
        // Without a signal to wait for, only the end of the process stops the server.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Stop
    }
}
