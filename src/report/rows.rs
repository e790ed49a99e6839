//! Which spans get a row, and what stands in it.
//!
//! Requests and their phases, and the small steps of starting and stopping a container, are told in the row of the
//! stage that they belong to. A layer's stages get rows for the layers that matter most; many equal spans share a row.

use std::collections::{HashMap, HashSet};

use super::detail::{self, Detail};
use super::{Style, units};
use crate::analyze::{Analysis, Node};
use crate::names::{attr, span};
use crate::record::model::Status;

/// More siblings of one name than this share a row, but for the [`KEPT`] most important.
const MANY: usize = 12;
const KEPT: usize = 6;
/// More siblings than this share a row, whatever their names.
const WIDE: usize = 40;
/// Levels that are drawn.
const DEEP: usize = 12;
/// Layers whose stages have rows, where all that fits is shown.
const OPEN_LAYERS: usize = 2;
/// In a short drawing: more layers than this share a row, but for the one that is open and the next most important.
const FEW_LAYERS: usize = 4;
/// In a short drawing what is below this share of the wall time, 0.0 %, has no row of its own.
const NOTHING: f64 = 0.0005;
/// What those are called together.
const SHORT_STAGES: &str = "short stages";
/// More names than this do not fit beside a row.
const NAMED: usize = 3;
/// Rows of one drawing.
const ROWS: usize = 400;

/// One line of the drawing.
#[derive(Debug)]
pub struct Row {
    /// The span, or the spans that share this row.
    pub nodes: Vec<Node>,
    /// Levels of indentation.
    pub depth: usize,
    /// Safe for the terminal.
    pub label: String,
    /// Where the bar begins and ends, ns from the root's start.
    pub bar: (u64, u64),
    /// The parts of the bar on the critical path, in order, ns from the root's start.
    pub critical: Vec<(u64, u64)>,
    /// Whether enough of it is on the critical path to mark the row.
    pub marked: bool,
    /// Length, ns.
    pub duration: u64,
    /// Whether it failed.
    pub failed: bool,
    /// How much of it lies inside the root, ns.
    inside: u64,
    /// The message if it failed, safe for the terminal; empty where a row below says the same.
    pub error: String,
    /// What else there is to say.
    pub detail: Detail,
}

impl Row {
    /// How much of it lies inside the root, ns: some spans begin before it or end after it.
    pub fn inside(&self) -> u64 {
        self.inside
    }
}

/// How much is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What matters: the stages of one layer, and what took no time worth telling in a row for all.
    Short,
    /// Everything that has a row.
    Full,
}

/// The rows below the root, in order, and how many spans were left out for want of room.
pub fn rows(analysis: &Analysis<'_>, style: &Style, extent: Extent) -> (Vec<Row>, usize) {
    let mut builder = Builder {
        analysis,
        style,
        rows: Vec::new(),
        owner: vec![None; analysis.tree.len()],
        open: open_layers(analysis, extent),
        left_out: 0,
        short: extent == Extent::Short,
    };
    builder.below(analysis.tree.root(), 0);
    builder.fill_critical();
    (builder.rows, builder.left_out)
}

/// A row for the root itself, for a trace that has nothing below it.
pub fn root_row(analysis: &Analysis<'_>, style: &Style) -> Row {
    let builder = Builder {
        analysis,
        style,
        rows: Vec::new(),
        owner: Vec::new(),
        open: HashSet::new(),
        left_out: 0,
        short: false,
    };
    let mut row = builder.one(analysis.tree.root(), 0);
    row.critical = vec![row.bar];
    row
}

struct Builder<'b, 'a> {
    analysis: &'b Analysis<'a>,
    style: &'b Style,
    rows: Vec<Row>,
    /// The row that tells about a node, if it is not that of the node above.
    owner: Vec<Option<usize>>,
    open: HashSet<Node>,
    left_out: usize,
    short: bool,
}

enum Item {
    One(Node),
    /// What they are called, and who.
    Many(String, Vec<Node>),
}

/// Failed layers and those with the most time on the critical path.
fn open_layers(analysis: &Analysis<'_>, extent: Extent) -> HashSet<Node> {
    let tree = &analysis.tree;
    let mut layers: Vec<Node> = (0..tree.len()).filter(|n| tree.span(*n).name == span::LAYER_PULL).collect();
    layers.sort_by_key(|n| (!tree.span(*n).status.is_error(), std::cmp::Reverse(analysis.critical_below_ns[*n]), *n));
    layers.into_iter().take(if extent == Extent::Short { 1 } else { OPEN_LAYERS }).collect()
}

impl Builder<'_, '_> {
    fn below(&mut self, node: Node, depth: usize) {
        for item in self.items(node, depth) {
            if self.rows.len() >= ROWS {
                self.left_out += match item {
                    Item::One(child) => self.analysis.tree.walk(child).len(),
                    Item::Many(_, nodes) => nodes.len(),
                };
                continue;
            }
            match item {
                Item::One(child) => {
                    self.owner[child] = Some(self.rows.len());
                    let row = self.one(child, depth);
                    self.rows.push(row);
                    self.below(child, depth + 1);
                }
                Item::Many(label, nodes) => {
                    for n in &nodes {
                        self.owner[*n] = Some(self.rows.len());
                    }
                    let row = self.many(label, &nodes, depth);
                    self.rows.push(row);
                }
            }
        }
    }

    /// What to draw below `node`.
    fn items(&self, node: Node, depth: usize) -> Vec<Item> {
        let tree = &self.analysis.tree;
        if depth >= DEEP || (tree.span(node).name == span::LAYER_PULL && !self.open.contains(&node)) {
            return Vec::new();
        }
        let mut shown: Vec<Node> =
            tree.children(node).iter().copied().filter(|c| !detail::is_folded(tree, *c)).collect();
        in_layer_order(self.analysis, &mut shown);

        let mut by_name: HashMap<&str, Vec<Node>> = HashMap::new();
        for child in &shown {
            by_name.entry(&tree.span(*child).name).or_default().push(*child);
        }
        // A group's row stands where its last member would.
        let mut groups: HashMap<Node, Item> = HashMap::new();
        let mut gone: HashSet<Node> = HashSet::new();
        for (name, nodes) in by_name {
            let (many, kept) = if self.short && name == span::LAYER_PULL { (FEW_LAYERS, 2) } else { (MANY, KEPT) };
            if nodes.len() > many {
                let (label, rest) = (self.style.clean(name).into_owned(), self.less_important(&nodes, kept));
                self.fold(label, rest, &mut groups, &mut gone);
            }
        }
        if self.short {
            let nothing: Vec<Node> =
                shown.iter().copied().filter(|c| !gone.contains(c) && self.is_nothing(*c)).collect();
            if nothing.len() > 1 {
                self.fold(SHORT_STAGES.to_owned(), nothing, &mut groups, &mut gone);
            }
        }
        let left: Vec<Node> = shown.iter().copied().filter(|c| !gone.contains(c)).collect();
        if left.len() > WIDE {
            self.fold("spans".to_owned(), self.less_important(&left, WIDE - 1), &mut groups, &mut gone);
        }
        let mut out = Vec::new();
        for child in shown {
            if !gone.contains(&child) {
                out.push(Item::One(child));
            }
            out.extend(groups.remove(&child));
        }
        out
    }

    /// Whether a span took none of the wall time that a row would show.
    fn is_nothing(&self, node: Node) -> bool {
        let tree = &self.analysis.tree;
        let of_all = |ns| units::share(ns, self.analysis.wall()) < NOTHING;
        let failed = tree.walk(node).into_iter().any(|n| tree.span(n).status.is_error());
        !failed && of_all(tree.duration(node)) && of_all(self.analysis.critical_below_ns[node])
    }

    /// All but the `keep` most important of `nodes`, in the order given.
    fn less_important(&self, nodes: &[Node], keep: usize) -> Vec<Node> {
        let tree = &self.analysis.tree;
        let mut ranked = nodes.to_vec();
        ranked.sort_by_key(|n| {
            let failed = tree.span(*n).status.is_error();
            let critical = self.analysis.critical_below_ns[*n];
            (!failed, std::cmp::Reverse((critical, tree.duration(*n))), *n)
        });
        let kept: HashSet<Node> = ranked.into_iter().take(keep).collect();
        nodes.iter().copied().filter(|n| !kept.contains(n)).collect()
    }

    fn fold(&self, label: String, nodes: Vec<Node>, groups: &mut HashMap<Node, Item>, gone: &mut HashSet<Node>) {
        if let Some(last) = nodes.last().copied() {
            gone.extend(&nodes);
            groups.insert(last, Item::Many(label, nodes));
        }
    }

    fn one(&self, node: Node, depth: usize) -> Row {
        let tree = &self.analysis.tree;
        let span = tree.span(node);
        Row {
            nodes: vec![node],
            depth,
            label: label(self.analysis, node, self.style),
            bar: self.relative(tree.window(node)),
            critical: Vec::new(),
            marked: self.is_marked(self.analysis.critical_below_ns[node], tree.duration(node)),
            duration: tree.duration(node),
            inside: tree.window(node).1 - tree.window(node).0,
            failed: span.status.is_error(),
            error: self.error(node),
            detail: detail::detail(self.analysis, node, self.style),
        }
    }

    /// What a failed span says; nothing if a child that failed says the same, since errors are passed up.
    fn error(&self, node: Node) -> String {
        let tree = &self.analysis.tree;
        let span = tree.span(node);
        let Status::Error(message) = &span.status else { return String::new() };
        let shown = |n: &&Node| !detail::is_folded(tree, **n);
        if tree.children(node).iter().filter(shown).any(|c| tree.span(*c).status == span.status) {
            return String::new();
        }
        let text = if message.is_empty() { span.attributes.str(attr::ERROR_TYPE).unwrap_or("failed") } else { message };
        self.style.clean(text).into_owned()
    }

    /// A row for many: from the first begin to the last end; the length is the wall time that they cover.
    fn many(&self, label: String, nodes: &[Node], depth: usize) -> Row {
        let tree = &self.analysis.tree;
        let windows = nodes.iter().map(|n| tree.window(*n));
        let from = windows.clone().map(|w| w.0).min().unwrap_or(0);
        let to = windows.map(|w| w.1).max().unwrap_or(from);
        let longest = nodes.iter().map(|n| tree.duration(*n)).max().unwrap_or(0);
        let covered = crate::analyze::times::union_of(tree, nodes);
        let critical = nodes.iter().map(|n| self.analysis.critical_below_ns[*n]).sum();
        let more = if label == span::LAYER_PULL { "layers".to_owned() } else { label };
        let failed = nodes.iter().filter(|n| tree.span(**n).status.is_error()).count();
        let named = more == SHORT_STAGES && nodes.len() <= NAMED;
        let mut parts: Vec<String> = if named {
            let name = |n: &Node| self.style.clean(&tree.span(*n).name).into_owned();
            nodes.iter().map(|n| format!("{} {}", name(n), units::duration(tree.duration(*n), self.style))).collect()
        } else {
            vec![
                format!("longest {}", units::duration(longest, self.style)),
                format!("sum {}", units::duration(crate::analyze::times::sum_of(tree, nodes), self.style)),
            ]
        };
        parts.extend(detail::layer_sum(tree, nodes, self.style));
        Row {
            nodes: nodes.to_vec(),
            depth,
            label: if more == SHORT_STAGES {
                format!("{} {more}", nodes.len())
            } else {
                format!("{} more {more}", nodes.len())
            },
            bar: self.relative((from, to)),
            critical: Vec::new(),
            marked: self.is_marked(critical, covered),
            duration: covered,
            inside: covered,
            failed: failed > 0,
            error: if failed > 0 { format!("{failed} of {} failed", nodes.len()) } else { String::new() },
            detail: Detail { parts, joiner: ", " },
        }
    }

    fn relative(&self, (start, end): (u64, u64)) -> (u64, u64) {
        let origin = self.analysis.tree.window(self.analysis.tree.root()).0;
        (start - origin, end - origin)
    }

    /// A span that the path only brushes gets no mark: at least a tenth of its own time or a hundredth of the wall
    /// time.
    fn is_marked(&self, critical: u64, duration: u64) -> bool {
        critical > 0 && (critical >= duration / 10 || critical >= self.analysis.wall() / 100)
    }

    fn fill_critical(&mut self) {
        let tree = &self.analysis.tree;
        for segment in &self.analysis.segments {
            let part = self.relative((segment.start, segment.end));
            let mut last = None;
            for owner in tree.ancestors(segment.node).filter_map(|n| self.owner[n]) {
                if last != Some(owner) {
                    add_part(&mut self.rows[owner].critical, part);
                }
                last = Some(owner);
            }
        }
    }
}

fn add_part(parts: &mut Vec<(u64, u64)>, part: (u64, u64)) {
    match parts.last_mut() {
        Some(last) if last.1 == part.0 => last.1 = part.1,
        _ => parts.push(part),
    }
}

/// Layers by their place in the image, all together where the first of them begins; the rest by begin.
fn in_layer_order(analysis: &Analysis<'_>, nodes: &mut [Node]) {
    let tree = &analysis.tree;
    let is_layer = |n: &Node| tree.span(*n).name == span::LAYER_PULL;
    let Some(first) = nodes.iter().copied().find(is_layer) else { return };
    nodes.sort_by_key(|n| {
        if is_layer(n) {
            (first, 1, tree.span(*n).attributes.int(attr::LAYER_INDEX).unwrap_or(i64::MAX), *n)
        } else {
            (*n, 0, 0, *n)
        }
    });
}

/// `layer 1/6 db08…` for a layer, the span's name for the rest.
pub(crate) fn label(analysis: &Analysis<'_>, node: Node, style: &Style) -> String {
    let tree = &analysis.tree;
    let here = tree.span(node);
    if here.name != span::LAYER_PULL {
        return style.clean(&here.name).into_owned();
    }
    let of = tree
        .parent(node)
        .and_then(|p| tree.span(p).attributes.int(attr::LAYERS))
        .map(|n| format!("/{n}"))
        .unwrap_or_default();
    let number = here.attributes.int(attr::LAYER_INDEX).map(|i| format!(" {}{of}", i.saturating_add(1)));
    let digest = here.attributes.str(attr::LAYER_DIGEST).map(|d| {
        let hex: String = d.rsplit(':').next().unwrap_or(d).chars().take(4).collect();
        format!(" {}{}", style.clean(&hex), if style.unicode { "…" } else { "" })
    });
    format!("layer{}{}", number.unwrap_or_default(), digest.unwrap_or_default())
}
