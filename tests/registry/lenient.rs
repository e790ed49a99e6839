//! What registries do that no specification says, and Go's clients take.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use trace_run::digest::Digest;
use trace_run::error::Failure;
use trace_run::registry::RegistryError;

use super::server::*;

/// Pulls everything from a server that answers as `bent` does, else as it should.
async fn pull(bent: impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync + 'static) -> Result<Vec<u8>, RegistryError> {
    let image = Image::new();
    let server = Server::start(move |seen| bent(seen, &image).unwrap_or_else(|| image.serve(seen))).await;
    let pull = Pull::new();
    let result = pull.everything(&server.image("team/app")).await;
    pull.finish();
    result
}

async fn works(what: &str, bent: impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync + 'static) {
    match pull(bent).await {
        Ok(layer) => assert!(layer == Image::new().layer, "{what}"),
        Err(error) => panic!("{what}: {error}"),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Another document in place of the index.
fn index(edit: impl Fn(&mut Value) + Send + Sync + 'static) -> impl Fn(&Seen, &Image) -> Option<Reply> + Send + Sync {
    move |seen, image| {
        let mut document: Value = serde_json::from_slice(&image.index).unwrap();
        edit(&mut document);
        is_index(seen).then(|| ok(INDEX, document.to_string()))
    }
}

#[tokio::test]
async fn content_codings_are_taken_off() {
    type Pack = fn(&[u8]) -> Vec<u8>;
    let plain: Pack = <[u8]>::to_vec;
    for (coding, pack) in [
        ("gzip", gzip as Pack),
        ("x-gzip", gzip),
        ("deflate", zlib),
        ("zstd", zstd),
        ("gzip, zstd", |bytes| zstd(&gzip(bytes))),
        // Only the label.
        ("gzip", plain),
        ("x-gzip", plain),
        ("identity", plain),
        ("utf-8", plain),
        ("", plain),
    ] {
        for part in ["latest", "/manifests/sha256:", "config", "layer"] {
            works(&format!("{coding} on {part}"), move |seen, image| {
                let this = match part {
                    "config" => is_blob_of(seen, &image.config),
                    "layer" => is_blob_of(seen, &image.layer),
                    target => seen.target.contains(target),
                };
                let Reply::Http(status, mut headers, body) = image.serve(seen) else { return None };
                headers.push(("Content-Encoding", coding.to_owned()));
                this.then(|| Reply::Http(status, headers, pack(&body)))
            })
            .await;
        }
    }
    // What comes out is verified like anything else, and nothing grows without bounds.
    for (coding, body, kind) in [
        ("gzip", gzip(b"{\"another\":1}"), "size_mismatch"),
        ("zstd", zstd(&vec![b' '; 100 << 20]), "size_mismatch"),
        ("br", vec![1, 2, 3], "unsupported"),
        ("gzip", b"\x1f\x8bnot gzip".to_vec(), "connection"),
    ] {
        let error = pull(move |seen, image| {
            let headers = vec![("Content-Encoding", coding.to_owned())];
            is_blob_of(seen, &image.config).then(|| Reply::Http(200, headers, body.clone()))
        })
        .await
        .unwrap_err();
        assert!(error.kind() == kind || error.kind() == "connection", "{coding}: {error}");
    }
    let error = pull(|seen, image| {
        let mut other = image.layer.clone();
        other.push(0);
        let headers = vec![("Content-Encoding", "gzip".to_owned())];
        is_blob_of(seen, &image.layer).then(|| Reply::Http(200, headers, gzip(&other)))
    })
    .await
    .unwrap_err();
    assert_eq!(error.kind(), "size_mismatch", "{error}");
}

#[tokio::test]
async fn redirects_as_browsers_follow_them() {
    for location in [
        "../../../../store/X",
        "./../../../../store/./X?s=1",
        "/store/X",
        "/elsewhere/../store/X",
        "/store/X?name=h\u{e9} \"y\"",
        "http://127.0.0.1:PORT/a/../store/X",
        "HTTP://127.0.0.1:PORT/store/X#fragment",
        "//127.0.0.1:PORT/store/X",
    ] {
        for status in [301, 302, 303, 307, 308] {
            works(&format!("{status} {location}"), move |seen, image| {
                if seen.target.starts_with("/store/") {
                    return Some(ok("x/y", image.layer.clone()));
                }
                let port = seen.headers["host"].rsplit(':').next().unwrap();
                let headers = vec![("Location", location.replace("PORT", port))];
                is_blob_of(seen, &image.layer).then(|| Reply::Http(status, headers, vec![]))
            })
            .await;
        }
    }
    works("nine in a row", |seen, image| {
        let hop: usize = seen.target.strip_prefix("/hop/").and_then(|n| n.parse().ok()).unwrap_or(0);
        let on = is_blob_of(seen, &image.layer) || (1..9).contains(&hop);
        match hop {
            9 => Some(ok("x/y", image.layer.clone())),
            _ => on.then(|| Reply::Http(307, vec![("Location", format!("/hop/{}", hop + 1))], vec![])),
        }
    })
    .await;
}

#[tokio::test]
async fn heads_of_other_times() {
    for (what, head) in [
        ("lower case", "HTTP/1.1 200 OK\r\ncontent-type: TYPE\r\ncontent-length: LEN\r\n\r\n"),
        ("no reason", "HTTP/1.1 200\r\nContent-Type: TYPE\r\nContent-Length: LEN\r\n\r\n"),
        ("an odd reason", "HTTP/1.1 200 Très bien\r\nContent-Type: TYPE\r\nContent-Length: LEN\r\n\r\n"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Type: TYPE\r\n\r\n"),
        ("no length", "HTTP/1.1 200 OK\r\nContent-Type: TYPE\r\nConnection: close\r\n\r\n"),
        ("bare newlines", "HTTP/1.1 200 OK\nContent-Type: TYPE\nContent-Length: LEN\n\n"),
        ("folded", "HTTP/1.1 200 OK\r\nX-Long: a,\r\n b\r\nContent-Type:\r\n TYPE\r\nContent-Length: LEN\r\n\r\n"),
        (
            "1xx",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: TYPE\r\nContent-Length: LEN\r\n\r\n",
        ),
        ("length twice", "HTTP/1.1 200 OK\r\nContent-Length: LEN\r\nContent-Type: TYPE\r\nContent-Length: LEN\r\n\r\n"),
        ("no type", "HTTP/1.1 200 OK\r\nContent-Length: LEN\r\n\r\n"),
        ("another type", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: LEN\r\n\r\n"),
        ("type with more", "HTTP/1.1 200 OK\r\nContent-Type: TYPE ; charset=utf-8;q\r\nContent-Length: LEN\r\n\r\n"),
        ("empty digest", "HTTP/1.1 200 OK\r\nDocker-Content-Digest:\r\nContent-Length: LEN\r\n\r\n"),
        ("sha512", "HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha512:00\r\nContent-Length: LEN\r\n\r\n"),
    ] {
        works(what, move |seen, image| {
            let Reply::Http(200, headers, body) = image.serve(seen) else { return None };
            let media_type = headers.iter().find(|(n, _)| *n == "Content-Type").map_or("", |(_, v)| v.as_str());
            let head = head.replace("TYPE", media_type).replace("LEN", &body.len().to_string());
            Some(Reply::Close([head.into_bytes(), body].concat()))
        })
        .await;
    }
    works("chunks", |seen, image| {
        let Reply::Http(200, _, body) = image.serve(seen) else { return None };
        let (a, b) = body.split_at(body.len() / 2);
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n";
        let mut out = format!("{head}{:x};name=\"v\"\r\n", a.len()).into_bytes();
        out.extend([a, format!("\r\n{:X}\r\n", b.len()).as_bytes(), b, b"\r\n000;last\r\nX: y\r\n\r\n"].concat());
        Some(Reply::Close(out))
    })
    .await;
    works("digest in upper case", |seen, image| {
        let digest = Digest::of(&image.index).to_string().to_uppercase();
        let headers = vec![("Content-Type", INDEX.into()), ("Docker-Content-Digest", digest)];
        is_index(seen).then(|| Reply::Http(200, headers, image.index.clone()))
    })
    .await;
}

#[tokio::test]
async fn each_type_has_an_accept_line_of_its_own() {
    let image = Image::new();
    let server = Server::start(move |seen| image.serve(seen)).await;
    let pull = Pull::new();
    pull.everything(&server.image("app")).await.unwrap();
    let accept = server.seen()[0].headers["accept"].clone();
    let lines: Vec<_> = accept.split('\n').collect();
    assert_eq!((lines.len(), lines.contains(&INDEX), lines.contains(&MANIFEST)), (4, true, true), "{accept}");
}

#[tokio::test]
async fn a_challenge_that_only_the_top_tells() {
    for (refusal, challenged) in [(404, true), (403, true), (404, false), (403, false)] {
        let image = Image::new();
        let server = Server::start(move |seen| {
            let host = &seen.headers["host"];
            match seen.target.as_str() {
                t if t.starts_with("/token") => ok("application/json", r#"{"Token":"T1"}"#),
                "/v2/" if challenged => {
                    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
                    Reply::Http(401, vec![("WWW-Authenticate", challenge)], vec![])
                }
                "/v2/" => Reply::Http(401, vec![("WWW-Authenticate", "Basic realm=\"x\"".into())], vec![]),
                _ if seen.headers.get("authorization").is_some_and(|a| a == "Bearer T1") => image.serve(seen),
                _ => status(refusal),
            }
        })
        .await;
        let pull = Pull::new();
        let result = pull.everything(&server.image("app")).await;
        pull.finish();
        match result {
            Ok(_) => assert!(challenged),
            Err(e) => {
                assert!(!challenged, "{e}");
                assert_eq!(e.kind(), if refusal == 404 { "manifest_unknown" } else { "denied" }, "{e}");
            }
        }
    }
}

#[tokio::test]
async fn documents_as_go_reads_them() {
    works("another case", |seen, image| {
        let text = String::from_utf8(image.index.clone()).unwrap();
        let text = text.replace("manifests", "Manifests").replace("digest", "DIGEST").replace("\"os\"", "\"OS\"");
        is_index(seen).then(|| ok(INDEX, text))
    })
    .await;
    works("no type of its own", index(|d| drop(d.as_object_mut().unwrap().remove("mediaType")))).await;
    works("no version", index(|d| d["schemaVersion"] = Value::Null)).await;
    works("unknown fields", index(|d| d["subject"] = json!({"digest": 5}))).await;
    for odd in [
        json!({"mediaType": MANIFEST, "platform": {"os": null, "architecture": null}}),
        json!({"mediaType": MANIFEST, "platform": {"os": "linux", "architecture": "s390x"}}),
        json!({"digest": "md5:1", "size": -1, "platform": {"os": "unknown", "architecture": "unknown"}}),
        json!({"platform": {"os": "windows", "architecture": "amd64", "os.version": 10}}),
        json!([]),
    ] {
        works(&odd.to_string(), index(move |d| d["manifests"].as_array_mut().unwrap().insert(0, odd.clone()))).await;
    }
    for said in [Value::Null, json!(""), json!("application/vnd.docker.distribution.manifest.v2+json"), json!("x/y")] {
        works(&said.to_string(), index(move |d| d["manifests"][0]["mediaType"] = said.clone())).await;
    }
    let error = pull(index(|d| d["manifests"][0]["mediaType"] = json!(INDEX))).await.unwrap_err();
    assert!(error.to_string().contains("but the index calls it"), "{error}");
}

#[tokio::test]
async fn what_the_config_type_leaves_open_the_config_says() {
    for (media_type, config, works) in [
        ("application/octet-stream", None, true),
        ("", None, true),
        ("application/vnd.example.config+json", None, true),
        ("application/vnd.cncf.helm.config.v1+json", Some(r#"{"name":"chart"}"#), false),
        ("application/vnd.oci.empty.v1+json", Some("{}"), false),
    ] {
        let image = Image::new();
        let config = config.map_or(image.config.clone(), |c| c.as_bytes().to_vec());
        let manifest = json!({"schemaVersion": 2, "config": describe(media_type, &config),
            "layers": [describe(LAYER, &image.layer)]});
        let served = config.clone();
        let result = pull(move |seen, _| match () {
            () if is_index(seen) => Some(ok(MANIFEST, manifest.to_string())),
            () if is_blob_of(seen, &served) => Some(ok("x/y", served.clone())),
            () => None,
        })
        .await;
        match result {
            Ok(_) => assert!(works, "{media_type}"),
            Err(e) => assert!(!works && e.to_string().contains("an artifact with a config of type"), "{e}"),
        }
    }
}
