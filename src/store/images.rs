//! Images: an OCI image layout (image-spec, `image-layout.md`) that other tools can read and write.
//!
//! The key of an image is its canonical name (`docker.io/library/hello-world:latest`), kept as the annotation
//! `org.opencontainers.image.ref.name` of its manifest in `index.json`. Entries and fields of others stay as they are.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::durable::move_away;
use super::lock::Lock;
use super::{Maker, Store, StoreError, read_derived, read_json};
use crate::digest::Digest;
use crate::layer::stack::RootLooks;

/// The storage does not give the file back.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();
/// The annotation that holds an image's name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Digest that the tag had at the registry: of the index, where there was one.
const TAG_DIGEST: &str = "trace.tag.digest";
/// When it was pulled, nanoseconds since the Unix epoch.
const PULLED: &str = "trace.pulled";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    // Go programs write an empty list as `null`.
    #[serde(default, deserialize_with = "null_is_empty")]
    manifests: Vec<Entry>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What `index.json` says about a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Map::is_empty")]
    annotations: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

impl Entry {
    /// Whether both are about one name and platform.
    fn names_the_same(&self, other: &Entry) -> bool {
        self.annotation(REF_NAME) == other.annotation(REF_NAME)
            && self.rest.get("platform") == other.rest.get("platform")
    }

    fn pulled(&self) -> u64 {
        self.annotation(PULLED).and_then(|p| p.parse().ok()).unwrap_or(0)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)?.as_str()
    }
}

/// How an image's layers make its root, written when it is committed (`stack.json`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Digest of the image configuration.
    pub config: String,
    /// `linux/amd64`.
    pub platform: String,
    /// The layers, base first.
    pub layers: Vec<StackLayer>,
    /// Lower directories, topmost first, relative to `v1/`.
    pub lowers: Vec<PathBuf>,
    /// How the image's root directory looks.
    #[serde(default)]
    pub root: RootLooks,
    /// Some file is setuid or setgid or has capabilities.
    pub has_setid: bool,
    /// Who extracted the layers.
    #[serde(default)]
    pub maker: Option<Maker>,
    /// The names that the image was pulled by, for when the index and its copy are damaged. It may have been forgotten.
    #[serde(default)]
    pub(super) entries: Vec<Entry>,
}

/// A layer of a [`Stack`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StackLayer {
    /// Digest of the blob.
    pub digest: String,
    /// Bytes of the blob.
    pub size: u64,
    /// Digest of the unpacked tar.
    pub diff_id: String,
    /// Bytes of the unpacked tar.
    pub unpacked: u64,
}

/// An image that can be run.
#[derive(Clone, Debug)]
pub struct Image {
    /// Canonical name.
    pub name: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Digest that the tag had at the registry.
    pub tag_digest: String,
    /// When it was pulled, nanoseconds since the Unix epoch.
    pub pulled: u64,
    /// Its layers.
    pub stack: Stack,
    /// The image configuration, as it came.
    pub config: Vec<u8>,
}

impl Image {
    /// The diff ids of its layers, base first.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.stack.layers.iter().filter_map(|l| Digest::parse(&l.diff_id).ok()).collect()
    }
}

/// A blob to be committed with an image.
pub struct Document<'a> {
    /// Its digest, verified.
    pub digest: Digest,
    /// Its content.
    pub bytes: &'a [u8],
}

impl Store {
    /// Where a blob is, or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("images/blobs/sha256").join(digest.hex())
    }

    fn index_path(&self) -> PathBuf {
        self.path("images/index.json")
    }

    fn damaged_index_path(&self) -> PathBuf {
        self.path("images/index.json.damaged")
    }

    /// Written after the index, which is on storage by then: of the two, a power cut can damage only this.
    fn index_copy_path(&self) -> PathBuf {
        self.path("index.copy")
    }

    fn index(&self) -> Result<Index, StoreError> {
        match read_json(&self.index_path()) {
            Ok(Some(index)) => Ok(index),
            Ok(None) | Err(StoreError::Damaged { .. }) => Ok(self.recovered_index()),
            Err(StoreError::File { source, .. }) if source.raw_os_error() == Some(EIO) => Ok(self.recovered_index()),
            Err(e) => Err(e),
        }
    }

    /// What the index said: from its copy, else from what the images themselves say.
    fn recovered_index(&self) -> Index {
        if let Ok(Some(index)) = read_json(&self.index_copy_path()) {
            return index;
        }
        let mut manifests: Vec<Entry> = Vec::new();
        for (_, dir) in self.entries("stacks") {
            let Ok(Some(stack)) = read_json::<Stack>(&dir.join("stack.json")) else { continue };
            for entry in stack.entries {
                let same = |e: &Entry| e.names_the_same(&entry);
                match manifests.iter_mut().find(|e| same(e)) {
                    Some(other) if other.pulled() < entry.pulled() => *other = entry,
                    Some(_) => {}
                    None => manifests.push(entry),
                }
            }
        }
        Index {
            schema_version: 2,
            media_type: Some("application/vnd.oci.image.index.v1+json".into()),
            manifests,
            ..Index::default()
        }
    }

    /// Changes the index; `files` come with it, and are there before it, and the names in `dirs` last when it does.
    fn edit_index(
        &self,
        files: Vec<(PathBuf, &[u8])>,
        dirs: &[PathBuf],
        edit: impl FnOnce(&mut Vec<Entry>),
    ) -> Result<(), StoreError> {
        let _lock = Lock::exclusive(&self.path("locks/index"))?;
        let mut index = self.index()?;
        // What a damaged one named is not taken away, see `roots`.
        if matches!(read_json::<Index>(&self.index_path()), Err(StoreError::Damaged { .. })) {
            move_away(&self.index_path(), &self.damaged_index_path())?;
        }
        edit(&mut index.manifests);
        let text = serde_json::to_vec_pretty(&index).expect("maps with text keys");
        let mut all = files;
        all.push((self.index_path(), &text));
        self.write_together(&all, dirs)?;
        self.write_unsynced(&self.index_copy_path(), &text)
    }

    /// Directory of an image's `stack.json` and fix layers.
    pub(super) fn stack_dir(&self, manifest: &Digest) -> PathBuf {
        self.path("stacks").join(manifest.hex())
    }

    pub(super) fn has_lowers(&self, stack: &Stack) -> bool {
        stack.lowers.iter().all(|l| self.path(l).is_dir())
    }

    /// The image with this canonical name and platform, if it is here with all its layers.
    pub fn image(&self, name: &str, platform: &str) -> Result<Option<Image>, StoreError> {
        for entry in self.index()?.manifests.iter().filter(|e| e.annotation(REF_NAME) == Some(name)) {
            if let Some(image) = self.load(entry)?
                && image.stack.platform == platform
            {
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    fn load(&self, entry: &Entry) -> Result<Option<Image>, StoreError> {
        let Ok(manifest) = Digest::parse(&entry.digest) else { return Ok(None) };
        let Some(stack) = read_derived::<Stack>(&self.stack_dir(&manifest).join("stack.json"))? else {
            return Ok(None);
        };
        if !self.suits(stack.maker) {
            return Ok(None);
        }
        // A layer that somebody removed by hand is pulled again.
        if !self.has_lowers(&stack) {
            return Ok(None);
        }
        let Ok(digest) = Digest::parse(&stack.config) else { return Ok(None) };
        let Ok(config) = fs::read(self.blob_path(&digest)) else { return Ok(None) };
        // A part of it would do without a word what the rest forbids, such as run as root.
        if Digest::of(&config) != digest {
            return Ok(None);
        }
        Ok(Some(Image {
            name: entry.annotation(REF_NAME).unwrap_or_default().to_owned(),
            manifest,
            tag_digest: entry.annotation(TAG_DIGEST).unwrap_or(&entry.digest).to_owned(),
            pulled: entry.pulled(),
            stack,
            config,
        }))
    }

    /// All images that can be run.
    pub fn images(&self) -> Result<Vec<Image>, StoreError> {
        let mut all = Vec::new();
        for entry in self.index()?.manifests.iter().filter(|e| e.annotation(REF_NAME).is_some()) {
            all.extend(self.load(entry)?);
        }
        Ok(all)
    }

    /// Makes an image known whose layers are all in place. `documents` are its manifest (first), its configuration and
    /// the index it was chosen from, if there was one.
    pub fn commit_image(
        &self,
        name: &str,
        media_type: &str,
        tag_digest: &str,
        documents: &[Document<'_>],
        stack: &Stack,
    ) -> Result<Image, StoreError> {
        let mut files = Vec::new();
        for document in documents {
            let path = self.blob_path(&document.digest);
            // One that is there may be what a power cut left of it.
            if fs::read(&path).ok().as_deref() != Some(document.bytes) {
                files.push((path, document.bytes));
            }
        }
        let manifest = &documents[0];
        let (os, architecture) = stack.platform.split_once('/').unwrap_or(("linux", &stack.platform));
        let (architecture, variant) = match architecture.split_once('/') {
            Some((a, v)) => (a, Some(v)),
            None => (architecture, None),
        };
        let mut platform = Map::new();
        platform.insert("os".into(), os.into());
        platform.insert("architecture".into(), architecture.into());
        platform.extend(variant.map(|v| ("variant".to_owned(), v.into())));
        let pulled = crate::record::clock::unix_now();
        let annotations = [(REF_NAME, name), (TAG_DIGEST, tag_digest), (PULLED, &pulled.to_string())];
        let entry = Entry {
            media_type: media_type.to_owned(),
            digest: manifest.digest.to_string(),
            size: manifest.bytes.len() as u64,
            annotations: annotations.map(|(k, v)| (k.to_owned(), v.into())).into_iter().collect(),
            rest: [("platform".to_owned(), Value::Object(platform))].into_iter().collect(),
        };
        let dir = self.stack_dir(&manifest.digest);
        let path = dir.join("stack.json");
        let mut stack = stack.clone();
        let earlier = read_derived::<Stack>(&path)?.map(|s| s.entries).unwrap_or_default();
        stack.entries = earlier.into_iter().filter(|e| !e.names_the_same(&entry)).chain([entry.clone()]).collect();
        let stack = serde_json::to_vec(&stack).expect("strings and numbers");
        files.push((path, &stack));
        let dirs = ["stacks", "layers", "images/blobs/sha256"].map(|dir| self.path(dir));
        let new = entry.clone();
        self.edit_index(files, &dirs, |entries| {
            entries.retain(|e| !e.names_the_same(&new));
            entries.push(new);
        })?;
        self.load(&entry)?.ok_or_else(|| StoreError::Damaged {
            path: self.stack_dir(&manifest.digest),
            why: "what was just written is not there".into(),
        })
    }

    /// Forgets the name; whether there was one. What it used stays until [`Store::collect`].
    pub fn forget_image(&self, name: &str, platform: Option<&str>) -> Result<bool, StoreError> {
        let mut found = false;
        if !self.index_path().exists() && !self.index_copy_path().exists() {
            return Ok(false);
        }
        self.edit_index(Vec::new(), &[], |entries| {
            entries.retain(|e| {
                let named = e.annotation(REF_NAME) == Some(name);
                let on = platform.is_none_or(|p| platform_of(e).as_deref() == Some(p));
                found |= named && on;
                !(named && on)
            });
        })?;
        Ok(found)
    }

    /// Digests of all manifests and indexes that the layout names, those of other tools too.
    pub(super) fn roots(&self) -> Result<Vec<String>, StoreError> {
        let index = self.index()?;
        let tags = index.manifests.iter().filter_map(|e| e.annotation(TAG_DIGEST).map(str::to_owned));
        let damaged = fs::read(self.damaged_index_path()).unwrap_or_default();
        let damaged = String::from_utf8_lossy(&damaged);
        let once = damaged.split('"').filter(|text| Digest::parse(text).is_ok()).map(str::to_owned);
        Ok(tags.chain(index.manifests.iter().map(|e| e.digest.clone())).chain(once).collect())
    }
}

fn platform_of(entry: &Entry) -> Option<String> {
    let platform = entry.rest.get("platform")?;
    let field = |name| platform.get(name).and_then(Value::as_str);
    let base = format!("{}/{}", field("os")?, field("architecture")?);
    Some(match field("variant") {
        Some(v) => format!("{base}/{v}"),
        None => base,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits an image without layers; gives its configuration's digest.
    fn commit(store: &Store, name: &str, manifest: &[u8], config: &[u8]) -> Digest {
        let stack = Stack {
            config: Digest::of(config).to_string(),
            platform: "linux/amd64".into(),
            layers: Vec::new(),
            lowers: Vec::new(),
            root: RootLooks::default(),
            has_setid: false,
            maker: None,
            entries: Vec::new(),
        };
        fs::create_dir_all(store.stack_dir(&Digest::of(manifest))).unwrap();
        let documents = [manifest, config].map(|bytes| Document { digest: Digest::of(bytes), bytes });
        store.commit_image(name, "a/b", "tag", &documents, &stack).unwrap();
        Digest::of(config)
    }

    fn names(store: &Store) -> Vec<String> {
        let mut names: Vec<_> = store.images().unwrap().into_iter().map(|i| i.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_damaged_index_loses_no_name() {
        for damage in ["", "{\"schemaVersion\":2,\"manifests\":[{\"digest\"", "\0\0\0\0"] {
            let root = tempfile::tempdir().unwrap();
            let store = Store::open(root.path()).unwrap();
            for (name, manifest) in [("one", "1"), ("two", "2"), ("also two", "2")] {
                commit(&store, name, manifest.as_bytes(), b"{}");
            }
            store.forget_image("one", None).unwrap();
            fs::write(store.index_path(), damage).unwrap();
            assert_eq!(names(&store), ["also two", "two"], "from the copy");
            commit(&store, "three", b"3", b"{}");
            assert_eq!(names(&store), ["also two", "three", "two"], "written again");
            fs::write(store.index_path(), damage).unwrap();
            fs::write(store.index_copy_path(), damage).unwrap();
            assert_eq!(names(&store), ["also two", "one", "three", "two"], "from the images; even a forgotten one");
            fs::remove_file(store.index_path()).unwrap();
            assert!(store.forget_image("two", None).unwrap());
            assert_eq!(names(&store), ["also two", "one", "three"]);
        }
    }

    #[test]
    fn a_damaged_document_is_not_used_and_written_again() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let config = store.blob_path(&commit(&store, "one", b"m", br#"{"config":{"User":"1000"}}"#));
        for damage in ["", "{}", "{\"config\":{\"User\":\"0000\"}}"] {
            fs::write(&config, damage).unwrap();
            assert!(store.image("one", "linux/amd64").unwrap().is_none());
            commit(&store, "one", b"m", br#"{"config":{"User":"1000"}}"#);
            assert!(store.image("one", "linux/amd64").unwrap().is_some());
        }
    }

    #[test]
    fn what_a_damaged_index_named_is_not_taken_away() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let named = format!("sha256:{}", "a".repeat(64));
        fs::write(store.index_path(), format!("{{\"manifests\":[{{\"digest\":\"{named}\"")).unwrap();
        assert!(store.images().unwrap().is_empty());
        assert!(!store.forget_image("any", None).unwrap());
        assert!(store.images().unwrap().is_empty());
        assert_eq!(store.roots().unwrap(), [named]);
    }

    #[test]
    fn entries_of_other_tools_stay_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let foreign = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": format!("sha256:{}", "b".repeat(64)),
                "size": 7,
                "artifactType": "x/y",
                "annotations": { "org.opencontainers.image.ref.name": "theirs" },
            }],
            "annotations": { "a": "b" },
        });
        fs::write(store.index_path(), foreign.to_string()).unwrap();
        store.forget_image("ours", None).unwrap();
        let after: Value = serde_json::from_slice(&fs::read(store.index_path()).unwrap()).unwrap();
        assert_eq!(after, foreign);
        // As Go programs write it.
        fs::write(store.index_path(), r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
        assert!(store.images().unwrap().is_empty());
    }
}
