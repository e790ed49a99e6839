//! How long a trace of 100,000 spans takes to become text, a picture and a page. `cargo bench --bench big_trace`

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use trace_run::record::model::{Attributes, Kind, Origin, Span, SpanId, Status, Trace, TraceId};
use trace_run::report::{Format, Style, render};

const SPANS: u64 = 100_000;

/// Three levels below the root, with attributes as real spans have them.
fn trace() -> Trace {
    let begin = 1_700_000_000_000_000_000;
    let spans = (0..SPANS).map(|i| {
        let parent = match i {
            0 => None,
            1..=100 => Some(SpanId(1)),
            _ => Some(SpanId(2 + (i - 101) / 10 % 10_000)),
        };
        let (start, end) = if i == 0 { (0, SPANS * 1000 + 5000) } else { (i * 1000, i * 1000 + 4000) };
        Span {
            id: SpanId(i + 1),
            parent,
            name: format!("stage.{}", i % 17).into(),
            kind: Kind::Internal,
            start: begin + start,
            end: begin + end,
            attributes: Attributes::new()
                .with("trace.item", format!("item-{i}"))
                .with("trace.busy_ns", i * 7)
                .with("trace.layer.digest", format!("sha256:{i:064x}")),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            origin: 0,
            extra: None,
        }
    });
    Trace { id: TraceId(1), state: None, origins: vec![Origin::default()], spans: spans.collect() }
}

fn formats(c: &mut Criterion) {
    let trace = trace();
    let mut group = c.benchmark_group("100,000 spans");
    group.sample_size(10);
    for format in [Format::Waterfall, Format::Svg, Format::Png, Format::Html] {
        group.bench_function(format.name(), |b| b.iter(|| render(black_box(&trace), format, &Style::default())));
    }
    group.finish();
}

criterion_group!(benches, formats);
criterion_main!(benches);
