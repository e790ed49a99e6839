// What a person can do: select, open and close, zoom, move, search, follow links. Everything works by keyboard alone.

const LEAST = 1e-7;

function setRange(from, to) {
  const width = Math.min(1, Math.max(LEAST, to - from));
  state.from = Math.min(Math.max(0, from), 1 - width);
  state.to = state.from + width;
  draw();
}

/** `factor` below 1 zooms in; `at` is a part of the lane that stays where it is. */
function zoom(factor, at = 0.5) {
  const width = state.to - state.from;
  const fixed = state.from + at * width;
  const next = Math.min(1, Math.max(LEAST, width * factor));
  setRange(fixed - at * next, fixed + (1 - at) * next);
}

function move(part) {
  const by = part * (state.to - state.from);
  setRange(state.from + by, state.to + by);
}

function windowOf(node) {
  const spans = node.spans.map((s, r) => [s, r]).filter(([s]) => s >= 0);
  const from = Math.min(...spans.map(([s, r]) => runs[r].start[s] / scaleOf(r)));
  const to = Math.max(...spans.map(([s, r]) => runs[r].end[s] / scaleOf(r)));
  return [from, to];
}

function zoomTo(node) {
  const [from, to] = windowOf(node);
  const margin = Math.max((to - from) * 0.05, LEAST);
  setRange(from - margin, to + margin);
}

function open(node, value) {
  if (!node.children.length || node.open === value) return;
  node.open = value;
  relist();
  draw();
}

function reveal(node) {
  if (state.onlyCritical && !node.critical) setCritical(false);
  for (let above = node.parent; above; above = above.parent) above.open = true;
  relist();
}

/** Selects a row and brings it into sight. */
function select(node, focus = true) {
  if (!isListed(node)) reveal(node);
  state.selected = node;
  const top = node.row * ROW;
  if (top < box.scrollTop) box.scrollTop = top - ROW;
  else if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight + 2 * ROW;
  drawRows();
  drawDetails();
  draw();
  if (focus) box.querySelector(".row[tabindex='0']")?.focus({ preventScroll: true });
  const r = node.spans.findIndex((s) => s >= 0);
  const link = "#span=" + runs[r].span[node.spans[r]];
  if (location.hash !== link) history.replaceState(null, "", link);
}

/** Follows `#span=…`: any span of any run. */
function follow() {
  const wanted = /^#span=([0-9a-f]{16})$/.exec(location.hash)?.[1];
  if (!wanted) return;
  for (const [r, run] of runs.entries()) {
    const span = run.span.indexOf(wanted);
    if (span < 0) continue;
    const node = nodeOfSpan[r].get(span);
    const [from, to] = windowOf(node);
    if (to < state.from || from > state.to) setRange(0, 1);
    select(node);
    return;
  }
}

function setCritical(value) {
  state.onlyCritical = value;
  byId("critical").setAttribute("aria-pressed", value);
  relist();
  if (!isListed(state.selected)) state.selected = nodes[0];
  box.scrollTop = Math.min(box.scrollTop, state.list.length * ROW);
  drawDetails();
  draw();
}

function setScale(value) {
  state.oneScale = value;
  byId("scale").setAttribute("aria-pressed", value);
  draw();
}

function openAll(value) {
  for (const node of nodes) node.open = value || node.depth === 0;
  if (!value) while (state.selected.depth > 1) state.selected = state.selected.parent;
  relist();
  drawDetails();
  draw();
}

function search() {
  const words = byId("search").value.trim().toLowerCase();
  state.found = words ? nodes.filter((n) => (n.text ??= searchTextOf(n)).includes(words)) : [];
  state.foundSet = new Set(state.found);
  sayFound();
  draw();
}

function sayFound() {
  const at = state.found.indexOf(state.selected);
  const count = state.found.length;
  byId("found").textContent = !byId("search").value.trim() ? "" : count === 0 ? "nothing" : at < 0 ? count + " found" : at + 1 + " of " + count;
}

function nextFound(step, focus) {
  const count = state.found.length;
  if (!count) return;
  // From where the selection is, also if it is between two matches.
  const place = new Map(nodes.map((n, i) => [n, i]));
  const here = place.get(state.selected);
  const ahead = step > 0 ? state.found.find((n) => place.get(n) > here) : state.found.findLast((n) => place.get(n) < here);
  select(ahead || state.found[step > 0 ? 0 : count - 1], focus);
  sayFound();
}

function onRowsKey(event) {
  const node = state.selected;
  const to = (i) => select(state.list[Math.min(state.list.length - 1, Math.max(0, i))]);
  const page = Math.max(1, Math.floor(box.clientHeight / ROW) - 1);
  switch (event.key) {
    case "ArrowDown": to(node.row + 1); break;
    case "ArrowUp": to(node.row - 1); break;
    case "PageDown": to(node.row + page); break;
    case "PageUp": to(node.row - page); break;
    case "Home": to(0); break;
    case "End": to(state.list.length - 1); break;
    case "ArrowRight":
      if (event.shiftKey) move(0.1);
      else if (node.children.length && !node.open) open(node, true);
      else if (node.children.length) to(node.row + 1);
      break;
    case "ArrowLeft":
      if (event.shiftKey) move(-0.1);
      else if (node.children.length && node.open && node.parent) open(node, false);
      else if (node.parent) select(node.parent);
      break;
    case "Enter": zoomTo(node); break;
    case " ": open(node, !node.open); break;
    default: return;
  }
  event.preventDefault();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === byId("search")) {
    if (event.key === "Enter") nextFound(event.shiftKey ? -1 : 1, false);
    else if (event.key === "Escape") box.querySelector(".row[tabindex='0']")?.focus();
    else return;
    event.preventDefault();
    return;
  }
  const actions = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => setRange(0, 1),
    "/": () => byId("search").select(), n: () => nextFound(1, true), N: () => nextFound(-1, true),
    c: () => setCritical(!state.onlyCritical), e: () => openAll(true), x: () => openAll(false),
    t: nextTheme,
    s: () => runs.length > 1 && setScale(!state.oneScale), "?": () => (byId("help").open = !byId("help").open),
  };
  const action = Object.hasOwn(actions, event.key) && actions[event.key];
  if (action) {
    if (event.key === "/") byId("search").focus();
    action();
    event.preventDefault();
  } else if (box.contains(event.target)) {
    onRowsKey(event);
  }
}

/** Which part of a lane the pointer is over, or null. */
function partAt(event) {
  const lane = event.target.closest(".lane, .scale, canvas");
  if (!lane) return null;
  const edges = lane.getBoundingClientRect();
  return (event.clientX - edges.left) / Math.max(1, edges.width);
}

function onWheel(event) {
  const at = partAt(event);
  const overScale = event.target.closest("#axis, #overview");
  if (at === null) return;
  if (event.ctrlKey || overScale) {
    zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), overScale?.id === "overview" ? 0.5 : at);
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    move((event.deltaX || event.deltaY) / 800);
  } else {
    return;
  }
  event.preventDefault();
}

/** Dragging a lane or the scale moves it; dragging the overview moves the window in it. */
function onDown(event) {
  const lane = event.target.closest(".lane, .scale, canvas");
  if (!lane || event.button !== 0) return;
  const width = Math.max(1, lane.getBoundingClientRect().width);
  const whole = lane.tagName === "CANVAS";
  if (whole) {
    const half = (state.to - state.from) / 2;
    const at = partAt(event);
    setRange(at - half, at + half);
  }
  let last = event.clientX;
  const drag = (e) => {
    const by = (e.clientX - last) / width;
    last = e.clientX;
    if (whole) setRange(state.from + by, state.to + by);
    else move(-by);
  };
  const stop = () => {
    window.removeEventListener("pointermove", drag);
    window.removeEventListener("pointerup", stop);
  };
  window.addEventListener("pointermove", drag);
  window.addEventListener("pointerup", stop);
}

const nodeAt = (event) => {
  const row = event.target.closest?.(".row");
  return row ? nodesByIndex[row.dataset.node] : null;
};
const nodesByIndex = [];
for (const node of nodes) nodesByIndex[node.index] = node;

function onHover(event) {
  const tip = byId("tip");
  const node = nodeAt(event);
  tip.hidden = !node || event.buttons > 0;
  if (tip.hidden) return;
  const over = event.target.closest(".lane, .time");
  const r = over && runs.length > 1 ? Number(over.dataset.run ?? over.className.slice(-1)) : node.spans.findIndex((s) => s >= 0);
  const lines = node.spans[r] < 0 ? [["in this run", "no such span"]] : factsOf(r, node.spans[r]);
  tip.textContent = [node.label, ...lines.slice(0, 30).map(([k, v]) => k + ": " + (v.length > 300 ? v.slice(0, 300) + "…" : v))].join("\n");
  const [width, height] = [tip.offsetWidth, tip.offsetHeight];
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8)) + "px";
  tip.style.top = (event.clientY + 18 + height > innerHeight ? Math.max(4, event.clientY - height - 12) : event.clientY + 18) + "px";
}

function onClick(event) {
  const node = nodeAt(event);
  if (!node) return;
  if (event.target.classList.contains("open")) open(node, !node.open);
  select(node);
}

const time = "84px";
document.documentElement.style.setProperty("--columns", "minmax(150px, 24%) " + runs.map(() => "minmax(0, 1fr) " + time).join(" "));
document.documentElement.style.setProperty("--scrollbar", box.offsetWidth - box.clientWidth + "px");
document.body.classList.toggle("charts", !!document.querySelector("figure"));
byId("scale").hidden = runs.length < 2;
runs.forEach((run, r) => {
  // Which lane is whose.
  if (runs.length > 1) byId("overview").append(element("b", "whose lane-" + r, run.facts.slice(0, 2).join(" · ") + " · " + run.id.slice(0, 8)));
  byId("overview").append(element("canvas", "lane-" + r));
});

byId("in").onclick = () => zoom(0.5);
byId("out").onclick = () => zoom(2);
byId("all").onclick = () => setRange(0, 1);
byId("critical").onclick = () => setCritical(!state.onlyCritical);
byId("scale").onclick = () => setScale(!state.oneScale);
byId("expand").onclick = () => openAll(true);
byId("collapse").onclick = () => openAll(false);
byId("theme").onclick = nextTheme;
byId("next").onclick = () => nextFound(1, false);
byId("previous").onclick = () => nextFound(-1, false);
byId("search").oninput = search;
document.addEventListener("keydown", onKey);
box.addEventListener("click", onClick);
box.addEventListener("dblclick", (event) => nodeAt(event) && zoomTo(nodeAt(event)));
box.addEventListener("scroll", draw);
box.addEventListener("mouseleave", () => (byId("tip").hidden = true));
box.addEventListener("mousemove", onHover);
for (const id of ["rows", "axis", "overview"]) {
  byId(id).addEventListener("wheel", onWheel, { passive: false });
  byId(id).addEventListener("pointerdown", onDown);
}
window.addEventListener("resize", draw);
window.addEventListener("hashchange", follow);
window.addEventListener("beforeprint", toPaper);
window.addEventListener("afterprint", fromPaper);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

drawHeader();
setTheme(rememberedTheme());
relist();
drawDetails();
draw();
follow();
document.documentElement.dataset.ready = Math.round(performance.now());
