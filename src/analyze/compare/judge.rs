//! What is called a difference, and what to bear in mind.

use std::collections::{BTreeMap, HashSet};

use super::model::{Group, PhaseComparison, Verdict, Warning};
use super::run::{Run, Setting};
use crate::analyze::stats::{self, rank};
use crate::record::model::TraceId;

/// What the whole run weighs in the correction, all phases together being 1. The whole run is what is asked for; and if
/// it differs, Holm's procedure passes its weight on to the phases. With nine tenths of 5 % ten runs on each side are
/// called different at U = 23 (p = 0.0433), as they would be with all of it: the next step, U = 24, is p = 0.0524.
const WEIGHT: f64 = 9.0;

/// Corrects the p's and settles the verdicts. Gives the number of questions.
pub(super) fn judge(
    total: &mut PhaseComparison,
    phases: &mut [PhaseComparison],
    layers: &mut [PhaseComparison],
) -> usize {
    let asked: Vec<&mut PhaseComparison> =
        phases.iter_mut().chain(layers.iter_mut()).filter(|r| r.p.is_some()).collect();
    let others = asked.len();
    let weights = std::iter::once(WEIGHT * others.max(1) as f64).chain(std::iter::repeat(1.0));
    let mut all: Vec<&mut PhaseComparison> = std::iter::once(total).chain(asked).collect();
    let asks: Vec<(f64, f64)> = all.iter().zip(weights).map(|(r, w)| (r.p.unwrap_or(1.0), w)).collect();
    let sum: f64 = asks.iter().map(|a| a.1).sum();
    let corrected = rank::holm(&asks);
    // What the first of the phases is multiplied by: less, once the whole run has passed its weight on.
    let of_phases = if corrected[0] < stats::ALPHA { others as f64 } else { sum };
    for (i, ((row, p), (_, weight))) in all.iter_mut().zip(corrected).zip(&asks).enumerate() {
        row.p_holm = Some(p);
        row.verdict = match (&row.a, &row.b) {
            (Some(a), Some(b)) => verdict(&a.values, &b.values, p, if i == 0 { sum / weight } else { of_phases }),
            _ => Verdict::Unclear,
        };
    }
    others + 1
}

/// The verdict on two sorted groups whose corrected p is `p`; `factor` is what the first question of the
/// correction is multiplied by.
pub(crate) fn verdict(a: &[f64], b: &[f64], p: f64, factor: f64) -> Verdict {
    let (n, m) = (a.len(), b.len());
    if p < stats::ALPHA {
        // By the ranks and not by the medians, which can be equal.
        let u = rank::mann_whitney(a, b).map_or(0.0, |t| t.u);
        if u < n as f64 * m as f64 / 2.0 { Verdict::Slower } else { Verdict::Faster }
    } else if rank::least_p(n, m) * factor >= stats::ALPHA && n.min(m) < rank::runs_needed(factor) {
        Verdict::TooFew { needed: rank::runs_needed(factor) }
    } else {
        Verdict::Unclear
    }
}

pub(super) fn warnings(a: (&Group, &[&Run]), b: (&Group, &[&Run])) -> Vec<Warning> {
    let mut out = Vec::new();
    for setting in Setting::ALL {
        let (in_a, in_b) = (values(setting, a.1), values(setting, b.1));
        let mut all: Vec<&String> = in_a.iter().chain(&in_b).map(|v| &v.0).collect();
        all.sort();
        all.dedup();
        if all.len() > 1 {
            out.push(Warning::Differs { setting, a: in_a, b: in_b });
        }
    }
    let ids: HashSet<TraceId> = a.1.iter().map(|r| r.id).collect();
    let both = b.1.iter().filter(|r| ids.contains(&r.id)).count();
    if both > 0 {
        out.push(Warning::InBoth(both));
    }
    let span = |runs: &[&Run]| runs.first().map(|r| r.start).zip(runs.last().map(|r| r.start));
    if let (Some((from_a, to_a)), Some((from_b, to_b))) = (span(a.1), span(b.1))
        && a.1.len().min(b.1.len()) > 1
        && (to_a < from_b || to_b < from_a)
    {
        out.push(Warning::NotInterleaved);
    }
    if a.0.failed + b.0.failed > 0 {
        out.push(Warning::Failed { a: a.0.failed, b: b.0.failed });
    }
    let outliers = |g: &Group| g.runs.iter().filter(|r| r.outlier).count();
    if outliers(a.0) + outliers(b.0) > 0 {
        out.push(Warning::Outliers { a: outliers(a.0), b: outliers(b.0) });
    }
    out
}

/// Each value of a setting with its number of runs.
fn values(setting: Setting, runs: &[&Run]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, value) in runs.iter().flat_map(|r| &r.settings).filter(|(s, _)| *s == setting) {
        *counts.entry(value).or_default() += 1;
    }
    let mut out: Vec<(String, usize)> = counts.into_iter().map(|(v, n)| (v.to_owned(), n)).collect();
    out.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    out
}
