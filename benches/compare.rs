//! `trace compare` of 10,000 recorded runs: the whole process, from its start to its exit. The target is under 2 s.
//!
//! `cargo bench --bench compare`. The runs are made outside the timed region: as many and as large as real ones (43
//! spans cold, 22 warm), with durations that vary.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use trace_run::names::{attr, span};
use trace_run::record::file;
use trace_run::record::model::{Attributes, Key, Kind, Origin, Span, SpanId, Status, Trace, TraceId};

const RUNS: u64 = 10_000;

const WARM: [&str; 20] = [
    span::STARTUP,
    span::CACHE_CHECK,
    span::CONTAINER_CREATE,
    span::ROOTFS_MOUNT,
    span::CGROUP_CREATE,
    span::NETWORK_SETUP,
    span::CONTAINER_START,
    span::PROCESS_CLONE,
    span::INIT_NAMESPACES,
    span::INIT_MOUNTS,
    span::INIT_PIVOT_ROOT,
    span::INIT_HARDENING,
    span::PROCESS_EXEC,
    span::CONTAINER_RUN,
    span::CONTAINER_EXIT,
    span::CONTAINER_CLEANUP,
    span::NETWORK_TEARDOWN,
    span::ROOTFS_UNMOUNT,
    span::CGROUP_REMOVE,
    span::CONTAINER_REMOVE,
];

/// A run with the spans and about the attributes of a real one.
fn run(number: u64) -> Trace {
    let cold = number.is_multiple_of(2);
    let id = TraceId(u128::from(number + 1) << 64 | 1);
    let start = 1_700_000_000_000_000_000 + number * 1_000_000_000;
    // Any spread will do: 0 to 999.
    let mut noise = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let mut vary = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) % 1000
    };
    let mut spans: Vec<Span> = Vec::new();
    let mut add = |parent: Option<usize>, name: &'static str, from: u64, length: u64| {
        let attributes = Attributes::new()
            .with(attr::CONTAINER_ID, "382eec9ad2f3c5fb2c83ce36016c6319d2f0f5fdcce8049673466449c8bd3ef4")
            .with(attr::BUSY_NS, length)
            .with(attr::WAIT_INPUT_NS, 0);
        spans.push(Span {
            id: SpanId(spans.len() as u64 + 1),
            parent: parent.map(|p| SpanId(p as u64 + 1)),
            name: Key::Borrowed(name),
            kind: Kind::Internal,
            start: start + from,
            end: start + from + length,
            attributes,
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            origin: 0,
            extra: None,
        });
        spans.len() - 1
    };
    let root = add(None, span::RUN, 0, if cold { 40_000_000 } else { 4_000_000 } + vary() * 1000);
    for (i, name) in WARM.into_iter().enumerate() {
        add(Some(root), name, i as u64 * 150_000, 100_000 + vary() * 50);
    }
    if cold {
        let pull = add(Some(root), span::IMAGE_PULL, 3_000_000, 30_000_000 + vary() * 1000);
        let layer = add(Some(pull), span::LAYER_PULL, 4_000_000, 20_000_000 + vary() * 1000);
        for stage in
            [span::LAYER_DOWNLOAD, span::LAYER_VERIFY, span::LAYER_DECOMPRESS, span::LAYER_EXTRACT, span::LAYER_COMMIT]
        {
            let stage = add(Some(layer), stage, 5_000_000, 10_000_000 + vary() * 1000);
            for phase in [span::HTTP_GET, span::HTTP_WAIT, span::HTTP_RECEIVE] {
                add(Some(stage), phase, 5_100_000, 1_000_000 + vary() * 1000);
            }
        }
    }
    let attributes = &mut spans[0].attributes;
    attributes.set(attr::CONTAINER_IMAGE_NAME, "docker.io/library/hello-world");
    attributes.set(attr::CONTAINER_IMAGE_TAGS, vec!["latest"]);
    attributes.set(attr::RUN_KIND, if cold { "cold" } else { "warm" });
    attributes.set(attr::HUB, "builtin");
    attributes.set(attr::RUNTIME, "builtin");
    let resource = Attributes::new()
        .with(attr::SERVICE_NAME, "trace")
        .with(attr::HOST_NAME, "bench")
        .with(attr::OS_VERSION, "6.18.0");
    Trace { id, state: None, origins: vec![Origin { resource, ..Origin::default() }], spans }
}

fn record(root: &Path) {
    let traces = root.join("v1/traces");
    std::fs::create_dir_all(&traces).expect("a writable temporary directory");
    for number in 0..RUNS {
        let trace = run(number);
        file::write(&trace, &traces.join(format!("{}.otlp.jsonl", trace.id))).expect("room for 10,000 traces");
    }
}

fn compare(c: &mut Criterion) {
    let root = tempfile::tempdir().expect("a temporary directory");
    record(root.path());
    let mut group = c.benchmark_group("compare");
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    for format in ["text", "json"] {
        group.bench_function(format!("10,000 runs as {format}"), |b| {
            b.iter(|| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_trace"));
                command.args(["compare", "--format", format]).env("TRACE_ROOT", root.path()).stdout(Stdio::null());
                assert!(command.status().expect("the program starts").success());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, compare);
criterion_main!(benches);
