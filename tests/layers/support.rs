//! Tars byte by byte, and a destination with a canary beside it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use trace_run::digest::Digest;
use trace_run::layer::{Compression, Flavor, Job, LayerError, Limits, Outcome, Progress, Unmapped, run};

pub use crate::common::tree::{list, xattr};
pub use crate::common::{is_root, needs};

/// Some root: the host's, or that of a user namespace that has its own mount namespace.
pub fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether files can be given to any user; a user namespace with one id in it has no other.
pub fn may_chown() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    may_mount() && map.split_whitespace().nth(2).is_some_and(|n| n.parse().is_ok_and(|n: u64| n > 60_000))
}

pub fn has_program(name: &str) -> bool {
    std::process::Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success())
}

/// A header and its data.
#[derive(Clone)]
pub struct Raw {
    pub name: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: i64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    pub size: u64,
    pub data: Vec<u8>,
    pub magic: [u8; 8],
    pub prefix: Vec<u8>,
}

pub fn raw(flag: u8, name: impl AsRef<[u8]>) -> Raw {
    let mode = if flag == b'5' { 0o755 } else { 0o644 };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Raw {
        name: name.as_ref().to_vec(),
        flag,
        mode,
        uid,
        gid,
        mtime: 1_000_000_000,
        link: Vec::new(),
        device: (0, 0),
        size: 0,
        data: Vec::new(),
        magic: *b"ustar\x0000",
        prefix: Vec::new(),
    }
}

fn number(field: &mut [u8], value: i64) {
    let digits = field.len() - 1;
    if value >= 0 && value < 1 << (3 * digits) {
        field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    } else {
        let bytes = value.to_be_bytes();
        let fill = if value < 0 { 0xff } else { 0 };
        field.fill(fill);
        let at = field.len().saturating_sub(8);
        let skip = 8usize.saturating_sub(field.len());
        field[at..].copy_from_slice(&bytes[skip..]);
        field[0] |= 0x80;
    }
}

impl Raw {
    pub fn header(&self) -> [u8; 512] {
        let mut h = [0u8; 512];
        assert!(self.name.len() <= 100 && self.link.len() <= 100);
        h[..self.name.len()].copy_from_slice(&self.name);
        number(&mut h[100..108], self.mode.into());
        number(&mut h[108..116], self.uid.into());
        number(&mut h[116..124], self.gid.into());
        number(&mut h[124..136], self.size as i64);
        number(&mut h[136..148], self.mtime);
        h[156] = self.flag;
        h[157..157 + self.link.len()].copy_from_slice(&self.link);
        h[257..265].copy_from_slice(&self.magic);
        number(&mut h[329..337], self.device.0.into());
        number(&mut h[337..345], self.device.1.into());
        h[345..345 + self.prefix.len()].copy_from_slice(&self.prefix);
        seal(&mut h);
        h
    }
}

/// Computes a header's checksum.
pub fn seal(h: &mut [u8]) {
    h[148..156].fill(b' ');
    let sum: u32 = h[..512].iter().map(|b| u32::from(*b)).sum();
    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A tar being built.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    pub fn new() -> Self {
        Tar::default()
    }

    pub fn raw(mut self, raw: Raw) -> Self {
        self.0.extend_from_slice(&raw.header());
        self.data(&raw.data)
    }

    pub fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn with(self, flag: u8, name: impl AsRef<[u8]>, f: impl FnOnce(&mut Raw)) -> Self {
        let mut r = raw(flag, name);
        f(&mut r);
        self.raw(r)
    }

    pub fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref().to_vec();
        self.with(b'0', name, |r| (r.size, r.data) = (data.len() as u64, data))
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.with(b'5', name, |_| {})
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.with(b'2', name, |r| (r.link, r.mode) = (target.as_ref().to_vec(), 0o777))
    }

    pub fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.with(b'1', name, |r| r.link = target.as_ref().to_vec())
    }

    /// A pax header (`x` or `g`) before the next entry.
    pub fn pax(self, flag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let mut len = bare + 1;
            while len != bare + len.to_string().len() {
                len = bare + len.to_string().len();
            }
            write!(data, "{len} {key}=").unwrap();
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.with(flag, "PaxHeaders/x", |r| (r.size, r.data) = (data.len() as u64, data))
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(data).unwrap();
    e.finish().unwrap()
}

/// A directory to extract into, with canaries around it that a drop checks.
pub struct Cage {
    base: tempfile::TempDir,
}

impl Cage {
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("dest")).unwrap();
        fs::create_dir(base.path().join("canary")).unwrap();
        fs::write(base.path().join("canary/file"), "alive").unwrap();
        fs::write(base.path().join("file"), "alive").unwrap();
        fs::set_permissions(base.path().join("canary/file"), std::os::unix::fs::PermissionsExt::from_mode(0o640))
            .unwrap();
        Cage { base }
    }

    pub fn base(&self) -> &Path {
        self.base.path()
    }

    pub fn dest(&self) -> PathBuf {
        self.base.path().join("dest")
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dest().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn stat(&self, path: &str) -> fs::Metadata {
        fs::symlink_metadata(self.dest().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.dest().join(path)).is_ok()
    }

    pub fn is_whiteout(&self, path: &str) -> bool {
        fs::symlink_metadata(self.dest().join(path)).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
    }

    pub fn is_opaque(&self, path: &str) -> bool {
        let name = if flavor() == Flavor::Trusted { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        xattr(&self.dest().join(path), name).as_deref() == Some(b"y")
    }

    pub fn check(&self) {
        let names: Vec<_> = fs::read_dir(self.base()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 3, "something new beside the destination: {names:?}");
        let canary: Vec<_> =
            fs::read_dir(self.base().join("canary")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(canary, ["file"]);
        for file in ["canary/file", "file"] {
            assert_eq!(fs::read_to_string(self.base().join(file)).unwrap(), "alive");
        }
        let meta = fs::metadata(self.base().join("canary/file")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o640, 1));
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check();
        }
    }
}

pub fn flavor() -> Flavor {
    if is_root() { Flavor::Trusted } else { Flavor::User }
}

pub fn job(dest: &Path, blob: &[u8], diff_id: Digest) -> Job {
    Job {
        digest: Digest::of(blob),
        size: blob.len() as u64,
        diff_id,
        compression: Compression::None,
        dest: fs::File::open(dest).unwrap().into(),
        blob: None,
        kept: 0,
        flavor: flavor(),
        unmapped: Unmapped::Refuse,
        limits: Limits::default(),
    }
}

/// Runs a job on chunks of `step` bytes.
pub fn feed(job: Job, blob: &[u8], step: usize) -> Result<Outcome, LayerError> {
    let (tx, rx) = tokio::sync::mpsc::channel(4);
    let progress = Progress::default();
    let result = std::thread::scope(|scope| {
        scope.spawn(move || {
            for chunk in blob.chunks(step.max(1)) {
                if tx.blocking_send(Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(chunk))).is_err() {
                    return;
                }
            }
        });
        run(job, rx, &progress)
    });
    if let Ok(outcome) = &result {
        assert_eq!(progress.downloaded.load(Ordering::Relaxed), blob.len() as u64);
        assert_eq!(progress.extracted.load(Ordering::Relaxed), outcome.unpacked_bytes);
    }
    result
}

/// Extracts a plain tar in a new cage.
pub fn try_extract(tar: &[u8]) -> (Cage, Result<Outcome, LayerError>) {
    let cage = Cage::new();
    let result = feed(job(&cage.dest(), tar, Digest::of(tar)), tar, 65536);
    (cage, result)
}

pub fn extract(tar: Tar) -> (Cage, Outcome) {
    let (cage, result) = try_extract(&tar.end());
    (cage, result.unwrap())
}

/// The error of a tar that must be refused.
pub fn refused(tar: Tar) -> String {
    refused_bytes(&tar.end())
}

pub fn refused_bytes(tar: &[u8]) -> String {
    let (cage, result) = try_extract(tar);
    cage.check();
    result.expect_err("must be refused").to_string()
}
