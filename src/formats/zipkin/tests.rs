use super::*;
use crate::record::model::TraceId;

#[test]
fn a_list_of_spans() {
    let text = r#"[[{"traceId":"5982fe77008310cc80f1da5e10147517","id":"bd7a977555f6b982","name":"get","kind":"CLIENT",
        "parentId":"90394f6bcffb5d13","timestamp":1458702548467000,"duration":386000,"localEndpoint":{"serviceName":"zk","ipv4":"192.0.2.7"},
        "remoteEndpoint":{"serviceName":"db","port":3306},"annotations":[{"timestamp":1458702548467001,"value":"plain"},
        {"timestamp":1458702548467002,"value":"{\"e\":{\"k\":1}}"}],
        "tags":{"http.path":"/a","otel.status_code":"ERROR","error":"why","otel.scope.name":"lib"}}],
        [{"traceId":"5982fe77008310cc80f1da5e10147517","id":"bd7a977555f6b982","shared":true,"kind":"SERVER","name":"other"}]]"#;
    let mut collect = Collect::new();
    take(text.as_bytes(), &mut collect).unwrap();
    let trace = collect.finish().remove(0);
    assert_eq!((trace.id, trace.spans.len()), (TraceId(0x5982_fe77_0083_10cc_80f1_da5e_1014_7517), 2));
    let [first, shared] = &trace.spans[..] else { panic!() };
    assert_eq!((first.start, first.duration(), first.kind), (1_458_702_548_467_000_000, 386_000_000, Kind::Client));
    assert_eq!(first.status, Status::Error("why".into()));
    assert_eq!(first.events.iter().map(|e| e.name.as_ref()).collect::<Vec<_>>(), ["plain", "e"]);
    assert_eq!(first.events[1].attributes.int("k"), Some(1));
    assert_eq!(first.attributes.str("peer.service"), Some("db"));
    let origin = trace.origin(first).unwrap();
    assert_eq!((origin.resource.str("service.name"), origin.scope.name.as_str()), (Some("zk"), "lib"));
    assert_eq!(shared.parent, Some(first.id));
    assert_ne!(shared.id, first.id);
    for bad in ["[{}]", r#"[{"traceId":"1","id":""}]"#, "[1]", r#"[{"traceId":"1","id":"1","tags":3}]"#] {
        let mut collect = Collect::new();
        take(bad.as_bytes(), &mut collect).unwrap();
        assert_eq!((collect.spans(), collect.skipped().count), (0, 1), "{bad}");
    }
}
