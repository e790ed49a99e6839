//! The same image unpacked by `umoci` has to look the same, entry by entry: type, mode, owner, links, size, target,
//! time, attributes, content.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use trace_run::digest::Digest;

use crate::merged::Stacked;
use crate::support::*;

/// An OCI image layout with one image `x` of these layers.
fn layout(dir: &Path, layers: &[Vec<u8>]) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |data: &[u8], media_type: &str| {
        let digest = Digest::of(data);
        fs::write(blobs.join(digest.hex()), data).unwrap();
        json!({ "mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest.to_string(), "size": data.len() })
    };
    let diff_ids: Vec<String> = layers.iter().map(|l| Digest::of(l).to_string()).collect();
    let layers: Vec<_> = layers.iter().map(|l| put(&gzip(l), "layer.v1.tar+gzip")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = put(config.to_string().as_bytes(), "config.v1+json");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let mut manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json");
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "x" });
    fs::write(dir.join("index.json"), json!({ "schemaVersion": 2, "manifests": [manifest] }).to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn unpack(layers: &[Vec<u8>]) -> BTreeMap<String, String> {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("image"), layers);
    let out = Command::new("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:x", dir.path().join("image").display()))
        .arg(dir.path().join("bundle"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    list(&dir.path().join("bundle/rootfs"))
}

fn same(layers: Vec<Tar>) {
    let layers: Vec<Vec<u8>> = layers.into_iter().map(Tar::end).collect();
    let theirs = unpack(&layers);
    let ours = Stacked::try_new(&layers).unwrap().list();
    for path in theirs.keys().chain(ours.keys()) {
        // overlayfs goes on counting a name that an upper layer deleted; which names are one file is compared.
        let line = |l: Option<&String>| {
            l.map(|l| l.split(' ').filter(|w| !w.starts_with("links=")).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(line(ours.get(path)), line(theirs.get(path)), "`{path}`: left is ours, right is umoci's");
    }
}

fn base() -> Tar {
    let mut tar = Tar::new()
        .with(b'5', "./", |r| r.mtime = 1)
        .dir("etc/")
        .with(b'0', "etc/shadow", |r| (r.mode, r.gid, r.mtime) = (0o640, 42, 123))
        .symlink("etc/mtab", "../proc/self/mounts")
        .dir("usr/")
        .dir("usr/bin/")
        .with(b'0', "usr/bin/su", |r| (r.mode, r.size, r.data) = (0o4755, 2, b"su".to_vec()))
        .with(b'1', "usr/bin/sudo", |r| (r.link, r.mode) = (b"usr/bin/su".to_vec(), 0o4755))
        .symlink("bin", "usr/bin")
        .with(b'5', "tmp/", |r| r.mode = 0o1777)
        .pax(b'x', &[("mtime", b"1234567890.123456789"), ("SCHILY.xattr.user.mime", b"text/plain")])
        .file("usr/fraction", "f")
        .pax(
            b'x',
            &[("SCHILY.xattr.security.capability", &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
        )
        .file("usr/bin/ping", "ping")
        .with(b'6', "fifo", |r| r.mode = 0o600)
        .dir("dev/")
        .with(b'3', "dev/null", |r| (r.mode, r.device) = (0o666, (1, 3)))
        .dir("var/")
        .with(b'5', "var/owned/", |r| (r.uid, r.gid, r.mode) = (100_000, 3_000_000_000, 0o2770))
        .pax(b'x', &[("path", format!("var/{}", "n".repeat(150)).as_bytes())])
        .dir("n")
        .pax(b'x', &[("path", format!("var/{}/long", "n".repeat(150)).as_bytes())])
        .file("l", "long name");
    for i in 0..60 {
        tar = tar.with(b'5', format!("var/d{i}/"), |r| r.mtime = 1000 + i);
        for j in 0..5 {
            tar = tar.file(format!("var/d{i}/f{j}"), format!("{i} {j}").repeat(j * 300));
        }
    }
    tar
}

#[test]
fn three_layers() {
    if !needs(is_root() && has_program("umoci"), "root and umoci") {
        return;
    }
    let second = Tar::new()
        .with(b'5', "var/", |r| r.mtime = 77)
        .file("var/.wh.d0", "")
        .file("var/.wh.d1", "")
        .dir("var/d1/")
        .file("var/d1/only", "new")
        .dir("var/d2/")
        .file("var/d2/.wh..wh..opq", "")
        .file("var/d2/kept", "new")
        .with(b'5', "var/d3/", |r| (r.mode, r.uid, r.mtime) = (0o711, 5, 9))
        .file("var/d4", "now a file")
        .symlink("var/d5", "d6")
        .dir("usr/")
        .dir("usr/bin/")
        .file("usr/bin/.wh.sudo", "")
        .file("usr/bin/new", "n")
        .file(".wh.fifo", "")
        .dir("bin2/")
        .file(".wh.nothing", "");
    let third = Tar::new()
        .dir("var/")
        .dir("var/d0/")
        .dir("var/d0/nested/")
        .dir("var/d4/")
        .file("var/d4/in", "again a directory")
        .file("var/.wh.d7", "")
        .dir("tmp/")
        .file("tmp/x", "x")
        .dir("etc/")
        .file("etc/.wh.mtab", "")
        .with(b'0', "etc/mtab", |r| r.mtime = 4);
    same(vec![base(), second, third]);
}

#[test]
fn deletions_of_what_is_not_there() {
    if !needs(is_root() && has_program("umoci"), "root and umoci") {
        return;
    }
    // `bin` is a symbolic link to `usr/bin`.
    same(vec![base(), Tar::new().file("no/such/.wh.x", "").file("usr/.wh.none", "").file("fifo/.wh.x", "")]);
    same(vec![base(), Tar::new().file("bin/.wh.su", "")]);
}

#[test]
fn unlisted_directories() {
    if !needs(is_root() && has_program("umoci"), "root and umoci") {
        return;
    }
    same(vec![base(), Tar::new().file("tmp/x", "x").file("var/owned/y", "y").link("usr/bin/hard", "usr/bin/su")]);
}
