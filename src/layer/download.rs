//! The first stage: the blob as it arrives, counted, hashed and kept.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::LayerError;
use super::link::{Shared, send};
use super::meter::{Meter, Progress};
use super::verify::Hash;
use crate::digest::Digest;
use crate::record::Mono;

/// Runs on a thread of its own: counts, hashes and keeps the blob.
pub(super) fn download<E>(
    (digest, size): (Digest, u64),
    (mut keep, mut kept): (Option<std::fs::File>, u64),
    mut chunks: mpsc::Receiver<Result<Bytes, E>>,
    next: &SyncSender<Option<Bytes>>,
    shared: &Shared,
    progress: &Progress,
) -> (Meter, Meter, Result<(), LayerError>)
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Set before `stop` is looked at, so that a halt in between is not lost.
    let _ = shared.receiver.set(thread::current());
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut download, mut verify) = (Meter::default(), Meter::default());
    let mut hash = Hash::default();
    let mut got = 0u64;
    let mut pass = || -> Result<(), LayerError> {
        loop {
            let since = Mono::now();
            verify.worked_until(since);
            let chunk = match wait(&mut chunks, &waker, &shared.stop)? {
                Some(Ok(chunk)) => chunk,
                Some(Err(e)) => return Err(LayerError::Download { digest, source: e.into() }),
                None => break,
            };
            let now = Mono::now();
            verify.input(since, now, chunk.len());
            download.input(since, now, chunk.len());
            got += chunk.len() as u64;
            progress.downloaded.store(got, Ordering::Relaxed);
            if got > size {
                return Err(LayerError::TooLong { digest, expected: size });
            }
            // First the next thread gets to work, then this one does.
            let passed = send(next, &mut verify, chunk.clone());
            if !shared.bad_content.load(Ordering::Acquire) {
                passed?;
            }
            hash.update(&chunk);
            if let Some(file) = &mut keep {
                let there = kept.min(chunk.len() as u64);
                kept -= there;
                file.write_all(&chunk[there as usize..]).map_err(|source| LayerError::Keep { digest, source })?;
            }
        }
        if got < size {
            return Err(LayerError::Truncated { digest, got, expected: size });
        }
        std::mem::take(&mut hash).blob(digest)?;
        verify.worked_until(Mono::now());
        next.send(None).map_err(|_| LayerError::Stopped)
    };
    let result = match pass() {
        Err(LayerError::Download { .. } | LayerError::Keep { .. }) if shared.bad_content.load(Ordering::Acquire) => {
            Err(LayerError::Stopped)
        }
        other => other,
    };
    verify.settle();
    (download, verify, result)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Like `blocking_recv`, but can be halted.
fn wait<T>(chunks: &mut mpsc::Receiver<T>, waker: &Waker, stop: &AtomicBool) -> Result<Option<T>, LayerError> {
    let mut context = Context::from_waker(waker);
    loop {
        if stop.load(Ordering::Acquire) {
            return Err(LayerError::Stopped);
        }
        match chunks.poll_recv(&mut context) {
            Poll::Ready(item) => return Ok(item),
            Poll::Pending => thread::park(),
        }
    }
}
