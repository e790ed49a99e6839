//! Perfetto's trace format (`perfetto.protos.Trace`): a program is a process track, a lane a track below it, a span a
//! slice, waits are flows, curves counter tracks.
//!
//! Times are wall-clock nanoseconds: a clock snapshot at the start says that the boot clock, on which Perfetto lays
//! everything out, is the same. Slices of a track nest by their order, so events are sorted by time, and at one time as
//! they lie in each other.

use super::scene::{Scene, Wait, base64};
use crate::analyze::Node;
use crate::analyze::lanes::Place;
use crate::record::model::{Attributes, Span, Status, Trace, Value};

mod wire;

use wire::{Annotation, Clock, ClockSnapshot, Counter, Packet, Process, TrackDescriptor, TrackEvent};

/// Numbers of `perfetto/trace/…`: kinds of events, built-in clocks, orders of tracks, flags, units.
mod number {
    pub(super) const BEGIN: i32 = 1;
    pub(super) const END: i32 = 2;
    pub(super) const INSTANT: i32 = 3;
    pub(super) const COUNTER: i32 = 4;
    pub(super) const REALTIME: u32 = 1;
    pub(super) const BOOTTIME: u32 = 6;
    pub(super) const EXPLICIT_ORDER: i32 = 3;
    pub(super) const STATE_CLEARED: u32 = 1;
    pub(super) const SIZE_BYTES: i32 = 3;
}

/// All packets come from one writer.
const SEQUENCE: u32 = 1;

/// All traces as one file.
pub fn render(traces: &[Trace]) -> Vec<u8> {
    let scenes: Vec<Scene<'_>> = traces.iter().filter_map(Scene::of).collect();
    let zero = traces.iter().flat_map(|t| &t.spans).map(|s| s.start).min().unwrap_or(0);
    let mut writer = Writer { descriptors: Vec::new(), events: Vec::new(), tracks: 0, flows: 0 };
    for scene in &scenes {
        writer.scene(scene);
    }
    // Stable: what lies in each other at one time stays in order.
    writer.events.sort_by_key(|(time, _)| *time);
    let clocks = [number::REALTIME, number::BOOTTIME].map(|id| Clock { id: Some(id), timestamp: Some(zero) });
    let first = Packet {
        clock_snapshot: Some(ClockSnapshot { clocks: clocks.to_vec(), primary: Some(number::REALTIME as i32) }),
        sequence_flags: Some(number::STATE_CLEARED),
        ..packet()
    };
    let tracks = writer.descriptors.into_iter().map(|d| Packet { track_descriptor: Some(d), ..packet() });
    let events = writer.events.into_iter().map(|(time, event)| Packet {
        timestamp: Some(time),
        timestamp_clock_id: Some(number::REALTIME),
        track_event: Some(event),
        ..packet()
    });
    let mut out = Vec::new();
    for packet in std::iter::once(first).chain(tracks).chain(events) {
        // A trace is its packets, each as field 1: so two files one after the other are a trace too.
        prost::encoding::message::encode(1, &packet, &mut out);
    }
    out
}

fn packet() -> Packet {
    Packet { sequence_id: Some(SEQUENCE), ..Packet::default() }
}

struct Writer {
    descriptors: Vec<TrackDescriptor>,
    events: Vec<(u64, TrackEvent)>,
    tracks: u64,
    flows: u64,
}

/// Of one scene: the track of each lane of each program, and the flows that begin and end with a span.
struct Tracks {
    lanes: Vec<Vec<u64>>,
    out: Vec<Vec<u64>>,
    into: Vec<Vec<u64>>,
}

impl Writer {
    fn track(&mut self, parent: Option<u64>, rank: usize, name: String) -> &mut TrackDescriptor {
        self.tracks += 1;
        self.descriptors.push(TrackDescriptor {
            uuid: Some(self.tracks),
            parent,
            name: Some(name),
            rank: parent.map(|_| i32::try_from(rank).unwrap_or(i32::MAX)),
            ..TrackDescriptor::default()
        });
        let last = self.descriptors.len() - 1;
        &mut self.descriptors[last]
    }

    fn scene(&mut self, scene: &Scene<'_>) {
        let mut tracks = Tracks { lanes: Vec::new(), out: Vec::new(), into: Vec::new() };
        for program in 0..scene.lanes.programs.len() {
            let name = scene.program(program);
            let track = self.track(None, 0, name.clone());
            track.order = Some(number::EXPLICIT_ORDER);
            let uuid = track.uuid;
            // Not the real one: a file with many runs would have several programs with one number.
            track.process = Some(Process { pid: uuid.and_then(|u| i32::try_from(u).ok()), name: Some(name) });
            let ids = (0..scene.lanes.count[program]).map(|lane| {
                let of_lane = scene.lane_name(Place { program, lane });
                // Tracks with one name would be shown as one.
                self.track(uuid, lane + 10, format!("{} {of_lane}", lane + 1)).uuid.unwrap_or_default()
            });
            tracks.lanes.push(ids.collect());
            if program == 0 {
                self.counters(scene, uuid);
            }
        }
        let spans = scene.analysis.tree.len();
        (tracks.out, tracks.into) = (vec![Vec::new(); spans], vec![Vec::new(); spans]);
        for wait in &scene.waits {
            self.wait(scene, wait, &mut tracks);
        }
        self.slices(scene, &tracks);
    }

    fn counters(&mut self, scene: &Scene<'_>, parent: Option<u64>) {
        for (rank, curve) in scene.curves.iter().enumerate() {
            let bytes = curve.unit.starts_with('B');
            let track = self.track(parent, rank, curve.name.to_owned());
            track.counter =
                Some(Counter { unit: bytes.then_some(number::SIZE_BYTES), unit_name: Some(curve.unit.to_owned()) });
            let track = track.uuid;
            self.events.extend(curve.points.iter().map(|(time, value)| {
                let kind = Some(number::COUNTER);
                (*time, TrackEvent { kind, track, counter: Some(*value), ..TrackEvent::default() })
            }));
        }
    }

    /// A flow goes from event to event in order of time: from the begin of the span that was waited for to that of the
    /// one that waited, or to a moment in it if it began first.
    fn wait(&mut self, scene: &Scene<'_>, wait: &Wait, tracks: &mut Tracks) {
        self.flows += 1;
        let tree = &scene.analysis.tree;
        let ((source, _), (target, reached)) = (wait.from, wait.to);
        tracks.out[source].push(self.flows);
        if tree.span(target).start > tree.span(source).start {
            tracks.into[target].push(self.flows);
            return;
        }
        let place = scene.lanes.place(target);
        self.events.push((
            reached,
            TrackEvent {
                kind: Some(number::INSTANT),
                track: Some(tracks.lanes[place.program][place.lane]),
                name: Some("waited".to_owned()),
                flows_end: vec![self.flows],
                ..TrackEvent::default()
            },
        ));
    }

    /// Begin and end of all spans, each lane in the order in which its spans lie in each other.
    fn slices(&mut self, scene: &Scene<'_>, tracks: &Tracks) {
        let tree = &scene.analysis.tree;
        let mut open: Vec<Vec<Vec<Node>>> = tracks.lanes.iter().map(|l| vec![Vec::new(); l.len()]).collect();
        for node in 0..tree.len() {
            let place = scene.lanes.place(node);
            let track = tracks.lanes[place.program][place.lane];
            let stack = &mut open[place.program][place.lane];
            let above = tree.parent(node);
            while let Some(last) =
                stack.last().copied().filter(|n| tree.span(*n).end <= tree.span(node).start && Some(*n) != above)
            {
                self.end(tree.span(last), track);
                stack.pop();
            }
            stack.push(node);
            self.begin(scene, node, track, tracks);
        }
        for (lanes, tracks) in open.iter().zip(&tracks.lanes) {
            for (stack, track) in lanes.iter().zip(tracks) {
                stack.iter().rev().for_each(|node| self.end(tree.span(*node), *track));
            }
        }
    }

    fn begin(&mut self, scene: &Scene<'_>, node: Node, track: u64, tracks: &Tracks) {
        let span = scene.analysis.tree.span(node);
        let mut annotations = annotations(&span.attributes);
        annotations.push(text("spanId", span.id.to_string()));
        annotations.extend(span.parent.map(|p| text("parentSpanId", p.to_string())));
        if let Status::Error(message) = &span.status {
            annotations.push(text("error", message.clone()));
        }
        let scope = scene.trace.origin(span).map(|o| o.scope.name.clone()).filter(|n| !n.is_empty());
        let category = scope.unwrap_or_else(|| "span".to_owned());
        let event = |kind, name: &str, annotations| TrackEvent {
            kind: Some(kind),
            track: Some(track),
            name: Some(name.to_owned()),
            categories: vec![category.clone()],
            annotations,
            ..TrackEvent::default()
        };
        let mut begin = event(number::BEGIN, &span.name, annotations);
        begin.flows.clone_from(&tracks.out[node]);
        begin.flows_end.clone_from(&tracks.into[node]);
        self.events.push((span.start, begin));
        for moment in &span.events {
            let annotations = self::annotations(&moment.attributes);
            self.events.push((moment.at().unwrap_or(span.start), event(number::INSTANT, &moment.name, annotations)));
        }
    }

    fn end(&mut self, span: &Span, track: u64) {
        let end = TrackEvent { kind: Some(number::END), track: Some(track), ..TrackEvent::default() };
        self.events.push((span.end.max(span.start), end));
    }
}

fn annotations(attributes: &Attributes) -> Vec<Annotation> {
    attributes.iter().map(|(key, value)| annotation(Some(key), value)).collect()
}

fn annotation(name: Option<&str>, value: &Value) -> Annotation {
    let mut out = Annotation { name: name.map(str::to_owned), ..Annotation::default() };
    match value {
        Value::Str(v) => out.string = Some(v.clone()),
        Value::Int(v) => out.int = Some(*v),
        Value::Double(v) => out.double = Some(*v),
        Value::Bool(v) => out.bool = Some(*v),
        Value::Bytes(v) => out.string = Some(base64(v)),
        Value::Array(v) => out.array = v.iter().map(|v| annotation(None, v)).collect(),
        Value::Map(v) => out.dict = v.iter().map(|(k, v)| annotation(Some(k), v)).collect(),
    }
    out
}

fn text(name: &str, value: String) -> Annotation {
    annotation(Some(name), &Value::Str(value))
}

#[cfg(test)]
mod tests;
