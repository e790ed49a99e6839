use super::*;
use crate::analyze::samples::Sample;

fn named(trace: &Trace, id: SpanId) -> &str {
    &trace.span(id).unwrap().name
}

#[test]
fn what_depends_on_its_surroundings() {
    // A push, an old daemon's pull, a layer without a digest, a call's two sides.
    let mut s = Sample::new();
    let root = s.add(None, "client", 0, 1000);
    let push = s.add(Some(root), "containerd.services.transfer.v1.Transfer/Transfer", 0, 10);
    let old = s.add(Some(root), "POST /v1.24/images/create", 10, 100);
    let get = s.add(Some(old), "remotes.docker.resolver.HTTPRequest", 20, 30);
    s.set(get, "http.request.method", "GET");
    let inner = s.add(Some(get), "HTTP GET", 20, 30);
    s.set(inner, "http.method", "GET");
    let odd = s.add(Some(old), "remotes.docker.resolver.HTTPRequest", 30, 40);
    s.set(odd, "http.request.method", "BREW");
    let extract = s.add(Some(old), "extract", 40, 50);
    let new = s.add(Some(root), "POST /images/create", 100, 200);
    let pull = s.add(Some(new), "pull.Pull", 110, 190);
    let client = s.add(Some(root), "/runtime.v1.RuntimeService/CreateContainer", 200, 300);
    let server = s.add(Some(client), "runtime.v1.RuntimeService/CreateContainer", 210, 290);
    let start = s.add(Some(root), "POST /v1.47/containers/4f2a91c0/start", 300, 400);
    let mut trace = s.done();
    let before = trace.clone();
    assert_eq!(apply(&mut trace), 5);
    let names = [push, old, get, inner, odd, extract, new, pull, client, server, start].map(|id| named(&trace, id));
    assert_eq!(
        names,
        [
            "containerd.services.transfer.v1.Transfer/Transfer",
            "image.pull",
            "GET",
            "HTTP GET",
            "remotes.docker.resolver.HTTPRequest",
            "extract",
            "POST /images/create",
            "image.pull",
            "container.create",
            "runtime.v1.RuntimeService/CreateContainer",
            "container.start",
        ]
    );
    // The client did all of it, so it is a run: it started one container.
    assert_eq!((named(&trace, root), trace.root().unwrap().attributes.str(attr::OBSERVED_BY)), ("run", Some("trace")));
    assert_eq!(apply(&mut trace), 0, "once is enough");
    undo(&mut trace);
    assert_eq!(trace, before);
}

#[test]
fn a_clients_span_that_is_missing_is_put_back_only_where_all_hang_below_it() {
    let build = |other: Option<SpanId>| {
        let mut s = Sample::new();
        let client = Some(SpanId(7));
        let create = s.add(client, "POST /containers/create", 100, 200);
        s.set(create, "image.ref", "busybox:1.36");
        s.add(client, "POST /containers/{name:.*}/start", 300, 400);
        s.add(other, "unknown", 50, 60);
        let mut trace = s.done();
        apply(&mut trace);
        trace
    };
    let trace = build(Some(SpanId(7)));
    let root = trace.root().unwrap();
    assert_eq!((root.id, root.name.as_ref(), root.duration()), (SpanId(7), "run", 350_000));
    assert_eq!(root.attributes.str(attr::CONTAINER_IMAGE_NAME), Some("docker.io/library/busybox"));
    assert_eq!(
        (root.attributes.str(attr::RUN_KIND), root.attributes.str(attr::HUB)),
        (Some("warm"), Some("docker.io"))
    );
    for other in [None, Some(SpanId(8))] {
        assert!(build(other).spans.iter().all(|s| s.attributes.get(attr::INFERRED).is_none()));
    }
}

#[test]
fn ours_and_strangers_are_left_alone() {
    for mut trace in [crate::analyze::samples::cold(3), {
        let mut s = Sample::new();
        s.add(None, "GET /cart", 0, 10);
        let get = s.add(None, "HTTP GET", 0, 10);
        s.set(get, "http.method", "GET");
        s.done()
    }] {
        let before = trace.clone();
        assert_eq!(apply(&mut trace), 0);
        assert_eq!(trace, before);
    }
}

#[test]
fn references() {
    for (reference, expected) in [
        ("busybox", Some(("docker.io", "docker.io/library/busybox", None))),
        ("a/b:1", Some(("docker.io", "docker.io/a/b", Some("1")))),
        ("localhost/b@sha256:00", Some(("localhost", "localhost/b", None))),
        ("127.0.0.1:5000/a/b:x", Some(("127.0.0.1:5000", "127.0.0.1:5000/a/b", Some("x")))),
        ("", None),
    ] {
        let expected =
            expected.map(|(h, n, t): (&str, &str, Option<&str>)| (h.to_owned(), n.to_owned(), t.map(str::to_owned)));
        assert_eq!(image(reference), expected, "{reference}");
    }
}
