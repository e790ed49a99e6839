//! Other programs of the trade read what we serve and what we store.

use serde_json::json;

use crate::common::image::{self, Image, Layer};
use crate::common::lab::{Lab, eventually};
use crate::common::shop::Shop;
use crate::common::{have, needs_root, run, text, tree};

/// `trace hub serve` on a free port, until dropped; gives its address too.
struct Serving(std::process::Child, String);

impl Serving {
    fn start(lab: &Lab) -> Serving {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = lab.command(&["hub", "serve", "-q", "--listen", &address]).spawn().unwrap();
        eventually("the hub listens", || std::net::TcpStream::connect(&address).is_ok());
        Serving(child, address)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn skopeo_and_umoci_pull_from_hub_serve() {
    if !have(&["skopeo", "umoci"]) {
        return;
    }
    let lab = Lab::new();
    let hub = Serving::start(&lab);
    let layout = lab.dir().join("layout");
    for (image, tag) in [
        ("library/hello-world:latest", "hello"),
        ("demo/layers:4x256KiB", "demo"),
        ("demo/layers:4x256KiB-zstd", "zstd"),
    ] {
        let (from, to) = (format!("docker://{}/{image}", hub.1), format!("oci:{}:{tag}", text(&layout)));
        run("skopeo", &["--insecure-policy", "copy", "--src-tls-verify=false", &from, &to]);
    }
    let bundle = lab.dir().join("bundle");
    run("umoci", &["unpack", "--rootless", "--image", &format!("{}:hello", text(&layout)), text(&bundle)]);
    let out = std::process::Command::new(bundle.join("rootfs/hello")).output().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains("Hello from trace!"));
    let tags = run("skopeo", &["list-tags", "--tls-verify=false", &format!("docker://{}/library/hello-world", hub.1)]);
    assert!(tags.contains("latest"));
}

#[test]
fn podman_pulls_from_hub_serve() {
    if !needs_root() || !have(&["podman"]) {
        return;
    }
    let lab = Lab::new();
    let hub = Serving::start(&lab);
    let (root, state) = (lab.dir().join("podman"), lab.dir().join("podman-run"));
    let stores = ["--root", text(&root), "--runroot", text(&state), "--storage-driver", "vfs"];
    for image in ["library/hello-world:latest", "demo/layers:4x64KiB"] {
        run("podman", &[&stores[..], &["pull", "--tls-verify=false", &format!("{}/{image}", hub.1)]].concat());
    }
    let images = run("podman", &[&stores[..], &["images", "--quiet"]].concat());
    assert_eq!(images.lines().count(), 2);
}

#[test]
fn trace_pulls_from_hub_serve_as_from_any_registry() {
    if !needs_root() {
        return;
    }
    let lab = Lab::new();
    let hub = Serving::start(&lab);
    let (ran, trace) = lab.traced(&["run", "-q", "--report", "none", &format!("{}/library/hello-world", hub.1)]);
    assert!(ran.ok().out().contains("Hello from trace!"));
    assert_eq!(trace.root().unwrap().attributes.str("trace.hub"), Some(hub.1.as_str()));
    let (ran, _) = lab.traced(&["run", "-q", "--report", "none", "--hub", &hub.1, "library/hello-world"]);
    ran.ok();
}

#[test]
fn skopeo_reads_our_store() {
    if !needs_root() || !have(&["skopeo", "umoci"]) || !image::needs_busybox() {
        return;
    }
    let (lab, shop) = (Lab::new(), Shop::open());
    let more = Layer::new().dir("srv/", 0o755).file("srv/file", 0o600, b"text").end();
    let made = Image::new(&[image::busybox_layer(), &more], json!({"Cmd": ["sh"], "Env": ["A=b"]}));
    let name = shop.put("app:1", made.clone());
    lab.trace(&["pull", "-q", &name]).ok();
    lab.trace(&["pull", "-q", "--hub", "builtin", "demo/layers:3x64KiB"]).ok();
    lab.trace(&["pull", "-q", "--hub", "builtin", "demo/layers:3x64KiB-zstd"]).ok();
    // Our names have colons and slashes, which the `oci:` transport does not take: the manifest is named by its place.
    let store = lab.store("images");
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(store.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    let out = lab.dir().join("out");
    for entry in entries {
        let named = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
        let to = out.join(named.replace(['/', ':'], "_"));
        std::fs::create_dir_all(&to).unwrap();
        run(
            "skopeo",
            &["--insecure-policy", "copy", &format!("oci:{}:{named}", text(&store)), &format!("dir:{}", text(&to))],
        );
        let manifest = std::fs::read(to.join("manifest.json")).unwrap();
        assert_eq!(trace_run::digest::Digest::of(&manifest).to_string(), entry["digest"].as_str().unwrap());
    }
    assert_eq!(out.read_dir().unwrap().count(), 3);
    // And umoci makes the same tree of it.
    let copy = lab.dir().join("copy");
    run(
        "skopeo",
        &["--insecure-policy", "copy", &format!("oci:{}:{name}", text(&store)), &format!("oci:{}:app", text(&copy))],
    );
    let bundle = lab.dir().join("bundle");
    run("umoci", &["unpack", "--image", &format!("{}:app", text(&copy)), text(&bundle)]);
    let theirs = tree::list(&bundle.join("rootfs"));
    assert!(theirs.contains_key("srv/file") && theirs.contains_key("bin/busybox"));
    assert!(made.blobs.keys().all(|d| store.join("blobs").join(d.replace(':', "/")).exists()));
}

#[test]
fn a_layer_that_comes_in_two_compressions_is_whole_in_the_store() {
    if !needs_root() || !have(&["skopeo"]) {
        return;
    }
    // The same tar, and so the same extracted layer, but two blobs: the second image's must be there too.
    let tar = Layer::new().file("f", 0o644, &[5; 100_000]).end();
    let mut other = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut other, &tar).unwrap();
    let two = Image::packed(&[(&tar, other.finish().unwrap())], json!({"Cmd": ["/two"]}));
    let one = Image::new(&[&tar], json!({"Cmd": ["/one"]}));
    assert_ne!(one.layers, two.layers);
    let (lab, shop) = (Lab::new(), Shop::open());
    let names = [shop.put("one:1", one), shop.put("two:1", two)];
    for name in &names {
        lab.trace(&["pull", "-q", name]).ok();
    }
    for (i, name) in names.iter().enumerate() {
        let to = format!("dir:{}", text(&lab.dir().join(format!("out{i}"))));
        run("skopeo", &["--insecure-policy", "copy", &format!("oci:{}:{name}", text(&lab.store("images"))), &to]);
    }
    // The first image goes; what the second one has stays readable.
    lab.trace(&["image", "rm", &names[0]]).ok();
    let from = format!("oci:{}:{}", text(&lab.store("images")), names[1]);
    run("skopeo", &["--insecure-policy", "copy", &from, &format!("dir:{}", text(&lab.dir().join("again")))]);
}
