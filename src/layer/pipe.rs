//! The three threads of a layer and what flows between them.
//!
//! ```text
//! chunks ─▶ download: SHA-256, keep ─▶ inflate ─▶ caller: SHA-256, tar ─▶ directory
//!                    (bytes as they came)   (256 KiB blocks, recycled)
//! ```
//!
//! The end mark is passed on only by a stage that found everything right, so no stage takes a broken stream for a
//! finished one. A stage that fails closes its channels; its neighbours see that and stop.

use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::decompress::{Inlet, decompress};
use super::download::download;
use super::extract;
use super::link::{Shared, send};
use super::meter::{Meter, Meters, Progress};
use super::outlet::{Block, Outlet};
use super::{Job, LayerError, Outcome};

/// Unpacked bytes that travel together.
const BLOCK: usize = 256 << 10;
/// Blocks on the way between inflating and applying; two more are being filled and emptied.
const BLOCKS: usize = 4;
/// Chunks on the way between receiving and inflating.
const CHUNKS: usize = 8;
/// How long the rest of a blob is received after its content was found to be bad. Damage on the way and damage at the
/// origin look alike until the digest is known, and only the first is worth another try.
const VERDICT: Duration = Duration::from_secs(2);

/// A stage that panics must not leave the receiving thread waiting for a network that says nothing.
struct HaltOnPanic<'s>(&'s Shared);

impl Drop for HaltOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.halt();
        }
    }
}

/// Applies one layer on the calling thread, with two more threads for hashing and inflating.
///
/// `chunks` yields the blob's bytes in order; its sender may be an async task. On `Ok` the blob's size and digest, its
/// compression, its diff id and every entry were checked, and the directory is complete. On `Err` the directory holds
/// something unspecified. Must not be called from an async task (it blocks).
pub fn run<E>(job: Job, chunks: mpsc::Receiver<Result<Bytes, E>>, progress: &Progress) -> Result<Outcome, LayerError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let Job { digest, size, diff_id, compression, dest, blob, kept, flavor, unmapped, limits } = job;
    let shared = Shared::default();
    let (to_inflate, from_download) = sync_channel(CHUNKS);
    let (to_apply, from_inflate) = sync_channel(BLOCKS);
    let (recycle, recycled) = sync_channel(BLOCKS + 2);
    let (shared, limits) = (&shared, &limits);
    let no_thread = |source| LayerError::Thread { digest, source };

    let (received, inflated, applied) = thread::scope(|scope| {
        let receiving = thread::Builder::new()
            .name("layer-download".into())
            .spawn_scoped(scope, move || download((digest, size), (blob, kept), chunks, &to_inflate, shared, progress))
            .map_err(no_thread)?;
        let inflating = thread::Builder::new().name("layer-inflate".into()).spawn_scoped(scope, move || {
            let _guard = HaltOnPanic(shared);
            let mut inlet = Inlet::new(from_download);
            let fill = || recycled.try_recv().unwrap_or_else(|_| vec![0; BLOCK].into_boxed_slice());
            let ship = |meter: &mut Meter, bytes, len| send(&to_apply, meter, Block { bytes, len });
            let result = decompress(&mut inlet, compression, digest, limits, fill, ship)
                .and_then(|()| to_apply.send(None).map_err(|_| LayerError::Stopped));
            drop(to_apply);
            give_up(&result, shared, |until| inlet.discard(until));
            inlet.meter.settle();
            (inlet.meter, result)
        });
        let inflating = match inflating {
            Ok(handle) => handle,
            Err(e) => {
                shared.halt();
                return Err(no_thread(e));
            }
        };
        let _guard = HaltOnPanic(shared);
        let mut outlet = Outlet::new(from_inflate, recycle, progress);
        let result = extract::extract(&mut outlet, dest, flavor, unmapped, limits);
        give_up(&result, shared, |until| outlet.discard(until));
        drop(outlet.blocks);
        Ok((
            receiving.join().unwrap_or_else(|panic| resume_unwind(panic)),
            inflating.join().unwrap_or_else(|panic| resume_unwind(panic)),
            (outlet.extract, outlet.verify, outlet.hash, result),
        ))
    })?;

    let (download, verify_blob, received) = received;
    let (decompress, inflated) = inflated;
    let (mut extract, mut verify_diff, hash, applied) = applied;
    // Upstream first: what went wrong there explains what went wrong further down.
    let real = |r: Result<(), LayerError>| r.err().filter(|e| !matches!(e, LayerError::Stopped));
    let (tree, applied) = match applied {
        Ok(tree) => (Some(tree), Ok(())),
        Err(e) => (None, Err(e)),
    };
    if let Some(error) = real(received).or(real(inflated)).or(real(applied)) {
        return Err(error);
    }
    let Some(applied) = tree else { return Err(LayerError::Stopped) };
    hash.diff_id(digest, diff_id)?;
    extract.settle();
    extract.busy_ns = extract.busy_ns.saturating_sub(verify_diff.busy_ns);
    (verify_diff.first, verify_diff.last) = (extract.first, extract.last);
    let meters = Meters { download, verify_blob, decompress, verify_diff, extract };
    Ok(Outcome {
        meters,
        unpacked_bytes: verify_diff.bytes,
        entries: applied.entries,
        notes: applied.notes,
        record: applied.record,
    })
}

/// After a failure: lets the stages before go on to their verdict if the content is at fault, and ends them.
fn give_up<T>(result: &Result<T, LayerError>, shared: &Shared, discard: impl FnOnce(Instant) -> bool) {
    match result {
        // The one that failed first ends the others, when it has heard the verdict.
        Ok(_) | Err(LayerError::Stopped) => return,
        Err(e) if e.blames_content() => {
            shared.bad_content.store(true, Ordering::Release);
            // If the stage before has ended by itself, it sees to those before it.
            if discard(Instant::now() + VERDICT) {
                return;
            }
        }
        Err(_) => {}
    }
    shared.halt();
}
