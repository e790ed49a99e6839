//! Independent clients: oci-client, skopeo, umoci, podman.

use super::*;

#[test]
fn oci_client_pulls_and_verifies() {
    use oci_distribution::client::{ClientConfig, ClientProtocol};
    use oci_distribution::{Client, Reference, secrets::RegistryAuth};
    // Not used for plain HTTP, but the client wants one; another test cannot have set it, so an error means nothing.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let hub = start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = ClientConfig { protocol: ClientProtocol::Http, ..Default::default() };
        let client = Client::new(config);
        for (image, layers) in [("library/hello-world:latest", 1), ("demo/layers:5x64KiB-zstd", 5)] {
            let image: Reference = format!("{}/{image}", hub.addr()).parse().unwrap();
            let accepted = ["gzip", "zstd"].map(|codec| format!("application/vnd.oci.image.layer.v1.tar+{codec}"));
            let accepted = accepted.iter().map(String::as_str).collect();
            // The client checks every digest itself.
            let data = client.pull(&image, &RegistryAuth::Anonymous, accepted).await.unwrap();
            assert_eq!(data.layers.len(), layers);
        }
        let image: Reference = format!("{}/demo/layers", hub.addr()).parse().unwrap();
        let tags = client.list_tags(&image, &RegistryAuth::Anonymous, Some(3), None).await.unwrap();
        assert_eq!(tags.tags.len(), 3);
        let missing: Reference = format!("{}/demo/layers:nonsense", hub.addr()).parse().unwrap();
        let error = client.pull_manifest(&missing, &RegistryAuth::Anonymous).await.unwrap_err();
        assert!(error.to_string().contains("<layers>x<size>"), "{error}");
    });
}

#[test]
fn skopeo_copies_and_umoci_unpacks() {
    let (hub, dir) = (start(), tempfile::tempdir().unwrap());
    let layout = dir.path().join("layout");
    for (image, tag, all) in [
        ("library/hello-world:latest", "hello", "--all"),
        ("demo/layers:6x1MiB", "gzip", "--all"),
        ("demo/layers:6x1MiB-zstd", "zstd", "--multi-arch=system"),
        ("demo/layers:6x1MiB", "one", "--multi-arch=system"),
    ] {
        let from = format!("docker://{}/{image}", hub.addr());
        let to = format!("oci:{}:{tag}", layout.display());
        let Some(output) = tool("skopeo", &["copy", "--src-tls-verify=false", all, &from, &to]) else {
            return;
        };
        succeeded(&output);
    }
    let bundle = dir.path().join("bundle");
    let image = format!("{}:one", layout.display());
    let Some(output) = tool("umoci", &["unpack", "--rootless", "--image", &image, bundle.to_str().unwrap()]) else {
        return;
    };
    succeeded(&output);
    let root = bundle.join("rootfs");
    assert!(!root.join("usr/share/demo/000/d0/f00001.bin").exists(), "deleted by layer 1");
    assert!(root.join("usr/share/demo/005/d0/f00001.bin").exists());
    assert!(!root.join("var/cache/demo/004").exists() && root.join("var/cache/demo/005").exists());
    let state: HashSet<_> =
        fs::read_dir(root.join("var/lib/demo/state")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(state, HashSet::from(["004".into(), "005".into()]), "layer 4 starts over");
}

#[test]
fn podman_pulls() {
    // An ordinary user's podman wants a login session.
    if !common::needs_root() {
        return;
    }
    let (hub, dir) = (start(), tempfile::tempdir().unwrap());
    let (root, run) = (dir.path().join("root"), dir.path().join("run"));
    let stores = ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap(), "--storage-driver", "vfs"];
    for image in ["library/hello-world", "demo/layers:4x64KiB", "demo/layers:4x64KiB-zstd"] {
        let image = format!("{}/{image}", hub.addr());
        let Some(output) = tool("podman", &[&stores[..], &["pull", "--tls-verify=false", &image]].concat()) else {
            return;
        };
        succeeded(&output);
    }
    let images = tool("podman", &[&stores[..], &["images", "--quiet"]].concat()).unwrap();
    assert_eq!(String::from_utf8(images.stdout).unwrap().lines().count(), 3);
}
