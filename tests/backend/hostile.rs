//! Query APIs that mean us harm, or are none.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::common::lab::{Lab, Ran};
use super::common::server::{Reply, Server, ok, status};
use super::reading::{NOON, started, trace, v3};

const CANARY: &str = "canary-7f3a";

/// What an import from a server says that answers everything with this, in how much memory.
fn against(answer: impl Fn() -> Reply + Send + Sync + 'static) -> Ran {
    let server = Server::in_background(move |_| answer());
    let lab = Lab::new();
    let begun = Instant::now();
    let ran = started(&lab, &format!("http://me:{CANARY}@{}", server.address)).wait();
    assert!(begun.elapsed() < Duration::from_secs(45), "{:?}", begun.elapsed());
    assert!(!ran.err().contains(CANARY) && !ran.out().contains(CANARY), "{}", ran.err());
    assert!(!ran.err().contains("panicked"), "{}", ran.err());
    assert!(lab.trace_files().is_empty());
    ran
}

#[track_caller]
fn refused(answer: impl Fn() -> Reply + Send + Sync + 'static, words: &str) {
    let ran = against(answer).exits(125);
    assert!(ran.err().contains(words), "expected `{words}`, got: {}", ran.err());
    let sentences = ran.err().lines().filter(|l| !l.starts_with("hint: ")).count();
    assert_eq!(sentences, 1, "{}", ran.err());
}

#[test]
fn answers_that_are_none_are_one_sentence() {
    refused(|| ok("application/json", "{\"result\":{\"resourceSpans\":[{"), "it ends in the middle");
    refused(|| ok("application/json", "{]"), "expected JSON, got something else");
    refused(|| ok("application/json", r#"{"result":{"resourceSpans":7}}"#), "expected OTLP JSON");
    refused(|| ok("text/html", "<html>"), "has no query API of Jaeger");
    refused(|| status(404), "has no query API of Jaeger");
    refused(|| ok("application/json", ""), "has no query API of Jaeger");
    refused(|| status(204), "has no query API of Jaeger");
    refused(|| Reply::Http(401, vec![], b"who are you".to_vec()), "answered 401: `who are you`");
    refused(|| Reply::Http(500, vec![], b"\x1b[31mred\x07".to_vec()), "answered 500: `\u{fffd}[31mred\u{fffd}`");
    refused(|| Reply::Close(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "gave no usable answer");
    refused(|| Reply::Close(Vec::new()), "gave no usable answer");
    refused(|| Reply::Close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec()), "gave no usable answer");
    let bad = |span: &str| format!(r#"{{"result":{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}}}"#);
    let span = bad(r#"{"traceId":"../../../../../../etc/cron.d/x","spanId":"0000000000000001"}"#);
    refused(move || ok("application/json", span.clone()), "expected 32 hex digits");
    let span = bad(r#"{"traceId":"00000000000000000000000000000001","spanId":"/"}"#);
    refused(move || ok("application/json", span.clone()), "expected 16 hex digits");
    let deep = format!(
        "{{\"result\":{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"k\",\"value\":{}{}}}]}}}}]}}}}",
        "{\"arrayValue\":{\"values\":[".repeat(100_000),
        "]}}".repeat(100_000)
    );
    // Values that are too deep to be read count as absent; here is no span that could lack one.
    let ran = against(move || ok("application/json", deep.clone())).exits(0);
    assert!(ran.err().contains("imported 0 traces"), "{}", ran.err());
}

#[test]
fn answers_without_end_are_cut_off() {
    // 64 MiB four times: the stretch is asked for less and less before it is given up.
    refused(
        || Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"result\":\"".to_vec(), vec![b'x'; 1 << 20]),
        "a single trace of `127.0.0.1:",
    );
    refused(|| Reply::Endless(b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'x'; 1 << 16]), "gave no usable answer");
    // Slowly: the whole answer has two seconds.
    refused(
        || Reply::Paced("application/json", vec![b' '; 1 << 20], 1, Duration::from_millis(50)),
        "did not answer within 2 s",
    );
    refused(|| Reply::Hang(Vec::new()), "did not answer within 2 s");
    refused(|| Reply::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{".to_vec()), "did not answer within 2 s");
}

#[test]
fn bombs_take_little_memory() {
    let packed = |text: &[u8], times: usize| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        (0..times).for_each(|_| out.write_all(text).unwrap());
        out.finish().unwrap()
    };
    // 1 GB of white space in 1 MB, and 60 MB of objects in less.
    let space = packed(&[b' '; 1 << 20], 1024);
    let objects = [b"{\"result\":{\"resourceSpans\":[{}".to_vec(), b",{}".repeat(20 << 20), b"]}}".to_vec()].concat();
    let spans =
        [b"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{}".to_vec(), b",{}".repeat(20 << 20), b"]}]}]}".to_vec()];
    let bombs = [space, packed(&objects, 1), packed(&spans.concat(), 1)];
    for bomb in bombs {
        let headers = vec![("Content-Type", "application/json".to_owned()), ("Content-Encoding", "gzip".to_owned())];
        let server = Server::in_background(move |_| Reply::Http(200, headers.clone(), bomb.clone()));
        let lab = Lab::new();
        let url = format!("http://{}", server.address);
        // The address space of the program, kB: what it maps from the start, and 64 MiB of answer growing by doubling.
        let mut command = lab.command(&["import", "--jaeger", &url]);
        let program = command.get_program().to_owned();
        let limited = format!("ulimit -v {} && exec \"$0\" \"$@\"", 600 << 10);
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let environment: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = std::process::Command::new("sh");
        command.arg("-c").arg(limited).arg(program).args(args).env_clear().current_dir(lab.dir());
        command.envs(environment.into_iter().filter_map(|(k, v)| Some((k, v?))));
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let ran = super::common::lab::Running::start(command, &[]).wait().exits(125);
        assert!(ran.err().contains("has more than 64 MiB, or so much"), "{}", ran.err());
    }
}

#[test]
fn credentials_go_to_the_host_they_are_for_alone() {
    let other = Server::in_background(|_| v3(&[]));
    let elsewhere = format!("http://{}/api/v3/traces", other.address);
    let server = Server::in_background(move |_| Reply::Http(302, vec![("Location", elsewhere.clone())], Vec::new()));
    let lab = Lab::new();
    let url = format!("http://me:{CANARY}@{}", server.address);
    let header = format!("X-Token: {CANARY}");
    let ran = lab.trace(&["--verbose", "import", "--jaeger", &url, "--header", &header]).exits(125);
    assert!(ran.err().contains("redirects elsewhere, which is not followed"), "{}", ran.err());
    assert!(other.seen().is_empty());
    let seen = &server.seen()[0].headers;
    assert_eq!(seen["x-token"], CANARY);
    assert!(seen["authorization"].starts_with("Basic "));
    assert!(!ran.err().contains(CANARY), "{}", ran.err());
    // The same by the environment.
    let mut command = lab.command(&["import", "--jaeger", &format!("http://{}", server.address)]);
    command.env("TRACE_QUERY_HEADERS", format!("x-token={CANARY}%21,x-other=1"));
    super::common::lab::Running::start(command, &[]).wait().exits(125);
    assert_eq!(server.seen().last().unwrap().headers["x-token"], format!("{CANARY}!"));
    let mut command = lab.command(&["import", "--jaeger", &url]);
    command.env("TRACE_QUERY_HEADERS", CANARY);
    let ran = super::common::lab::Running::start(command, &[]).wait().exits(125);
    assert!(ran.err().contains("entry 1 of `TRACE_QUERY_HEADERS`") && !ran.err().contains(CANARY), "{}", ran.err());
    // Nor are they in what is kept, or in other errors.
    for bad in [format!("X-Token {CANARY}"), format!("X Y: {CANARY}"), format!("X: {CANARY}\n")] {
        let ran =
            lab.trace(&["import", "--jaeger", &url, "--header", &bad]).exits(if bad.ends_with('\n') { 125 } else { 2 });
        assert!(!ran.err().contains(CANARY), "{}", ran.err());
    }
    for bad in [format!("http://me:{CANARY}@host:port"), format!("ftp://me:{CANARY}@host")] {
        let ran = lab.trace(&["import", "--jaeger", &bad]).exits(2);
        assert!(ran.err().contains("expected `http://HOST:PORT`") && !ran.err().contains(CANARY), "{}", ran.err());
    }
}

#[test]
fn a_server_that_always_has_more_is_found_out() {
    // Full answers about another time than the one asked for.
    let traces: Vec<_> = (1..=64).map(|i| trace(i, NOON - 1_000_000_000_000)).collect();
    let server = Server::in_background(move |_| v3(&traces.iter().collect::<Vec<_>>()));
    let lab = Lab::new();
    let ran = started(&lab, &format!("http://{}", server.address)).wait().exits(125);
    assert!(ran.err().contains("answers with traces of other times than those asked for"), "{}", ran.err());
    assert!(server.seen().len() < 5);
}
