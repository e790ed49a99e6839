//! Why a run failed. What went wrong while taking things away again travels beside it, not instead of it.

use crate::container::ContainerError;
use crate::error::Failure;
use crate::hub::HubError;
use crate::layer::LayerError;
use crate::registry::RegistryError;
use crate::registry::reference::ReferenceError;
use crate::store::StoreError;

/// Any stage's error.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum EngineError {
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Registry(Box<RegistryError>),
    #[error("{}", layer_sentence(image, digest, source))]
    Layer { image: String, digest: String, source: Box<LayerError> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("cannot start what a pull needs: {0}")]
    Runtime(std::io::Error),
    #[error("`{image}` is not an image of the built-in hub: it has {has}")]
    NotInHub { image: String, has: String },
    #[error("image `{image}` is for {found}, expected {expected}")]
    Platform { image: String, found: String, expected: String },
    #[error("interrupted by {0}")]
    Interrupted(&'static str, i32),
    #[error("`{name}`: {why}")]
    Invalid { name: String, why: String },
}

impl From<RegistryError> for EngineError {
    fn from(error: RegistryError) -> Self {
        EngineError::Registry(Box::new(error))
    }
}

impl EngineError {
    /// Interrupted by signal `number`.
    pub(crate) fn interrupted(number: i32) -> Self {
        EngineError::Interrupted(signal_name(number), number)
    }

    fn inner(&self) -> Option<&dyn Failure> {
        match self {
            EngineError::Reference(e) => Some(e),
            EngineError::Registry(e) => Some(e.as_ref()),
            EngineError::Layer { source, .. } => Some(source.as_ref()),
            EngineError::Store(e) => Some(e),
            EngineError::Container(e) => Some(e),
            EngineError::Hub(e) => Some(e),
            _ => None,
        }
    }
}

impl Failure for EngineError {
    fn kind(&self) -> &'static str {
        match self {
            EngineError::Runtime(_) => "runtime",
            EngineError::NotInHub { .. } => "no_image",
            EngineError::Platform { .. } => "platform",
            EngineError::Interrupted(..) => "interrupted",
            EngineError::Invalid { .. } => "invalid",
            other => other.inner().map_or("unknown", Failure::kind),
        }
    }

    fn hint(&self) -> Option<String> {
        self.inner().and_then(Failure::hint)
    }

    fn exit_code(&self) -> u8 {
        match self {
            EngineError::Interrupted(_, number) => (128 + number) as u8,
            other => other.inner().map_or(125, Failure::exit_code),
        }
    }
}

/// Which layer of which image, unless the cause names the layer itself.
fn layer_sentence(image: &str, digest: &str, source: &LayerError) -> String {
    let cause = source.to_string();
    if cause.contains(digest) {
        format!("cannot pull `{image}`: {cause}")
    } else {
        format!("cannot pull `{image}`: layer `{digest}`: {cause}")
    }
}

/// `SIGINT` for 2.
pub fn signal_name(number: i32) -> &'static str {
    nix::sys::signal::Signal::try_from(number).map_or("a signal", nix::sys::signal::Signal::as_str)
}
