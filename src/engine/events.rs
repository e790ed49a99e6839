//! What the engine tells while it works. It never draws: one file of the command line does.

use std::sync::Arc;
use std::time::Duration;

use crate::layer::Progress;

/// Receives events; called from the engine's threads, so it must be quick.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event<'_>);
}

/// Nobody watches.
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The image is not in the store.
    NotFoundLocally {
        /// As docker prints it, `hello-world:latest`.
        image: &'a str,
    },
    /// Docker Hub cannot be reached and the built-in hub takes its place.
    HubFallback {
        /// Why, one sentence.
        reason: String,
    },
    /// The manifest is known and the layers begin.
    Pulling {
        /// The tag.
        label: &'a str,
        /// Path in the registry.
        repository: &'a str,
        /// First 12 hex digits and size in bytes of each layer, base first.
        layers: &'a [(String, u64)],
    },
    /// A layer changed its state.
    Layer {
        /// Position, 0 is the base.
        index: usize,
        /// The new state.
        state: LayerState,
    },
    /// The image is complete.
    Pulled {
        /// What the tag names.
        digest: String,
        /// As docker prints it.
        image: &'a str,
        /// At least one layer came over the wire.
        newer: bool,
    },
    /// Something the user should know, one sentence.
    Note(String),
}

/// State of a layer, in docker's order.
#[derive(Clone, Debug)]
pub enum LayerState {
    /// It was there before.
    Exists,
    /// In the queue.
    Queued,
    /// Bytes are arriving and being extracted; the numbers move while it lasts.
    Downloading(Arc<Progress>),
    /// Its download broke off, and goes on after this time.
    Retrying(Duration),
    /// All bytes of the blob are here.
    Downloaded,
    /// In the store.
    Complete,
}
