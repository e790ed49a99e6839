//! The distribution project's own server, filled by skopeo.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use trace_run::digest::Digest;
use trace_run::error::Failure;
use trace_run::registry::Platform;

use super::server::*;
use crate::common::docker_registry::DockerRegistry;

/// An OCI layout with an index for two platforms; gives the index and, by platform, each layer's bytes.
fn layout(directory: &Path) -> (Vec<u8>, Vec<(&'static str, Vec<u8>)>) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| std::fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
    let mut entries = Vec::new();
    let mut layers = Vec::new();
    for architecture in ["arm64", "amd64"] {
        let mut archive = tar::Builder::new(Vec::new());
        let text = format!("hello from {architecture}\n").repeat(50_000);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, "hello.txt", text.as_bytes()).unwrap();
        let tar = archive.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let layer = gzip.finish().unwrap();
        let config = json!({"architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&tar).to_string()]}});
        let config = config.to_string().into_bytes();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [describe(LAYER, &layer)],
            "config": describe("application/vnd.oci.image.config.v1+json", &config)});
        let manifest = manifest.to_string().into_bytes();
        let mut entry = describe(MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entries.push(entry);
        for bytes in [&layer, &config, &manifest] {
            put(bytes);
        }
        layers.push((architecture, layer));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into_bytes();
    put(&index);
    let mut top = describe(INDEX, &index);
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "image"});
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(directory.join("index.json"), json!({"schemaVersion": 2, "manifests": [top]}).to_string()).unwrap();
    (index, layers)
}

#[tokio::test]
async fn pulls_from_docker_registry_what_skopeo_pushed() {
    if !have(&["docker-registry", "skopeo"]) {
        return;
    }
    let registry = DockerRegistry::start();
    let directory = registry.dir().join("layout");
    let (index, layers) = layout(&directory);
    registry.push(&directory, "team/app:both", &["--all"]);
    registry.push(&directory, "team/app:docker", &["--all", "--format", "v2s2"]);
    registry.push(&directory, "team/app:one", &["--override-arch", "amd64"]);

    let pull = Pull::new();
    for (architecture, layer) in &layers {
        let platform = Platform::parse(&format!("linux/{architecture}")).unwrap();
        for (tag, top) in [("both", INDEX), ("docker", "application/vnd.docker.distribution.manifest.list.v2+json")] {
            let image = format!("{}/team/app:{tag}", registry.address).parse().unwrap();
            let resolved = pull.client.manifest(&pull.parent, &image, &platform).await.unwrap();
            assert_eq!(resolved.index.as_ref().unwrap().media_type, top);
            if tag == "both" {
                assert_eq!(resolved.top_digest, Digest::of(&index));
            }
            let (_, config) = pull.client.config(&pull.parent, &image, &resolved).await.unwrap();
            assert_eq!(config.platform.unwrap(), platform);
            assert_eq!(pull.layer(&image, &resolved).await.unwrap(), *layer);
            assert_eq!(resolved.layers[0].digest, Digest::of(layer));
        }
    }
    let one = format!("{}/team/app:one", registry.address).parse().unwrap();
    let resolved = pull.manifest(&one).await.unwrap();
    assert_eq!((resolved.index, resolved.platform), (None, None));
    let by_digest = format!("{}/team/app@{}", registry.address, resolved.top_digest).parse().unwrap();
    pull.everything(&by_digest).await.unwrap();

    let address = &registry.address;
    for (name, kind, message) in [
        (
            "team/app:nosuch",
            "manifest_unknown",
            format!("manifest for {address}/team/app:nosuch not found: manifest unknown: manifest unknown"),
        ),
        (
            "nosuch",
            "manifest_unknown",
            format!("manifest for {address}/nosuch:latest not found: manifest unknown: manifest unknown"),
        ),
    ] {
        let error = pull.manifest(&format!("{address}/{name}").parse().unwrap()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (kind, message));
    }
    let trace = pull.finish();
    assert_eq!(named(&trace, "tcp.connect").len(), 1, "one connection for everything");
}

#[tokio::test]
async fn pulls_an_image_made_by_umoci() {
    if !have(&["docker-registry", "skopeo", "umoci"]) {
        return;
    }
    let registry = DockerRegistry::start();
    let directory = registry.dir().join("umoci");
    let image = format!("{}:image", directory.display());
    run("umoci", &["init", "--layout", directory.to_str().unwrap()]);
    run("umoci", &["new", "--image", &image]);
    registry.push(&directory, "empty", &[]);
    let file = registry.dir().join("file");
    std::fs::write(&file, "content").unwrap();
    run("umoci", &["insert", "--rootless", "--image", &image, file.to_str().unwrap(), "/file"]);
    registry.push(&directory, "app", &[]);

    let pull = Pull::new();
    let empty = format!("{}/empty", registry.address).parse().unwrap();
    let resolved = pull.manifest(&empty).await.unwrap();
    assert!(resolved.layers.is_empty());
    assert!(pull.client.config(&pull.parent, &empty, &resolved).await.unwrap().1.diff_ids.is_empty());
    let app = format!("{}/app", registry.address).parse().unwrap();
    let resolved = pull.manifest(&app).await.unwrap();
    assert_eq!(Digest::of(&pull.layer(&app, &resolved).await.unwrap()), resolved.layers[0].digest);
    pull.finish();
}
