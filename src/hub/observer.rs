//! What the hub tells about each request, and when.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One request that the hub has answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// Who asked.
    pub peer: SocketAddr,
    /// `GET`, `HEAD`, … as it was sent.
    pub method: String,
    /// Path without query; plain ASCII, anything else in it escaped, cut after some hundred characters.
    pub path: String,
    /// HTTP status; 0 if the client went away before there was an answer.
    pub status: u16,
    /// Bytes of body handed to the connection; fewer than announced if the client went away.
    pub bytes: u64,
    /// From the request's head to the end of the answer.
    pub duration: Duration,
}

/// Is told of every request when its answer has been sent; called on the hub's thread, so it must not block.
pub type Observer = Arc<dyn Fn(&Access) + Send + Sync>;

/// Tells the observer when dropped: after the answer has been sent, or when the client has gone away before.
pub(super) struct Report {
    pub(super) access: Access,
    started: Instant,
    observer: Option<Observer>,
    _busy: Busy,
}

impl Report {
    pub(super) fn new(access: Access, observer: Option<Observer>, busy: Busy) -> Self {
        Report { access, started: Instant::now(), observer, _busy: busy }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(observer) = &self.observer {
            self.access.duration = self.started.elapsed();
            observer(&self.access);
        }
    }
}

/// Counts a request on its connection until the answer has been sent.
pub(super) struct Busy(Arc<AtomicUsize>);

impl Busy {
    pub(super) fn new(requests: &Arc<AtomicUsize>) -> Self {
        requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(requests))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
