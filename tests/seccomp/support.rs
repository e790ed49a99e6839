//! Programs and profiles that the tests need.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::common::image::{self, Image, Layer};
use crate::common::lab::Lab;
use crate::common::shop::Shop;
use crate::common::{find, have, needs, needs_root};

/// The version of docker's profile that ours follows.
pub const MODULE: &str = "github.com/moby/profiles/seccomp@v0.3.0";

/// A file of a Go module, which is downloaded where it is not there.
pub fn module_file(module: &str, file: &str) -> Option<PathBuf> {
    let go = find("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|go| go.is_file()));
    if !needs(go.is_some(), "Go, which fetches modules") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(go.unwrap());
    command.args(["mod", "download", "-json", module]).current_dir(dir.path());
    if std::env::var_os("HOME").is_none() {
        command.env("HOME", "/root");
    }
    let out = command.output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let Some(dir) = told["Dir"].as_str().map(Path::new) else {
        needs(false, &format!("the Go module {module}: {}{}", told["Error"], String::from_utf8_lossy(&out.stderr)));
        return None;
    };
    Some(dir.join(file))
}

/// A static program from one of the C files here.
pub fn compiled(name: &str) -> Option<Vec<u8>> {
    if !have(&["gcc"]) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seccomp").join(name).with_extension("c");
    let program = dir.path().join(name);
    let out = Command::new("gcc").args(["-static", "-O1", "-w", "-o"]).args([&program, &source]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(std::fs::read(program).unwrap())
}

/// Busybox and such a program at `/bin/NAME`, in a shop.
pub fn image_with(name: &str) -> Option<(Shop, String)> {
    if !needs_root() || !image::needs_busybox() {
        return None;
    }
    let more = Layer::new().file(&format!("bin/{name}"), 0o755, &compiled(name)?).end();
    Some(Shop::with(Image::new(&[image::busybox_layer(), &more], json!({"Env": ["PATH=/bin"]}))))
}

/// What a command says in such an image.
pub fn said(lab: &Lab, flags: &[&str], image: &str, command: &[&str]) -> String {
    lab.quiet_run(&[flags, &[image], command].concat()).ok().out()
}
