//! The HTTP server: a thread with a runtime of its own, a bounded number of connections, none of them idle forever.

use super::answer;
use super::body::Watched;
use super::library::Library;
use super::observer::{Access, Busy, Observer, Report};
use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

/// More connections wait in the kernel until one of these ends.
const CONNECTIONS: usize = 256;
/// A connection on which nothing moves is closed after this time when no request is under way …
const IDLE: Duration = Duration::from_secs(60);
/// … and after this one during a request: long enough for the largest demo image to be made.
const STALLED: Duration = Duration::from_secs(600);

/// How a connection of HTTP/2 begins. `axum` would take it, since the clients of this program link HTTP/2; but the
/// limits here are those of connections with one request at a time.
const HTTP2: &[u8] = b"PRI ";

struct Server {
    library: Arc<Library>,
    observer: Option<Observer>,
}

/// Serves until `stop` is sent or dropped; transfers under way are cut off.
pub(super) async fn run(
    listener: TcpListener,
    library: Arc<Library>,
    observer: Option<Observer>,
    stop: oneshot::Receiver<()>,
) -> io::Result<()> {
    let app = Router::new().fallback(handle).with_state(Arc::new(Server { library, observer }));
    let listener = Limited { listener, slots: Arc::new(Semaphore::new(CONNECTIONS)) };
    let service = app.into_make_service_with_connect_info::<Peer>();
    tokio::select! {
        result = axum::serve(listener, service).into_future() => result,
        _ = stop => Ok(()),
    }
}

async fn handle(State(server): State<Arc<Server>>, ConnectInfo(peer): ConnectInfo<Peer>, request: Request) -> Response {
    let (method, uri) = (request.method(), request.uri());
    let access = Access {
        peer: peer.addr,
        method: method.to_string(),
        path: printable(uri.path()),
        status: 0,
        bytes: 0,
        duration: Duration::ZERO,
    };
    let observer = server.observer.clone();
    let mut report = Report::new(access, observer, Busy::new(&peer.requests));
    let response = answer::answer(&server.library, method, uri, request.headers()).await;
    report.access.status = response.status().as_u16();
    response.map(|inner| Body::new(Watched { inner, report }))
}

/// A path as it may go to a terminal: plain ASCII, not endless.
fn printable(path: &str) -> String {
    const MOST: usize = 300;
    let plain = |c: char| if c.is_ascii_graphic() { c.to_string() } else { c.escape_unicode().to_string() };
    let mut shown: String = path.chars().take(MOST).map(plain).collect();
    if path.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// What a request knows of its connection.
#[derive(Clone)]
struct Peer {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        Peer { addr: *stream.remote_addr(), requests: Arc::clone(&stream.io().requests) }
    }
}

/// Accepts while fewer than [`CONNECTIONS`] are open.
struct Limited {
    listener: TcpListener,
    slots: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        // Without it a small answer can wait 40 ms for an acknowledgement; a failure costs no more than that.
        let _ = stream.set_nodelay(true);
        let timer = Box::pin(tokio::time::sleep(IDLE));
        let connection =
            Connection { stream, _slot: slot, requests: Arc::default(), moved: Instant::now(), timer, http2: Some(0) };
        (connection, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails with `TimedOut` once nothing has been read or written for [`IDLE`] or [`STALLED`].
struct Connection {
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    /// Requests under way.
    requests: Arc<AtomicUsize>,
    /// When something was read or written last.
    moved: Instant,
    /// Fires at or before the time to give up; only then is it set again, which is cheaper than at every read.
    timer: Pin<Box<Sleep>>,
    /// How many bytes of [`HTTP2`] have come, as long as nothing else has.
    http2: Option<usize>,
}

impl Connection {
    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.moved = Instant::now();
            return progress;
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            let patience = if self.requests.load(Ordering::Relaxed) > 0 { STALLED } else { IDLE };
            let end = self.moved + patience;
            if Instant::now() >= end {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // Not beyond IDLE: the request may end sooner than STALLED.
            self.timer.as_mut().reset(end.min(Instant::now() + IDLE).into());
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let progress = Pin::new(&mut self.stream).poll_read(cx, buffer);
        for byte in &buffer.filled()[before..] {
            let Some(seen) = self.http2 else { break };
            self.http2 = (*byte == HTTP2[seen]).then_some(seen + 1);
            if self.http2 == Some(HTTP2.len()) {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        self.watch(cx, progress)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, data);
        self.watch(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.watch(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
