//! Limits written into a container's groups, in the files of version 1 or of the unified hierarchy.
//!
//! A limit that this host cannot keep is an error: a container that was to be limited does not run without.

use std::path::PathBuf;

use super::Cgroup;
use crate::container::error::ContainerError;
use crate::container::options::device::Access;
use crate::container::options::limits::Limits;

impl Cgroup {
    /// Sets the limits. To be called before there is a process in it.
    pub fn limit(&self, limits: &Limits) -> Result<(), ContainerError> {
        if *limits == Limits::default() {
            return Ok(());
        }
        if self.version == 2 { self.limit_unified(limits) } else { self.limit_v1(limits) }
    }

    fn limit_unified(&self, limits: &Limits) -> Result<(), ContainerError> {
        let Some(dir) = &self.unified else { return Err(unavailable("limit a container")) };
        let set = |controller: &str, file: &str, value: Option<String>| match value {
            Some(value) => {
                let path = dir.join(file);
                if !path.exists() {
                    super::hand_down(dir, controller);
                }
                if !path.exists() {
                    return Err(unavailable(controller));
                }
                std::fs::write(&path, value).map_err(|source| ContainerError::Cgroup { path, source })
            }
            None => Ok(()),
        };
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        set("memory", "memory.max", number(limits.memory))?;
        // Swap alone is counted here, both together in the flags.
        let swap = limits.memory_swap.map(|all| match u64::try_from(all) {
            Ok(all) => all.saturating_sub(limits.memory.unwrap_or(0)).to_string(),
            Err(_) => "max".to_owned(),
        });
        // A kernel without swap has no such file, and nothing to limit.
        if dir.join("memory.swap.max").exists() {
            set("memory", "memory.swap.max", swap)?;
        }
        set("memory", "memory.low", number(limits.memory_reservation))?;
        if limits.oom_kill_disable {
            return Err(unavailable("memory (to let a container wait for it)"));
        }
        set("cpu", "cpu.weight", number(limits.cpu_weight()))?;
        let quota = limits.cpu_quota.filter(|q| *q > 0).map_or("max".to_owned(), |q| q.to_string());
        let time = (limits.cpu_quota.is_some() || limits.cpu_period.is_some())
            .then(|| format!("{quota} {}", limits.cpu_period.unwrap_or(100_000)));
        set("cpu", "cpu.max", time)?;
        set("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone())?;
        set("cpuset", "cpuset.mems", limits.cpuset_mems.clone())?;
        set("pids", "pids.max", number(limits.pids))?;
        set("io", "io.weight", number(limits.io_weight()))
    }

    fn limit_v1(&self, limits: &Limits) -> Result<(), ContainerError> {
        let set = |controller: &str, file: &str, value: Option<String>| match value {
            Some(value) => {
                let group = self.v1_group(controller).ok_or_else(|| unavailable(controller))?;
                group.write(file, &value).map_err(|e| ContainerError::Cgroup {
                    path: PathBuf::from(format!("{controller}:{file}")),
                    source: e.into(),
                })
            }
            None => Ok(()),
        };
        let number = |n: Option<u64>| n.map(|n| n.to_string());
        set("memory", "memory.limit_in_bytes", number(limits.memory))?;
        // A kernel that does not count swap has no such file, and nothing to limit.
        if self.v1_group("memory").is_some_and(|g| g.read("memory.memsw.limit_in_bytes").is_some()) {
            set("memory", "memory.memsw.limit_in_bytes", limits.memory_swap.map(|s| s.to_string()))?;
        }
        set("memory", "memory.soft_limit_in_bytes", number(limits.memory_reservation))?;
        set("memory", "memory.oom_control", limits.oom_kill_disable.then(|| "1".to_owned()))?;
        set("cpu", "cpu.shares", number(limits.cpu_shares))?;
        set("cpu", "cpu.cfs_period_us", number(limits.cpu_period))?;
        set("cpu", "cpu.cfs_quota_us", limits.cpu_quota.map(|q| q.to_string()))?;
        set("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone())?;
        set("cpuset", "cpuset.mems", limits.cpuset_mems.clone())?;
        set("pids", "pids.max", number(limits.pids))?;
        match limits.blkio_weight {
            None => Ok(()),
            // The name depends on the scheduler that the kernel has.
            Some(weight) => {
                let weight = Some(weight.to_string());
                set("blkio", "blkio.weight", weight.clone()).or_else(|_| set("blkio", "blkio.bfq.weight", weight))
            }
        }
    }

    /// Lets the container use docker's default devices and these, and no others. A rule is `c 10:200 rwm`.
    pub fn allow_devices(&self, rules: &[String]) -> Result<(), ContainerError> {
        // Any node may be made; null, zero, full, random, urandom, tty, ptmx and pseudo-terminals used.
        const DEFAULT: [&str; 10] = [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
        ];
        let group = self.v1_group("devices").ok_or(ContainerError::NoDeviceRules)?;
        let set = |file: &str, rule: &str| {
            group.write(file, rule).map_err(|e| ContainerError::Cgroup {
                path: PathBuf::from(format!("devices:{file}")),
                source: e.into(),
            })
        };
        set("devices.deny", "a")?;
        DEFAULT.iter().copied().chain(rules.iter().map(String::as_str)).try_for_each(|rule| set("devices.allow", rule))
    }

    /// How often the kernel has killed a process in it for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let text = match self.v1_group("memory") {
            Some(group) => group.read("memory.oom_control"),
            None => self.unified.as_ref().and_then(|d| std::fs::read_to_string(d.join("memory.events")).ok()),
        };
        let text = text.unwrap_or_default();
        text.lines().find_map(|l| l.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
    }
}

fn unavailable(controller: &str) -> ContainerError {
    ContainerError::NoLimit { controller: controller.to_owned() }
}

/// A rule for one device node.
pub fn rule(character: bool, major: u32, minor: u32, access: Access) -> String {
    let letters: String = [(access.read, 'r'), (access.write, 'w'), (access.mknod, 'm')]
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, c)| *c)
        .collect();
    format!("{} {major}:{minor} {letters}", if character { 'c' } else { 'b' })
}
