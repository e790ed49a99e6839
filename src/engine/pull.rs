//! From a miss to a committed image (`image.pull`): manifest, configuration, all layers at once.
//!
//! One thread does all the network; each layer has three threads of its own (`layer::run`). The spans of a layer's
//! stages are added when it is done, from what its threads measured.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use super::events::{Event, LayerState, Observer};
use super::resolve::{Wanted, look_up};
use super::{Context, EngineError};
use crate::container::privilege::Privilege;
use crate::container::signals::Signals;
use crate::digest::Digest;
use crate::hub::{self, Hub};
use crate::layer::{self, Compression, Flavor, Job, LayerError, Limits, Meter, Outcome, Progress, Unmapped};
use crate::names::{attr, span};
use crate::record::model::SpanId;
use crate::record::{Finished, Mono, Stage};
use crate::registry::{Client, Descriptor, ImageConfig, ImageRef, Options, Origin, RegistryError, Resolved};
use crate::stage;
use crate::store::images::{Document, Image};
use crate::store::layers::{ASK_AGAIN, Claim, Draft, Kept};
use crate::store::{Store, lock::Lock};

/// Layers on their way at once. Each has a few megabytes of buffers; more would not be faster, since the link or the
/// cores are busy with these.
const AT_ONCE: usize = 8;
/// Chunks of a blob that may wait for its layer.
const CHUNKS: usize = 4;

const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(50);

/// A pulled image and what it took.
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Layers that were there before.
    pub cached: usize,
}

/// Pulls `wanted`; if Docker Hub cannot be reached, from the built-in hub, which `wanted` then says.
pub fn pull(
    context: &Context<'_>,
    signals: &mut Signals,
    parent: &Stage,
    wanted: &mut Wanted,
) -> Result<Pulled, EngineError> {
    let stage = stage!(span::IMAGE_PULL, in parent);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(EngineError::Runtime);
    let threads = Threads::default();
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                number = interrupted(signals) => Err(EngineError::interrupted(number)),
                result = pull_or_fall_back(context, &stage, wanted, &threads) => result,
            }
        });
        // Whatever was still running has lost its input; it must be gone before its directories are.
        runtime.shutdown_background();
        threads.join();
        result
    });
    if let Ok(pulled) = &result {
        stage.set(attr::LAYERS, pulled.image.stack.layers.len());
        stage.set(attr::LAYERS_CACHED, pulled.cached);
    }
    stage.end(result)
}

/// Looks for signals now and then: what can be lost is a twentieth of a second of a pull that is given up.
async fn interrupted(signals: &mut Signals) -> i32 {
    loop {
        if let Some(number) = signals.interrupted() {
            return number;
        }
        tokio::time::sleep(LOOK_FOR_SIGNALS).await;
    }
}

/// Threads of layers, to be waited for whatever happens.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<Vec<std::thread::JoinHandle<()>>>>);

impl Threads {
    fn add(&self, handle: std::thread::JoinHandle<()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
    }

    fn join(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = handle.join();
        }
    }
}

async fn pull_or_fall_back(
    context: &Context<'_>,
    stage: &Stage,
    wanted: &mut Wanted,
    threads: &Threads,
) -> Result<Pulled, EngineError> {
    if wanted.builtin {
        return from_builtin(context, stage, wanted, threads).await;
    }
    match from_registry(context, stage, wanted, threads, Options::default()).await {
        Err(EngineError::Registry(e))
            if wanted.fallback && e.is_unreachable() && hub::has(wanted.image.repository(), &wanted.image.version()) =>
        {
            context.observer.event(Event::HubFallback { reason: e.to_string() });
            *wanted = wanted.from_builtin();
            from_builtin(context, stage, wanted, threads).await
        }
        other => other,
    }
}

async fn from_builtin(
    context: &Context<'_>,
    stage: &Stage,
    wanted: &Wanted,
    threads: &Threads,
) -> Result<Pulled, EngineError> {
    if !hub::has(wanted.image.repository(), &wanted.image.version()) {
        let has: Vec<_> = hub::catalogue().iter().map(|e| format!("`{}`", e.example)).collect();
        return Err(EngineError::NotInHub { image: wanted.image.familiar(), has: has.join(", ") });
    }
    let scratch = context.store.tmp()?;
    let options = hub::Options { dir: Some(scratch.path().to_owned()), ..hub::Options::default() };
    let hub = Hub::with(([127, 0, 0, 1], 0).into(), options)?;
    let origin = Origin { tls: false, host: hub.addr().ip().to_string(), port: hub.addr().port() };
    let options = Options::default().endpoint(wanted.image.registry(), origin);
    from_registry(context, stage, wanted, threads, options).await
}

async fn from_registry(
    context: &Context<'_>,
    stage: &Stage,
    wanted: &Wanted,
    threads: &Threads,
    options: Options,
) -> Result<Pulled, EngineError> {
    // Nobody may take away what we have made until the image names it.
    let _using = context.store.lock_shared()?;
    let _ours = match claim_image(context, stage, wanted).await? {
        Turn::Ours(lock) => lock,
        Turn::Done(image) => {
            let cached = image.stack.layers.len();
            return Ok(Pulled { image: *image, cached });
        }
    };
    let client = Client::new(options);
    let resolved = client.manifest(stage, &wanted.image, &wanted.platform).await?;
    let (config_raw, config) = client.config(stage, &wanted.image, &resolved).await?;
    check_platform(wanted, &resolved, &config)?;
    let shown: Vec<_> = resolved.layers.iter().map(|l| (l.digest.short(), l.size)).collect();
    context.observer.event(Event::Pulling {
        label: &wanted.image.pull_label(),
        repository: wanted.image.repository(),
        layers: &shown,
    });
    let fetch = Fetch {
        client,
        store: context.store.clone(),
        observer: Arc::clone(&context.observer),
        image: wanted.image.clone(),
        stage: stage.clone(),
        slots: Arc::new(Slots { free: Semaphore::new(AT_ONCE), ended: Mutex::default() }),
        threads: threads.clone(),
        flavor: flavor(context.privilege),
        squash: !context.privilege.is_some_and(Privilege::keeps_owners),
    };
    let totals = fetch.layers(&resolved.layers, &config.diff_ids).await?;
    stage.set(attr::BYTES_WIRE, totals.wire);
    stage.set(attr::BYTES_UNPACKED, totals.unpacked);

    let commit = stage!(span::IMAGE_COMMIT, in stage);
    let image = commit_image(context, wanted, &resolved, &config_raw.bytes, &config);
    let image = commit.end(image)?;
    context.observer.event(Event::Pulled {
        digest: resolved.top_digest.to_string(),
        image: &wanted.image.familiar(),
        newer: totals.cached < resolved.layers.len() || resolved.layers.is_empty(),
    });
    Ok(Pulled { image, cached: totals.cached })
}

enum Turn {
    Ours(Lock),
    Done(Box<Image>),
}

/// Of several processes that miss the same image one pulls it; the others wait and take what it made.
async fn claim_image(context: &Context<'_>, stage: &Stage, wanted: &Wanted) -> Result<Turn, EngineError> {
    let key = wanted.key();
    if let Some(lock) = context.store.try_claim_image(&key)? {
        return Ok(Turn::Ours(lock));
    }
    let wait = stage!(span::PULL_WAIT, in stage);
    let lock = loop {
        tokio::time::sleep(ASK_AGAIN).await;
        match context.store.try_claim_image(&key) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(e) => return wait.end(Err(e)).map_err(Into::into),
        }
    };
    drop(wait);
    Ok(match look_up(context, &mut wanted.clone())? {
        Some(image) => Turn::Done(Box::new(image)),
        None => Turn::Ours(lock),
    })
}

/// Without an index it is the configuration that says what the image was built for.
fn check_platform(wanted: &Wanted, resolved: &Resolved, config: &ImageConfig) -> Result<(), EngineError> {
    let found = match (&resolved.platform, &config.platform) {
        (None, Some(found)) => found,
        _ => return Ok(()),
    };
    if wanted.platform.suits(found).is_some() {
        return Ok(());
    }
    Err(EngineError::Platform {
        image: wanted.image.familiar(),
        found: found.to_string(),
        expected: wanted.platform.to_string(),
    })
}

fn commit_image(
    context: &Context<'_>,
    wanted: &Wanted,
    resolved: &Resolved,
    config_bytes: &[u8],
    config: &ImageConfig,
) -> Result<Image, EngineError> {
    let layers: Vec<_> = resolved.layers.iter().zip(&config.diff_ids).map(|(l, d)| (l.digest, l.size, *d)).collect();
    let stack = context.store.stack_layers(
        &resolved.manifest.digest,
        &resolved.config.digest,
        &wanted.platform.to_string(),
        &layers,
        flavor(context.privilege),
    )?;
    let mut documents = vec![
        Document { digest: resolved.manifest.digest, bytes: &resolved.manifest.bytes },
        Document { digest: resolved.config.digest, bytes: config_bytes },
    ];
    for raw in resolved.index.iter().chain(&resolved.nested) {
        documents.push(Document { digest: raw.digest, bytes: &raw.bytes });
    }
    Ok(context.store.commit_image(
        &wanted.key(),
        &resolved.manifest.media_type,
        &resolved.top_digest.to_string(),
        &documents,
        &stack,
    )?)
}

/// Which of overlayfs's attributes will be read: in a user namespace only `user.*` can be.
fn flavor(privilege: Option<&Privilege>) -> Flavor {
    if privilege.is_some_and(|p| p.initial_user_namespace) { Flavor::Trusted } else { Flavor::User }
}

/// Places for layers on their way, and which layer gave its place up last.
struct Slots {
    free: Semaphore,
    ended: Mutex<VecDeque<Option<SpanId>>>,
}

#[derive(Clone)]
struct Fetch {
    client: Client,
    store: Store,
    observer: Arc<dyn Observer>,
    image: ImageRef,
    stage: Stage,
    slots: Arc<Slots>,
    threads: Threads,
    flavor: Flavor,
    squash: bool,
}

#[derive(Default)]
struct Totals {
    cached: usize,
    wire: u64,
    unpacked: u64,
}

/// A layer that is in the store now; what it took, unless it was there.
struct Fetched {
    outcome: Option<Outcome>,
}

impl Fetch {
    async fn layers(&self, layers: &[Descriptor], diff_ids: &[Digest]) -> Result<Totals, EngineError> {
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
                Ok(Ok(Fetched { outcome: Some(outcome) })) => {
                    totals.wire += outcome.meters.download.bytes;
                    totals.unpacked += outcome.unpacked_bytes;
                }
                Ok(Ok(Fetched { outcome: None })) => totals.cached += 1,
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
        stage.set(attr::CACHE, if matches!(&result, Ok(Fetched { outcome: None })) { "hit" } else { "miss" });
        if let Ok(Fetched { outcome: Some(outcome) }) = &result {
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
        if self.store.has_layer(&diff_id) {
            self.observer.event(Event::Layer { index, state: LayerState::Exists });
            return Ok(Fetched { outcome: None });
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
        let draft = loop {
            match self.store.claim_layer(&diff_id, &layer.digest)? {
                Claim::Ours(draft) => break draft,
                Claim::There => {
                    self.observer.event(Event::Layer { index, state: LayerState::Exists });
                    return Ok(Fetched { outcome: None });
                }
                Claim::Busy => tokio::time::sleep(ASK_AGAIN).await,
            }
        };
        let progress = Arc::new(Progress::default());
        self.observer.event(Event::Layer { index, state: LayerState::Downloading(Arc::clone(&progress)) });
        let (chunks, applied) = self.start_thread(layer, diff_id, &draft, progress)?;
        let downloaded = self.download(stage, index, layer, chunks).await;
        let Ok(applied) = applied.await else {
            return Err(EngineError::Runtime(std::io::Error::other("a layer's thread ended without a word")));
        };
        add_spans(stage, &applied, &downloaded);
        let outcome = match applied.result {
            Ok(outcome) => outcome,
            Err(source) => {
                // A download that broke off says why better than the layer that missed its bytes.
                if let Downloaded { error: Some(e), .. } = downloaded {
                    return Err(e.into());
                }
                let (image, digest) = (self.image.familiar(), layer.digest.to_string());
                return Err(EngineError::Layer { image, digest, source });
            }
        };
        let commit = stage!(span::LAYER_COMMIT, in stage);
        let kept = Kept { unpacked: outcome.unpacked_bytes, notes: outcome.notes.clone() };
        commit.end(self.store.commit_layer(draft, &kept))?;
        self.observer.event(Event::Layer { index, state: LayerState::Complete });
        Ok(Fetched { outcome: Some(outcome) })
    }

    #[allow(clippy::type_complexity)]
    fn start_thread(
        &self,
        layer: &Descriptor,
        diff_id: Digest,
        draft: &Draft,
        progress: Arc<Progress>,
    ) -> Result<(mpsc::Sender<Result<bytes::Bytes, Broken>>, oneshot::Receiver<Applied>), EngineError> {
        let job = Job {
            digest: layer.digest,
            size: layer.size,
            diff_id,
            compression: compression(&layer.media_type),
            dest: draft.dest()?,
            blob: Some(draft.blob()?),
            flavor: self.flavor,
            unmapped: if self.squash { Unmapped::Squash } else { Unmapped::Refuse },
            limits: Limits::default(),
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
        chunks: mpsc::Sender<Result<bytes::Bytes, Broken>>,
    ) -> Downloaded {
        let download = stage!(span::LAYER_DOWNLOAD, in stage);
        let begun = Mono::now();
        let mut meter = Meter { first: begun, ..Meter::default() };
        let error = self.transfer(&download, layer, chunks, &mut meter).await.err();
        meter.last = Mono::now();
        if error.is_none() && meter.bytes == layer.size {
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
        layer: &Descriptor,
        chunks: mpsc::Sender<Result<bytes::Bytes, Broken>>,
        meter: &mut Meter,
    ) -> Result<(), RegistryError> {
        let asked = Mono::now();
        let blob = self.client.blob(download, &self.image, layer).await;
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
        LayerError::Corrupt { .. } => span::LAYER_DECOMPRESS,
        _ => span::LAYER_EXTRACT,
    }
}

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
    let add = |name, meter: Meter, after| {
        let finished = Finished::new(name, meter.first, meter.last)
            .with(attr::BUSY_NS, meter.busy_ns)
            .with(attr::WAIT_INPUT_NS, meter.wait_input_ns)
            .with(attr::WAIT_OUTPUT_NS, meter.wait_output_ns)
            .with(attr::BYTES, meter.bytes)
            .after(after);
        stage.finished(if name == span::LAYER_EXTRACT { finished.with(attr::FILES, outcome.entries) } else { finished })
    };
    add(span::LAYER_VERIFY, meters.verify(), downloaded.id);
    let inflated = add(span::LAYER_DECOMPRESS, meters.decompress, downloaded.id);
    add(span::LAYER_EXTRACT, meters.extract, inflated);
}
