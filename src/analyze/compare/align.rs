//! Which phase of one side is which of the other, and in what order they are shown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::model::{PhaseComparison, sample, side_by_side};
use super::phase::Phase;
use super::run::Run;

type Sides = [Vec<(u64, u64)>; 2];

/// All phases of both sides: by path, and by layer where there is more than one.
pub(super) fn aligned(a: &[&Run], b: &[&Run], intervals: bool) -> (Vec<PhaseComparison>, Vec<PhaseComparison>) {
    let mut found: HashMap<&Phase, Sides> = HashMap::new();
    for (side, runs) in [a, b].into_iter().enumerate() {
        for (phase, ns, begin) in runs.iter().flat_map(|r| &r.phases) {
            found.entry(phase).or_default()[side].push((*ns, *begin));
        }
    }
    let digests: HashSet<&str> = found.keys().filter_map(|p| p.layer.as_deref()).collect();
    let several = digests.len() > 1;
    let rows: Vec<PhaseComparison> = found
        .into_iter()
        .filter(|(phase, _)| several || phase.layer.is_none())
        .map(|(phase, [a, b])| side_by_side(phase.clone(), sample(a.into_iter()), sample(b.into_iter()), intervals))
        .collect();
    // The side on which more happens knows the order; the starts of the other are earlier by what it didn't do.
    let count = |side: fn(&PhaseComparison) -> usize| rows.iter().filter(|r| side(r) > 0).count();
    let a_leads = count(|r| r.presence_a) >= count(|r| r.presence_b);
    let begin = |r: &PhaseComparison| {
        let (first, second) = if a_leads { (&r.a, &r.b) } else { (&r.b, &r.a) };
        first.as_ref().or(second.as_ref()).map_or(0, |s| s.begin as u64)
    };
    // A row is sorted by the starts of all that stands above it.
    let begins: BTreeMap<Phase, u64> = rows.iter().map(|r| (r.phase.clone(), begin(r))).collect();
    /// Start and name of each step of the path, and the row's own start.
    type Place = (Vec<(u64, Arc<str>)>, u64);
    let mut keyed: Vec<(Place, PhaseComparison)> = rows
        .into_iter()
        .map(|row| {
            let path = &row.phase.path;
            let key = (1..=path.len()).map(|n| {
                let above = Phase { path: path[..n].into(), layer: None };
                (begins.get(&above).copied().unwrap_or(0), path[n - 1].clone())
            });
            ((key.collect(), begins[&row.phase]), row)
        })
        .collect();
    keyed.sort_by(|x, y| (&x.0, &x.1.phase.layer).cmp(&(&y.0, &y.1.phase.layer)));
    keyed.into_iter().map(|k| k.1).partition(|r| r.phase.layer.is_none())
}
