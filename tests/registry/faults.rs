//! Connections and bodies that break, stall, never end or are no HTTP.

use std::time::Duration;

use tokio::time::timeout;
use trace_run::error::Failure;
use trace_run::record::model::Trace;
use trace_run::registry::{Options, RegistryError};

use super::server::*;

async fn pulled(
    fault: impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Vec<u8>, RegistryError>, Trace, Server) {
    let image = Image::new();
    let server = Server::start(move |seen| fault(seen, &image).unwrap_or_else(|| image.serve(seen))).await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let result = timeout(Duration::from_secs(60), pull.everything(&reference)).await.expect("it ends");
    (result, pull.finish(), server)
}

async fn fails(fault: impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync + 'static) -> (String, &'static str) {
    let error = pulled(fault).await.0.unwrap_err();
    assert!(!error.is_unreachable(), "it was reached: {error}");
    (error.to_string(), error.kind())
}

fn head(length: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {INDEX}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out =
        format!("HTTP/1.1 200 OK\r\nContent-Type: {INDEX}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len())
            .into_bytes();
    out.extend(body);
    out.extend(b"\r\n");
    out
}

#[tokio::test]
async fn truncated_bodies_say_how_far_they_came() {
    let (error, kind) = fails(|seen, image| {
        let mut bytes = head(image.layer.len());
        bytes.extend(&image.layer[..1000]);
        is_blob_of(seen, &image.layer).then_some(Reply::Close(bytes))
    })
    .await;
    assert_eq!(kind, "truncated");
    assert!(error.contains("got 1000 bytes, expected 1200000; it was tried 5 times"), "{error}");

    let (error, kind) = fails(|seen, image| is_index(seen).then(|| Reply::Close(chunked(&image.index)))).await;
    assert_eq!(kind, "truncated");
    assert!(error.contains("expected more"), "{error}");

    // An end that is proper HTTP, only too soon; and no length at all.
    let (error, kind) = fails(|seen, image| {
        let mut bytes = chunked(&image.layer[..1000]);
        bytes.extend(b"0\r\n\r\n");
        is_blob_of(seen, &image.layer).then_some(Reply::Close(bytes))
    })
    .await;
    assert_eq!(kind, "truncated");
    assert!(error.contains("got 1000 bytes, expected 1200000; it was tried 5 times"), "{error}");
    let (_, kind) = fails(|seen, image| {
        let bytes = [b"HTTP/1.1 200 OK\r\n\r\n", &image.layer[..1000]].concat();
        is_blob_of(seen, &image.layer).then_some(Reply::Close(bytes))
    })
    .await;
    assert_eq!(kind, "truncated");
}

#[tokio::test]
async fn wrong_sizes_are_refused() {
    let (error, kind) = fails(|seen, image| is_blob_of(seen, &image.layer).then(|| ok("x/y", &image.layer[1..]))).await;
    assert_eq!(kind, "size_mismatch");
    assert!(error.ends_with("got 1199999 bytes, expected 1200000") || error.contains("got 1199999"), "{error}");
    let longer = |bytes: &[u8]| [bytes, b"x"].concat();
    let (error, kind) =
        fails(move |seen, image| is_blob_of(seen, &image.config).then(|| ok("x/y", longer(&image.config)))).await;
    assert_eq!(kind, "size_mismatch", "{error}");
    let (error, kind) =
        fails(move |seen, image| is_blob_of(seen, &image.layer).then(|| Reply::Hang(chunked(&longer(&image.layer)))))
            .await;
    assert_eq!(kind, "size_mismatch");
    assert!(error.contains("at least 1200001"), "{error}");
}

#[tokio::test]
async fn endless_bodies_are_cut_off() {
    let mebi = |n: usize| vec![b' '; n << 20];
    let (error, kind) = fails(move |seen, _| is_index(seen).then(|| Reply::Hang(head(5 << 20)))).await;
    assert_eq!(kind, "too_large");
    assert!(error.contains("5242880 bytes or more, at most 4194304"), "{error}");
    let chunk = [b"100000\r\n".to_vec(), mebi(1), b"\r\n".to_vec()].concat();
    let again = chunk.clone();
    let (_, kind) = fails(move |seen, _| {
        let first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        is_index(seen).then(|| Reply::Endless(first, again.clone()))
    })
    .await;
    assert_eq!(kind, "too_large");
    // Also where only a status matters: a 500 whose page never ends is still only a 500.
    let (_, kind) = fails(move |seen, _| {
        let first = b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        is_index(seen).then(|| Reply::Endless(first, chunk.clone()))
    })
    .await;
    assert_eq!(kind, "http_status");
}

#[tokio::test]
async fn silence_ends_after_the_stall_timeout() {
    let after_1000 = |image: &Image| [&head(image.layer.len()), &image.layer[..1000]].concat();
    for (nothing_after, got) in [("index", 0), ("head", 0), ("layer", 1000)] {
        let image = Image::new();
        let server = Server::start(move |seen| match nothing_after {
            "index" if is_index(seen) => Reply::Hang(vec![]),
            "head" if is_index(seen) => Reply::Hang(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
            "layer" if is_blob_of(seen, &image.layer) => Reply::Hang(after_1000(&image)),
            _ => image.serve(seen),
        })
        .await;
        let pull = Pull::with(Options { stall_timeout: Duration::from_millis(700), ..options() });
        let reference = server.image("team/app");
        let error = timeout(Duration::from_secs(60), pull.everything(&reference)).await.expect("it ends").unwrap_err();
        assert_eq!(error.kind(), "timeout", "{error}");
        assert!(error.to_string().contains(&format!("nothing for 0.7 s, got {got} bytes")), "{error}");
        pull.finish();
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    for bytes in [
        b"\0\xff\xfe garbage\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"HTTP/1.1 999999 OK\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\n: x\r\n\r\n".to_vec(),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (error, kind) = fails(move |seen, _| is_index(seen).then(|| Reply::Close(bytes.clone()))).await;
        assert_eq!(kind, "connection", "{shown}: {error}");
        assert!(!error.contains('\0'), "{error}");
    }
    for bytes in [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n".to_vec(),
    ] {
        let (error, kind) = fails(move |seen, _| is_index(seen).then(|| Reply::Close(bytes.clone()))).await;
        assert_eq!(kind, "truncated", "{error}");
    }
}

#[tokio::test]
async fn endless_heads_are_cut_off() {
    for line in [b"X-Filler: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".to_vec(), vec![b'y'; 65536]] {
        let (error, kind) = fails(move |seen, _| {
            is_index(seen).then(|| Reply::Endless(b"HTTP/1.1 200 OK\r\nX: ".to_vec(), line.clone()))
        })
        .await;
        assert_eq!(kind, "connection");
        assert!(error.contains("over 64 KB or 100 lines"), "{error}");
    }
}

#[tokio::test]
async fn a_large_head_is_refused_even_if_it_ends() {
    let with_header = |size: usize| {
        move |seen: &Seen, image: &Image| {
            let headers = vec![("Content-Type", INDEX.to_owned()), ("X-Filler", "y".repeat(size))];
            is_index(seen).then(|| Reply::Http(200, headers, image.index.clone()))
        }
    };
    pulled(with_header(30 << 10)).await.0.unwrap();
    let (error, kind) = fails(with_header(80 << 10)).await;
    assert_eq!(kind, "connection");
    assert!(error.contains("over 64 KB or 100 lines"), "{error}");
}

#[tokio::test]
async fn a_closed_connection_is_tried_again() {
    let (result, trace, server) =
        pulled(|seen, _| (is_index(seen) && seen.nth < 2).then(|| Reply::Close(b"HTTP/1.1 200 OK\r\nConte".to_vec())))
            .await;
    result.unwrap();
    let gets = named(&trace, "GET");
    let resent: Vec<_> = gets.iter().take(3).map(|g| g.attributes.int("http.request.resend_count")).collect();
    assert_eq!(resent, [None, Some(1), Some(2)]);
    assert!(gets[0].status.is_error() && gets[1].status.is_error() && !gets[2].status.is_error());
    assert!(named(&trace, "manifest.fetch")[0].status == Default::default(), "in the end it went well");
    assert_eq!(server.connections(), 3);
    let (error, kind) = fails(|seen, _| is_index(seen).then(|| Reply::Close(vec![]))).await;
    assert_eq!(kind, "connection", "{error}");
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    // Closed in the very moment the next request arrives, as a server does whose patience just ended.
    let image = Image::new();
    let server = Server::start(move |seen| match is_blob_of(seen, &image.config) && seen.nth == 0 {
        true => Reply::Close(vec![]),
        false => image.serve(seen),
    })
    .await;
    let pull = Pull::with(Options { retry_pause: Duration::from_secs(3600), ..options() });
    let reference = server.image("team/app");
    timeout(Duration::from_secs(60), pull.everything(&reference)).await.expect("there is no pause").unwrap();
    let trace = pull.finish();
    assert_eq!(server.connections(), 2);
    let gets = children(&trace, named(&trace, "config.fetch")[0]);
    let reused: Vec<_> = gets.iter().map(|g| g.attributes.bool("trace.connection.reused").unwrap()).collect();
    assert_eq!(reused, [true, false]);
}

#[tokio::test]
async fn servers_in_trouble_are_asked_five_times() {
    for trouble in [408, 500, 502, 503, 504] {
        let (result, trace, _) = pulled(move |seen, _| (is_index(seen) && seen.nth < 2).then(|| status(trouble))).await;
        result.unwrap();
        let gets = children(&trace, named(&trace, "manifest.fetch")[0]);
        assert_eq!(gets.len(), 4);
        assert_eq!(gets[0].attributes.str("error.type"), Some(&*trouble.to_string()));
        assert_eq!(gets[2].attributes.int("http.request.resend_count"), Some(2));
    }
    let (result, trace, server) = pulled(|seen, _| {
        is_index(seen)
            .then(|| Reply::Http(503, vec![], br#"{"errors":[{"code":"UNAVAILABLE","message":"back soon"}]}"#.to_vec()))
    })
    .await;
    let error = result.unwrap_err().to_string();
    assert!(error.contains("answered with status 503: unavailable: back soon; it was tried 5 times in "), "{error}");
    assert_eq!((server.seen().len(), named(&trace, "GET").len()), (5, 5));
    let (_, trace, _) = pulled(|seen, _| is_index(seen).then(|| status(400))).await;
    assert_eq!(named(&trace, "GET").len(), 1, "our own mistakes are not repeated");
}

#[tokio::test]
async fn rate_limits_are_told_apart() {
    let again = |after: &str| Reply::Http(429, vec![("Retry-After", after.to_owned())], vec![]);
    let (result, _, server) = pulled(move |seen, _| (is_index(seen) && seen.nth == 0).then(|| again("0"))).await;
    result.unwrap();
    assert_eq!(server.seen().iter().filter(|s| is_index(s)).count(), 2);
    let (result, _, server) = pulled(move |seen, _| is_index(seen).then(|| again("0"))).await;
    assert_eq!(result.unwrap_err().kind(), "rate_limited");
    assert_eq!(server.seen().len(), 5, "short pauses are made");
    let (result, trace, server) = pulled(|seen, _| {
        let headers = vec![
            ("RateLimit-Limit", "100;w=21600".to_owned()),
            ("RateLimit-Remaining", "0;w=21600".into()),
            ("Docker-RateLimit-Source", "203.0.113.7".into()),
            ("Retry-After", "1200".into()),
        ];
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        is_index(seen).then(|| Reply::Http(429, headers, body.to_vec()))
    })
    .await;
    assert_eq!(
        result.unwrap_err().to_string(),
        format!(
            "`{}` refuses more requests for now (status 429); limit 100 in 6 h, 0 in 6 h left, counted for \
            `203.0.113.7`, \
             to be asked again after `1200 s`: toomanyrequests: You have reached your pull rate limit.",
            server.address
        )
    );
    assert_eq!(server.seen().len(), 1, "a quota is not tried against");
    let get = named(&trace, "GET")[0];
    assert_eq!(get.attributes.str("http.response.header.ratelimit-limit"), Some("100;w=21600"));
    assert_eq!(get.attributes.str("http.response.header.docker-ratelimit-source"), Some("203.0.113.7"));
}
