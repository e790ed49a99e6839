//! The pipeline. [`run`] reads as the list of its stages, in order.

mod cleanup;
mod create;
pub mod error;
pub mod events;
pub mod exec;
mod fetch;
mod mounts;
pub mod options;
pub mod pull;
pub mod resolve;
mod start;
mod start_spans;
pub mod startup;
mod verify;
mod wait;

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

pub use error::EngineError;
pub use options::{MountOptions, Notes, Propagated, PullPolicy, RunOptions, VolumesFrom};
pub use resolve::{HubChoice, ImageRequest, ResolvedImage};
pub use startup::{Startup, startup};

use crate::container::ContainerError;
use crate::container::privilege::Privilege;
use crate::container::signals::Signals;
use crate::error::Failure;
use crate::hub;
use crate::names::{attr, span};
use crate::record::{Mono, Stage};
use crate::registry::ImageConfig;
use crate::stage;
use crate::store::images::Image;
use crate::store::{Store, StoreError};
use crate::sys::wait::Exit;
use events::Observer;
use verify::Verifier;

/// What every command of the engine works with.
pub struct Context<'a> {
    /// Where images and containers are.
    pub store: &'a Store,
    /// What this host lets us do; `None` runs programs without a container.
    pub privilege: Option<&'a Privilege>,
    /// Why it lets us do nothing, if that was not our wish.
    pub denied: RefCell<Option<ContainerError>>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl Context<'_> {
    fn verifier(&self) -> Verifier {
        Verifier {
            store: self.store.clone(),
            observer: Arc::clone(&self.observer),
            flavor: pull::flavor(self.privilege),
            squash: !self.privilege.is_some_and(Privilege::keeps_owners),
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// The container's exit, or why there was none.
    pub result: Result<Exit, EngineError>,
    /// What became known on the way.
    pub known: Known,
}

/// What a run finds out on its way, whether it ends well or not.
#[derive(Debug, Default)]
pub struct Known {
    /// What could not be taken away again.
    pub leftovers: Vec<StoreError>,
    /// `cold`, `warm` or `partial`.
    pub kind: Option<Kind>,
    /// Name of the image in the store.
    pub image: Option<String>,
}

/// Whether the image was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every layer had to be pulled.
    Cold,
    /// Nothing had to be pulled.
    Warm,
    /// Some layers were there.
    Partial,
}

impl Kind {
    /// The attribute's value.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cold => "cold",
            Kind::Warm => "warm",
            Kind::Partial => "partial",
        }
    }

    /// The kind to compare with.
    pub fn other(self) -> Kind {
        match self {
            Kind::Warm => Kind::Cold,
            Kind::Cold | Kind::Partial => Kind::Warm,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Runs a container from image name to nothing left, under the stage `run`, which stays open for its caller to close.
pub fn run(context: &Context<'_>, options: &RunOptions, signals: &mut Signals, run: &Stage) -> Outcome {
    let mut known = Known::default();
    let result = stages(context, options, signals, run, &mut known);
    settle(context, run);
    if let Some(kind) = known.kind {
        run.set(attr::RUN_KIND, kind.name());
    }
    match &result {
        Ok(exit) => run.set(attr::PROCESS_EXIT_CODE, u32::from(exit.code())),
        Err(e) => {
            run.set(attr::PROCESS_EXIT_CODE, u32::from(e.exit_code()));
            run.fail(e.kind(), &e.to_string());
        }
    }
    Outcome { result, known }
}

fn stages(
    context: &Context<'_>,
    options: &RunOptions,
    signals: &mut Signals,
    run: &Stage,
    known: &mut Known,
) -> Result<Exit, EngineError> {
    run.set(attr::RUNTIME, "builtin");
    run.set(attr::ISOLATION, if context.privilege.is_some() { "namespaces" } else { "none" });
    let mut request = ImageRequest::new(options.image.clone(), &options.hub, options.platform.clone())?;
    request.fresh = options.cold;
    describe(run, &request);
    if context.privilege.is_none() && !options.plain {
        request = only_builtin(context, request)?;
    }
    if options.cold {
        let stage = stage!(span::IMAGE_FORGET, in run);
        stage.end(forget(context, &request, signals))?;
    }
    // From the answer of the look-up until the container's own directory names them, nobody may take the layers away.
    let using = context.store.lock_shared()?;
    let found = match options.pull {
        PullPolicy::Always => None,
        _ => resolve::check(context, run, &request, signals)?,
    };
    let ResolvedImage { request, image } = match found {
        Some(resolved) => {
            known.kind = Some(Kind::Warm);
            resolved
        }
        None if options.pull == PullPolicy::Never => {
            return Err(StoreError::NoImage(request.image.familiar()).into());
        }
        None => {
            if options.pull == PullPolicy::Missing {
                context.observer.event(events::Event::NotFoundLocally { image: &request.image.familiar() });
            }
            let pulled = pull::pull(context, signals, run, &request)?;
            known.kind = Some(match pulled.cached {
                0 => Kind::Cold,
                all if all == pulled.resolved.image.stack.layers.len() => Kind::Warm,
                _ => Kind::Partial,
            });
            pulled.resolved
        }
    };
    describe(run, &request);
    known.image = Some(request.key());
    run.set(attr::OCI_MANIFEST_DIGEST, image.manifest.to_string());
    stop_if_interrupted(signals)?;
    if context.privilege.is_none() {
        return start::run_plain(context, options, signals, run, &image);
    }

    let created = create::create(context, options, run, &image)?;
    drop(using);
    let ended = start::start(run, created, options).and_then(|started| wait::wait(run, started, signals, options));
    let (exit, leftovers) = cleanup::cleanup(run, ended, options);
    known.leftovers = leftovers;
    exit
}

/// Where nothing can be isolated, only programs that we wrote ourselves run, unless the user insists.
fn only_builtin(context: &Context<'_>, request: ImageRequest) -> Result<ImageRequest, EngineError> {
    if (request.fallback || request.builtin) && hub::has(request.image.repository(), &request.image.version()) {
        return Ok(request.from_builtin());
    }
    match context.denied.take() {
        Some(why) => Err(why.into()),
        None => Ok(request),
    }
}

fn describe(run: &Stage, request: &ImageRequest) {
    run.set(attr::HUB, request.hub());
    run.set(attr::CONTAINER_IMAGE_NAME, request.image.name());
    if let Some(tag) = request.image.tag() {
        run.set(attr::CONTAINER_IMAGE_TAGS, vec![tag]);
    }
}

/// Forgets an image and what only it needs. Also what the built-in hub gave in its place.
pub fn forget(context: &Context<'_>, request: &ImageRequest, signals: &mut Signals) -> Result<bool, EngineError> {
    let platform = request.platform.to_string();
    let mut found = context.store.forget_image(&request.key(), Some(&platform))?;
    if request.fallback {
        found |= context.store.forget_image(&request.from_builtin().key(), Some(&platform))?;
    }
    let mut number = None;
    let collected = context.store.collect_unless(&mut || {
        number = signals.interrupted();
        number.is_none()
    });
    match number {
        Some(n) => Err(EngineError::interrupted(n)),
        None => Ok(collected.map(|_| found)?),
    }
}

/// Makes sure of what was pulled a while ago (`layer.sync`). The container has gone by now, and what is left to write
/// is little.
fn settle(context: &Context<'_>, parent: &Stage) {
    if let Some(ripe) = context.store.ripe_marks() {
        let stage = stage!(span::LAYER_SYNC, in parent);
        if let Err(e) = stage.end(context.store.settle(ripe)) {
            context.observer.event(events::Event::Note(e.to_string()));
        }
    }
}

fn stop_if_interrupted(signals: &mut Signals) -> Result<(), EngineError> {
    match signals.interrupted() {
        Some(number) => Err(EngineError::interrupted(number)),
        None => Ok(()),
    }
}

/// Pulls an image under the stage `parent`, whether it is here or not; layers that are here are not pulled again.
pub fn pull_image(
    context: &Context<'_>,
    signals: &mut Signals,
    parent: &Stage,
    request: &ImageRequest,
) -> Result<pull::Pulled, EngineError> {
    describe(parent, request);
    let pulled = pull::pull(context, signals, parent, request);
    settle(context, parent);
    let pulled = pulled?;
    let ResolvedImage { request, image } = &pulled.resolved;
    describe(parent, request);
    parent.set(attr::OCI_MANIFEST_DIGEST, image.manifest.to_string());
    Ok(pulled)
}

/// The root stage of a command, which began when the program did.
pub fn root_stage(name: &'static str, started: Mono) -> Stage {
    let stage = match name {
        span::PULL => stage!(span::PULL),
        span::EXEC => stage!(span::EXEC),
        _ => stage!(span::RUN),
    };
    stage.began(started);
    stage.set(attr::PROCESS_PID, std::process::id());
    stage
}

fn parse_config(image: &Image) -> Result<ImageConfig, EngineError> {
    ImageConfig::parse(&image.config, image.stack.layers.len())
        .map_err(|why| EngineError::Invalid { name: image.name.clone(), why })
}
