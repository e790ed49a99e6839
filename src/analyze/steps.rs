//! How much went on at each moment: bytes per second on the wire, and layers at work.

use super::{Analysis, Node};
use crate::names::{attr, span};

/// A step function: from each moment (ns from the root's start) on a value. Empty if there is nothing to show.
pub type Steps = Vec<(u64, f64)>;

/// Bytes per second on the wire. Only the bytes and times of whole transfers are recorded, so each counts with its
/// average.
pub fn wire_rate(analysis: &Analysis<'_>) -> Steps {
    let tree = &analysis.tree;
    let mut parts = Vec::new();
    for node in 0..tree.len() {
        if tree.span(node).name != span::HTTP_RECEIVE {
            continue;
        }
        let bytes = tree.parent(node).and_then(|p| size(analysis, p, attr::HTTP_RESPONSE_BODY_SIZE));
        let (start, end) = tree.window(node);
        if let Some(bytes) = bytes.filter(|_| end > start) {
            parts.push((start, end, bytes as f64 * 1e9 / (end - start) as f64));
        }
    }
    sum(analysis, &parts)
}

/// Layers of which a stage is running.
pub fn active_layers(analysis: &Analysis<'_>) -> Steps {
    let tree = &analysis.tree;
    let layers = (0..tree.len()).filter(|n| tree.span(*n).name == span::LAYER_PULL);
    let parts: Vec<_> = layers
        .map(|n| {
            let (start, end) = tree.window(n);
            let from = tree.children(n).iter().map(|c| tree.window(*c).0).min().unwrap_or(start);
            (from, end, 1.0)
        })
        .collect();
    sum(analysis, &parts)
}

/// The mean in each of `columns` equal parts of `wall` ns: what came in a burst shorter than a part counts with its
/// share of it, and a picture of a million requests is no larger than one of ten.
pub fn means(steps: &Steps, wall: u64, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; columns];
    let width = wall as f64 / columns.max(1) as f64;
    if width <= 0.0 {
        return out;
    }
    for (i, (from, value)) in steps.iter().enumerate().filter(|(_, s)| s.1 > 0.0) {
        let (from, to) = (*from as f64, steps.get(i + 1).map_or(wall, |s| s.0) as f64);
        let (first, last) = ((from / width) as usize, (to / width) as usize);
        for (k, slot) in out.iter_mut().enumerate().take(last + 1).skip(first) {
            let (left, right) = (k as f64 * width, (k + 1) as f64 * width);
            *slot += value * (to.min(right) - from.max(left)).max(0.0) / width;
        }
    }
    out
}

/// The greatest value in each of `columns` equal parts of `wall` ns: what is short is still seen.
pub fn greatest(steps: &Steps, wall: u64, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; columns];
    let column = |ns: u64| (u128::from(ns) * columns as u128 / u128::from(wall.max(1))) as usize;
    for (i, (from, value)) in steps.iter().enumerate() {
        // A step ends just before the next one begins.
        let to = steps.get(i + 1).map_or(wall, |s| s.0).saturating_sub(1).max(*from);
        for slot in out.iter_mut().take(column(to) + 1).skip(column(*from)) {
            *slot = f64::max(*slot, *value);
        }
    }
    out
}

fn size(analysis: &Analysis<'_>, node: Node, key: &str) -> Option<u64> {
    analysis.tree.span(node).attributes.int(key).and_then(|v| u64::try_from(v).ok())
}

/// The sum of pieces of constant value.
fn sum(analysis: &Analysis<'_>, parts: &[(u64, u64, f64)]) -> Steps {
    let origin = analysis.tree.window(analysis.tree.root()).0;
    let mut edges: Vec<(u64, f64)> =
        parts.iter().flat_map(|(from, to, v)| [(*from - origin, *v), (*to - origin, -*v)]).collect();
    edges.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut out: Steps = Vec::new();
    let (mut now, mut running) = (0.0, 0i64);
    for (at, change) in edges {
        running += if change > 0.0 { 1 } else { -1 };
        // Sums of floating numbers don't come back to zero by themselves.
        now = if running == 0 { 0.0 } else { now + change };
        match out.last_mut() {
            Some(last) if last.0 == at => last.1 = now,
            _ => out.push((at, now)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples::{self, Sample};

    #[test]
    fn transfers_add_up() {
        let mut s = Sample::new();
        let run = s.add(None, span::RUN, 0, 1000);
        for (start, bytes) in [(100, 4_000i64), (200, 1_000)] {
            let get = s.request(run, start, [0, 0, 0, 0, 200]);
            s.set(get, attr::HTTP_RESPONSE_BODY_SIZE, bytes);
        }
        let trace = s.done();
        let steps = wire_rate(&Analysis::of(&trace).unwrap());
        // 4000 B and 1000 B in 200 µs each: 20 and 5 MB/s.
        let rounded: Vec<_> = steps.iter().map(|(at, v)| (at / 1000, (v / 1e6).round())).collect();
        assert_eq!(rounded, [(100, 20.0), (200, 25.0), (300, 5.0), (400, 0.0)]);
        // The mean over 500 µs each: 4000 + 1000 bytes in 1 ms, all in the first half.
        let means = means(&steps, 1_000_000, 2);
        assert!((means[0] - 10e6).abs() < 1.0 && means[1] == 0.0, "{means:?}");
    }

    #[test]
    fn layers_at_work_and_columns() {
        let trace = samples::cold(6);
        let steps = active_layers(&Analysis::of(&trace).unwrap());
        assert_eq!(steps.iter().map(|s| s.1).fold(0.0, f64::max), 3.0);
        assert_eq!(steps.last().unwrap().1, 0.0);
        // From 25 to 26 and from 50 to 100 of 100.
        let steps = vec![(25, 2.0), (26, 0.0), (50, 1.0), (60, 3.0)];
        assert_eq!(greatest(&steps, 100, 4), [0.0, 2.0, 3.0, 3.0]);
        assert_eq!((greatest(&steps, 0, 2).len(), means(&steps, 0, 2).len()), (2, 2));
    }
}
