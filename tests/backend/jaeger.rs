//! Runs that a real Jaeger receives and gives back.

use trace_run::record::file;
use trace_run::record::model::Trace;

use super::common::jaeger::Jaeger;
use super::common::lab::Lab;
use super::common::same::assert_same;

#[test]
fn a_cold_and_a_warm_run_arrive_by_both_protocols() {
    let Some(jaeger) = Jaeger::start() else { return };
    for url in [jaeger.http(), jaeger.grpc()] {
        let lab = Lab::new();
        for _ in 0..2 {
            let (ran, trace) = lab.traced(&["run", "--hub", "builtin", "--otlp", &url, "hello-world"]);
            let ran = ran.ok();
            assert!(ran.err().contains("exported to 127.0.0.1:"), "{}", ran.err());
            let back = jaeger.v3(&trace.id.to_string(), trace.spans.len());
            assert_same(&read_v3(&back), &trace);
        }
    }
}

/// API v3 gives OTLP JSON below `result`.
pub fn read_v3(answer: &serde_json::Value) -> Trace {
    let text = answer["result"].to_string();
    let mut traces = file::parse(text.as_bytes(), "v3".as_ref()).unwrap();
    assert_eq!(traces.len(), 1);
    traces.remove(0)
}
