//! The caller's context joined, and handed on into the container.

use trace_run::record::model::{Attributes, SpanId, Trace, TraceId};

use super::common::image::{busybox, needs_busybox};
use super::common::jaeger::Jaeger;
use super::common::lab::{Lab, Ran, Running, read_trace};
use super::common::needs_root;
use super::common::same::assert_same;
use super::common::server::{Server, status};
use super::common::shop::Shop;
use super::reading::post;

const CANARY: &str = "canary-51c0";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A run with these variables, and its trace.
fn run(lab: &Lab, env: &[(&str, &str)], args: &[&str]) -> (Ran, Trace) {
    let before = lab.trace_files();
    let mut command = lab.command(&[&["run", "-q", "--report", "none"], args].concat());
    command.envs(env.iter().copied());
    let ran = Running::start(command, &[]).wait();
    let new: Vec<_> = lab.trace_files().difference(&before).cloned().collect();
    assert_eq!(new.len(), 1, "{}", ran.err());
    (ran, read_trace(&new[0]))
}

fn span(trace: &Trace, name: &str) -> SpanId {
    trace.spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no `{name}`")).id
}

#[test]
fn the_program_is_told_its_span() {
    if !needs_root() || !needs_busybox() {
        return;
    }
    let (_shop, image) = Shop::with(busybox());
    let lab = Lab::new();
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let caller = [("TRACEPARENT", parent.as_str()), ("TRACESTATE", "a=1, b=2"), ("BAGGAGE", "k=v;p, n=canary-51c0")];
    for isolation in ["auto", "none"] {
        let way = ["--isolation", isolation];
        let (ran, trace) = run(&lab, &caller, &[&way[..], &["--propagate", &image, "env"]].concat());
        let said = ran.ok().out();
        let told = format!("TRACEPARENT=00-{TRACE}-{}-01\n", span(&trace, "container.run"));
        assert!(said.contains(&told), "{said}");
        assert!(said.contains("TRACESTATE=a=1,b=2\n") && said.contains("BAGGAGE=k=v;p, n=canary-51c0\n"), "{said}");
        assert!(!said.contains("OTEL_"), "{said}");
        let root = trace.root().unwrap();
        assert_eq!((trace.id.to_string().as_str(), root.parent.unwrap().to_string().as_str()), (TRACE, PARENT));
        assert!(!format!("{trace:?}").contains(CANARY), "baggage is not recorded");
        std::fs::remove_file(lab.store(&format!("traces/{TRACE}.otlp.jsonl"))).unwrap();

        let own = ["-e", "TRACEPARENT=mine", "-e", "BAGGAGE="];
        let (ran, _) = run(&lab, &caller, &[&way[..], &["--propagate"], &own, &[&image, "env"]].concat());
        assert!(ran.out().contains("TRACEPARENT=mine\n") && ran.out().contains("BAGGAGE=\n"), "{}", ran.out());
        std::fs::remove_file(lab.store(&format!("traces/{TRACE}.otlp.jsonl"))).unwrap();

        // Without the flag the container knows nothing of it.
        let (ran, _) = run(&lab, &caller, &[&way[..], &[&image, "env"]].concat());
        assert!(!ran.out().contains("TRACE") && !ran.out().contains("BAGGAGE"), "{}", ran.out());
        std::fs::remove_file(lab.store(&format!("traces/{TRACE}.otlp.jsonl"))).unwrap();
    }
    // Without a caller the trace is ours, and sampled.
    let (ran, trace) = run(&lab, &[], &["--propagate", &image, "env"]);
    let told = format!("TRACEPARENT=00-{}-{}-01\n", trace.id, span(&trace, "container.run"));
    assert!(ran.out().contains(&told) && !ran.out().contains("TRACESTATE"), "{}", ran.out());
    // The caller's propagators are ours.
    let only_baggage = [&caller[..], &[("OTEL_PROPAGATORS", "baggage")]].concat();
    let (ran, trace) = run(&lab, &only_baggage, &["--propagate", &image, "env"]);
    assert_ne!(trace.id.to_string(), TRACE);
    assert!(!ran.out().contains("TRACEPARENT") && ran.out().contains("BAGGAGE=k=v"), "{}", ran.out());
    // What is no baggage is not passed on, and not repeated.
    let (ran, _) = run(&lab, &[("BAGGAGE", "canary-51c0")], &["--propagate", &image, "env"]);
    assert!(ran.err().contains("Note: `BAGGAGE` is not used: entry 1 has no `=`"), "{}", ran.err());
    assert!(!ran.err().contains(CANARY) && !ran.out().contains("BAGGAGE"), "{}", ran.err());
    // Recorded where asked for.
    let (_, trace) = run(&lab, &caller, &["--record-baggage", "k", &image, "true"]);
    let root = trace.root().unwrap();
    assert_eq!(root.attributes.str("trace.baggage.k"), Some("v"));
    assert!(!format!("{trace:?}").contains(CANARY));
}

#[test]
fn the_endpoint_goes_in_and_its_headers_do_not() {
    if !needs_root() || !needs_busybox() {
        return;
    }
    let (_shop, image) = Shop::with(busybox());
    let lab = Lab::new();
    let receiver = Server::in_background(|_| status(503));
    let base = format!("http://{}", receiver.address);
    let secret = format!("authorization=Bearer%20{CANARY}");
    let env = [("OTEL_EXPORTER_OTLP_HEADERS", secret.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "100")];
    let with_user = format!("http://me:{CANARY}@{}/otlp", receiver.address);
    for (url, endpoint, protocol) in [
        (base.as_str(), format!("{base}\n"), "http/protobuf"),
        (&with_user, format!("{base}/otlp\n"), "http/protobuf"),
        ("grpc://127.0.0.1:1", "http://127.0.0.1:1/\n".into(), "grpc"),
    ] {
        let (ran, trace) = run(&lab, &env, &["--network", "host", "--propagate", "--otlp", url, &image, "env"]);
        let said = ran.out();
        assert!(said.contains(&format!("OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}")), "{said}");
        assert!(said.contains(&format!("OTEL_EXPORTER_OTLP_PROTOCOL={protocol}\n")), "{said}");
        assert!(!said.contains(CANARY) && !ran.err().contains(CANARY), "{said}{}", ran.err());
        assert!(!ran.err().contains("Note:"), "{}", ran.err());
        assert!(!format!("{trace:?}").contains(CANARY));
    }
    // In its own variable where only traces go there.
    let own = format!("{base}/custom");
    let (ran, _) = run(&lab, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &own)], &["--propagate", &image, "env"]);
    assert!(ran.out().contains(&format!("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={own}\n")), "{}", ran.out());
    let note = format!("Note: the program cannot reach {} with `--network none`", receiver.address);
    assert!(ran.err().contains(&note), "{}", ran.err());
    let (ran, _) = run(&lab, &env, &["--propagate-headers", "--otlp", &base, &image, "env"]);
    assert!(
        ran.out().contains(&format!("OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20{CANARY}\n")),
        "{}",
        ran.out()
    );
}

/// The span of a job that runs us, as its own instrumentation sends it.
fn job() -> Trace {
    let mut job = super::reading::trace(1, super::reading::NOON);
    job.id = TraceId(u128::from_str_radix(TRACE, 16).unwrap());
    job.origins[0].resource = Attributes::new().with("service.name", "ci");
    job.spans.truncate(1);
    job.spans[0].id = SpanId(u64::from_str_radix(PARENT, 16).unwrap());
    job.spans[0].name = "ci job".into();
    job
}

#[test]
fn spans_of_the_program_hang_under_its_container() {
    if !needs_root() || !needs_busybox() {
        return;
    }
    let Some(jaeger) = Jaeger::start() else { return };
    let (_shop, image) = Shop::with(busybox());
    // What an SDK would do: a span under $TRACEPARENT, sent to the endpoint.
    let program = r#"
        set -e
        trace=$(echo $TRACEPARENT | cut -d- -f2); parent=$(echo $TRACEPARENT | cut -d- -f3); now=$(date +%s)
        busybox wget -q -O /dev/null --header 'Content-Type: application/json' --post-data '{"resourceSpans":[{"resource":{"attributes":
            [{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeSpans":[{"spans":[{"traceId":"'$trace'","spanId":"00000000000000aa",
            "parentSpanId":"'$parent'","name":"checkout","kind":1,"startTimeUnixNano":"'$now'000000000","endTimeUnixNano":"'$now'000000001"}]}]}]}' \
            $OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"#;
    let parent = format!("00-{TRACE}-{PARENT}-01");
    for env in [&[][..], &[("TRACEPARENT", parent.as_str())]] {
        let lab = Lab::new();
        if !env.is_empty() {
            post(&jaeger, &job());
        }
        let args = ["--network", "host", "--propagate", "--otlp", &jaeger.http(), &image, "sh", "-c", program];
        let (ran, trace) = run(&lab, env, &args);
        ran.ok();
        jaeger.v3(&trace.id.to_string(), trace.spans.len() + 1 + env.len());
        let id = trace.id.to_string();
        lab.trace(&["import", "--jaeger", &jaeger.query(), &id]).ok();
        let back = read_trace(&lab.store(&format!("traces/{id}.otlp.jsonl")));
        let own = back.span(SpanId(0xaa)).expect("the program's span");
        assert_eq!((own.name.as_ref(), own.parent), ("checkout", Some(span(&trace, "container.run"))));
        assert_eq!(back.origin(own).unwrap().resource.str("service.name"), Some("shop"));
        // Under the job that ran us, where there was one.
        if !env.is_empty() {
            let ours = back.span(trace.root().unwrap().id).unwrap();
            assert_eq!(ours.parent, Some(job().spans[0].id));
            assert_eq!(back.root().unwrap().name, "ci job");
        }
        // The rest is as it was.
        let mut rest = back.clone();
        let ours = back.span(trace.root().unwrap().id).unwrap().origin;
        rest.spans.retain(|s| s.origin == ours);
        rest.spans.iter_mut().for_each(|s| s.origin = 0);
        rest.origins = vec![back.origins[ours as usize].clone()];
        assert_same(&rest, &trace);
        assert!(lab.trace(&["show", &id]).ok().out().contains("checkout"));
    }
}

#[test]
fn a_trace_that_the_caller_does_not_record_is_not_sent() {
    let lab = Lab::new();
    let receiver = Server::in_background(|_| status(200));
    let url = format!("http://{}", receiver.address);
    let parent = format!("00-{TRACE}-{PARENT}-00");
    let env = [("TRACEPARENT", parent.as_str()), ("OTEL_EXPORTER_OTLP_ENDPOINT", &url)];
    let (ran, trace) = run(&lab, &env, &["--hub", "builtin", "hello-world"]);
    assert_eq!(trace.id, TraceId(u128::from_str_radix(TRACE, 16).unwrap()));
    assert!(receiver.connections() == 0 && !ran.ok().err().contains("export"), "nothing is sent");
}
