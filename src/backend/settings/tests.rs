use std::collections::HashMap;

use super::*;

fn with(pairs: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let map: HashMap<String, String> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    move |name| map.get(name).cloned()
}

fn resolved(url: Option<&str>, pairs: &[(&str, &str)]) -> Target {
    target(Signal::Traces, url, &with(pairs)).unwrap()
}

fn refused(url: Option<&str>, pairs: &[(&str, &str)]) -> String {
    target(Signal::Traces, url, &with(pairs)).unwrap_err().to_string()
}

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

#[test]
fn the_environment_asks_by_an_endpoint_or_an_exporter() {
    let asks = |pairs: &[(&str, &str)]| from_environment(Signal::Traces, &with(pairs)).unwrap().map(|t| t.shown());
    assert_eq!(asks(&[]), None);
    assert_eq!(asks(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=b")]), None);
    assert_eq!(asks(&[(ENDPOINT, "")]), None, "an empty variable is none");
    assert_eq!(asks(&[(ENDPOINT, "http://h:1")]).unwrap(), "http://h:1/v1/traces");
    assert_eq!(asks(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap(), "http://localhost:4318/v1/traces");
    assert_eq!(
        asks(&[("OTEL_TRACES_EXPORTER", "console, otlp"), (ENDPOINT, "http://h:1")]).unwrap(),
        "http://h:1/v1/traces"
    );
    for off in [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "console"), ("OTEL_SDK_DISABLED", "True")] {
        assert_eq!(asks(&[(ENDPOINT, "http://h:1"), off]), None, "{off:?}");
    }
    assert!(asks(&[(ENDPOINT, "http://h:1"), ("OTEL_SDK_DISABLED", "1")]).is_some(), "only `true` is true");
    let unknown = with(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
    let why = from_environment(Signal::Traces, &unknown).unwrap_err().to_string();
    assert_eq!(why, "`OTEL_TRACES_EXPORTER` is `zipkin`: expected `otlp`, `console` or `none`");
}

#[test]
fn endpoints() {
    for (url, pairs, shown) in [
        (None, vec![], "http://localhost:4318/v1/traces"),
        (None, vec![(PROTOCOL, "grpc")], "grpc://localhost:4317"),
        (None, vec![(ENDPOINT, "http://h:1/base/")], "http://h:1/base/v1/traces"),
        (None, vec![(ENDPOINT, "https://h")], "https://h/v1/traces"),
        (None, vec![(ENDPOINT, "http://g:1"), (TRACES_ENDPOINT, "http://h:1/x")], "http://h:1/x"),
        (None, vec![(TRACES_ENDPOINT, "http://h:1")], "http://h:1/"),
        (None, vec![(ENDPOINT, "http://h:4317")], "grpc://h:4317"),
        (None, vec![(ENDPOINT, "http://h:4317"), (PROTOCOL, "http/protobuf")], "http://h:4317/v1/traces"),
        (None, vec![(ENDPOINT, "http://h:80"), (PROTOCOL, "grpc")], "grpc://h:4317"),
        (None, vec![(ENDPOINT, "https://h"), (PROTOCOL, "grpc")], "grpcs://h"),
        (None, vec![(ENDPOINT, "https://h:9/path?x=1"), (PROTOCOL, "grpc")], "grpcs://h:9"),
        (None, vec![(ENDPOINT, "h:9"), (PROTOCOL, "grpc")], "grpcs://h:9"),
        (None, vec![(ENDPOINT, "h:9"), (PROTOCOL, "grpc"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")], "grpc://h:9"),
        (
            None,
            vec![(ENDPOINT, "https://h:9"), (PROTOCOL, "grpc"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")],
            "grpcs://h:9",
        ),
        (Some("http://f:1"), vec![(TRACES_ENDPOINT, "http://h:1/x")], "http://f:1/v1/traces"),
        (Some("http://f:1/v1/traces"), vec![], "http://f:1/v1/traces"),
        (Some("http://f:4317"), vec![], "grpc://f:4317"),
        (Some("grpc://f:1"), vec![(PROTOCOL, "http/json")], "grpc://f:1"),
        (Some("grpcs://f:1/"), vec![], "grpcs://f:1"),
        (Some("grpc://f"), vec![], "grpc://f:4317"),
        (Some("http://[::1]:4318"), vec![], "http://[::1]:4318/v1/traces"),
        (Some("http://f:1/?key=secret#x"), vec![], "http://f:1/v1/traces"),
    ] {
        assert_eq!(resolved(url, &pairs).shown(), shown, "{url:?} {pairs:?}");
    }
    assert_eq!(resolved(Some("http://f:1/?key=secret"), &[]).url.query(), Some("key=secret"), "it is still sent");
    for bad in ["f:4318", "ftp://f", "http://"] {
        let why = refused(Some(bad), &[]);
        assert!(why.starts_with("`--otlp`") && why.contains("expected `http://HOST:PORT`"), "{bad}: {why}");
    }
}

#[test]
fn what_is_sent_later_goes_where_it_should_have_gone() {
    let later = |url: &str, pairs: &[(&str, &str)]| super::later(Signal::Traces, url, &with(pairs)).unwrap();
    let secret = ("OTEL_EXPORTER_OTLP_HEADERS", "k=canary");
    for shown in ["http://h:4317/v1/traces", "grpc://h:4318", "grpcs://h", "https://h/x/v1/traces"] {
        for protocol in ["grpc", "http/protobuf", "http/json"] {
            let target = later(shown, &[secret, (PROTOCOL, protocol)]);
            assert_eq!((target.shown().as_str(), target.headers.len()), (shown, 1), "{protocol}");
        }
    }
    let own = "http://h:1/v1/traces";
    assert_eq!(later(own, &[secret, (ENDPOINT, "http://h:1")]).headers.len(), 1);
    let other = later(own, &[secret, (ENDPOINT, "http://other:1"), ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
    assert_eq!((other.shown().as_str(), other.headers.len(), other.gzip), (own, 0, true), "secrets stay at home");
}

#[test]
fn the_variable_of_the_signal_wins() {
    let target = resolved(
        None,
        &[
            (PROTOCOL, "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=3"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "500"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/general.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/own.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/c.pem"),
            ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/k.pem"),
        ],
    );
    assert_eq!(target.protocol, Protocol::HttpJson);
    assert_eq!(target.headers.keys().map(|k| k.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(target.timeout, Some(Duration::from_millis(500)));
    assert!(target.gzip);
    let identity = Some(("/c.pem".into(), "/k.pem".into()));
    assert_eq!(target.tls, Tls { authorities: Some("/own.pem".into()), identity });
    // What is meant for traces says nothing about metrics.
    let env = with(&[("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=3"), (ENDPOINT, "http://h:1")]);
    let metrics = super::target(Signal::Metrics, None, &env).unwrap();
    assert!(metrics.headers.is_empty());
    assert_eq!(metrics.shown(), "http://h:1/v1/metrics");
}

#[test]
fn headers_are_decoded_and_secret() {
    let list = "Authorization=Basic%20abc%3D%3D, x-api-key = canary%2C1 ,,";
    let target = resolved(Some("http://h:1"), &[("OTEL_EXPORTER_OTLP_HEADERS", list)]);
    assert_eq!(target.headers["authorization"], "Basic abc==");
    assert_eq!(target.headers["x-api-key"], "canary,1");
    assert!(!format!("{target:?}").contains("canary"));
    let target = resolved(Some("http://me:canary@h:1"), &[("OTEL_EXPORTER_OTLP_HEADERS", list)]);
    assert_eq!(target.headers["authorization"], "Basic bWU6Y2FuYXJ5", "what is typed is nearer");
    assert!(!format!("{target:?} {}", target.shown()).contains("canary"));
    for bad in ["canary", "a b=canary", "x=canary%0A", "content-type=canary", "ok=1,grpc-timeout=canary"] {
        let why = refused(None, &[("OTEL_EXPORTER_OTLP_HEADERS", bad)]);
        assert!(why.contains("of `OTEL_EXPORTER_OTLP_HEADERS`") && !why.contains("canary"), "{why}");
    }
}

#[test]
fn wrong_values_are_one_sentence() {
    for (name, value, expected) in [
        (PROTOCOL, "thrift", "`grpc`, `http/protobuf` or `http/json`"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2s", "milliseconds, at least 1"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds, at least 1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "`gzip` or `none`"),
    ] {
        assert_eq!(refused(None, &[(name, value)]), format!("`{name}` is `{value}`: expected {expected}"));
    }
    let why = refused(None, &[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/k")]);
    assert!(why.contains("`OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` is not"), "{why}");
    let why = refused(None, &[(ENDPOINT, "http://me:canary@h:port")]);
    assert!(why.starts_with("`OTEL_EXPORTER_OTLP_ENDPOINT`") && !why.contains("canary"), "{why}");
}

#[test]
fn which_contexts_are_joined() {
    for (value, trace_context, baggage) in [
        ("", true, true),
        ("tracecontext", true, false),
        ("b3, baggage", false, true),
        ("none", false, false),
        ("tracecontext,none", false, false),
    ] {
        let found = propagators(&with(&[("OTEL_PROPAGATORS", value)]));
        assert_eq!(found, Propagators { trace_context, baggage }, "{value}");
    }
}

#[test]
fn resource_attributes_are_decoded_or_all_dropped() {
    let read = |pairs: &[(&str, &str)]| {
        let (all, wrong) = resource_attributes(&with(pairs));
        (all.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), wrong.map(|e| e.to_string()))
    };
    let all =
        read(&[("OTEL_RESOURCE_ATTRIBUTES", "team=a%2Cb, a%3Db = %C3%A4 ,empty=,"), ("OTEL_SERVICE_NAME", "x%20y")]);
    assert_eq!(all, (vec!["team=a,b".into(), "a=b=ä".into(), "empty=".into(), "service.name=x%20y".into()], None));
    for bad in ["a=1,b", "a=%FF", "=1"] {
        let (all, wrong) = read(&[("OTEL_RESOURCE_ATTRIBUTES", bad), ("OTEL_SERVICE_NAME", "n")]);
        assert_eq!(all, ["service.name=n"], "{bad}");
        assert!(wrong.unwrap().contains("of `OTEL_RESOURCE_ATTRIBUTES` is not understood"));
    }
    assert_eq!(read(&[]), (vec![], None));
}
