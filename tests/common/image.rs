//! Images made here: tars, configurations, and a Busybox image that has a shell.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::{Value, json};
use trace_run::digest::Digest;

use super::server::{LAYER, MANIFEST, describe};
use super::{find, needs};

/// A tar in the making.
pub struct Layer(tar::Builder<Vec<u8>>);

/// What an entry has beside its name.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub kind: tar::EntryType,
    pub mode: u32,
    pub owner: (u64, u64),
    pub data: &'a [u8],
    pub link: &'a str,
    pub device: (u32, u32),
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Entry { kind: tar::EntryType::Regular, mode: 0o644, owner: (0, 0), data: &[], link: "", device: (0, 0) }
    }
}

impl Layer {
    pub fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    pub fn entry(mut self, name: &str, entry: Entry<'_>) -> Layer {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(entry.kind);
        header.set_mode(entry.mode);
        header.set_uid(entry.owner.0);
        header.set_gid(entry.owner.1);
        header.set_mtime(1_700_000_000);
        header.set_size(entry.data.len() as u64);
        if !entry.link.is_empty() {
            header.set_link_name(entry.link).unwrap();
        }
        if entry.device != (0, 0) {
            header.set_device_major(entry.device.0).unwrap();
            header.set_device_minor(entry.device.1).unwrap();
        }
        header.set_path(name).unwrap();
        header.set_cksum();
        self.0.append(&header, entry.data).unwrap();
        self
    }

    pub fn dir(self, name: &str, mode: u32) -> Layer {
        self.entry(name, Entry { kind: tar::EntryType::Directory, mode, ..Entry::default() })
    }

    pub fn file(self, name: &str, mode: u32, data: &[u8]) -> Layer {
        self.entry(name, Entry { mode, data, ..Entry::default() })
    }

    pub fn symlink(self, name: &str, link: &str) -> Layer {
        self.entry(name, Entry { kind: tar::EntryType::Symlink, mode: 0o777, link, ..Entry::default() })
    }

    pub fn link(self, name: &str, link: &str) -> Layer {
        self.entry(name, Entry { kind: tar::EntryType::Link, link, ..Entry::default() })
    }

    pub fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// Manifest and blobs by digest.
#[derive(Clone)]
pub struct Image {
    pub manifest: Vec<u8>,
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Digests of the layers' blobs, base first.
    pub layers: Vec<String>,
}

impl Image {
    /// From tars, base first; `config` is the configuration's `config` object.
    pub fn new(tars: &[&[u8]], config: Value) -> Image {
        Image::packed(&tars.iter().map(|tar| (*tar, gzip(tar))).collect::<Vec<_>>(), config)
    }

    /// From tars and what they are compressed to.
    pub fn packed(layers: &[(&[u8], Vec<u8>)], config: Value) -> Image {
        let diff_ids: Vec<_> = layers.iter().map(|(tar, _)| Digest::of(tar).to_string()).collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({"architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let described: Vec<_> = layers.iter().map(|(_, blob)| describe(LAYER, blob)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": described,
            "config": describe("application/vnd.oci.image.config.v1+json", &config)});
        let names = layers.iter().map(|(_, blob)| Digest::of(blob).to_string()).collect();
        let all = layers.iter().map(|(_, blob)| blob.clone()).chain([config]);
        let blobs = all.map(|b| (Digest::of(&b).to_string(), b)).collect();
        Image { manifest: manifest.to_string().into_bytes(), blobs, layers: names }
    }

    /// Digest of the manifest.
    pub fn digest(&self) -> String {
        Digest::of(&self.manifest).to_string()
    }

    /// Writes an OCI image layout with this one image in it, named `image`.
    pub fn write_layout(&self, directory: &Path) {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for bytes in self.blobs.values().chain([&self.manifest]) {
            std::fs::write(blobs.join(Digest::of(bytes).hex()), bytes).unwrap();
        }
        let mut top = describe(MANIFEST, &self.manifest);
        top["annotations"] = json!({"org.opencontainers.image.ref.name": "image"});
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [top]}).to_string();
        std::fs::write(directory.join("index.json"), index).unwrap();
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Whether to go on with a test that needs the Busybox image.
pub fn needs_busybox() -> bool {
    needs(static_busybox().is_some(), "a static `busybox` (Debian: busybox-static)")
}

/// A root file system with Busybox, users and what a test wants to see used.
pub fn busybox_layer() -> &'static [u8] {
    static TAR: OnceLock<Vec<u8>> = OnceLock::new();
    TAR.get_or_init(|| {
        let program = static_busybox().expect("the test has asked `needs_busybox`");
        let mut layer = Layer::new();
        for (dir, mode) in [("bin/", 0o755), ("etc/", 0o755), ("root/", 0o700), ("tmp/", 0o1777), ("home/", 0o755)] {
            layer = layer.dir(dir, mode);
        }
        let owned = Entry { kind: tar::EntryType::Directory, mode: 0o755, owner: (1000, 1000), ..Entry::default() };
        layer = layer.entry("home/ada/", owned).file("bin/busybox", 0o755, &program);
        for applet in APPLETS {
            layer = layer.symlink(&format!("bin/{applet}"), "busybox");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000:Ada:/home/ada:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        let group = "root:x:0:\ntty:x:5:\nstaff:x:50:ada\nada:x:1000:\nusers:x:100:ada,nobody\nnobody:x:65534:\n";
        layer
            .file("etc/passwd", 0o644, passwd.as_bytes())
            .file("etc/group", 0o644, group.as_bytes())
            .file("etc/plain", 0o644, b"no program\n")
            .end()
    })
}

/// The image of [`busybox_layer`]; it runs a shell.
pub fn busybox() -> Image {
    Image::new(&[busybox_layer()], json!({"Cmd": ["sh"], "Env": ["PATH=/usr/local/bin:/bin", "FROM_IMAGE=yes"]}))
}

const APPLETS: &[&str] = &[
    "sh",
    "cat",
    "echo",
    "env",
    "id",
    "ls",
    "mount",
    "umount",
    "mknod",
    "mkdir",
    "rm",
    "sleep",
    "stat",
    "true",
    "false",
    "head",
    "wc",
    "sha256sum",
    "hostname",
    "pwd",
    "grep",
    "kill",
    "touch",
    "chown",
    "chmod",
    "ln",
    "dd",
    "ip",
    "ps",
    "test",
    "readlink",
    "tr",
    "sort",
    "find",
    "printf",
    "nc",
    "yes",
    "tee",
    "ping",
    "chroot",
    "cut",
    "seq",
    "date",
    "od",
];

/// One that needs no library.
fn static_busybox() -> Option<Vec<u8>> {
    let bytes = std::fs::read(find("busybox")?).ok()?;
    // PT_INTERP names the dynamic linker in plain text near the start of the file.
    let begin = &bytes[..bytes.len().min(4096)];
    let dynamic = begin.windows(6).any(|w| w == b"ld-lin" || w == b"ld-mus");
    (!dynamic).then_some(bytes)
}
