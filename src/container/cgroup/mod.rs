//! The container's cgroup, on unified (v2), version 1 and hybrid hosts.
//!
//! Where there is a unified hierarchy, alone or beside others (hybrid), clone3 starts the process inside its cgroup,
//! which costs next to nothing. Every version 1 hierarchy is joined by the process itself, see [`v1`]. What the cgroup
//! gives now is a place for everything the container starts, a view of itself and of nothing above, and the peak of
//! memory where the hierarchy counts it.

pub mod limits;
mod v1;

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::ContainerError;
use super::plan::{CgroupView, Hierarchy, Join};

const ROOT: &str = "/sys/fs/cgroup";
/// Parent of all our cgroups in each hierarchy.
const PARENT: &str = "trace";
/// Version 1 controllers that a container on a host without a unified hierarchy sees its group of.
const SHOWN: [&str; 2] = ["memory", "pids"];

/// A created cgroup. Removed by [`Cgroup::remove`], not on drop: a kept container keeps none, but a crash must not
/// race.
#[derive(Debug, Default)]
pub struct Cgroup {
    /// 2, 1, or 0 where the host gives us none.
    pub version: u8,
    unified: Option<PathBuf>,
    v1: Vec<v1::Group>,
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
            Layout::Legacy { unified: true } => {
                if let Some(dir) = group.make(&base(&Path::new(ROOT).join("unified"), privileged), id, false)? {
                    group.unified = Some(dir);
                    group.version = 1;
                }
            }
            Layout::Legacy { unified: false } | Layout::None => {}
        }
        // Their files belong to root, so an ordinary user's container can do nothing in them either.
        if privileged {
            if let Err((path, source)) = v1::create(id, &mut group.v1) {
                let _ = group.remove();
                return Err(ContainerError::Cgroup { path: path.into(), source: source.into() });
            }
            if group.version == 0 && !group.v1.is_empty() {
                group.version = 1;
            }
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

    /// The groups that the process joins by itself.
    pub fn join(&self) -> Result<Vec<Join>, ContainerError> {
        let fail = |g: &v1::Group, e: Errno| ContainerError::Cgroup { path: PathBuf::from(&g.name), source: e.into() };
        self.v1.iter().map(|g| g.join().map_err(|e| fail(g, e))).collect()
    }

    /// What the container is to see of it.
    pub fn view(&self) -> CgroupView {
        match self.version {
            2 => CgroupView::V2,
            1 => {
                let name = |n: &str| CString::new(n).expect("no zero byte");
                let v1 = SHOWN
                    .into_iter()
                    .filter(|n| self.unified.is_none() && self.v1.iter().any(|g| g.name == *n))
                    .map(|n| Hierarchy { name: name(n), kind: c"cgroup", options: Some(name(n)) });
                let unified =
                    self.unified.iter().map(|_| Hierarchy { name: name("unified"), kind: c"cgroup2", options: None });
                CgroupView::V1(v1.chain(unified).collect())
            }
            _ => CgroupView::None,
        }
    }

    /// Its group in the hierarchy that has this controller.
    fn v1_group(&self, controller: &str) -> Option<&v1::Group> {
        self.v1.iter().find(|g| g.name.split(',').any(|c| c == controller))
    }

    /// Largest memory use of the container in bytes, with everything it started, if the kernel counts it.
    pub fn memory_peak(&self) -> Option<u64> {
        let text = match self.v1.iter().find(|g| g.name == "memory") {
            Some(group) => group.read("memory.max_usage_in_bytes"),
            None => std::fs::read_to_string(self.unified.as_ref()?.join("memory.peak")).ok(),
        };
        text?.trim().parse().ok()
    }

    /// Kills every process in it.
    pub fn kill(&self) {
        let unified = self.unified.iter().filter_map(|d| std::fs::read_to_string(d.join("cgroup.procs")).ok());
        let v1 = self.v1.iter().filter_map(|g| g.read("cgroup.procs"));
        for procs in unified.chain(v1) {
            for pid in procs.lines().filter_map(|l| l.parse().ok()).filter_map(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Removes it. The last process may still be on its way out, which the kernel reports as busy.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        let unified = self.unified.iter().map(|dir| retry_while_busy(|| rustix::fs::rmdir(dir)));
        for removed in unified.chain(self.v1.iter().map(v1::Group::remove)) {
            if let Err(e) = removed {
                result = Err(e);
            }
        }
        result
    }
}

/// Lets the groups below count memory and processes. What the host does not allow is left as it is.
fn delegate(base: &Path) {
    for controller in ["memory", "pids", "cpu"] {
        hand_down(&base.join("any"), controller);
    }
}

/// Lets the group `dir` have a controller, as far as the host allows it.
fn hand_down(dir: &Path, controller: &str) {
    let parent = dir.parent();
    for above in parent.and_then(Path::parent).into_iter().chain(parent) {
        let _ = std::fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn retry_while_busy(remove: impl Fn() -> Result<(), Errno>) -> io::Result<()> {
    let mut pause = std::time::Duration::from_micros(200);
    loop {
        match remove() {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if pause.as_millis() < 100 => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// The cgroup of container `id` as it is found, whoever made it.
fn existing(id: &str, privileged: bool) -> Cgroup {
    let mount = match layout() {
        Layout::Unified => Some(Path::new(ROOT).to_owned()),
        Layout::Legacy { unified: true } => Some(Path::new(ROOT).join("unified")),
        Layout::Legacy { unified: false } | Layout::None => None,
    };
    let unified = mount.map(|m| base(&m, privileged).join(id)).filter(|dir| dir.exists());
    Cgroup { version: 0, unified, v1: if privileged { v1::existing(id) } else { Vec::new() } }
}

/// How a later process gets into a container's groups.
pub struct Joining {
    /// The directory for clone3 to start it in.
    pub unified: Option<OwnedFd>,
    /// Groups that it joins by itself.
    pub groups: Vec<Join>,
    /// Nothing in it runs: whoever joins would not either.
    pub frozen: bool,
}

/// The groups of container `id`, whose first process has `text` in its /proc/PID/cgroup: in the unified hierarchy the
/// group that this process is in now, which the container may have chosen among its own.
pub fn joining(id: &str, text: &str) -> Result<Joining, ContainerError> {
    let mount = match layout() {
        Layout::Unified => Some(Path::new(ROOT).to_owned()),
        Layout::Legacy { unified: true } => Some(Path::new(ROOT).join("unified")),
        Layout::Legacy { unified: false } | Layout::None => None,
    };
    let path = text.lines().find_map(|l| l.strip_prefix("0::/")).filter(|p| p.contains(id) && !p.contains(".."));
    let unified = mount.zip(path).map(|(mount, path)| mount.join(path));
    let v1 = if rustix::process::geteuid().is_root() { v1::existing(id) } else { Vec::new() };
    let says = |text: Option<String>, word: &str| text.is_some_and(|t| t.trim() == word);
    let group = Cgroup { version: 0, unified, v1 };
    let freezer = group.v1_group("freezer").and_then(|g| g.read("freezer.state"));
    let freeze = group.unified.as_ref().and_then(|dir| std::fs::read_to_string(dir.join("cgroup.freeze")).ok());
    let frozen = says(freeze, "1") || says(freezer, "FROZEN");
    Ok(Joining { unified: group.unified_fd()?, groups: group.join()?, frozen })
}

/// Kills every process of container `id`.
pub fn kill(id: &str, privileged: bool) {
    existing(id, privileged).kill();
}

/// Kills and removes what a dead engine left of container `id`. Whether nothing is left: a process on its way out keeps
/// its cgroup busy, on a loaded machine for longer than is worth waiting for.
pub fn remove_leftovers(id: &str, privileged: bool) -> bool {
    let group = existing(id, privileged);
    group.kill();
    !group.remove().is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy)
}
