use super::*;
use crate::analyze::samples::{self, Sample};
use crate::record::model::{SpanId, Trace};

fn sentence(trace: &Trace) -> Option<String> {
    finding(&Analysis::of(trace).unwrap(), &Style::default())
}

/// How long each stage of a layer takes, one after the other, in ms.
struct Layer {
    connect: u64,
    wait: u64,
    receive: u64,
    verify: u64,
    inflate: u64,
    extract: u64,
    /// Of `extract`, the tar's SHA-256.
    diff_id: u64,
    bytes: usize,
    files: usize,
    media_type: &'static str,
}

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const EVEN: Layer = Layer {
    connect: 0,
    wait: 2,
    receive: 3,
    verify: 1,
    inflate: 4,
    extract: 3,
    diff_id: 0,
    bytes: 10_000_000,
    files: 100,
    media_type: GZIP,
};

/// A cold run of these layers, all at once, from a registry at `peer`.
fn pulled(layers: &[Layer], hub: &str, peer: &str) -> Trace {
    const MS: u64 = 1000;
    let mut s = Sample::new();
    let run = s.run("docker.io/library/app", "cold", hub, 0);
    let pull = s.add(Some(run), span::IMAGE_PULL, 0, 0);
    let mut last = 0;
    for (index, l) in layers.iter().enumerate() {
        let layer = s.add(Some(pull), span::LAYER_PULL, 0, 0);
        s.set(layer, attr::LAYER_INDEX, index);
        s.set(layer, attr::LAYER_SIZE, l.bytes);
        s.set(layer, attr::LAYER_SIZE_UNPACKED, l.bytes * 2);
        s.set(layer, attr::LAYER_MEDIA_TYPE, l.media_type);
        let download = s.add(Some(layer), span::LAYER_DOWNLOAD, 0, (l.connect + l.wait + l.receive) * MS);
        let get = s.request(download, 0, [0, l.connect * MS, 0, l.wait * MS, l.receive * MS]);
        s.set(get, attr::NETWORK_PEER_ADDRESS, peer);
        let mut at = l.connect + l.wait + l.receive;
        let mut stage = |s: &mut Sample, name, ms: u64| -> Option<SpanId> {
            at += ms;
            (ms > 0).then(|| s.add(Some(layer), name, (at - ms) * MS, at * MS))
        };
        stage(&mut s, span::LAYER_VERIFY, l.verify);
        stage(&mut s, span::LAYER_DECOMPRESS, l.inflate);
        if let Some(extract) = stage(&mut s, span::LAYER_EXTRACT, l.extract) {
            s.set(extract, attr::BUSY_NS, l.extract * MS * 1000);
            s.set(extract, attr::DIFF_ID_BUSY_NS, l.diff_id * MS * 1000);
            s.set(extract, attr::FILES, l.files);
            s.set(extract, attr::BYTES, l.bytes * 2);
        }
        s.span(layer).end = samples::EPOCH + at * MS * 1000;
        last = last.max(at);
    }
    s.span(pull).end = samples::EPOCH + last * MS * 1000;
    let end = s.container(run, last * MS, pull);
    s.span(run).end = samples::EPOCH + end * 1000;
    s.done()
}

#[track_caller]
fn says(layers: &[Layer], hub: &str, peer: &str, expected: &str) {
    let said = sentence(&pulled(layers, hub, peer)).unwrap_or_default();
    let (_, of_that) = said.split_once("; of that ").unwrap_or(("", &said));
    assert_eq!(of_that, expected, "{said}");
}

const FAR: &str = "203.0.113.7";
const HERE: &str = "127.0.0.1";

#[test]
fn inflating() {
    let large = || Layer { inflate: 61, bytes: 90_000_000, ..EVEN };
    let six = [EVEN, large(), EVEN, EVEN, EVEN, EVEN];
    says(&six, "docker.io", FAR, "87 % inflating layer 2 of 6 (gzip, one core): zstd or more even layers would help.");
    assert!(sentence(&pulled(&six, "docker.io", FAR)).unwrap().contains(" % of this run was the pull; of that "));
    // It is zstd already; or there is nothing to even out.
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let large_zstd = Layer { media_type: zstd, ..large() };
    says(
        &[EVEN, large_zstd],
        "docker.io",
        FAR,
        "87 % inflating layer 2 of 2 (zstd, one core): more even layers would help.",
    );
    says(&[large()], "docker.io", FAR, "87 % inflating the layer (gzip, one core): zstd would help.");
    says(&[large(), large()], "docker.io", FAR, "87 % inflating layer 1 of 2 (gzip, one core): zstd would help.");
}

#[test]
fn receiving_from_afar_and_from_here() {
    let slow = Layer { receive: 100, ..EVEN };
    let far =
        "91 % receiving the layer from docker.io (10.0 MB, 98 MB/s): a nearer registry or fewer bytes would help.";
    says(&[slow], "docker.io", FAR, far);
    // On this machine distance is not the reason, and the row does not say network.
    let slow = || Layer { receive: 100, ..EVEN };
    says(&[slow()], "builtin", HERE, "91 % receiving the layer from the built-in hub (10.0 MB, 98 MB/s).");
    let row = |peer| {
        let trace = pulled(&[slow()], "x", peer);
        super::super::render(&trace, super::super::Format::Waterfall, &Style { width: 200, ..Style::default() })
    };
    assert!(String::from_utf8(row(FAR)).unwrap().contains("bound by network"));
    assert!(String::from_utf8(row(HERE)).unwrap().contains("bound by registry"));
}

#[test]
fn connecting_and_waiting_for_the_first_byte() {
    let connecting = Layer { connect: 60, ..EVEN };
    says(
        &[connecting],
        "docker.io",
        FAR,
        "82 % connecting to docker.io (DNS, TCP, TLS): a nearer registry would help.",
    );
    // A long way there and back, or a registry that thinks: the connection's time tells them apart.
    let long_way = Layer { connect: 30, wait: 40, ..EVEN };
    says(
        &[long_way],
        "docker.io",
        FAR,
        "49 % waiting for the first byte from docker.io (1 request): a nearer registry would help.",
    );
    let thinking = Layer { connect: 1, wait: 60, ..EVEN };
    let slow = "83 % waiting for the first byte from docker.io (1 request): it takes 60.0 ms to answer, the way there \
        and back 1.0 ms.";
    says(&[thinking], "docker.io", FAR, slow);
    let here = Layer { connect: 30, wait: 40, ..EVEN };
    says(&[here], "builtin", HERE, "49 % waiting for the first byte from the built-in hub (1 request).");
}

#[test]
fn files_and_hashes() {
    let many = Layer { extract: 60, files: 20_000, ..EVEN };
    says(&[many], "docker.io", FAR, "86 % creating the 20000 files of the layer.");
    let few = Layer { extract: 60, files: 10, ..EVEN };
    says(&[few], "docker.io", FAR, "86 % writing the files of the layer (20.0 MB).");
    // The tar's SHA-256 runs inside `layer.extract`, and is not its files' fault.
    let hashing = || Layer { extract: 60, diff_id: 50, files: 10, bytes: 30_000_000, ..EVEN };
    says(
        &[EVEN, hashing()],
        "docker.io",
        FAR,
        "73 % computing SHA-256 of layer 2 of 2 (one core): more even layers would help.",
    );
    let trace = pulled(&[hashing()], "docker.io", FAR);
    let analysis = Analysis::of(&trace).unwrap();
    let facts = facts(&analysis);
    assert_eq!(facts.layers[0].bound, Some(Cause::Hashing));
    assert_eq!(facts.pull_parts.iter().map(|p| p.ns).sum::<u64>(), facts.pull_ns);
}

#[test]
fn two_causes_that_share_the_time() {
    let l = Layer { wait: 1, receive: 30, verify: 6, inflate: 30, extract: 29, ..EVEN };
    says(
        &[l],
        "docker.io",
        FAR,
        "31 % receiving 1 layer from docker.io (10.0 MB, 323 MB/s), 31 % inflating 1 layer (gzip, one core).",
    );
}

#[test]
fn the_hub_that_starts_and_others_that_pull() {
    for (name, expected) in [
        (span::HUB_START, "90 % starting the built-in hub and making the image in it."),
        (span::PULL_WAIT, "90 % waiting for another process that pulled the same image."),
    ] {
        let mut s = Sample::new();
        let run = s.run("docker.io/library/app", "cold", "builtin", 100_000);
        let pull = s.add(Some(run), span::IMAGE_PULL, 0, 100_000);
        s.add(Some(pull), name, 0, 90_000);
        assert_eq!(sentence(&s.done()).unwrap(), format!("100 % of this run was the pull; of that {expected}"));
    }
}

#[test]
fn warm_runs_and_the_kernel() {
    let warm = samples::warm();
    assert_eq!(sentence(&warm).unwrap(), "44 % of this run was starting the process.");
    let with = |version: i64, step: &'static str| {
        let mut s = Sample::new();
        let run = s.run("docker.io/library/app", "warm", "docker.io", 10_000);
        let create = s.add(Some(run), span::CONTAINER_CREATE, 0, 500);
        let cgroup = s.add(Some(create), span::CGROUP_CREATE, 0, 500);
        s.set(cgroup, attr::CGROUP_VERSION, version);
        let start = s.add(Some(run), span::CONTAINER_START, 500, 9_500);
        s.add(Some(start), step, 500, 8_000);
        sentence(&s.done()).unwrap()
    };
    let joining =
        "90 % of this run was starting the process; of that 83 % joining cgroups and namespaces (`init.namespaces`)";
    assert_eq!(with(2, span::INIT_NAMESPACES), format!("{joining}."));
    assert_eq!(
        with(1, span::INIT_NAMESPACES),
        format!("{joining}: version 1 cgroups make it wait; a host with version 2 would not.")
    );
    let clone = with(1, span::PROCESS_CLONE);
    assert!(
        clone.ends_with("of that 83 % the kernel making the process with its namespaces (`process.clone`)."),
        "{clone}"
    );
}

#[test]
fn the_containers_own_process() {
    let with = |cpu_ms: i64| {
        let mut s = Sample::new();
        let run = s.run("docker.io/library/app", "warm", "docker.io", 1_000_000);
        s.add(Some(run), span::CONTAINER_RUN, 10_000, 990_000);
        let exit = s.add(Some(run), span::CONTAINER_EXIT, 990_000, 990_010);
        s.set(exit, attr::CPU_USER_NS, cpu_ms * 1_000_000);
        s.set(exit, attr::CPU_SYSTEM_NS, 0);
        sentence(&s.done()).unwrap()
    };
    assert_eq!(with(29), "98 % of this run was the container's own process, which used a processor for 3 % of it.");
    assert_eq!(with(900), "98 % of this run was the container's own process.");
}

#[test]
fn failed_runs_say_where() {
    assert_eq!(
        sentence(&samples::failed()).unwrap(),
        "It failed while verifying a layer (`layer.verify`), 38.5 ms after its begin."
    );
    // A run that was refused before anything began has no place.
    let mut s = Sample::new();
    let run = s.run("docker.io/library/app", "cold", "docker.io", 10);
    s.fail(run, "x", "no");
    assert_eq!(sentence(&s.done()), None);
}

#[test]
fn little_is_not_worth_advice() {
    // Inflating is most of the pull, but the pull is little of the run.
    let mut trace = pulled(&[Layer { inflate: 61, ..EVEN }], "docker.io", FAR);
    let root = trace.spans.iter().position(|s| s.parent.is_none()).unwrap();
    trace.spans[root].end += 300_000_000;
    assert_eq!(sentence(&trace), None);
    trace.spans[root].end -= 240_000_000;
    let said = sentence(&trace).unwrap();
    assert!(said.contains("87 % inflating the layer (gzip, one core): zstd would help."), "{said}");
    // Three equal stages: nothing stands out.
    let mut s = Sample::new();
    let run = s.add(None, span::RUN, 0, 90);
    for (i, name) in [span::CONTAINER_CREATE, span::CONTAINER_START, span::CONTAINER_RUN].into_iter().enumerate() {
        s.add(Some(run), name, i as u64 * 30, i as u64 * 30 + 30);
    }
    assert_eq!(sentence(&s.done()), None);
}

#[test]
fn what_failed_and_was_tried_elsewhere_is_named() {
    let run = |step: &'static str, host: &str| {
        let mut s = Sample::new();
        let run = s.run("docker.io/library/app", "cold", "builtin", 10_000);
        let pull = s.add(Some(run), span::IMAGE_PULL, 0, 9_000);
        let tried = s.add(Some(pull), span::MANIFEST_FETCH, 0, 8_000);
        let get = s.add(Some(tried), span::HTTP_GET, 0, 8_000);
        s.set(get, attr::SERVER_ADDRESS, host);
        let last = s.add(Some(get), step, 0, 8_000);
        for id in [tried, get, last] {
            s.fail(id, "unreachable", "it is not there");
        }
        s.add(Some(pull), span::HUB_START, 8_000, 9_000);
        sentence(&s.done()).unwrap()
    };
    let of = |what: &str| format!("90 % of this run was the pull; of that 89 % {what}, which failed.");
    assert_eq!(run(span::DNS_LOOKUP, "registry-1.docker.io"), of("looking up Docker Hub"));
    assert_eq!(run(span::TCP_CONNECT, "registry.example"), of("connecting to registry.example"));
    assert_eq!(run(span::HTTP_WAIT, "registry.example"), of("asking registry.example"));
}

#[test]
fn no_stage_of_ours_stands_there_by_its_name_alone() {
    let names = include_str!("../../names.rs").split("pub mod attr").next().unwrap();
    let names: Vec<&str> = names.split('"').skip(1).step_by(2).collect();
    assert!(names.contains(&span::IMAGE_FORGET));
    // A whole run and a request of HTTP need no words.
    for name in names.into_iter().filter(|n| !["run", "pull", "exec", "GET", "HEAD", "POST"].contains(n)) {
        let words = meaning(name, &Style::default());
        assert!(words.ends_with(&format!(" (`{name}`)")), "{name}: {words}");
    }
}
