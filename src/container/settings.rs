//! What a container is like beyond its program: groups of settings that the engine takes from its caller and passes on.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use super::cgroup::limits;
use super::options::capability;
use super::options::device::{Access, Device};
use super::options::hosts::{Host, Resolver};
use super::options::sysctl::Sysctl;
use super::options::ulimit::Ulimit;

/// What it may do.
#[derive(Clone, Debug)]
pub struct Powers {
    /// Capabilities of its root.
    pub capabilities: capability::Set,
    /// Nothing of the host is kept from it.
    pub privileged: bool,
    /// Devices of the host that it gets.
    pub devices: Vec<Device>,
    /// Devices whose nodes it may make and use, as the cgroup hierarchy `devices` writes them.
    pub device_rules: Vec<String>,
}

impl Default for Powers {
    fn default() -> Self {
        Powers { capabilities: capability::DEFAULT, privileged: false, devices: Vec::new(), device_rules: Vec::new() }
    }
}

impl Powers {
    /// Whether device nodes that it makes itself have no effect. Where they have one, rules say which.
    pub fn nodev(&self) -> bool {
        !self.privileged && self.device_rules.is_empty()
    }

    /// Rules for the cgroup hierarchy `devices`, where it takes more than the choice of nodes to keep the container to
    /// what it was given.
    pub fn rules(&self) -> std::io::Result<Option<Vec<String>>> {
        let restricted = self.devices.iter().any(|d| d.access != Access::ALL);
        if self.privileged || (!restricted && self.device_rules.is_empty()) {
            return Ok(None);
        }
        let mut rules = self.device_rules.clone();
        for device in &self.devices {
            for node in device_nodes(&device.host)? {
                let meta = std::fs::metadata(&node)?;
                let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
                rules.push(limits::rule(meta.file_type().is_char_device(), major, minor, device.access));
            }
        }
        Ok(Some(rules))
    }
}

/// Which namespaces are not its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spaces {
    /// It sees the host's processes.
    pub host_pid: bool,
    /// System V IPC, message queues and /dev/shm.
    pub ipc: Ipc,
    /// It has the host's name.
    pub host_uts: bool,
    /// It sees the host's cgroups.
    pub host_cgroup: bool,
}

/// See [`Spaces::ipc`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipc {
    /// Its own.
    #[default]
    Private,
    /// Its own, without /dev/shm.
    NoShm,
    /// The host's.
    Host,
}

/// What its processes find set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel settings of its namespaces.
    pub sysctls: Vec<Sysctl>,
    /// Size of /dev/shm in bytes.
    pub shm_size: Option<u64>,
    /// How soon it is killed when the host has no more memory, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// A small process of ours is its first, passes signals on and takes in orphans.
    pub init: bool,
}

/// By which names it is known and knows others.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Host name; the begin of the id if none.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// More lines for /etc/hosts.
    pub hosts: Vec<Host>,
    /// What /etc/resolv.conf says.
    pub resolver: Resolver,
}

/// Device nodes below a directory of the host, or the one at the path itself.
pub fn device_nodes(path: &std::path::Path) -> std::io::Result<Vec<PathBuf>> {
    let is_device = |t: std::fs::FileType| t.is_char_device() || t.is_block_device();
    let meta = std::fs::metadata(path)?;
    if is_device(meta.file_type()) {
        return Ok(vec![path.to_owned()]);
    }
    if !meta.is_dir() {
        return Err(std::io::Error::other("not a device node"));
    }
    let mut nodes = Vec::new();
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir)?.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // What belongs to one mount of devpts, or is none of the host's devices.
            let skipped = ["pts", "shm", "fd", "mqueue", ".udev", "console"].iter().any(|n| entry.file_name() == *n);
            if kind.is_dir() && !skipped {
                todo.push(entry.path());
            } else if is_device(kind) && !skipped {
                nodes.push(entry.path());
            }
        }
    }
    nodes.sort();
    Ok(nodes)
}
