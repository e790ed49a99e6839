//! Receivers that are down, slow or wrong: the run does not notice, one line says what happened, and `--pending`
//! delivers later.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use trace_run::record::model::TraceId;

use super::common::certificates::{acceptor, authority, certificate};
use super::common::jaeger::Jaeger;
use super::common::lab::{Lab, Ran, names_in};
use super::common::same::assert_same;
use super::common::server::{Reply, Seen, Server, Silence, status};
use super::common::{have, lab, needs_root};
use super::jaeger::read_v3;

/// A run may take so much longer than one that exports nothing: 2 s and what starting and ending takes on a busy
/// machine.
const BOUND: Duration = Duration::from_millis(2400);

const OK: &str = "application/x-protobuf";

/// Runs once with `url` as the address and once more without, holds the two against each other, and delivers what is
/// pending.
struct Faulty<'a> {
    jaeger: &'a Jaeger,
    name: &'static str,
    env: Vec<(&'static str, String)>,
}

impl Faulty<'_> {
    /// `said` must be part of what the run says. Gives how much longer it took.
    #[track_caller]
    fn holds(&self, url: &str, said: &str) -> Duration {
        let lab = Lab::new();
        lab.quiet_run(&["--hub", "builtin", "hello-world"]).ok();
        let timed = |more: &[&str]| {
            let mut command = lab.command(&[&["run", "--report", "none", "--hub", "builtin"], more].concat());
            command.envs(self.env.iter().map(|(k, v)| (k, v)));
            let begun = Instant::now();
            let ran = lab::Running::start(command, &[]).wait();
            (ran, begun.elapsed())
        };
        let (plain, usual) = timed(&["hello-world"]);
        let (ran, took) = timed(&["--otlp", url, "hello-world"]);
        let longer = took.saturating_sub(usual);
        let name = self.name;
        assert_eq!((ran.code(), &ran.stdout), (0, &plain.stdout), "{name}: {}", ran.err());
        assert!(longer < BOUND, "{name}: {longer:?} longer\n{}", ran.err());
        assert_eq!(ran.err().lines().count(), 1, "{name}: {}", ran.err());
        assert!(
            ran.err().contains(said) && ran.err().contains("`trace export --pending` sends it"),
            "{name}: {}",
            ran.err()
        );
        // A command that fails keeps its exit code too.
        let (failed, _) = timed(&["--otlp", url, "--entrypoint", "/none", "hello-world"]);
        failed.exits(127);
        self.later(&lab);
        longer
    }

    /// All that is pending arrives once.
    #[track_caller]
    fn later(&self, lab: &Lab) {
        let ids = names_in(&lab.store("pending"));
        assert_eq!(ids.len(), 2, "{}", self.name);
        let export = || lab.trace(&["export", "--pending", "--otlp", &self.jaeger.grpc()]).ok();
        let said = export().err();
        assert!(said.contains("exported 2 traces"), "{}: {said}", self.name);
        assert!(export().err().contains("nothing is pending"));
        for id in ids {
            let file = lab.store("traces").join(format!("{id}.otlp.jsonl"));
            let trace = lab::read_trace(&file);
            assert_eq!(trace.id, TraceId(u128::from_str_radix(&id, 16).unwrap()));
            assert_same(&read_v3(&self.jaeger.v3(&id, trace.spans.len())), &trace);
        }
    }
}

fn faulty<'a>(jaeger: &'a Jaeger, name: &'static str) -> Faulty<'a> {
    Faulty { jaeger, name, env: Vec::new() }
}

fn table(rows: &[(&str, Duration)]) {
    let mut out = std::io::stdout().lock();
    for (name, longer) in rows {
        let _ = writeln!(out, "{name:34} {:6.0} ms longer", longer.as_secs_f64() * 1e3);
    }
}

/// A port at which nobody listens.
fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A port that takes connections and says nothing.
fn silent() -> SocketAddr {
    raw(|stream| {
        std::thread::sleep(Duration::from_secs(30));
        drop(stream);
    })
}

/// A port that takes connections and does this with each.
fn raw(each: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let each = std::sync::Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = std::sync::Arc::clone(&each);
            std::thread::spawn(move || each(stream));
        }
    });
    address
}

fn http(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (String, Server) {
    let server = Server::in_background(handler);
    (format!("http://{}", server.address), server)
}

#[test]
fn connections_that_fail() {
    let Some(jaeger) = Jaeger::start() else { return };
    let mut rows = Vec::new();
    let hole = Silence::new();
    let silent = silent();
    let garbage = raw(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 100]);
        let _ = stream.write_all(&[0xfe; 4000]);
    });
    let closing = raw(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 100]);
    });
    for scheme in ["http", "grpc"] {
        let mut check = |name, address: SocketAddr, said: &str| {
            let longer = faulty(&jaeger, name).holds(&format!("{scheme}://{address}"), said);
            rows.push((format!("{name}, {scheme}"), longer));
            longer
        };
        let refused = check("refused", closed(), "connection refused");
        assert!(refused < Duration::from_millis(800), "who refuses is not waited for: {refused:?}");
        check("no answer to SYN", hole.address, "no connection within");
        check("silent", silent, if scheme == "http" { "did not answer within" } else { "" });
        check("garbage", garbage, "gave no usable answer");
        check("closing at once", closing, "");
    }
    let longer = faulty(&jaeger, "no such name").holds("http://nope.invalid:4318", "failed to lookup address");
    rows.push(("no such name, http".into(), longer));
    table(&rows.iter().map(|(n, d)| (n.as_str(), *d)).collect::<Vec<_>>());
}

#[test]
fn answers_that_are_wrong() {
    let Some(jaeger) = Jaeger::start() else { return };
    let mut rows = Vec::new();
    let mut check = |name, (url, server): (String, Server), said: &str| {
        let longer = faulty(&jaeger, name).holds(&url, said);
        rows.push((name, longer));
        (server, longer)
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n";
    let (server, _) = check("503 for ever", http(|_| status(503)), "answered 503");
    let tries = server.seen().len() / 2;
    assert!((3..=8).contains(&tries), "{tries} tries");
    let after = |seconds: u32| Reply::Http(503, vec![("Retry-After", seconds.to_string())], vec![]);
    let (server, longer) = check("503, Retry-After: 1", http(move |_| after(1)), "answered 503");
    assert_eq!(server.seen().len(), 4, "two tries each");
    assert!(longer > Duration::from_millis(900), "{longer:?}");
    let (server, longer) = check("503, Retry-After: 60", http(move |_| after(60)), "answered 503");
    assert!(
        server.seen().len() == 2 && longer < Duration::from_millis(800),
        "what is beyond the bound is not waited for"
    );
    for (name, status) in [("429", 429), ("502", 502), ("504", 504)] {
        let (server, _) = check(name, http(move |_| self::status(status)), "answered");
        assert!(server.seen().len() > 4, "{name}: tried again");
    }
    let why = || Reply::Http(400, vec![("Content-Type", OK.into())], b"\x12\x0bbad request".to_vec());
    let (server, _) = check("400", http(move |_| why()), "answered 400: `bad request`");
    assert_eq!(server.seen().len(), 2, "never again");
    for (name, status) in [("401", 401), ("404", 404), ("413", 413), ("500", 500)] {
        let (server, _) = check(name, http(move |_| self::status(status)), "answered");
        assert_eq!(server.seen().len(), 2, "{name}: never again");
    }
    let garbage = || Reply::Http(200, vec![("Content-Type", OK.into())], vec![0xff; 50]);
    check("200 with garbage", http(move |_| garbage()), "no OTLP");
    let page = || Reply::Http(200, vec![("Content-Type", "text/html".into())], b"<html>".to_vec());
    check("a web page", http(move |_| page()), "web page");
    check("closing half-way", http(move |_| Reply::Close(format!("{head}Content-Length: 9\r\n\r\nab").into())), "");
    check(
        "hanging half-way",
        http(move |_| Reply::Hang(format!("{head}Content-Length: 9\r\n\r\nab").into())),
        "did not answer within",
    );
    let endless = move || Reply::Endless(format!("{head}Content-Length: 99999999999\r\n\r\n").into(), vec![0; 65536]);
    check("an endless answer", http(move |_| endless()), "larger than");
    let drip = move || Reply::Paced(OK, vec![0; 1000], 1, Duration::from_millis(100));
    check("a byte now and then", http(move |_| drip()), "did not answer within");
    let away = || Reply::Http(307, vec![("Location", "http://192.0.2.1/v1/traces".into())], vec![]);
    check("a redirect elsewhere", http(move |_| away()), "not followed");
    table(&rows);
}

#[test]
fn tls_that_is_wrong() {
    let Some(jaeger) = Jaeger::start() else { return };
    if !have(&["openssl"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trusted = authority(dir.path(), "ca");
    authority(dir.path(), "other-ca");
    certificate(dir.path(), "ca", "elsewhere", "DNS:example.com", "2");
    certificate(dir.path(), "ca", "old", "IP:127.0.0.1", "-1");
    certificate(dir.path(), "other-ca", "stranger", "IP:127.0.0.1", "2");
    let mut rows = Vec::new();
    for scheme in ["https", "grpcs"] {
        let mut check = |name, address: SocketAddr, said: &str| {
            let env = vec![("SSL_CERT_FILE", trusted.to_str().unwrap().to_owned())];
            let longer = Faulty { jaeger: &jaeger, name, env }.holds(&format!("{scheme}://{address}"), said);
            assert!(longer < Duration::from_millis(800), "{name}: trying again is of no use: {longer:?}");
            rows.push((format!("{name}, {scheme}"), longer));
        };
        for (name, said) in [
            ("stranger", "signed by an authority that this machine does not know"),
            ("elsewhere", "its certificate is for another name"),
            ("old", "its certificate has expired"),
        ] {
            let server = Server::in_background_with(Some(acceptor(dir.path(), name)), |_| status(200));
            check(name, server.address, said);
        }
        let plain = if scheme == "https" { jaeger.http() } else { jaeger.grpc() };
        let plain = plain.split("//").nth(1).unwrap().parse().unwrap();
        check("plain where TLS is expected", plain, "does not speak TLS");
    }
    let missing = vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such.pem".to_owned())];
    let url = format!("https://{}", closed());
    Faulty { jaeger: &jaeger, name: "no such file", env: missing }
        .holds(&url, "cannot use the certificate authorities `/no/such.pem`");
    table(&rows.iter().map(|(n, d)| (n.as_str(), *d)).collect::<Vec<_>>());
}

#[test]
fn a_handshake_that_hangs_is_bounded() {
    let Some(jaeger) = Jaeger::start() else { return };
    let silent = silent();
    for scheme in ["https", "grpcs"] {
        faulty(&jaeger, "handshake").holds(&format!("{scheme}://{silent}"), "no connection within");
    }
}

#[test]
fn one_bad_moment_is_got_over() {
    let server = Server::in_background(|seen| match seen.nth {
        0 => status(503),
        1 => Reply::Close(vec![]),
        _ => Reply::Http(200, vec![("Content-Type", OK.into())], vec![]),
    });
    let lab = Lab::new();
    let url = format!("http://{}", server.address);
    let ran = lab.trace(&["run", "--hub", "builtin", "--otlp", &url, "hello-world"]).ok();
    assert!(ran.err().contains("exported to 127.0.0.1:"), "{}", ran.err());
    let bodies: Vec<_> = server.seen().into_iter().map(|s| s.body).collect();
    assert!(bodies.len() == 3 && bodies[0] == bodies[1] && bodies[1] == bodies[2]);
    assert_eq!(names_in(&lab.store("pending")), [""; 0]);
}

#[test]
fn what_the_receiver_rejects_is_said() {
    let server = Server::in_background(|_| {
        Reply::Http(200, vec![("Content-Type", OK.into())], b"\x0a\x07\x08\x02\x12\x03bad".to_vec())
    });
    let lab = Lab::new();
    let ran: Ran = lab.trace(&[
        "run",
        "--hub",
        "builtin",
        "--report",
        "none",
        "--otlp",
        &format!("http://{}", server.address),
        "hello-world",
    ]);
    let said = ran.ok().err();
    assert!(said.contains("it rejected 2 spans; it says `bad`"), "{said}");
}

#[test]
fn the_timeout_of_the_environment_holds() {
    let silent = silent();
    let lab = Lab::new();
    let mut command = lab.command(&["run", "--hub", "builtin", "--otlp", &format!("http://{silent}"), "hello-world"]);
    command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "300");
    let begun = Instant::now();
    let said = lab::Running::start(command, &[]).wait().ok().err();
    assert!(said.contains("did not answer within 0.3 s"), "{said}");
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

#[test]
fn ctrl_c_does_not_wait_for_the_export() {
    let silent = silent();
    let lab = Lab::new();
    let mut command = lab.command(&["run", "--hub", "builtin", "--otlp", &format!("http://{silent}"), "hello-world"]);
    command.env("OTEL_EXPORTER_OTLP_TIMEOUT", "20000");
    let begun = Instant::now();
    let running = lab::Running::start(command, &[]);
    lab::eventually("the trace is written", || !lab.trace_files().is_empty());
    std::thread::sleep(Duration::from_millis(200));
    running.signal(rustix::process::Signal::INT);
    let ran = running.wait().ok();
    assert!(ran.err().contains("interrupted while sending"), "{}", ran.err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(names_in(&lab.store("pending")).len(), 1);
}

/// What a killed process had under way is not lost.
#[test]
fn a_killed_export_is_pending() {
    let silent = silent();
    let lab = Lab::new();
    let running = lab.start(&["run", "--hub", "builtin", "--otlp", &format!("http://{silent}"), "hello-world"]);
    lab::eventually("the trace is written", || !lab.trace_files().is_empty());
    running.signal(rustix::process::Signal::KILL);
    running.wait().exits(137);
    let ids = names_in(&lab.store("pending"));
    assert_eq!(ids.len(), 1);
    assert!(lab.store("traces").join(format!("{}.otlp.jsonl", ids[0])).exists());
}

/// The receiver took it and its answer gets lost: what is sent again is the same, and Jaeger shows each span once.
#[test]
fn a_lost_answer_doubles_nothing() {
    let Some(jaeger) = Jaeger::start() else { return };
    let real: SocketAddr = jaeger.http().split("//").nth(1).unwrap().parse().unwrap();
    let lossy = raw(move |mut stream| {
        let mut request = vec![0; 1 << 20];
        let mut length = 0;
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        while let Ok(n @ 1..) = std::io::Read::read(&mut stream, &mut request[length..]) {
            length += n;
        }
        let mut on = TcpStream::connect(real).unwrap();
        on.write_all(&request[..length]).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut on, &mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    });
    faulty(&jaeger, "a lost answer").holds(&format!("http://{lossy}"), "");
}

/// Name servers that don't answer: the look-up alone would take 10 s.
#[test]
fn a_name_server_that_hangs_is_bounded() {
    if !needs_root() || !have(&["unshare", "ip", "mount", "python3"]) {
        return;
    }
    let lab = Lab::new();
    let resolv = lab.dir().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
    let program = env!("CARGO_BIN_EXE_trace");
    let silent =
        "import socket, time; s = socket.socket(type=socket.SOCK_DGRAM); s.bind((\"127.0.0.1\", 53)); time.sleep(60)";
    for url in ["http://collector.example:4318", "grpc://collector.example:4317"] {
        // Namespaces of its own: nobody else sees the name server that is silent.
        let script = format!(
            "ip link set lo up && mount --bind {} /etc/resolv.conf && {{ python3 -c '{silent}' & }} && sleep 0.5 && \
             exec {program} run --hub builtin --report none --otlp {url} hello-world",
            resolv.display()
        );
        let mut command = lab.command(&["unused"]);
        let environment: Vec<_> = command.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
        command = std::process::Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]);
        command.args(["sh", "-c", &script]);
        command.env_clear().envs(environment.into_iter().filter_map(|(k, v)| Some((k, v?))));
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let begun = Instant::now();
        let ran = lab::Running::start(command, &[]).wait().ok();
        let took = begun.elapsed();
        assert!(ran.err().contains("no connection within"), "{}", ran.err());
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
    }
}
