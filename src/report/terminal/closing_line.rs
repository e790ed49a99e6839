//! The line that compares a run and those like it with runs of the other kind.

use crate::analyze::cold_warm::{ColdWarm, Side};
use crate::report::{Style, units};

/// `warm 4.1 ms (median of 5) · cold 312.4 ms (1 run) · 76.2× faster · pull 301.0 ms saved`; no line break.
pub fn closing_line(comparison: &ColdWarm, style: &Style) -> String {
    let ColdWarm { this, other, ratio } = comparison;
    let side = |side: &Side| {
        let runs = if side.runs == 1 { "1 run".to_owned() } else { format!("median of {}", side.runs) };
        format!("{} {} ({runs})", style.clean(&side.kind), units::duration(side.wall_ns, style))
    };
    let mut parts = vec![side(this), side(other), units::faster_or_slower(*ratio, style)];
    if comparison.pull_saved_ns() > 0 {
        let time = units::duration(comparison.pull_saved_ns(), style);
        // The cold run that has just ended saved nothing: it paid.
        let word = if this.pull_ns >= other.pull_ns { "paid" } else { "saved" };
        parts.push(format!("pull {time} {word}"));
    }
    parts.join(style.dot())
}
