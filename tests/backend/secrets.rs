//! A secret that is in everything that a run is given is in nothing that leaves it: no export, no file, no line.

use std::path::Path;

use serde_json::json;
use trace_run::formats::WireFormat;

use super::common::image::{Image, busybox_layer, needs_busybox};
use super::common::lab::{self, Lab};
use super::common::server::{Server, status};
use super::common::shop::Shop;
use super::receiver::{Receiver, traces};

const CANARY: &str = "c4narY-8f2e";
/// The same as in the headers of a proxy and of a receiver: `user:c4narY-8f2e`.
const ENCODED: &str = "dXNlcjpjNG5hclktOGYyZQ==";

#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in [CANARY, ENCODED] {
        assert!(!text.contains(secret), "`{secret}` is in {what}: {text}");
    }
}

/// Every file below the store's `v1/` that is not the image itself.
fn clean_below(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            if !["images", "layers", "stacks"].contains(&name.to_str().unwrap()) {
                clean_below(&path);
            }
        } else {
            clean(&path.display().to_string(), &std::fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_canary_gets_nowhere() {
    if !needs_busybox() {
        return;
    }
    let Some(receiver) = Receiver::start() else { return };
    let config = json!({
        "Env": [format!("PATH=/bin"), format!("IMAGE_TOKEN={CANARY}")],
        "Labels": {"token": CANARY},
    });
    let (_shop, image) = Shop::with(Image::new(&[busybox_layer()], config));
    let lab = Lab::new();
    let docker = lab.dir().join("docker");
    std::fs::create_dir(&docker).unwrap();
    let host = image.split('/').next().unwrap();
    std::fs::write(docker.join("config.json"), json!({"auths": {host: {"auth": ENCODED}}}).to_string()).unwrap();
    let env_file = lab.dir().join("env");
    std::fs::write(&env_file, format!("FILE_TOKEN={CANARY}\n")).unwrap();
    let proxy = Server::in_background(|_| status(407));
    let proxy = format!("http://user:{CANARY}@{}", proxy.address);

    let with_secret = |url: String| url.replacen("://", &format!("://user:{CANARY}@"), 1);
    let good = [with_secret(receiver.grpc()), with_secret(receiver.http()) + &format!("/v1/traces?key={CANARY}")];
    // Refused, by a proxy that wants another password, by a name that is none.
    let bad = [
        "http://127.0.0.1:1",
        "http://192.0.2.1:4318",
        "grpc://192.0.2.1:4317",
        "https://192.0.2.1",
        "http://no.invalid",
    ];
    let urls = good.iter().cloned().chain(bad.iter().map(|u| with_secret((*u).to_owned())));
    for url in urls {
        let mut command = lab.command(&[
            "--verbose",
            "run",
            "--name",
            "kept",
            "--rm",
            "--env-file",
            env_file.to_str().unwrap(),
            "-e",
            &format!("TOKEN={CANARY}"),
            "-e",
            "INHERITED",
            "--otlp",
            &url,
            &image,
            "sh",
            "-c",
            "env",
        ]);
        command
            .env("INHERITED", CANARY)
            .env("DOCKER_CONFIG", &docker)
            .env("HTTP_PROXY", &proxy)
            .env("HTTPS_PROXY", &proxy)
            .env("NO_PROXY", "127.0.0.1")
            .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-api-key={CANARY}"));
        let ran = lab::Running::start(command, &[]).wait().ok();
        assert_eq!(ran.out().matches(CANARY).count(), 4, "the program itself has them: {}", ran.out());
        clean("what a run says", &ran.stderr);
    }
    let requests = receiver.take();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        // They were used.
        assert_eq!(request.headers["x-api-key"], CANARY);
        assert_eq!(request.headers["authorization"], format!("Basic {ENCODED}"));
        clean("what a receiver gets", request.body.to_string().as_bytes());
    }
    assert_eq!(traces(&requests).len(), 2);
    for format in WireFormat::NAMES {
        let ran = lab.trace(&["export", "last", "--format", format]).ok();
        clean(format, &ran.stdout);
        clean(format, &ran.stderr);
    }
    for words in [
        &["ls", "--json"][..],
        &["show", "last", "--format", "json"],
        &["metrics"],
        &["show", "last", "--format", "html"],
    ] {
        clean(&words.join(" "), &lab.trace(words).ok().stdout);
    }
    let pending = lab.trace(&["export", "--pending"]).exits(125);
    clean("what is said about the pending ones", &pending.stderr);
    clean_below(&lab.store(""));
    // A URL that is none is not repeated either.
    for url in [
        format!("http://user:{CANARY}@"),
        format!("ftp://user:{CANARY}@host"),
        format!("http://user:{CANARY}@host:port"),
    ] {
        for words in
            [&["run", "--otlp", &url, "hello-world"][..], &["export", "--otlp", &url], &["metrics", "--otlp", &url]]
        {
            let ran = lab.trace(words).exits(if words[0] == "run" { 125 } else { 2 });
            clean(words[0], &ran.stderr);
        }
    }
}
