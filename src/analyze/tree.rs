//! Spans as a tree that is always a tree, whatever the file says.
//!
//! - Nodes are numbered in order of start (then longer first, then id), so nothing depends on the order in the file.
//! - Two spans with one id: both are kept, children go to the first.
//! - A circle of parents is cut at its first span.
//! - Of several spans without a parent in the trace the longest is the root; the others hang under it, marked as what
//!   they are ([`Stray`]).
//! - What is deeper than [`MAX_DEPTH`] moves up to that depth.
//! - A child that sticks out of its parent is counted only as far as it lies inside ([`Tree::window`]).

use std::collections::HashMap;

use crate::record::model::{Span, SpanId, Trace};

/// A span's place in a [`Tree`].
pub type Node = usize;

/// Why a span that is not the root hangs under it all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It has no parent: a root beside the root.
    Root,
    /// Its parent is not in the trace.
    Lost,
    /// Its parents go round in a circle, which is cut here.
    Circle,
}

/// Levels below the root that are kept apart. Ours has 6; the limit keeps hostile traces from costing quadratic time.
pub const MAX_DEPTH: u32 = 100;

/// See the module.
pub struct Tree<'a> {
    spans: Vec<&'a Span>,
    parent: Vec<Option<Node>>,
    children: Vec<Vec<Node>>,
    window: Vec<(u64, u64)>,
    depth: Vec<u32>,
    stray: Vec<Option<Stray>>,
    top_down: Vec<Node>,
    by_id: HashMap<SpanId, Node>,
    root: Node,
}

impl<'a> Tree<'a> {
    /// The tree of a trace; `None` if it has no span.
    pub fn new(trace: &'a Trace) -> Option<Self> {
        let mut spans: Vec<&Span> = trace.spans.iter().collect();
        spans.sort_by(|a, b| {
            (a.start, std::cmp::Reverse(a.end), a.id, &a.name, a.parent).cmp(&(
                b.start,
                std::cmp::Reverse(b.end),
                b.id,
                &b.name,
                b.parent,
            ))
        });
        let mut by_id = HashMap::with_capacity(spans.len());
        for (node, span) in spans.iter().enumerate() {
            by_id.entry(span.id).or_insert(node);
        }
        let mut parent: Vec<Option<Node>> =
            spans.iter().map(|s| s.parent.and_then(|p| by_id.get(&p).copied())).collect();
        cut_circles(&mut parent);
        let root = (0..spans.len())
            .filter(|n| parent[*n].is_none())
            .max_by_key(|n| (spans[*n].duration(), std::cmp::Reverse(spans[*n].id)))?;
        let mut stray = vec![None; spans.len()];
        for node in 0..spans.len() {
            if parent[node].is_none() && node != root {
                parent[node] = Some(root);
                stray[node] = Some(match spans[node].parent {
                    None => Stray::Root,
                    Some(id) if by_id.contains_key(&id) => Stray::Circle,
                    Some(_) => Stray::Lost,
                });
            }
        }
        let mut tree = Tree {
            window: spans.iter().map(|s| (s.start, s.end.max(s.start))).collect(),
            children: vec![Vec::new(); spans.len()],
            depth: vec![0; spans.len()],
            top_down: Vec::with_capacity(spans.len()),
            spans,
            parent,
            stray,
            by_id,
            root,
        };
        tree.lay_out();
        Some(tree)
    }

    /// Depth, order and windows, from the root down.
    fn lay_out(&mut self) {
        let mut below = vec![Vec::new(); self.spans.len()];
        for node in 0..self.spans.len() {
            if let Some(parent) = self.parent[node] {
                below[parent].push(node);
            }
        }
        self.top_down.push(self.root);
        let mut next = 0;
        while let Some(&node) = self.top_down.get(next) {
            next += 1;
            for child in std::mem::take(&mut below[node]) {
                let above = if self.depth[node] < MAX_DEPTH { node } else { self.parent[node].unwrap_or(self.root) };
                self.parent[child] = Some(above);
                self.depth[child] = self.depth[above] + 1;
                let (from, to) = self.window[above];
                let (start, end) = self.window[child];
                self.window[child] = (start.clamp(from, to), end.clamp(from, to));
                self.children[above].push(child);
                self.top_down.push(child);
            }
        }
        for children in &mut self.children {
            children.sort_unstable();
        }
    }

    /// Number of spans; at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// The root.
    pub fn root(&self) -> Node {
        self.root
    }

    /// The span at a node.
    pub fn span(&self, node: Node) -> &'a Span {
        self.spans[node]
    }

    /// The node above; `None` only for the root.
    pub fn parent(&self, node: Node) -> Option<Node> {
        self.parent[node]
    }

    /// The nodes below, in order of start.
    pub fn children(&self, node: Node) -> &[Node] {
        &self.children[node]
    }

    /// Levels below the root, at most [`MAX_DEPTH`].
    pub fn depth(&self, node: Node) -> u32 {
        self.depth[node]
    }

    /// Why this span hangs under the root, if not because that is its parent.
    pub fn stray(&self, node: Node) -> Option<Stray> {
        self.stray[node]
    }

    /// How long the trace goes on before its root begins, and after it ends, ns.
    pub fn outside(&self) -> (u64, u64) {
        let (from, to) = self.window[self.root];
        let first = self.spans.iter().map(|s| s.start).min().unwrap_or(from);
        let last = self.spans.iter().map(|s| s.end).max().unwrap_or(to);
        (from.saturating_sub(first), last.saturating_sub(to))
    }

    /// Start and end, ns since the Unix epoch, as far as they lie inside all spans above.
    pub fn window(&self, node: Node) -> (u64, u64) {
        self.window[node]
    }

    /// The span's own length, ns, also where it sticks out of its parent.
    pub fn duration(&self, node: Node) -> u64 {
        self.spans[node].duration()
    }

    /// The node of an id.
    pub fn find(&self, id: SpanId) -> Option<Node> {
        self.by_id.get(&id).copied()
    }

    /// The first child with this name.
    pub fn child_named(&self, node: Node, name: &str) -> Option<Node> {
        self.children(node).iter().copied().find(|c| self.span(*c).name == name)
    }

    /// All nodes, parents before children.
    pub fn top_down(&self) -> impl Iterator<Item = Node> + '_ {
        self.top_down.iter().copied()
    }

    /// All nodes, children before parents.
    pub fn bottom_up(&self) -> impl Iterator<Item = Node> + '_ {
        self.top_down.iter().rev().copied()
    }

    /// The nodes below `node`, itself first, in the order in which an indented list shows them.
    pub fn walk(&self, node: Node) -> Vec<Node> {
        let mut out = Vec::new();
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            out.push(node);
            stack.extend(self.children(node).iter().rev());
        }
        out
    }

    /// Whether `above` is `node` or lies over it.
    pub fn contains(&self, above: Node, node: Node) -> bool {
        self.ancestors(node).any(|n| n == above)
    }

    /// `node`, its parent, and so on to the root.
    pub fn ancestors(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        std::iter::successors(Some(node), |n| self.parent[*n])
    }

    /// The deepest node that contains both.
    pub fn common(&self, a: Node, b: Node) -> Node {
        self.ancestors(a).find(|n| self.contains(*n, b)).unwrap_or(self.root)
    }
}

/// Makes every chain of parents end: the first span of each circle loses its parent.
fn cut_circles(parent: &mut [Option<Node>]) {
    const NEW: u32 = 0;
    // The number of the walk that reached a node; a node reached twice by one walk is in a circle.
    let mut reached = vec![NEW; parent.len()];
    for start in 0..parent.len() {
        let walk = start as u32 + 1;
        let mut at = Some(start);
        while let Some(node) = at.filter(|n| reached[*n] == NEW) {
            reached[node] = walk;
            at = parent[node];
        }
        // `start` counts up, but the circle may lie beyond it: cut at its smallest node.
        if let Some(node) = at.filter(|n| reached[*n] == walk) {
            let mut first = node;
            let mut around = parent[node];
            while let Some(n) = around.filter(|n| *n != node) {
                first = first.min(n);
                around = parent[n];
            }
            parent[first] = None;
        }
    }
}
