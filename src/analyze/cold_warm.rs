//! Runs of one kind against runs of the other, of the same image and command on one machine.

use super::Analysis;
use super::facts::facts;
use super::stats::{self, median};
use crate::names::span;
use crate::record::model::Trace;

/// Runs whose times vary by more than this part of their median say nothing.
const TOO_NOISY: f64 = 0.5;

/// What a comparison needs of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Wall time, ns.
    pub wall_ns: u64,
    /// `image.pull` on the critical path, ns; 0 if nothing was pulled.
    pub pull_ns: u64,
}

impl Measured {
    /// `None` of a run that failed or took no time.
    pub fn of(trace: &Trace) -> Option<Self> {
        let root = trace.root()?;
        if root.status.is_error() || root.duration() == 0 {
            return None;
        }
        // Most runs are warm, and of those there is nothing to find out.
        let pulled = trace.spans.iter().any(|s| s.name == span::IMAGE_PULL);
        let pull_ns = if pulled { facts(&Analysis::of(trace)?).pull_ns } else { 0 };
        Some(Measured { wall_ns: root.duration(), pull_ns })
    }
}

/// All runs of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// `cold`, `warm`, `partial`.
    pub kind: String,
    /// How many runs.
    pub runs: usize,
    /// Median of their wall times, ns.
    pub wall_ns: u64,
    /// Median of what their pulls had of that, ns.
    pub pull_ns: u64,
}

/// Two kinds of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ColdWarm {
    /// The kind of the run that has just ended.
    pub this: Side,
    /// The other one.
    pub other: Side,
    /// Time of `this` by that of `other`.
    pub ratio: f64,
}

impl ColdWarm {
    /// What the side that pulled less saved in pulling, ns.
    pub fn pull_saved_ns(&self) -> u64 {
        self.this.pull_ns.abs_diff(self.other.pull_ns)
    }
}

/// Holds runs of one kind against those of the other. `None` where that says nothing: of one kind there are none, the
/// times of one vary too much, or those of both overlap.
pub fn compare(this: (&str, &[Measured]), other: (&str, &[Measured])) -> Option<ColdWarm> {
    if this.0 == other.0 {
        return None;
    }
    let spread = |runs: &[Measured]| {
        let mut walls: Vec<f64> = runs.iter().map(|r| r.wall_ns as f64).collect();
        walls.sort_by(f64::total_cmp);
        let noisy = walls.len() > 2 && stats::robust_variation(&walls).is_some_and(|v| v > TOO_NOISY);
        // Of many runs the middle half: one that was disturbed is no reason to be silent.
        let cut = walls.len() / 4;
        (!noisy && !walls.is_empty()).then(|| (walls[cut], walls[walls.len() - 1 - cut]))
    };
    let ((least, most), (other_least, other_most)) = (spread(this.1)?, spread(other.1)?);
    if least <= other_most && other_least <= most {
        return None;
    }
    let (this, other) = (side(this)?, side(other)?);
    Some(ColdWarm { ratio: this.wall_ns as f64 / other.wall_ns as f64, this, other })
}

fn side((kind, runs): (&str, &[Measured])) -> Option<Side> {
    let middle = |of: fn(&Measured) -> u64| {
        let mut all: Vec<f64> = runs.iter().map(|r| of(r) as f64).collect();
        all.sort_by(f64::total_cmp);
        median(&all).map(|m| m.round() as u64)
    };
    let (wall_ns, pull_ns) = (middle(|r| r.wall_ns)?, middle(|r| r.pull_ns)?);
    (wall_ns > 0).then(|| Side { kind: kind.to_owned(), runs: runs.len(), wall_ns, pull_ns })
}
