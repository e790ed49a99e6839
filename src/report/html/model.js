"use strict";
// The runs as one tree of nodes. A node has a span of each run, or -1 where a run has none: two runs are aligned by name and by
// place among equal names, layers by their digest.

const page = JSON.parse(document.getElementById("data").textContent);
const runs = page.runs;

/** The children of each span of a run, as a person reads them: by start, layers together and in the image's order. */
function childrenOf(run) {
  const children = run.parent.map(() => null);
  let root = 0;
  run.parent.forEach((parent, i) => {
    if (parent < 0) root = i;
    else (children[parent] ||= []).push(i);
  });
  for (const list of children) {
    if (!list) continue;
    const first = list.find((i) => i in run.layer);
    if (first === undefined) continue;
    const layers = list.filter((i) => i in run.layer).sort((a, b) => run.layer[a][1] - run.layer[b][1]);
    const rest = list.filter((i) => !(i in run.layer));
    const at = rest.findIndex((i) => run.start[i] > run.start[first]);
    rest.splice(at < 0 ? rest.length : at, 0, ...layers);
    list.splice(0, list.length, ...rest);
  }
  return { root, children };
}

/** Pieces of the critical path in each span and everything below it, as start, end, start, end, … */
function partsOf(run) {
  const parts = run.parent.map(() => null);
  for (const [span, start, end] of run.path) {
    for (let i = span; i >= 0; i = run.parent[i]) {
      const list = (parts[i] ||= []);
      if (list.length && list[list.length - 1] === start) list[list.length - 1] = end;
      else list.push(start, end);
    }
  }
  return parts;
}

function labelOf(run, span) {
  return run.label[span] ?? page.names[run.name[span]][0];
}

/** `{spans, parent, children, depth, open}` for each row there can be; the first is the root. */
function buildNodes() {
  const trees = runs.map(childrenOf);
  const parts = runs.map(partsOf);
  const nodes = [];
  const add = (spans, parent, depth) => {
    const i = spans.findIndex((s) => s >= 0);
    const node = { spans, parent, depth, index: nodes.length, children: [], open: true, label: labelOf(runs[i], spans[i]) };
    node.work = page.names[runs[i].name[spans[i]]][1];
    node.critical = spans.some((s, r) => s >= 0 && runs[r].critical[s] > 0);
    node.failed = spans.some((s, r) => s >= 0 && s in runs[r].error);
    nodes.push(node);
    if (parent) parent.children.push(node);
    return node;
  };
  const below = (span, r) => (span < 0 ? null : trees[r].children[span]) || [];
  const key = (r, span, seen) => {
    if (span in runs[r].layer) return "layer " + runs[r].layer[span][0];
    const name = runs[r].name[span];
    const count = seen.get(name) || 0;
    seen.set(name, count + 1);
    return name + " " + count;
  };
  // Depth first without recursion: a foreign trace may be deep.
  const stack = [add(trees.map((t) => t.root), null, 0)];
  const order = [];
  while (stack.length) {
    const node = stack.pop();
    order.push(node);
    if (runs.length === 1) {
      for (const child of below(node.spans[0], 0)) add([child], node, node.depth + 1);
    } else {
      const pairs = new Map();
      node.spans.forEach((span, r) => {
        const seen = new Map();
        let last = null;
        for (const child of below(span, r)) {
          const k = key(r, child, seen);
          if (!pairs.has(k)) {
            // Where the first run has no such span it stands after the one that precedes it in its own run.
            insertAfter(pairs, last, k, runs.map(() => -1));
          }
          pairs.get(k)[r] = child;
          last = k;
        }
      });
      for (const spans of pairs.values()) add(spans, node, node.depth + 1);
    }
    for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]);
  }
  if (order.length > 400) for (const node of order) node.open = node.depth < 2;
  return { nodes: order, parts };
}

function insertAfter(map, after, key, value) {
  if (after === null || map.size === 0) {
    map.set(key, value);
    return;
  }
  const tail = [];
  let found = false;
  for (const [k, v] of map) {
    if (found) tail.push([k, v]);
    if (k === after) found = true;
  }
  for (const [k] of tail) map.delete(k);
  map.set(key, value);
  for (const [k, v] of tail) map.set(k, v);
}

const { nodes, parts } = buildNodes();
const nodeOfSpan = runs.map(() => new Map());
for (const node of nodes) node.spans.forEach((s, r) => s >= 0 && nodeOfSpan[r].set(s, node));
