use std::time::{Duration, Instant};

use trace_run::digest::Digest;
use trace_run::record::model::{Kind, Span};
use trace_run::registry::Options;
use trace_run::stage;

use super::common::server::Silence;
use super::server::*;

fn names(spans: &[&Span]) -> Vec<String> {
    spans.iter().map(|s| s.name.to_string()).collect()
}

#[tokio::test]
async fn a_pull_is_a_tree_of_network_steps() {
    let image = Image::new();
    let served = image.clone();
    let server = Server::start(move |seen| served.serve(seen)).await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let resolved = pull.manifest(&reference).await.unwrap();
    assert_eq!(resolved.top_digest, Digest::of(&image.index));
    assert_eq!(resolved.index.as_ref().unwrap().bytes, image.index);
    assert_eq!(resolved.manifest.bytes, image.manifest);
    assert_eq!(resolved.platform, Some(amd64()));
    let (raw, config) = pull.client.config(&pull.parent, &reference, &resolved).await.unwrap();
    assert_eq!((raw.bytes.as_ref(), config.run.cmd.unwrap().0), (image.config.as_slice(), vec!["/hello".to_owned()]));
    assert_eq!(pull.layer(&reference, &resolved).await.unwrap(), image.layer);

    assert_eq!(server.connections(), 1, "one connection does for one after another");
    assert!(server.seen()[0].headers["user-agent"].starts_with("trace/"));
    assert_eq!(server.seen()[0].headers["host"], server.address.to_string());

    let trace = pull.finish();
    let root = trace.root().unwrap();
    assert_eq!(names(&children(&trace, root)), ["manifest.fetch", "config.fetch", "layer.download"]);
    let manifest = named(&trace, "manifest.fetch")[0];
    assert_eq!(manifest.attributes.str("trace.media_type"), Some(MANIFEST));
    assert_eq!(manifest.attributes.str("oci.manifest.digest"), Some(&*Digest::of(&image.manifest).to_string()));
    assert_eq!(manifest.attributes.str("trace.platform"), Some("linux/amd64"));
    let config = named(&trace, "config.fetch")[0];
    assert_eq!(config.attributes.int("trace.config.size"), Some(image.config.len() as i64));

    let gets = children(&trace, manifest);
    assert_eq!(names(&gets), ["GET", "GET"]);
    // A literal address is not looked up, and plain HTTP has no handshake.
    assert_eq!(names(&children(&trace, gets[0])), ["tcp.connect", "http.wait", "http.receive"]);
    for get in named(&trace, "GET").iter().skip(1) {
        assert_eq!(names(&children(&trace, get)), ["http.wait", "http.receive"], "a kept connection");
        assert_eq!(get.attributes.bool("trace.connection.reused"), Some(true));
    }
    let first = &gets[0];
    assert_eq!(first.kind, Kind::Client);
    let a = &first.attributes;
    assert_eq!(a.str("http.request.method"), Some("GET"));
    assert_eq!(a.int("http.response.status_code"), Some(200));
    assert_eq!(a.str("server.address"), Some("127.0.0.1"));
    assert_eq!(a.int("server.port"), Some(server.address.port().into()));
    assert_eq!(a.str("url.full"), Some(&*format!("http://{}/v2/team/app/manifests/latest", server.address)));
    assert_eq!(a.str("network.protocol.version"), Some("1.1"));
    assert_eq!(a.str("network.peer.address"), Some("127.0.0.1"));
    assert_eq!(a.int("http.response.body.size"), Some(image.index.len() as i64));
    assert_eq!(a.bool("trace.connection.reused"), Some(false));
    assert_eq!(a.get("http.request.resend_count"), None);
    let download = named(&trace, "layer.download")[0];
    let get = children(&trace, download)[0];
    assert_eq!(get.attributes.int("http.response.body.size"), Some(image.layer.len() as i64));
    assert!(trace.spans.iter().all(|s| !s.status.is_error()));
}

#[tokio::test]
async fn a_name_is_looked_up_once() {
    let image = Image::new();
    let server =
        Server::start(move |seen| if is_index(seen) { Reply::ThenClose(503, vec![]) } else { image.serve(seen) }).await;
    let pull = Pull::new();
    let reference = format!("localhost:{}/app", server.address.port()).parse().unwrap();
    pull.manifest(&reference).await.unwrap_err();
    assert_eq!(server.connections(), 5);
    let trace = pull.finish();
    assert_eq!(named(&trace, "dns.lookup").len(), 1);
    assert_eq!(named(&trace, "dns.lookup")[0].attributes.str("dns.question.name"), Some("localhost"));
    assert_eq!(named(&trace, "tcp.connect").len(), 5);
    assert_eq!(named(&trace, "tcp.connect")[0].attributes.str("network.peer.address"), Some("127.0.0.1"));
}

#[tokio::test]
async fn a_queued_request_shows_its_waiting_inside_get() {
    let image = Image::new();
    let layer = image.layer.clone();
    let server = Server::start(move |seen| image.serve(seen)).await;
    let pull = Pull::with(Options { connections_per_origin: 1, ..options() });
    let reference = server.image("app");
    let resolved = pull.manifest(&reference).await.unwrap();
    let (begun, wait_for_begin) = tokio::sync::oneshot::channel();
    let first = async {
        let stage = stage!("layer.download", in &pull.parent);
        let mut blob = pull.client.blob(&stage, &reference, &resolved.layers[0], 0, &|_| {}).await.unwrap();
        begun.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut size = 0;
        while let Some(chunk) = blob.chunk().await {
            size += chunk.unwrap().len();
        }
        assert_eq!(size, layer.len());
    };
    let second = async {
        wait_for_begin.await.unwrap();
        pull.layer(&reference, &resolved).await.unwrap();
    };
    tokio::join!(first, second);
    assert_eq!(server.connections(), 1);
    let trace = pull.finish();
    let mut gets = named(&trace, "GET");
    gets.sort_by_key(|g| g.start);
    let [.., holder, queued] = gets[..] else { panic!() };
    assert!(queued.start < holder.end, "it began while the connection was taken");
    let steps = children(&trace, queued);
    assert_eq!(names(&steps), ["http.wait", "http.receive"]);
    let connection_free = children(&trace, holder)[1].end;
    assert!(steps[0].start >= connection_free, "and was sent when it was free");
}

#[tokio::test]
async fn a_blob_given_up_closes_its_connection_and_says_so() {
    let image = Image::new();
    let server = Server::start(move |seen| image.serve(seen)).await;
    let pull = Pull::new();
    let reference = server.image("app");
    let resolved = pull.manifest(&reference).await.unwrap();
    let mut blob = pull.client.blob(&pull.parent, &reference, &resolved.layers[0], 0, &|_| {}).await.unwrap();
    blob.chunk().await.unwrap().unwrap();
    drop(blob);
    pull.layer(&reference, &resolved).await.unwrap();
    assert_eq!(server.connections(), 2);
    let trace = pull.finish();
    let given_up: Vec<_> = trace.spans.iter().filter(|s| s.attributes.str("error.type") == Some("cancelled")).collect();
    assert_eq!(names(&given_up), ["GET", "http.receive"]);
}

#[tokio::test]
async fn nothing_there_is_known_soon_and_for_what_it_is() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silence = Silence::new();
    for (reference, step) in [
        (format!("{closed}/app"), "tcp.connect"),
        ("no-such-host.invalid/app".to_owned(), "dns.lookup"),
        (format!("{}/app", silence.address), "tcp.connect"),
    ] {
        let pull = Pull::with(Options { connect_timeout: Duration::from_millis(800), ..options() });
        let begin = Instant::now();
        let error = pull.manifest(&reference.parse().unwrap()).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?} for {reference}", begin.elapsed());
        assert!(error.to_string().starts_with("cannot reach `"), "{error}");
        let trace = pull.finish();
        assert_eq!(named(&trace, "GET").len(), 1, "the first contact is not retried");
        for name in ["manifest.fetch", "GET", step] {
            assert!(named(&trace, name)[0].status.is_error(), "{name} of {reference}");
        }
    }
}
