//! Traces made by hand, for the tests of `analyze`, `report` and `record::file`. Times are in microseconds from the
//! begin of the run.

use crate::names::{attr, span};
use crate::record::model::{Attributes, Key, Kind, Link, Origin, Scope, Span, SpanId, Status, Trace, TraceId};

/// Where all samples begin, ns since the Unix epoch.
pub(crate) const EPOCH: u64 = 1_700_000_000_000_000_000;
const US: u64 = 1000;

/// Builds a trace span by span.
pub(crate) struct Sample(Trace);

impl Sample {
    pub(crate) fn new() -> Self {
        let resource = Attributes::new().with(attr::SERVICE_NAME, "trace").with(attr::HOST_ARCH, "amd64");
        let id = TraceId(0x4f2a_91c0_0000_0000_0000_0000_0000_0001);
        let origin =
            Origin { resource, scope: Scope { name: "trace.test".into(), ..Scope::default() }, ..Origin::default() };
        Sample(Trace { id, state: None, origins: vec![origin], spans: Vec::new() })
    }

    /// A span from `start` to `end` µs under `parent`.
    pub(crate) fn add(&mut self, parent: Option<SpanId>, name: &'static str, start: u64, end: u64) -> SpanId {
        let id = SpanId(0x1000 + self.0.spans.len() as u64);
        self.0.spans.push(Span {
            id,
            parent,
            name: Key::Borrowed(name),
            kind: Kind::Internal,
            start: EPOCH + start * US,
            end: EPOCH + end * US,
            attributes: Attributes::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
            origin: 0,
            extra: None,
        });
        id
    }

    pub(crate) fn span(&mut self, id: SpanId) -> &mut Span {
        self.0.spans.iter_mut().find(|s| s.id == id).expect("a span of this sample")
    }

    pub(crate) fn set(&mut self, id: SpanId, key: &'static str, value: impl Into<crate::record::model::Value>) {
        self.span(id).attributes.set(key, value);
    }

    pub(crate) fn wait(&mut self, id: SpanId, other: SpanId) {
        let link = Link {
            trace: self.0.id,
            span: other,
            attributes: Attributes::new().with(attr::WAIT_FOR, true),
            extra: None,
        };
        self.span(id).links.push(link);
    }

    pub(crate) fn fail(&mut self, id: SpanId, kind: &'static str, message: &str) {
        self.set(id, attr::ERROR_TYPE, kind);
        self.span(id).status = Status::Error(message.to_owned());
    }

    /// The span added last.
    pub(crate) fn last(&mut self) -> &mut Span {
        self.0.spans.last_mut().expect("a span")
    }

    /// The span added last waited for `other`.
    pub(crate) fn wait_last(&mut self, other: SpanId) {
        let link = Link {
            trace: self.0.id,
            span: other,
            attributes: Attributes::new().with(attr::WAIT_FOR, true),
            extra: None,
        };
        self.last().links.push(link);
    }

    pub(crate) fn done(self) -> Trace {
        self.0
    }

    /// A run's root with what all runs say.
    pub(crate) fn run(&mut self, image: &str, kind: &str, hub: &str, end: u64) -> SpanId {
        let run = self.add(None, span::RUN, 0, end);
        self.set(run, attr::CONTAINER_IMAGE_NAME, image);
        self.set(run, attr::CONTAINER_IMAGE_TAGS, vec!["latest"]);
        self.set(run, attr::RUN_KIND, kind);
        self.set(run, attr::HUB, hub);
        self.set(run, attr::PROCESS_EXIT_CODE, 0);
        run
    }

    /// A request with its phases, one after the other; phases of length 0 did not happen.
    pub(crate) fn request(&mut self, parent: SpanId, start: u64, phases: [u64; 5]) -> SpanId {
        let end = start + phases.iter().sum::<u64>();
        let get = self.add(Some(parent), span::HTTP_GET, start, end);
        self.span(get).kind = Kind::Client;
        self.set(get, attr::HTTP_REQUEST_METHOD, "GET");
        self.set(get, attr::HTTP_RESPONSE_STATUS_CODE, 200);
        let mut at = start;
        let names = [span::DNS_LOOKUP, span::TCP_CONNECT, span::TLS_HANDSHAKE, span::HTTP_WAIT, span::HTTP_RECEIVE];
        for (name, length) in names.into_iter().zip(phases) {
            if length > 0 {
                self.add(Some(get), name, at, at + length);
                at += length;
            }
        }
        get
    }

    /// A streaming stage; times in µs.
    pub(crate) fn stage(&mut self, parent: SpanId, name: &'static str, at: (u64, u64), waits: (u64, u64)) -> SpanId {
        let stage = self.add(Some(parent), name, at.0, at.1);
        let busy = (at.1 - at.0).saturating_sub(waits.0 + waits.1);
        self.set(stage, attr::BUSY_NS, busy * US);
        self.set(stage, attr::WAIT_INPUT_NS, waits.0 * US);
        self.set(stage, attr::WAIT_OUTPUT_NS, waits.1 * US);
        stage
    }

    /// One layer from `start`, its bytes arriving until `arrived`, all done at `end`.
    pub(crate) fn layer(&mut self, pull: SpanId, index: usize, start: u64, arrived: u64, end: u64) -> SpanId {
        let layer = self.add(Some(pull), span::LAYER_PULL, start, end);
        let digit = char::from_digit((index % 16) as u32, 16).expect("below 16");
        self.set(layer, attr::LAYER_INDEX, index);
        self.set(layer, attr::LAYER_DIGEST, format!("sha256:{digit}b08{}", "0".repeat(60)));
        self.set(layer, attr::LAYER_SIZE, 16_000_000usize);
        self.set(layer, attr::LAYER_SIZE_UNPACKED, 41_000_000usize);
        let (first, last, length) = (start + 2_000, end - 500, arrived - start);
        let download = self.stage(layer, span::LAYER_DOWNLOAD, (start + 500, arrived), (length * 6 / 10, length / 10));
        self.request(download, start + 500, [0, 0, 0, 1_500, arrived - first]);
        let verify = self.stage(layer, span::LAYER_VERIFY, (first, arrived + 200), (length / 2, 0));
        let unpack =
            self.stage(layer, span::LAYER_DECOMPRESS, (first + 100, arrived + 1_000), (length / 2, length / 10));
        let extract = self.stage(layer, span::LAYER_EXTRACT, (first + 400, last), (length / 3, 0));
        self.set(extract, attr::FILES, 2_166);
        let commit = self.add(Some(layer), span::LAYER_COMMIT, last, end);
        for (later, earlier) in [(verify, download), (unpack, download), (extract, unpack), (commit, extract)] {
            self.wait(later, earlier);
        }
        layer
    }

    /// Everything after the image is there; returns when it ends.
    pub(crate) fn container(&mut self, run: SpanId, start: u64, after: SpanId) -> u64 {
        let create = self.add(Some(run), span::CONTAINER_CREATE, start, start + 400);
        self.wait(create, after);
        self.add(Some(create), span::ROOTFS_MOUNT, start + 10, start + 230);
        self.add(Some(create), span::CGROUP_CREATE, start + 230, start + 280);
        self.add(Some(create), span::NETWORK_SETUP, start + 280, start + 390);
        let at = start + 420;
        let begin = self.add(Some(run), span::CONTAINER_START, at, at + 1_200);
        self.wait(begin, create);
        let mut from = at;
        for (name, length) in [
            (span::PROCESS_CLONE, 410),
            (span::INIT_NAMESPACES, 60),
            (span::INIT_MOUNTS, 290),
            (span::INIT_PIVOT_ROOT, 70),
            (span::INIT_HARDENING, 180),
            (span::PROCESS_EXEC, 180),
        ] {
            self.add(Some(begin), name, from, from + length);
            from += length;
        }
        let ran = self.add(Some(run), span::CONTAINER_RUN, at + 1_200, at + 1_500);
        self.wait(ran, begin);
        let exit = self.add(Some(run), span::CONTAINER_EXIT, at + 1_500, at + 1_550);
        self.wait(exit, ran);
        self.set(exit, attr::CPU_USER_NS, 120 * US);
        self.set(exit, attr::CPU_SYSTEM_NS, 310 * US);
        self.set(exit, attr::MEMORY_PEAK, 1_220_000);
        let from = at + 1_560;
        let cleanup = self.add(Some(run), span::CONTAINER_CLEANUP, from, from + 500);
        self.wait(cleanup, exit);
        self.add(Some(cleanup), span::NETWORK_TEARDOWN, from, from + 20);
        self.add(Some(cleanup), span::ROOTFS_UNMOUNT, from + 20, from + 330);
        self.add(Some(cleanup), span::CGROUP_REMOVE, from + 330, from + 400);
        self.add(Some(cleanup), span::CONTAINER_REMOVE, from + 400, from + 490);
        from + 500
    }
}

/// A warm run of 4.1 ms, 22 spans.
pub(crate) fn warm() -> Trace {
    let mut s = Sample::new();
    let run = s.run("docker.io/library/hello-world", "warm", "docker.io", 0);
    let check = s.add(Some(run), span::CACHE_CHECK, 80, 190);
    s.set(check, attr::CACHE, "hit");
    let end = s.container(run, 200, check) + 30;
    s.span(run).end = EPOCH + end * US;
    s.done()
}

/// A cold run with `layers` layers that overlap, three downloads at a time, each waiting for the one three before it.
pub(crate) fn cold(layers: usize) -> Trace {
    let mut s = Sample::new();
    let run = s.run("docker.io/demo/layers", "cold", "builtin", 0);
    let check = s.add(Some(run), span::CACHE_CHECK, 100, 250);
    s.set(check, attr::CACHE, "miss");
    let pull = s.add(Some(run), span::IMAGE_PULL, 260, 0);
    s.wait(pull, check);
    s.set(pull, attr::LAYERS, layers);
    s.set(pull, attr::BYTES_WIRE, layers * 16_000_000);
    s.set(pull, attr::BYTES_UNPACKED, layers * 41_000_000);
    let manifest = s.add(Some(pull), span::MANIFEST_FETCH, 270, 4_870);
    s.request(manifest, 280, [400, 900, 1_800, 1_300, 180]);
    let config = s.add(Some(pull), span::CONFIG_FETCH, 4_880, 6_300);
    s.wait(config, manifest);
    s.request(config, 4_890, [0, 0, 0, 1_300, 100]);
    let mut all: Vec<(SpanId, u64)> = Vec::new();
    for index in 0..layers {
        let free = if index < 3 { 6_310 + 10 * index as u64 } else { all[index - 3].1 };
        let arrived = free + 30_000 + 4_000 * (index as u64 % 4);
        let layer = s.layer(pull, index, free, arrived, arrived + 6_000);
        s.wait(layer, if index < 3 { config } else { all[index - 3].0 });
        all.push((layer, arrived + 6_000));
    }
    let last = all.iter().map(|(_, end)| *end).max().unwrap_or(6_310);
    let commit = s.add(Some(pull), span::IMAGE_COMMIT, last + 20, last + 400);
    for (layer, _) in &all {
        s.wait(commit, *layer);
    }
    s.span(pull).end = EPOCH + (last + 410) * US;
    let end = s.container(run, last + 430, pull) + 40;
    s.span(run).end = EPOCH + end * US;
    s.done()
}

/// A pull that ended with a wrong digest.
pub(crate) fn failed() -> Trace {
    const MESSAGE: &str =
        "the blob `sha256:3b08…` has the digest `sha256:77aa…`: the registry sent other bytes than the manifest names";
    let mut s = Sample::new();
    let run = s.run("registry.example.com/a/very/long/path/to/some/image", "cold", "registry.example.com", 40_000);
    let pull = s.add(Some(run), span::IMAGE_PULL, 200, 39_900);
    s.set(pull, attr::LAYERS, 1);
    let manifest = s.add(Some(pull), span::MANIFEST_FETCH, 270, 4_870);
    let get = s.request(manifest, 280, [400, 900, 0, 1_300, 180]);
    s.fail(get, "http_503", "the registry answered 503");
    s.request(manifest, 3_280, [0, 0, 0, 1_300, 180]);
    let layer = s.add(Some(pull), span::LAYER_PULL, 5_000, 39_000);
    s.set(layer, attr::LAYER_INDEX, 0);
    s.set(layer, attr::LAYER_DIGEST, format!("sha256:3b08{}", "0".repeat(60)));
    s.add(Some(layer), span::LAYER_DOWNLOAD, 5_100, 38_000);
    let verify = s.add(Some(layer), span::LAYER_VERIFY, 6_000, 38_500);
    for id in [verify, layer, pull, run] {
        s.fail(id, "digest_mismatch", MESSAGE);
    }
    s.done()
}

/// Names and attributes of a stranger who means ill.
pub(crate) fn foreign() -> Trace {
    let mut s = Sample::new();
    let root = s.add(None, "\u{1b}[2J\u{1b}]0;owned\u{7}checkout \u{202e}evil", 0, 900_000);
    let a = s.add(Some(root), "GET /api/層層層層層層層層層層層層層層層層層層層層/{id}", 10_000, 500_000);
    s.add(Some(a), "SELECT shop.orders\r\nDROP", 20_000, 480_000);
    let b = s.add(Some(root), "👩‍👩‍👧 family \u{200b}\u{9b}31m", 400_000, 880_000);
    s.fail(b, "x", "boom\u{1b}[31m red \u{7f}");
    s.add(Some(SpanId(0xdead)), "orphan", 600_000, 950_000);
    s.set(root, attr::CONTAINER_IMAGE_NAME, "\u{1b}[31mdocker.io/x");
    s.done()
}
