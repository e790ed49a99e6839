use super::cold_warm::{Measured, compare};
use super::facts::{Cause, facts};
use super::samples::{self, EPOCH, Sample};
use super::tree::Stray;
use super::*;
use crate::names::{attr, span};
use crate::record::model::SpanId;

/// The path as `(name, start, end)` in µs.
fn path(trace: &Trace) -> Vec<(String, u64, u64)> {
    let analysis = Analysis::of(trace).unwrap();
    let us = |ns: u64| (ns - EPOCH) / 1000;
    analysis.segments.iter().map(|s| (analysis.tree.span(s.node).name.to_string(), us(s.start), us(s.end))).collect()
}

#[track_caller]
fn assert_path(sample: Sample, expected: &[(&str, u64, u64)]) {
    let got = path(&sample.done());
    let got: Vec<_> = got.iter().map(|(n, a, b)| (n.as_str(), *a, *b)).collect();
    assert_eq!(got, expected);
}

#[test]
fn one_after_the_other_with_gaps() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    let a = s.add(Some(run), "a", 10, 40);
    s.add(Some(a), "leaf", 15, 40);
    s.add(Some(run), "b", 40, 90);
    let expected = [("run", 0, 10), ("a", 10, 15), ("leaf", 15, 40), ("b", 40, 90), ("run", 90, 100)];
    assert_path(s, &expected);
}

#[test]
fn back_to_back_siblings_are_not_skipped() {
    // Jaeger's own view loses `a` here (jaeger#9148).
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 20);
    s.add(Some(run), "a", 0, 10);
    s.add(Some(run), "b", 10, 20);
    assert_path(s, &[("a", 0, 10), ("b", 10, 20)]);
}

#[test]
fn of_what_overlaps_the_last_to_end_counts_and_no_time_is_unexplained_while_something_runs() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    s.add(Some(run), "short", 5, 20);
    s.add(Some(run), "long", 0, 60);
    s.add(Some(run), "last", 50, 100);
    // Before `last` nothing had just ended; `long` ran, but only back to the end of `short`, which takes over there.
    assert_path(s, &[("long", 0, 5), ("short", 5, 20), ("long", 20, 50), ("last", 50, 100)]);
}

#[test]
fn a_recorded_wait_wins_over_what_ended_later() {
    let build = |recorded: bool| {
        let mut s = Sample::new();
        let run = s.add(None, "run", 0, 100);
        let cause = s.add(Some(run), "cause", 0, 30);
        s.add(Some(run), "bystander", 10, 48);
        let b = s.add(Some(run), "b", 50, 100);
        if recorded {
            s.wait(b, cause);
        }
        s
    };
    assert_path(build(true), &[("cause", 0, 30), ("run", 30, 50), ("b", 50, 100)]);
    assert_path(build(false), &[("cause", 0, 10), ("bystander", 10, 48), ("run", 48, 50), ("b", 50, 100)]);
}

#[test]
fn a_wait_inside_a_span_ends_its_own_time() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    let worker = s.add(Some(run), "worker", 0, 70);
    let waiter = s.add(Some(run), "waiter", 20, 100);
    s.wait(waiter, worker);
    let trace = s.done();
    let got = path(&trace);
    assert_eq!(got, [("worker".to_owned(), 0, 70), ("waiter".to_owned(), 70, 100)]);
    let analysis = Analysis::of(&trace).unwrap();
    assert_eq!(analysis.segments[1].waited_for, analysis.tree.find(worker));
    assert_eq!(analysis.segments[0].waited_for, None);
}

#[test]
fn waits_lead_across_the_tree() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    let left = s.add(Some(run), "left", 0, 60);
    let early = s.add(Some(left), "early", 10, 40);
    let slot = s.add(Some(early), "slot", 20, 40);
    let right = s.add(Some(run), "right", 5, 100);
    let late = s.add(Some(right), "late", 42, 100);
    s.wait(late, slot);
    // 40 to 42 is handing over between two subtrees: the time of what holds both.
    let expected = [("left", 0, 10), ("early", 10, 20), ("slot", 20, 40), ("run", 40, 42), ("late", 42, 100)];
    // Before `left` began nothing is left to tell.
    assert_path(s, &expected);
}

#[test]
fn a_circle_of_waits_ends() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 10);
    let a = s.add(Some(run), "a", 0, 10);
    let b = s.add(Some(run), "b", 0, 10);
    for (x, y) in [(a, b), (b, a), (a, a), (a, run), (run, a), (a, SpanId(0xdead))] {
        s.wait(x, y);
    }
    let trace = s.done();
    let total: u64 = Analysis::of(&trace).unwrap().segments.iter().map(Segment::duration).sum();
    assert_eq!(total, 10_000);
}

/// Two stages: upstream 0 to 90, downstream 10 to 100, with what they waited for each other.
fn two_stages(input: u64, output: u64, linked: bool) -> Sample {
    let mut s = Sample::new();
    let layer = s.add(None, span::LAYER_PULL, 0, 100);
    let up = s.stage(layer, span::LAYER_DOWNLOAD, (0, 90), (30, output));
    let down = s.stage(layer, span::LAYER_DECOMPRESS, (10, 100), (input, 0));
    if linked {
        s.wait(down, up);
    }
    s
}

#[test]
fn streaming_stages_share_their_overlap_by_who_waited_for_whom() {
    for linked in [true, false] {
        // Downstream starved: the overlap is the upstream's.
        assert_path(two_stages(70, 0, linked), &[("layer.download", 0, 90), ("layer.decompress", 90, 100)]);
        // Upstream was held up: the overlap is the downstream's.
        assert_path(two_stages(0, 60, linked), &[("layer.download", 0, 10), ("layer.decompress", 10, 100)]);
        // Three to one: a quarter of the 80 µs.
        assert_path(two_stages(10, 30, linked), &[("layer.download", 0, 30), ("layer.decompress", 30, 100)]);
    }
}

#[test]
fn a_chain_of_stages_is_followed_to_its_source() {
    let mut s = Sample::new();
    let layer = s.add(None, span::LAYER_PULL, 0, 110);
    let download = s.stage(layer, span::LAYER_DOWNLOAD, (0, 80), (70, 0));
    s.add(Some(download), span::HTTP_RECEIVE, 5, 80);
    s.stage(layer, span::LAYER_VERIFY, (2, 85), (60, 0));
    s.stage(layer, span::LAYER_DECOMPRESS, (3, 90), (60, 0));
    s.stage(layer, span::LAYER_EXTRACT, (4, 105), (60, 0));
    s.add(Some(layer), span::LAYER_COMMIT, 105, 110);
    let expected = [
        (span::LAYER_DOWNLOAD, 0, 5),
        (span::HTTP_RECEIVE, 5, 80),
        (span::LAYER_DECOMPRESS, 80, 90),
        (span::LAYER_EXTRACT, 90, 105),
        (span::LAYER_COMMIT, 105, 110),
    ];
    assert_path(s, &expected);
}

#[test]
fn strays_circles_and_repeated_ids_keep_their_place() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    let stray = s.add(Some(SpanId(0xdead)), "stray", 90, 130);
    let a = s.add(None, "a", 10, 20);
    let b = s.add(Some(a), "b", 11, 19);
    s.span(a).parent = Some(b);
    let trace = s.done();
    let tree = Tree::new(&trace).unwrap();
    let (stray, a, b) = (tree.find(stray).unwrap(), tree.find(a).unwrap(), tree.find(b).unwrap());
    assert_eq!(tree.root(), tree.find(run).unwrap());
    assert_eq!([stray, a, b].map(|n| tree.stray(n)), [Some(Stray::Lost), Some(Stray::Circle), None]);
    assert_eq!((tree.parent(a), tree.parent(b)), (Some(tree.root()), Some(a)));
    assert_eq!(tree.window(stray), (EPOCH + 90_000, EPOCH + 100_000));
    assert_eq!(tree.duration(stray), 40_000);
}

/// Hostile sizes must neither overflow the stack nor take quadratic time.
#[test]
fn very_deep_very_wide_and_very_linked_traces() {
    const N: u64 = 60_000;
    let begin = std::time::Instant::now();
    let mut deep = Sample::new();
    let root = deep.add(None, "run", 0, 10 * N + 10);
    let mut parent = root;
    for _ in 0..N {
        // All run beside all the siblings below, so that the walk goes down again between any two of those.
        parent = deep.add(Some(parent), "deep", 0, 10 * N + 5);
    }
    for i in 0..=N {
        deep.add(Some(root), "wide", 10 * i, 10 * i + if i == N { 10 } else { 5 });
    }
    let mut linked = Sample::new();
    let root = linked.add(None, span::LAYER_PULL, 0, 10 * N);
    let ids: Vec<SpanId> = (0..N).map(|i| linked.add(Some(root), span::LAYER_EXTRACT, i, 10 * N - i)).collect();
    let last = linked.last();
    for key in [attr::WAIT_INPUT_NS, attr::WAIT_OUTPUT_NS] {
        last.attributes.set(key, 5);
    }
    for id in ids {
        linked.wait_last(id);
    }
    for trace in [deep.done(), linked.done()] {
        let analysis = Analysis::of(&trace).unwrap();
        assert_eq!(analysis.segments.iter().map(Segment::duration).sum::<u64>(), analysis.wall());
        blame::blame(&analysis);
        facts(&analysis);
    }
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
}

#[test]
fn facts_of_a_cold_run() {
    let trace = samples::cold(6);
    let analysis = Analysis::of(&trace).unwrap();
    let facts = facts(&analysis);
    assert_eq!(facts.kind.as_deref(), Some("cold"));
    assert_eq!(facts.layers.len(), 6);
    assert_eq!(facts.layers.iter().map(|l| l.index).collect::<Vec<_>>(), (0..6).map(Some).collect::<Vec<_>>());
    let first = &facts.layers[0];
    assert_eq!((first.bytes, first.unpacked, first.files), (Some(16_000_000), Some(41_000_000), Some(2_166)));
    // 16 MB in the 35 ms from the first stage's begin to the last one's end.
    assert_eq!(first.active_ns, 35_000_000);
    assert!((first.rate.unwrap() - 16e6 / 0.035).abs() < 1.0);
    assert_eq!(first.bound, Some(Cause::Receiving));
    assert_eq!(facts.pull_causes.iter().map(|(_, ns)| ns).sum::<u64>(), facts.pull_ns);
    assert_eq!(facts.pull_causes[0].0, Cause::Receiving);
    assert_eq!(facts.top.map(|t| t.0), facts.pull);
    assert_eq!(facts.unaccounted_ns, analysis.self_ns[analysis.tree.root()]);
}

#[test]
fn a_layer_is_bound_by_the_stage_that_did_most() {
    for (busy, expected) in [
        ([50, 1, 1, 1], Cause::Receiving),
        ([5, 60, 50, 40], Cause::Hashing),
        ([5, 40, 50, 40], Cause::Inflating),
        ([5, 40, 50, 70], Cause::CreatingFiles),
    ] {
        let mut s = Sample::new();
        let pull = s.add(None, span::IMAGE_PULL, 0, 100);
        let layer = s.add(Some(pull), span::LAYER_PULL, 0, 100);
        let names = [span::LAYER_DOWNLOAD, span::LAYER_VERIFY, span::LAYER_DECOMPRESS, span::LAYER_EXTRACT];
        for (name, busy) in names.into_iter().zip(busy) {
            // The download waits for its output, the others for their input.
            let waits = if name == span::LAYER_DOWNLOAD { (0, 95 - busy) } else { (95 - busy, 0) };
            s.stage(layer, name, (5, 100), waits);
        }
        let trace = s.done();
        assert_eq!(facts(&Analysis::of(&trace).unwrap()).layers[0].bound, Some(expected));
    }
}

#[test]
fn blame_adds_up_to_the_wall_time() {
    let trace = samples::cold(6);
    let analysis = Analysis::of(&trace).unwrap();
    let blame = blame::blame(&analysis);
    assert_eq!(blame.iter().map(|b| b.critical_ns).sum::<u64>(), analysis.wall());
    assert!((blame.iter().map(|b| b.shared_ns).sum::<f64>() - analysis.wall() as f64).abs() < 1.0);
    assert_eq!(blame.iter().map(|b| b.count).sum::<usize>(), trace.spans.len());
    assert!(blame.windows(2).all(|w| w[0].critical_ns >= w[1].critical_ns));
}

#[test]
fn shared_time_is_split_evenly() {
    let mut s = Sample::new();
    let run = s.add(None, "run", 0, 100);
    s.add(Some(run), "a", 0, 60);
    s.add(Some(run), "b", 40, 80);
    let trace = s.done();
    let tree = Tree::new(&trace).unwrap();
    let shared: Vec<u64> = times::shared(&tree).iter().map(|ns| ns.round() as u64).collect();
    // run alone 80..100; a alone 0..40 and half of 40..60; b the other half and 60..80.
    assert_eq!(shared, [20_000, 50_000, 30_000]);
}

#[test]
fn a_cold_and_a_warm_run() {
    let (cold, warm) = (Measured::of(&samples::cold(6)).unwrap(), Measured::of(&samples::warm()).unwrap());
    let comparison = compare(("warm", &[warm]), ("cold", &[cold])).unwrap();
    assert_eq!((comparison.this.runs, comparison.other.wall_ns), (1, cold.wall_ns));
    assert!(comparison.pull_saved_ns() > 80_000_000 && comparison.ratio < 1.0 / 30.0, "{comparison:?}");
    assert_eq!(compare(("warm", &[warm]), ("warm", &[warm])), None, "same kind");
    assert_eq!(compare(("warm", &[warm]), ("cold", &[])), None, "nothing to compare with");
    let mut failed = samples::cold(6);
    failed.spans[0].status = crate::record::model::Status::Error("no".into());
    assert_eq!(Measured::of(&failed), None);
    assert_eq!(Measured::of(&Trace { spans: Vec::new(), ..samples::cold(1) }), None);
}

#[test]
fn runs_that_vary_or_overlap_say_nothing() {
    let of = |ms: &[u64]| ms.iter().map(|ms| Measured { wall_ns: ms * 1_000_000, pull_ns: 0 }).collect::<Vec<_>>();
    let said = |warm: &[u64], cold: &[u64]| compare(("warm", &of(warm)), ("cold", &of(cold))).map(|c| c.ratio);
    assert_eq!(said(&[10, 11, 12, 11], &[33]), Some(1.0 / 3.0));
    assert_eq!(said(&[10, 11, 12, 300, 11], &[33]), Some(1.0 / 3.0), "one that was disturbed");
    assert_eq!(said(&[10, 40, 12, 80, 25], &[200]), None, "too noisy");
    assert_eq!(said(&[10, 11, 34], &[33]), None, "the cold run took no longer than a warm one");
    assert_eq!(said(&[5000], &[40]), Some(125.0));
}
