use super::*;
use crate::analyze::samples;
use crate::record::model::SpanId;

fn named(name: &str) -> Origin {
    Origin { resource: Attributes::new().with("service.name", name), ..Origin::default() }
}

#[test]
fn spans_of_many_programs_become_traces_that_know_who_recorded_what() {
    let sample = samples::warm();
    let (a, b) = (TraceId(1), TraceId(2));
    let mut collect = Collect::new();
    // More than are compared one by one, each twice.
    for round in 0..2 {
        for i in 0..20 {
            let source = collect.source(named(&format!("program-{i}")));
            let span = Span { id: SpanId(100 * round + i + 1), ..sample.spans[0].clone() };
            collect.add(if i < 15 { a } else { b }, None, source, span);
        }
    }
    let traces = collect.finish();
    assert_eq!(
        traces.iter().map(|t| (t.id, t.spans.len(), t.origins.len())).collect::<Vec<_>>(),
        [(a, 30, 15), (b, 10, 5)]
    );
    for span in traces.iter().flat_map(|t| t.spans.iter().map(move |s| (t, s))) {
        let (trace, span) = span;
        let name = format!("program-{}", (span.id.0 - 1) % 100);
        assert_eq!(trace.origin(span).unwrap().resource.str("service.name"), Some(name.as_str()));
    }
}

#[test]
fn a_repeat_is_dropped_also_behind_another_span_of_its_id() {
    let span = samples::warm().spans[0].clone();
    let odd = Span { name: "odd".into(), ..span.clone() };
    let mut collect = Collect::new();
    let source = collect.source(named("a"));
    for span in [&odd, &span, &span, &odd] {
        collect.add(TraceId(1), None, source, span.clone());
    }
    let names: Vec<_> = collect.finish().remove(0).spans.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["odd".into(), span.name]);
}

#[test]
fn the_roots_program_stands_first() {
    let sample = samples::warm();
    let root = sample.root().unwrap().id;
    let mut collect = Collect::new();
    let (one, other) = (collect.source(named("inner")), collect.source(named("outer")));
    for span in sample.spans.iter().rev() {
        let source = if span.id == root { other } else { one };
        collect.add(sample.id, None, source, span.clone());
        collect.add(sample.id, None, source, span.clone());
    }
    let trace = collect.finish().remove(0);
    assert_eq!(trace.resource().str("service.name"), Some("outer"));
    assert_eq!(trace.spans.len(), sample.spans.len(), "repeats are dropped");
}
