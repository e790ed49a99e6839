//! Lanes for viewers that draw a span inside another one only if both stand in one lane and one lies within the other.
//!
//! A span stands in its parent's lane if it lies within its parent and no sibling runs there at that time; else in the
//! first lane of its program that is free. The order is that of the spans' starts, so the lanes of a trace are always
//! the same.

use std::collections::{BTreeSet, BinaryHeap};

use super::tree::{Node, Tree};
use crate::record::model::{Attributes, Trace};

/// Where a span stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which program recorded it: its index in [`Lanes::programs`].
    pub program: usize,
    /// Lane of that program, from 0 on.
    pub lane: usize,
}

/// The lanes of a trace.
pub struct Lanes<'a> {
    /// The resources of the programs, the root's first.
    pub programs: Vec<&'a Attributes>,
    /// How many lanes each program has.
    pub count: Vec<usize>,
    places: Vec<Place>,
}

impl Lanes<'_> {
    /// The place of a span.
    pub fn place(&self, node: Node) -> Place {
        self.places[node]
    }
}

/// The lanes of one program.
#[derive(Default)]
struct Program {
    /// What is open in each lane, the outermost first: end and node.
    open: Vec<Vec<(u64, Node)>>,
    free: BTreeSet<usize>,
    /// When a lane becomes free: the end of what was put there while it was.
    busy: BinaryHeap<std::cmp::Reverse<(u64, usize)>>,
}

/// Lays out all spans by their own times, also where they stick out of their parents. `n log n` in the number of spans.
pub fn of<'a>(trace: &'a Trace, tree: &Tree<'a>) -> Lanes<'a> {
    static NOBODY: Attributes = Attributes::NONE;
    let mut resources: Vec<&Attributes> = Vec::new();
    let program_of: Vec<usize> = trace
        .origins
        .iter()
        .map(|origin| {
            resources.iter().position(|r| **r == origin.resource).unwrap_or_else(|| {
                resources.push(&origin.resource);
                resources.len() - 1
            })
        })
        .collect();
    if resources.is_empty() {
        resources.push(&NOBODY);
    }
    let mut programs: Vec<Program> = resources.iter().map(|_| Program::default()).collect();
    let mut places: Vec<Place> = Vec::with_capacity(tree.len());
    // Nodes are numbered by start, the longer first: a parent that holds its child stands before it.
    for node in 0..tree.len() {
        let span = tree.span(node);
        let program = program_of.get(span.origin as usize).copied().unwrap_or(0);
        let above = tree.parent(node).filter(|p| *p < node).map(|p| (p, places[p])).filter(|p| p.1.program == program);
        let lane =
            programs[program].put(node, (span.start, span.end.max(span.start)), above.map(|(p, at)| (p, at.lane)));
        places.push(Place { program, lane });
    }
    Lanes { programs: resources, count: programs.iter().map(|p| p.open.len()).collect(), places }
}

impl Program {
    fn put(&mut self, node: Node, (start, end): (u64, u64), parent: Option<(Node, usize)>) -> usize {
        if let Some((parent, lane)) = parent {
            let open = &mut self.open[lane];
            // What ended where this begins is over, but not the parent itself: a moment at its end still lies in it.
            while open.last().is_some_and(|(until, who)| *until <= start && *who != parent) {
                open.pop();
            }
            if open.last().is_some_and(|(until, who)| *who == parent && end <= *until) {
                open.push((end, node));
                return lane;
            }
        }
        while let Some(&std::cmp::Reverse((until, lane))) = self.busy.peek()
            && until <= start
        {
            self.busy.pop();
            self.open[lane].clear();
            self.free.insert(lane);
        }
        let lane = self.free.pop_first().unwrap_or_else(|| {
            self.open.push(Vec::new());
            self.open.len() - 1
        });
        self.open[lane].push((end, node));
        self.busy.push(std::cmp::Reverse((end, lane)));
        lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples::{self, Sample};

    /// In one lane two spans lie apart or one within the other.
    fn check(trace: &Trace) -> Vec<usize> {
        let tree = Tree::new(trace).unwrap();
        let lanes = of(trace, &tree);
        let mut in_lane: std::collections::HashMap<Place, Vec<(u64, u64)>> = std::collections::HashMap::new();
        for node in 0..tree.len() {
            let (start, end) = (tree.span(node).start, tree.span(node).end);
            let others = in_lane.entry(lanes.place(node)).or_default();
            for (from, to) in others.iter() {
                let apart = end <= *from || *to <= start;
                let within = (*from <= start && end <= *to) || (start <= *from && *to <= end);
                assert!(apart || within, "{start}-{end} and {from}-{to}");
            }
            others.push((start, end));
        }
        lanes.count
    }

    #[test]
    fn overlapping_spans_stand_in_different_lanes() {
        let mut s = Sample::new();
        let run = s.add(None, "run", 0, 100);
        let a = s.add(Some(run), "a", 10, 50);
        s.add(Some(a), "a1", 10, 50);
        s.add(Some(a), "a2", 20, 60);
        let b = s.add(Some(run), "b", 40, 70);
        s.add(Some(b), "b1", 45, 45);
        s.add(Some(run), "c", 70, 90);
        s.add(Some(run), "out", 95, 120);
        assert_eq!(check(&s.done()), [3]);
    }

    #[test]
    fn a_run_without_overlaps_has_one_lane_and_any_trace_is_laid_out() {
        assert_eq!(check(&samples::warm()), [1]);
        assert!(check(&samples::cold(6))[0] > 3);
    }

    #[test]
    fn each_program_has_lanes_of_its_own() {
        let mut trace = samples::warm();
        let mut other = trace.origins[0].clone();
        other.resource.set("service.name", "other");
        trace.origins.push(other);
        let last = trace.spans.len() - 1;
        trace.spans[last].origin = 1;
        assert_eq!(check(&trace), [1, 1]);
    }
}
