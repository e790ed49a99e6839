//! Files of lower layers in a fix: what a hard link of the layer above points to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, OFlags, Stat};

use super::fix::{Fix, is_dir, list};
use super::view::{Found, View};
use super::{StackError, copy};
use crate::layer::path::{join, split};
use crate::layer::tree::{is_whiteout, open_beneath};

impl Fix<'_> {
    /// Copies a file to `path` in the fix, or links it there if it has been copied already.
    pub(super) fn copy(&mut self, parent: &OwnedFd, name: &[u8], stat: &Stat, path: &[u8]) -> Result<(), StackError> {
        let key = (stat.st_dev, stat.st_ino);
        if self.copies.contains_key(&key) {
            return self.link_copy(key, path);
        }
        let (above, last) = split(path);
        let dir = self.dir(above)?;
        self.clear(&dir, last);
        copy::file((parent, name, stat), (&dir, last), self.flavor).map_err(|e| StackError::io("copy up", path, e))?;
        self.placed.insert(path.to_vec());
        self.copies.insert(key, path.to_vec());
        self.shared |= stat.st_nlink > 1 && !is_dir(stat);
        Ok(())
    }

    /// Takes away a deletion mark that a link of the same layer replaces.
    fn clear(&self, dir: &OwnedFd, name: &[u8]) {
        if rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|s| is_whiteout(&s)) {
            // If this fails, so does what wants to be there, and says why.
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    }

    /// Hard links to files of lower layers.
    pub(super) fn links(&mut self) -> Result<(), StackError> {
        let layer = self.layer;
        let all: BTreeMap<&[u8], &[u8]> =
            layer.notes.deferred_links.iter().map(|(l, t)| (l.0.as_slice(), t.0.as_slice())).collect();
        let mut done: HashMap<&[u8], (u64, u64)> = HashMap::new();
        for &first in all.keys() {
            // A target can be such a link itself: each chain from its end.
            let mut chain = vec![first];
            let mut on_chain = HashSet::from([first]);
            while let Some(&target) = chain.last().and_then(|link| all.get(link)) {
                if done.contains_key(target) || !all.contains_key(target) || !on_chain.insert(target) {
                    break;
                }
                chain.push(target);
            }
            while let Some(link) = chain.pop() {
                if done.contains_key(link) {
                    continue;
                }
                let target = all[link];
                let key = match done.get(target).copied() {
                    Some(key) => {
                        self.link_copy(key, link)?;
                        key
                    }
                    None => self.copy_up(link, target)?,
                };
                done.insert(link, key);
            }
        }
        self.siblings()
    }

    /// Other names that a copied file has in its own layer, so that it stays one file under all of them.
    fn siblings(&mut self) -> Result<(), StackError> {
        if !self.shared {
            return Ok(());
        }
        let mut found = Vec::new();
        for root in &self.with.dirs {
            let mut todo = vec![Vec::new()];
            while let Some(path) = todo.pop() {
                let dir = open_beneath(*root, &path, OFlags::RDONLY).map_err(|e| StackError::io("open", &path, e))?;
                for (name, stat) in list(dir.as_fd(), &path)? {
                    if is_dir(&stat) {
                        todo.push(join(&path, &name));
                    } else if stat.st_nlink > 1 && self.copies.contains_key(&(stat.st_dev, stat.st_ino)) {
                        found.push((join(&path, &name), (stat.st_dev, stat.st_ino)));
                    }
                }
            }
        }
        for (path, key) in found {
            // Only where it can be seen.
            if matches!(self.with.lookup(&path)?, Found::Other { stat, .. } if (stat.st_dev, stat.st_ino) == key) {
                self.link_copy(key, &path)?;
            }
        }
        Ok(())
    }

    /// Another link to a copy that is in the fix already.
    fn link_copy(&mut self, key: (u64, u64), path: &[u8]) -> Result<(), StackError> {
        let Some(first) = self.copies.get(&key).cloned() else { return Ok(()) };
        if !self.placed.insert(path.to_vec()) {
            return Ok(());
        }
        let ((above, last), (first_dir, first_name)) = (split(path), split(&first));
        let dir = self.dir(above)?;
        self.clear(&dir, last);
        self.open(first_dir)
            .and_then(|old| rustix::fs::linkat(old, first_name, &dir, last, AtFlags::empty()))
            .map_err(|e| StackError::io("create the hard link", path, e))
    }

    fn copy_up(&mut self, link: &[u8], target: &[u8]) -> Result<(u64, u64), StackError> {
        let missing = || StackError::MissingTarget { link: link.into(), target: target.into() };
        let (parent, name, stat, visible) = match self.find(&self.with, target, link)? {
            Some((parent, name, stat, real)) => (parent, name, stat, Some(real)),
            // Deleted by the very layer that links to it: a rename.
            None => {
                let (parent, name, stat, _) = self.find(&self.below, target, link)?.ok_or_else(missing)?;
                (parent, name, stat, None)
            }
        };
        self.copy(&parent, &name, &stat, link)?;
        // With the target in the fix, too, both names stay one file.
        if let Some(real) = visible {
            self.copy(&parent, &name, &stat, &real)?;
        }
        Ok((stat.st_dev, stat.st_ino))
    }

    #[allow(clippy::type_complexity)]
    fn find(
        &self,
        view: &View<'_>,
        target: &[u8],
        link: &[u8],
    ) -> Result<Option<(OwnedFd, Vec<u8>, Box<Stat>, Vec<u8>)>, StackError> {
        let Some(real) = view.real(target)? else { return Ok(None) };
        match view.lookup(&real)? {
            Found::Nothing => Ok(None),
            Found::Dir(_) => Err(StackError::DirectoryTarget { link: link.into(), target: target.into() }),
            Found::Other { parent, name, stat } => Ok(Some((parent, name, stat, real))),
        }
    }
}
