//! The layers of an image, all at once (`layer.pull`).
//!
//! One thread does all the network; each layer has three threads of its own ([`layer::run`]). The spans of a layer's
//! stages are added when it is done, from what its threads measured.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::EngineError;
use super::events::{Event, LayerState, Observer};
use crate::digest::Digest;
use crate::layer::{self, Compression, Flavor, Job, LayerError, Limits, Meter, Outcome, Progress, Unmapped};
use crate::names::{attr, span};
use crate::record::model::SpanId;
use crate::record::{Finished, Mono, Stage};
use crate::registry::{Client, Descriptor, ImageRef, RegistryError};
use crate::stage;
use crate::store::Store;
use crate::store::layers::{ASK_AGAIN, Claim, Draft, Kept};

/// Layers on their way at once. Each has a few megabytes of buffers; more would not be faster, since the link or the
/// cores are busy with these.
const AT_ONCE: usize = 8;
/// Chunks of a blob that may wait for its layer.
pub(super) const CHUNKS: usize = 4;

/// Threads of layers, to be waited for whatever happens.
#[derive(Clone, Default)]
pub(super) struct Threads(Arc<Mutex<Vec<std::thread::JoinHandle<()>>>>);

impl Threads {
    fn add(&self, handle: std::thread::JoinHandle<()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    pub(super) fn join(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = handle.join();
        }
    }
}

/// Places for layers on their way, and which layer gave its place up last.
pub(super) struct Slots {
    free: Semaphore,
    ended: Mutex<VecDeque<Option<SpanId>>>,
}

impl Default for Slots {
    fn default() -> Self {
        Slots { free: Semaphore::new(AT_ONCE), ended: Mutex::default() }
    }
}

/// What all layers of one image share.
#[derive(Clone)]
pub(super) struct Fetch {
    pub(super) client: Client,
    pub(super) store: Store,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) image: ImageRef,
    pub(super) stage: Stage,
    pub(super) slots: Arc<Slots>,
    pub(super) threads: Threads,
    pub(super) flavor: Flavor,
    pub(super) squash: bool,
    /// Nothing that an earlier pull left unfinished is used.
    pub(super) fresh: bool,
}

/// What came of all layers together.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) cached: usize,
    pub(super) wire: u64,
    pub(super) unpacked: u64,
}

/// A layer that is in the store now; what it took, unless it was there.
struct Fetched {
    outcome: Option<Outcome>,
    /// Bytes of its blob that an earlier pull had fetched.
    kept: u64,
}

impl Fetch {
    /// Brings all layers (base first) into the store.
    pub(super) async fn layers(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Totals, EngineError> {
        let mut tasks = JoinSet::new();
        for (index, (layer, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
            // The same layer twice is made once.
            if diff_ids[..index].contains(diff_id) {
                self.observer.event(Event::Layer { index, state: LayerState::Exists });
                continue;
            }
            let (fetch, layer, diff_id) = (self.clone(), layer.clone(), *diff_id);
            tasks.spawn(async move { fetch.layer(index, &layer, diff_id).await });
        }
        let mut totals = Totals { cached: layers.len() - tasks.len(), ..Totals::default() };
        let mut first_error = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok(Ok(Fetched { outcome: Some(outcome), kept })) => {
                    totals.wire += outcome.meters.download.bytes.saturating_sub(kept);
                    totals.unpacked += outcome.unpacked_bytes;
                }
                Ok(Ok(Fetched { outcome: None, .. })) => totals.cached += 1,
                // The others are given up; what they have finished stays in the store.
                Ok(Err(e)) => {
                    first_error = first_error.or(Some(e));
                    tasks.abort_all();
                }
                Err(_) => {}
            }
        }
        match first_error {
            Some(e) => Err(e),
            None => Ok(totals),
        }
    }

    async fn layer(&self, index: usize, layer: &Descriptor, diff_id: Digest) -> Result<Fetched, EngineError> {
        let stage = stage!(span::LAYER_PULL, in &self.stage);
        stage.set(attr::LAYER_INDEX, index);
        stage.set(attr::LAYER_DIGEST, layer.digest.to_string());
        stage.set(attr::LAYER_DIFF_ID, diff_id.to_string());
        stage.set(attr::LAYER_MEDIA_TYPE, layer.media_type.as_str());
        stage.set(attr::LAYER_SIZE, layer.size);
        let result = self.in_a_slot(&stage, index, layer, diff_id).await;
        stage.set(attr::CACHE, if matches!(&result, Ok(Fetched { outcome: None, .. })) { "hit" } else { "miss" });
        if let Ok(Fetched { outcome: Some(outcome), .. }) = &result {
            stage.set(attr::LAYER_SIZE_UNPACKED, outcome.unpacked_bytes);
        }
        stage.end(result)
    }

    async fn in_a_slot(
        &self,
        stage: &Stage,
        index: usize,
        layer: &Descriptor,
        diff_id: Digest,
    ) -> Result<Fetched, EngineError> {
        if self.store.has_layer(&diff_id, &layer.digest, layer.size) {
            self.observer.event(Event::Layer { index, state: LayerState::Exists });
            return Ok(Fetched { outcome: None, kept: 0 });
        }
        let waited = self.slots.free.available_permits() == 0;
        if waited {
            self.observer.event(Event::Layer { index, state: LayerState::Queued });
        }
        let _slot = self.slots.free.acquire().await.expect("never closed");
        if waited {
            let ended = self.slots.ended.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            stage.wait_for(ended.flatten());
        }
        let result = self.make(stage, index, layer, diff_id).await;
        self.slots.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back(stage.id());
        result
    }

    async fn make(
        &self,
        stage: &Stage,
        index: usize,
        layer: &Descriptor,
        diff_id: Digest,
    ) -> Result<Fetched, EngineError> {
        let mut draft = loop {
            match self.store.claim_layer(&diff_id, &layer.digest, layer.size)? {
                Claim::Ours(draft) => break draft,
                Claim::There => {
                    self.observer.event(Event::Layer { index, state: LayerState::Exists });
                    return Ok(Fetched { outcome: None, kept: 0 });
                }
                Claim::Busy => tokio::time::sleep(ASK_AGAIN).await,
            }
        };
        let mut fresh = self.fresh;
        let (outcome, kept) = loop {
            let (blob, kept) = draft.blob(&self.store, fresh)?;
            let progress = Arc::new(Progress::default());
            self.observer.event(Event::Layer { index, state: LayerState::Downloading(Arc::clone(&progress)) });
            let there = Earlier { bytes: kept, file: blob.try_clone().map_err(EngineError::Runtime)? };
            let (chunks, applied) = self.start_thread(layer, diff_id, &draft, (blob, kept), progress)?;
            let downloaded = self.download(stage, index, layer, there, chunks).await;
            let Ok(applied) = applied.await else {
                return Err(EngineError::Runtime(std::io::Error::other("a layer's thread ended without a word")));
            };
            add_spans(stage, &applied, &downloaded);
            let source = match applied.result {
                Ok(outcome) => break (outcome, kept),
                Err(source) => source,
            };
            // A download that broke off says why better than the layer that missed its bytes.
            if let Downloaded { error: Some(e), .. } = downloaded {
                return Err(e.into());
            }
            // What came is of no use to anybody.
            draft.discard_blob();
            let wrong = matches!(source, LayerError::DigestMismatch { .. } | LayerError::Truncated { .. });
            if kept > 0 && (wrong || source.blames_content()) {
                // The part that was kept may be at fault: a power cut, or another program.
                fresh = true;
                draft.begin_anew()?;
                continue;
            }
            let (image, digest) = (self.image.familiar(), layer.digest.to_string());
            return Err(EngineError::Layer { image, digest, source: Box::new(source) });
        };
        let commit = stage!(span::LAYER_COMMIT, in stage);
        let notes = Kept { unpacked: outcome.unpacked_bytes, notes: outcome.notes.clone(), maker: None };
        commit.end(self.store.commit_layer(draft, &notes, &outcome.record))?;
        self.observer.event(Event::Layer { index, state: LayerState::Complete });
        Ok(Fetched { outcome: Some(outcome), kept })
    }

    fn start_thread(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        draft: &Draft,
        (blob, kept): (File, u64),
        progress: Arc<Progress>,
    ) -> Result<(Chunks, oneshot::Receiver<Applied>), EngineError> {
        let dest = draft.dest()?;
        let free = rustix::fs::fstatvfs(&dest).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
        let job = Job {
            digest: layer.digest,
            size: layer.size,
            diff_id,
            compression: compression(&layer.media_type),
            dest,
            blob: Some(blob),
            kept,
            flavor: self.flavor,
            unmapped: if self.squash { Unmapped::Squash } else { Unmapped::Refuse },
            limits: Limits::default().on_disk_with(free),
        };
        let (send, receive) = mpsc::channel(CHUNKS);
        let (done, applied) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(format!("layer {}", layer.digest.short()))
            .spawn(move || {
                let result = layer::run(job, receive, &progress);
                let _ = done.send(Applied { result });
            })
            .map_err(EngineError::Runtime)?;
        self.threads.add(thread);
        Ok((send, applied))
    }

    /// Feeds the layer. Its own thread says what went wrong, except when it was the network.
    async fn download(
        &self,
        stage: &Stage,
        index: usize,
        layer: &Descriptor,
        there: Earlier,
        chunks: Chunks,
    ) -> Downloaded {
        let download = stage!(span::LAYER_DOWNLOAD, in stage);
        let begun = Mono::now();
        let mut meter = Meter { first: begun, ..Meter::default() };
        let kept = there.bytes;
        let error = self.transfer(&download, (index, layer), there, chunks, &mut meter).await.err();
        meter.last = Mono::now();
        if kept > 0 {
            download.set(attr::BYTES_KEPT, kept);
        }
        if error.is_none() && kept + meter.bytes == layer.size {
            self.observer.event(Event::Layer { index, state: LayerState::Downloaded });
        }
        download.set(attr::BYTES, meter.bytes);
        download.set(attr::WAIT_INPUT_NS, meter.wait_input_ns);
        download.set(attr::WAIT_OUTPUT_NS, meter.wait_output_ns);
        let waits = meter.wait_input_ns + meter.wait_output_ns;
        download.set(attr::BUSY_NS, meter.last.since(meter.first).saturating_sub(waits));
        let id = download.id();
        if let Some(e) = &error {
            use crate::error::Failure;
            download.fail(e.kind(), &e.to_string());
        }
        Downloaded { id, error }
    }

    async fn transfer(
        &self,
        download: &Stage,
        (index, layer): (usize, &Descriptor),
        there: Earlier,
        chunks: Chunks,
        meter: &mut Meter,
    ) -> Result<(), RegistryError> {
        let mut from = 0;
        while from < there.bytes {
            let Some(chunk) = there.read(from) else { return Ok(()) };
            from += chunk.len() as u64;
            // A layer that has failed takes no more; its own error tells why.
            if chunks.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
        }
        let told = |pause| self.observer.event(Event::Layer { index, state: LayerState::Retrying(pause) });
        let asked = Mono::now();
        let blob = self.client.blob(download, &self.image, layer, from, &told).await;
        let mut now = Mono::now();
        meter.wait_input_ns += now.since(asked);
        let mut blob = match blob {
            Ok(blob) => blob,
            Err(e) => {
                let _ = chunks.send(Err(Broken)).await;
                return Err(e);
            }
        };
        loop {
            let since = now;
            let chunk = blob.chunk().await;
            now = Mono::now();
            meter.wait_input_ns += now.since(since);
            let chunk = match chunk {
                None => return Ok(()),
                Some(Ok(chunk)) => chunk,
                Some(Err(e)) => {
                    let _ = chunks.send(Err(Broken)).await;
                    return Err(e);
                }
            };
            meter.bytes += chunk.len() as u64;
            let since = Mono::now();
            // A layer that has failed takes no more; its own error tells why.
            if chunks.send(Ok(chunk)).await.is_err() {
                return Ok(());
            }
            now = Mono::now();
            meter.wait_output_ns += now.since(since);
        }
    }
}

/// What the media type promises; a blob's first bytes have the last word.
fn compression(media_type: &str) -> Compression {
    match media_type {
        t if t.ends_with("gzip") => Compression::Gzip,
        t if t.ends_with("zstd") => Compression::Zstd,
        _ => Compression::None,
    }
}

/// The stage that an error belongs to.
fn stage_of(error: &LayerError) -> &'static str {
    match error {
        LayerError::Truncated { .. }
        | LayerError::TooLong { .. }
        | LayerError::DigestMismatch { .. }
        | LayerError::DiffIdMismatch { .. }
        | LayerError::Keep { .. } => span::LAYER_VERIFY,
        LayerError::Corrupt { .. } | LayerError::Compression { .. } => span::LAYER_DECOMPRESS,
        _ => span::LAYER_EXTRACT,
    }
}

/// What an earlier pull left of a blob.
struct Earlier {
    bytes: u64,
    file: File,
}

impl Earlier {
    /// Some of it, from a place before its end. `None` if it cannot be read: the layer ends as one that is too short
    /// then, and is begun anew.
    fn read(&self, from: u64) -> Option<Bytes> {
        let mut chunk = vec![0; (self.bytes - from).min(256 << 10) as usize];
        self.file.read_exact_at(&mut chunk, from).ok().map(|()| chunk.into())
    }
}

/// The way of a blob's bytes to its layer.
type Chunks = mpsc::Sender<Result<Bytes, Broken>>;

/// Tells a layer's threads that the rest will not come; why is kept where it happened.
#[derive(Debug, thiserror::Error)]
#[error("the download broke off")]
struct Broken;

struct Downloaded {
    id: Option<SpanId>,
    error: Option<RegistryError>,
}

struct Applied {
    result: Result<Outcome, LayerError>,
}

/// The stages that ran in the layer's threads. Each could go on only when the one before it gave it bytes.
fn add_spans(stage: &Stage, applied: &Applied, downloaded: &Downloaded) {
    let Ok(outcome) = &applied.result else {
        if let Err(e) = &applied.result
            && downloaded.error.is_none()
        {
            let now = Mono::now();
            stage.finished(Finished::new(stage_of(e), now, now).failed(e));
        }
        return;
    };
    let meters = &outcome.meters;
    let finished = |name, meter: Meter, after| {
        Finished::new(name, meter.first, meter.last)
            .with(attr::BUSY_NS, meter.busy_ns)
            .with(attr::WAIT_INPUT_NS, meter.wait_input_ns)
            .with(attr::WAIT_OUTPUT_NS, meter.wait_output_ns)
            .with(attr::BYTES, meter.bytes)
            .after(after)
    };
    stage.finished(finished(span::LAYER_VERIFY, meters.verify_blob, downloaded.id));
    let inflated = stage.finished(finished(span::LAYER_DECOMPRESS, meters.decompress, downloaded.id));
    // One thread hashes what it is about to write: a bar of its own for the hash would only repeat this one's.
    let hashing = meters.verify_diff.busy_ns;
    let extract = Meter { busy_ns: meters.extract.busy_ns + hashing, ..meters.extract };
    stage.finished(
        finished(span::LAYER_EXTRACT, extract, inflated)
            .with(attr::FILES, outcome.entries)
            .with(attr::DIFF_ID_BUSY_NS, hashing),
    );
}
