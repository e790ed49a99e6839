//! Entries of a tar made into files, and deletions into overlayfs marks (OCI image specification, `layer.md`).

use std::collections::HashSet;
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::archive::{Entry, Kind, Reader, Sparse};
use super::meta::{Meta, Stamp};
use super::path::{clean, join, split, within};
use super::record::{self, Sums};
use super::tree::{Tree, for_each_name, is_whiteout, stat};
use super::{Flavor, LayerError, LayerNotes, Limits, Unmapped};

const WHITEOUT: &[u8] = b".wh.";
const METADATA: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Where aufs keeps a file that has several names (a "pseudo link"); the names are hard links into it.
const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

/// What [`extract`] made.
pub(super) struct Applied {
    pub(super) entries: u64,
    pub(super) notes: LayerNotes,
    pub(super) record: Vec<u8>,
}

/// A real directory and a name in it.
type Place = (Vec<u8>, Vec<u8>);

struct Applier<'l> {
    tree: Tree<'l>,
    stamp: Stamp,
    flavor: Flavor,
    limits: &'l Limits,
    sums: Sums,
}

/// Applies the whole of `source` to the empty directory `dest`.
pub(super) fn extract<R: BufRead>(
    source: R,
    dest: OwnedFd,
    flavor: Flavor,
    unmapped: Unmapped,
    limits: &Limits,
) -> Result<Applied, LayerError> {
    let tree = Tree::new(dest, limits)?;
    let mut applier = Applier { tree, stamp: Stamp::new(flavor, unmapped), flavor, limits, sums: Sums::new() };
    let mut reader = Reader::new(source, limits);
    while let Some(entry) = reader.next()? {
        applier.entry(entry, &mut reader)?;
    }
    applier.finish()?;
    let record = record::of(applier.tree.open_readable(b"")?.as_fd(), &applier.sums).map_err(LayerError::Record)?;
    Ok(Applied { entries: reader.entries(), notes: applier.stamp.notes, record })
}

impl Applier<'_> {
    fn entry<R: BufRead>(&mut self, mut entry: Entry, reader: &mut Reader<'_, R>) -> Result<(), LayerError> {
        let path = clean(&entry.name, "path", &entry.name, self.limits)?;
        let (parent, name) = split(&path);
        if path.is_empty() {
            if entry.kind != Kind::Dir {
                return Err(LayerError::refused(&entry.name, "only a directory can be the root"));
            }
            return self.tree.make_dir(b"", b"", Meta::of(&mut entry));
        }
        if let Some(above) = parent.split(|b| *b == b'/').find(|c| c.starts_with(WHITEOUT)) {
            if above.starts_with(METADATA) {
                self.stamp.notes.skipped_metadata += 1;
                // It is there until the names are.
                return match &entry.kind {
                    Kind::File { size, sparse } if parent == AUFS_LINKS && !name.starts_with(WHITEOUT) => {
                        let (size, sparse, meta) = (*size, sparse.clone(), Meta::of(&mut entry));
                        self.tree.resolve(parent, true)?;
                        self.file(parent, name, &meta, size, sparse.as_ref(), reader)
                    }
                    _ => Ok(()),
                };
            }
            return Err(LayerError::refused(&entry.name, "it is inside something that is marked as deleted"));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&entry.name, parent, name, hidden);
        }
        if entry.kind == Kind::Socket {
            self.stamp.notes.skipped_sockets += 1;
            return Ok(());
        }
        let parent = self.tree.resolve(parent, true)?.unwrap_or_default();
        let meta = Meta::of(&mut entry);
        match &entry.kind {
            Kind::File { size, sparse } => self.file(&parent, name, &meta, *size, sparse.as_ref(), reader),
            Kind::Dir => self.tree.make_dir(&parent, name, meta),
            Kind::Symlink { target } => {
                if target.is_empty() || target.contains(&0) {
                    return Err(LayerError::refused(&entry.name, "its link target is empty or holds a NUL"));
                }
                let link = |dir: BorrowedFd<'_>| rustix::fs::symlinkat(target.as_slice(), dir, name);
                self.tree.place(&parent, name, "create the symbolic link", link)?;
                let dir = self.tree.open(&parent)?;
                self.stamp.node(dir.as_fd(), name, &meta, None, || path.clone())
            }
            Kind::Hardlink { target } => {
                let target = clean(target, "link target", &entry.name, self.limits)?;
                self.hardlink(&entry.name, &parent, name, target, &meta)
            }
            Kind::Char { major: 0, minor: 0 } => {
                Err(LayerError::refused(&entry.name, "a character device 0:0 would delete what lies below"))
            }
            Kind::Char { major, minor } => {
                self.node(&parent, name, &meta, FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::Block { major, minor } => {
                self.node(&parent, name, &meta, FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
            }
            Kind::Fifo => self.node(&parent, name, &meta, FileType::Fifo, 0),
            Kind::Socket => Ok(()),
        }
    }

    fn file<R: BufRead>(
        &mut self,
        parent: &[u8],
        name: &[u8],
        meta: &Meta,
        size: u64,
        sparse: Option<&Sparse>,
        reader: &mut Reader<'_, R>,
    ) -> Result<(), LayerError> {
        let asked = self.stamp.creation_mode(meta.mode);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = |dir: BorrowedFd<'_>| rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(asked));
        let fd = self.tree.place(parent, name, "create", create)?;
        let failed = |e| LayerError::io("write", &join(parent, name), e);
        let sum = match sparse {
            None if size == 0 => Some(0),
            None => {
                let mut sum = crc32fast::Hasher::new();
                reader.data(|bytes| {
                    sum.update(bytes);
                    write_all(&fd, bytes).map_err(failed)
                })?;
                Some(sum.finalize())
            }
            Some(sparse) => {
                let mut holes = Holes::new(sparse);
                reader.data(|bytes| holes.write(&fd, bytes).map_err(failed))?;
                rustix::fs::ftruncate(&fd, sparse.size).map_err(failed)?;
                None
            }
        };
        if size > 0 || sparse.is_some() {
            self.sums.insert(rustix::fs::fstat(&fd).map_err(failed)?.st_ino, sum);
        }
        let created = self.stamp.created(asked);
        let mode = self.stamp.open_file(fd.as_fd(), meta, created, || join(parent, name))?;
        self.stamp.notes.has_setid |= mode & 0o6000 != 0;
        Ok(())
    }

    fn node(&mut self, parent: &[u8], name: &[u8], meta: &Meta, kind: FileType, device: u64) -> Result<(), LayerError> {
        let asked = self.stamp.creation_mode(meta.mode);
        let make = |dir: BorrowedFd<'_>| rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(asked), device);
        match self.tree.place(parent, name, "create the device", make) {
            Err(LayerError::Io { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                self.stamp.notes.skipped_devices += 1;
                return Ok(());
            }
            other => other?,
        }
        let dir = self.tree.open(parent)?;
        let created = self.stamp.created(asked);
        self.stamp.node(dir.as_fd(), name, meta, created, || join(parent, name))
    }

    /// What the link's own header says of owner, mode and times holds for the file from then on, as with docker and GNU
    /// tar.
    fn hardlink(
        &mut self,
        entry: &[u8],
        parent: &[u8],
        name: &[u8],
        target: Vec<u8>,
        meta: &Meta,
    ) -> Result<(), LayerError> {
        if target.is_empty() {
            return Err(LayerError::refused(entry, "it is a hard link to the root directory"));
        }
        let Some((from, last)) = self.find(&target, entry)? else {
            return self.tree.link_later(parent, name, target);
        };
        let (old, new) = (join(&from, &last), join(parent, name));
        if old == new {
            return Ok(());
        }
        if within(&old, &new) {
            return Err(LayerError::refused(entry, "it is a hard link to something inside of what it replaces"));
        }
        self.link(&from, &last, parent, name)?;
        let dir = self.tree.open(parent)?;
        self.stamp.linked(dir.as_fd(), name, meta, || join(parent, name))
    }

    fn link(&mut self, from: &[u8], last: &[u8], parent: &[u8], name: &[u8]) -> Result<(), LayerError> {
        let source = self.tree.open(from)?;
        // Without AT_SYMLINK_FOLLOW a link to a symbolic link is one to the symbolic link itself.
        let link = |dir: BorrowedFd<'_>| rustix::fs::linkat(&*source, last, dir, name, AtFlags::empty());
        self.tree.place(parent, name, "create the hard link", link)
    }

    /// Where a hard link's target is in this layer: its real directory and its name. A deletion mark is not a file.
    fn find(&mut self, target: &[u8], entry: &[u8]) -> Result<Option<Place>, LayerError> {
        let (parent, name) = split(target);
        let Some(parent) = self.tree.resolve(parent, false)? else { return Ok(None) };
        let parent = parent.into_owned();
        match self.tree.stat(&parent, name)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                Err(LayerError::refused(entry, "it is a hard link to a directory"))
            }
            Some(stat) if !is_whiteout(&stat) => Ok(Some((parent, name.to_vec()))),
            _ => Ok(None),
        }
    }

    fn whiteout(&mut self, entry: &[u8], parent: &[u8], name: &[u8], hidden: &[u8]) -> Result<(), LayerError> {
        if name.starts_with(METADATA) && name != OPAQUE {
            self.stamp.notes.skipped_metadata += 1;
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::refused(entry, "a deletion mark must name what is deleted"));
        }
        let parent = self.tree.resolve(parent, true)?.unwrap_or_default().into_owned();
        if name == OPAQUE {
            if let Some(dir) = self.tree.dirs.get_mut(&parent) {
                dir.opaque = true;
            }
            return Ok(());
        }
        let fd = self.tree.open(&parent)?;
        let path = join(&parent, hidden);
        match rustix::fs::mknodat(&*fd, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => {
                if let Some(dir) = self.tree.dirs.get_mut(&parent) {
                    dir.whiteouts = true;
                }
                Ok(())
            }
            // A deletion is about lower layers only: what this layer has at the same path stays, before or after.
            Err(Errno::EXIST) => {
                if let Some(dir) = self.tree.dirs.get_mut(&path) {
                    (dir.opaque, dir.fresh) = (true, true);
                }
                Ok(())
            }
            Err(e) => Err(LayerError::io("mark as deleted", &path, e)),
        }
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        self.late_links()?;
        if self.tree.dirs.contains_key(AUFS_LINKS) {
            self.tree.remove(b"", AUFS_LINKS)?;
        }
        self.needless_whiteouts()?;
        let dirs = std::mem::take(&mut self.tree.dirs);
        let notes = &mut self.stamp.notes;
        let root = dirs.get(&b""[..]);
        notes.opaque_root = root.is_some_and(|d| d.opaque);
        notes.root_listed = root.is_some_and(|d| d.meta.is_some());
        notes.implicit_dirs = dirs
            .iter()
            .filter(|(path, dir)| dir.meta.is_none() && !dir.fresh && !path.is_empty())
            .map(|(path, _)| path.as_slice().into())
            .collect();
        notes.whiteout_dirs =
            dirs.iter().filter(|(_, dir)| dir.whiteouts).map(|(path, _)| path.as_slice().into()).collect();
        // Children first: a parent may end up with a mode that lets nobody in.
        for (path, dir) in dirs.iter().rev() {
            let fd = self.tree.open_readable(path)?;
            if dir.opaque && !path.is_empty() {
                rustix::fs::fsetxattr(&fd, self.flavor.opaque(), b"y", XattrFlags::empty())
                    .map_err(|e| LayerError::io("mark as opaque", path, e))?;
            }
            match &dir.meta {
                Some(meta) => self.stamp.open_file(fd.as_fd(), meta, None, || path.clone()).map(drop)?,
                None => self.stamp.implicit_dir(fd.as_fd(), || path.clone())?,
            }
        }
        Ok(())
    }

    /// Links whose target came later. A target can be such a link itself, so each chain is made from its end.
    fn late_links(&mut self) -> Result<(), LayerError> {
        let links: Vec<Vec<u8>> = self.tree.late.keys().cloned().collect();
        let mut left = Vec::new();
        for first in links {
            let mut chain = Vec::new();
            let mut seen = HashSet::new();
            let mut next = Some(first);
            while let Some(link) = next.take() {
                let Some(target) = self.tree.late.get(&link).cloned() else { break };
                let (parent, name) = split(&target);
                next = self.tree.resolve(parent, false)?.map(|real| join(&real, name));
                let new = seen.insert(link.clone());
                chain.push((link, target));
                if !new {
                    break;
                }
            }
            for (link, target) in chain.into_iter().rev() {
                if self.tree.late.remove(&link).is_none() {
                    continue;
                }
                match self.find(&target, &link)? {
                    Some((from, last)) => {
                        let (parent, name) = split(&link);
                        self.link(&from, &last, parent, name)?;
                    }
                    None => left.push((link.as_slice().into(), target.as_slice().into())),
                }
            }
        }
        let (count, limit) = (left.len(), self.limits.late_links);
        if count > limit {
            return Err(LayerError::Limit { what: "late links", limit: limit as u64, entry: Default::default() });
        }
        left.sort();
        self.stamp.notes.deferred_links = left;
        Ok(())
    }

    /// Takes marks away where nothing below can be seen anyway: overlayfs does not look for them in a directory that
    /// it does not merge with a lower one, and would list them.
    fn needless_whiteouts(&mut self) -> Result<(), LayerError> {
        let marked: Vec<Vec<u8>> =
            self.tree.dirs.iter().filter(|(_, d)| d.whiteouts).map(|(path, _)| path.clone()).collect();
        for path in marked {
            let mut above = path.as_slice();
            let covered = loop {
                if self.tree.dirs.get(above).is_some_and(|d| d.opaque) {
                    break true;
                }
                if above.is_empty() {
                    break false;
                }
                above = split(above).0;
            };
            if !covered {
                continue;
            }
            let fd = self.tree.open_readable(&path)?;
            let mut marks = Vec::new();
            for_each_name(fd.as_fd(), |name| {
                if stat(fd.as_fd(), name.to_bytes(), &path).is_ok_and(|s| s.is_some_and(|s| is_whiteout(&s))) {
                    marks.push(name.to_owned());
                }
                Ok(())
            })
            .map_err(|e| LayerError::io("read the directory", &path, e))?;
            for mark in marks {
                rustix::fs::unlinkat(&fd, mark.as_c_str(), AtFlags::empty())
                    .map_err(|e| LayerError::io("remove a deletion mark in", &path, e))?;
            }
            if let Some(dir) = self.tree.dirs.get_mut(&path) {
                dir.whiteouts = false;
            }
        }
        Ok(())
    }
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Writes the data of a sparse file to where it belongs.
struct Holes<'s> {
    pieces: std::slice::Iter<'s, (u64, u64)>,
    at: u64,
    left: u64,
}

impl<'s> Holes<'s> {
    fn new(sparse: &'s Sparse) -> Self {
        Holes { pieces: sparse.pieces.iter(), at: 0, left: 0 }
    }

    fn write(&mut self, fd: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
        while !bytes.is_empty() {
            if self.left == 0 {
                // The map was checked to describe exactly as many bytes as there are.
                let Some(&(offset, len)) = self.pieces.next() else { return Err(Errno::INVAL) };
                (self.at, self.left) = (offset, len);
                continue;
            }
            let now = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let n = rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, &bytes[..now], self.at))?;
            bytes = &bytes[n..];
            self.at += n as u64;
            self.left -= n as u64;
        }
        Ok(())
    }
}
