//! Which image is meant, and whether it is in the store (`cache.check`).

use crate::container::signals::Signals;
use crate::engine::{Context, EngineError};
use crate::names::{attr, span};
use crate::record::Stage;
use crate::registry::{ImageRef, Platform};
use crate::stage;
use crate::store::images::Image;

/// Which registry names without a host mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubChoice {
    /// Docker Hub; the built-in hub if Docker Hub cannot be reached and it has the image.
    Auto,
    /// Docker Hub and nothing else.
    DockerIo,
    /// The built-in hub.
    Builtin,
    /// Another registry.
    Host(String),
}

impl HubChoice {
    /// As given to `--hub`.
    pub fn parse(text: &str) -> Self {
        match text {
            "auto" | "" => HubChoice::Auto,
            "docker.io" => HubChoice::DockerIo,
            "builtin" => HubChoice::Builtin,
            host => HubChoice::Host(host.to_owned()),
        }
    }
}

/// `trace.hub` of the built-in hub, and its host in the names of images that came from it.
pub const BUILTIN: &str = "builtin";

/// An image that is asked for: its name, and where it may come from.
#[derive(Clone, Debug)]
pub struct ImageRequest {
    /// The name, with the registry it means.
    pub image: ImageRef,
    /// Whether the built-in hub may stand in.
    pub fallback: bool,
    /// It is to come from the built-in hub.
    pub builtin: bool,
    /// Platform.
    pub platform: Platform,
    /// Nothing of it that is here from before is to be used.
    pub fresh: bool,
}

impl ImageRequest {
    /// What `image` means under `hub`. An error if `hub` is a host that no name can have.
    pub fn new(image: ImageRef, hub: &HubChoice, platform: Platform) -> Result<Self, EngineError> {
        let request = |image, fallback, builtin| Ok(ImageRequest { image, fallback, builtin, platform, fresh: false });
        if !image.is_docker_hub() {
            return request(image, false, false);
        }
        match hub {
            HubChoice::Auto => request(image, true, false),
            HubChoice::DockerIo => request(image, false, false),
            HubChoice::Builtin => request(image, false, true),
            HubChoice::Host(host) => {
                let version = image.canonical()[image.name().len()..].to_owned();
                let moved = ImageRef::parse(&format!("{host}/{}{version}", image.repository()))?;
                request(moved, false, false)
            }
        }
    }

    /// Where it comes from: `docker.io`, `builtin` or a host.
    pub fn hub(&self) -> &str {
        if self.builtin { BUILTIN } else { self.image.registry() }
    }

    /// The name it has in the store. What the built-in hub gave under a name of Docker Hub must not pass for the real
    /// thing later.
    pub fn key(&self) -> String {
        let canonical = self.image.canonical();
        match canonical.strip_prefix("docker.io/") {
            Some(rest) if self.builtin => format!("{BUILTIN}/{rest}"),
            _ => canonical,
        }
    }

    /// The same image from the built-in hub.
    pub fn from_builtin(&self) -> Self {
        ImageRequest { builtin: true, ..self.clone() }
    }
}

/// An image that is in the store.
#[derive(Debug)]
pub struct ResolvedImage {
    /// The request as it was fulfilled: it says which hub the image came from.
    pub request: ImageRequest,
    /// The image.
    pub image: Image,
}

/// Looks the image up, and looks at it where it may not have survived a power cut.
pub fn check(
    context: &Context<'_>,
    run: &Stage,
    request: &ImageRequest,
    signals: &mut Signals,
) -> Result<Option<ResolvedImage>, EngineError> {
    let stage = stage!(span::CACHE_CHECK, in run);
    let mut found = look_up(context, request);
    if let Ok(Some(ResolvedImage { image, .. })) = &found {
        let mut number = None;
        let verified = context.verifier().verify(&stage, &image.diff_ids(), &mut || {
            number = signals.interrupted();
            number.is_none()
        });
        match verified {
            Ok(false) => {}
            Ok(true) => found = look_up(context, request),
            Err(e) => found = Err(number.map_or(e, EngineError::interrupted)),
        }
    }
    stage.set(attr::CACHE, if matches!(found, Ok(Some(_))) { "hit" } else { "miss" });
    stage.end(found)
}

/// The look-up without a span of its own.
pub fn look_up(context: &Context<'_>, request: &ImageRequest) -> Result<Option<ResolvedImage>, EngineError> {
    let platform = request.platform.to_string();
    if let Some(image) = context.store.image(&request.key(), &platform)? {
        return Ok(Some(ResolvedImage { request: request.clone(), image }));
    }
    if request.fallback {
        let request = request.from_builtin();
        if let Some(image) = context.store.image(&request.key(), &platform)? {
            return Ok(Some(ResolvedImage { request, image }));
        }
    }
    Ok(None)
}
