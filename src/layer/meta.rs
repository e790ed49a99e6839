//! Owner, mode, extended attributes and times, in the order in which the kernel does not undo them: a change of owner
//! clears setuid and `security.capability`, and every other change moves the times.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::archive::{Entry, Time};
use super::{Flavor, LayerError, LayerNotes, Unmapped};

/// What an entry says about a file beside its content.
#[derive(Clone, Debug, Default)]
pub(super) struct Meta {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) atime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    pub(super) fn of(entry: &mut Entry) -> Self {
        let Entry { mode, uid, gid, mtime, atime, .. } = *entry;
        Meta { mode, uid, gid, mtime, atime, xattrs: std::mem::take(&mut entry.xattrs) }
    }

    /// Bytes that remembering this takes beside its own size.
    pub(super) fn heap(&self) -> usize {
        self.xattrs.iter().map(|(n, v)| n.len() + v.len() + 48).sum()
    }

    fn times(&self) -> Timestamps {
        let spec = |t: Time| Timespec { tv_sec: t.sec, tv_nsec: t.nsec.into() };
        Timestamps { last_access: spec(self.atime.unwrap_or(self.mtime)), last_modification: spec(self.mtime) }
    }
}

/// Puts metadata on files and counts what could not be put.
pub(super) struct Stamp {
    flavor: Flavor,
    unmapped: Unmapped,
    /// Owner of what this thread creates.
    uid: u32,
    gid: u32,
    umask: u32,
    /// Owners that could not be given as they are, and what of them could.
    squashed: HashMap<(u32, u32), (bool, bool)>,
    pub(super) notes: LayerNotes,
}

impl Stamp {
    pub(super) fn new(flavor: Flavor, unmapped: Unmapped) -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Stamp { flavor, unmapped, uid, gid, umask: umask(), squashed: HashMap::new(), notes: LayerNotes::default() }
    }

    /// The mode to create a file with: the right one where no second call will be needed.
    pub(super) fn creation_mode(&self, mode: u32) -> u32 {
        if mode & 0o7000 == 0 && mode & self.umask == 0 { mode } else { 0o600 }
    }

    /// Whether a new file belongs to the right owner already.
    fn is_owner(&self, meta: &Meta) -> bool {
        (meta.uid, meta.gid) == (self.uid, self.gid)
    }

    /// Gives the file to its owner. Returns the mode that it may then have.
    fn owner(
        &mut self,
        meta: &Meta,
        entry: impl Fn() -> Vec<u8> + Copy,
        chown: impl Fn(Option<Uid>, Option<Gid>) -> rustix::io::Result<()>,
    ) -> Result<u32, LayerError> {
        if self.is_owner(meta) {
            return Ok(meta.mode);
        }
        let key = (meta.uid, meta.gid);
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        if !self.squashed.contains_key(&key) {
            match chown(Some(uid), Some(gid)) {
                Ok(()) => return Ok(meta.mode),
                Err(Errno::INVAL | Errno::PERM | Errno::OVERFLOW) => {}
                Err(e) => return Err(LayerError::io("change the owner of", &entry(), e)),
            }
            if self.unmapped == Unmapped::Refuse {
                return Err(LayerError::Unmapped { entry: entry().as_slice().into(), uid: meta.uid, gid: meta.gid });
            }
        }
        let (uid_ok, gid_ok) = *self.squashed.entry(key).or_insert_with(|| {
            let uid_ok = meta.uid == self.uid || chown(Some(uid), None).is_ok();
            (uid_ok, meta.gid == self.gid || chown(None, Some(gid)).is_ok())
        });
        if uid_ok || gid_ok {
            chown(uid_ok.then_some(uid), gid_ok.then_some(gid))
                .map_err(|e| LayerError::io("change the owner of", &entry(), e))?;
        }
        self.notes.squashed_ids += 1;
        Ok(meta.mode & !(if uid_ok { 0 } else { 0o4000 } | if gid_ok { 0 } else { 0o2000 }))
    }

    fn xattrs(
        &mut self,
        meta: &Meta,
        entry: impl Fn() -> Vec<u8> + Copy,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<(), LayerError> {
        for (name, value) in &meta.xattrs {
            let name = escaped(name, self.flavor);
            match set(&name, value) {
                Ok(()) => self.notes.has_setid |= *name == *b"security.capability",
                // No privilege, none on this kind of file, or none on this file system: docker goes on, too.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => self.notes.skipped_xattrs += 1,
                // It names somebody whom this user namespace does not know.
                Err(Errno::INVAL | Errno::OVERFLOW)
                    if name.starts_with(b"system.posix_acl_") || *name == *b"security.capability" =>
                {
                    self.notes.skipped_xattrs += 1;
                }
                Err(e) => return Err(LayerError::io("set an extended attribute of", &entry(), e)),
            }
        }
        Ok(())
    }

    /// A regular file or directory by its descriptor. `created` is the mode it has.
    pub(super) fn open_file(
        &mut self,
        fd: BorrowedFd<'_>,
        meta: &Meta,
        created: Option<u32>,
        entry: impl Fn() -> Vec<u8> + Copy,
    ) -> Result<u32, LayerError> {
        let mode = self.owner(meta, entry, |u, g| rustix::fs::fchown(fd, u, g))?;
        if created != Some(mode) {
            rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))
                .map_err(|e| LayerError::io("change the mode of", &entry(), e))?;
        }
        if !meta.xattrs.is_empty() {
            self.xattrs(meta, entry, |n, v| rustix::fs::fsetxattr(fd, n, v, XattrFlags::empty()))?;
        }
        rustix::fs::futimens(fd, &meta.times()).map_err(|e| LayerError::io("set the times of", &entry(), e))?;
        Ok(mode)
    }

    /// What a regular file was created with, as far as [`Stamp::open_file`] wants to know.
    pub(super) fn created(&self, asked: u32) -> Option<u32> {
        Some(asked & !self.umask)
    }

    /// Something that cannot be opened (symbolic link, device, fifo), by its directory and name. It was made a moment
    /// ago and nobody else works here, still nothing below follows a link.
    pub(super) fn node(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
        created: Option<u32>,
        entry: impl Fn() -> Vec<u8> + Copy,
    ) -> Result<(), LayerError> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let mode = self.owner(meta, entry, |u, g| rustix::fs::chownat(dir, name, u, g, nofollow))?;
        if created.is_some_and(|c| c != mode) {
            chmod_node(dir, name, mode).map_err(|e| LayerError::io("change the mode of", &entry(), e))?;
        }
        if !meta.xattrs.is_empty() {
            let path = proc_path(dir, name).map_err(|e| LayerError::io("find /proc for", &entry(), e))?;
            self.xattrs(meta, entry, |n, v| rustix::fs::lsetxattr(path.as_slice(), n, v, XattrFlags::empty()))?;
        }
        rustix::fs::utimensat(dir, name, &meta.times(), nofollow)
            .map_err(|e| LayerError::io("set the times of", &entry(), e))
    }

    /// A file that has got another name with `meta` in its header. Most headers repeat what the file has.
    pub(super) fn linked(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
        entry: impl Fn() -> Vec<u8> + Copy,
    ) -> Result<(), LayerError> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let failed = |e| LayerError::io("look at", &entry(), e);
        let has = rustix::fs::statat(dir, name, nofollow).map_err(failed)?;
        let is_link = FileType::from_raw_mode(has.st_mode) == FileType::Symlink;
        let chown = |u, g| rustix::fs::chownat(dir, name, u, g, nofollow);
        let mut mode = meta.mode;
        if (has.st_uid, has.st_gid) != (meta.uid, meta.gid) {
            if self.is_owner(meta) {
                chown(Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))
                    .map_err(|e| LayerError::io("change the owner of", &entry(), e))?;
            }
            mode = self.owner(meta, entry, chown)?;
        }
        // Whether or not it is the same: a change of owner has taken setuid away.
        if !is_link {
            let now = rustix::fs::statat(dir, name, nofollow).map_err(failed)?.st_mode & 0o7777;
            if now != mode {
                chmod_node(dir, name, mode).map_err(|e| LayerError::io("change the mode of", &entry(), e))?;
            }
            self.notes.has_setid |= mode & 0o6000 != 0 && FileType::from_raw_mode(has.st_mode) == FileType::RegularFile;
        }
        if !meta.xattrs.is_empty() {
            let path = proc_path(dir, name).map_err(|e| LayerError::io("find /proc for", &entry(), e))?;
            self.xattrs(meta, entry, |n, v| rustix::fs::lsetxattr(path.as_slice(), n, v, XattrFlags::empty()))?;
        }
        rustix::fs::utimensat(dir, name, &meta.times(), nofollow)
            .map_err(|e| LayerError::io("set the times of", &entry(), e))
    }

    /// A directory that no entry describes: root's, 0755, as it stands.
    pub(super) fn implicit_dir(
        &mut self,
        fd: BorrowedFd<'_>,
        entry: impl Fn() -> Vec<u8> + Copy,
    ) -> Result<(), LayerError> {
        // The image says nothing about its owner, so one that cannot be given is no fault.
        if (self.uid, self.gid) != (0, 0) {
            match rustix::fs::fchown(fd, Some(Uid::ROOT), Some(Gid::ROOT)) {
                Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::OVERFLOW) => {}
                Err(e) => return Err(LayerError::io("change the owner of", &entry(), e)),
            }
        }
        rustix::fs::fchmod(fd, Mode::from_raw_mode(0o755))
            .map_err(|e| LayerError::io("change the mode of", &entry(), e))
    }
}

/// An overlayfs attribute inside the image means nothing to our mount and must not: Linux 6.7 and newer show
/// `trusted.overlay.overlay.x` of a lower directory as `trusted.overlay.x`, older ones hide it.
fn escaped(name: &[u8], flavor: Flavor) -> std::borrow::Cow<'_, [u8]> {
    let prefix = flavor.prefix().as_bytes();
    match name.strip_prefix(prefix) {
        Some(rest) => [prefix, b"overlay.", rest].concat().into(),
        None => name.into(),
    }
}

/// chmod of a device or fifo: by a descriptor that was not opened for I/O, since opening a device can have effects.
pub(super) fn chmod_node(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> rustix::io::Result<()> {
    use rustix::fs::OFlags;
    let fd = rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let path = proc_path(std::os::fd::AsFd::as_fd(&fd), b"")?;
    rustix::fs::chmodat(CWD, path.as_slice(), Mode::from_raw_mode(mode), AtFlags::empty())
}

/// A path to `name` in `dir` for the calls that have no `at` form; fails unless /proc is a real procfs.
pub(super) fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    #[allow(clippy::unnecessary_cast)]
    if rustix::fs::statfs("/proc/self/fd")?.f_type as i64 != PROC_SUPER_MAGIC {
        return Err(Errno::NOSYS);
    }
    let mut path = format!("/proc/self/fd/{}", dir.as_raw_fd()).into_bytes();
    if !name.is_empty() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Ok(path)
}

/// The process's umask, without changing it; all bits if it cannot be known, which only costs a chmod per file.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    line.and_then(|v| u32::from_str_radix(v.trim(), 8).ok()).unwrap_or(0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_attributes_are_escaped_for_their_own_mount_only() {
        let e = |n: &str, f| String::from_utf8(escaped(n.as_bytes(), f).into_owned()).unwrap();
        assert_eq!(e("trusted.overlay.opaque", Flavor::Trusted), "trusted.overlay.overlay.opaque");
        assert_eq!(e("trusted.overlay.overlay.opaque", Flavor::Trusted), "trusted.overlay.overlay.overlay.opaque");
        assert_eq!(e("user.overlay.opaque", Flavor::Trusted), "user.overlay.opaque");
        assert_eq!(e("user.overlay.redirect", Flavor::User), "user.overlay.overlay.redirect");
        assert_eq!(e("user.overlayed", Flavor::User), "user.overlayed");
    }
}
