//! Chrome's trace event format, as `chrome://tracing`, Perfetto's UI and others load it ("Trace Event Format", the JSON
//! object form).
//!
//! A program is a process, a lane a thread, a span a complete event (`X`); events of a span are instants, waits flow
//! arrows, curves counters. Times are microseconds with three decimals, counted from the first span's begin: counted
//! from 1970 they would lose their nanoseconds in a browser's numbers. That begin stands in `otherData`. Viewers add
//! `ts` and `dur` as floating numbers, and with plain decimals a sum may pass the begin of the next span, which is then
//! drawn inside the first: see [`Grid`].

use serde_json::{Map, Value as Json, json};

use super::scene::{Scene, Wait, object};
use crate::analyze::Node;
use crate::analyze::lanes::Place;
use crate::record::model::{Status, Trace};

/// All traces as one document.
pub fn render(traces: &[Trace]) -> Vec<u8> {
    let scenes: Vec<Scene<'_>> = traces.iter().filter_map(Scene::of).collect();
    let zero = traces.iter().flat_map(|t| &t.spans).map(|s| s.start).min().unwrap_or(0);
    let end = traces.iter().flat_map(|t| &t.spans).map(|s| s.end).max().unwrap_or(0);
    let mut writer = Writer { zero, grid: Grid::new(end - zero), events: Vec::new(), first: 1, flows: 0 };
    for scene in &scenes {
        writer.scene(scene);
        writer.first += scene.lanes.programs.len();
    }
    let mut out = b"{\"traceEvents\":[\n".to_vec();
    for (i, event) in writer.events.iter().enumerate() {
        out.extend(if i > 0 { &b",\n"[..] } else { b"" });
        out.extend(event.as_bytes());
    }
    let about = json!({
        "producer": concat!("trace ", env!("CARGO_PKG_VERSION")),
        "startTimeUnixNano": zero.to_string(),
        "traceIds": traces.iter().map(|t| t.id.to_string()).collect::<Vec<_>>(),
    });
    out.extend(format!("\n],\"displayTimeUnit\":\"ns\",\"otherData\":{about}}}\n").as_bytes());
    out
}

struct Writer {
    /// Times are counted from here, ns since the Unix epoch.
    zero: u64,
    grid: Grid,
    events: Vec<String>,
    /// Process id of the trace's first program.
    first: usize,
    flows: usize,
}

impl Writer {
    fn push(&mut self, phase: char, at: Place, times: &[(&str, f64)], mut rest: Map<String, Json>) {
        rest.insert("ph".into(), phase.to_string().into());
        rest.insert("pid".into(), (self.first + at.program).into());
        rest.insert("tid".into(), (at.lane + 1).into());
        let mut text = Json::Object(rest).to_string();
        text.pop();
        for (key, time) in times {
            text.push_str(&format!(",\"{key}\":{time}"));
        }
        text.push('}');
        self.events.push(text);
    }

    /// Microseconds from the first begin to `time`.
    fn since(&self, time: u64) -> f64 {
        self.grid.micros(time.saturating_sub(self.zero))
    }

    fn scene(&mut self, scene: &Scene<'_>) {
        for program in 0..scene.lanes.programs.len() {
            let mut args = object(scene.lanes.programs[program]);
            args.insert("name".into(), scene.program(program).into());
            let at = Place { program, lane: 0 };
            self.push('M', at, &[], fields(json!({"name": "process_name", "args": args})));
            let order = json!({"name": "process_sort_index", "args": {"sort_index": self.first + program}});
            self.push('M', at, &[], fields(order));
        }
        let lanes = |program: usize| (0..scene.lanes.count[program]).map(move |lane| Place { program, lane });
        for place in (0..scene.lanes.programs.len()).flat_map(lanes) {
            let name = scene.lane_name(place);
            self.push('M', place, &[], fields(json!({"name": "thread_name", "args": {"name": name}})));
            let order = json!({"name": "thread_sort_index", "args": {"sort_index": place.lane}});
            self.push('M', place, &[], fields(order));
        }
        for node in 0..scene.analysis.tree.len() {
            self.span(scene, node);
        }
        for wait in &scene.waits {
            self.wait(scene, wait);
        }
        for curve in &scene.curves {
            for (time, value) in &curve.points {
                let counter = json!({"name": curve.name, "cat": "run", "args": {curve.unit: value}});
                let at = Place { program: 0, lane: 0 };
                self.push('C', at, &[("ts", self.since(*time))], fields(counter));
            }
        }
    }

    fn span(&mut self, scene: &Scene<'_>, node: Node) {
        let span = scene.analysis.tree.span(node);
        let place = scene.lanes.place(node);
        let category =
            scene.trace.origin(span).map(|o| o.scope.name.as_str()).filter(|n| !n.is_empty()).unwrap_or("span");
        let mut args = object(&span.attributes);
        args.insert("spanId".into(), span.id.to_string().into());
        if let Some(parent) = span.parent {
            args.insert("parentSpanId".into(), parent.to_string().into());
        }
        let mut event = fields(json!({"name": span.name, "cat": category}));
        if let Status::Error(message) = &span.status {
            args.insert("error".into(), message.as_str().into());
            // A reserved colour name: red in both viewers.
            event.insert("cname".into(), "terrible".into());
        }
        event.insert("args".into(), Json::Object(args));
        let start = self.since(span.start);
        let times = [("ts", start), ("dur", self.since(span.end.max(span.start)) - start)];
        self.push('X', place, &times, event);
        for moment in &span.events {
            let instant = json!({"name": moment.name, "cat": category, "s": "t", "args": object(&moment.attributes)});
            self.push('i', place, &[("ts", self.since(moment.at().unwrap_or(span.start)))], fields(instant));
        }
    }

    fn wait(&mut self, scene: &Scene<'_>, wait: &Wait) {
        self.flows += 1;
        for (phase, (node, time)) in [('s', wait.from), ('f', wait.to)] {
            let mut event = fields(json!({"name": "waits for", "cat": "wait", "id": self.flows}));
            if phase == 'f' {
                // It belongs to the span around it, not to the next one that begins.
                event.insert("bp".into(), "e".into());
            }
            self.push(phase, scene.lanes.place(node), &[("ts", self.since(time))], event);
        }
    }
}

/// Times as floating numbers of microseconds that are whole multiples of one power of two, so that sums and differences
/// are exact. A multiple lies less than a quarter of a nanosecond from the time it stands for, up to a trace of some
/// days.
#[derive(Clone, Copy)]
struct Grid {
    /// Multiples in a microsecond.
    per_micro: f64,
}

impl Grid {
    /// For times up to `longest` nanoseconds.
    fn new(longest: u64) -> Self {
        let bits = u64::BITS - (longest / 1000).leading_zeros();
        Grid { per_micro: f64::from(1u32 << 52u32.saturating_sub(bits).min(13)) }
    }

    fn micros(self, ns: u64) -> f64 {
        // Whole and fraction apart: as one number a long time would lose its nanoseconds before it is rounded.
        let fraction = (ns % 1000) as f64 / 1000.0;
        (ns / 1000) as f64 + (fraction * self.per_micro).round() / self.per_micro
    }
}

fn fields(object: Json) -> Map<String, Json> {
    match object {
        Json::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;
    use std::collections::HashMap;

    fn ns(micros: &Json) -> u64 {
        (micros.as_f64().unwrap() * 1000.0).round() as u64
    }

    #[test]
    fn begin_and_length_as_floating_numbers_add_up_to_the_end() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 20) % below
        };
        for _ in 0..100_000 {
            let longest = 10u64.pow(random(13) as u32 + 1);
            let (start, ns) = (random(longest), random(longest));
            let grid = Grid::new(longest * 2);
            let number = |v: f64| v.to_string().parse::<f64>().unwrap();
            let (begin, end) = (number(grid.micros(start)), number(grid.micros(start + ns)));
            let length = number(end - begin);
            assert_eq!(begin + length, end, "{start} + {ns}");
            let nanos = |micros: f64| (micros * 1000.0).round() as u64;
            assert_eq!((nanos(begin), nanos(length)), (start, ns), "{start} + {ns}");
        }
    }

    /// Reads it as the format's rules say: in a thread, events nest.
    #[test]
    fn every_span_is_there_to_the_nanosecond_and_lies_in_its_lane() {
        let mut cold = samples::cold(6);
        for (i, span) in cold.spans.iter_mut().enumerate().skip(1) {
            span.start += i as u64;
            span.end = span.end.max(span.start) + 1;
        }
        let mut warm = samples::warm();
        warm.id = crate::record::model::TraceId(9);
        let traces = [cold, warm];
        let document: Json = serde_json::from_slice(&render(&traces)).unwrap();
        let events = document["traceEvents"].as_array().unwrap();
        let zero: u64 = document["otherData"]["startTimeUnixNano"].as_str().unwrap().parse().unwrap();
        let complete: Vec<&Json> = events.iter().filter(|e| e["ph"] == "X").collect();
        let spans: HashMap<String, &crate::record::model::Span> =
            traces.iter().flat_map(|t| t.spans.iter().map(move |s| (format!("{}{}", t.id.0 != 9, s.id), s))).collect();
        assert_eq!(complete.len(), spans.len());
        let mut lanes: HashMap<(String, String), Vec<(u64, u64)>> = HashMap::new();
        for event in complete {
            let key = format!("{}{}", event["pid"] == 1, event["args"]["spanId"].as_str().unwrap());
            let span = spans[&key];
            let (start, length) = (zero + ns(&event["ts"]), ns(&event["dur"]));
            assert_eq!(
                (event["name"].as_str().unwrap(), start, length),
                (span.name.as_ref(), span.start, span.duration())
            );
            let lane = lanes.entry((event["pid"].to_string(), event["tid"].to_string())).or_default();
            for (from, to) in lane.iter() {
                let end = start + length;
                assert!(
                    end <= *from || *to <= start || (*from <= start && end <= *to) || (start <= *from && *to <= end)
                );
            }
            lane.push((start, start + length));
        }
        let count = |phase: &str| events.iter().filter(|e| e["ph"] == phase).count();
        let waits: usize = traces.iter().flat_map(|t| &t.spans).map(|s| s.waits_for().count()).sum();
        assert!(waits > 0);
        assert_eq!((count("s"), count("f")), (waits, waits));
    }
}
