//! Where a mount goes: paths looked up in the container's root, and made there if they are missing.
//!
//! Every part is opened beneath the root without following links; a link is read and followed by hand, inside the root,
//! so that whoever shares a volume with us and changes it meanwhile cannot lead us out. Nothing is allocated.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Longest path, with its terminating zero (`PATH_MAX`).
const LONGEST: usize = 4096;
/// Links followed for one path; the kernel's own bound.
const LINKS: usize = 40;

/// What is to be made of a missing last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// A place in the root, for a mount.
pub(super) struct Found {
    /// It, opened as a path.
    pub fd: OwnedFd,
    /// Whether it is `/proc`, or in it and not one of the few files there that may be replaced.
    pub in_proc: bool,
}

/// A path in a buffer of its own.
struct Path {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Path { bytes: [0; LONGEST], len: 0 }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// With a zero after it; the current directory if it is empty.
    fn as_c_str(&self) -> &CStr {
        if self.len == 0 {
            return c".";
        }
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c".")
    }

    fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let slash = usize::from(self.len > 0);
        let end = self.len + slash + part.len();
        if end >= LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        if slash == 1 {
            self.bytes[self.len] = b'/';
        }
        self.bytes[self.len + slash..end].copy_from_slice(part);
        self.bytes[end] = 0;
        self.len = end;
        Ok(())
    }

    fn pop(&mut self) {
        self.len = self.as_slice().iter().rposition(|b| *b == b'/').unwrap_or(0);
        self.bytes[self.len] = 0;
    }
}

/// Opens `path` (relative to the root) and makes what is missing of it.
pub(super) fn find(root: BorrowedFd<'_>, path: &CStr, missing: Missing) -> Result<Found, Errno> {
    // Real directories so far, and what is still to be walked; a link's target goes before the rest.
    let mut done = Path::new();
    let mut rest = Path::new();
    rest.push(path.to_bytes())?;
    let mut link = [0u8; LONGEST];
    let (mut begin, mut links) = (0, 0);
    loop {
        let left = &rest.as_slice()[begin..];
        let Some(skip) = left.iter().position(|b| *b != b'/') else { break };
        begin += skip;
        let left = &rest.as_slice()[begin..];
        let len = left.iter().position(|b| *b == b'/').unwrap_or(left.len());
        let part = (begin, begin + len);
        begin += len;
        let last = rest.as_slice()[begin..].iter().all(|b| *b == b'/');
        match &rest.as_slice()[part.0..part.1] {
            b"." => continue,
            b".." => {
                done.pop();
                continue;
            }
            _ => {}
        }
        let above = open(root, done.as_c_str(), OFlags::DIRECTORY)?;
        let mut name = [0u8; 256];
        let bytes = &rest.as_slice()[part.0..part.1];
        if bytes.len() >= name.len() {
            return Err(Errno::NAMETOOLONG);
        }
        name[..bytes.len()].copy_from_slice(bytes);
        let c_name = CStr::from_bytes_until_nul(&name).map_err(|_| Errno::INVAL)?;
        match rustix::fs::readlinkat_raw(&above, c_name, &mut link[..]) {
            Ok(len) if len == LONGEST => return Err(Errno::NAMETOOLONG),
            Ok(len) => {
                let target = &link[..len];
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                let mut next = Path::new();
                next.push(target)?;
                if target.first() == Some(&b'/') {
                    done = Path::new();
                }
                if !last {
                    next.push(&rest.as_slice()[begin..])?;
                }
                rest = next;
                begin = 0;
                continue;
            }
            // Not a link.
            Err(Errno::INVAL) => {}
            Err(Errno::NOENT) => make(above.as_fd(), c_name, last && missing == Missing::File)?,
            Err(e) => return Err(e),
        }
        done.push(c_name.to_bytes())?;
    }
    let fd = open(root, done.as_c_str(), OFlags::empty())?;
    Ok(Found { fd, in_proc: in_proc(done.as_slice()) })
}

fn make(above: BorrowedFd<'_>, name: &CStr, file: bool) -> Result<(), Errno> {
    let made = if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(above, name, flags, Mode::from_raw_mode(0o755)).map(drop)
    } else {
        rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755))
    };
    match made {
        // Somebody who shares a volume with us was faster.
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// What runc lets a mount replace in /proc, for programs that show a container its own figures (lxcfs).
const REPLACEABLE: [&[u8]; 11] = [
    b"proc/cpuinfo",
    b"proc/diskstats",
    b"proc/meminfo",
    b"proc/stat",
    b"proc/swaps",
    b"proc/uptime",
    b"proc/loadavg",
    b"proc/slabinfo",
    b"proc/net/dev",
    b"proc/sys/kernel/ns_last_pid",
    b"proc/sys/crypto/fips_enabled",
];

fn in_proc(path: &[u8]) -> bool {
    (path == b"proc" || path.starts_with(b"proc/")) && !REPLACEABLE.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_the_root_and_missing_parts_made() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let at = |p: &str| dir.path().join(p);
        fs::create_dir_all(at("a/b")).unwrap();
        symlink("/a", at("abs")).unwrap();
        symlink("../../../../a/b", at("a/up")).unwrap();
        symlink("/run/later", at("dangling")).unwrap();
        symlink("loop2", at("loop1")).unwrap();
        symlink("loop1", at("loop2")).unwrap();
        symlink(outside.path(), at("out")).unwrap();
        let root = fs::File::open(dir.path()).unwrap();
        let go = |path: &CStr, missing| find(root.as_fd(), path, missing);
        let same = |found: Found, path: &str| {
            let (a, b) = (rustix::fs::fstat(&found.fd).unwrap(), rustix::fs::stat(at(path)).unwrap());
            assert_eq!((a.st_dev, a.st_ino), (b.st_dev, b.st_ino), "{path}");
        };
        same(go(c"abs/b", Missing::Directory).unwrap(), "a/b");
        same(go(c"a/up", Missing::Directory).unwrap(), "a/b");
        same(go(c"x/y/z", Missing::Directory).unwrap(), "x/y/z");
        same(go(c"abs/file", Missing::File).unwrap(), "a/file");
        assert!(at("a/file").is_file());
        same(go(c"dangling/deep", Missing::Directory).unwrap(), "run/later/deep");
        assert_eq!(go(c"loop1", Missing::Directory).err(), Some(Errno::LOOP));
        assert!(go(c"a/file/below", Missing::Directory).is_err());
        go(c"out/x", Missing::Directory).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing is made outside the root");
        assert!(go(c"proc/self", Missing::Directory).unwrap().in_proc);
        assert!(!go(c"proc/cpuinfo", Missing::File).unwrap().in_proc);
    }
}
