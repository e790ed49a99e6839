//! Copies of single files between layers, with everything that belongs to them.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::StackError;
use crate::layer::Flavor;
use crate::layer::meta::proc_path;

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

/// Extended attributes of a file, without overlayfs's own marks on it. An escaped attribute of the image is kept.
pub(super) fn xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
    flavor: Flavor,
) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; 65536];
    let n = match list(&mut names) {
        Err(Errno::OPNOTSUPP) => 0,
        n => n?,
    };
    let mut out = Vec::new();
    let mut value = vec![0; if n == 0 { 0 } else { 65536 }];
    for name in names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let own = name.strip_prefix(flavor.prefix().as_bytes()).is_some_and(|rest| !rest.starts_with(b"overlay."));
        if own {
            continue;
        }
        let len = get(name, &mut value)?;
        out.push((name.to_vec(), value[..len].to_vec()));
    }
    out.sort();
    Ok(out)
}

/// The same of an open file or directory.
pub(super) fn fd_xattrs(fd: BorrowedFd<'_>, flavor: Flavor) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    xattrs(|buf| rustix::fs::flistxattr(fd, buf), |name, buf| rustix::fs::fgetxattr(fd, name, buf), flavor)
}

/// Owner, mode, attributes and times of one open file or directory for another.
fn metadata(from: BorrowedFd<'_>, to: BorrowedFd<'_>, flavor: Flavor) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    for (name, value) in fd_xattrs(from, flavor)? {
        rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty())?;
    }
    rustix::fs::futimens(to, &times(&stat))
}

/// Copies everything in the directory `from` into the empty directory `to`, which then looks like it. Hard links among
/// the files stay hard links.
pub fn tree(from: &OwnedFd, to: &OwnedFd, flavor: Flavor) -> rustix::io::Result<()> {
    let mut links: HashMap<_, (OwnedFd, Vec<u8>)> = HashMap::new();
    let again = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 0);
    // Directories that are still to be filled; their own looks come last, since filling changes their times.
    let mut todo = vec![(again(from)?, again(to)?)];
    let mut filled = Vec::new();
    while let Some((from, to)) = todo.pop() {
        // Its own offset, whoever else reads the directory.
        let reader =
            rustix::fs::openat(&from, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::new(reader)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rustix::fs::mkdirat(&to, name, Mode::RWXU)?;
                let open = |at: &OwnedFd| {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    rustix::fs::openat(at, name, flags, Mode::empty())
                };
                todo.push((open(&from)?, open(&to)?));
                continue;
            }
            let linked = stat.st_nlink > 1;
            if linked && let Some((dir, first)) = links.get(&(stat.st_dev, stat.st_ino)) {
                rustix::fs::linkat(dir, first.as_slice(), &to, name, AtFlags::empty())?;
                continue;
            }
            file((&from, name, &stat), (&to, name), flavor)?;
            if linked {
                links.insert((stat.st_dev, stat.st_ino), (again(&to)?, name.to_vec()));
            }
        }
        filled.push((from, to));
    }
    for (from, to) in filled.iter().rev() {
        metadata(from.as_fd(), to.as_fd(), flavor)?;
    }
    Ok(())
}

/// Makes a directory look like another one.
pub(super) fn directory(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    path: &[u8],
    flavor: Flavor,
) -> Result<(), StackError> {
    metadata(from, to, flavor).map_err(|e| StackError::io("copy the metadata of", path, e))
}

/// Copies what is called `name` in `from`, not a directory, to `to_name` in `to`, where nothing may be.
pub(super) fn file(
    (from, name, stat): (&OwnedFd, &[u8], &Stat),
    (to, to_name): (&OwnedFd, &[u8]),
    flavor: Flavor,
) -> rustix::io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let source = rustix::fs::openat(from, name, OFlags::RDONLY | flags, Mode::empty())?;
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | flags;
            let copy = rustix::fs::openat(to, to_name, create, Mode::RUSR | Mode::WUSR)?;
            content(&source, &copy, stat.st_size as u64)?;
            return metadata(source.as_fd(), copy.as_fd(), flavor);
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, to_name)?;
        }
        kind => rustix::fs::mknodat(to, to_name, kind, Mode::from_raw_mode(stat.st_mode & 0o7777), stat.st_rdev)?,
    }
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, to_name, Some(uid), Some(gid), nofollow)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        crate::layer::meta::chmod_node(to.as_fd(), to_name, stat.st_mode & 0o7777)?;
    }
    let (old, new) = (proc_path(from.as_fd(), name)?, proc_path(to.as_fd(), to_name)?);
    let attributes = xattrs(
        |buf| rustix::fs::llistxattr(old.as_slice(), buf),
        |name, buf| rustix::fs::lgetxattr(old.as_slice(), name, buf),
        flavor,
    )?;
    for (name, value) in attributes {
        rustix::fs::lsetxattr(new.as_slice(), name.as_slice(), &value, XattrFlags::empty())?;
    }
    rustix::fs::utimensat(to, to_name, &times(stat), nofollow)
}

/// Copies `size` bytes, holes as holes.
fn content(from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            begin => begin?,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(begin))?;
        let (mut read, mut write) = (begin, begin);
        while read < end {
            let len = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), len) {
                Ok(0) => return Err(Errno::IO),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    (read, write) = by_hand(from, to, read, end)?;
                }
                Err(e) => return Err(e),
            }
        }
        debug_assert_eq!(read, write);
        at = end;
    }
    rustix::fs::ftruncate(to, size)
}

/// For two file systems that cannot copy between each other.
fn by_hand(from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> rustix::io::Result<(u64, u64)> {
    let mut buf = vec![0; 128 << 10];
    while at < end {
        let want = buf.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let n = rustix::io::retry_on_intr(|| rustix::io::pread(from, &mut buf[..want], at))?;
        if n == 0 {
            return Err(Errno::IO);
        }
        let mut done = 0;
        while done < n {
            done += rustix::io::retry_on_intr(|| rustix::io::pwrite(to, &buf[done..n], at + done as u64))?;
        }
        at += n as u64;
    }
    Ok((at, at))
}
