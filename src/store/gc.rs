//! Taking away what nothing needs any more.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::durable::move_away;
use super::images::Stack;
use super::{Store, StoreError, read_derived, remove_tree};
use crate::digest::Digest;
use crate::json::{self, Later, object};

/// What [`Store::collect`] took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Extracted layers.
    pub layers: u64,
    /// Blobs of the image layout.
    pub blobs: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

object! {
    /// The parts of a manifest or index that keep blobs alive, read as the registry's client reads them; unknown
    /// documents keep only themselves.
    struct References {
        config: Later = "config",
        layers: Vec<Later> = "layers",
        manifests: Vec<Later> = "manifests",
    }
}

object! {
    struct Reference {
        digest: String = "digest",
    }
}

/// The digest that an entry names, if it is one at all.
fn named(entry: &Later) -> Option<String> {
    entry.read::<Reference>().ok().map(|r| r.digest)
}

impl Store {
    /// Takes away everything that no image and no container needs: layers, blobs, stacks. Waits, as long as `wait`
    /// says, for others that are using the store.
    ///
    /// What is removed is first renamed out of sight, so that nobody finds half of it.
    pub fn collect(&self, wait: &mut dyn FnMut() -> bool) -> Result<Collected, StoreError> {
        self.collect_and_stop(wait, &mut |_| true)
    }

    /// The same, but `wait` is also asked while files are removed. What is out of sight by then is left to the next
    /// command, which takes it away before it does anything else.
    pub fn collect_unless(&self, wait: &mut dyn FnMut() -> bool) -> Result<Collected, StoreError> {
        let wait = std::cell::RefCell::new(wait);
        self.collect_and_stop(&mut || (wait.borrow_mut())(), &mut |_| (wait.borrow_mut())())
    }

    fn collect_and_stop(
        &self,
        wait: &mut dyn FnMut() -> bool,
        go_on: &mut dyn FnMut(&Path) -> bool,
    ) -> Result<Collected, StoreError> {
        let lock = self.lock_exclusive(wait)?;
        let mut blobs = HashSet::new();
        let mut todo = self.roots()?;
        while let Some(digest) = todo.pop() {
            if !blobs.insert(digest.clone()) {
                continue;
            }
            let Ok(parsed) = Digest::parse(&digest) else { continue };
            let Ok(bytes) = read_document(&self.blob_path(&parsed)) else { continue };
            let Ok(refs) = json::parse::<References>(&bytes) else { continue };
            todo.extend(refs.manifests.iter().filter_map(named));
            blobs.extend(std::iter::once(&refs.config).chain(&refs.layers).filter_map(named));
        }
        // A container needs the layers of its image, also when the image has been forgotten.
        let containers = self.containers()?;
        let stacks: HashSet<String> = blobs
            .iter()
            .filter_map(|d| d.strip_prefix("sha256:").map(str::to_owned))
            .chain(containers.iter().filter_map(|c| Some(c.state.manifest.strip_prefix("sha256:")?.to_owned())))
            .collect();
        let mut layers = HashSet::new();
        let mut dead: Vec<PathBuf> = Vec::new();
        for (name, path) in self.entries("stacks") {
            if !stacks.contains(&name) {
                dead.push(path);
            } else if let Some(stack) = read_derived::<Stack>(&path.join("stack.json"))? {
                layers.extend(stack.layers.iter().filter_map(|l| Digest::parse(&l.diff_id).ok()).map(|d| d.hex()));
            }
        }
        let mut collected = Collected::default();
        for (name, path) in self.entries("layers") {
            if !layers.contains(&name) {
                collected.layers += 1;
                dead.push(path);
            }
        }
        for (name, path) in self.entries("images/blobs/sha256") {
            if !blobs.contains(&format!("sha256:{name}")) {
                collected.blobs += 1;
                dead.push(path);
            }
        }
        let trash = self.tmp()?;
        let mut moved = Vec::new();
        for (i, path) in dead.iter().enumerate() {
            let to = trash.path().join(i.to_string());
            move_away(path, &to)?;
            moved.push(to);
        }
        drop(lock);
        for path in moved {
            match remove_counting(&path, go_on)? {
                Some(bytes) => collected.bytes += bytes,
                None => {
                    trash.leave();
                    return Err(StoreError::Interrupted);
                }
            }
        }
        collected.bytes += self.discard_partials(false)?;
        Ok(collected)
    }

    /// Removes the lock files of layers and images.
    pub fn collect_locks(&self, wait: &mut dyn FnMut() -> bool) -> Result<(), StoreError> {
        // They are taken only by those who hold the store's lock, so nobody is about to take one of them.
        let _lock = self.lock_exclusive(wait)?;
        for (_, path) in
            self.entries("locks").into_iter().filter(|(n, _)| n.starts_with("layer-") || n.starts_with("image-"))
        {
            let _ = fs::remove_file(&path);
        }
        Ok(())
    }

    pub(super) fn entries(&self, dir: &str) -> Vec<(String, PathBuf)> {
        let read = fs::read_dir(self.path(dir)).into_iter().flatten().flatten();
        read.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
            .filter(|(n, _)| !n.starts_with('.'))
            .collect()
    }
}

/// A manifest or index; anything larger is a layer and refers to nothing.
fn read_document(path: &Path) -> std::io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > 4 << 20 {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    fs::read(path)
}

/// Gives the bytes, or `None` if it is to stop.
fn remove_counting(path: &Path, go_on: &mut dyn FnMut(&Path) -> bool) -> Result<Option<u64>, StoreError> {
    /// So many files are looked at or removed between two questions; that takes a few milliseconds.
    const AT_ONCE: usize = 256;
    let mut bytes = 0;
    let (mut files, mut directories): (Vec<PathBuf>, Vec<PathBuf>) = (Vec::new(), Vec::new());
    let mut todo = vec![path.to_owned()];
    let mut seen = 0usize;
    while let Some(path) = todo.pop() {
        seen += 1;
        if seen.is_multiple_of(AT_ONCE) && !go_on(&path) {
            return Ok(None);
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        bytes += meta.blocks() * 512;
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|e| e.path()));
            directories.push(path);
        } else {
            files.push(path);
        }
    }
    if !go_on(path) {
        return Ok(None);
    }
    for some in files.chunks(AT_ONCE) {
        // What does not go so, for its directory's rights, goes below or is an error there.
        some.iter().for_each(|file| drop(fs::remove_file(file)));
        if !go_on(path) {
            return Ok(None);
        }
    }
    for some in directories.rchunks(AT_ONCE) {
        some.iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
        if !go_on(path) {
            return Ok(None);
        }
    }
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(meta) if meta.is_dir() => remove_tree(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(|e| StoreError::file("remove", path, e))?;
    Ok(Some(bytes))
}
