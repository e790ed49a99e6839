//! The container's cgroup, on unified (v2), version 1 and hybrid hosts.
//!
//! Where there is a unified hierarchy, alone or beside others (hybrid), clone3 starts the process inside its cgroup, which
//! costs next to nothing. On a pure version 1 host the process joins by itself; each join waits for a grace period of
//! the whole machine (6 to 15 ms measured), which is why a hybrid host's version 1 hierarchies are left alone until
//! there are limits to set. What the cgroup gives now is a place for everything the container starts, a view of itself,
//! and the peak of memory where the hierarchy counts it.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::ContainerError;
use super::plan::{CgroupView, Hierarchy};

const ROOT: &str = "/sys/fs/cgroup";
/// Parent of all our cgroups in each hierarchy.
const PARENT: &str = "trace";
/// Version 1 controllers that a container gets a group of.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// A created cgroup. Removed by [`Cgroup::remove`], not on drop: a kept container keeps none, but a crash must not race.
#[derive(Debug, Default)]
pub struct Cgroup {
    /// 2, 1, or 0 where the host gives us none.
    pub version: u8,
    unified: Option<PathBuf>,
    v1: Vec<(String, PathBuf)>,
}

/// How this host has its cgroups.
#[derive(Debug, PartialEq, Eq)]
enum Layout {
    Unified,
    Legacy { unified: bool },
    None,
}

fn layout() -> Layout {
    const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
    match rustix::fs::statfs(ROOT) {
        Ok(s) if s.f_type == CGROUP2_SUPER_MAGIC => Layout::Unified,
        Ok(_) => {
            let magic =
                |name| rustix::fs::statfs(format!("{ROOT}/{name}")).is_ok_and(|s| s.f_type == CGROUP2_SUPER_MAGIC);
            Layout::Legacy { unified: magic("unified") }
        }
        Err(_) => Layout::None,
    }
}

/// Where our groups are in the unified hierarchy mounted at `mount`: under the root for root, under our own (delegated)
/// group for an ordinary user.
fn base(mount: &Path, privileged: bool) -> PathBuf {
    if privileged {
        return mount.join(PARENT);
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = own.lines().find_map(|l| l.strip_prefix("0::/")).unwrap_or_default();
    mount.join(path).join(PARENT)
}

impl Cgroup {
    /// Makes the cgroup of container `id`. Without the right to, or without cgroups at all, the result has version 0.
    pub fn create(id: &str, privileged: bool) -> Result<Self, ContainerError> {
        let mut group = Cgroup::default();
        match layout() {
            Layout::Unified => {
                if let Some(dir) = group.make(&base(Path::new(ROOT), privileged), id, true)? {
                    group.unified = Some(dir);
                    group.version = 2;
                }
            }
            Layout::Legacy { unified } => {
                if unified
                    && let Some(dir) = group.make(&base(&Path::new(ROOT).join("unified"), privileged), id, false)?
                {
                    group.unified = Some(dir);
                    group.version = 1;
                }
                for name in CONTROLLERS.into_iter().filter(|_| !unified) {
                    let hierarchy = Path::new(ROOT).join(name);
                    if !hierarchy.join("cgroup.procs").exists() {
                        continue;
                    }
                    if let Some(dir) = group.make(&hierarchy.join(PARENT), id, false)? {
                        group.v1.push((name.to_owned(), dir));
                        group.version = 1;
                    }
                }
            }
            Layout::None => {}
        }
        Ok(group)
    }

    /// `None` where the host does not let us.
    fn make(&self, base: &Path, id: &str, unified: bool) -> Result<Option<PathBuf>, ContainerError> {
        let dir = base.join(id);
        let mkdir = |path: &Path| rustix::fs::mkdir(path, Mode::from_raw_mode(0o755));
        let mut made = mkdir(&dir);
        if made == Err(Errno::NOENT) {
            made = match mkdir(base) {
                Ok(()) | Err(Errno::EXIST) => {
                    if unified {
                        delegate(base);
                    }
                    mkdir(&dir)
                }
                other => other,
            };
        }
        match made {
            Ok(()) => Ok(Some(dir)),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::NOENT) => Ok(None),
            Err(e) => {
                let _ = self.remove();
                Err(ContainerError::Cgroup { path: dir, source: e.into() })
            }
        }
    }

    /// The directory for clone3 to start the process in.
    pub fn unified_fd(&self) -> Result<Option<OwnedFd>, ContainerError> {
        let Some(dir) = &self.unified else { return Ok(None) };
        rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Some)
            .map_err(|e| ContainerError::Cgroup { path: dir.clone(), source: e.into() })
    }

    /// The `cgroup.procs` files that the process writes itself into.
    pub fn join_fds(&self) -> Result<Vec<OwnedFd>, ContainerError> {
        self.v1
            .iter()
            .map(|(_, dir)| {
                let procs = dir.join("cgroup.procs");
                rustix::fs::openat(CWD, &procs, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|e| ContainerError::Cgroup { path: procs.clone(), source: e.into() })
            })
            .collect()
    }

    /// What the container is to see of it.
    pub fn view(&self) -> CgroupView {
        match self.version {
            2 => CgroupView::V2,
            1 => {
                let name = |n: &str| CString::new(n).expect("no zero byte");
                let v1 =
                    self.v1.iter().map(|(n, _)| Hierarchy { name: name(n), kind: c"cgroup", options: Some(name(n)) });
                let unified =
                    self.unified.iter().map(|_| Hierarchy { name: name("unified"), kind: c"cgroup2", options: None });
                CgroupView::V1(v1.chain(unified).collect())
            }
            _ => CgroupView::None,
        }
    }

    /// Largest memory use of the container in bytes, with everything it started, if the kernel counts it.
    pub fn memory_peak(&self) -> Option<u64> {
        let file = match self.version {
            2 => self.unified.as_ref()?.join("memory.peak"),
            _ => self.v1.iter().find(|(n, _)| n == "memory")?.1.join("memory.max_usage_in_bytes"),
        };
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Removes it. The last process may still be on its way out, which the kernel reports as busy.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for dir in self.unified.iter().chain(self.v1.iter().map(|(_, d)| d)) {
            if let Err(e) = remove_dir(dir) {
                result = Err(e);
            }
        }
        result
    }
}

/// Lets the groups below count memory and processes. What the host does not allow is left as it is.
fn delegate(base: &Path) {
    for dir in base.parent().into_iter().chain([base]) {
        for controller in ["+memory", "+pids", "+cpu"] {
            let _ = std::fs::write(dir.join("cgroup.subtree_control"), controller);
        }
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    let mut pause = std::time::Duration::from_micros(200);
    loop {
        match rustix::fs::rmdir(dir) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if pause.as_millis() < 100 => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// The directories that container `id` can have.
fn directories(id: &str, privileged: bool) -> Vec<PathBuf> {
    match layout() {
        Layout::Unified => vec![base(Path::new(ROOT), privileged).join(id)],
        Layout::Legacy { .. } => {
            let unified = base(&Path::new(ROOT).join("unified"), privileged).join(id);
            let v1 = CONTROLLERS.iter().map(|c| Path::new(ROOT).join(c).join(PARENT).join(id));
            v1.chain([unified]).collect()
        }
        Layout::None => Vec::new(),
    }
}

/// Kills every process of container `id`.
pub fn kill(id: &str, privileged: bool) {
    for dir in directories(id, privileged) {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|l| l.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Kills and removes what a dead engine left of container `id`. Whether nothing is left: a process on its way out keeps
/// its cgroup busy, on a loaded machine for longer than is worth waiting for.
pub fn remove_leftovers(id: &str, privileged: bool) -> bool {
    kill(id, privileged);
    let busy = |dir: &PathBuf| remove_dir(dir).is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy);
    directories(id, privileged).iter().filter(|d| d.exists()).filter(|d| busy(d)).count() == 0
}
