//! Extracted layers, shared between images by diff id, and how they stack.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::durable::publish;
use super::images::{Stack, StackLayer};
use super::lock::Lock;
use super::partial::Partial;
use super::{Maker, Store, StoreError, Tmp, read_derived};
use crate::digest::Digest;
use crate::layer::stack::{Element, LayerRef, RootLooks, build_fix, copy_root, plan};
use crate::layer::{Flavor, LayerNotes, record};

/// `notes.json` beside a layer's `diff/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Bytes of the unpacked tar.
    pub unpacked: u64,
    /// What stacking needs to know.
    pub notes: LayerNotes,
    /// Filled in by [`Store::commit_layer`].
    #[serde(default)]
    pub maker: Option<Maker>,
}

/// A layer being made by this process: a directory to fill and a file to keep the blob in.
#[derive(Debug)]
pub struct Draft {
    tmp: Tmp,
    partial: Option<Partial>,
    _lock: Lock,
    diff_id: Digest,
    blob: Digest,
    size: u64,
}

/// Whose turn it is to make a layer.
#[derive(Debug)]
pub enum Claim {
    /// It is there.
    There,
    /// Nobody else is making it.
    Ours(Draft),
    /// Another process is at it; ask again.
    Busy,
}

/// What a layer's `diff/` must look like, beside it; for a fix layer the ending of its name.
pub(super) const RECORD: &str = "files";

/// What a lower directory is, by index.
enum Lower {
    Layer(usize),
    Fix(usize),
}

/// How long to wait before asking again after [`Claim::Busy`].
pub const ASK_AGAIN: Duration = Duration::from_millis(5);

impl Store {
    pub(super) fn layer_dir(&self, diff_id: &Digest) -> PathBuf {
        self.path("layers").join(diff_id.hex())
    }

    /// Whether a layer is there and of use to us, together with this blob of so many bytes of it: the same layer can
    /// come in several compressions, and the image layout must have the one that the image's manifest names. Whether it
    /// is whole is known if no foreign mark concerns it.
    pub fn has_layer(&self, diff_id: &Digest, blob: &Digest, size: u64) -> bool {
        self.has_extracted(diff_id) && self.has_blob(blob, size)
    }

    /// Whether a blob of this size is there.
    pub fn has_blob(&self, blob: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(blob)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    pub(super) fn has_extracted(&self, diff_id: &Digest) -> bool {
        let dir = self.layer_dir(diff_id);
        let kept = read_derived::<Kept>(&dir.join("notes.json"));
        kept.is_ok_and(|k| k.is_some_and(|k| self.suits(k.maker))) && dir.join("diff").is_dir()
    }

    /// Asks for the right to make a layer. The caller holds the store's shared lock.
    pub fn claim_layer(&self, diff_id: &Digest, blob: &Digest, size: u64) -> Result<Claim, StoreError> {
        if self.has_layer(diff_id, blob, size) {
            return Ok(Claim::There);
        }
        let Some(lock) = Lock::try_exclusive(&self.path("locks").join(format!("layer-{}", diff_id.hex())))? else {
            return Ok(Claim::Busy);
        };
        // Between the first look and the lock somebody may have finished it.
        if self.has_layer(diff_id, blob, size) {
            return Ok(Claim::There);
        }
        let tmp = self.tmp()?;
        let diff = tmp.path().join("diff");
        fs::create_dir(&diff).map_err(|e| StoreError::file("create", &diff, e))?;
        Ok(Claim::Ours(Draft { tmp, partial: None, _lock: lock, diff_id: *diff_id, blob: *blob, size }))
    }

    /// Waits for the right to pull an image, so that two processes that miss the same image do the work once.
    pub fn try_claim_image(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        Lock::try_exclusive(&self.path("locks").join(format!("image-{}", Digest::of(name.as_bytes()).hex())))
    }

    /// Makes a verified layer known, together with its blob. A mark must list it. The names last from
    /// [`Store::commit_image`] on.
    pub fn commit_layer(&self, draft: Draft, kept: &Kept, record: &[u8]) -> Result<(), StoreError> {
        let at = draft.tmp.path();
        let kept = Kept { maker: Some(self.maker.unwrap_or(Maker::SingleId)), ..kept.clone() };
        let notes = serde_json::to_vec(&kept).expect("strings and numbers");
        self.make_files(at, &[(RECORD, record), ("notes.json", &notes)])?;
        let blob = draft.partial.as_ref().map_or_else(|| at.join("blob"), |p| p.path.clone());
        if blob.exists() {
            // Somebody else's may be there, in use by another program.
            if self.has_blob(&draft.blob, draft.size) {
                fs::remove_file(&blob).map_err(|e| StoreError::file("remove", &blob, e))?;
            } else {
                publish(&blob, &self.blob_path(&draft.blob))?;
            }
        }
        let to = self.layer_dir(&draft.diff_id);
        // It came before in another compression: a container may rest on that one, and only the blob was missing.
        if self.has_extracted(&draft.diff_id) {
            return Ok(());
        }
        // What is there is damaged or another maker's.
        let _old = self.set_aside(&to)?;
        draft.tmp.rename(&to)?;
        Ok(())
    }

    /// Computes how layers (base first; blob, size, diff id) stack for the image with this manifest, and makes the
    /// small extra layers that some need.
    pub fn stack_layers(
        &self,
        manifest: &Digest,
        config: &Digest,
        platform: &str,
        layers: &[(Digest, u64, Digest)],
        flavor: Flavor,
    ) -> Result<Stack, StoreError> {
        let mut known = Vec::new();
        let mut opened = Vec::new();
        for (digest, size, diff_id) in layers {
            let dir = self.layer_dir(diff_id);
            let notes = dir.join("notes.json");
            let kept: Kept = read_derived(&notes)?
                .ok_or_else(|| StoreError::Damaged { path: notes, why: "expected a layer here".into() })?;
            known.push(StackLayer {
                digest: digest.to_string(),
                size: *size,
                diff_id: diff_id.to_string(),
                unpacked: kept.unpacked,
            });
            opened.push((diff_id, open_dir(&dir.join("diff"))?, kept.notes));
        }
        // The same layer twice: overlayfs refuses a directory that occurs twice, and the upper one hides all of the
        // lower.
        let last_of = |i: usize| opened.iter().rposition(|(d, ..)| *d == opened[i].0) == Some(i);
        let unique: Vec<usize> = (0..opened.len()).filter(|i| last_of(*i)).collect();
        let notes: Vec<&LayerNotes> = unique.iter().map(|i| &opened[*i].2).collect();

        let draft = self.tmp()?;
        let fixes = PathBuf::from("stacks").join(manifest.hex());
        let mut made: Vec<OwnedFd> = Vec::new();
        let mut below: Vec<Lower> = Vec::new();
        let mut lowers = Vec::new();
        for element in plan(&notes) {
            match element {
                Element::Layer(i) => {
                    let (diff_id, ..) = &opened[unique[i]];
                    below.push(Lower::Layer(unique[i]));
                    lowers.push(PathBuf::from("layers").join(diff_id.hex()).join("diff"));
                }
                Element::Fix(i) => {
                    let (_, dir, notes) = &opened[unique[i]];
                    let name = made.len().to_string();
                    let path = draft.path().join(&name);
                    fs::create_dir(&path).map_err(|e| StoreError::file("create", &path, e))?;
                    let fix = open_dir(&path)?;
                    // The layer itself is on top of `below` by now; what lies below it is the rest.
                    let rest: Vec<_> = below[..below.len() - 1]
                        .iter()
                        .map(|lower| match lower {
                            Lower::Layer(i) => opened[*i].1.as_fd(),
                            Lower::Fix(i) => made[*i].as_fd(),
                        })
                        .collect();
                    let layer = LayerRef { dir: dir.as_fd(), notes };
                    if build_fix(&rest, layer, fix.as_fd(), flavor).map_err(StoreError::Stack)? {
                        let files = record::of(fix.as_fd(), &HashMap::new());
                        let files =
                            files.map_err(|e| StoreError::Damaged { path: path.clone(), why: e.to_string() })?;
                        self.make_files(draft.path(), &[(&format!("{name}.{RECORD}"), &files)])?;
                        below.push(Lower::Fix(made.len()));
                        made.push(fix);
                        lowers.push(fixes.join(name));
                    } else {
                        fs::remove_dir(&path).map_err(|e| StoreError::file("remove", &path, e))?;
                    }
                }
            }
        }
        let all: Vec<_> = unique.iter().map(|i| LayerRef { dir: opened[*i].1.as_fd(), notes: &opened[*i].2 }).collect();
        let root = root_looks(&draft, &all, flavor)?;
        let to = self.path(&fixes);
        // One from an earlier pull is the same, since the manifest is, and a running container may rest on it.
        let there = read_derived::<Stack>(&to.join("stack.json"))?;
        if there.is_none_or(|stack| !self.suits(stack.maker) || !self.has_lowers(&stack)) {
            let _old = self.set_aside(&to)?;
            draft.rename(&to)?;
        }
        lowers.reverse();
        Ok(Stack {
            config: config.to_string(),
            platform: platform.to_owned(),
            layers: known,
            lowers,
            root,
            maker: Some(self.maker.unwrap_or(Maker::SingleId)),
            has_setid: opened.iter().any(|(_, _, notes)| notes.has_setid),
            entries: Vec::new(),
        })
    }
}

/// What the root directory of these layers looks like, seen on a copy.
fn root_looks(draft: &Tmp, layers: &[LayerRef<'_>], flavor: Flavor) -> Result<RootLooks, StoreError> {
    let path = draft.path().join("root");
    let fail = |e| StoreError::file("create", &path, e);
    fs::create_dir(&path).map_err(fail)?;
    copy_root(layers, open_dir(&path)?.as_fd(), flavor).map_err(StoreError::Stack)?;
    let seen = fs::symlink_metadata(&path).map_err(fail)?;
    fs::remove_dir(&path).map_err(fail)?;
    Ok(RootLooks {
        mode: seen.mode() & 0o7777,
        uid: seen.uid(),
        gid: seen.gid(),
        modified: (seen.mtime(), seen.mtime_nsec()),
    })
}

impl Draft {
    /// The directory to fill.
    pub fn dest(&self) -> Result<OwnedFd, StoreError> {
        open_dir(&self.tmp.path().join("diff"))
    }

    /// The file to keep the blob in, and how much of it is there already; nothing if it is to be `fresh`. It stays if
    /// this draft comes to nothing, unless [`Draft::discard_blob`] says that it is worth nothing.
    pub fn blob(&mut self, store: &Store, fresh: bool) -> Result<(File, u64), StoreError> {
        if self.partial.is_none() {
            self.partial = store.partial(&self.blob, self.size)?;
        }
        match &mut self.partial {
            Some(partial) => {
                if fresh {
                    partial.empty()?;
                }
                Ok((partial.writer()?, partial.kept))
            }
            // Another process has it, for another image that claims another content for this blob.
            None => {
                let path = self.tmp.path().join("blob");
                let open = File::options().read(true).write(true).create(true).truncate(true).open(&path);
                Ok((open.map_err(|e| StoreError::file("create", &path, e))?, 0))
            }
        }
    }

    /// What has come of the blob is wrong.
    pub fn discard_blob(&mut self) {
        if let Some(partial) = self.partial.take() {
            let _ = fs::remove_file(&partial.path);
        }
    }

    /// Makes the directory empty again.
    pub fn begin_anew(&self) -> Result<(), StoreError> {
        let diff = self.tmp.path().join("diff");
        let fail = |e| StoreError::file("create", &diff, e);
        super::remove_tree(&diff).map_err(fail)?;
        fs::create_dir(&diff).map_err(fail)
    }
}

pub(super) fn open_dir(path: &Path) -> Result<OwnedFd, StoreError> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| StoreError::file("open", path, e.into()))
}
