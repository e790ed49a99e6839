//! What must hold for any trace, however strange.

use proptest::prelude::*;

use super::*;
use crate::names::{attr, span as names};
use crate::record::model::{Attributes, Kind, Link, Span, SpanId, Status, Trace, TraceId};

const NAMES: [&str; 9] = [
    "a",
    "b",
    names::LAYER_PULL,
    names::LAYER_DOWNLOAD,
    names::LAYER_VERIFY,
    names::LAYER_DECOMPRESS,
    names::LAYER_EXTRACT,
    names::HTTP_GET,
    names::IMAGE_PULL,
];

/// Any spans: ids repeat, parents and links point anywhere, times overlap, stand outside, run backwards.
pub(crate) fn any_trace() -> impl Strategy<Value = Trace> {
    let span = (
        (0..14u64, prop::option::of(0..14u64), 0..NAMES.len()),
        (0..60u64, 0..60u64),
        prop::collection::vec(0..14u64, 0..3),
        prop::option::of((0..40i64, -3..40i64)),
    )
        .prop_map(|((id, parent, name), (start, end), links, waits)| {
            let mut attributes = Attributes::new();
            if let Some((input, output)) = waits {
                attributes.set(attr::WAIT_INPUT_NS, input);
                attributes.set(attr::WAIT_OUTPUT_NS, output);
                attributes.set(attr::BUSY_NS, 3);
            }
            let link = |other| Link {
                trace: TraceId(1),
                span: SpanId(other),
                attributes: Attributes::new().with(attr::WAIT_FOR, true),
                extra: None,
            };
            Span {
                id: SpanId(id),
                parent: parent.map(SpanId),
                name: NAMES[name].into(),
                kind: Kind::Internal,
                start,
                end,
                attributes,
                events: Vec::new(),
                links: links.into_iter().map(link).collect(),
                status: Status::Unset,
                origin: 0,
                extra: None,
            }
        });
    prop::collection::vec(span, 1..25).prop_map(|spans| Trace {
        id: TraceId(1),
        state: None,
        origins: Vec::new(),
        spans,
    })
}

/// As above, but with ids that stand once, so that nothing depends on which of two is meant.
fn distinct_trace() -> impl Strategy<Value = Trace> {
    any_trace().prop_map(|mut trace| {
        for (i, span) in trace.spans.iter_mut().enumerate() {
            span.id = SpanId(i as u64);
        }
        trace
    })
}

fn without_links(mut trace: Trace) -> Trace {
    for span in &mut trace.spans {
        span.links.clear();
        span.attributes = Attributes::new();
    }
    trace
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn segments_tile_the_run(trace in any_trace()) {
        let analysis = Analysis::of(&trace).unwrap();
        let tree = &analysis.tree;
        let (start, end) = tree.window(tree.root());
        let mut at = start;
        for segment in &analysis.segments {
            prop_assert_eq!(segment.start, at, "no gap, no overlap");
            prop_assert!(segment.end > segment.start);
            let (from, to) = tree.window(segment.node);
            prop_assert!(from <= segment.start && segment.end <= to, "a span gets no time from outside it");
            at = segment.end;
        }
        prop_assert_eq!(at, end);
        prop_assert_eq!(analysis.segments.iter().map(Segment::duration).sum::<u64>(), analysis.wall());
        prop_assert_eq!(analysis.critical_below_ns[tree.root()], analysis.wall());
    }

    #[test]
    fn every_span_stands_once_in_the_tree(trace in any_trace()) {
        let tree = Tree::new(&trace).unwrap();
        let mut walked = tree.walk(tree.root());
        walked.sort_unstable();
        prop_assert_eq!(walked, (0..trace.spans.len()).collect::<Vec<_>>());
        prop_assert_eq!(tree.top_down().count(), trace.spans.len());
        for node in 0..tree.len() {
            let (start, end) = tree.window(node);
            prop_assert!(start <= end);
            if let Some(parent) = tree.parent(node) {
                let (from, to) = tree.window(parent);
                prop_assert!(from <= start && end <= to);
                prop_assert_eq!(tree.depth(node), tree.depth(parent) + 1);
            }
        }
    }

    #[test]
    fn self_time_is_at_most_the_duration_and_shares_add_up(trace in any_trace()) {
        let analysis = Analysis::of(&trace).unwrap();
        for node in 0..analysis.tree.len() {
            prop_assert!(analysis.self_ns[node] <= analysis.tree.duration(node));
        }
        let shared: f64 = times::shared(&analysis.tree).iter().sum();
        prop_assert!((shared - analysis.wall() as f64).abs() < 1e-6, "{shared} of {}", analysis.wall());
        let blamed: f64 = blame::blame(&analysis).iter().map(|b| b.shared_ns).sum();
        prop_assert!((blamed - analysis.wall() as f64).abs() < 1e-6, "{blamed} of {}", analysis.wall());
    }

    /// By counting instants: times here are small whole numbers.
    #[test]
    fn self_times_sum_to_the_union_where_nothing_overlaps_and_to_more_where_it_does(trace in any_trace()) {
        let analysis = Analysis::of(&trace).unwrap();
        let tree = &analysis.tree;
        let runs = |node: Node, at: u64| tree.window(node).0 <= at && at < tree.window(node).1;
        let (start, end) = tree.window(tree.root());
        let mut own = vec![0; tree.len()];
        let (mut union, mut overlap) = (0, false);
        for at in start..end {
            let alone = (0..tree.len()).filter(|n| runs(*n, at) && !tree.children(*n).iter().any(|c| runs(*c, at)));
            let alone: Vec<Node> = alone.collect();
            alone.iter().for_each(|n| own[*n] += 1);
            union += u64::from(!alone.is_empty());
            overlap |= alone.len() > 1;
        }
        prop_assert_eq!(&own, &analysis.self_ns);
        let sum: u64 = analysis.self_ns.iter().sum();
        prop_assert_eq!(union, analysis.wall());
        prop_assert_eq!(sum > union, overlap);
        prop_assert!(sum >= union);
    }

    #[test]
    fn the_order_in_the_file_says_nothing((trace, seed) in (distinct_trace(), any::<u64>())) {
        let mut shuffled = trace.clone();
        let n = shuffled.spans.len();
        shuffled.spans.rotate_left(seed as usize % n);
        shuffled.spans.swap(0, (seed >> 32) as usize % n);
        let path = |t: &Trace| {
            let analysis = Analysis::of(t).unwrap();
            let id = |n: Node| analysis.tree.span(n).id;
            analysis.segments.iter().map(|s| (id(s.node), s.start, s.end, s.waited_for.map(id))).collect::<Vec<_>>()
        };
        prop_assert_eq!(path(&trace), path(&shuffled));
    }

    #[test]
    fn what_the_pull_is_put_down_to_adds_up(trace in any_trace()) {
        let analysis = Analysis::of(&trace).unwrap();
        for top in 0..analysis.tree.len() {
            let parts = causes::parts(&analysis, top);
            let below = analysis.critical_below_ns[top];
            prop_assert_eq!(parts.iter().map(|p| p.ns).sum::<u64>(), below);
            prop_assert_eq!(causes::sums(&parts).iter().map(|c| c.1).sum::<u64>(), below);
        }
    }

    #[test]
    fn inferred_paths_give_a_span_what_its_children_do_not_cover(trace in any_trace()) {
        let trace = without_links(trace);
        let analysis = Analysis::of(&trace).unwrap();
        let root = analysis.tree.root();
        prop_assert_eq!(analysis.critical_ns[root], analysis.unaccounted());
        for node in 0..analysis.tree.len() {
            prop_assert!(analysis.critical_ns[node] <= analysis.self_ns[node]);
        }
    }
}
