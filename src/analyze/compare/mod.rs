//! Two groups of runs compared with each other: what is more than chance, and what is noise.
//!
//! A trace is first reduced to a [`Run`]: how long each phase took. So ten thousand traces can be read one by one.
//! Phases are aligned by name path (`image.pull/layer.pull/layer.download`; several spans of one path count with the
//! wall time during which at least one of them ran) and, where images have more than one layer, again by the layer's
//! digest. First comes whether a phase happened at all, then how long it took where it did.
//!
//! How a difference is called: Mann–Whitney's test for each phase that happened on both sides, and Holm's correction
//! over all of them, in which the whole run has nine times the weight of all phases together. So of groups that don't
//! differ at most 5 % get any difference called, and the whole run's answer doesn't drown in the number of layers. Runs
//! that failed are left out and counted.
//!
//! The test asks whether the runs of one side tend to be slower, not whether the medians differ. Two figures go with
//! it: the ratio of the medians with a bootstrap's interval, and the shift of the runs
//! ([`rank::shift`](super::stats::rank::shift)), whose interval excludes 1 wherever the test sees a difference. With
//! single runs far out on one side the first can contain 1 where the second doesn't; then
//! [`PhaseComparison::medians_agree`] is false, and reports say so.

mod align;
mod judge;
mod model;
mod phase;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use judge::verdict;
pub use model::{Comparison, Group, Member, PhaseComparison, Ratio, Sample, Verdict, Warning, medians_agree};
pub use phase::Phase;
pub use run::{Run, Setting};

use self::model::{sample, side_by_side};
use super::stats;
use crate::record::model::Trace;

/// The same for traces that are in memory. `None` if a side has no run that went well.
pub fn compare_traces(a: (&str, &[Trace]), b: (&str, &[Trace])) -> Option<Comparison> {
    let runs = |traces: &[Trace]| traces.iter().filter_map(Run::of).collect::<Vec<_>>();
    compare((a.0, &runs(a.1)), (b.0, &runs(b.1)))
}

/// Compares two groups, each with its label. `None` if a side has no run that went well.
/// The result depends on nothing but the runs, and not on their order.
pub fn compare(a: (&str, &[Run]), b: (&str, &[Run])) -> Option<Comparison> {
    compare_with(a, b, true)
}

/// With or without intervals of ratios and shifts, which take most of the time.
fn compare_with(a: (&str, &[Run]), b: (&str, &[Run]), intervals: bool) -> Option<Comparison> {
    let (runs_a, runs_b) = (succeeded(a.1), succeeded(b.1));
    if runs_a.is_empty() || runs_b.is_empty() {
        return None;
    }
    let whole = Phase { path: Arc::new([]), layer: None };
    let total_of = |runs: &[&Run]| sample(runs.iter().map(|r| (r.wall_ns, 0)));
    let mut total = side_by_side(whole, total_of(&runs_a), total_of(&runs_b), intervals);
    let (mut phases, mut layers) = align::aligned(&runs_a, &runs_b, intervals);
    let questions = judge::judge(&mut total, &mut phases, &mut layers);
    let a = group(a.0, &runs_a, a.1.len());
    let b = group(b.0, &runs_b, b.1.len());
    let warnings = judge::warnings((&a, &runs_a), (&b, &runs_b));
    Some(Comparison { a, b, total, phases, layers, questions, warnings })
}

fn succeeded(runs: &[Run]) -> Vec<&Run> {
    let mut out: Vec<&Run> = runs.iter().filter(|r| !r.failed).collect();
    out.sort_by_key(|r| (r.start, r.id));
    out
}

fn group(label: &str, runs: &[&Run], all: usize) -> Group {
    let walls: Vec<f64> = runs.iter().map(|r| r.wall_ns as f64).collect();
    let members = runs.iter().zip(stats::modified_z(&walls)).map(|(r, z)| Member {
        id: r.id,
        start: r.start,
        wall_ns: r.wall_ns,
        z,
        outlier: stats::is_outlier(z),
    });
    Group {
        label: label.to_owned(),
        runs: members.collect(),
        failed: all - runs.len(),
        variation: (runs.len() > 1).then(|| stats::robust_variation(&walls)).flatten(),
    }
}
