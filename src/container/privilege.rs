//! What this host lets us do, and getting there: as root, or in a user namespace of our own.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;

use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::error::ContainerError;
use crate::sys;

/// How containers are made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// The kernel's first user namespace: real root. In any other, overlay needs `userxattr` and devices can't be made.
    pub initial_user_namespace: bool,
    /// More than one user id is mapped, so that images' owners and users can be kept apart.
    pub many_ids: bool,
}

impl Privilege {
    /// Whether this process, as it is, may mount and make namespaces.
    pub fn held() -> Option<Self> {
        let admin = rustix::process::geteuid().is_root()
            && rustix::thread::capabilities(None).is_ok_and(|c| c.effective.contains(CapabilitySet::SYS_ADMIN));
        admin.then(|| {
            let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            let ids: u64 = map.lines().filter_map(|l| l.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
            let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
            Privilege { initial_user_namespace: initial, many_ids: ids > 1 }
        })
    }

    /// Gets what is needed: nothing as root, else by a user namespace in which we are root. Must run before any thread
    /// is started, since a process with several threads cannot enter one.
    pub fn acquire() -> Result<Self, ContainerError> {
        if let Some(held) = Self::held() {
            return Ok(held);
        }
        // Ubuntu lets us make the namespace and then gives it no powers; there is no way back, so a copy tries first.
        if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
            probe_in_copy()?;
        }
        enter()
    }

    /// Whether files belong to whom the image says.
    pub fn keeps_owners(&self) -> bool {
        self.many_ids
    }
}

fn probe_in_copy() -> Result<(), ContainerError> {
    let pid =
        sys::clone::fork(|| u8::from(sys::clone::unshare_user_and_mount().and_then(|()| make_private()).is_err()))
            .map_err(no_namespaces)?;
    match sys::wait::reap(pid) {
        Ok(exit) if exit.code() == 0 => Ok(()),
        _ => Err(no_namespaces(Errno::PERM.into())),
    }
}

fn make_private() -> Result<(), Errno> {
    use rustix::mount::MountPropagationFlags;
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

fn enter() -> Result<Privilege, ContainerError> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mapper = Mapper::start(uid, gid);
    if let Err(e) = sys::clone::unshare_user_and_mount() {
        if let Some(mapper) = mapper {
            mapper.give_up();
        }
        return Err(no_namespaces(e.into()));
    }
    let many_ids = mapper.is_some_and(Mapper::finish);
    if !many_ids {
        // A group map may be written only after giving up setgroups (user_namespaces(7)).
        fs::write("/proc/self/setgroups", "deny")
            .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {uid} 1\n")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {gid} 1\n")))
            .map_err(no_namespaces)?;
    }
    // What we mount is for us; what the host mounts later is not needed.
    make_private().map_err(|e| no_namespaces(e.into()))?;
    Ok(Privilege { initial_user_namespace: false, many_ids })
}

/// newuidmap(1) and newgidmap(1), which hand out the ids of /etc/subuid, must be called from outside the new namespace:
/// by a copy of this process made before entering it.
struct Mapper {
    pid: i32,
    go: io::PipeWriter,
}

impl Mapper {
    /// `None` where the host has no ids for us or no tools to hand them out.
    fn start(uid: u32, gid: u32) -> Option<Self> {
        let user = user_name(uid);
        let (uids, gids) = (range("/etc/subuid", uid, &user)?, range("/etc/subgid", uid, &user)?);
        let (newuidmap, newgidmap) = (find("newuidmap")?, find("newgidmap")?);
        let target = std::process::id().to_string();
        let (mut wait, go) = io::pipe().ok()?;
        let write_end = go.as_raw_fd();
        let pid = sys::clone::fork(move || {
            // The copy's own write end would keep the read below from ever ending.
            sys::exec::close_in_new_process(write_end);
            let mut byte = [0u8; 1];
            if wait.read(&mut byte).unwrap_or(0) == 0 {
                return 1;
            }
            let map = |tool: &PathBuf, own: u32, (start, count): (u32, u32)| {
                let arguments =
                    [target.as_str(), "0", &own.to_string(), "1", "1", &start.to_string(), &count.to_string()];
                Command::new(tool).args(arguments).output().is_ok_and(|o| o.status.success())
            };
            u8::from(!(map(&newuidmap, uid, uids) && map(&newgidmap, gid, gids)))
        })
        .ok()?;
        Some(Mapper { pid, go })
    }

    /// Ends it.
    fn give_up(self) {
        drop(self.go);
        let _ = sys::wait::reap(self.pid);
    }

    /// Lets it work; whether both maps are written.
    fn finish(mut self) -> bool {
        let told = self.go.write_all(b"!").is_ok();
        drop(self.go);
        sys::wait::reap(self.pid).is_ok_and(|exit| exit.code() == 0) && told
    }
}

fn user_name(uid: u32) -> String {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name)
}

/// The first range of `user` in a subuid(5) file: start and count.
fn range(file: &str, uid: u32, user: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ((name == user || name.parse() == Ok(uid)) && count > 0).then_some((start, count))
    })
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(tool)).find(|p| p.is_file())
}

fn sysctl(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn no_namespaces(source: io::Error) -> ContainerError {
    ContainerError::NoNamespaces { source, hint: advice() }
}

/// What to change on the host, by what is found there.
fn advice() -> String {
    if sysctl("user/max_user_namespaces") == Some(0) {
        return "the host allows no user namespaces: `sysctl user.max_user_namespaces=15000` as root, or run as root"
            .into();
    }
    if sysctl("kernel/unprivileged_userns_clone") == Some(0) {
        return "the host allows user namespaces to root only: `sysctl kernel.unprivileged_userns_clone=1` as root, or run as root".into();
    }
    if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return "AppArmor restricts user namespaces: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` as root, or an AppArmor profile for this program with `userns,`, or run as root".into();
    }
    "run as root with CAP_SYS_ADMIN; inside a container that takes e.g. `docker run --privileged`; `--isolation none` runs the program without a container".into()
}

/// Words a failed clone3.
pub(super) fn clone_error(source: io::Error) -> ContainerError {
    let hint = match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => Some(advice()),
        Some(Errno::NOSPC) => {
            Some("a limit on namespaces is reached: see `sysctl user` and max_*_namespaces".to_owned())
        }
        Some(Errno::NOSYS) => Some("Linux 5.12 or newer is needed, and a sandbox must allow clone3".to_owned()),
        _ => None,
    };
    ContainerError::Clone { source, hint }
}
