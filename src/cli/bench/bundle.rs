//! An OCI bundle for runtimes that take no images, set up as near to what we do as `config.json` can say.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use serde_json::json;

use crate::container::rootfs::{Overlay, RootLooks, open_lowers};
use crate::registry::{ImageConfig, RunConfig};
use crate::store::images::Image;
use crate::store::{Store, Tmp};

/// As docker's defaults.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A directory with `rootfs` and `config.json`, taken away when dropped.
pub struct Bundle {
    dir: Tmp,
    args: Vec<String>,
    config: RunConfig,
}

impl Bundle {
    /// Copies the image's merged root to a plain directory.
    pub fn extract(store: &Store, image: &Image, command: &[String]) -> Result<Self, String> {
        let config = ImageConfig::parse(&image.config, image.stack.layers.len())?.run;
        if !matches!(config.user.as_str(), "" | "0" | "root" | "0:0" | "root:root") {
            return Err(format!("the image's user is `{}`: only root is built for bundles", config.user));
        }
        let args = args(&config, command);
        if args.is_empty() {
            return Err("the image has no command".to_owned());
        }
        let dir = store.tmp().map_err(|e| e.to_string())?;
        let rootfs = dir.path().join("rootfs");
        fs::create_dir(&rootfs).map_err(|e| e.to_string())?;
        let view = store.tmp().map_err(|e| e.to_string())?;
        let lowers = open_lowers(image.stack.lowers.iter().map(|l| store.path(l))).map_err(|e| e.to_string())?;
        if !lowers.is_empty() {
            // Only what is below the root is copied, so its own looks do not matter.
            let root = RootLooks { mode: 0o755, owner: (0, 0), modified: (0, 0) };
            let overlay =
                Overlay { lowers: &lowers, dir: view.path(), volatile: true, root, nodev: true, userxattr: false };
            let merged = overlay.mount().map_err(|e| e.to_string())?;
            // The mount has no place in the tree; a child sees it through our descriptor.
            let from = format!("/proc/{}/fd/{}/.", std::process::id(), merged.mount.as_raw_fd());
            let copy = std::process::Command::new("cp")
                .arg("-a")
                .arg(from)
                .arg(&rootfs)
                .output()
                .map_err(|e| e.to_string())?;
            if !copy.status.success() {
                return Err(format!(
                    "its root cannot be copied: {}",
                    super::process::last_line(&String::from_utf8_lossy(&copy.stderr))
                ));
            }
        }
        Ok(Bundle { dir, args, config })
    }

    /// Where it is.
    pub fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    /// Where the runtime keeps its state.
    pub fn state(&self) -> String {
        self.dir.path().join("state").display().to_string()
    }

    /// Writes `config.json`.
    pub fn configure(&self, cgroup: bool) -> Result<(), String> {
        let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
        let mut mounts = vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ];
        let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
        if cgroup {
            mounts.push(mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]));
            namespaces.push("cgroup");
        }
        let cwd = if self.config.working_dir.starts_with('/') { self.config.working_dir.as_str() } else { "/" };
        let mut env = self.config.env.clone();
        if !env.iter().any(|e| e.starts_with("PATH=")) {
            env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        }
        let config = json!({
            "ociVersion": "1.0.0",
            "process": {
                "terminal": false,
                "user": {"uid": 0, "gid": 0},
                "args": self.args,
                "env": env,
                "cwd": cwd,
                "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
                "noNewPrivileges": true,
            },
            "root": {"path": "rootfs", "readonly": false},
            "hostname": "bench",
            "mounts": mounts,
            "linux": {
                "namespaces": namespaces.iter().map(|n| json!({"type": n})).collect::<Vec<_>>(),
                "maskedPaths": MASKED,
                "readonlyPaths": READ_ONLY,
            },
        });
        let path: PathBuf = self.dir.path().join("config.json");
        fs::write(&path, config.to_string()).map_err(|e| format!("cannot write `{}`: {e}", path.display()))
    }
}

/// As docker combines them.
fn args(config: &RunConfig, command: &[String]) -> Vec<String> {
    let words = |w: &Option<crate::registry::Words>| w.as_ref().map(|w| w.0.clone()).unwrap_or_default();
    let mut args = words(&config.entrypoint);
    args.extend(if command.is_empty() { words(&config.cmd) } else { command.to_vec() });
    args
}
