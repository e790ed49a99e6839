//! The extra directory above one layer.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::view::{Found, View, is_opaque};
use super::{LayerRef, StackError, copy, paths};
use crate::layer::Flavor;
use crate::layer::path::{join, split};
use crate::layer::tree::{for_each_name, is_whiteout, open_beneath};

pub(super) struct Fix<'a> {
    /// What lies below the layer.
    pub(super) below: View<'a>,
    /// The same with the layer.
    pub(super) with: View<'a>,
    pub(super) layer: LayerRef<'a>,
    implicit: BTreeSet<&'a [u8]>,
    dest: OwnedFd,
    pub(super) flavor: Flavor,
    /// Directories made in the fix; they get their metadata at the end.
    made: BTreeSet<Vec<u8>>,
    /// Copies made in the fix, by the source's device and inode.
    pub(super) copies: HashMap<(u64, u64), Vec<u8>>,
    /// All of them.
    pub(super) placed: HashSet<Vec<u8>>,
    /// One of them has more names in its own layer.
    pub(super) shared: bool,
}

/// Fills `dest`, an empty directory, with what has to lie directly above `layer`.
///
/// `below` are the directories under the layer, base first, fixes included, as [`plan`](super::plan) has them. Returns
/// whether anything was needed; if not, `dest` is still empty and can be left out of the stack.
pub fn build_fix(
    below: &[BorrowedFd<'_>],
    layer: LayerRef<'_>,
    dest: BorrowedFd<'_>,
    flavor: Flavor,
) -> Result<bool, StackError> {
    let dest = open_beneath(dest, b"", OFlags::RDONLY).map_err(|e| StackError::io("open", b"", e))?;
    let with = below.iter().copied().chain([layer.dir]).collect();
    let mut fix = Fix {
        below: View { dirs: below.to_vec(), flavor },
        with: View { dirs: with, flavor },
        layer,
        implicit: paths(&layer.notes.implicit_dirs),
        dest,
        flavor,
        made: BTreeSet::new(),
        copies: HashMap::new(),
        placed: HashSet::new(),
        shared: false,
    };
    let gone = fix.phantoms()?;
    let gone_with = |path: &[u8]| covered(&gone, path);
    for dir in layer.notes.whiteout_dirs.iter().map(|p| p.0.as_slice()) {
        if !dir.is_empty() && !gone_with(dir) && !matches!(fix.lookup_below(dir)?, Found::Dir(_)) {
            // A second directory at this place makes overlayfs merge, and so heed the marks.
            fix.dir(dir)?;
        }
    }
    for dir in fix.implicit.clone() {
        if !gone_with(dir) && fix.looks_differ(dir)? {
            fix.dir(dir)?;
        }
    }
    fix.links()?;
    fix.finish()
}

/// Whether `path` or a directory above it is in `set`.
fn covered(set: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
    ends.chain([path.len()]).any(|end| set.contains(&path[..end]))
}

pub(super) fn list(dir: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<(Vec<u8>, Stat)>, StackError> {
    let mut out = Vec::new();
    for_each_name(dir, |name| {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        out.push((name.to_bytes().to_vec(), stat));
        Ok(())
    })
    .map_err(|e| StackError::io("read the directory", path, e))?;
    Ok(out)
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

impl<'a> Fix<'a> {
    /// The layer's own directory at `path`, if it has one.
    fn own(&self, path: &[u8]) -> Result<Option<OwnedFd>, StackError> {
        match open_beneath(self.layer.dir, path, OFlags::RDONLY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(e) => Err(StackError::io("open", path, e)),
        }
    }

    /// What the layer's `path` is merged with: nothing if a directory of the layer above it is opaque.
    fn lookup_below(&self, path: &[u8]) -> Result<Found, StackError> {
        let mut above = split(path).0;
        while !above.is_empty() {
            if let Some(fd) = self.own(above)?
                && is_opaque(fd.as_fd(), self.flavor).map_err(|e| StackError::io("look up", above, e))?
            {
                return Ok(Found::Nothing);
            }
            above = split(above).0;
        }
        self.below.lookup(path)
    }

    /// Whether an unlisted directory lies on one that looks different.
    fn looks_differ(&self, path: &[u8]) -> Result<bool, StackError> {
        let (Found::Dir(below), Some(own)) = (self.lookup_below(path)?, self.own(path)?) else { return Ok(false) };
        let Some(below) = below.first() else { return Ok(false) };
        let look = |fd: &OwnedFd| -> rustix::io::Result<_> {
            let s = rustix::fs::fstat(fd)?;
            let attributes = copy::fd_xattrs(fd.as_fd(), self.flavor)?;
            Ok((s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec, attributes))
        };
        let failed = |e| StackError::io("look up", path, e);
        Ok(look(below).map_err(failed)? != look(&own).map_err(failed)?)
    }

    /// Makes a directory in the fix, with those above it.
    pub(super) fn dir(&mut self, path: &[u8]) -> Result<OwnedFd, StackError> {
        let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            let part = &path[..end];
            if self.made.insert(part.to_vec()) {
                let (above, name) = split(part);
                self.open(above)
                    .and_then(|dir| rustix::fs::mkdirat(dir, name, Mode::RWXU))
                    .map_err(|e| StackError::io("create the directory", part, e))?;
            }
        }
        self.open(path).map_err(|e| StackError::io("open", path, e))
    }

    pub(super) fn open(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        open_beneath(self.dest.as_fd(), path, OFlags::RDONLY)
    }

    /// Directories that exist only to hold deletions, where there is no directory to delete from. They go away again,
    /// and deletions under a symbolic link are done where the link leads. Returns the uppermost ones.
    fn phantoms(&mut self) -> Result<BTreeSet<Vec<u8>>, StackError> {
        let layer = self.layer;
        let mut links_in: HashSet<&[u8]> = HashSet::new();
        for (link, _) in &layer.notes.deferred_links {
            let mut above = split(&link.0).0;
            while !above.is_empty() && links_in.insert(above) {
                above = split(above).0;
            }
        }
        let mut phantoms: HashSet<&[u8]> = HashSet::new();
        // Children sort after their parents.
        for &path in self.implicit.iter().rev() {
            let Some(own) = self.own(path)? else { continue };
            let only_marks = list(own.as_fd(), path)?
                .iter()
                .all(|(name, stat)| is_whiteout(stat) || is_dir(stat) && phantoms.contains(&join(path, name)[..]));
            if only_marks && !links_in.contains(path) {
                phantoms.insert(path);
            }
        }
        let mut gone: BTreeSet<Vec<u8>> = BTreeSet::new();
        for path in self.implicit.clone() {
            if !phantoms.contains(path) || covered(&gone, path) {
                continue;
            }
            match self.lookup_below(path)? {
                Found::Dir(_) => continue,
                Found::Nothing => self.whiteout(path)?,
                Found::Other { parent, name, stat } => {
                    self.copy(&parent, &name, &stat, path)?;
                    self.delete_through(path)?;
                }
            }
            gone.insert(path.to_vec());
        }
        Ok(gone)
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), StackError> {
        let (above, name) = split(path);
        let dir = self.dir(above)?;
        match rustix::fs::mknodat(&dir, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(StackError::io("mark as deleted", path, e)),
        }
    }

    /// Does the deletions inside the layer's `path` to where `path` leads in the layers below.
    fn delete_through(&mut self, path: &[u8]) -> Result<(), StackError> {
        let mut todo = vec![path.to_vec()];
        while let Some(dir) = todo.pop() {
            let Some(own) = self.own(&dir)? else { continue };
            let real = self.below.real_dir(&dir)?;
            for (name, stat) in list(own.as_fd(), &dir)? {
                if is_dir(&stat) {
                    todo.push(join(&dir, &name));
                    continue;
                }
                let Some(real) = &real else { continue };
                let target = join(real, &name);
                if matches!(self.below.lookup(&target)?, Found::Nothing) {
                    continue;
                }
                // What the layer itself has there stays.
                let kept = match open_beneath(self.layer.dir, real, OFlags::PATH) {
                    Ok(fd) => rustix::fs::statat(fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).is_ok(),
                    Err(_) => false,
                };
                if !kept {
                    self.whiteout(&target)?;
                }
            }
        }
        Ok(())
    }

    /// Metadata of the directories made, children first. True if there are any files or directories.
    fn finish(self) -> Result<bool, StackError> {
        for path in self.made.iter().rev() {
            let own = self.own(path)?;
            let from = match own {
                Some(own) if !self.implicit.contains(&path[..]) => own,
                own => match self.lookup_below(path)? {
                    Found::Dir(below) => match below.into_iter().next() {
                        Some(fd) => fd,
                        None => continue,
                    },
                    _ => match own {
                        Some(own) => own,
                        None => continue,
                    },
                },
            };
            let to = self.open(path).map_err(|e| StackError::io("open", path, e))?;
            copy::directory(from.as_fd(), to.as_fd(), path, self.flavor)?;
        }
        let mut any = false;
        for_each_name(self.dest.as_fd(), |_| {
            any = true;
            Ok(())
        })
        .map_err(|e| StackError::io("read the directory", b"", e))?;
        Ok(any)
    }
}
