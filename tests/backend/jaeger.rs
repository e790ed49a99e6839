//! Runs that a real Jaeger receives and gives back.

use std::collections::BTreeMap;

use serde_json::Value;
use trace_run::record::file;
use trace_run::record::model::Trace;
use trace_run::record::model::Value::{Array, Bool, Int, Str};

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

/// The API that the UI uses. It knows microseconds and one list of tags; everything else is as in the file.
#[test]
fn the_old_api_says_the_same() {
    let Some(jaeger) = Jaeger::start() else { return };
    let lab = Lab::new();
    let (ran, trace) = lab.traced(&["run", "--hub", "builtin", "--otlp", &jaeger.http(), "hello-world"]);
    ran.ok();
    let id = trace.id.to_string();
    let answer = jaeger.old(&id, trace.spans.len());
    let data = &answer["data"][0];
    let spans = data["spans"].as_array().unwrap();
    assert_eq!(spans.len(), trace.spans.len());
    let tags = |all: &Value| -> BTreeMap<String, String> {
        let tag = |t: &Value| {
            let value = t["value"].as_str().map_or_else(|| t["value"].to_string(), str::to_owned);
            (t["key"].as_str().unwrap().to_owned(), value)
        };
        all.as_array().unwrap().iter().map(tag).collect()
    };
    for span in &trace.spans {
        let found = spans.iter().find(|s| s["spanID"] == span.id.to_string()).unwrap();
        assert_eq!(found["traceID"], id.as_str());
        assert_eq!(found["operationName"], &*span.name);
        assert_eq!(found["startTime"].as_u64(), Some(span.start / 1000));
        assert_eq!(found["duration"].as_u64(), Some(span.duration() / 1000));
        let mut references: Vec<String> = found["references"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| format!("{} {}", r["refType"].as_str().unwrap(), r["spanID"].as_str().unwrap()))
            .collect();
        let mut expected: Vec<String> = span.parent.iter().map(|p| format!("CHILD_OF {p}")).collect();
        expected.extend(span.links.iter().map(|l| format!("FOLLOWS_FROM {}", l.span)));
        references.sort();
        expected.sort();
        assert_eq!(references, expected, "{}", span.name);
        let of_span = tags(&found["tags"]);
        for (key, value) in span.attributes.iter() {
            let expected = match value {
                Str(v) => v.clone(),
                Int(v) => v.to_string(),
                Bool(v) => v.to_string(),
                Array(all) => {
                    let all: Vec<_> = all.iter().map(|v| if let Str(v) = v { v.as_str() } else { "?" }).collect();
                    serde_json::to_string(&all).unwrap()
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(of_span.get(key), Some(&expected), "{} {key}", span.name);
        }
        let mut moments: Vec<u64> =
            found["logs"].as_array().unwrap().iter().map(|l| l["timestamp"].as_u64().unwrap()).collect();
        moments.sort_unstable();
        assert_eq!(moments, span.events.iter().map(|e| e.time / 1000).collect::<Vec<_>>());
        let process = &data["processes"][found["processID"].as_str().unwrap()];
        assert_eq!(process["serviceName"], "trace");
        let of_process = tags(&process["tags"]);
        let resource: Vec<_> = trace.resource().iter().filter(|(k, _)| *k != "service.name").collect();
        assert!(resource.iter().all(|(k, _)| of_process.contains_key(*k)), "{of_process:?}");
    }
}
