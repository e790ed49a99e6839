//! What is printed and what is recorded: docker's lines letter for letter, reports, files, a joined trace.

use serde_json::json;

use super::running::busybox;
use crate::common::image::{Image, Layer};
use crate::common::lab::{Lab, Running, read_trace};
use crate::common::shop::Shop;
use crate::common::{have, needs_root};

/// Digest of what a tag of the built-in hub names, as the hub says it.
fn hello_digest(lab: &Lab) -> String {
    let said = lab.trace(&["images", "--json"]).ok().out();
    let image: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    image["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_cold_run_prints_dockers_lines() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let cold = lab.trace(&["run", "--hub", "builtin", "--report", "none", "hello-world"]).ok();
    let digest = hello_digest(&lab);
    let id = cold.err().lines().nth(2).unwrap()[..12].to_owned();
    assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
    let want = format!(
        "Unable to find image 'hello-world:latest' locally\n\
         latest: Pulling from library/hello-world\n\
         {id}: Pulling fs layer\n\
         {id}: Verifying Checksum\n\
         {id}: Download complete\n\
         {id}: Pull complete\n\
         Digest: {digest}\n\
         Status: Downloaded newer image for hello-world:latest\n"
    );
    assert_eq!(cold.err(), want);
    let warm = lab.trace(&["run", "--hub", "builtin", "--report", "none", "hello-world"]).ok();
    assert_eq!(warm.err(), "");
    assert_eq!(warm.stdout, cold.stdout);
    assert!(warm.out().starts_with("\nHello from trace!\n"));
}

#[test]
fn pull_prints_dockers_lines_to_stdout() {
    if !needs_root() {
        return;
    }
    let layers = [Layer::new().dir("a/", 0o755).end(), Layer::new().dir("b/", 0o755).end()];
    let (lab, shop) = (Lab::new(), Shop::open());
    let both = Image::new(&[&layers[0], &layers[1]], json!({}));
    let (name, digest) = (shop.put("app:latest", both.clone()), both.digest());
    let short: Vec<_> = both.layers.iter().map(|l| l["sha256:".len()..][..12].to_owned()).collect();

    let first = lab.trace(&["pull", name.trim_end_matches(":latest"), "--report", "none"]).ok();
    let out = first.out();
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines[..2], ["Using default tag: latest", "latest: Pulling from app"]);
    let end = [format!("Digest: {digest}"), format!("Status: Downloaded newer image for {name}"), name.clone()];
    assert_eq!(lines[lines.len() - 3..], end);
    for id in &short {
        let of_this: Vec<_> = lines.iter().filter_map(|l| l.strip_prefix(&format!("{id}: "))).collect();
        assert_eq!(of_this, ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]);
    }
    assert_eq!(lines.len(), 2 + 8 + 3);
    assert_eq!(first.err(), "");

    let again = lab.trace(&["pull", &name, "--report", "none"]).ok();
    let want = format!("latest: Pulling from app\nDigest: {digest}\nStatus: Image is up to date for {name}\n{name}\n");
    assert_eq!(again.out(), want);

    let third = Layer::new().dir("c/", 0o755).end();
    let more = Image::new(&[&layers[0], &layers[1], &third], json!({}));
    let by_digest = format!("{}@{}", shop.put("more:1", more.clone()).replace(":1", ""), more.digest());
    let out = lab.trace(&["pull", &by_digest, "--report", "none"]).ok().out();
    assert!(out.starts_with(&format!("{}: Pulling from more\n", by_digest)), "{out}");
    for id in &short {
        assert!(out.contains(&format!("{id}: Already exists\n")), "{out}");
    }
    assert_eq!(lab.trace(&["pull", "-q", &name]).ok().out(), format!("{name}\n"));
}

#[test]
fn reports_are_as_asked_for_and_the_second_run_compares() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let run = |more: &[&str]| {
        let ran = lab.trace(&[&["run", "-q", "--hub", "builtin"], more, &["hello-world"]].concat()).ok();
        assert!(ran.out().starts_with("\nHello from trace!\n"), "the container's output alone is on stdout");
        ran.err()
    };
    let first = run(&[]);
    assert!(first.contains("run hello-world   cold ") && first.contains("critical path"), "{first}");
    for row in ["cache.check", "image.pull", "layer 1/1", "container.start", "container.cleanup"] {
        assert!(first.contains(row), "{row}: {first}");
    }
    assert!(!first.contains("Unable to find") && !first.contains("saved"), "{first}");
    let second = run(&[]);
    let last = second.lines().last().unwrap();
    assert!(
        last.starts_with("warm ") && last.contains(" ms (1 run) · cold ") && last.contains("× faster · pull "),
        "{second}"
    );
    assert!(last.ends_with(" saved") && second.ends_with('\n'), "the shell's prompt begins a line: {second}");
    assert_eq!(run(&["--report", "none"]), "");
    let summary = run(&["--report", "summary"]);
    assert!(summary.trim().lines().count() <= 6 && summary.contains("warm"), "{summary}");
    // Cold again: compared with the warm one.
    let cold = run(&["--cold"]);
    assert!(cold.contains("   cold ") && cold.lines().last().unwrap().contains("warm "), "{cold}");
    assert_eq!(lab.trace_files().len(), 5);
}

#[test]
fn the_trace_goes_to_a_file_too_and_joins_the_callers() {
    let Some((lab, _shop, image)) = busybox() else { return };
    let file = lab.dir().join("out.jsonl");
    let (trace_id, span_id) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let secret = "S3CR3T-of-the-user";
    let mut command = lab.command(&[
        "run",
        "-q",
        "--report",
        "none",
        "--trace-out",
        file.to_str().unwrap(),
        "-e",
        &format!("TOKEN={secret}"),
        &image,
        "sh",
        "-c",
        &format!("echo \"$TRACEPARENT\"{secret}"),
    ]);
    // Not sampled: nobody else records it, the file is written all the same.
    command.env("TRACEPARENT", format!("00-{trace_id}-{span_id}-00")).env("TRACESTATE", "vendor=1");
    command.env("OTEL_SERVICE_NAME", "mine").env("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b,other=c");
    let ran = Running::start(command, &[]).wait().ok();
    assert_eq!(ran.out(), format!("{secret}\n"), "not passed on into the container");
    let trace = read_trace(&file);
    assert_eq!(trace.id.to_string(), trace_id);
    let root = trace.root().unwrap();
    assert_eq!((root.name.as_ref(), root.parent.map(|p| p.to_string())), ("run", Some(span_id.to_owned())));
    assert_eq!(trace.state.as_deref(), Some("vendor=1"));
    assert_eq!((trace.resource().str("service.name"), trace.resource().str("team")), (Some("mine"), Some("a b")));
    assert!(lab.store(&format!("traces/{trace_id}.otlp.jsonl")).exists());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(secret), "values of the environment and arguments stay out of the file");
    assert_eq!(text.lines().count(), 1);

    // The arguments only when asked for; something that is no parent is passed over.
    let mut command = lab.command(&["run", "-q", "--report", "none", "--record-args", &image, "echo", "an-argument"]);
    command.env("TRACEPARENT", "00-zzz-1-00");
    let before = lab.trace_files();
    Running::start(command, &[]).wait().ok();
    let new = lab.trace_files().difference(&before).next().unwrap().clone();
    let trace = read_trace(&new);
    assert_eq!(trace.root().unwrap().parent, None);
    assert!(std::fs::read_to_string(new).unwrap().contains("an-argument"));
}

#[test]
fn without_internet_the_built_in_hub_takes_docker_hubs_place() {
    if !needs_root() || !have(&["unshare", "ip"]) {
        return;
    }
    // A network namespace with a loopback interface and nothing else.
    let lab = Lab::new().through(&["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"], 0);
    let ran = lab.trace(&["run", "--report", "none", "hello-world"]).ok();
    let note = "Docker Hub cannot be reached, so the image comes from the built-in hub: ";
    assert_eq!(ran.err().lines().filter(|l| l.starts_with(note)).count(), 1, "{}", ran.err());
    assert!(ran.err().ends_with("Status: Downloaded newer image for hello-world:latest\n"), "{}", ran.err());
    // What came from there must not pass for Docker Hub's.
    let said = lab.trace(&["images"]).ok().out();
    assert!(said.lines().nth(1).is_some_and(|l| l.contains("builtin")), "{said}");
    let ran = lab.trace(&["run", "--report", "none", "--hub", "docker.io", "hello-world"]).exits(125);
    assert!(ran.err().contains("registry-1.docker.io"), "{}", ran.err());
    let ran = lab.trace(&["run", "--report", "none", "debian:12"]).exits(125);
    assert!(ran.err().lines().any(|l| l.starts_with("trace: ")), "{}", ran.err());
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let lab = Lab::new();
    for flag in ["-d", "-p", "--runtime"] {
        let ran = lab.trace(&["run", flag, "hello-world"]);
        assert!(ran.code() != 0 && ran.err().contains(flag), "{flag}: {}", ran.err());
    }
    for command in ["stop", "simulate"] {
        let ran = lab.trace(&[command, "x"]);
        assert!(ran.code() != 0 && ran.err().contains(command), "{command}: {}", ran.err());
    }
}
