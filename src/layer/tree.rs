//! The directory being filled. Every path operation of a layer happens here, relative to a directory descriptor.
//!
//! The destination begins empty and belongs to one thread, so this knows each directory in it. A path whose parent is
//! known is opened in one call that refuses symbolic links; any other path is walked by hand, and each link on the way
//! is read and followed inside the root. So all keys and descriptors here belong to real directories, and a link
//! that is replaced later changes nothing that was done before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::meta::Meta;
use super::path::{join, split, within};
use super::{LayerError, Limits};

/// Symbolic links followed for one path; the kernel's own bound.
const LINKS: usize = 40;
/// Open directories kept.
const CACHED: usize = 16;

/// A directory made so far. Its metadata is put on at the end: until then it must be writable whatever its mode, give
/// its group and default ACL to nothing made in it, and its time would change anyway.
#[derive(Debug, Default)]
pub(super) struct Dir {
    /// `None` while no entry described it.
    pub(super) meta: Option<Box<Meta>>,
    /// Hides what the layers below have in it.
    pub(super) opaque: bool,
    /// Has nothing to do with what lies below: the layer deleted that first.
    pub(super) fresh: bool,
    /// Holds deletion marks.
    pub(super) whiteouts: bool,
}

/// The directory being filled.
pub(super) struct Tree<'l> {
    root: Rc<OwnedFd>,
    pub(super) limits: &'l Limits,
    /// By real path; the root is empty.
    pub(super) dirs: BTreeMap<Vec<u8>, Dir>,
    /// Hard links whose target has not appeared yet: real path of the link, cleaned path of the target.
    pub(super) late: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Last used first.
    cache: Vec<(Vec<u8>, Rc<OwnedFd>)>,
    /// The last parent that went through a symbolic link, and where it led.
    alias: Option<(Vec<u8>, Vec<u8>)>,
    remembered: usize,
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Opens a directory below `root` by a path that must not contain symbolic links.
pub(super) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

impl<'l> Tree<'l> {
    /// Takes over an empty directory.
    pub(super) fn new(dest: OwnedFd, limits: &'l Limits) -> Result<Self, LayerError> {
        let prepare = || -> rustix::io::Result<OwnedFd> {
            // The caller's descriptor may be a bare O_PATH one.
            let root = open_beneath(dest.as_fd(), b"", OFlags::RDONLY)?;
            for_each_name(root.as_fd(), |_| Err(Errno::NOTEMPTY))?;
            // Nothing made in here may inherit a group or an ACL.
            rustix::fs::fchmod(&root, Mode::RWXU)?;
            match rustix::fs::fremovexattr(&root, "system.posix_acl_default") {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e),
            }
            Ok(root)
        };
        let root = prepare().map_err(|e| LayerError::io("start in the root directory", b"", e))?;
        let dirs = BTreeMap::from([(Vec::new(), Dir::default())]);
        let (cache, late) = (Vec::new(), BTreeMap::new());
        Ok(Tree { root: Rc::new(root), limits, dirs, late, cache, alias: None, remembered: 0 })
    }

    /// A descriptor of the real directory `dir`.
    pub(super) fn open(&mut self, dir: &[u8]) -> Result<Rc<OwnedFd>, LayerError> {
        if dir.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(at) = self.cache.iter().position(|(path, _)| path == dir) {
            self.cache[..=at].rotate_right(1);
            return Ok(self.cache[0].1.clone());
        }
        let fd = open_beneath(self.root.as_fd(), dir, OFlags::PATH)
            .map_err(|e| LayerError::io("open the directory", dir, e))?;
        let fd = Rc::new(fd);
        self.cache.truncate(CACHED - 1);
        self.cache.insert(0, (dir.to_vec(), fd.clone()));
        Ok(fd)
    }

    /// The same, readable.
    pub(super) fn open_readable(&self, dir: &[u8]) -> Result<OwnedFd, LayerError> {
        open_beneath(self.root.as_fd(), dir, OFlags::RDONLY).map_err(|e| LayerError::io("open the directory", dir, e))
    }

    fn remember(&mut self, bytes: usize, entry: &[u8]) -> Result<(), LayerError> {
        self.remembered += bytes;
        if self.remembered > self.limits.remembered {
            let (limit, entry) = (self.limits.remembered as u64, entry[..entry.len().min(200)].into());
            return Err(LayerError::Limit { what: "remembered bytes", limit, entry });
        }
        Ok(())
    }

    fn add_dir(&mut self, path: Vec<u8>, dir: Dir) -> Result<(), LayerError> {
        let heap = dir.meta.as_ref().map_or(0, |m| size_of::<Meta>() + m.heap());
        self.remember(path.len() + size_of::<Dir>() + 64 + heap, &path)?;
        self.dirs.insert(path, dir);
        Ok(())
    }

    /// The real path of the directory `path`; with `create`, parts of it that do not exist are made.
    /// `None` without `create` if there is no such directory.
    pub(super) fn resolve<'p>(&mut self, path: &'p [u8], create: bool) -> Result<Option<Cow<'p, [u8]>>, LayerError> {
        if self.dirs.contains_key(path) {
            return Ok(Some(path.into()));
        }
        if let Some((_, real)) = self.alias.as_ref().filter(|(from, _)| from == path) {
            return Ok(Some(real.clone().into()));
        }
        let refuse = |why: String| Err(LayerError::refused(path, why));
        let mut todo: Vec<Vec<u8>> = path.rsplit(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut real = Vec::new();
        let mut links = 0;
        while let Some(component) = todo.pop() {
            match component.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    real.truncate(split(&real).0.len());
                    continue;
                }
                _ => {}
            }
            let next = join(&real, &component);
            if self.dirs.contains_key(&next) {
                real = next;
                continue;
            }
            let parent = self.open(&real)?;
            match rustix::fs::readlinkat(&*parent, component.as_slice(), Vec::new()) {
                Ok(target) => {
                    links += 1;
                    if links > LINKS {
                        return refuse(format!("more than {LINKS} symbolic links on its way"));
                    }
                    let target = target.into_bytes();
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    todo.extend(target.rsplit(|b| *b == b'/').map(<[u8]>::to_vec));
                    continue;
                }
                Err(Errno::NOENT) if !create => return Ok(None),
                Err(Errno::NOENT) => {
                    let replaced_late = self.late.remove(&next).is_some();
                    self.make_implicit(&parent, &component, &next, replaced_late)?;
                }
                Err(Errno::INVAL) => {
                    let stat = stat(parent.as_fd(), &component, &next)?;
                    if !create {
                        return Ok(None);
                    }
                    if !stat.is_some_and(|s| is_whiteout(&s)) {
                        let shown = super::RawPath(next);
                        return refuse(format!("`{shown}` is not a directory, so nothing can be below it"));
                    }
                    // Deleted from below and made anew by what stands in it.
                    rustix::fs::unlinkat(&*parent, component.as_slice(), AtFlags::empty())
                        .map_err(|e| LayerError::io("replace", &next, e))?;
                    self.make_implicit(&parent, &component, &next, true)?;
                }
                Err(e) => return Err(LayerError::io("look up", &next, e)),
            }
            real = next;
        }
        if real != path {
            self.alias = Some((path.to_vec(), real.clone()));
        }
        Ok(Some(real.into()))
    }

    fn make_implicit(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8], fresh: bool) -> Result<(), LayerError> {
        // A chain of links can build a longer path than any name in the tar.
        let depth = path.iter().filter(|b| **b == b'/').count() + 1;
        let too = |what, limit: usize| {
            Err(LayerError::Limit { what, limit: limit as u64, entry: path[..path.len().min(200)].into() })
        };
        if path.len() > self.limits.path {
            return too("path bytes", self.limits.path);
        }
        if depth > self.limits.depth {
            return too("path depth", self.limits.depth);
        }
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(|e| LayerError::io("create the directory", path, e))?;
        self.add_dir(path.to_vec(), Dir { opaque: fresh, fresh, ..Dir::default() })
    }

    /// Makes a directory that an entry describes, or describes an existing one anew.
    pub(super) fn make_dir(&mut self, parent: &[u8], name: &[u8], meta: Meta) -> Result<(), LayerError> {
        let path = if name.is_empty() { Vec::new() } else { join(parent, name) };
        if let Some(dir) = self.dirs.get_mut(&path) {
            let heap = meta.heap();
            dir.meta = Some(Box::new(meta));
            return self.remember(heap, &path);
        }
        let fd = self.open(parent)?;
        let make = || rustix::fs::mkdirat(&*fd, name, Mode::RWXU);
        // What the layer itself put here before, be it a file or a deletion, hid the directory below.
        let mut fresh = self.late.remove(&path).is_some();
        let made = match make() {
            Err(Errno::EXIST) => {
                fresh = true;
                self.remove(parent, name)?;
                make()
            }
            made => made,
        };
        made.map_err(|e| LayerError::io("create the directory", &path, e))?;
        self.add_dir(path, Dir { meta: Some(Box::new(meta)), opaque: fresh, fresh, whiteouts: false })
    }

    /// Makes anything but a directory; what is there already is replaced, never written through.
    pub(super) fn place<T>(
        &mut self,
        parent: &[u8],
        name: &[u8],
        action: &'static str,
        make: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Result<T, LayerError> {
        let fd = self.open(parent)?;
        let made = match make(fd.as_fd()) {
            Err(Errno::EXIST) => {
                self.remove(parent, name)?;
                make(fd.as_fd())
            }
            made => made,
        };
        let made = made.map_err(|e| LayerError::io(action, &join(parent, name), e))?;
        if !self.late.is_empty() {
            self.late.remove(&join(parent, name));
        }
        Ok(made)
    }

    /// What is at a path, `None` if nothing.
    pub(super) fn stat(&mut self, parent: &[u8], name: &[u8]) -> Result<Option<Stat>, LayerError> {
        let fd = self.open(parent)?;
        stat(fd.as_fd(), name, name)
    }

    /// Notes a hard link to be made at the end, or above a lower layer.
    pub(super) fn link_later(&mut self, parent: &[u8], name: &[u8], target: Vec<u8>) -> Result<(), LayerError> {
        self.remove(parent, name)?;
        let path = join(parent, name);
        self.remember(path.len() + target.len() + 96, &path)?;
        self.late.insert(path, target);
        Ok(())
    }

    /// Removes whatever is at a path, with everything in it. Nothing there is fine.
    pub(super) fn remove(&mut self, parent: &[u8], name: &[u8]) -> Result<(), LayerError> {
        self.alias = None;
        let fd = self.open(parent)?;
        let path = join(parent, name);
        match rustix::fs::unlinkat(&*fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => {}
            Err(e) => return Err(LayerError::io("remove", &path, e)),
        }
        // Children sort after their parents. No recursion: depth is the image's choice.
        let below: Vec<Vec<u8>> = std::iter::once(path.clone()).chain(self.keys_below(&path)).collect();
        self.cache.retain(|(dir, _)| !within(dir, &path));
        for dir in below.iter().rev() {
            let (above, last) = split(dir);
            let failed = |e| LayerError::io("remove the directory", dir, e);
            let fd = self.open_readable(dir)?;
            // Unlinking while reading may skip names on some file systems, hence another round if any are left.
            for round in 0.. {
                for_each_name(fd.as_fd(), |n| rustix::fs::unlinkat(&fd, n, AtFlags::empty())).map_err(failed)?;
                match rustix::fs::unlinkat(&*self.open(above)?, last, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) if round < 100 => {}
                    Err(e) => return Err(failed(e)),
                    Ok(()) => break,
                }
            }
            self.dirs.remove(dir);
        }
        self.cache.retain(|(dir, _)| !within(dir, &path));
        let late: Vec<Vec<u8>> = range_below(&self.late, &path).map(|(k, _)| k.clone()).collect();
        late.iter().for_each(|k| drop(self.late.remove(k)));
        Ok(())
    }

    fn keys_below(&self, path: &[u8]) -> Vec<Vec<u8>> {
        range_below(&self.dirs, path).map(|(k, _)| k.clone()).collect()
    }
}

/// The keys strictly inside `dir`: those from `dir/` up to `dir0`, `0` being the byte after the slash.
fn range_below<'m, V>(map: &'m BTreeMap<Vec<u8>, V>, dir: &[u8]) -> impl Iterator<Item = (&'m Vec<u8>, &'m V)> {
    let (from, to) = ([dir, b"/"].concat(), [dir, b"0"].concat());
    map.range::<[u8], _>((Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice())))
}

pub(super) fn stat(dir: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<Option<Stat>, LayerError> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(LayerError::io("look up", path, e)),
    }
}

/// Calls `f` with each name in an open directory, from its begin.
pub(super) fn for_each_name(
    dir: BorrowedFd<'_>,
    mut f: impl FnMut(&std::ffi::CStr) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut buf = [std::mem::MaybeUninit::uninit(); 8192];
    let mut entries = rustix::fs::RawDir::new(dir, &mut buf);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            f(name)?;
        }
    }
    Ok(())
}
