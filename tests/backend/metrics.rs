//! `trace metrics`: what a receiver and a parser of other people read equals what `trace ls` says.

use std::process::Command;

use serde_json::Value;

use super::common::lab::{self, Lab};
use super::receiver::{self, Receiver};

/// Two kinds of runs, one that fails, one without a container.
fn lab() -> Lab {
    let lab = Lab::new();
    for _ in 0..3 {
        lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
    }
    lab.quiet_run(&["--hub", "builtin", "--entrypoint", "/none", "hello-world"]).exits(127);
    lab.quiet_run(&["127.0.0.1:1/no/such"]).exits(125);
    lab
}

/// Number of runs and their nanoseconds, by `trace ls`.
fn listed(lab: &Lab) -> (u64, u64, u64) {
    let all = lab.trace(&["ls", "--json"]).ok().out();
    let all: Vec<Value> = all.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let failed = all.iter().filter(|r| r["failed"].as_bool().unwrap()).count() as u64;
    (all.len() as u64, failed, all.iter().map(|r| r["duration_ns"].as_u64().unwrap()).sum())
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

/// Sum of the points' `key` where the point has this attribute, if one is asked for.
fn total(points: &Value, key: &str, with: Option<(&str, &str)>) -> f64 {
    let has = |p: &&Value| {
        with.is_none_or(|(k, v)| {
            p["attributes"].as_array().unwrap().iter().any(|a| a["key"] == k && a["value"]["stringValue"] == v)
        })
    };
    points.as_array().unwrap().iter().filter(has).map(|p| number(&p[key])).sum()
}

#[track_caller]
fn check_otlp(lab: &Lab, body: &Value) {
    let (runs, failed, ns) = listed(lab);
    let scope = &body["resourceMetrics"][0]["scopeMetrics"][0];
    let metrics = scope["metrics"].as_array().unwrap();
    let named = |name: &str| metrics.iter().find(|m| m["name"] == name).unwrap();
    let (counter, run, stage) = (named("trace.runs"), named("trace.run.duration"), named("trace.stage.duration"));
    assert_eq!((run["unit"].as_str(), counter["unit"].as_str()), (Some("s"), Some("{run}")));
    let points = &counter["sum"]["dataPoints"];
    assert_eq!(total(points, "asInt", None), runs as f64);
    assert_eq!(total(points, "asInt", Some(("trace.run.outcome", "failed"))), failed as f64);
    assert_eq!(counter["sum"]["isMonotonic"], true);
    for histogram in [run, stage] {
        assert_eq!(histogram["histogram"]["aggregationTemporality"], 2, "cumulative");
    }
    let points = &run["histogram"]["dataPoints"];
    assert_eq!(total(points, "count", None), runs as f64);
    assert!((total(points, "sum", None) - ns as f64 / 1e9).abs() < 1e-9);
    for point in points.as_array().unwrap() {
        let counts: f64 = point["bucketCounts"].as_array().unwrap().iter().map(number).sum();
        assert_eq!(counts, number(&point["count"]));
        let exemplar = &point["exemplars"][0];
        let id = exemplar["traceId"].as_str().unwrap();
        let trace = lab::read_trace(&lab.store("traces").join(format!("{id}.otlp.jsonl")));
        assert_eq!(trace.root().unwrap().id.to_string(), exemplar["spanId"].as_str().unwrap());
        assert_eq!(trace.root().unwrap().duration() as f64 / 1e9, number(&exemplar["asDouble"]));
    }
    let starts = total(&stage["histogram"]["dataPoints"], "count", Some(("trace.stage", "container.start")));
    assert_eq!(starts, 4.0);
}

#[test]
fn a_receiver_gets_what_is_listed() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = lab();
    for (url, protocol) in
        [(receiver.grpc(), "grpc"), (receiver.http(), "http/protobuf"), (receiver.http(), "http/json")]
    {
        let mut command = lab.command(&["metrics", "--otlp"]);
        command.env(
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
            match protocol {
                "grpc" => url,
                _ => url + "/v1/metrics",
            },
        );
        command.env("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", protocol);
        command.env("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "gzip");
        command.env("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x=not-for-metrics");
        let ran = lab::Running::start(command, &[]).wait().ok();
        assert!(ran.err().starts_with("exported metrics of 5 runs to 127.0.0.1:"), "{}", ran.err());
        let requests = receiver.take();
        assert_eq!(requests.len(), 1, "{protocol}");
        assert!(requests[0].headers["x"].is_null());
        check_otlp(&lab, &requests[0].body);
    }
    receiver.script("PARTIAL 2 why\n");
    let ran = lab.trace(&["metrics", "--otlp", &receiver.grpc()]).ok();
    assert!(ran.err().contains("it rejected 2 data points; it says `why`"), "{}", ran.err());
    lab.trace(&["metrics", "--otlp", "http://127.0.0.1:1"]).exits(125);
    lab.trace(&["metrics", "--otlp", "nonsense"]).exits(2);
    let written = lab.trace(&["metrics", "--format", "otlp"]).ok().out();
    check_otlp(&lab, &serde_json::from_str(&written).unwrap());
}

/// Reads OpenMetrics text as Prometheus' own client library does, and gives samples as JSON.
const PARSER: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
out = []
for family in parse(sys.stdin.read()):
    for s in family.samples:
        e = s.exemplar and dict(labels=s.exemplar.labels, value=s.exemplar.value)
        out.append(dict(name=s.name, labels=s.labels, value=s.value, exemplar=e, type=family.type, unit=family.unit))
print(json.dumps(out))
";

#[test]
fn prometheus_reads_it() {
    let Some(python) = receiver::python() else { return };
    let lab = lab();
    let path = lab.dir().join("trace.openmetrics");
    lab.trace(&["metrics", "-o", path.to_str().unwrap()]).ok();
    let text = std::fs::read(&path).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", PARSER]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let parsed = lab::Running::start(command, &text).wait().ok().out();
    let samples: Vec<Value> = serde_json::from_str(&parsed).unwrap();
    let sum = |name: &str, label: Option<(&str, &str)>| -> f64 {
        let fits = |s: &&Value| s["name"] == name && label.is_none_or(|(k, v)| s["labels"][k] == v);
        samples.iter().filter(fits).map(|s| number(&s["value"])).sum()
    };
    let (runs, failed, ns) = listed(&lab);
    assert_eq!(sum("trace_runs_total", None), runs as f64);
    assert_eq!(sum("trace_runs_total", Some(("trace_run_outcome", "failed"))), failed as f64);
    assert_eq!(sum("trace_run_duration_seconds_count", None), runs as f64);
    assert_eq!(sum("trace_run_duration_seconds_bucket", Some(("le", "+Inf"))), runs as f64);
    assert!((sum("trace_run_duration_seconds_sum", None) - ns as f64 / 1e9).abs() < 1e-9);
    assert_eq!(sum("trace_run_duration_seconds_count", Some(("trace_run_kind", "cold"))), 1.0);
    let exemplars = samples.iter().filter(|s| !s["exemplar"].is_null()).count();
    assert!(exemplars > 10, "{exemplars}");
    assert!(samples.iter().any(|s| s["unit"] == "seconds" && s["type"] == "histogram"));
    let none = lab.trace(&["metrics", "--image", "alpine"]).ok().out();
    assert!(none.ends_with("# EOF\n") && !none.contains("_total"), "{none}");
}

/// What the program says over HTTP at `path` of this port, once it does.
fn fetch(port: u16, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    for _ in 0..100 {
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("nobody listens on port {port}");
}

#[test]
fn promtool_and_node_exporter_read_a_prom_file() {
    if !super::common::have(&["promtool", "prometheus-node-exporter"]) {
        return;
    }
    let lab = lab();
    let dir = lab.dir().join("collected");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("trace.prom");
    lab.trace(&["metrics", "--since", "1d", "-o", path.to_str().unwrap()]).ok();
    let text = std::fs::read_to_string(&path).unwrap();
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let checked = lab::Running::start(promtool, text.as_bytes()).wait().ok();
    assert_eq!((checked.out(), checked.err()), (String::new(), String::new()), "promtool finds nothing to say");

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut exporter = Command::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", dir.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let answer = std::panic::catch_unwind(|| fetch(port, "/metrics"));
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    let answer = answer.unwrap();
    let samples = |text: &str| text.lines().filter(|l| l.starts_with("trace_")).count();
    assert!(samples(&text) > 50, "{text}");
    assert_eq!(samples(&answer), samples(&text), "every series is served");
    assert!(answer.contains("node_textfile_scrape_error 0"), "{answer}");
}
