use super::{parse, render};
use crate::analyze::samples;
use crate::record::model::{Attributes, Event, Kind, Link, Origin, Scope, SpanId, Status, Trace, TraceId, Value};

/// A trace with everything that the format can keep.
fn full() -> Trace {
    let mut trace = samples::cold(3);
    trace.state = Some("vendor=1".to_owned());
    trace.origins.push(Origin {
        resource: Attributes::new().with("service.name", "inner").with("n", 1),
        scope: Scope { name: "lib".into(), version: "2".into(), ..Scope::default() },
        ..Origin::default()
    });
    trace.origins.push(Origin {
        resource: Attributes::new().with("service.name", "inner").with("n", 1),
        scope: Scope { name: "other".into(), ..Scope::default() },
        ..Origin::default()
    });
    let last = trace.spans.len() - 1;
    trace.spans[last].origin = 2;
    trace.spans[last - 1].origin = 1;
    trace.spans[1].start += 7;
    trace.spans[1].end += 1;
    trace.spans[2].status = Status::Ok;
    trace.spans[3].status = Status::Error("why".into());
    trace.spans[3].kind = Kind::Unspecified;
    trace.spans[3].events.push(Event {
        name: "e".into(),
        time: samples::EPOCH + 1234,
        attributes: Attributes::new().with("k", "v"),
        dropped: 0,
    });
    trace.spans[3].links.push(Link { trace: TraceId(7), span: SpanId(8), attributes: Attributes::new(), extra: None });
    for (key, value) in [
        ("array", Value::Array(vec![Value::Int(1), Value::Double(0.5), Value::Bool(true)])),
        ("map", Value::Map(vec![("k".into(), Value::Map(vec![]))])),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("large", Value::Int(i64::MIN)),
        ("real", Value::Double(2.0)),
        ("endless", Value::Double(f64::INFINITY)),
        ("text", Value::Str("[\"text\"]".into())),
    ] {
        trace.spans[4].attributes.set(key, value);
    }
    trace
}

#[test]
fn what_is_written_reads_back_the_same_to_the_nanosecond() {
    let mut warm = samples::warm();
    warm.id = TraceId(9);
    warm.spans.iter_mut().for_each(|s| s.links.clear());
    let traces = [full(), warm];
    assert_eq!(parse(&render(&traces)).unwrap(), traces);
}

#[test]
fn without_our_own_fields_times_are_microseconds_and_waits_stay() {
    let mut trace = samples::cold(3);
    trace.origins[0].scope.name = "trace".into();
    let mut document: serde_json::Value = serde_json::from_slice(&render(&[trace.clone()])).unwrap();
    for span in document["data"][0]["spans"].as_array_mut().unwrap() {
        let span = span.as_object_mut().unwrap();
        span.retain(|k, _| !k.ends_with("UnixNano"));
        for reference in span["references"].as_array_mut().unwrap() {
            reference.as_object_mut().unwrap().remove("attributes");
        }
        for tag in span["tags"].as_array_mut().unwrap() {
            tag.as_object_mut().unwrap().remove("isJson");
        }
    }
    // All samples' times are whole microseconds.
    assert!(trace.spans.iter().any(|s| s.waits_for().next().is_some()));
    assert_eq!(parse(document.to_string().as_bytes()).unwrap(), [trace]);
}

#[test]
fn an_answer_of_an_old_jaeger() {
    let text = r#"{"data":[{"traceID":"a1","spans":[
        {"traceID":"a1","spanID":"1","operationName":"GET /","references":[],"startTime":1500000000000001,"duration":20,
         "tags":[{"key":"span.kind","type":"string","value":"server"},{"key":"error","type":"bool","value":true},
                 {"key":"n","type":"int64","value":"9223372036854775807"},{"key":"plain","value":1.5}],
         "logs":[{"timestamp":1500000000000002,"fields":[{"key":"event","type":"string","value":"baggage"},{"key":"x","type":"string","value":"y"}]},
                 {"timestamp":1500000000000003,"fields":[{"key":"message","type":"string","value":"hi"}]}],
         "processID":"p1","warnings":null},
        {"traceID":"000000000000000000000000000000a1","spanID":"00000002","parentSpanID":"1","flags":1,"operationName":"old",
         "startTime":1500000000000003,"duration":0,"tags":null,"logs":null,"processID":"p2","warnings":["skew"]},
        {"traceID":"a1","spanID":"3","operationName":"after","startTime":1500000000000004,"duration":1,
         "references":[{"refType":"FOLLOWS_FROM","traceID":"a1","spanID":"2"},{"refType":"CHILD_OF","traceID":"b2","spanID":"9"}],
         "tags":[],"logs":[],"processID":"nobody"}],
        "processes":{"p1":{"serviceName":"frontend","tags":[{"key":"hostname","type":"string","value":"h"}]},"p2":{"serviceName":"OTLPResourceNoServiceName"}}}],
        "total":0,"limit":0,"offset":0,"errors":null}"#;
    let trace = parse(text.as_bytes()).unwrap().remove(0);
    assert_eq!((trace.id, trace.spans.len()), (TraceId(0xa1), 3));
    let [first, second, third] = &trace.spans[..] else { panic!() };
    assert_eq!((first.start, first.duration()), (1_500_000_000_000_001_000, 20_000));
    assert_eq!((first.kind, &first.status), (Kind::Server, &Status::Error(String::new())));
    assert_eq!((first.attributes.int("n"), first.attributes.get("plain")), (Some(i64::MAX), Some(&Value::Double(1.5))));
    assert_eq!(first.attributes.iter().count(), 2);
    assert_eq!(first.events.iter().map(|e| e.name.as_ref()).collect::<Vec<_>>(), ["baggage", ""]);
    assert_eq!(first.events[1].attributes.str("message"), Some("hi"));
    assert_eq!((second.id, second.parent), (SpanId(2), Some(SpanId(1))));
    assert_eq!(trace.origin(second).unwrap().resource, Attributes::new());
    assert_eq!((third.parent, third.links.len()), (Some(SpanId(2)), 2));
    assert_eq!(trace.origin(first).unwrap().resource.str("hostname"), Some("h"));
}

#[test]
fn ids_that_are_none_are_refused_in_words() {
    for (trace, span) in [("", "1"), ("0", "1"), ("xyz", "1"), ("1", ""), ("1", "+1"), ("1", "00000000000000001")] {
        let text =
            format!(r#"{{"data":[{{"spans":[{{"traceID":"{trace}","spanID":"{span}","operationName":"n"}}]}}]}}"#);
        let why = parse(text.as_bytes()).unwrap_err();
        assert!(why.contains("the span `n` has the ") && why.contains("hex digits"), "{why}");
    }
}
