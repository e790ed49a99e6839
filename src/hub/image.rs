//! An image in the form in which it is served: manifests as bytes, blobs in memory or in a file.
//!
//! Sources: OCI image specification, `image-index.md`, `manifest.md`, `config.md`, `layer.md`.

use super::elf::Arch;
use super::layer::{Codec, Sums};
use crate::digest::Digest;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What docker gives every image without an environment of its own.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// [`super::layer::MTIME`], as configs write times.
const CREATED: &str = "2023-11-14T22:13:20Z";

/// The bytes of a blob, or where they are.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    Memory(Bytes),
    /// `len` bytes of `file` from `offset`; the file is shared by several layers and never changes.
    Spool {
        file: Arc<File>,
        offset: u64,
        len: u64,
    },
}

impl Blob {
    pub(super) fn len(&self) -> u64 {
        match self {
            Blob::Memory(bytes) => bytes.len() as u64,
            Blob::Spool { len, .. } => *len,
        }
    }
}

/// A finished layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    sums: Sums,
    blob: Blob,
    created_by: String,
}

impl Layer {
    pub(super) fn in_memory(sums: Sums, blob: Vec<u8>, created_by: &str) -> Self {
        Layer { sums, blob: Blob::Memory(blob.into()), created_by: created_by.to_owned() }
    }

    /// A layer that lies in `file` from `offset`.
    pub(super) fn in_spool(sums: Sums, file: Arc<File>, offset: u64, created_by: String) -> Self {
        Layer { sums, blob: Blob::Spool { file, offset, len: sums.size }, created_by }
    }
}

/// One platform's share of an image.
pub(super) struct Platform {
    pub(super) arch: Arch,
    /// Path of the program to run.
    pub(super) cmd: String,
    pub(super) layers: Vec<Layer>,
}

/// A manifest or index.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) media_type: &'static str,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

/// An index, its manifests and every blob that they name.
#[derive(Debug)]
pub(super) struct Image {
    /// What a tag points at.
    pub(super) index: Manifest,
    /// In the order of the platforms.
    pub(super) manifests: Vec<Manifest>,
    pub(super) blobs: HashMap<Digest, Blob>,
}

impl Image {
    pub(super) fn assemble(platforms: &[Platform], codec: Codec) -> Self {
        let mut blobs = HashMap::new();
        let mut manifests = Vec::new();
        let mut entries = Vec::new();
        for platform in platforms {
            let config = encode(&config(platform));
            let digest = Digest::of(&config);
            let layers: Vec<Value> = platform
                .layers
                .iter()
                .map(|layer| descriptor(codec.media_type(), layer.sums.digest, layer.sums.size))
                .collect();
            let manifest = Manifest::new(
                MANIFEST,
                &json!({
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "config": descriptor(CONFIG, digest, config.len() as u64),
                    "layers": layers,
                }),
            );
            let mut entry = descriptor(MANIFEST, manifest.digest, manifest.bytes.len() as u64);
            entry["platform"] = platform_of(platform.arch);
            entries.push(entry);
            manifests.push(manifest);
            blobs.insert(digest, Blob::Memory(config));
            blobs.extend(platform.layers.iter().map(|layer| (layer.sums.digest, layer.blob.clone())));
        }
        let index = Manifest::new(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}));
        Image { index, manifests, blobs }
    }

    /// The index or one of the manifests.
    pub(super) fn manifest(&self, digest: Digest) -> Option<&Manifest> {
        std::iter::once(&self.index).chain(&self.manifests).find(|manifest| manifest.digest == digest)
    }
}

impl Manifest {
    fn new(media_type: &'static str, content: &Value) -> Self {
        let bytes = encode(content);
        Manifest { media_type, digest: Digest::of(&bytes), bytes }
    }
}

fn encode(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

fn platform_of(arch: Arch) -> Value {
    match arch {
        Arch::Amd64 => json!({"architecture": "amd64", "os": "linux"}),
        Arch::Arm64 => json!({"architecture": "arm64", "os": "linux", "variant": "v8"}),
    }
}

fn config(platform: &Platform) -> Value {
    let diff_ids: Vec<_> = platform.layers.iter().map(|layer| layer.sums.diff_id.to_string()).collect();
    let history: Vec<_> =
        platform.layers.iter().map(|layer| json!({"created": CREATED, "created_by": layer.created_by})).collect();
    let mut config = platform_of(platform.arch);
    config["created"] = json!(CREATED);
    config["config"] = json!({"Env": [PATH], "Cmd": [platform.cmd], "WorkingDir": "/"});
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    config["history"] = json!(history);
    config
}
