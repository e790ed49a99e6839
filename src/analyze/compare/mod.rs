//! Two groups of runs held against each other: what is certain, and what is noise.
//!
//! A trace is first reduced to a [`Run`]: how long each phase took. So ten thousand traces can be read one by one. Phases are aligned by name path
//! (`image.pull/layer.pull/layer.download`; several spans of one path count with the wall time during which at least one of them ran) and,
//! where images have more than one layer, again by the layer's digest. First comes whether a phase happened at all, then how long it took where it did.
//!
//! How a difference is called: Mann–Whitney's test for each phase that happened on both sides, and Holm's correction over all of them, in which the whole run
//! has nine times the weight of all phases together. So of groups that don't differ at most 5 % get any difference called, and the
//! whole run's answer doesn't drown in the number of layers. Runs that failed are left out and counted.
//!
//! The test asks whether the runs of one side tend to be slower, not whether the medians differ. Two figures go with it: the ratio of the
//! medians with a bootstrap's interval, and the shift of the runs ([`rank::shift`]), whose interval excludes 1 wherever the test sees a
//! difference. With single runs far out on one side the first can contain 1 where the second doesn't; then
//! [`PhaseComparison::medians_agree`] is false, and reports say so.

mod align;
mod judge;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use judge::verdict;
pub use run::{Run, Setting};

use super::stats::rank::{self, Shift};
use super::stats::{self, Interval, bootstrap};
use crate::record::model::{Trace, TraceId};

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

/// One run of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The trace.
    pub id: TraceId,
    /// Begin, ns since the Unix epoch.
    pub start: u64,
    /// Wall time, ns.
    pub wall_ns: u64,
    /// Distance from the group's median by its median absolute deviation.
    pub z: f64,
    /// Whether that is far out ([`stats::OUTLIER`]). The run is kept all the same.
    pub outlier: bool,
}

/// One side.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What to call it, e.g. `cold hello-world`.
    pub label: String,
    /// The runs that count, oldest first.
    pub runs: Vec<Member>,
    /// Runs left out because they failed.
    pub failed: usize,
    /// Spread of wall times by size, see [`stats::robust_variation`].
    pub variation: Option<f64>,
}

/// Durations of one phase on one side.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Sorted, ns. One for each run in which it happened: never empty. These are the steps of the empirical distribution.
    pub values: Vec<f64>,
    /// ns.
    pub median: f64,
    /// 95 % of the median by order statistics, ns; from 6 values on.
    pub interval: Option<Interval>,
    /// Median of its begin after the run's, ns.
    pub begin: f64,
}

/// Second side by first side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Median of the second by median of the first.
    pub value: f64,
    /// 95 % by bootstrap of log medians; from 6 runs on each side.
    pub interval: Option<Interval>,
}

/// What can be said of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The second side takes longer: certain at the corrected 5 %.
    Slower,
    /// The second side takes less time: certain at the corrected 5 %.
    Faster,
    /// No difference is shown; that doesn't show that there is none.
    Unclear,
    /// Not even the clearest difference could be shown with so few runs.
    TooFew {
        /// Runs on each side with which it could.
        needed: usize,
    },
    /// Only the first side has it.
    OnlyA,
    /// Only the second side has it.
    OnlyB,
}

/// One phase on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseComparison {
    /// Which.
    pub phase: Phase,
    /// In how many runs of the first side it happened.
    pub presence_a: usize,
    /// In how many runs of the second side it happened.
    pub presence_b: usize,
    /// Durations on the first side.
    pub a: Option<Sample>,
    /// Durations on the second side.
    pub b: Option<Sample>,
    /// Where both sides have it and the first took some time.
    pub ratio: Option<Ratio>,
    /// By what factor runs of the second side take longer than runs of the first, with the interval that belongs to `p`.
    pub shift: Option<Shift>,
    /// Mann–Whitney, two-sided, not corrected. Where both sides have it.
    pub p: Option<f64>,
    /// The same after Holm.
    pub p_holm: Option<f64>,
    /// What can be said.
    pub verdict: Verdict,
}

impl PhaseComparison {
    /// Of a difference that is certain: whether the interval of the medians' ratio lies on its side of 1, too. True where there is no interval.
    pub fn medians_agree(&self) -> bool {
        medians_agree(self.verdict, self.ratio.and_then(|r| r.interval))
    }
}

/// See [`PhaseComparison::medians_agree`].
pub fn medians_agree(verdict: Verdict, ratio: Option<Interval>) -> bool {
    match (verdict, ratio) {
        (Verdict::Slower, Some(i)) => i.low > 1.0,
        (Verdict::Faster, Some(i)) => i.high < 1.0,
        _ => true,
    }
}

/// Something that keeps the numbers from meaning what they seem to.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// A setting isn't the same in all runs; each value with its number of runs, the most frequent first.
    Differs {
        /// Which.
        setting: Setting,
        /// On the first side.
        a: Vec<(String, usize)>,
        /// On the second side.
        b: Vec<(String, usize)>,
    },
    /// Failed runs are left out.
    Failed {
        /// Of the first side.
        a: usize,
        /// Of the second side.
        b: usize,
    },
    /// Runs far from their group's median; they count all the same.
    Outliers {
        /// Of the first side.
        a: usize,
        /// Of the second side.
        b: usize,
    },
    /// Runs that are in both groups.
    InBoth(usize),
    /// One side was recorded wholly before the other: a change of the machine in between looks like a difference.
    NotInterleaved,
}

/// Two groups held against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The first side: what is compared with.
    pub a: Group,
    /// The second side: what is compared.
    pub b: Group,
    /// The whole run.
    pub total: PhaseComparison,
    /// All phases by name path, parents before children, in order of begin.
    pub phases: Vec<PhaseComparison>,
    /// The same for single layers, where there are several; in order of the phases, then of the layer's begin.
    pub layers: Vec<PhaseComparison>,
    /// How many questions the correction is for, the whole run included.
    pub questions: usize,
    /// What to bear in mind.
    pub warnings: Vec<Warning>,
}

/// The same for traces that are in memory. `None` if a side has no run that went well.
pub fn compare_traces(a: (&str, &[Trace]), b: (&str, &[Trace])) -> Option<Comparison> {
    let runs = |traces: &[Trace]| traces.iter().filter_map(Run::of).collect::<Vec<_>>();
    compare((a.0, &runs(a.1)), (b.0, &runs(b.1)))
}

/// Holds two groups, each with what to call it, against each other. `None` if a side has no run that went well.
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

/// From pairs of duration and begin.
fn sample(values: impl Iterator<Item = (u64, u64)>) -> Option<Sample> {
    let (mut values, mut begins): (Vec<f64>, Vec<f64>) = values.map(|(v, b)| (v as f64, b as f64)).unzip();
    values.sort_by(f64::total_cmp);
    begins.sort_by(f64::total_cmp);
    let median = stats::median(&values)?;
    Some(Sample { median, interval: stats::median_interval(&values), begin: stats::median(&begins)?, values })
}

fn side_by_side(phase: Phase, a: Option<Sample>, b: Option<Sample>, intervals: bool) -> PhaseComparison {
    let count = |s: &Option<Sample>| s.as_ref().map_or(0, |s| s.values.len());
    let (presence_a, presence_b) = (count(&a), count(&b));
    let mut out = PhaseComparison {
        phase,
        presence_a,
        presence_b,
        ratio: None,
        shift: None,
        p: None,
        p_holm: None,
        verdict: if presence_b == 0 { Verdict::OnlyA } else { Verdict::OnlyB },
        a,
        b,
    };
    if let (Some(a), Some(b)) = (&out.a, &out.b) {
        out.verdict = Verdict::Unclear;
        // Any fixed seed; the same for all phases, so that a phase's interval does not depend on which others there are.
        let interval =
            || intervals.then(|| bootstrap::ratio_interval(&a.values, &b.values, 0x7472_6163_6520_7275)).flatten();
        out.ratio = (a.median > 0.0).then(|| Ratio { value: b.median / a.median, interval: interval() });
        out.shift = intervals.then(|| rank::shift(&a.values, &b.values)).flatten();
        out.p = rank::mann_whitney(&a.values, &b.values).map(|t| t.p);
    }
    out
}
