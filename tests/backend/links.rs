//! Where a run can be looked at: links to Jaeger, and `trace open`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use super::common::jaeger::Jaeger;
use super::common::lab::{Lab, Ran, Running, read_trace};
use super::common::server::{Server, ok};

const CANARY: &str = "canary-0b7e";

fn hello(lab: &Lab, more: &[&str]) -> (Ran, String) {
    let (ran, trace) =
        lab.traced(&[&["run", "--hub", "builtin", "--report", "summary"], more, &["hello-world"]].concat());
    (ran.ok(), trace.id.to_string())
}

/// A program that writes down what it is given, in the place of a browser.
fn browser(lab: &Lab) -> String {
    let path = lab.dir().join("browser");
    std::fs::write(&path, "#!/bin/sh\necho \"$@\" > \"$0.said\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn open(lab: &Lab, env: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = lab.command(&[&["open"], args].concat());
    command.envs(env.iter().copied());
    Running::start(command, &[]).wait()
}

#[test]
fn an_exported_run_says_where_it_is() {
    let Some(jaeger) = Jaeger::start() else { return };
    let lab = Lab::new();
    let (otlp, ui) = (jaeger.http(), jaeger.query());
    let (ran, id) =
        hello(&lab, &["--otlp", &otlp, "--jaeger-url", &format!("{}/", ui.replace("//", "//me:canary-0b7e@"))]);
    assert!(ran.err().ends_with(&format!("\n{ui}/trace/{id}\n")), "{}", ran.err());
    assert!(!ran.err().contains(CANARY));
    jaeger.v3(&id, 1);
    // The page is there and the trace in it.
    assert_eq!(jaeger.get(&format!("/trace/{id}")).0, 200);
    for more in [&["--jaeger-url", "none"][..], &[]] {
        let (ran, _) = hello(&lab, &[&["--otlp", &otlp], more].concat());
        // Whoever listens on port 16686 of this machine is none of the test's business.
        assert!(
            ran.err().contains("exported to") && (more.is_empty() || !ran.err().contains("/trace/")),
            "{}",
            ran.err()
        );
    }
    let ran = lab.trace(&["export", "last", "last~1", "--otlp", &otlp, "--jaeger-url", &ui]).ok();
    assert_eq!(ran.err().matches("/trace/").count(), 2, "{}", ran.err());
    let ran = lab.trace(&["pull", "--hub", "builtin", "--otlp", &otlp, "--jaeger-url", &ui, "hello-world"]).ok();
    assert!(ran.err().contains("/trace/"), "{}", ran.err());

    let browser = browser(&lab);
    let said = || std::fs::read_to_string(format!("{browser}.said")).unwrap();
    let page = format!("{ui}/trace/{id}\n");
    for (env, args) in [
        (vec![("BROWSER", browser.as_str())], vec!["--jaeger-url", &ui, &id]),
        (vec![("BROWSER", browser.as_str()), ("TRACE_JAEGER_URL", &ui)], vec![&id[..9]]),
    ] {
        let ran = open(&lab, &env, &args).ok();
        assert_eq!((ran.out(), said()), (page.clone(), page.clone()));
    }
    // In Jaeger, but not here.
    assert_eq!(open(&Lab::new(), &[("TRACE_JAEGER_URL", &ui)], &[&id]).ok().out(), page);
    // Here, but not in Jaeger.
    let (_, own) = hello(&lab, &[]);
    let ran = open(&lab, &[("TRACE_JAEGER_URL", &ui)], &[&own]).ok();
    assert!(ran.err().contains(&format!("has no trace `{own}`; this is its report")), "{}", ran.err());
    assert!(ran.out().starts_with("file:///"), "{}", ran.out());
}

#[test]
fn without_a_jaeger_the_report_is_opened() {
    let lab = Lab::new();
    let (_, id) = hello(&lab, &[]);
    let browser = browser(&lab);
    let with_place = format!("no-such-browser:{browser} --new-tab %s");
    for args in [&["--html"][..], &[], &["last", "--jaeger-url", "none"]] {
        let ran = open(&lab, &[("BROWSER", &with_place)], args).ok();
        let url = ran.out().trim().to_owned();
        assert!(url.ends_with(&format!("/{id}.html")), "{url}");
        let said = std::fs::read_to_string(format!("{browser}.said")).unwrap();
        assert_eq!(said, format!("--new-tab {url}\n"));
        let html = std::fs::read_to_string(url.strip_prefix("file://").unwrap()).unwrap();
        assert!(html.contains("<html") && html.contains(&id[..8]));
    }
    // A Jaeger that isn't there, or is none.
    let silent = Server::in_background(|_| ok("text/html", "<html>"));
    for url in ["http://127.0.0.1:1", &format!("http://{}", silent.address)] {
        let ran = open(&lab, &[("TRACE_JAEGER_URL", url)], &[]).ok();
        assert!(
            ran.err().contains("this is the report of the run") && ran.out().starts_with("file:///"),
            "{}",
            ran.err()
        );
    }
    let ran = open(&lab, &[("BROWSER", "/bin/false")], &[]).exits(125);
    assert!(
        ran.err().contains("`/bin/false` did not show it: exit status: 1") && ran.out().starts_with("file"),
        "{}",
        ran.err()
    );
    let ran = open(&lab, &[], &[&"f".repeat(32)]).exits(125);
    assert!(ran.err().contains("no recorded run is"), "{}", ran.err());
}

#[test]
fn runs_of_one_job_share_its_trace_and_none_is_lost() {
    let lab = Lab::new();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let start = || {
        let mut command = lab.command(&["run", "-q", "--hub", "builtin", "--report", "none", "hello-world"]);
        command.env("TRACEPARENT", parent);
        Running::start(command, &[])
    };
    start().wait().ok();
    let several: Vec<Running> = (0..5).map(|_| start()).collect();
    several.into_iter().for_each(|r| drop(r.wait().ok()));
    let files = lab.trace_files();
    assert_eq!(files.len(), 1);
    let trace = read_trace(files.iter().next().unwrap());
    assert_eq!(trace.spans.iter().filter(|s| s.name == "run").count(), 6);
}

/// Answers each request with this body, on an address of this machine that nobody else uses.
fn listen(address: (std::net::Ipv4Addr, u16), body: &'static str) -> Option<u16> {
    let listener = TcpListener::bind(address).ok()?;
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut chunk = [0; 65536];
            // The head and, in one or more pieces, the body of the length it names.
            loop {
                let n = stream.read(&mut chunk).unwrap_or(0);
                head.extend_from_slice(&chunk[..n]);
                let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
                let Some(end) = text.find("\r\n\r\n") else { continue };
                let length = text.split("content-length: ").nth(1).and_then(|l| l.lines().next()?.parse().ok());
                if n == 0 || head.len() >= end + 4 + length.unwrap_or(0usize) {
                    break;
                }
            }
            if body == "silence" {
                std::thread::sleep(Duration::from_secs(5));
            }
            let answer =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    Some(port)
}

#[test]
fn without_being_told_a_link_is_given_only_where_a_jaeger_answers() {
    let lab = Lab::new();
    let [_, _, high, low] = std::process::id().to_be_bytes();
    for (last, body, linked) in [
        (7, r#"{"services":["trace"]}"#, true),
        (8, r#"{"data":["trace"],"total":1}"#, true),
        (9, "<html>something else</html>", false),
        (10, r#"{"services":"none"}"#, false),
        (11, "silence", false),
        (12, "", false),
    ] {
        let ip = std::net::Ipv4Addr::new(127, high, low, last);
        let otlp = listen((ip, 0), "").unwrap();
        // The last of all has nobody there.
        if !body.is_empty() && listen((ip, 16686), body).is_none() {
            return super::common::skipped("port 16686 of this machine is taken on all addresses");
        }
        let begun = Instant::now();
        let (ran, id) = hello(&lab, &["--otlp", &format!("http://{ip}:{otlp}")]);
        assert!(ran.err().contains("exported to"), "{}", ran.err());
        assert_eq!(ran.err().ends_with(&format!("\nhttp://{ip}:16686/trace/{id}\n")), linked, "{body}: {}", ran.err());
        assert_eq!(ran.err().contains("/trace/"), linked);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        let open = open(&lab, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{ip}:{otlp}"))], &[]).ok();
        assert!(open.out().starts_with("file://"), "such a Jaeger has no trace: {}", open.out());
    }
}
