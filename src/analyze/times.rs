//! Self time, union, sum, and time shared between what runs at once.

use super::tree::{Node, Tree};

/// Length of the union of intervals `(start, end)`, which must be sorted by start.
pub fn union(intervals: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    let mut total = 0;
    let mut covered = 0;
    for (start, end) in intervals {
        let start = start.max(covered);
        if end > start {
            total += end - start;
            covered = end;
        }
    }
    total
}

/// For each node its window without the union of its children's windows.
pub fn self_times(tree: &Tree<'_>) -> Vec<u64> {
    (0..tree.len())
        .map(|node| {
            let (start, end) = tree.window(node);
            end - start - union(windows(tree, tree.children(node)))
        })
        .collect()
}

/// Wall time during which at least one of `nodes` ran.
pub fn union_of(tree: &Tree<'_>, nodes: &[Node]) -> u64 {
    union(windows(tree, nodes))
}

/// Durations added up: more than the wall time where spans overlap.
pub fn sum_of(tree: &Tree<'_>, nodes: &[Node]) -> u64 {
    nodes.iter().fold(0, |sum, n| sum.saturating_add(tree.duration(*n)))
}

fn windows(tree: &Tree<'_>, nodes: &[Node]) -> Vec<(u64, u64)> {
    let mut out: Vec<_> = nodes.iter().map(|n| tree.window(*n)).collect();
    out.sort_unstable();
    out
}

/// Each instant of the root divided evenly among the `k` spans that ran then and had no running child, ns per node.
/// Adds up to the wall time, as the critical path does, but says what was going on and not what it waited for.
pub fn shared(tree: &Tree<'_>) -> Vec<f64> {
    // At one moment ends come before starts, so that a span that follows another never counts as running beside it.
    let mut moments: Vec<(u64, bool, Node)> = Vec::with_capacity(tree.len() * 2);
    for node in 0..tree.len() {
        let (start, end) = tree.window(node);
        if end > start {
            moments.push((start, true, node));
            moments.push((end, false, node));
        }
    }
    moments.sort_unstable();
    let mut out = vec![0.0; tree.len()];
    let mut running = vec![false; tree.len()];
    let mut running_below = vec![0usize; tree.len()];
    let mut since = vec![0.0; tree.len()];
    // `share` is the integral of 1/k over time: what a span that ran alone among its k all along would have got.
    let (mut leaves, mut share, mut last) = (0usize, 0.0, 0u64);
    for (at, starts, node) in moments {
        if leaves > 0 {
            share += (at - last) as f64 / leaves as f64;
        }
        last = at;
        let mut toggle = |n: Node, on: bool| {
            if on {
                leaves += 1;
                since[n] = share;
            } else {
                leaves -= 1;
                out[n] += share - since[n];
            }
        };
        running[node] = starts;
        if running_below[node] == 0 {
            toggle(node, starts);
        }
        if let Some(parent) = tree.parent(node) {
            let was = running_below[parent];
            running_below[parent] = if starts { was + 1 } else { was - 1 };
            if running[parent] && (was == 0 || running_below[parent] == 0) {
                toggle(parent, !starts);
            }
        }
    }
    out
}
