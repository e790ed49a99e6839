//! Who holds in memory what is not on storage yet: this run of the kernel, and in it this mount of the file system.
//! After a reboot, and after the file system was shut down and mounted again, storage is all there is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::layer::record::Look;

/// A name for the present life of the file system that `path` is on; `None` where the kernel does not tell which run of
/// it this is, as without /proc. A file system that is not ext4, XFS, F2FS or btrfs is told by its device alone.
pub(super) fn current(path: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot = boot.trim();
    if boot.len() != 36 || !boot.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return None;
    }
    let device = fs::metadata(path).ok()?.dev();
    Some(format!("{boot}-{device:x}-{:x}", instance(path, device)))
}

/// The kernel makes a directory in /sys/fs for each mounted file system, with a number that it gives to no other one
/// until it has gone through them all.
fn instance(path: &Path, device: u64) -> u64 {
    let number = |path: std::path::PathBuf| fs::metadata(path).ok().map(|m| m.ino());
    if let Some(name) = block_device(device) {
        let kinds = ["ext4", "xfs", "f2fs"].into_iter();
        return kinds.filter_map(|kind| number(Path::new("/sys/fs").join(kind).join(&name))).next().unwrap_or(0);
    }
    // btrfs has device numbers of no device. The begin of its file system id is the same for all of its subvolumes.
    let Ok(stat) = rustix::fs::statvfs(path) else { return 0 };
    for entry in fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten() {
        let digits: String = entry.file_name().to_string_lossy().chars().filter(|c| *c != '-').collect();
        let word = |i: usize| digits.get(i * 8..i * 8 + 8).and_then(|w| u32::from_str_radix(w, 16).ok());
        if let (32, Some(a), Some(c)) = (digits.len(), word(0), word(2))
            && a ^ c == stat.f_fsid as u32
        {
            return number(entry.path()).unwrap_or(0);
        }
    }
    0
}

/// The kernel's name of a block device: `sda1`.
fn block_device(device: u64) -> Option<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(link.file_name()?.to_str()?.to_owned())
}

/// How to look at files of which it is not known that they have reached storage. XFS, btrfs and ext4 with a journal set
/// a file's size only with its data, or with space that reads as a hole until the data is there, and bring directories
/// back as they were at one moment. Of others we do not know that.
pub(super) fn look(path: &Path) -> Look {
    const EXT4: i64 = 0xef53;
    const XFS: i64 = 0x5846_5342;
    const BTRFS: i64 = 0x9123_683e;
    #[allow(clippy::unnecessary_cast)]
    let kind = rustix::fs::statfs(path).map_or(0, |s| s.f_type as i64 & 0xffff_ffff);
    let ordered = || {
        let name = block_device(fs::metadata(path).ok()?.dev())?;
        let options = fs::read_to_string(Path::new("/proc/fs/ext4").join(name).join("options")).ok()?;
        let has = |option| options.lines().any(|line| line == option);
        Some(has("barrier") && (has("data=journal") || has("data=ordered") && has("delalloc")))
    };
    match kind {
        XFS | BTRFS => Look::Holes,
        EXT4 if ordered().unwrap_or(false) => Look::Holes,
        _ => Look::Content,
    }
}

/// Bytes that the machine has yet to write; everything if that is not known.
pub(super) fn unwritten() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name| {
        let value = text.lines().find_map(|line| line.strip_prefix(name))?.trim_start_matches(':');
        value.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    match (of("Dirty"), of("Writeback:")) {
        (Some(dirty), Some(writeback)) => (dirty + writeback) << 10,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let one = current(dir.path()).unwrap();
        assert_eq!(Some(&one), current(Path::new("/proc/self/cwd").parent().map(|_| dir.path()).unwrap()).as_ref());
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'), "{one}");
        assert!(unwritten() < u64::MAX);
        assert_eq!(current(Path::new("/does/not/exist")), None);
    }
}
