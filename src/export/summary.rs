//! What became of many traces that were to be exported.

use std::time::Duration;

use crate::backend::send::DeliveryReport;

/// What became of an export.
#[derive(Debug, Default)]
pub struct ExportSummary {
    /// Where to, as it is shown.
    pub host: String,
    /// How long it took.
    pub took: Duration,
    /// Traces that were delivered.
    pub traces: usize,
    /// What the receiver reported about them.
    pub report: DeliveryReport,
    /// Traces that the address has been sent before.
    pub already_sent: usize,
    /// Traces that another process is sending now.
    pub busy: usize,
    /// Pending traces whose file is no longer there.
    pub gone: usize,
    /// Traces that could not be read.
    pub unreadable: usize,
    /// Why the first of them could not be read.
    pub first_unreadable: String,
    /// Traces that were not delivered.
    pub failed: usize,
    /// Why the first of them was not delivered.
    pub first_failure: String,
    /// Of the delivered ones these may be there twice: an earlier try got no answer.
    pub perhaps_twice: usize,
}

impl ExportSummary {
    /// Whether everything is there.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.unreadable == 0
    }
}
