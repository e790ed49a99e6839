//! Jaeger's own JSON against a real Jaeger.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use super::common::jaeger::Jaeger;
use super::common::same::assert_same;
use trace_run::formats::{WireFormat, read};
use trace_run::record::file;
use trace_run::record::model::{Span, Trace};

/// As Jaeger keeps it: whole microseconds, the length by itself.
fn coarse(span: &Span) -> Span {
    let start = span.start / 1000 * 1000;
    let mut out = Span { start, end: start + span.duration() / 1000 * 1000, ..span.clone() };
    for event in &mut out.events {
        event.time = event.time / 1000 * 1000;
    }
    out
}

fn send(jaeger: &Jaeger, traces: &[Trace]) {
    let body = WireFormat::OtlpProto.render(traces);
    let address = jaeger.http();
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    write!(
        stream,
        "POST /v1/traces HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: \
        {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200 OK"), "{answer}");
}

#[test]
fn what_the_old_api_gives_of_our_runs_is_the_same_model_to_the_microsecond() {
    let Some(jaeger) = Jaeger::start() else { return };
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    for name in ["cold-12-layers", "cold-hello-world", "warm-hello-world"] {
        let trace = file::read(&ours.join(format!("{name}.otlp.jsonl"))).unwrap().remove(0);
        send(&jaeger, std::slice::from_ref(&trace));
        let answer = jaeger.old(&trace.id.to_string(), trace.spans.len()).to_string();
        let back = read::parse(answer.as_bytes(), Path::new("answer")).unwrap().remove(0);
        let expected = Trace { spans: trace.spans.iter().map(coarse).collect(), ..trace.clone() };
        assert_same(&back, &expected);
        assert!(
            trace.spans.len() < 30 || back.spans.iter().any(|s| s.waits_for().next().is_some()),
            "{name}: no waits"
        );
        // And API v3, which loses nothing.
        let answer = jaeger.v3(&trace.id.to_string(), trace.spans.len()).to_string();
        let back = read::parse(answer.as_bytes(), Path::new("answer")).unwrap().remove(0);
        assert_same(&back, &trace);
    }
}
