//! What became of many traces that were to be delivered, and how that is said.

use std::time::Duration;

use super::output::{clean, say};
use super::sending::remarks;
use crate::backend::send::DeliveryReport;
use crate::report::units;

/// What became of it.
#[derive(Debug, Default)]
pub struct ExportSummary {
    /// Where to, as it is shown.
    pub host: String,
    /// How long it took.
    pub took: Duration,
    /// Traces that were delivered.
    pub traces: usize,
    /// What the receiver said about them.
    pub sent: DeliveryReport,
    /// Traces that the address has had before.
    pub had: usize,
    /// Traces that another process is sending now.
    pub busy: usize,
    /// Pending traces whose file is no longer there.
    pub gone: usize,
    /// Traces that could not be read, and why the first one could not.
    pub unreadable: (usize, String),
    /// Traces that were not delivered, and why the first one was not.
    pub failed: (usize, String),
    /// Of the delivered ones these may be there twice: an earlier try had no answer.
    pub again: usize,
}

impl ExportSummary {
    /// Says it, with `tail` after what failed.
    pub fn tell(&self, tail: &str) {
        let runs = |n: usize| units::count(n as u64, "trace");
        if self.traces > 0 {
            say(&clean(&format!(
                "exported {} ({}) to {} in {:.0} ms{}",
                runs(self.traces),
                units::count(self.sent.spans as u64, "span"),
                self.host,
                self.took.as_secs_f64() * 1e3,
                remarks(&self.sent, "span"),
            )));
        }
        if self.again > 0 {
            say(&format!(
                "Note: {} had been sent before without an answer; a back end that keeps spans by id has each once",
                runs(self.again)
            ));
        }
        if self.had > 0 {
            say(&format!("{} had been sent there before; `--again` sends them anyway", runs(self.had)));
        }
        if self.busy > 0 {
            say(&format!("{} left to another process that is sending now", runs(self.busy)));
        }
        if self.gone > 0 {
            say(&format!("Note: {} still to be sent is no longer recorded: taken off the list", runs(self.gone)));
        }
        if self.unreadable.0 > 0 {
            say(&clean(&format!("trace: {} cannot be read: {}", runs(self.unreadable.0), self.unreadable.1)));
        }
        if self.failed.0 > 0 {
            say(&clean(&format!("trace: {} not exported: {}{tail}", runs(self.failed.0), self.failed.1)));
        }
    }

    /// Whether all is there.
    pub fn is_complete(&self) -> bool {
        self.failed.0 == 0 && self.unreadable.0 == 0
    }
}
