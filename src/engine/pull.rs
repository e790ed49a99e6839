//! From a miss to a committed image (`image.pull`): manifest, configuration, layers, commit.

use std::sync::Arc;
use std::time::Duration;

use super::events::Event;
use super::fetch::{Fetch, Threads};
use super::resolve::{ImageRequest, ResolvedImage, look_up};
use super::{Context, EngineError};
use crate::container::privilege::Privilege;
use crate::container::signals::Signals;
use crate::digest::Digest;
use crate::hub::{self, Hub};
use crate::layer::Flavor;
use crate::names::{attr, span};
use crate::record::{Mono, Stage};
use crate::registry::{Client, Credentials, ImageConfig, Options, Origin, Places, Platform, Resolved};
use crate::stage;
use crate::store::images::{Document, Image};
use crate::store::layers::ASK_AGAIN;
use crate::store::lock::Lock;
use crate::store::unsynced::{Listed, ListedLayer};

const LOWERS_MAX: usize = 499;
const LOOK_FOR_SIGNALS: Duration = Duration::from_millis(50);

/// A pulled image and what it took.
pub struct Pulled {
    /// The image, and which hub it came from.
    pub resolved: ResolvedImage,
    /// Layers that were there before.
    pub cached: usize,
}

/// Pulls what is asked for; if Docker Hub cannot be reached, from the built-in hub.
pub fn pull(
    context: &Context<'_>,
    signals: &mut Signals,
    parent: &Stage,
    request: &ImageRequest,
) -> Result<Pulled, EngineError> {
    let stage = stage!(span::IMAGE_PULL, in parent);
    stage.began_where(span::CACHE_CHECK);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(EngineError::Runtime);
    let threads = Threads::default();
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                number = interrupted(signals) => Err(EngineError::interrupted(number)),
                result = pull_or_fall_back(context, &stage, request, &threads) => result,
            }
        });
        // Whatever was still running has lost its input; it must be gone before its directories are.
        runtime.shutdown_background();
        threads.join();
        result
    });
    if let Ok(pulled) = &result {
        stage.set(attr::LAYERS, pulled.resolved.image.stack.layers.len());
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

async fn pull_or_fall_back(
    context: &Context<'_>,
    stage: &Stage,
    request: &ImageRequest,
    threads: &Threads,
) -> Result<Pulled, EngineError> {
    if request.builtin {
        return from_builtin(context, stage, request, threads).await;
    }
    let options = Options { credentials: Credentials::Stored(Places::from_environment()), ..Options::default() };
    match from_registry(context, stage, request, threads, options).await {
        Err(EngineError::Registry(e))
            if request.fallback
                && e.is_unreachable()
                && hub::has(request.image.repository(), &request.image.version()) =>
        {
            context.observer.event(Event::HubFallback { reason: e.to_string() });
            from_builtin(context, stage, &request.from_builtin(), threads).await
        }
        other => other,
    }
}

async fn from_builtin(
    context: &Context<'_>,
    stage: &Stage,
    request: &ImageRequest,
    threads: &Threads,
) -> Result<Pulled, EngineError> {
    if !hub::has(request.image.repository(), &request.image.version()) {
        let has: Vec<_> = hub::catalogue().iter().map(|e| format!("`{}`", e.example)).collect();
        return Err(EngineError::NotInHub { image: request.image.familiar(), has: has.join(", ") });
    }
    let scratch = context.store.tmp()?;
    let options = hub::Options { dir: Some(scratch.path().to_owned()), ..hub::Options::default() };
    let start = stage!(span::HUB_START, in stage);
    let (repository, version) = (request.image.repository().to_owned(), request.image.version());
    // Making a demo image takes longer than any registry would; that time must not pass for the registry's.
    let started = tokio::task::spawn_blocking(move || {
        let hub = Hub::with(([127, 0, 0, 1], 0).into(), options)?;
        hub.prepare(&repository, &version).map(|()| hub)
    });
    let started = started.await.map_err(|e| EngineError::Runtime(e.into()));
    let hub = start.end(started.and_then(|hub| hub.map_err(Into::into)))?;
    let origin = Origin { tls: false, host: hub.addr().ip().to_string(), port: hub.addr().port() };
    let options = Options::default().endpoint(request.image.registry(), origin);
    from_registry(context, stage, request, threads, options).await
}

async fn from_registry(
    context: &Context<'_>,
    stage: &Stage,
    request: &ImageRequest,
    threads: &Threads,
    options: Options,
) -> Result<Pulled, EngineError> {
    // Nobody may take away what we have made until the image names it.
    let _using = context.store.lock_shared()?;
    let _ours = match claim_image(context, stage, request).await? {
        Turn::Ours(lock) => lock,
        Turn::Done(resolved) => {
            let cached = resolved.image.stack.layers.len();
            return Ok(Pulled { resolved: *resolved, cached });
        }
    };
    let client = Client::new(options);
    let resolved = client.manifest(stage, &request.image, &request.platform).await?;
    if let Some(image) = context.store.image(&request.key(), &request.platform.to_string())? {
        verify(context, stage, image.diff_ids()).await?;
    }
    if let Some(image) = unchanged(context, request, &resolved)? {
        context.observer.event(Event::Pulling {
            label: &request.image.pull_label(),
            repository: request.image.repository(),
            layers: &[],
        });
        context.observer.event(Event::Pulled {
            digest: resolved.top_digest.to_string(),
            image: &request.image.familiar(),
            newer: false,
        });
        let cached = image.stack.layers.len();
        return Ok(Pulled { resolved: ResolvedImage { request: request.clone(), image }, cached });
    }
    let (config_raw, config) = client.config(stage, &request.image, &resolved).await?;
    check_platform(request, &resolved, &config)?;
    let shown: Vec<_> = resolved.layers.iter().map(|l| (l.digest.short(), l.size)).collect();
    context.observer.event(Event::Pulling {
        label: &request.image.pull_label(),
        repository: request.image.repository(),
        layers: &shown,
    });
    verify(context, stage, config.diff_ids.clone()).await?;
    let mark = context.store.mark_unsynced(&listed(context, &resolved, &config))?;
    let fetch = Fetch {
        client,
        store: context.store.clone(),
        observer: Arc::clone(&context.observer),
        image: request.image.clone(),
        stage: stage.clone(),
        slots: Arc::default(),
        threads: threads.clone(),
        flavor: flavor(context.privilege),
        squash: !context.privilege.is_some_and(Privilege::keeps_owners),
        fresh: request.fresh,
    };
    let totals = fetch.layers(&resolved.layers, &config.diff_ids).await?;
    stage.set(attr::BYTES_WIRE, totals.wire);
    stage.set(attr::BYTES_UNPACKED, totals.unpacked);

    let commit = stage!(span::IMAGE_COMMIT, in stage);
    let image = commit_image(context, &commit, request, &resolved, &config_raw.bytes, &config);
    let image = commit.end(image)?;
    if context.store.flushes_first() {
        context.store.unmark(mark);
    }
    context.observer.event(Event::Pulled {
        digest: resolved.top_digest.to_string(),
        image: &request.image.familiar(),
        newer: true,
    });
    Ok(Pulled { resolved: ResolvedImage { request: request.clone(), image }, cached: totals.cached })
}

/// The image under this name, if it is here and still what the registry means by it.
fn unchanged(context: &Context<'_>, request: &ImageRequest, resolved: &Resolved) -> Result<Option<Image>, EngineError> {
    let image = context.store.image(&request.key(), &request.platform.to_string())?;
    let same = |i: &Image| i.manifest == resolved.manifest.digest && i.tag_digest == resolved.top_digest.to_string();
    Ok(image.filter(same))
}

enum Turn {
    Ours(Lock),
    Done(Box<ResolvedImage>),
}

/// After how long the user is told why nothing happens.
const TELL_AFTER_NS: u64 = 1_000_000_000;

/// Of several processes that miss the same image one pulls it; the others wait and take what it made.
async fn claim_image(context: &Context<'_>, stage: &Stage, request: &ImageRequest) -> Result<Turn, EngineError> {
    let key = request.key();
    if let Some(lock) = context.store.try_claim_image(&key)? {
        return Ok(Turn::Ours(lock));
    }
    let wait = stage!(span::PULL_WAIT, in stage);
    let mut patience = Some(Mono::now());
    let lock = loop {
        tokio::time::sleep(ASK_AGAIN).await;
        if patience.is_some_and(|begun| Mono::now().since(begun) > TELL_AFTER_NS) {
            patience = None;
            let image = request.image.familiar();
            context.observer.event(Event::Note(format!("waiting for another trace process that pulls `{image}`")));
        }
        match context.store.try_claim_image(&key) {
            Ok(Some(lock)) => break lock,
            Ok(None) => {}
            Err(e) => return wait.end(Err(e)).map_err(Into::into),
        }
    };
    drop(wait);
    Ok(match look_up(context, request)? {
        Some(resolved) => Turn::Done(Box::new(resolved)),
        None => Turn::Ours(lock),
    })
}

/// Without an index it is the configuration that says what the image was built for. Some say it wrong, and some
/// programs run through an emulator, so that only another operating system, or a platform that was asked for, stops the
/// pull; a run tells.
fn check_platform(request: &ImageRequest, resolved: &Resolved, config: &ImageConfig) -> Result<(), EngineError> {
    let found = match (&resolved.platform, &config.platform) {
        (None, Some(found)) => found,
        _ => return Ok(()),
    };
    let asked_for = request.platform != Platform::host();
    if request.platform.suits(found).is_some() || (found.os == request.platform.os && !asked_for) {
        return Ok(());
    }
    Err(EngineError::Platform {
        image: request.image.familiar(),
        found: found.to_string(),
        expected: request.platform.to_string(),
    })
}

/// Looks at what storage may have lost of these layers. On a thread of its own, so that a signal is heeded meanwhile.
async fn verify(context: &Context<'_>, stage: &Stage, layers: Vec<Digest>) -> Result<(), EngineError> {
    if context.store.foreign_marks().is_empty() {
        return Ok(());
    }
    let (verifier, stage) = (context.verifier(), stage.clone());
    let verified = tokio::task::spawn_blocking(move || verifier.verify(&stage, &layers, &mut || true).map(drop));
    verified.await.map_err(|e| EngineError::Runtime(e.into()))?
}

/// What this pull is going to make.
fn listed(context: &Context<'_>, resolved: &Resolved, config: &ImageConfig) -> Listed {
    let layers = resolved.layers.iter().zip(&config.diff_ids);
    let missing = layers.filter(|(layer, diff_id)| !context.store.has_layer(diff_id, &layer.digest, layer.size));
    Listed {
        manifest: resolved.manifest.digest.to_string(),
        layers: missing
            .map(|(layer, diff_id)| ListedLayer {
                diff_id: diff_id.to_string(),
                blob: layer.digest.to_string(),
                size: layer.size,
            })
            .collect(),
    }
}

fn commit_image(
    context: &Context<'_>,
    commit: &Stage,
    request: &ImageRequest,
    resolved: &Resolved,
    config_bytes: &[u8],
    config: &ImageConfig,
) -> Result<Image, EngineError> {
    let layers: Vec<_> = resolved.layers.iter().zip(&config.diff_ids).map(|(l, d)| (l.digest, l.size, *d)).collect();
    let stack = context.store.stack_layers(
        &resolved.manifest.digest,
        &resolved.config.digest,
        &request.platform.to_string(),
        &layers,
        flavor(context.privilege),
    )?;
    // overlayfs takes 500 lower directories, of which a container has one of its own.
    if stack.lowers.len() > LOWERS_MAX {
        let why =
            format!("its layers need {} directories on each other, at most {LOWERS_MAX} can be", stack.lowers.len());
        return Err(EngineError::Invalid { name: request.image.familiar(), why });
    }
    if context.store.flushes_first() {
        let sync = stage!(span::LAYER_SYNC, in commit);
        sync.end(context.store.flush())?;
    }
    let mut documents = vec![
        Document { digest: resolved.manifest.digest, bytes: &resolved.manifest.bytes },
        Document { digest: resolved.config.digest, bytes: config_bytes },
    ];
    for raw in resolved.index.iter().chain(&resolved.nested) {
        documents.push(Document { digest: raw.digest, bytes: &raw.bytes });
    }
    Ok(context.store.commit_image(
        &request.key(),
        &resolved.manifest.media_type,
        &resolved.top_digest.to_string(),
        &documents,
        &stack,
    )?)
}

/// Which of overlayfs's attributes will be read: in a user namespace only `user.*` can be.
pub(super) fn flavor(privilege: Option<&Privilege>) -> Flavor {
    if privilege.is_some_and(|p| p.initial_user_namespace) { Flavor::Trusted } else { Flavor::User }
}
