//! Where in a run a phase stands.

use std::sync::Arc;

/// Where a phase stands. The whole run is the empty path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phase {
    /// Span names below the root.
    pub path: Arc<[Arc<str>]>,
    /// Digest of the layer; `None` for all layers together, and for what belongs to none.
    pub layer: Option<Arc<str>>,
}

impl Phase {
    /// The names with `/` between; empty for the whole run.
    pub fn joined(&self) -> String {
        self.path.join("/")
    }

    /// The last name; empty for the whole run.
    pub fn name(&self) -> &str {
        self.path.last().map_or("", |n| n)
    }
}
