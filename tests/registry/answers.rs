//! Answers that are proper HTTP but not what was asked for.

use serde_json::json;
use trace_run::digest::Digest;
use trace_run::error::Failure;
use trace_run::registry::{Platform, RegistryError};

use super::server::*;

/// What a pull of everything fails with if `fault` answers instead of the image where it wants to.
async fn fails(fault: impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync + 'static) -> RegistryError {
    let image = Image::new();
    let server = Server::start(move |seen| fault(seen, &image).unwrap_or_else(|| image.serve(seen))).await;
    let pull = Pull::new();
    let error = pull.everything(&server.image("team/app")).await.unwrap_err();
    let trace = pull.finish();
    assert!(trace.spans.iter().any(|s| s.status.is_error()));
    assert!(!error.is_unreachable());
    error
}

#[tokio::test]
async fn wrong_digests_are_refused_wherever_they_are() {
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() = b' ';
        bytes
    };
    let error = fails(move |seen, image| is_blob_of(seen, &image.config).then(|| ok("x/y", flip(&image.config)))).await;
    assert_eq!(error.kind(), "digest_mismatch");
    assert!(error.to_string().starts_with("config `sha256:"), "{error}");

    let error = fails(move |seen, image| {
        let wanted = seen.target.ends_with(&Digest::of(&image.manifest).to_string());
        wanted.then(|| ok(MANIFEST, flip(&image.manifest)))
    })
    .await;
    assert_eq!(error.kind(), "digest_mismatch");

    let error = fails(|seen, image| {
        let headers = vec![("Content-Type", INDEX.into()), ("Docker-Content-Digest", Digest::of(b"other").to_string())];
        is_index(seen).then(|| Reply::Http(200, headers, image.index.clone()))
    })
    .await;
    assert_eq!(error.kind(), "digest_mismatch");
    assert!(error.to_string().contains(&Digest::of(b"other").to_string()), "{error}");
}

#[tokio::test]
async fn a_reference_by_digest_binds_the_answer() {
    let image = Image::new();
    let served = image.clone();
    let server = Server::start(move |_| ok(INDEX, served.index.clone())).await;
    let pull = Pull::new();
    let other = server.image(&format!("app@{}", Digest::of(b"another")));
    assert_eq!(pull.manifest(&other).await.unwrap_err().kind(), "digest_mismatch");
    assert!(server.seen()[0].target.ends_with(&Digest::of(b"another").to_string()));

    let server = Server::start(move |seen| Image::new().serve(seen)).await;
    let both = server.image(&format!("app:nosuchtag@{}", Digest::of(&image.manifest)));
    let resolved = pull.manifest(&both).await.unwrap();
    assert_eq!((resolved.index, resolved.top_digest), (None, Digest::of(&image.manifest)));
}

#[tokio::test]
async fn media_types_must_agree() {
    let error = fails(|seen, image| is_index(seen).then(|| ok(MANIFEST, image.index.clone()))).await;
    assert!(error.to_string().contains("served as"), "{error}");
    let error =
        fails(|seen, _| is_index(seen).then(|| ok("text/html", "<html>Log in to the hotel's network</html>"))).await;
    assert_eq!(error.to_string().split(": ").nth(1), Some("expected a JSON manifest"), "{error}");
    let error = fails(|seen, image| {
        let mut both: serde_json::Value = serde_json::from_slice(&image.index).unwrap();
        both["layers"] = json!([]);
        is_index(seen).then(|| ok(INDEX, both.to_string()))
    })
    .await;
    assert!(error.to_string().contains("an index that also has layers"), "{error}");
    // An index that calls an index a manifest.
    let error = fails(|seen, image| {
        let mut entry = describe(MANIFEST, &image.index);
        entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
        is_index(seen).then(|| ok(INDEX, json!({"schemaVersion": 2, "manifests": [entry]}).to_string()))
    })
    .await;
    assert!(error.to_string().contains("but the index calls it"), "{error}");
}

#[tokio::test]
async fn an_index_in_an_index_is_followed_once() {
    let wrap =
        |inner: &[u8]| json!({"schemaVersion": 2, "manifests": [describe(INDEX, inner)]}).to_string().into_bytes();
    let image = Image::new();
    let twice = wrap(&image.index);
    let thrice = wrap(&twice);
    let (a, b) = (twice.clone(), thrice.clone());
    let server = Server::start(move |seen| {
        let last = seen.target.rsplit('/').next().unwrap();
        match last {
            "twice" => ok(INDEX, a.clone()),
            "thrice" => ok(INDEX, b.clone()),
            _ if last == Digest::of(&a).to_string() => ok(INDEX, a.clone()),
            _ => Image::new().serve(seen),
        }
    })
    .await;
    let pull = Pull::new();
    let resolved = pull.manifest(&server.image("app:twice")).await.unwrap();
    assert_eq!(resolved.top_digest, Digest::of(&twice));
    assert_eq!(resolved.nested.unwrap().digest, Digest::of(&image.index));
    assert_eq!(resolved.manifest.digest, Digest::of(&image.manifest));
    let error = pull.manifest(&server.image("app:thrice")).await.unwrap_err();
    assert_eq!(error.kind(), "unsupported");
    assert!(error.to_string().contains("index inside an index inside an index"), "{error}");
}

#[tokio::test]
async fn a_missing_platform_lists_what_there_is() {
    let server = Server::start(|seen| Image::new().serve(seen)).await;
    let pull = Pull::new();
    let arm = Platform::parse("linux/arm64").unwrap();
    let error = pull.client.manifest(&pull.parent, &server.image("app"), &arm).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}/app:latest has no image for `linux/arm64/v8`: it has `linux/amd64`", server.address)
    );
    assert_eq!(error.hint().unwrap(), "choose one of those with `--platform linux/amd64`");
}

#[tokio::test]
async fn not_found_has_dockers_words() {
    let server = Server::start(|seen| match seen.target.as_str() {
        t if t.contains("nosuchrepo") => Reply::Http(
            404,
            vec![],
            br#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}"#.to_vec(),
        ),
        t if t.contains("silent") => status(404),
        _ => Image::new().serve(seen),
    })
    .await;
    let pull = Pull::with(hub(&server));
    let error = async |name: &str| pull.manifest(&name.parse().unwrap()).await.unwrap_err();
    assert_eq!(
        error("hello-world:nosuch").await.to_string(),
        "manifest for hello-world:nosuch not found: manifest unknown: manifest unknown"
    );
    assert_eq!(
        error("nosuchrepo").await.to_string(),
        "repository nosuchrepo not found: name unknown: repository name not known to registry"
    );
    assert_eq!(error("silent").await.to_string(), "manifest for silent:latest not found");
    assert_eq!(server.seen()[0].target, "/v2/library/hello-world/manifests/nosuch");
}

#[tokio::test]
async fn diff_ids_must_be_as_many_as_layers() {
    let image = Image::new();
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
        "config": describe("application/vnd.oci.image.config.v1+json", &image.config)});
    let error = fails(move |seen, _| is_index(seen).then(|| ok(MANIFEST, manifest.to_string()))).await;
    assert!(error.to_string().contains("it has 1 diff ids, expected 0"), "{error}");
}
