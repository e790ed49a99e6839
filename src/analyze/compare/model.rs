//! What a comparison says, and a phase on both sides.

use super::phase::Phase;
use super::run::Setting;
use crate::analyze::stats::rank::{self, Shift};
use crate::analyze::stats::{self, Interval, bootstrap};
use crate::record::model::TraceId;

/// One run of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The trace.
    pub id: TraceId,
    /// Start, ns since the Unix epoch.
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
    /// Sorted, ns. One for each run in which it happened: never empty. These are the steps of the empirical
    /// distribution.
    pub values: Vec<f64>,
    /// ns.
    pub median: f64,
    /// 95 % of the median by order statistics, ns; from 6 values on.
    pub interval: Option<Interval>,
    /// Median of its start after the run's, ns.
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

/// What is known about the difference of a phase.
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
    /// By what factor runs of the second side take longer than runs of the first, with the interval that belongs to
    /// `p`.
    pub shift: Option<Shift>,
    /// Mann–Whitney, two-sided, not corrected. Where both sides have it.
    pub p: Option<f64>,
    /// The same after Holm.
    pub p_holm: Option<f64>,
    /// What is known about the difference.
    pub verdict: Verdict,
}

impl PhaseComparison {
    /// Of a difference that is certain: whether the interval of the medians' ratio lies on its side of 1, too. True
    /// where there is no interval.
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

/// Two groups compared with each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The first side: what is compared with.
    pub a: Group,
    /// The second side: what is compared.
    pub b: Group,
    /// The whole run.
    pub total: PhaseComparison,
    /// All phases by name path, parents before children, in order of start.
    pub phases: Vec<PhaseComparison>,
    /// The same for single layers, where there are several; in order of the phases, then of the layer's start.
    pub layers: Vec<PhaseComparison>,
    /// How many questions the correction is for, the whole run included.
    pub questions: usize,
    /// What to bear in mind.
    pub warnings: Vec<Warning>,
}

/// From pairs of duration and start.
pub(super) fn sample(values: impl Iterator<Item = (u64, u64)>) -> Option<Sample> {
    let (mut values, mut begins): (Vec<f64>, Vec<f64>) = values.map(|(v, b)| (v as f64, b as f64)).unzip();
    values.sort_by(f64::total_cmp);
    begins.sort_by(f64::total_cmp);
    let median = stats::median(&values)?;
    Some(Sample { median, interval: stats::median_interval(&values), begin: stats::median(&begins)?, values })
}

pub(super) fn side_by_side(phase: Phase, a: Option<Sample>, b: Option<Sample>, intervals: bool) -> PhaseComparison {
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
        // Any fixed seed; the same for all phases, so that a phase's interval does not depend on which others there
        // are.
        let interval =
            || intervals.then(|| bootstrap::ratio_interval(&a.values, &b.values, 0x7472_6163_6520_7275)).flatten();
        out.ratio = (a.median > 0.0).then(|| Ratio { value: b.median / a.median, interval: interval() });
        out.shift = intervals.then(|| rank::shift(&a.values, &b.values)).flatten();
        out.p = rank::mann_whitney(&a.values, &b.values).map(|t| t.p);
    }
    out
}
