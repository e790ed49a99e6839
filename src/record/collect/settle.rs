//! What was said of one span several times, brought together:
//!
//! - the same words twice (a writer that tried again) are one span;
//! - a span that was sent when it began and again when it ended is the ended one;
//! - a part without times that came late (Zipkin allows this) goes into the span it belongs to;
//! - a client's and a server's span of one id (Zipkin's shared spans) become two, the server's below the client's with
//!   an id of its own, and the children that the server's program recorded are below it.
//!
//! A span without any time is put at the begin of the one above it.

use std::collections::HashMap;

use crate::names::attr;
use crate::record::model::{Kind, Origin, Span, SpanId};

/// So many different spans of one id are compared with; broken writers have two.
const SAME_ID: usize = 16;

/// So far up a chain of parents a time is looked for.
const ABOVE: usize = 100;

/// See the module.
pub(super) fn settle(spans: &mut Vec<Span>, sources: &[Origin]) {
    let mut kept: HashMap<SpanId, Vec<usize>> = HashMap::with_capacity(spans.len());
    let mut gone = vec![false; spans.len()];
    for timeless in [false, true] {
        for i in 0..spans.len() {
            if spans[i].is_timeless() != timeless {
                continue;
            }
            let others = kept.entry(spans[i].id).or_default();
            let service = service(&spans[i], sources);
            let candidates = others.iter().copied().filter(|other| one_span(&spans[*other], &spans[i]));
            let best = candidates.max_by_key(|other| {
                let same = self::service(&spans[*other], sources) == service;
                (same, std::cmp::Reverse(*other))
            });
            match best {
                Some(other) => {
                    gone[i] = true;
                    bring_together(spans, other, i);
                }
                None if others.len() < SAME_ID => others.push(i),
                None => {}
            }
        }
    }
    let mut left = gone.iter();
    spans.retain(|_| !left.next().copied().unwrap_or(false));
    part_shared(spans, sources);
    place_timeless(spans);
}

fn service<'a>(span: &Span, sources: &'a [Origin]) -> Option<&'a str> {
    sources.get(span.origin as usize).and_then(|o| o.resource.str(attr::SERVICE_NAME))
}

/// Whether `new`, which has the id of a span that is `there`, says something that is to go into it. If not, it is a
/// repeat or another span.
pub fn adds(there: &Span, new: &Span) -> bool {
    are_shared(there, new) || there.written_times() != new.written_times() && one_span(there, new)
}

/// Whether two spans of one id are one.
fn one_span(a: &Span, b: &Span) -> bool {
    let kinds = a.kind == b.kind || a.kind == Kind::Unspecified || b.kind == Kind::Unspecified;
    if a.is_timeless() || b.is_timeless() {
        return kinds;
    }
    let said = |s: &Span| (s.start, s.end, s.parent, s.kind);
    if a.name == b.name && said(a) == said(b) {
        return true;
    }
    // Of the time at which it began both know.
    kinds && (a.is_open() || b.is_open()) && a.start == b.start
}

fn are_shared(a: &Span, b: &Span) -> bool {
    matches!((a.kind, b.kind), (Kind::Client, Kind::Server) | (Kind::Server, Kind::Client))
}

/// What `part` says goes into the span at `into`.
fn bring_together(spans: &mut [Span], into: usize, part: usize) {
    let whole = |s: &Span| !s.is_timeless() && !s.is_open();
    if whole(&spans[into]) && whole(&spans[part]) {
        return;
    }
    if !whole(&spans[into]) && (whole(&spans[part]) || spans[into].is_timeless()) {
        spans.swap(into, part);
    }
    let part = spans[part].clone();
    let into = &mut spans[into];
    for (key, value) in part.attributes.iter() {
        if into.attributes.get(key).is_none() {
            into.attributes.set(key.to_owned(), value.clone());
        }
    }
    for event in part.events {
        if !into.events.contains(&event) {
            into.events.push(event);
        }
    }
    for link in part.links {
        if !into.links.contains(&link) {
            into.links.push(link);
        }
    }
    if into.name.is_empty() {
        into.name = part.name;
    }
    if into.kind == Kind::Unspecified {
        into.kind = part.kind;
    }
    if into.parent.is_none() {
        into.parent = part.parent;
    }
    if into.status == Default::default() {
        into.status = part.status;
    }
}

/// The id that a server's span gets which shares its client's: always the same for one id, and never zero.
pub fn other_id(id: SpanId) -> SpanId {
    // An odd factor loses no bit (it is the golden ratio's).
    let mixed = id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    SpanId(if mixed == 0 || mixed == id.0 { !id.0 | 1 } else { mixed })
}

/// Gives servers that share their client's id one of their own.
fn part_shared(spans: &mut [Span], sources: &[Origin]) {
    let mut clients: HashMap<SpanId, usize> = HashMap::new();
    for (i, span) in spans.iter().enumerate() {
        if span.kind == Kind::Client {
            clients.entry(span.id).or_insert(i);
        }
    }
    if clients.is_empty() {
        return;
    }
    // Client and server of each pair, also of those that were parted before.
    let mut pairs: HashMap<SpanId, (usize, usize)> = HashMap::new();
    for i in 0..spans.len() {
        let span = &spans[i];
        if span.kind != Kind::Server {
            continue;
        }
        if let Some(client) = clients.get(&span.id) {
            pairs.entry(span.id).or_insert((*client, i));
            spans[i].parent = Some(spans[i].id);
            spans[i].id = other_id(spans[i].id);
        } else if let Some(client) = span.parent.filter(|p| other_id(*p) == span.id).and_then(|p| clients.get(&p)) {
            pairs.entry(spans[*client].id).or_insert((*client, i));
        }
    }
    for i in 0..spans.len() {
        let Some(&(client, server)) = spans[i].parent.and_then(|p| pairs.get(&p)) else { continue };
        if i == client || i == server || spans[i].id == spans[server].id {
            continue;
        }
        let recorded_by = |span: usize| service(&spans[span], sources);
        let inside = spans[server].start <= spans[i].start && spans[i].end <= spans[server].end;
        let of_server = recorded_by(i) == recorded_by(server);
        if of_server && (recorded_by(i) != recorded_by(client) || inside) {
            spans[i].parent = Some(spans[server].id);
        }
    }
}

fn place_timeless(spans: &mut [Span]) {
    let lost: Vec<usize> = (0..spans.len()).filter(|i| spans[*i].is_timeless()).collect();
    if lost.is_empty() {
        return;
    }
    let by_id: HashMap<SpanId, usize> = spans.iter().enumerate().rev().map(|(i, s)| (s.id, i)).collect();
    let first = spans.iter().filter(|s| !s.is_timeless()).map(|s| s.start).min().unwrap_or(0);
    for i in lost {
        let above = std::iter::successors(Some(i), |at| spans[*at].parent.and_then(|p| by_id.get(&p).copied()));
        let start = above.take(ABOVE).find(|at| !spans[*at].is_timeless()).map_or(first, |at| spans[at].start);
        spans[i].start = start;
        spans[i].end = start;
        spans[i].extra_mut().written = Some((0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::samples;
    use crate::record::collect::Collect;
    use crate::record::model::{Attributes, Trace, TraceId};

    fn span(id: u64, parent: u64, times: (u64, u64), kind: Kind) -> Span {
        let mut span = samples::warm().spans[0].clone();
        let (start, end) = crate::record::file::sane_times(times.0, times.1);
        span.id = SpanId(id);
        span.parent = (parent > 0).then_some(SpanId(parent));
        (span.name, span.kind, span.start, span.end) = (format!("{id}").into(), kind, start, end);
        span.attributes = Attributes::new();
        span.extra = None;
        if (start, end) != times || times == (0, 0) {
            span.extra_mut().written = Some(times);
        }
        span
    }

    fn collected(spans: &[(&str, Span)]) -> Trace {
        let mut collect = Collect::new();
        for (service, span) in spans {
            let origin = Origin { resource: Attributes::new().with("service.name", *service), ..Origin::default() };
            let source = collect.source(origin);
            collect.add(TraceId(1), None, source, span.clone());
        }
        collect.finish().remove(0)
    }

    fn tree(trace: &Trace) -> Vec<(u64, Option<u64>)> {
        trace.spans.iter().map(|s| (s.id.0, s.parent.map(|p| p.0))).collect()
    }

    #[test]
    fn a_span_sent_at_its_begin_and_at_its_end_is_the_ended_one_in_either_order() {
        let mut begun = span(1, 0, (100, 0), Kind::Server);
        begun.attributes.set("early", 1);
        let ended = span(1, 0, (100, 900), Kind::Server);
        for order in [[&begun, &ended], [&ended, &begun]] {
            let trace = collected(&order.map(|s| ("a", s.clone())));
            assert_eq!((trace.spans.len(), trace.spans[0].end, trace.spans[0].is_open()), (1, 900, false));
            assert_eq!(trace.spans[0].attributes.int("early"), Some(1));
        }
        let still = collected(&[("a", begun.clone()), ("a", begun)]);
        assert_eq!((still.spans.len(), still.spans[0].is_open()), (1, true));
    }

    #[test]
    fn client_and_server_of_one_id_are_two_in_every_order_and_once_parted_stay_so() {
        let call = span(7, 0, (100, 900), Kind::Client);
        let answer = span(7, 0, (200, 800), Kind::Server);
        let (below, beside) = (span(8, 7, (300, 400), Kind::Internal), span(9, 7, (110, 120), Kind::Internal));
        let own = other_id(SpanId(7));
        let all = [("front", call), ("back", answer), ("back", below), ("front", beside)];
        for turn in 0..all.len() {
            let mut order = all.to_vec();
            order.rotate_left(turn);
            let mut found = collected(&order);
            for _ in 0..2 {
                let mut tree = tree(&found);
                tree.sort_unstable();
                let mut expected = vec![(7, None), (own.0, Some(7)), (8, Some(own.0)), (9, Some(7))];
                expected.sort_unstable();
                assert_eq!(tree, expected, "turn {turn}");
                // The way through a file changes nothing.
                let line = crate::record::file::to_line(&found);
                found = crate::record::file::parse(line.as_bytes(), "t".as_ref()).unwrap().remove(0);
            }
        }
        let alone = collected(&all[1..3]);
        assert_eq!(tree(&alone), [(7, None), (8, Some(7))], "without its client a server keeps its id");
    }

    #[test]
    fn late_parts_without_times_go_into_the_span_of_their_program() {
        let call = span(7, 0, (100, 900), Kind::Client);
        let answer = span(7, 0, (200, 800), Kind::Server);
        let mut late = span(7, 3, (0, 0), Kind::Unspecified);
        late.attributes.set("late", true);
        let all = [("front", call), ("back", answer), ("back", late.clone())];
        for turn in 0..3 {
            let mut order = all.to_vec();
            order.rotate_left(turn);
            let trace = collected(&order);
            let server = trace.spans.iter().find(|s| s.kind == Kind::Server).unwrap();
            assert_eq!((trace.spans.len(), server.duration()), (2, 600));
            assert_eq!(server.attributes.bool("late"), Some(true));
        }
        let alone = collected(&[("front", span(3, 0, (50, 60), Kind::Internal)), ("back", late)]);
        assert_eq!((alone.spans[1].start, alone.spans[1].end, alone.spans[1].is_timeless()), (50, 50, true));
    }
}
