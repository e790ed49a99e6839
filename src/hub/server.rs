//! The HTTP server: a thread with a runtime of its own, a bounded number of connections, none of them idle for ever.

use super::body::Watched;
use super::library::Library;
use super::{Access, Observer, answer};
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
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

/// More connections wait in the kernel until one of these ends.
const CONNECTIONS: usize = 256;
/// A connection on which nothing moves for this long is closed. Long enough for the largest demo image to be made.
const IDLE: Duration = Duration::from_secs(300);

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

async fn handle(
    State(server): State<Arc<Server>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let started = Instant::now();
    let (method, uri) = (request.method(), request.uri());
    let response = answer::answer(&server.library, method, uri, request.headers()).await;
    let access = Access {
        peer,
        method: method.to_string(),
        path: printable(uri.path()),
        status: response.status().as_u16(),
        bytes: 0,
        duration: Duration::ZERO,
    };
    let observer = server.observer.clone();
    response.map(|inner| Body::new(Watched { inner, access, started, observer }))
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

#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Limited>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> Self {
        Peer(*stream.remote_addr())
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
        (Connection { stream, _slot: slot, idle: Box::pin(tokio::time::sleep(IDLE)) }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails with `TimedOut` once nothing has been read or written for [`IDLE`].
struct Connection {
    stream: TcpStream,
    _slot: Option<OwnedSemaphorePermit>,
    idle: Pin<Box<Sleep>>,
}

impl Connection {
    fn watch<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.idle.as_mut().reset(tokio::time::Instant::now() + IDLE);
            return progress;
        }
        self.idle.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(cx, buffer);
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
