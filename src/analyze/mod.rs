//! What the numbers of a trace say: pure functions on [`record::model`](crate::record::model).
//!
//! Reading order: [`tree`] (who is whose child, whatever a file claims), [`times`] (self time, union, shared time),
//! [`critical`] (which span each instant of the run belongs to), [`causes`] (what it went into), [`facts`] (what a
//! person wants to know of a run), [`cold_warm`] (a cold and a warm run), [`compare`] with [`stats`] (many runs).
//! [`Analysis`] holds the first three of one trace; everything in `report` is made from it.
//!
//! All times are nanoseconds. Nothing here depends on the order of the spans in the file.

pub mod bench;
pub mod blame;
pub mod causes;
pub mod cold_warm;
pub mod compare;
pub mod critical;
pub mod facts;

pub mod lanes;
pub mod stats;
pub mod steps;
pub mod times;
pub mod tree;

#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub use critical::Segment;
pub use tree::{Node, Tree};

use crate::record::model::Trace;

/// A trace with what follows from its times.
pub struct Analysis<'a> {
    /// The spans as a tree.
    pub tree: Tree<'a>,
    /// Self time of each node: its duration without the union of its children. Indexed by [`Node`].
    pub self_ns: Vec<u64>,
    /// The critical path, earliest segment first; the durations add up to the root's exactly.
    pub segments: Vec<Segment>,
    /// Time on the critical path of each node itself, without its children. Indexed by [`Node`].
    pub critical_ns: Vec<u64>,
    /// The same with everything below the node. Indexed by [`Node`].
    pub critical_below_ns: Vec<u64>,
}

impl<'a> Analysis<'a> {
    /// Analyses a trace; `None` if it has no span. Time: `n log n` in the number of spans and links.
    pub fn of(trace: &'a Trace) -> Option<Self> {
        let tree = Tree::new(trace)?;
        let self_ns = times::self_times(&tree);
        let segments = critical::path(&tree);
        let mut critical_ns = vec![0; tree.len()];
        for segment in &segments {
            critical_ns[segment.node] += segment.duration();
        }
        let mut critical_below_ns = critical_ns.clone();
        for node in tree.bottom_up() {
            if let Some(parent) = tree.parent(node) {
                critical_below_ns[parent] += critical_below_ns[node];
            }
        }
        Some(Analysis { tree, self_ns, segments, critical_ns, critical_below_ns })
    }

    /// Length of the root, ns.
    pub fn wall(&self) -> u64 {
        self.tree.duration(self.tree.root())
    }

    /// Wall time of the root that no child covers, ns.
    pub fn unaccounted(&self) -> u64 {
        self.self_ns[self.tree.root()]
    }
}
