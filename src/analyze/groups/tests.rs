use super::*;
use crate::analyze::samples;
use crate::record::model::{Status, TraceId};

/// `n` copies of a sample that differ in id and begin.
fn copies(trace: &Trace, n: u64) -> Vec<Trace> {
    (0..n)
        .map(|i| {
            let mut t = trace.clone();
            t.id = TraceId(t.id.0 + (u128::from(i) << 64) + t.spans.len() as u128);
            t.spans.iter_mut().for_each(|s| {
                s.start += i * 1_000_000_000;
                s.end += i * 1_000_000_000;
            });
            t
        })
        .collect()
}

#[test]
fn presence_comes_before_duration() {
    let cold = copies(&samples::cold(1), 10);
    let warm = copies(&samples::warm(), 10);
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let row = |path: &str| c.phases.iter().find(|p| p.phase.joined() == path).unwrap();
    let pull = row("image.pull");
    assert_eq!((pull.presence_a, pull.presence_b, pull.verdict), (10, 0, Verdict::OnlyA));
    assert_eq!((pull.p, pull.ratio), (None, None));
    assert_eq!(row("image.pull/layer.pull/layer.download").presence_a, 10);
    let run = row("container.run");
    assert_eq!((run.presence_a, run.presence_b), (10, 10));
    assert!(run.p.is_some() && run.ratio.is_some());
    assert_eq!(c.total.verdict, Verdict::Faster);
    assert!(c.layers.is_empty(), "one layer is the same as all layers");
    // Parents before children, in order of begin.
    let order: Vec<String> = c.phases.iter().map(|p| p.phase.joined()).collect();
    let at = |path: &str| order.iter().position(|p| p == path).unwrap();
    assert!(at("cache.check") < at("image.pull") && at("image.pull") < at("image.pull/layer.pull"), "{order:?}");
    assert!(at("image.pull/layer.pull/layer.download") < at("container.create"), "{order:?}");
    // The other way round it is the same with the sides swapped.
    let back = compare_traces(("warm", &warm), ("cold", &cold)).unwrap();
    assert_eq!(back.phases.iter().map(|p| p.phase.joined()).collect::<Vec<_>>(), order);
    assert_eq!(back.total.verdict, Verdict::Slower);
    assert_eq!(back.total.p, c.total.p);
}

#[test]
fn layers_are_aligned_by_digest() {
    let six = copies(&samples::cold(6), 3);
    let c = compare_traces(("a", &six), ("b", &six)).unwrap();
    let downloads: Vec<_> =
        c.layers.iter().filter(|l| l.phase.joined() == "image.pull/layer.pull/layer.download").collect();
    assert_eq!(downloads.len(), 6);
    assert!(downloads.iter().all(|l| l.presence_a == 3 && l.presence_b == 3));
    assert!(c.warnings.contains(&Warning::InBoth(3)), "{:?}", c.warnings);
    let all = c.phases.iter().find(|p| p.phase.joined() == "image.pull/layer.pull/layer.download").unwrap();
    let union = all.a.as_ref().unwrap().median;
    let sum: f64 = downloads.iter().map(|d| d.a.as_ref().unwrap().median).sum();
    assert!(union <= sum && downloads.iter().all(|d| d.a.as_ref().unwrap().median <= union));
}

#[test]
fn what_cannot_be_supported_is_not_called() {
    let cold = copies(&samples::cold(1), 3);
    let warm = copies(&samples::warm(), 3);
    let one = compare_traces(("cold", &cold[..1]), ("warm", &warm[..1])).unwrap();
    assert!(matches!(one.total.verdict, Verdict::TooFew { .. }), "{:?}", one.total);
    assert!(one.total.ratio.unwrap().interval.is_none());
    let three = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let Verdict::TooFew { needed } = three.total.verdict else { panic!("{:?}", three.total) };
    assert_eq!(needed, 5, "half of 5 % for the whole run: 2/C(10,5) is the first below");
    let five = compare_traces(("cold", &copies(&samples::cold(1), 5)), ("warm", &copies(&samples::warm(), 5))).unwrap();
    assert_eq!(five.total.verdict, Verdict::Faster, "{:?}", five.total);
}

#[test]
fn failed_runs_are_left_out_and_counted() {
    let cold = copies(&samples::cold(1), 4);
    let mut warm = copies(&samples::warm(), 4);
    warm[0].spans.iter_mut().filter(|s| s.parent.is_none()).for_each(|s| s.status = Status::Error("no".into()));
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    assert_eq!((c.b.runs.len(), c.b.failed), (3, 1));
    assert!(c.warnings.contains(&Warning::Failed { a: 0, b: 1 }));
    assert!(compare_traces(("cold", &cold), ("warm", &warm[..1])).is_none());
    assert!(compare_traces(("cold", &[]), ("warm", &warm)).is_none());
}

#[test]
fn other_machines_and_hubs_are_said() {
    let cold = copies(&samples::cold(1), 2);
    let mut warm = copies(&samples::warm(), 2);
    warm[1].resource.set(crate::names::attr::HOST_ARCH, "arm64");
    warm[0].spans[0].attributes.set(crate::names::attr::HUB, "elsewhere");
    let c = compare_traces(("cold", &cold), ("warm", &warm)).unwrap();
    let differs: Vec<Setting> = c
        .warnings
        .iter()
        .filter_map(|w| if let Warning::Differs { setting, .. } = w { Some(*setting) } else { None })
        .collect();
    assert!(differs.contains(&Setting::Architecture) && differs.contains(&Setting::Hub), "{differs:?}");
}
