//! A server whose every byte the test decides.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use trace_run::digest::Digest;
use trace_run::registry::ImageRef;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
    /// Which connection, counted from 0.
    pub connection: usize,
    /// How many requests for the same target came before.
    pub nth: usize,
}

/// What to answer.
pub enum Reply {
    Http(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then the end of the connection.
    Close(Vec<u8>),
    /// These bytes, then nothing for ever.
    Hang(Vec<u8>),
    /// These bytes, then these again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// A proper response, after which the connection is closed without saying so.
    ThenClose(u16, Vec<u8>),
    /// A proper response whose body comes in pieces of this size with a pause after each.
    Paced(&'static str, Vec<u8>, usize, Duration),
}

pub fn ok(content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
    Reply::Http(200, vec![("Content-Type", content_type.to_owned())], body.into())
}

pub fn status(status: u16) -> Reply {
    Reply::Http(status, vec![], vec![])
}

pub struct Server {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_with(None, handler).await
    }

    pub async fn start_with(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, handler) = (Arc::clone(&seen), Arc::new(handler));
        tokio::spawn(async move {
            for connection in 0.. {
                let (tcp, _) = listener.accept().await.unwrap();
                let (log, handler, tls) = (Arc::clone(&log), Arc::clone(&handler), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, connection, &log, &*handler).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, connection, &log, &*handler).await;
                            }
                        }
                    }
                });
            }
        });
        Server { address, seen }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        self.seen().iter().map(|s| s.connection + 1).max().unwrap_or(0)
    }

    /// Without a runtime of the test's own: served by a thread until the test program ends.
    pub fn in_background(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
        Server::in_background_with(None, handler)
    }

    pub fn in_background_with(
        tls: Option<TlsAcceptor>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                send.send(Server::start_with(tls, handler).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    }

    pub fn image(&self, name: &str) -> ImageRef {
        ImageRef::parse(&format!("{}/{name}", self.address)).unwrap()
    }
}

async fn serve<S>(mut stream: S, connection: usize, log: &Mutex<Vec<Seen>>, handler: &(dyn Fn(&Seen) -> Reply + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        };
        let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first}") };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers: HashMap<String, String> = HashMap::new();
        for (name, value) in lines.filter_map(|l| l.split_once(": ")) {
            let all = headers.entry(name.to_ascii_lowercase()).or_default();
            // Lines of one name stay lines.
            *all = if all.is_empty() { value.to_owned() } else { format!("{all}\n{value}") };
        }
        let length = headers.get("content-length").map_or(0, |l| l.parse::<usize>().unwrap());
        while buffer.len() < length {
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(n) if n > 0 => buffer.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        }
        let body = buffer.drain(..length).collect();
        let seen = {
            let mut log = log.lock().unwrap();
            let nth = log.iter().filter(|s| s.target == target).count();
            log.push(Seen { method, target, headers, body, connection, nth });
            log.last().unwrap().clone()
        };
        match handler(&seen) {
            Reply::Http(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} X\r\n");
                for (name, value) in &headers {
                    head += &format!("{name}: {value}\r\n");
                }
                if !headers.iter().any(|(n, _)| *n == "Content-Length") {
                    head += &format!("Content-Length: {}\r\n", body.len());
                }
                let mut out = (head + "\r\n").into_bytes();
                out.extend(body);
                if stream.write_all(&out).await.is_err() {
                    return;
                }
            }
            Reply::ThenClose(status, body) => {
                let mut out = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
                out.extend(body);
                let _ = stream.write_all(&out).await;
                // As a server that waited long enough for the next request.
                tokio::time::sleep(Duration::from_millis(1)).await;
                return;
            }
            Reply::Paced(content_type, body, piece, pause) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n");
                if stream.write_all(head.as_bytes()).await.is_err() {
                    return;
                }
                for piece in body.chunks(piece) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                }
            }
            Reply::Close(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::Hang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.flush().await;
                std::future::pending::<()>().await;
            }
            Reply::Endless(first, again) => {
                let _ = stream.write_all(&first).await;
                while stream.write_all(&again).await.is_ok() {}
                return;
            }
        }
    }
}

pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A descriptor of these bytes.
pub fn describe(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// A port that lets no connection through, as behind a firewall that drops: it listens, and its queue is full.
pub struct Silence {
    pub address: std::net::SocketAddr,
    _held: (std::net::TcpListener, Vec<std::net::TcpStream>),
}

impl Silence {
    pub fn new() -> Silence {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut full = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300)) {
            full.push(stream);
            assert!(full.len() < 16, "the queue does not fill");
        }
        Silence { address, _held: (listener, full) }
    }
}
