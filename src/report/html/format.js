// Numbers as people read them, in the same words as the rest of the program.

/** A length of time: `850 ns`, `52 µs`, `18.4 ms`, `3.24 s`, `12 min 3 s`. */
function duration(ns) {
  if (ns < 0) return "−" + duration(-ns);
  if (ns === 0) return "0 ms";
  if (ns < 1e3) return ns + " ns";
  if (ns < 99500) return Math.round(ns / 1e3) + " µs";
  if (ns < 999.95e6) return (Math.round(ns / 1e5) / 10).toFixed(1) + " ms";
  if (ns < 99.995e9) return (Math.round(ns / 1e7) / 100).toFixed(2) + " s";
  if (ns < 599.95e9) return (Math.round(ns / 1e8) / 10).toFixed(1) + " s";
  const s = Math.round(ns / 1e9);
  return Math.floor(s / 60) + " min " + (s % 60) + " s";
}

function percent(part, whole) {
  return (whole > 0 ? (part / whole) * 100 : 0).toFixed(1) + " %";
}

/** A place on the axis, with as many digits as steps of `step` ns need. */
function moment(ns, step) {
  if (ns === 0) return "0";
  const [unit, name] = step >= 1e9 || (ns >= 1e9 && step >= 1e7) ? [1e9, "s"] : step >= 1e5 || (ns >= 1e6 && step >= 1e4) ? [1e6, "ms"] : step >= 100 ? [1e3, "µs"] : [1, "ns"];
  const digits = Math.max(0, Math.ceil(Math.log10(unit / step) - 1e-9));
  return (ns / unit).toFixed(digits) + " " + name;
}

/** Round places between `from` and `to`, at most `most`. */
function ticks(from, to, most) {
  const least = (to - from) / Math.max(1, most);
  if (!(least > 0)) return { step: 1, places: [] };
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least * 0.999999);
  const places = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to; i++) places.push(i * step);
  return { step, places };
}

function valueText(value) {
  if (Array.isArray(value)) return value.map(valueText).join(", ");
  return String(value);
}

/** Attribute columns as pairs of texts. Nanoseconds and bytes stay as they are recorded. */
function pairsOf(flat) {
  const out = [];
  for (let i = 0; i + 1 < flat.length; i += 2) out.push([page.keys[flat[i]], valueText(flat[i + 1])]);
  return out;
}

/** How much of a span lies inside the run: some begin before it or end after it. */
function inside(run, span) {
  return Math.max(0, Math.min(run.end[span], run.wall) - Math.max(run.start[span], 0));
}

/** Everything there is to say of a span, as pairs. */
function factsOf(r, span) {
  const run = runs[r];
  const length = run.end[span] - run.start[span];
  const out = [
    ["duration", duration(length) + ", " + percent(inside(run, span), run.wall) + " of the run"],
    ["from, to", duration(run.start[span]) + ", " + duration(run.end[span])],
    ["self", duration(run.own[span])],
    ["on the critical path", duration(run.critical[span])],
  ];
  if (span in run.detail) out.push(["in short", run.detail[span]]);
  if (span in run.error) out.push(["failed", run.error[span] || "without a message"]);
  if (span in run.waits) out.push(["waited for", run.waits[span].map((s) => labelOf(run, s)).join(", ")]);
  if (span in run.kind) out.push(["kind", run.kind[span]]);
  out.push(["span", run.span[span]]);
  out.push(...pairsOf(run.attributes[span]));
  for (const [name, at, attributes] of run.events[span] || []) {
    const more = pairsOf(attributes).map(([k, v]) => k + " = " + v);
    out.push(["event", [at === null ? name : name + " at " + duration(at), ...more].join(", ")]);
  }
  return out;
}

/** What search looks through, in small letters. */
function searchTextOf(node) {
  const out = [node.label];
  node.spans.forEach((span, r) => {
    if (span < 0) return;
    const run = runs[r];
    out.push(page.names[run.name[span]][0], run.span[span], run.error[span] || "");
    const flat = run.attributes[span];
    for (let i = 1; i < flat.length; i += 2) out.push(valueText(flat[i]));
  });
  return out.join("\n").toLowerCase();
}
