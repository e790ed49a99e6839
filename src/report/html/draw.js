// From the state to the page: only the rows that are in sight exist as elements.

const ROW = 24;
const byId = (id) => document.getElementById(id);
const box = byId("rows");
const space = byId("space");

/** What the page shows. `from` and `to` are parts of the scale, 0 to 1. */
const state = { from: 0, to: 1, oneScale: true, onlyCritical: false, list: [], selected: nodes[0], found: [], foundSet: new Set() };
const longest = Math.max(1, ...runs.map((r) => r.wall));
const scaleOf = (r) => (state.oneScale ? longest : Math.max(1, runs[r].wall));

function element(tag, className, text) {
  const out = document.createElement(tag);
  if (className) out.className = className;
  if (text !== undefined) out.textContent = text;
  return out;
}

/** The rows that are open, in order. */
function relist() {
  const list = [];
  const stack = [nodes[0]];
  while (stack.length) {
    const node = stack.pop();
    if (state.onlyCritical && !node.critical) continue;
    node.row = list.length;
    list.push(node);
    if (node.open) for (let i = node.children.length - 1; i >= 0; i--) stack.push(node.children[i]);
  }
  state.list = list;
  space.style.height = list.length * ROW + "px";
  box.setAttribute("aria-rowcount", list.length);
}

const isListed = (node) => state.list[node.row] === node;

/** Left edge and width in percent of the lane, or null if it is out of sight. */
function place(r, start, end) {
  const scale = scaleOf(r);
  const width = state.to - state.from;
  const left = (start / scale - state.from) / width;
  const right = (end / scale - state.from) / width;
  if (right < 0 || left > 1) return null;
  // Far ends are cut: browsers lose exactness in very wide elements.
  const l = Math.max(left, -0.5);
  return [l * 100, (Math.min(right, 1.5) - l) * 100];
}

function addBox(lane, className, at) {
  if (!at) return;
  const bar = element("div", className);
  bar.style.left = at[0] + "%";
  bar.style.width = at[1] + "%";
  lane.append(bar);
}

function laneOf(node, r, lines) {
  const lane = element("div", "lane lane-" + r);
  lane.setAttribute("role", "gridcell");
  lane.dataset.run = r;
  for (const line of lines) {
    const mark = element("div", "line");
    mark.style.left = line + "%";
    lane.append(mark);
  }
  const span = node.spans[r];
  if (span < 0) return lane;
  const run = runs[r];
  const failed = span in run.error ? " failed-bar" : "";
  addBox(lane, "bar " + page.names[run.name[span]][1] + failed, place(r, run.start[span], run.end[span]));
  const all = parts[r][span] || [];
  // Pieces closer than half a pixel are drawn as one.
  const near = ((state.to - state.from) * scaleOf(r)) / (2 * Math.max(200, box.clientWidth));
  for (let i = 0; i < all.length; ) {
    const start = all[i];
    let end = all[i + 1];
    for (i += 2; i < all.length && all[i] - end < near; i += 2) end = all[i + 1];
    addBox(lane, "part", place(r, start, end));
  }
  return lane;
}

function rowOf(node, lines) {
  const row = element("div", "row");
  row.setAttribute("role", "row");
  row.dataset.node = node.index;
  row.style.top = node.row * ROW + "px";
  row.setAttribute("aria-level", node.depth + 1);
  row.setAttribute("aria-rowindex", node.row + 1);
  row.setAttribute("aria-selected", node === state.selected);
  row.tabIndex = node === state.selected ? 0 : -1;
  row.classList.toggle("odd", node.row % 2 === 1);
  row.classList.toggle("failed-row", node.failed);
  row.classList.toggle("found", state.foundSet.has(node));
  const label = element("div", "label");
  label.setAttribute("role", "rowheader");
  label.style.paddingLeft = 6 + Math.min(node.depth, 24) * 12 + "px";
  const open = element("i", "open", node.children.length ? (node.open ? "▼" : "▶") : "");
  if (node.children.length) row.setAttribute("aria-expanded", node.open);
  const mark = element("i", "mark", node.failed ? "✗" : node.critical ? "◆" : "");
  mark.title = node.failed ? "failed" : node.critical ? "on the critical path" : "";
  label.append(open, mark, element("b", "", node.label));
  row.append(label);
  const said = [node.label];
  runs.forEach((run, r) => {
    row.append(laneOf(node, r, lines[r]));
    const span = node.spans[r];
    const text = span < 0 ? "–" : duration(run.end[span] - run.start[span]);
    const time = element("div", "time time-" + r, text);
    time.setAttribute("role", "gridcell");
    row.append(time);
    said.push(text);
  });
  if (node.critical) said.push("on the critical path");
  if (node.failed) said.push("failed");
  row.setAttribute("aria-label", said.join(", "));
  return row;
}

/** Puts the rows in sight on the page. The selected row always exists, so that it keeps the focus. */
function drawRows() {
  // Changes of size and colour while it is printed must not take rows away.
  if ("paper" in document.documentElement.dataset) return;
  const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 4);
  const last = Math.min(state.list.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + 4);
  const lines = runs.map((_, r) => linesOf(r).map((l) => l.at));
  const focused = box.contains(document.activeElement) && document.activeElement.classList.contains("row");
  const rows = state.list.slice(first, last);
  if (isListed(state.selected) && (state.selected.row < first || state.selected.row >= last)) rows.push(state.selected);
  box.replaceChildren(space, ...rows.map((node) => rowOf(node, lines)));
  if (focused) box.querySelector(".row[tabindex='0']")?.focus({ preventScroll: true });
}

/** Grid lines of a lane: place in percent and label. */
function linesOf(r) {
  const scale = scaleOf(r);
  const [from, to] = [state.from * scale, state.to * scale];
  const { step, places } = ticks(from, to, runs.length > 1 ? 5 : 9);
  return places.map((ns) => ({ at: ((ns - from) / (to - from)) * 100, text: moment(ns, step) }));
}

function drawAxis() {
  byId("axis").replaceChildren(
    ...runs.map((_, r) => {
      const scale = element("div", "scale lane-" + r);
      scale.dataset.run = r;
      for (const line of linesOf(r).filter((l) => l.at <= 96)) {
        const text = element("span", line.at < 4 ? "first" : "", line.text);
        text.style.left = line.at + "%";
        scale.append(text);
      }
      return scale;
    }),
  );
  const scale = scaleOf(0);
  byId("range").textContent = duration(Math.round(state.from * scale)) + " – " + duration(Math.round(state.to * scale));
}

/** The whole run at a glance: bytes on the wire, layers at work, and the part that is in sight. */
function drawOverview() {
  const styles = getComputedStyle(document.documentElement);
  const color = (name) => styles.getPropertyValue("--" + name).trim();
  document.querySelectorAll("#overview canvas").forEach((canvas, r) => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    const run = runs[r];
    const whole = (run.wall / scaleOf(r)) * width;
    const strip = (values, top, tall, name) => {
      const most = Math.max(1, ...values);
      c.fillStyle = color(name);
      values.forEach((v, i) => {
        const h = (v / most) * (tall - 2);
        const [left, right] = [i, i + 1].map((k) => Math.round((k / values.length) * whole));
        if (v > 0) c.fillRect(left, top + tall - h, Math.max(1, right - left), h);
      });
    };
    // What the run was busy with: the children of the root, where there are no strips.
    if (![...run.rate, ...run.active].some((v) => v > 0)) {
      for (const child of nodes[0].children) {
        const span = child.spans[r];
        if (span < 0) continue;
        const [a, b] = [run.start[span] / scaleOf(r), run.end[span] / scaleOf(r)];
        c.fillStyle = color(child.work);
        c.fillRect(a * width, 12, Math.max(1, (b - a) * width), height - 24);
      }
    }
    strip(run.rate, 0, height / 2, "network");
    strip(run.active, height / 2, height / 2, "pull");
    c.strokeStyle = color("text");
    c.lineWidth = 2;
    c.strokeRect(state.from * width + 1, 1, Math.max(2, (state.to - state.from) * width - 2), height - 2);
  });
}

let waiting = 0;
/** Draws everything anew before the next frame. */
function draw() {
  waiting ||= requestAnimationFrame(() => {
    waiting = 0;
    drawAxis();
    drawRows();
    drawOverview();
  });
}

/** What is selected, in full. */
function drawDetails() {
  const node = state.selected;
  const columns = element("div", runs.length > 1 ? "columns two" : "columns");
  node.spans.forEach((span, r) => {
    const column = element("div");
    if (runs.length > 1) column.append(element("h2", "", runs[r].facts.slice(0, 2).join(" · ")));
    const list = element("dl");
    const pairs = span < 0 ? [["in this run", "no such span"]] : factsOf(r, span);
    for (const [key, value] of pairs) {
      const pair = element("div");
      pair.append(element("dt", "", key), element("dd", key === "failed" ? "failed-text" : "", value));
      list.append(pair);
    }
    column.append(list);
    columns.append(column);
  });
  byId("details").replaceChildren(element("h2", "", node.label), columns);
}

/** Title, facts, finding and errors of each run. */
function drawHeader() {
  for (const run of runs) {
    const facts = [...run.facts, "unaccounted " + duration(run.unaccounted)];
    const line = element("p", "facts", facts.join(" · "));
    line.title = pairsOf(run.resource).map(([k, v]) => k + " = " + v).join("\n");
    byId("runs").append(line);
    if (run.finding) byId("runs").append(element("p", "", run.finding));
    for (const error of run.errors) byId("runs").append(element("p", "error", "✗ " + error));
  }
}
