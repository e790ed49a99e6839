//! The second receiver: what it gets equals the file, by every protocol; what it answers is understood.

use std::path::Path;
use std::time::{Duration, Instant};

use trace_run::record::file;
use trace_run::record::model::TraceId;

use super::common::certificates::{authority, certificate};
use super::common::lab::{self, Lab, names_in};
use super::common::same::assert_same;
use super::common::{have, text};
use super::receiver::{Receiver, traces};

#[test]
fn what_arrives_equals_the_file() {
    let Some(receiver) = Receiver::start() else { return };
    let (grpc, http) = (receiver.grpc(), receiver.http());
    for (url, protocol, compression) in [
        (&grpc, "grpc", "none"),
        (&grpc, "grpc", "gzip"),
        (&http, "http/protobuf", "none"),
        (&http, "http/protobuf", "gzip"),
        (&http, "http/json", "none"),
        (&http, "http/json", "gzip"),
    ] {
        let lab = Lab::new();
        for kind in ["cold", "warm"] {
            let before = lab.trace_files();
            let mut command = lab.command(&["run", "--hub", "builtin", "--report", "none", "hello-world"]);
            command
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
                .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
                .env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=a%20b,authorization=Bearer%20t")
                .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=no")
                .env("OTEL_SERVICE_NAME", "shell");
            let ran = lab::Running::start(command, &[]).wait().ok();
            let name = format!("{protocol} {compression} {kind}");
            let path = lab.trace_files().difference(&before).next().unwrap().clone();
            let trace = lab::read_trace(&path);
            assert_eq!(trace.resource().str("service.name"), Some("shell"));
            assert_eq!(trace.resource().str("deployment.environment.name"), Some("test"));
            let requests = receiver.take();
            assert_eq!(requests.len(), 1, "{name}: {}", ran.err());
            assert_eq!(requests[0].protocol, protocol.split('/').next().unwrap());
            let headers = &requests[0].headers;
            assert_eq!((&headers["x-team"], &headers["authorization"]), (&"a b".into(), &"Bearer t".into()), "{name}");
            let agent = headers["user-agent"].as_str().unwrap();
            assert!(agent.starts_with(concat!("trace/", env!("CARGO_PKG_VERSION"))), "{name}: {agent}");
            if protocol != "grpc" {
                let encoding = headers["content-encoding"].as_str().unwrap_or("none");
                assert_eq!(encoding, compression, "{name}");
            }
            assert_same(&traces(&requests)[0], &trace);
        }
        assert_eq!(names_in(&lab.store("pending")), [""; 0]);
    }
}

#[test]
fn a_large_trace_goes_in_pieces() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    let mut trace = lab::read_trace(&Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/cold-hello-world.otlp.jsonl"));
    let few = trace.spans.clone();
    for i in 0..100_000u64 {
        let mut span = few[1 + (i as usize) % (few.len() - 1)].clone();
        span.id.0 = (1 << 40) + i;
        span.links.clear();
        trace.spans.push(span);
    }
    let path = lab.dir().join("large.otlp.jsonl");
    file::write(&trace, &path).unwrap();
    for url in [receiver.grpc(), receiver.http()] {
        let begun = Instant::now();
        let ran = lab.trace(&["export", text(&path), "--otlp", &url]).ok();
        let took = begun.elapsed();
        let requests = receiver.take();
        assert!(requests.len() > 3, "{}", requests.len());
        assert!(requests.iter().all(|r| r.size <= 4 << 20));
        assert_same(&traces(&requests)[0], &trace);
        assert!(
            ran.err().contains(&format!("({} spans)", trace.spans.len())) || ran.err().contains("spans"),
            "{}",
            ran.err()
        );
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}

#[test]
fn statuses_of_grpc() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    let run = |script: &str| {
        receiver.script(script);
        let begun = Instant::now();
        let ran =
            lab.trace(&["run", "--hub", "builtin", "--report", "none", "--otlp", &receiver.grpc(), "hello-world"]);
        let said = ran.ok().err();
        (said, receiver.take().len(), begun.elapsed())
    };
    for code in ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "DATA_LOSS"] {
        let (said, requests, _) = run(&format!("{code}\n"));
        assert!(!said.contains("not exported") && requests == 2, "{code}: {said} {requests}");
    }
    for code in [
        "RESOURCE_EXHAUSTED",
        "INVALID_ARGUMENT",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNKNOWN",
    ] {
        let (said, requests, _) = run(&format!("{code}\n"));
        let expected = format!("answered {code}: `as the script says`; it is kept");
        assert!(said.contains(&expected) && requests == 1, "{said} {requests}");
    }
    let (said, requests, took) = run("RESOURCE_EXHAUSTED 700\n");
    assert!(!said.contains("not exported") && requests == 2 && took > Duration::from_millis(700), "{said} {took:?}");
    let (said, requests, took) = run("UNAVAILABLE 60000\n");
    assert!(said.contains("answered UNAVAILABLE") && requests == 1 && took < Duration::from_secs(2), "{said} {took:?}");
    let (said, _, _) = run("PARTIAL 3 too many\n");
    assert!(said.contains("it rejected 3 spans; it says `too many`"), "{said}");
    let (said, _, took) = run("HANG\n");
    assert!(said.contains("did not answer within") && took < Duration::from_secs(4), "{said} {took:?}");
    // Those that were not delivered are pending, and go together.
    let said = lab.trace(&["export", "--pending"]).ok().err();
    assert!(said.contains("exported 9 traces"), "{said}");
    assert_eq!(traces(&receiver.take()).len(), 9);
}

#[test]
fn a_bad_trace_does_not_keep_the_others() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    for _ in 0..4 {
        lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
    }
    // The whole batch is refused, then one of its traces.
    receiver.script("INVALID_ARGUMENT\nINVALID_ARGUMENT\n");
    let ran = lab.trace(&["export", "--all", "--otlp", &receiver.grpc()]).exits(125);
    assert!(ran.err().contains("exported 3 traces") && ran.err().contains("1 trace not exported"), "{}", ran.err());
    receiver.take();
    let ran = lab.trace(&["export", "--all", "--otlp", &receiver.grpc()]).ok();
    assert!(ran.err().contains("exported 1 trace ("), "{}", ran.err());
    assert_eq!(traces(&receiver.take()).len(), 1);
}

#[test]
fn tls_and_a_certificate_of_ours() {
    if !have(&["openssl"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), "ca");
    let clients = authority(dir.path(), "clients");
    certificate(dir.path(), "ca", "server", "IP:127.0.0.1", "2");
    certificate(dir.path(), "clients", "client", "DNS:client", "2");
    let file = |name: &str| dir.path().join(name);
    let Some(receiver) = Receiver::start_with(&[&file("server.pem"), &file("server.key"), &clients]) else { return };
    let lab = Lab::new();
    for url in [receiver.grpc().replace("grpc:", "grpcs:"), receiver.http().replace("http:", "https:")] {
        let run = |ours: bool| {
            let mut command =
                lab.command(&["run", "--hub", "builtin", "--report", "none", "--otlp", &url, "hello-world"]);
            command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca);
            if ours {
                command.env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", file("client.pem"));
                command.env("OTEL_EXPORTER_OTLP_CLIENT_KEY", file("client.key"));
            }
            lab::Running::start(command, &[]).wait().ok().err()
        };
        let said = run(true);
        assert!(!said.contains("not exported"), "{url}: {said}");
        assert_eq!(traces(&receiver.take()).len(), 1, "{url}");
        let said = run(false);
        assert!(said.contains("not exported"), "{url}: {said}");
        assert!(receiver.take().is_empty());
    }
}

#[test]
fn the_environment_switches_it_off() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    for (off, flag, says) in [
        (("OTEL_SDK_DISABLED", "true"), false, ""),
        (("OTEL_TRACES_EXPORTER", "none"), false, ""),
        (("OTEL_SDK_DISABLED", "true"), true, "`OTEL_SDK_DISABLED` is `true`"),
        (("OTEL_TRACES_EXPORTER", "zipkin"), false, "`OTEL_TRACES_EXPORTER` is `zipkin`: expected"),
    ] {
        let url = receiver.grpc();
        let mut words = vec!["run", "--hub", "builtin", "--report", "none"];
        if flag {
            words.extend(["--otlp", &url]);
        }
        words.push("hello-world");
        let mut command = lab.command(&words);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).env(off.0, off.1);
        let before = lab.trace_files().len();
        let ran = lab::Running::start(command, &[]).wait().ok();
        assert!(
            ran.err().contains(says) && (!says.is_empty() || !ran.err().contains("trace:")),
            "{off:?}: {}",
            ran.err()
        );
        assert_eq!(lab.trace_files().len(), before + 1, "the file is written all the same");
        assert!(receiver.take().is_empty());
        assert_eq!(names_in(&lab.store("pending")), [""; 0]);
    }
    // The flag names an exporter of its own.
    let mut command = lab.command(&["run", "--hub", "builtin", "--otlp", &receiver.grpc(), "hello-world"]);
    command.env("OTEL_TRACES_EXPORTER", "none");
    lab::Running::start(command, &[]).wait().ok();
    assert_eq!(receiver.take().len(), 1);
}

#[test]
fn two_senders_of_what_is_pending_send_it_once() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    for _ in 0..30 {
        lab.quiet_run(&["--hub", "builtin", "--otlp", "http://127.0.0.1:1", "hello-world"]).ok();
    }
    let url = receiver.http();
    let senders: Vec<_> = (0..4).map(|_| lab.start(&["export", "--pending", "--otlp", &url])).collect();
    for sender in senders {
        sender.wait().ok();
    }
    let mut ids: Vec<TraceId> = Vec::new();
    for request in receiver.take() {
        ids.extend(traces(&[request]).iter().map(|t| t.id));
    }
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!((ids.len(), all), (30, 30));
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
}

/// A bench exports when all is measured, whatever the environment asks of its runs.
#[test]
fn a_bench_exports_at_its_end() {
    let Some(receiver) = Receiver::start() else { return };
    let lab = Lab::new();
    for flag in [true, false] {
        let url = receiver.grpc();
        let mut words = vec!["bench", "--hub", "builtin", "--cold", "2", "--warm", "3"];
        if flag {
            words.extend(["--otlp", &url]);
        }
        words.push("hello-world");
        let mut command = lab.command(&words);
        if !flag {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        }
        let said = lab::Running::start(command, &[]).wait().ok().err();
        assert!(said.contains("exported 5 traces"), "{said}");
        let requests = receiver.take();
        assert_eq!(requests.len(), 1, "none of its runs sends by itself");
        let all = traces(&requests);
        assert_eq!(all.len(), 5);
        let bench: std::collections::HashSet<_> =
            all.iter().map(|t| t.resource().str("trace.bench.id").unwrap().to_owned()).collect();
        assert_eq!(bench.len(), 1);
        for trace in all {
            assert_same(&trace, &lab::read_trace(&lab.store("traces").join(format!("{}.otlp.jsonl", trace.id))));
        }
    }
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
    let said = lab
        .trace(&[
            "bench",
            "--hub",
            "builtin",
            "--cold",
            "1",
            "--warm",
            "1",
            "--otlp",
            "http://127.0.0.1:1",
            "hello-world",
        ])
        .ok()
        .err();
    assert!(said.contains("2 traces not exported") && said.contains("they are kept"), "{said}");
    assert_eq!(names_in(&lab.store("pending")).len(), 2);
}
