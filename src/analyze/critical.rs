//! The critical path: to which span each instant of the run belongs.
//!
//! A walk back in time from the end of the root. It stands at a span at an instant and asks why the run was not
//! further; the answer gets the time up to where the next answer begins. So the segments tile the root's wall time:
//! they don't overlap, leave nothing out, and add up to it in nanoseconds. At a span at time `t`:
//!
//! 1. **Recorded wait.** The span waited for another one (a link with `trace.wait_for`) that ended at or before `t`:
//!    from that end on the time is its own, before it the other's, wherever in the tree that is. What lies between the
//!    end of one and the begin of the other belongs to the span above both: handing over is its work. Of several the
//!    last to end counts.
//! 2. **Streaming stages.** Neighbours that work on the same bytes overlap, and of their waits only the sums are known.
//!    While both ran, time is split by who waited for whom: `I` is what the later stage waited for input, `O` what the
//!    earlier one waited for output. The earlier stage gets `I / (I + O)` of the overlap, laid first; the later one the
//!    rest and all that follows the earlier one's end. If neither waited it is the later one's. Then the same between
//!    the earlier stage and the one before it. A link says who the neighbour is; without one the names do
//!    ([`upstream_names`]).
//! 3. **Inferred.** The child that ended at `t` (the one that started first); else one that was running at `t` (the one
//!    that started last), but only back to the latest end of another child, which then is case "ended at `t`"; else, if
//!    nothing ran, the span itself back to the latest end of a child.
//! 4. At a span's begin, with nothing recorded that it waited for, the walk goes on in the span above.
//!
//! A call that only watches what others do ([`only_watches`]) is never the reason.
//!
//! By rule 3 a span itself gets exactly the time that no child covers, unless a recorded wait says otherwise.

use std::collections::{BinaryHeap, HashSet};

use super::tree::{Node, Tree};
use crate::names::{attr, only_watches, span};

/// A stretch of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Whose time it is; the node itself, not a child of it.
    pub node: Node,
    /// Begin, ns since the Unix epoch.
    pub start: u64,
    /// End, ns since the Unix epoch; after `start`.
    pub end: u64,
    /// The recorded wait that ended where this segment begins: this span, or one above it, could not go on before that
    /// one.
    pub waited_for: Option<Node>,
}

impl Segment {
    /// Length, ns.
    pub fn duration(&self) -> u64 {
        self.end - self.start
    }
}

/// The critical path from the root's start to its end, earliest first.
pub fn path(tree: &Tree<'_>) -> Vec<Segment> {
    Walk::new(tree).run()
}

/// What a streaming stage reads from, nearest first. Verifying is a side branch: nothing reads from it.
fn upstream_names(name: &str) -> &'static [&'static str] {
    match name {
        span::LAYER_VERIFY => &[span::LAYER_DOWNLOAD],
        span::LAYER_DECOMPRESS => &[span::LAYER_DOWNLOAD],
        span::LAYER_EXTRACT => &[span::LAYER_DECOMPRESS, span::LAYER_DOWNLOAD],
        _ => &[],
    }
}

/// Where a walk inside a span stops before the span's begin, and where it goes on.
struct Floor {
    at: u64,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    /// Back in the span above, whose other child takes over.
    Above(Node),
    /// In the span that was waited for.
    WaitedFor(Node),
}

/// What the walk remembers of a node. Time only goes back, so nothing is looked at twice.
#[derive(Default)]
struct Seen {
    /// Children by end, the earliest first; taken from the back.
    ended: Vec<(u64, Node)>,
    /// Children that end after the present instant, the last to start on top.
    running: BinaryHeap<(u64, Node)>,
    /// Recorded waits by end, the earliest first.
    waits: Vec<(u64, Node)>,
    /// The stage that this one streams from.
    upstream: Option<Node>,
    begun: bool,
}

struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    seen: Vec<Seen>,
    /// Recorded waits are followed once each, so that a circle of them ends.
    followed: HashSet<Node>,
    floors: Vec<Floor>,
    /// Latest first.
    out: Vec<Segment>,
    at: u64,
}

impl<'t, 'a> Walk<'t, 'a> {
    fn new(tree: &'t Tree<'a>) -> Self {
        let seen = std::iter::repeat_with(Seen::default).take(tree.len()).collect();
        let at = tree.window(tree.root()).1;
        Walk { tree, seen, followed: HashSet::new(), floors: Vec::new(), out: Vec::new(), at }
    }

    fn run(mut self) -> Vec<Segment> {
        let mut node = self.tree.root();
        let begin = self.tree.window(node).0;
        self.enter(node);
        while self.at > begin {
            node = self.step(node);
        }
        self.out.reverse();
        self.out
    }

    /// One move at `node`: gives time to somebody, or goes to another node.
    fn step(&mut self, node: Node) -> Node {
        if let Some(floor) = self.floors.pop_if(|f| f.at >= self.at) {
            return match floor.then {
                Then::Above(above) => above,
                Then::WaitedFor(other) => {
                    self.note_wait(other);
                    self.follow(other)
                }
            };
        }
        let start = self.tree.window(node).0;
        if self.at <= start {
            return self.leave(node);
        }
        let stop = self.floors.last().map_or(start, |f| f.at.max(start));
        match self.child_at(node) {
            Child::Ended(child) => {
                self.enter(child);
                child
            }
            Child::Running(child, last_end) => {
                if last_end > self.tree.window(child).0 {
                    self.floors.push(Floor { at: last_end.max(stop), then: Then::Above(node) });
                }
                self.enter(child);
                child
            }
            Child::None(last_end) => {
                self.give(node, last_end.max(stop));
                node
            }
        }
    }

    /// The child that is the reason at the present instant.
    fn child_at(&mut self, node: Node) -> Child {
        let (tree, at) = (self.tree, self.at);
        let seen = self.prepare(node);
        while let Some(&(end, child)) = seen.ended.last().filter(|(end, _)| *end > at) {
            let _ = end;
            seen.running.push((tree.window(child).0, child));
            seen.ended.pop();
        }
        // Of those that ended just now the one that started first, which sorts last.
        let ended = seen.ended.last().copied();
        if let Some((end, child)) = ended
            && end == at
        {
            return Child::Ended(child);
        }
        let last_end = ended.map_or(0, |(end, _)| end);
        while seen.running.pop_if_top(|(start, _)| *start >= at) {}
        match seen.running.peek() {
            Some(&(_, child)) => Child::Running(child, last_end),
            None => Child::None(last_end),
        }
    }

    fn prepare(&mut self, node: Node) -> &mut Seen {
        let tree = self.tree;
        let seen = &mut self.seen[node];
        if !seen.begun {
            seen.begun = true;
            seen.ended = tree
                .children(node)
                .iter()
                .filter(|c| !only_watches(&tree.span(**c).name))
                .map(|c| (tree.window(*c), *c))
                .filter(|((start, end), _)| end > start)
                .map(|((_, end), c)| (end, c))
                .collect();
            seen.ended.sort_by_key(|(end, child)| (*end, std::cmp::Reverse(*child)));
            let own = tree.span(node);
            seen.waits = own
                .waits_for()
                .filter_map(|id| tree.find(id))
                .filter(|other| !tree.contains(*other, node) && !tree.contains(node, *other))
                .map(|other| (tree.window(other), other))
                .filter(|((start, end), _)| end > start)
                .map(|((_, end), other)| (end, other))
                .collect();
            seen.waits.sort_unstable();
            seen.upstream = upstream(tree, node);
        }
        seen
    }

    /// Before the walk goes on inside `node`: if it waited for somebody, that is where the walk leaves it again.
    fn enter(&mut self, node: Node) {
        let (start, at) = (self.tree.window(node).0, self.at);
        let floor = match self.stream(node) {
            Some((boundary, upstream)) => Some((boundary, upstream)),
            None => self.wait(node).map(|other| (self.tree.window(other).1, other)),
        };
        if let Some((boundary, other)) = floor
            && boundary > start
            && boundary <= at
            && self.floors.last().is_none_or(|f| f.at < boundary)
        {
            self.floors.push(Floor { at: boundary, then: Then::WaitedFor(other) });
        }
    }

    /// The span that `node` waited for last before now, if that is recorded and was not followed yet.
    fn wait(&mut self, node: Node) -> Option<Node> {
        let at = self.at;
        self.prepare(node);
        let (seen, followed) = (&mut self.seen[node], &self.followed);
        while let Some((end, other)) = seen.waits.last() {
            if *end <= at && !followed.contains(other) {
                return Some(*other);
            }
            seen.waits.pop();
        }
        None
    }

    /// Rule 2: the instant up to which the time is the upstream stage's, and that stage.
    fn stream(&mut self, node: Node) -> Option<(u64, Node)> {
        let upstream = self.prepare(node).upstream.filter(|u| !self.followed.contains(u))?;
        let tree = self.tree;
        let waited = |node: Node, key| tree.span(node).attributes.int(key).unwrap_or(0).max(0) as f64;
        let (input, output) = (waited(node, attr::WAIT_INPUT_NS), waited(upstream, attr::WAIT_OUTPUT_NS));
        let (start, end) = tree.window(upstream);
        let from = tree.window(node).0.max(start);
        let to = self.at.min(end);
        if to <= from {
            return None;
        }
        let share = if input > 0.0 { input / (input + output) } else { 0.0 };
        Some((from + ((to - from) as f64 * share) as u64, upstream))
    }

    /// At the begin of `node`: on to what it waited for, or up.
    fn leave(&mut self, node: Node) -> Node {
        if let Some(upstream) = self.prepare(node).upstream.filter(|u| !self.followed.contains(u)) {
            let (start, end) = self.tree.window(upstream);
            if start < self.at && self.at <= end {
                self.note_wait(upstream);
                return self.follow(upstream);
            }
        }
        if let Some(other) = self.wait(node) {
            return self.follow_from(node, other);
        }
        let above = self.tree.parent(node).unwrap_or(self.tree.root());
        // After a jump the spans above have not been entered yet; for the others this changes nothing.
        self.enter(above);
        above
    }

    fn follow_from(&mut self, node: Node, other: Node) -> Node {
        let end = self.tree.window(other).1;
        let common = self.tree.common(node, other);
        self.note_wait(other);
        self.give(common, end);
        self.follow(other)
    }

    /// What comes next, which is what was put last, waited for `other`.
    fn note_wait(&mut self, other: Node) {
        if let Some(last) = self.out.last_mut()
            && last.start == self.at
        {
            last.waited_for = Some(other);
        }
    }

    fn follow(&mut self, other: Node) -> Node {
        self.followed.insert(other);
        // Floors belong to spans that the walk has left for good.
        self.floors.clear();
        self.enter(other);
        other
    }

    /// Gives the time from `from` to now to `node`.
    fn give(&mut self, node: Node, from: u64) {
        let from = from.max(self.tree.window(self.tree.root()).0);
        if from >= self.at {
            return;
        }
        self.out.push(Segment { node, start: from, end: self.at, waited_for: None });
        self.at = from;
    }
}

/// The sibling that `node` streams from: both must say how long they waited for each other.
fn upstream(tree: &Tree<'_>, node: Node) -> Option<Node> {
    // A layer has five children; what has more than this is no layer of ours.
    const SIBLINGS: usize = 64;
    let here = tree.span(node);
    here.attributes.int(attr::WAIT_INPUT_NS)?;
    let parent = tree.parent(node)?;
    let siblings = &tree.children(parent)[..tree.children(parent).len().min(SIBLINGS)];
    let named = upstream_names(&here.name)
        .iter()
        .filter_map(|name| siblings.iter().copied().find(|s| tree.span(*s).name == *name));
    here.waits_for().filter_map(|id| tree.find(id)).chain(named).find(|other| {
        *other != node
            && tree.parent(*other) == Some(parent)
            && tree.span(*other).attributes.int(attr::WAIT_OUTPUT_NS).is_some()
    })
}

enum Child {
    Ended(Node),
    /// And the latest end of another child before now, 0 if none.
    Running(Node, u64),
    /// Nothing runs; the latest end before now, 0 if none.
    None(u64),
}

trait PopIfTop<T> {
    fn pop_if_top(&mut self, test: impl FnOnce(&T) -> bool) -> bool;
}

impl<T: Ord> PopIfTop<T> for BinaryHeap<T> {
    fn pop_if_top(&mut self, test: impl FnOnce(&T) -> bool) -> bool {
        let drop = self.peek().is_some_and(test);
        if drop {
            self.pop();
        }
        drop
    }
}
