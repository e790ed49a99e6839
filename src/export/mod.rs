//! Recorded runs on their way to a tracing back end: which are still to be sent (`marks`), how they go out in batches
//! (`queue`, `batches`), what is done right after a run (`after_run`), and what became of them (`summary`). Nothing
//! here prints: an [`Observer`] is told how far it is, and results come back as values.

pub mod after_run;
mod batches;
pub mod marks;
mod queue;
pub mod summary;

use std::time::Duration;

use crate::backend::http::HttpError;
use crate::backend::settings::Target;
use crate::error::Failure;
use crate::record::model::{Trace, TraceId};
use crate::store::StoreError;

pub use queue::export;
pub use summary::ExportSummary;

/// What is to be sent.
#[derive(Debug)]
pub enum Item {
    /// A recorded run.
    Stored(TraceId),
    /// A trace from elsewhere.
    Given(Box<Trace>),
}

impl Item {
    /// Which trace it is.
    pub fn id(&self) -> TraceId {
        match self {
            Item::Stored(id) => *id,
            Item::Given(trace) => trace.id,
        }
    }
}

/// How to export.
pub struct ExportOptions {
    /// Where to.
    pub target: Target,
    /// How long all of it may take; without it each batch has a timeout of its own.
    pub timeout: Option<Duration>,
    /// Whether what cannot be sent is marked as pending.
    pub keep_marks: bool,
    /// Whether only what is marked as pending is sent.
    pub only_marked: bool,
    /// Whether what this address has been sent before is left out.
    pub once: bool,
}

/// Is told how far an export is. Called from the thread that exports, so it must be quick.
pub trait Observer {
    /// It begins, with so many traces to send.
    fn started(&self, _traces: usize) {}
    /// One more trace has been taken or given up.
    fn settled(&self) {}
    /// It has ended.
    fn finished(&self) {}
}

/// Nobody watches.
pub struct Silent;

impl Observer for Silent {}

/// Why an export ended before all traces were dealt with. What a receiver refuses is no such error, see
/// [`ExportSummary`].
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Two that send everything would send it twice.
    #[error("another `trace export --all` is sending to `{0}` now")]
    Busy(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No client could be started.
    #[error(transparent)]
    Http(#[from] HttpError),
}

impl Failure for ExportError {
    fn kind(&self) -> &'static str {
        match self {
            ExportError::Busy(_) => "export_busy",
            ExportError::Store(e) => e.kind(),
            ExportError::Http(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ExportError::Busy(_) => None,
            ExportError::Store(e) => e.hint(),
            ExportError::Http(e) => e.hint(),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            ExportError::Busy(_) => 125,
            ExportError::Store(e) => e.exit_code(),
            ExportError::Http(e) => e.exit_code(),
        }
    }
}
