//! What is kept on disk, and who may touch it when.
//!
//! ```text
//! $TRACE_ROOT/v1/
//!   images/             an OCI image layout: oci-layout, index.json, blobs/sha256/…
//!   layers/<diff id>/   diff/ is an overlay lower directory, notes.json what overlayfs cannot express by itself
//!   stacks/<manifest>/  stack.json says how the image's layers stack; 0/, 1/ … are fix layers where it needs any
//!   containers/<id>/    state.json, upper/, work/, log; the root is attached over it
//!   names/<name>        who has a name
//!   volumes/<name>/     _data is what containers see, volume.json whose it is
//!   mount-points-2/     what every container needs in its root, see [`Store::mount_points`]
//!   partial/<blob>      what has come of a blob whose download was broken off
//!   unsynced/           marks on what may not have reached storage, see [`unsynced`]
//!   index.copy          the last images/index.json, for when that is damaged
//!   traces/             recorded runs; latest/ has the times of the newest of each image and kind
//!   pending/<trace id>  recorded runs that are still to be sent to a tracing back end
//!   sent/<address>      what a tracing back end has had
//!   tmp/  locks/
//! ```
//! Nothing is reachable before it is verified: it is made in `tmp/` and renamed, and what a power cut may do to it is
//! said in [`durable`] and [`unsynced`]. Whoever makes something holds a lock
//! (flock(2)) on it; the kernel drops the lock with the process, and so the next command knows what is left over.

pub mod alike;
pub mod containers;
pub mod durable;
pub mod error;
pub mod gc;
pub mod images;
pub mod layers;
pub mod lock;
pub mod partial;
pub mod pending;
pub mod retention;
pub mod sent;
mod session;
pub mod traces;
pub mod unsynced;
pub mod verify;
pub mod volumes;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

pub use durable::Durability;
pub use error::StoreError;
use lock::Lock;
use serde::{Deserialize, Serialize};

/// An opened store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    /// What this process can use, see [`Store::used_as`].
    maker: Option<Maker>,
    durability: Durability,
}

/// How the layers in a store were extracted. Root's whiteouts mean nothing in a user namespace, and the other way
/// round; with a single user id nothing has the owner that the image says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Maker {
    /// By root.
    Root,
    /// In a user namespace with many ids.
    User,
    /// With the only id there was.
    SingleId,
}

/// Everything below `v1/` that must exist.
const DIRECTORIES: [&str; 10] =
    ["images/blobs/sha256", "layers", "stacks", "containers", "names", "traces", "latest", "unsynced", "tmp", "locks"];

impl Store {
    /// Where the store is by default: `$TRACE_ROOT`, else `/var/lib/trace` as root, else below `$XDG_DATA_HOME`.
    /// To be asked before entering a user namespace, in which everybody is root.
    pub fn default_root() -> Result<PathBuf, StoreError> {
        let env = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(root) = env("TRACE_ROOT") {
            return std::path::absolute(&root).map_err(|e| StoreError::file("find", &root, e));
        }
        if rustix::process::geteuid().is_root() {
            return Ok("/var/lib/trace".into());
        }
        env("XDG_DATA_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| env("HOME").map(|h| h.join(".local/share")))
            .map(|p| p.join("trace"))
            .ok_or(StoreError::NoHome)
    }

    /// Opens the store below `root`, making it if need be.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = root.join("v1");
        // The last one made stands for all of them: one look on the warm path.
        if !root.join("images/oci-layout").exists() {
            // Images can hold setuid programs and private files: only the store's owner may get at them
            // (CVE-2021-41091).
            let mut private = fs::DirBuilder::new();
            private.recursive(true).mode(0o700);
            private.create(&root).map_err(|e| StoreError::file("create", &root, e))?;
            // Nor is anything below to have what our user's directory hands down: an access list, a group.
            let _ = rustix::fs::removexattr(&root, c"system.posix_acl_default");
            let _ = rustix::fs::removexattr(&root, c"system.posix_acl_access");
            set_mode(&root, 0o700).map_err(|e| StoreError::file("create", &root, e))?;
            for dir in DIRECTORIES {
                let dir = root.join(dir);
                private.create(&dir).map_err(|e| StoreError::file("create", &dir, e))?;
            }
            let store = Store { root, maker: None, durability: Durability::default() };
            // What stands for all of them must not outlast one of them.
            store.sync_directories(["images/blobs", "", "..", "../.."].map(|dir| store.path(dir)).to_vec())?;
            store.write(&store.path("images/oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
            return Ok(store);
        }
        Ok(Store { root, maker: None, durability: Durability::default() })
    }

    /// What a power cut may cost from here on.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// From here on what another kind of maker made counts as not there. Without this all of it is found.
    pub fn used_as(mut self, maker: Maker) -> Self {
        self.maker = Some(maker);
        self
    }

    /// Whether what `maker` made is of use.
    fn suits(&self, maker: Option<Maker>) -> bool {
        self.maker.is_none_or(|own| maker.is_none_or(|m| m == own))
    }

    /// A directory with the mount points that every container needs, to lie below all layers of its image. Without it
    /// those that the image lacks would be made in each container's own directory and removed again with it: 0.3 ms of
    /// a warm run of `hello-world`, which has none of them.
    pub fn mount_points(&self) -> Result<PathBuf, StoreError> {
        let path = self.path("mount-points-2");
        if path.is_dir() {
            return Ok(path);
        }
        let tmp = self.tmp()?;
        let make = |at: &Path| -> io::Result<()> {
            for dir in ["dev", "etc", "proc", "sys"] {
                fs::create_dir(at.join(dir))?;
                set_mode(&at.join(dir), 0o755)?;
            }
            for (file, mode) in
                [("etc/hostname", 0o644), ("etc/hosts", 0o644), ("etc/resolv.conf", 0o644), (".dockerenv", 0o755)]
            {
                let made = fs::File::create_new(at.join(file))?;
                set_mode(&at.join(file), mode)?;
                self.sync_file(&made)?;
            }
            // For programs that look there, as docker gives every image that lacks it.
            std::os::unix::fs::symlink("/proc/mounts", at.join("etc/mtab"))?;
            set_mode(at, 0o755)?;
            ["dev", "etc", "proc", "sys", ""].iter().try_for_each(|d| self.sync_file(&fs::File::open(at.join(d))?))
        };
        make(tmp.path()).map_err(|e| StoreError::file("create", &path, e))?;
        match tmp.rename(&path) {
            // Another process was faster.
            Err(_) if path.is_dir() => Ok(path),
            other => other.map(|_| path),
        }
    }

    /// A path below `v1/`.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Held shared by whoever relies on images and layers that no image or container names yet; held exclusively by
    /// whoever takes such away.
    pub fn lock_shared(&self) -> Result<Lock, StoreError> {
        Lock::shared(&self.path("locks/store"))
    }

    /// See [`Store::lock_shared`].
    pub fn lock_exclusive(&self, wait: &mut dyn FnMut() -> bool) -> Result<Lock, StoreError> {
        Lock::exclusive_waiting(&self.path("locks/store"), wait)
    }

    /// A new empty directory that is taken away with everything in it when the value is dropped, or by the next command
    /// if this process is killed first.
    pub fn tmp(&self) -> Result<Tmp, StoreError> {
        // Between making a directory and locking it, it would look left over.
        let _gate = Lock::shared(&self.path("locks/create"))?;
        let path = self.path("tmp").join(unique_name());
        fs::create_dir(&path).map_err(|e| StoreError::file("create", &path, e))?;
        let lock = Lock::of_directory(&path)?;
        Ok(Tmp { path, lock: Some(lock) })
    }
}

/// See [`Store::tmp`].
#[derive(Debug)]
pub struct Tmp {
    path: PathBuf,
    lock: Option<Lock>,
}

impl Tmp {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the next command to take it away.
    fn leave(mut self) {
        self.lock = None;
    }

    /// Moves it to its final place and gives the lock that was on it.
    fn rename(mut self, to: &Path) -> Result<Lock, StoreError> {
        durable::publish(&self.path, to)?;
        self.path = to.to_owned();
        Ok(self.lock.take().expect("held until now"))
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = remove_tree(&self.path);
        }
    }
}

/// Whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Not used by anybody else, on this machine or another that shares the store.
fn unique_name() -> String {
    let mut random = [0u8; 16];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    format!("{:032x}", u128::from_ne_bytes(random) ^ u128::from(crate::record::Mono::now().0))
}

/// 64 hex digits, as docker's container ids.
pub fn new_id() -> String {
    format!("{}{}", unique_name(), unique_name())
}

/// Removes a tree of any depth and with any modes; one that is gone already is fine.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // Directories that their owner may not enter or change: an ordinary user's store.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push(entry.path());
            }
        }
    }
}

/// The same for what can be made again: a damaged file counts as none.
fn read_derived<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    match read_json(path) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        other => other,
    }
}

/// Reads and parses a file of the store; `None` if there is none.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::file("read", path, e)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| StoreError::Damaged { path: path.to_owned(), why: e.to_string() })
}

#[cfg(test)]
mod tests;
