use super::*;
use crate::analyze::samples;

#[test]
fn what_goes_out_comes_back_the_same() {
    let mut cold = samples::cold(3);
    cold.state = Some("vendor=1".to_owned());
    cold.origins.push(Origin { resource: Attributes::new().with("service.name", "inner"), ..Origin::default() });
    let last = cold.spans.len() - 1;
    cold.spans[last].origin = 1;
    cold.spans[2].status = Status::Ok;
    cold.spans[3].status = Status::Error("why".into());
    cold.spans[3].kind = Kind::Client;
    cold.spans[3].end = u64::MAX;
    cold.spans[3].events.push(Event { name: "e".into(), time: 7, attributes: Attributes::new().with("k", "v") });
    for (key, value) in [
        ("array", Value::Array(vec![Value::Int(i64::MIN), Value::Double(0.1), Value::Bool(true)])),
        ("map", Value::Map(vec![("k".into(), Value::Map(vec![]))])),
        ("bytes", Value::Bytes(vec![0, 255])),
    ] {
        cold.spans[4].attributes.set(key, value);
    }
    let mut warm = samples::warm();
    warm.id = TraceId(9);
    for span in &mut warm.spans {
        span.links.clear();
    }
    let bytes = request([&cold, &warm]).encode_to_vec();
    let mut collect = Collect::new();
    take(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), &mut collect).unwrap();
    assert_eq!(collect.finish(), [cold, warm]);
}

#[test]
fn ids_of_a_wrong_length_are_refused() {
    for (trace, span) in [(15, 8), (16, 7), (0, 8), (16, 0)] {
        let mut sent = request([&samples::warm()]);
        let wire = &mut sent.resource_spans[0].scope_spans[0].spans[0];
        wire.trace_id.resize(trace, 1);
        wire.span_id.resize(span, 1);
        let why = take(sent, &mut Collect::new()).unwrap_err();
        assert!(why.contains("bytes: expected"), "{why}");
    }
}
