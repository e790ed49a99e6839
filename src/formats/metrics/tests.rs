use super::*;
use crate::analyze::samples;
use crate::record::model::Status;

fn runs() -> Vec<Measured> {
    let mut all = Vec::new();
    for (i, mut trace) in [samples::cold(3), samples::warm(), samples::warm()].into_iter().enumerate() {
        trace.id = TraceId(i as u128 + 1);
        let root = trace.root().unwrap().id;
        let root = trace.spans.iter_mut().find(|s| s.id == root).unwrap();
        root.attributes.set(attr::RUNTIME, "builtin");
        root.attributes.set(attr::CONTAINER_IMAGE_NAME, "a\"b\\c\nd");
        if i == 2 {
            root.status = Status::Error("why".into());
            root.attributes.set(attr::ERROR_TYPE, "digest_mismatch");
        }
        all.push(Measured::of(&trace).unwrap());
    }
    all
}

#[test]
fn counts_and_sums() {
    let runs = runs();
    let metrics = Metrics::of(&runs);
    assert_eq!(metrics.runs.values().sum::<u64>(), 3);
    let total: u128 = metrics.durations.values().map(|h| h.sum).sum();
    assert_eq!(total, runs.iter().map(|r| u128::from(r.wall)).sum());
    let failed: Vec<_> = metrics.runs.keys().filter(|s| s.contains(&(attr::RUN_OUTCOME, "failed".into()))).collect();
    assert!(failed.len() == 1 && failed[0].contains(&(attr::ERROR_TYPE, "digest_mismatch".into())));
    let layers: u64 = metrics
        .stages
        .iter()
        .filter(|(s, _)| s.contains(&(attr::STAGE, span::LAYER_PULL.into())))
        .map(|(_, h)| h.count())
        .sum();
    assert_eq!(layers, 3, "a stage counts as often as it was");
}

#[test]
fn a_bound_belongs_to_its_bucket() {
    let mut h = Histogram::new(&RUN_BOUNDS);
    for ns in [0, 1_000_000, 1_000_001, 300_000_000_000, 300_000_000_001, u64::MAX] {
        h.add(TraceId(1), SpanId(1), 0, ns);
    }
    assert_eq!((h.counts[0], h.counts[1], h.counts[16], h.counts[17]), (2, 1, 1, 2));
}

#[test]
fn text_is_escaped_and_ends() {
    let text = Metrics::of(&runs()).to_openmetrics();
    assert!(text.contains(r#"container_image_name="a\"b\\c\nd""#), "{text}");
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("trace_runs_total{") && text.contains("# UNIT trace_run_duration_seconds seconds"));
    assert_eq!(Metrics::of(&[]).to_openmetrics().lines().count(), 9);
}

#[test]
fn many_images_share_a_series() {
    let one = runs().remove(1);
    let many: Vec<Measured> = (0..500).map(|i| Measured { image: Some(format!("image-{i}")), ..one.clone() }).collect();
    let metrics = Metrics::of(&many);
    assert_eq!(metrics.durations.len(), IMAGES + 1);
    assert_eq!(metrics.durations.values().map(Histogram::count).sum::<u64>(), 500);
}

#[test]
fn of_other_traces_nothing() {
    let mut trace = samples::warm();
    for span in &mut trace.spans {
        span.attributes = Attributes::new();
    }
    assert!(Measured::of(&trace).is_none());
}

#[test]
fn the_older_text_has_no_exemplars_and_names_the_counter_as_its_samples() {
    let text = Metrics::of(&runs()).to_prometheus();
    assert!(text.contains("# TYPE trace_runs_total counter\n") && text.contains("\ntrace_runs_total{"), "{text}");
    assert!(!text.contains("# EOF") && !text.contains("# UNIT") && !text.contains(" # {"), "{text}");
    let samples = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count();
    assert_eq!(samples(&text), samples(&Metrics::of(&runs()).to_openmetrics()));
}
