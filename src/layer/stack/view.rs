//! Look-ups in directories as overlayfs would merge them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::StackError;
use crate::layer::Flavor;
use crate::layer::path::{join, split};
use crate::layer::tree::is_whiteout;

/// Symbolic links followed for one path; the kernel's own bound.
const LINKS: usize = 40;

/// Directories on top of each other, base first.
pub(super) struct View<'a> {
    pub(super) dirs: Vec<BorrowedFd<'a>>,
    pub(super) flavor: Flavor,
}

/// What is at a path.
pub(super) enum Found {
    Nothing,
    /// The directories that are merged here, the uppermost first.
    Dir(Vec<OwnedFd>),
    /// Anything else: the directory that it is in, its name and its status.
    Other {
        parent: OwnedFd,
        name: Vec<u8>,
        stat: Box<Stat>,
    },
}

impl View<'_> {
    fn root(&self) -> Result<Vec<OwnedFd>, StackError> {
        let open = |dir: &BorrowedFd<'_>| open_dir(*dir, b".").map_err(|e| StackError::io("open", b"", e));
        self.dirs.iter().rev().map(open).collect()
    }

    /// What is at `path`, no component of which may be a symbolic link; below one there is nothing.
    pub(super) fn lookup(&self, path: &[u8]) -> Result<Found, StackError> {
        let mut dirs = self.root()?;
        if path.is_empty() {
            return Ok(Found::Dir(dirs));
        }
        let mut components = path.split(|b| *b == b'/').peekable();
        while let Some(name) = components.next() {
            match self.step(&dirs, name, path)? {
                Found::Dir(next) => dirs = next,
                Found::Other { .. } if components.peek().is_some() => return Ok(Found::Nothing),
                other => return Ok(other),
            }
        }
        Ok(Found::Dir(dirs))
    }

    /// `name` in merged directories.
    fn step(&self, dirs: &[OwnedFd], name: &[u8], path: &[u8]) -> Result<Found, StackError> {
        let mut merged = Vec::new();
        for dir in dirs {
            let stat = match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(e) => return Err(StackError::io("look up", path, e)),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if merged.is_empty() && !is_whiteout(&stat) {
                    let parent = dir.try_clone().map_err(|e| no_descriptor(path, e))?;
                    return Ok(Found::Other { parent, name: name.to_vec(), stat: Box::new(stat) });
                }
                break;
            }
            let fd = open_dir(dir.as_fd(), name).map_err(|e| StackError::io("open", path, e))?;
            let opaque = is_opaque(fd.as_fd(), self.flavor).map_err(|e| StackError::io("look up", path, e))?;
            merged.push(fd);
            if opaque {
                break;
            }
        }
        Ok(if merged.is_empty() { Found::Nothing } else { Found::Dir(merged) })
    }

    /// The real path of `path`, links on the way followed inside the root and the last component taken as it is.
    /// `None` if its parent is not there.
    pub(super) fn real(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StackError> {
        let (parent, name) = split(path);
        Ok(self.real_dir(parent)?.map(|dir| join(&dir, name)))
    }

    /// The real path of a directory.
    pub(super) fn real_dir(&self, path: &[u8]) -> Result<Option<Vec<u8>>, StackError> {
        let mut todo: Vec<Vec<u8>> = path.rsplit(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut real = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    real.truncate(split(&real).0.len());
                    continue;
                }
                _ => {}
            }
            let next = join(&real, &name);
            match self.lookup(&next)? {
                Found::Dir(_) => real = next,
                Found::Other { parent, name, stat } if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(StackError::TooManyLinks { path: path.into() });
                    }
                    let target = rustix::fs::readlinkat(&parent, name.as_slice(), Vec::new())
                        .map_err(|e| StackError::io("read the link", &next, e))?
                        .into_bytes();
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    todo.extend(target.rsplit(|b| *b == b'/').map(<[u8]>::to_vec));
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(real))
    }
}

fn no_descriptor(path: &[u8], source: std::io::Error) -> StackError {
    StackError::Io { action: "open", path: path.into(), source }
}

fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Whether a directory hides what is below it.
pub(super) fn is_opaque(dir: BorrowedFd<'_>, flavor: Flavor) -> rustix::io::Result<bool> {
    let mut value = [0u8; 2];
    match rustix::fs::fgetxattr(dir, flavor.opaque(), &mut value[..]) {
        Ok(n) => Ok(value[..n] == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e),
    }
}
