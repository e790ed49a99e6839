//! Tokens and redirects: who gets to see what.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trace_run::digest::Digest;
use trace_run::error::Failure;

use super::server::*;

fn challenge(realm: &str) -> Reply {
    let value = format!(r#"Bearer realm="{realm}",service="test",scope="repository:team/app:pull""#);
    let body = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    Reply::Http(401, vec![("WWW-Authenticate", value)], body.to_vec())
}

fn has_token(seen: &Seen) -> bool {
    seen.headers.get("authorization").map(String::as_str) == Some("Bearer s3cr3t-token")
}

/// A registry that wants a token from itself.
fn with_token(seen: &Seen, answer: impl Fn() -> Reply) -> Reply {
    if seen.target.starts_with("/token") {
        ok("application/json", r#"{"token":"s3cr3t-token","expires_in":300}"#)
    } else if has_token(seen) {
        answer()
    } else {
        challenge(&format!("http://{}/token?account=s3cr3t", seen.headers["host"]))
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_never_recorded() {
    let image = Image::new();
    let server = Server::start(move |seen| with_token(seen, || image.serve(seen))).await;
    let pull = Pull::new();
    pull.everything(&server.image("team/app")).await.unwrap();
    let targets: Vec<_> = server.seen().iter().map(|s| s.target.clone()).collect();
    assert_eq!(targets[1], "/token?account=s3cr3t&service=test&scope=repository:team/app:pull");
    assert_eq!(targets.iter().filter(|t| t.starts_with("/token")).count(), 1);
    assert!(!server.seen()[1].headers.contains_key("authorization"), "not to the token server");

    let trace = pull.finish();
    let auth = named(&trace, "registry.auth")[0];
    assert_eq!(auth.parent, Some(trace.root().unwrap().id));
    assert_eq!(auth.attributes.str("trace.auth.scheme"), Some("bearer"));
    let token_get = children(&trace, auth)[0];
    let shown = token_get.attributes.str("url.full").unwrap();
    assert!(shown.ends_with("/token?account=REDACTED&service=REDACTED&scope=REDACTED"), "{shown}");
    let gets = children(&trace, named(&trace, "manifest.fetch")[0]);
    assert_eq!(gets[0].attributes.int("http.response.status_code"), Some(401));
    assert!(!gets[0].status.is_error(), "a challenge is no failure");
    assert_eq!(gets[1].waits_for().collect::<Vec<_>>(), [auth.id], "it could not go out before");
    assert_eq!(gets[1].attributes.int("http.request.resend_count"), Some(1));
}

#[tokio::test]
async fn a_token_that_stops_working_is_renewed() {
    let (image, revoked) = (Image::new(), Arc::new(AtomicBool::new(false)));
    let revoke = Arc::clone(&revoked);
    let server = Server::start(move |seen| {
        if seen.target.starts_with("/token") {
            revoked.store(false, Ordering::SeqCst);
        } else if revoked.load(Ordering::SeqCst) {
            return challenge(&format!("http://{}/token", seen.headers["host"]));
        }
        with_token(seen, || image.serve(seen))
    })
    .await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let resolved = pull.manifest(&reference).await.unwrap();
    revoke.store(true, Ordering::SeqCst);
    pull.layer(&reference, &resolved).await.unwrap();
    assert_eq!(named(&pull.finish(), "registry.auth").len(), 2);
}

#[tokio::test]
async fn no_access_has_dockers_words() {
    let words = "pull access denied for team/app, repository does not exist or may require 'docker login'";
    type Handler = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;
    let cases: [(&str, Handler, String); 3] = [
        (
            "still 401 with a token",
            Box::new(|seen| {
                if seen.target.starts_with("/token") {
                    return with_token(seen, || status(500));
                }
                let value = format!("Bearer realm=\"http://{}/token\"", seen.headers["host"]);
                let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied for s3cr3t-token"}]}"#;
                Reply::Http(401, vec![("WWW-Authenticate", value)], body.into())
            }),
            format!("{words}: denied: requested access to the resource is denied for REDACTED"),
        ),
        ("403", Box::new(|_| status(403)), words.to_owned()),
        (
            "no token",
            Box::new(|seen| match seen.target.starts_with("/token") {
                true => status(401),
                false => challenge(&format!("http://{}/token", seen.headers["host"])),
            }),
            format!("{words}: unauthorized: authentication required"),
        ),
    ];
    for (case, handler, expected) in cases {
        let server = Server::start(handler).await;
        let pull = Pull::with(hub(&server));
        let error = pull.manifest(&"team/app".parse().unwrap()).await.unwrap_err();
        assert_eq!((error.to_string(), error.kind()), (expected, "denied"), "{case}");
        assert!(server.seen().len() <= 3, "{case}: no going round");
        pull.finish();
    }
}

#[tokio::test]
async fn challenges_that_cannot_be_met_are_explained() {
    let cases: [(Option<&str>, &str); 4] = [
        (Some("Negotiate"), "it asks for `Negotiate`, expected `Bearer`"),
        (None, "no usable `WWW-Authenticate` header"),
        (Some("Bearer realm=\"http://auth.example/token?s3cr3t\""), "token server `http://auth.example` is not HTTPS"),
        (Some("Bearer realm=\"/token\""), "address is unusable: not an absolute URL"),
    ];
    for (value, part) in cases {
        let headers = value.map(|v| ("WWW-Authenticate", v.to_owned()));
        let server = Server::start(move |_| Reply::Http(401, headers.clone().into_iter().collect(), vec![])).await;
        let pull = Pull::new();
        let error = pull.manifest(&server.image("app")).await.unwrap_err();
        assert_eq!(error.kind(), "auth");
        assert!(error.to_string().contains(part), "{error}");
        assert!(named(&pull.finish(), "registry.auth")[0].status.is_error());
    }
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    for body in ["", "{}", "<html>", r#"{"token":"s3cr3t\r\nX: y"}"#] {
        let server = Server::start(move |seen| match seen.target.starts_with("/token") {
            true => ok("application/json", body),
            false => challenge(&format!("http://{}/token", seen.headers["host"])),
        })
        .await;
        let pull = Pull::new();
        let error = pull.manifest(&server.image("app")).await.unwrap_err();
        assert_eq!(error.kind(), "auth", "{error}");
        assert!(!error.to_string().contains("s3cr3t"), "{error}");
        pull.finish();
    }
    let server = Server::start(move |seen| match seen.target.starts_with("/token") {
        true => ok("application/json", vec![b' '; (1 << 20) + 1]),
        false => challenge(&format!("http://{}/token", seen.headers["host"])),
    })
    .await;
    let error = Pull::new().manifest(&server.image("app")).await.unwrap_err();
    assert_eq!(error.kind(), "too_large");
}

#[tokio::test]
async fn a_redirect_to_another_host_gets_no_token() {
    let image = Image::new();
    let layer = image.layer.clone();
    let store = Server::start(move |_| ok("application/octet-stream", layer.clone())).await;
    let there = format!("http://localhost:{}/blob?X-Signature=s3cr3t", store.address.port());
    let server = Server::start(move |seen| {
        with_token(seen, || match is_blob_of(seen, &image.layer) {
            true => Reply::Http(307, vec![("Location", there.clone())], b"moved".to_vec()),
            false => image.serve(seen),
        })
    })
    .await;
    let pull = Pull::new();
    pull.everything(&server.image("team/app")).await.unwrap();
    assert_eq!(store.seen().len(), 1);
    assert_eq!(store.seen()[0].target, "/blob?X-Signature=s3cr3t");
    assert!(!store.seen()[0].headers.contains_key("authorization"));
    let trace = pull.finish();
    let gets = children(&trace, named(&trace, "layer.download")[0]);
    let status: Vec<_> = gets.iter().map(|g| g.attributes.int("http.response.status_code").unwrap()).collect();
    assert_eq!(status, [307, 200], "a span for each hop");
    assert_eq!(gets[1].attributes.int("http.request.resend_count"), Some(1));
    assert!(gets[1].attributes.str("url.full").unwrap().ends_with("/blob?X-Signature=REDACTED"));
}

#[tokio::test]
async fn a_token_is_kept_on_the_same_host_only() {
    let image = Image::new();
    let elsewhere = Server::start(|seen| {
        Reply::Http(302, vec![("Location", seen.target.trim_start_matches("/?back=").to_owned())], vec![])
    })
    .await;
    let away = elsewhere.address;
    let server = Server::start(move |seen| {
        if seen.target == "/v2/moved" {
            // Reached by way of another host: the token must not come back with it.
            return if has_token(seen) { status(500) } else { ok(INDEX, image.index.clone()) };
        }
        if seen.target == "/v2/here" {
            let back = format!("http://{away}/?back=http://{}/v2/moved", seen.headers["host"]);
            return if has_token(seen) { Reply::Http(302, vec![("Location", back)], vec![]) } else { status(500) };
        }
        with_token(seen, || match is_index(seen) {
            true => Reply::Http(301, vec![("Location", "/v2/here".into())], vec![]),
            false => image.serve(seen),
        })
    })
    .await;
    let pull = Pull::new();
    let resolved = pull.manifest(&server.image("team/app")).await.unwrap();
    assert_eq!(resolved.top_digest, Digest::of(&Image::new().index));
    assert!(elsewhere.seen().iter().all(|s| !s.headers.contains_key("authorization")));
    pull.finish();
}

#[tokio::test]
async fn redirects_end() {
    for (location, part) in [
        (Some("/v2/team/app/manifests/latest".to_owned()), "in a circle"),
        (None, "no usable `Location` header"),
        (Some("http://192.0.2.1/x?s3cr3t".into()), "plain HTTP is used on loopback only"),
        (Some("file:///etc/passwd".into()), "something else than a web address"),
        (Some("http://user:s3cr3t@[::1/x".into()), "not a URL"),
    ] {
        let headers: Vec<_> = location.into_iter().map(|l| ("Location", l)).collect();
        let server = Server::start(move |_| Reply::Http(307, headers.clone(), vec![])).await;
        let error = Pull::new().manifest(&server.image("team/app")).await.unwrap_err();
        assert_eq!(error.kind(), "redirect");
        assert!(error.to_string().contains(part) && !error.to_string().contains("s3cr3t"), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(|seen| Reply::Http(302, vec![("Location", format!("{}x", seen.target))], vec![])).await;
    let error = Pull::new().manifest(&server.image("team/app")).await.unwrap_err();
    assert!(error.to_string().contains("ten redirects"), "{error}");
    assert_eq!(server.seen().len(), 11);
}

#[tokio::test]
async fn a_blob_store_that_is_down_does_not_make_the_registry_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let image = Image::new();
    let server = Server::start(move |seen| match is_blob_of(seen, &image.layer) {
        true => Reply::Http(307, vec![("Location", format!("http://{closed}/x?s3cr3t"))], vec![]),
        false => image.serve(seen),
    })
    .await;
    let pull = Pull::new();
    let error = pull.everything(&server.image("team/app")).await.unwrap_err();
    assert!(!error.is_unreachable());
    assert!(
        error.to_string().contains(&format!("`{closed}` cannot be reached: {closed}: Connection refused")),
        "{error}"
    );
    let trace = pull.finish();
    let gets = children(&trace, named(&trace, "layer.download")[0]);
    assert_eq!(gets.len(), 10, "five tries of two hops");
}

#[tokio::test]
async fn a_redirects_host_cannot_send_us_for_a_token() {
    let elsewhere = Server::start(|seen| match seen.target.starts_with("/token") {
        true => ok("application/json", r#"{"token":"s3cr3t-token"}"#),
        false => challenge(&format!("http://{}/token", seen.headers["host"])),
    })
    .await;
    let away = format!("http://{}/blob", elsewhere.address);
    let image = Image::new();
    let server = Server::start(move |seen| match is_blob_of(seen, &image.layer) {
        true => Reply::Http(307, vec![("Location", away.clone())], vec![]),
        false => image.serve(seen),
    })
    .await;
    let pull = Pull::new();
    let error = pull.everything(&server.image("team/app")).await.unwrap_err();
    assert_eq!(error.kind(), "http_status", "{error}");
    assert_eq!(elsewhere.seen().len(), 1, "{:?}", elsewhere.seen());
    assert!(named(&pull.finish(), "registry.auth").is_empty());
}
