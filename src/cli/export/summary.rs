//! How the summary of an export is worded.

use crate::backend::send::DeliveryReport;
use crate::cli::output::{clean, say};
use crate::export::ExportSummary;
use crate::report::units;

/// Tells the user what became of an export, with `tail` after what failed.
pub fn tell(summary: &ExportSummary, tail: &str) {
    let runs = |n: usize| units::count(n as u64, "trace");
    if summary.traces > 0 {
        say(&clean(&format!(
            "exported {} ({}) to {} in {:.0} ms{}",
            runs(summary.traces),
            units::count(summary.report.spans as u64, "span"),
            summary.host,
            summary.took.as_secs_f64() * 1e3,
            remarks(&summary.report, "span"),
        )));
    }
    if summary.perhaps_twice > 0 {
        say(&format!(
            "Note: {} had been sent before without an answer; a back end that keeps spans by id has each once",
            runs(summary.perhaps_twice)
        ));
    }
    if summary.already_sent > 0 {
        say(&format!("{} had been sent there before; `--again` sends them anyway", runs(summary.already_sent)));
    }
    if summary.busy > 0 {
        say(&format!("{} left to another process that is sending now", runs(summary.busy)));
    }
    if summary.gone > 0 {
        say(&format!("Note: {} still to be sent is no longer recorded: taken off the list", runs(summary.gone)));
    }
    if summary.unreadable > 0 {
        say(&clean(&format!("trace: {} cannot be read: {}", runs(summary.unreadable), summary.first_unreadable)));
    }
    if summary.failed > 0 {
        say(&clean(&format!("trace: {} not exported: {}{tail}", runs(summary.failed), summary.first_failure)));
    }
}

/// What the receiver said about what it took, if anything. `item` is what it counts.
pub fn remarks(report: &DeliveryReport, item: &str) -> String {
    let mut line = String::new();
    if report.rejected > 0 {
        line.push_str(&format!("; it rejected {}", units::count(report.rejected, item)));
    }
    if !report.message.is_empty() {
        line.push_str(&format!("; it says `{}`", report.message));
    }
    line
}
