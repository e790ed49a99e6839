//! What breaks off, drips or stops: tried again, gone on with, or given up in time.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trace_run::error::Failure;
use trace_run::registry::{Options, RegistryError};

use super::server::*;
use crate::common::image::{Image as Runnable, Layer};
use crate::common::lab::{Lab, eventually};
use crate::common::{is_root, needs};

/// A server whose layer breaks off after some bytes, so many times, and then goes on as `rest` says.
async fn broken_off(
    times: usize,
    rest: impl Fn(&Seen, &[u8]) -> Reply + Send + Sync + 'static,
) -> (Result<Vec<u8>, RegistryError>, Image, Server, trace_run::record::model::Trace) {
    let image = Image::new();
    let served = image.clone();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if !is_blob_of(seen, &served.layer) {
            return served.serve(seen);
        }
        if count.fetch_add(1, Ordering::SeqCst) < times {
            let mut bytes =
                format!("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: {}\r\n\r\n", served.layer.len())
                    .into_bytes();
            bytes.extend(&served.layer[..500_000]);
            return Reply::Close(bytes);
        }
        rest(seen, &served.layer)
    })
    .await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let result = pull.everything(&reference).await;
    (result, image, server, pull.finish())
}

/// What a server with ranges answers.
fn part(seen: &Seen, layer: &[u8]) -> Reply {
    let Some(range) = seen.headers.get("range") else { return ok("application/octet-stream", layer) };
    let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
    let range = format!("bytes {from}-{}/{}", layer.len() - 1, layer.len());
    Reply::Http(206, vec![("Content-Range", range)], layer[from..].to_vec())
}

fn ranges(server: &Server, image: &Image) -> Vec<Option<String>> {
    let blobs = server.seen().into_iter().filter(|s| is_blob_of(s, &image.layer));
    blobs.map(|s| s.headers.get("range").cloned()).collect()
}

#[tokio::test]
async fn a_layer_goes_on_where_it_broke_off() {
    let (result, image, server, trace) = broken_off(1, part).await;
    assert_eq!(result.unwrap(), image.layer);
    assert_eq!(ranges(&server, &image), [None, Some("bytes=500000-".to_owned())]);
    let again = server.seen().into_iter().rfind(|s| is_blob_of(s, &image.layer)).unwrap();
    assert_eq!(again.headers["if-range"], "\"v1\"");
    let gets = children(&trace, named(&trace, "layer.download")[0]);
    assert_eq!(gets[1].attributes.str("http.request.header.range"), Some("bytes=500000-"));
    assert_eq!(gets[1].attributes.int("http.response.status_code"), Some(206));
    assert_eq!(gets[1].attributes.int("http.response.body.size"), Some(700_000));
}

#[tokio::test]
async fn a_server_without_ranges_sends_it_all_again() {
    type Rest = fn(&Seen, &[u8]) -> Reply;
    let cases: [(&str, Rest); 5] = [
        ("it ignores the range", |_, layer| ok("application/octet-stream", layer)),
        ("another part", |seen, layer| match seen.headers.contains_key("range") {
            true => {
                let range = format!("bytes 400000-{}/{}", layer.len() - 1, layer.len());
                Reply::Http(206, vec![("Content-Range", range)], layer[400_000..].to_vec())
            }
            false => ok("application/octet-stream", layer),
        }),
        ("another whole", |seen, layer| match seen.headers.contains_key("range") {
            true => Reply::Http(
                206,
                vec![("Content-Range", "bytes 500000-599999/600000".into())],
                layer[..100_000].to_vec(),
            ),
            false => ok("application/octet-stream", layer),
        }),
        ("no Content-Range", |seen, layer| match seen.headers.contains_key("range") {
            true => Reply::Http(206, vec![], layer[500_000..].to_vec()),
            false => ok("application/octet-stream", layer),
        }),
        ("416", |seen, layer| match seen.headers.contains_key("range") {
            true => status(416),
            false => ok("application/octet-stream", layer),
        }),
    ];
    for (case, rest) in cases {
        let (result, image, _, _) = broken_off(1, rest).await;
        assert_eq!(result.unwrap_or_else(|e| panic!("{case}: {e}")), image.layer, "{case}");
    }
}

#[tokio::test]
async fn a_part_may_end_before_the_blob_does() {
    let (result, image, server, _) = broken_off(1, |seen, layer| {
        let from: usize = seen.headers["range"].trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        let to = (from + 300_000).min(layer.len());
        let range = format!("bytes {from}-{}/{}", to - 1, layer.len());
        Reply::Http(206, vec![("Content-Range", range)], layer[from..to].to_vec())
    })
    .await;
    assert_eq!(result.unwrap(), image.layer);
    assert_eq!(ranges(&server, &image).len(), 4);
}

#[tokio::test]
async fn it_is_given_up_after_five_tries_in_one_sentence() {
    let (result, image, server, _) = broken_off(99, |_, _| status(500)).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), "truncated");
    let text = error.to_string();
    assert!(text.contains("got 500000 bytes, expected 1200000; it was tried 5 times in 0"), "{text}");
    assert!(error.hint().unwrap().contains("not fetched again"));
    assert_eq!(ranges(&server, &image).len(), 5);
}

#[tokio::test]
async fn pauses_are_told() {
    let image = Image::new();
    let served = image.clone();
    let server = Server::start(move |seen| match is_blob_of(seen, &served.layer) && seen.nth < 2 {
        true => status(503),
        false => served.serve(seen),
    })
    .await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let resolved = pull.manifest(&reference).await.unwrap();
    let told = Mutex::new(Vec::new());
    let tell = |pause: Duration| told.lock().unwrap().push(pause);
    let mut blob = pull.client.blob(&pull.parent, &reference, &resolved.layers[0], 0, &tell).await.unwrap();
    while let Some(chunk) = blob.chunk().await {
        chunk.unwrap();
    }
    drop(blob);
    let told = told.lock().unwrap();
    let ms = Duration::from_millis;
    assert!(told.len() == 2 && told[0] >= ms(5) && told[0] < ms(8) && told[1] >= ms(15), "{told:?}");
}

/// Options with which nothing takes long.
fn impatient() -> Options {
    Options {
        document_timeout: Duration::from_millis(400),
        slowest: (2000, Duration::from_millis(400)),
        retry_pause: Duration::from_millis(1),
        ..options()
    }
}

#[tokio::test]
async fn what_drips_does_not_hold_anybody_up() {
    let drip = |body: &[u8]| Reply::Paced("application/json", body.to_vec(), 1, Duration::from_millis(20));
    let long = vec![b' '; 4000];
    for place in ["index", "config", "layer", "token", "explanation"] {
        let (image, long) = (Image::new(), long.clone());
        let begun = Arc::new(Instant::now());
        let server = Server::start(move |seen| match place {
            "index" if is_index(seen) => drip(&image.index),
            "config" if is_blob_of(seen, &image.config) => drip(&image.config),
            "layer" if is_blob_of(seen, &image.layer) => drip(&image.layer),
            "token" if seen.target.starts_with("/token") => drip(&long),
            "token" => Reply::Http(
                401,
                vec![("WWW-Authenticate", format!("Bearer realm=\"http://{}/token\"", seen.headers["host"]))],
                vec![],
            ),
            "explanation" => {
                let head = b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n".to_vec();
                Reply::Hang(head)
            }
            _ => image.serve(seen),
        })
        .await;
        let patient = Options { stall_timeout: Duration::from_millis(900), ..impatient() };
        let pull = Pull::with(if place == "explanation" { patient } else { impatient() });
        let error = pull.everything(&server.image("team/app")).await.unwrap_err();
        match place {
            "explanation" => assert_eq!(error.kind(), "manifest_unknown", "{error}"),
            _ => {
                assert_eq!(error.kind(), "timeout", "{place}: {error}");
                assert!(error.to_string().contains("sends too slowly"), "{place}: {error}");
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{place}");
        pull.finish();
    }
}

#[tokio::test]
async fn who_does_not_ask_for_more_has_not_waited() {
    let image = Image::new();
    let served = image.clone();
    let server = Server::start(move |seen| served.serve(seen)).await;
    let pull = Pull::with(impatient());
    let reference = server.image("team/app");
    let resolved = pull.manifest(&reference).await.unwrap();
    let mut blob = pull.client.blob(&pull.parent, &reference, &resolved.layers[0], 0, &|_| {}).await.unwrap();
    let mut got = blob.chunk().await.unwrap().unwrap().to_vec();
    // A disk that is busy is not the server's fault.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    while let Some(chunk) = blob.chunk().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, image.layer);
}

/// An image with one layer of 2 MB that gzip cannot make smaller.
fn large() -> Runnable {
    let mut state = 1u64;
    let noise: Vec<u8> = (0..2_000_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect();
    let tar = Layer::new().file("noise", 0o644, &noise).end();
    Runnable::new(&[&tar], serde_json::json!({"Cmd": ["/noise"]}))
}

/// Serves it; a request for the whole layer gets half of it, and then nothing more.
fn half(image: &Runnable) -> Server {
    let image = image.clone();
    Server::in_background(move |seen| {
        let digest = seen.target.rsplit('/').next().unwrap_or_default();
        if seen.target.contains("/manifests/") {
            return ok(MANIFEST, image.manifest.clone());
        }
        let blob = &image.blobs[digest];
        if *digest != image.layers[0] {
            return ok("application/octet-stream", blob.clone());
        }
        if seen.headers.contains_key("range") {
            return part(seen, blob);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len()).into_bytes();
        Reply::Hang([&head, &blob[..1_000_000]].concat())
    })
}

#[test]
fn a_pull_that_was_stopped_is_gone_on_with() {
    if !needs(is_root(), "root") {
        return;
    }
    let image = large();
    for signal in [Signal::KILL, Signal::INT] {
        let (lab, server) = (Lab::new(), half(&image));
        let name = format!("{}/app", server.address);
        let partial = lab.store("partial").join(image.layers[0].trim_start_matches("sha256:"));
        let pull = lab.start(&["pull", &name]);
        eventually("half of the layer", || fs::metadata(&partial).is_ok_and(|m| m.len() >= 900_000));
        pull.signal(signal);
        pull.wait();
        let kept = fs::metadata(&partial).unwrap().len();
        let (ran, trace) = lab.traced(&["pull", &name]);
        ran.ok();
        let asked = server.seen().into_iter().filter_map(|s| s.headers.get("range").cloned()).collect::<Vec<_>>();
        assert_eq!(asked, [format!("bytes={kept}-")]);
        let download = named(&trace, "layer.download")[0];
        let size = image.blobs[&image.layers[0]].len() as i64;
        assert_eq!(download.attributes.int("trace.bytes.kept"), Some(kept as i64));
        assert_eq!(download.attributes.int("trace.bytes"), Some(size - kept as i64));
        assert_eq!(named(&trace, "image.pull")[0].attributes.int("trace.bytes.wire"), Some(size - kept as i64));
        assert!(!partial.exists());
        lab.assert_clean(&[]);
    }
}

#[test]
fn what_was_kept_and_is_wrong_is_fetched_again() {
    if !needs(is_root(), "root") {
        return;
    }
    let (image, lab) = (large(), Lab::new());
    let served = image.clone();
    let server = Server::in_background(move |seen| {
        let digest = seen.target.rsplit('/').next().unwrap_or_default();
        match seen.target.contains("/manifests/") {
            true => ok(MANIFEST, served.manifest.clone()),
            false => part(seen, &served.blobs[digest]),
        }
    });
    let name = format!("{}/app", server.address);
    let blob = &image.blobs[&image.layers[0]];
    let partial = lab.store("partial").join(image.layers[0].trim_start_matches("sha256:"));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    for damaged in [vec![0; 500_000], blob[1..600_000].to_vec(), vec![7; blob.len()], vec![0; blob.len() + 1]] {
        fs::write(&partial, damaged).unwrap();
        lab.trace(&["pull", &name]).ok();
        lab.trace(&["image", "rm", &name]).ok();
        assert!(!partial.exists());
    }
    // Whole already: nothing is asked for.
    fs::write(&partial, blob).unwrap();
    let before = server.seen().len();
    lab.trace(&["pull", &name]).ok();
    assert_eq!(server.seen().len() - before, 2, "manifest and configuration");
    lab.trace(&["image", "rm", &name]).ok();
    // A cold run begins with nothing.
    fs::write(&partial, &blob[..1_000_000]).unwrap();
    let before = server.seen().len();
    lab.trace(&["run", "--cold", "--report", "none", &name]);
    assert!(server.seen()[before..].iter().all(|s| !s.headers.contains_key("range")));
    fs::write(&partial, &blob[..1000]).unwrap();
    lab.trace(&["prune", "-f"]).ok();
    assert!(!partial.exists());
}
