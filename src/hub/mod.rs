//! The built-in hub: a real HTTP server in this process that speaks the OCI distribution API (v1.1, the pull half), and
//! the images it has. Any OCI client can pull from it.
//!
//! - `library/hello-world` (`latest`, `linux`): an index for linux/amd64 and linux/arm64, one layer with one file.
//! - `demo/layers:<layers>x<size>[-gzip|-zstd|-none]`, e.g. `6x16MiB`: an image of that shape, the same bytes on every
//!   machine, made when first asked for. `<size>` is what the regular files of each layer add up to.
//!
//! ```text
//! server   thread, runtime, connections      library  which images there are; makes demo images once
//!   └ answer   request → response              ├ hello   library/hello-world
//!       ├ route   path → what is asked for     ├ demo    demo/layers
//!       ├ range   `Range`                      └ image   index, manifests, configs as bytes
//!       └ body    file → response in pieces        ├ layer   tar, compression, digests in one pass
//!                                                  └ elf     the programs in the images
//! ```
//!
//! The hub never prints and opens no span: it is the other side of the wire. A caller who wants to know about requests
//! gives an observer.

mod answer;
mod body;
mod demo;
mod elf;
mod hello;
mod image;
mod layer;
mod library;
mod observer;
mod range;
mod route;
mod server;

use crate::error::Failure;
pub use observer::{Access, Observer};

use library::Library;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// How a hub is to run.
#[derive(Clone, Default)]
pub struct Options {
    /// Where demo images go, in files without a name, which are gone when the hub ends in whatever way. `None` means
    /// `$TMPDIR`, else `/var/tmp`, else `/tmp`.
    pub dir: Option<PathBuf>,
    /// Is told of every request.
    pub observer: Option<Observer>,
}

/// Why a hub could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The address is taken, not ours, or not allowed.
    #[error("starting the built-in hub on `{addr}`: {source}")]
    Listen {
        /// What was to be listened on.
        addr: SocketAddr,
        /// The error of the kernel.
        source: io::Error,
    },
    /// No thread or runtime.
    #[error("starting the built-in hub: {0}")]
    Start(io::Error),
    /// The server ended although nobody stopped it.
    #[error("the built-in hub on `{addr}` ended: {why}")]
    Ended {
        /// What it listened on.
        addr: SocketAddr,
        /// How it ended.
        why: String,
    },
    /// An image could not be made.
    #[error("{0}")]
    Prepare(String),
}

impl Failure for HubError {
    fn kind(&self) -> &'static str {
        match self {
            HubError::Listen { .. } => "hub_listen",
            HubError::Start(_) => "hub_start",
            HubError::Ended { .. } => "hub_ended",
            HubError::Prepare(_) => "hub_prepare",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            HubError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("give another `--listen` address; port 0 takes any that is free".to_owned())
            }
            _ => None,
        }
    }
}

/// A running hub. Dropping it stops it.
pub struct Hub {
    addr: SocketAddr,
    library: Arc<Library>,
    runtime: tokio::runtime::Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Hub {
    /// Listens on `listen` (port 0: any free port) and serves from a thread of its own. Connections succeed from the
    /// moment this returns.
    pub fn start(listen: SocketAddr) -> Result<Hub, HubError> {
        Hub::with(listen, Options::default())
    }

    /// [`Hub::start`] with options.
    pub fn with(listen: SocketAddr, options: Options) -> Result<Hub, HubError> {
        let listen_failed = |source| HubError::Listen { addr: listen, source };
        let listener = std::net::TcpListener::bind(listen).map_err(listen_failed)?;
        listener.set_nonblocking(true).map_err(listen_failed)?;
        let addr = listener.local_addr().map_err(listen_failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("hub-read")
            .max_blocking_threads(8)
            .build()
            .map_err(HubError::Start)?;
        let handle = runtime.handle().clone();
        let library = Arc::new(Library::new(options.dir.unwrap_or_else(temporary_dir)));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&library);
        let thread = std::thread::Builder::new().name("hub".to_owned()).spawn(move || {
            let result = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                server::run(listener, served, options.observer, stopped).await
            });
            runtime.shutdown_background();
            result
        });
        let thread = Some(thread.map_err(HubError::Start)?);
        Ok(Hub { addr, library, runtime: handle, stop: Some(stop), thread })
    }

    /// Where it listens, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Makes a demo image now, so that the first request for it need not wait; blocks for as long as that takes
    /// (roughly a second for 200 MB of gzip) and does nothing for an image that is there. Not to be called from async
    /// code.
    pub fn prepare(&self, repository: &str, reference: &str) -> Result<(), HubError> {
        let found = self.runtime.block_on(self.library.manifest(repository, reference));
        found.map(drop).map_err(|missing| HubError::Prepare(missing.explain(repository, reference)))
    }

    /// Ends the server at once; transfers under way are cut off and images being made are given up.
    pub fn stop(self) {}

    /// Blocks until the server ends by itself, which it does not do unless something is badly wrong.
    pub fn wait(mut self) -> Result<(), HubError> {
        let ended = self.thread.take().map(JoinHandle::join);
        let why = match ended {
            None | Some(Ok(Ok(()))) => "it was stopped".to_owned(),
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(_)) => "its thread panicked".to_owned(),
        };
        Err(HubError::Ended { addr: self.addr, why })
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.library.stop();
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // How the server ended matters to `wait` only.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// A place on disk rather than in memory where there is one: demo images can be large.
fn temporary_dir() -> PathBuf {
    match std::env::var_os("TMPDIR") {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => ["/var/tmp", "/tmp"].iter().map(PathBuf::from).find(|dir| dir.is_dir()).unwrap_or_else(|| "/".into()),
    }
}

/// Whether the built-in hub has this image; cheap, makes nothing. `repository` is without host, e.g.
/// `library/hello-world`; `reference` is a tag or, for `library/hello-world`, also a digest.
pub fn has(repository: &str, reference: &str) -> bool {
    library::has(repository, reference)
}

/// A repository of the built-in hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// A reference to pull, e.g. `demo/layers:6x16MiB`.
    pub example: &'static str,
    /// One line on what it is.
    pub description: &'static str,
}

/// What the built-in hub has.
pub fn catalogue() -> &'static [Entry] {
    &[
        Entry { example: "hello-world", description: "one small program that says how it came to run" },
        Entry {
            example: "demo/layers:6x16MiB",
            description: "made to measure: 1 to 200 layers x size in KiB, MiB or GiB; -zstd or -none for other \
                compression",
        },
    ]
}
