//! Looking at what may not have reached storage.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;

use sha2::{Digest as _, Sha256};

use super::images::Stack;
use super::layers::{RECORD, open_dir};
use super::unsynced::Suspect;
use super::{Store, StoreError, Tmp, read_derived};
use crate::digest::Digest;
use crate::layer::Flavor;
use crate::layer::record::{self, Damage, Look};

/// What may be damaged.
#[derive(Debug, Default)]
pub struct Suspicion {
    /// Layers.
    pub layers: Vec<SuspectLayer>,
    /// Manifests whose stacks have layers of their own.
    pub manifests: Vec<Digest>,
}

/// A layer that may be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuspectLayer {
    /// Digest of the unpacked tar.
    pub diff_id: Digest,
    /// Digest and size of the blob, if known.
    pub blob: Option<(Digest, u64)>,
}

/// What a look at a layer found.
#[derive(Debug)]
pub enum Found {
    /// It is not there.
    Nothing,
    /// It is as it was made.
    Whole,
    /// It is not, and why.
    Damaged(String),
}

impl Store {
    /// What a mark speaks of. A damaged one may have been about anything.
    pub fn suspicion(&self, suspect: &Suspect) -> Suspicion {
        let layer = |diff_id: &str, blob: &str, size| {
            let blob = Digest::parse(blob).ok().map(|blob| (blob, size));
            Some(SuspectLayer { diff_id: Digest::parse(diff_id).ok()?, blob })
        };
        if let Some(listed) = suspect.listed() {
            let layers = listed.layers.iter().filter_map(|l| layer(&l.diff_id, &l.blob, l.size)).collect();
            return Suspicion { layers, manifests: Digest::parse(&listed.manifest).into_iter().collect() };
        }
        let digests = |dir: &str| {
            let names = self.entries(dir).into_iter();
            names.filter_map(|(name, _)| Digest::parse(&format!("sha256:{name}")).ok()).collect::<Vec<_>>()
        };
        let mut all = Suspicion { layers: Vec::new(), manifests: digests("stacks") };
        for manifest in &all.manifests {
            let stack = read_derived::<Stack>(&self.stack_dir(manifest).join("stack.json"));
            let layers = stack.ok().flatten().map(|s| s.layers).unwrap_or_default();
            all.layers.extend(layers.iter().filter_map(|l| layer(&l.diff_id, &l.digest, l.size)));
        }
        for diff_id in digests("layers") {
            if !all.layers.iter().any(|l| l.diff_id == diff_id) {
                all.layers.push(SuspectLayer { diff_id, blob: None });
            }
        }
        all
    }

    /// Whether a layer is what was recorded when it was made. One of a version that recorded nothing counts as whole,
    /// as it did then.
    pub fn check_layer(
        &self,
        diff_id: &Digest,
        look: Look,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Found, StoreError> {
        let dir = self.layer_dir(diff_id);
        if !dir.exists() {
            return Ok(Found::Nothing);
        }
        if !self.has_extracted(diff_id) {
            // Another maker's is not ours to judge.
            let kept = read_derived::<super::layers::Kept>(&dir.join("notes.json"));
            return Ok(match kept {
                Ok(Some(kept)) if !self.suits(kept.maker) => Found::Nothing,
                _ => Found::Damaged("its notes are damaged".into()),
            });
        }
        let record = match fs::read(dir.join(RECORD)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Whole),
            other => other.unwrap_or_default(),
        };
        let checked = open_dir(&dir.join("diff")).map(|diff| record::check(diff.as_fd(), &record, look, go_on));
        match checked {
            Ok(Ok(())) => Ok(Found::Whole),
            Ok(Err(Damage::Stopped)) => Err(StoreError::Interrupted),
            Ok(Err(damage)) => Ok(Found::Damaged(damage.to_string())),
            Err(e) => Ok(Found::Damaged(e.to_string())),
        }
    }

    /// Whether a blob is there and as it was received; a damaged one is taken away.
    pub fn check_blob(&self, blob: &Digest, size: u64, look: Look) -> Result<bool, StoreError> {
        let path = self.blob_path(blob);
        let whole = || -> io::Result<bool> {
            let mut file = File::open(&path)?;
            if file.metadata()?.len() != size {
                return Ok(false);
            }
            if look == Look::Holes {
                return Ok(size == 0 || rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0))? >= size);
            }
            let (mut hash, mut buf) = (Sha256::new(), vec![0; 256 << 10]);
            loop {
                match file.read(&mut buf)? {
                    0 => return Ok(Digest::from_bytes(hash.finalize().into()) == *blob),
                    n => hash.update(&buf[..n]),
                }
            }
        };
        match whole() {
            Ok(true) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Ok(false) | Err(_) => self.discard_blob(blob).map(|()| false),
        }
    }

    /// Takes a damaged blob away.
    pub fn discard_blob(&self, blob: &Digest) -> Result<(), StoreError> {
        self.set_aside(&self.blob_path(blob)).map(drop)
    }

    /// Takes a damaged layer away; it is removed when the value is dropped.
    pub fn discard_layer(&self, diff_id: &Digest) -> Result<Option<Tmp>, StoreError> {
        self.set_aside(&self.layer_dir(diff_id))
    }

    /// Looks at the fix layers of an image. If one is damaged all are made anew; if that cannot be done the image is
    /// not there any more, and its layers wait for the next pull.
    pub fn check_stack(
        &self,
        manifest: &Digest,
        look: Look,
        flavor: Flavor,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), StoreError> {
        let dir = self.stack_dir(manifest);
        let Some(stack) = read_derived::<Stack>(&dir.join("stack.json"))? else { return Ok(()) };
        if !self.suits(stack.maker) {
            return Ok(());
        }
        let mut damaged = false;
        for lower in stack.lowers.iter().filter(|l| l.starts_with("stacks")) {
            let path = self.path(lower);
            let record = fs::read(path.with_extension(RECORD)).unwrap_or_default();
            match open_dir(&path).map(|fix| record::check(fix.as_fd(), &record, look, go_on)) {
                Ok(Ok(())) => {}
                Ok(Err(Damage::Stopped)) => return Err(StoreError::Interrupted),
                _ => damaged = true,
            }
        }
        if !damaged {
            return Ok(());
        }
        drop(self.set_aside(&dir)?);
        let parsed = || {
            let layer = |l: &super::images::StackLayer| {
                Some((Digest::parse(&l.digest).ok()?, l.size, Digest::parse(&l.diff_id).ok()?))
            };
            Some((Digest::parse(&stack.config).ok()?, stack.layers.iter().map(layer).collect::<Option<Vec<_>>>()?))
        };
        let Some((config, layers)) = parsed() else { return Ok(()) };
        match self.stack_layers(manifest, &config, &stack.platform, &layers, flavor) {
            Ok(made) => self.write_stack(&dir, &Stack { entries: stack.entries, ..made }),
            // A layer is gone.
            Err(StoreError::Damaged { .. } | StoreError::File { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn write_stack(&self, dir: &std::path::Path, stack: &Stack) -> Result<(), StoreError> {
        self.write(&dir.join("stack.json"), &serde_json::to_vec(stack).expect("strings and numbers"))?;
        self.sync_directory_of(dir)
    }
}
