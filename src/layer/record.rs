//! What a finished layer must look like, so that it can be told later whether storage kept it: one line for each thing
//! in its directory, with looks, size and a checksum of the content.
//!
//! ```text
//! trace-files 1
//! KIND MODE UID GID SECONDS NANOSECONDS SIZE CRC32 PATH
//! …
//! end CRC32-of-all-lines-before
//! ```
//! Kinds are `f` file, `s` file with holes, `d` directory, `l` symbolic link, `c` and `b` devices, `p` fifo. A
//! directory has no size, a device's is its number, a link's checksum is its target's. The order is that of [`walk`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use super::notes::RawPath;
use super::path::join;
use super::tree::{for_each_name, open_beneath};

const HEAD: &str = "trace-files 1\n";

/// CRC-32 of the content of files by inode number; `None` for one that has holes, since where they are is not noted.
pub(super) type Sums = HashMap<u64, Option<u32>>;

/// How closely [`check`] looks at the content of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For file systems that make a size last only with its data or with a hole in their place: no hole may be there.
    Holes,
    /// For all others: every byte is read.
    Content,
}

/// Why a directory is not what was recorded.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The record itself.
    #[error("its record is damaged")]
    Record,
    /// A file.
    #[error("`{path}` {why}")]
    File {
        /// Which one.
        path: RawPath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The caller wanted no more of it.
    #[error("stopped")]
    Stopped,
    /// A system call failed.
    #[error("`{path}` cannot be read: {source}")]
    Io {
        /// What was read.
        path: RawPath,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// The record of a directory. Content whose checksum is not in `sums` is read.
pub fn of(root: BorrowedFd<'_>, sums: &Sums) -> Result<Vec<u8>, Damage> {
    let mut out = String::from(HEAD);
    walk(root, |dir, name, path, stat| {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let (letter, crc) = match kind {
            FileType::RegularFile if stat.st_size == 0 => ('f', 0),
            FileType::RegularFile => match sums.get(&stat.st_ino) {
                Some(Some(crc)) => ('f', *crc),
                Some(None) => ('s', 0),
                None => ('f', content(dir, name).map_err(|e| io(path, e))?),
            },
            FileType::Symlink => ('l', target(dir, name).map_err(|e| io(path, e))?),
            other => (letter(other), 0),
        };
        line(&mut out, letter, stat, crc, path);
        Ok(())
    })?;
    let sum = crc32fast::hash(out.as_bytes());
    writeln!(out, "end {sum:08x}").expect("into memory");
    Ok(out.into_bytes())
}

/// Whether a directory is as recorded, neither more nor less. `go_on` is asked at each thing in it.
pub fn check(root: BorrowedFd<'_>, record: &[u8], look: Look, go_on: &mut dyn FnMut() -> bool) -> Result<(), Damage> {
    let mut expected = lines(record).ok_or(Damage::Record)?.into_iter();
    let mut got = String::new();
    walk(root, |dir, name, path, stat| {
        if !go_on() {
            return Err(Damage::Stopped);
        }
        let damaged = |why| Err(Damage::File { path: path.into(), why });
        let Some(entry) = expected.next() else { return damaged("was not there") };
        let letter = entry.chars().next().unwrap_or_default();
        let crc = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if letter == 's' => {
                return damaged("has holes of its own, so that a lost part of it cannot be told");
            }
            FileType::RegularFile if look == Look::Content && stat.st_size > 0 => {
                Some(content(dir, name).map_err(|e| io(path, e))?)
            }
            FileType::RegularFile => {
                if stat.st_size > 0 && hole(dir, name).map_err(|e| io(path, e))? < stat.st_size as u64 {
                    return damaged("has lost a part of its content");
                }
                None
            }
            FileType::Symlink => Some(target(dir, name).map_err(|e| io(path, e))?),
            _ => Some(0),
        };
        got.clear();
        let recorded = entry.split(' ').nth(7).and_then(|crc| u32::from_str_radix(crc, 16).ok());
        line(&mut got, self::letter(FileType::from_raw_mode(stat.st_mode)), stat, crc.or(recorded).unwrap_or(0), path);
        if got.trim_end_matches('\n') != entry { damaged("is not what was recorded") } else { Ok(()) }
    })?;
    match expected.next() {
        None => Ok(()),
        Some(entry) => {
            let path = entry.splitn(9, ' ').nth(8).unwrap_or_default().to_owned();
            Err(Damage::File { path: RawPath::try_from(path).unwrap_or_default(), why: "is missing" })
        }
    }
}

fn lines(record: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(record).ok()?;
    let (body, end) = text.trim_end_matches('\n').rsplit_once('\n')?;
    let all = &text[..body.len() + 1];
    let sum = u32::from_str_radix(end.strip_prefix("end ")?, 16).ok()?;
    (sum == crc32fast::hash(all.as_bytes())).then_some(())?;
    Some(all.strip_prefix(HEAD)?.lines().collect())
}

fn line(out: &mut String, letter: char, stat: &Stat, crc: u32, path: &[u8]) {
    let size = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 0,
        FileType::CharacterDevice | FileType::BlockDevice => stat.st_rdev,
        _ => stat.st_size as u64,
    };
    let (mode, uid, gid) = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
    let (sec, nsec) = (stat.st_mtime, stat.st_mtime_nsec);
    writeln!(out, "{letter} {mode:o} {uid} {gid} {sec} {nsec} {size} {crc:08x} {}", RawPath::from(path))
        .expect("into memory");
}

fn letter(kind: FileType) -> char {
    match kind {
        FileType::RegularFile => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::CharacterDevice => 'c',
        FileType::BlockDevice => 'b',
        FileType::Fifo => 'p',
        _ => '?',
    }
}

/// Visits everything below `root`, and it itself first: all of a directory by name, then what is in its directories.
/// The visitor gets the directory, the name in it and the path, which is empty for the root.
fn walk(
    root: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>, &[u8], &[u8], &Stat) -> Result<(), Damage>,
) -> Result<(), Damage> {
    visit(root, b".", b"", &rustix::fs::fstat(root).map_err(|e| io(b"", e))?)?;
    let mut todo = vec![Vec::new()];
    while let Some(path) = todo.pop() {
        let dir = open_beneath(root, &path, OFlags::RDONLY).map_err(|e| io(&path, e))?;
        let mut names = Vec::new();
        for_each_name(dir.as_fd(), |name| {
            names.push(name.to_bytes().to_vec());
            Ok(())
        })
        .map_err(|e| io(&path, e))?;
        names.sort_unstable();
        let first = todo.len();
        for name in names {
            let below = join(&path, &name);
            let stat =
                rustix::fs::statat(&dir, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(|e| io(&below, e))?;
            visit(dir.as_fd(), &name, &below, &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                todo.push(below);
            }
        }
        todo[first..].reverse();
    }
    Ok(())
}

fn io(path: &[u8], source: Errno) -> Damage {
    Damage::Io { path: path.into(), source: source.into() }
}

fn open(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Where the first hole of a file begins; space that was given to it and never written is one.
fn hole(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<u64> {
    rustix::fs::seek(open(dir, name)?, SeekFrom::Hole(0))
}

fn content(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<u32> {
    let fd = open(dir, name)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = vec![0; 128 << 10];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut buf))? {
            0 => return Ok(hasher.finalize()),
            n => hasher.update(&buf[..n]),
        }
    }
}

fn target(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<u32> {
    Ok(crc32fast::hash(rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn open_root(path: &Path) -> File {
        File::open(path).unwrap()
    }

    fn tree() -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/lib/a b")).unwrap();
        fs::write(dir.path().join("usr/lib/large"), vec![7; 300_000]).unwrap();
        fs::write(dir.path().join("usr/lib/a b/x\ny"), "small").unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        symlink("lib/large", dir.path().join("usr/link")).unwrap();
        let record = of(open_root(dir.path()).as_fd(), &Sums::new()).unwrap();
        (dir, record)
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        type Change = fn(&Path);
        let untouched: Change = |_| {};
        let changes: [(Change, &str); 9] = [
            (|d| File::options().write(true).open(d.join("usr/lib/large")).unwrap().set_len(299_999).unwrap(), "large"),
            (|d| fs::write(d.join("usr/lib/large"), "").unwrap(), "large"),
            (|d| fs::remove_file(d.join("usr/lib/a b/x\ny")).unwrap(), "a b"),
            (|d| fs::write(d.join("more"), "").unwrap(), "``"),
            (|d| fs::rename(d.join("empty"), d.join("f")).unwrap(), "``"),
            (|d| drop((fs::remove_file(d.join("usr/link")), symlink("lib/larga", d.join("usr/link")))), "usr"),
            (|d| chmod(&d.join("empty"), 0o4755), "empty"),
            (|d| chmod(&d.join("usr/lib"), 0o700), "usr/lib"),
            (|d| fs::remove_dir_all(d.join("usr")).unwrap(), "``"),
        ];
        for look in [Look::Holes, Look::Content] {
            let (dir, record) = tree();
            untouched(dir.path());
            check(open_root(dir.path()).as_fd(), &record, look, &mut || true).unwrap();
            for (change, named) in &changes {
                let (dir, record) = tree();
                change(dir.path());
                let damage = check(open_root(dir.path()).as_fd(), &record, look, &mut || true).unwrap_err().to_string();
                assert!(damage.contains(named), "{damage}");
            }
        }
    }

    fn chmod(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn content_is_compared_where_a_size_says_nothing() {
        let (dir, record) = tree();
        let path = dir.path().join("usr/lib/large");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[200_000] = 8;
        let file = File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        file.set_modified(modified).unwrap();
        check(open_root(dir.path()).as_fd(), &record, Look::Holes, &mut || true).unwrap();
        let damage = check(open_root(dir.path()).as_fd(), &record, Look::Content, &mut || true).unwrap_err();
        assert!(matches!(damage, Damage::File { why: "is not what was recorded", .. }), "{damage}");
    }

    #[test]
    fn a_hole_is_noticed_without_reading() {
        let (dir, record) = tree();
        let path = dir.path().join("usr/lib/large");
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let file = File::options().write(true).truncate(true).open(&path).unwrap();
        file.set_len(300_000).unwrap();
        file.set_modified(modified).unwrap();
        let damage = check(open_root(dir.path()).as_fd(), &record, Look::Holes, &mut || true).unwrap_err();
        assert!(matches!(damage, Damage::File { why: "has lost a part of its content", .. }), "{damage}");
    }

    #[test]
    fn a_cut_record_is_none() {
        let (dir, record) = tree();
        for len in (0..record.len()).step_by(7) {
            let damage = check(open_root(dir.path()).as_fd(), &record[..len], Look::Holes, &mut || true).unwrap_err();
            assert!(matches!(damage, Damage::Record));
        }
        assert!(matches!(
            check(open_root(dir.path()).as_fd(), &[0; 99], Look::Holes, &mut || true),
            Err(Damage::Record)
        ));
    }
}
