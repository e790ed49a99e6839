//! A server whose every byte the test decides, an image for it to serve, and a recorder around the client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use trace_run::digest::Digest;
use trace_run::names::span;
use trace_run::record::model::{Attributes, Span, Trace};
use trace_run::record::{Recorder, Stage};
use trace_run::registry::{Client, ImageRef, Options, Origin, Platform, RegistryError, Resolved};
use trace_run::stage;

/// A request that came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub target: String,
    pub headers: HashMap<String, String>,
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
        assert!(first.starts_with("GET ") && first.ends_with(" HTTP/1.1"), "{first}");
        let target = first.split(' ').nth(1).unwrap().to_owned();
        let headers =
            lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned())).collect();
        let seen = {
            let mut log = log.lock().unwrap();
            let nth = log.iter().filter(|s| s.target == target).count();
            log.push(Seen { target, headers, connection, nth });
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

/// An image of one layer for amd64, in an index.
#[derive(Clone)]
pub struct Image {
    pub layer: Vec<u8>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
    pub index: Vec<u8>,
}

impl Image {
    pub fn new() -> Image {
        let layer: Vec<u8> =
            (0..300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"tar").to_string()]}});
        let config = config.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config), "layers": [describe(LAYER, &layer)]});
        let manifest = manifest.to_string().into_bytes();
        let mut entry = describe(MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string().into_bytes();
        Image { layer, config, manifest, index }
    }

    /// The right answer to a request for `app:latest` of any repository.
    pub fn serve(&self, seen: &Seen) -> Reply {
        let last = seen.target.rsplit('/').next().unwrap();
        for (body, media_type) in [
            (&self.index, INDEX),
            (&self.manifest, MANIFEST),
            (&self.config, "application/octet-stream"),
            (&self.layer, "application/octet-stream"),
        ] {
            if last == Digest::of(body).to_string() {
                return ok(media_type, body.clone());
            }
        }
        if last == "latest" {
            let headers = vec![
                ("Content-Type", INDEX.to_owned()),
                ("Docker-Content-Digest", Digest::of(&self.index).to_string()),
            ];
            return Reply::Http(200, headers, self.index.clone());
        }
        Reply::Http(
            404,
            vec![("Content-Type", "application/json".into())],
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#.to_vec(),
        )
    }
}

pub fn describe(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

pub fn is_index(seen: &Seen) -> bool {
    seen.target.ends_with("/manifests/latest")
}

pub fn is_blob_of(seen: &Seen, bytes: &[u8]) -> bool {
    seen.target.ends_with(&format!("/blobs/{}", Digest::of(bytes)))
}

pub fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

/// A client inside a recorded `image.pull`.
pub struct Pull {
    pub client: Client,
    pub parent: Stage,
    recorder: Recorder,
    _default: tracing::subscriber::DefaultGuard,
}

/// Short pauses; timeouts that a busy machine does not run into.
pub fn options() -> Options {
    Options {
        retry_pause: Duration::from_millis(5),
        stall_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..Options::default()
    }
}

impl Pull {
    pub fn new() -> Pull {
        Pull::with(options())
    }

    pub fn with(options: Options) -> Pull {
        let recorder = Recorder::new(None);
        let default = tracing::subscriber::set_default(recorder.subscriber());
        let parent = stage!(span::IMAGE_PULL);
        Pull { client: Client::new(options), parent, recorder, _default: default }
    }

    pub async fn manifest(&self, image: &ImageRef) -> Result<Resolved, RegistryError> {
        self.client.manifest(&self.parent, image, &amd64()).await
    }

    /// Manifest, config and the first layer, all read.
    pub async fn everything(&self, image: &ImageRef) -> Result<Vec<u8>, RegistryError> {
        let resolved = self.manifest(image).await?;
        self.client.config(&self.parent, image, &resolved).await?;
        self.layer(image, &resolved).await
    }

    pub async fn layer(&self, image: &ImageRef, resolved: &Resolved) -> Result<Vec<u8>, RegistryError> {
        let stage = stage!(span::LAYER_DOWNLOAD, in &self.parent);
        let mut blob = self.client.blob(&stage, image, &resolved.layers[0]).await?;
        let mut out = Vec::new();
        while let Some(chunk) = blob.chunk().await {
            out.extend_from_slice(&chunk?);
        }
        assert!(blob.chunk().await.is_none(), "the end stays the end");
        Ok(out)
    }

    /// Ends the trace; every span must lie inside its parent, and no secret may be in it.
    pub fn finish(self) -> Trace {
        drop(self.parent);
        drop(self.client);
        let trace = self.recorder.finish(Attributes::new());
        for span in &trace.spans {
            if let Some(parent) = span.parent {
                let parent =
                    trace.span(parent).unwrap_or_else(|| panic!("{}: its parent is not in the trace", span.name));
                assert!(parent.start <= span.start && span.end <= parent.end, "{} outside {}", span.name, parent.name);
            }
        }
        assert!(!format!("{trace:?}").contains("s3cr3t"), "{trace:#?}");
        trace
    }
}

pub fn children<'a>(trace: &'a Trace, parent: &Span) -> Vec<&'a Span> {
    trace.spans.iter().filter(|s| s.parent == Some(parent.id)).collect()
}

pub fn named<'a>(trace: &'a Trace, name: &str) -> Vec<&'a Span> {
    trace.spans.iter().filter(|s| s.name == name).collect()
}

/// A name of Docker Hub that is really asked at `server`.
pub fn hub(server: &Server) -> Options {
    options().endpoint("docker.io", Origin::parse(&format!("http://{}", server.address)).unwrap())
}

/// Runs a program to its end; its output on failure.
pub fn run(program: &str, args: &[&str]) {
    let out = std::process::Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Whether all `programs` are there; if not, says that the test is skipped, or fails where none may be.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn have(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let Some(missing) = programs.iter().find(|p| !found(p)) else { return true };
    assert!(std::env::var_os("TRACE_TEST_REQUIRE_ALL").is_none(), "`{missing}` is not installed");
    eprintln!("skipped: `{missing}` is not installed");
    false
}
