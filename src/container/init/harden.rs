//! Giving up what the program must not have, inside the new root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::exec::first_refused;
use super::mounts::NOSUID_NODEV_NOEXEC;
use super::report::{At, Fault, Step};
use super::target::{self, Missing};
use super::terminal::connect;
use crate::container::plan::Plan;
use crate::container::program::{Program, Starter};
use crate::sys;

/// Gives the first candidate that must not be executed, see `exec::leads_to_engine`.
pub(super) fn harden(plan: &Plan, terminal: Option<&OwnedFd>) -> Result<Option<usize>, Fault> {
    mask(plan)?;
    sys::exec::new_session_keyring();
    let program = &plan.program;
    let entered = enter_or_make_working_dir(program);
    // Only now: a missing working directory is made also where nothing can be written later.
    if plan.read_only_root {
        let nodev = if plan.nodev { MountFlags::NODEV } else { MountFlags::empty() };
        rustix::mount::mount_remount(c"/", MountFlags::BIND | MountFlags::RDONLY | nodev, c"")
            .at(Step::ReadOnlyRoot)?;
    }
    // No guard does it where it sees the host's processes.
    confine(program, terminal, entered, enter_or_make_working_dir, plan.host_pids)
}

/// Connects the streams and gives up what the program must not have. `entered` says whether it is in its working
/// directory already; if not, `enter` is tried as its user. Gives the first candidate that must not be executed.
pub(super) fn confine(
    program: &Program,
    terminal: Option<&OwnedFd>,
    entered: Result<(), Fault>,
    enter: fn(&Program) -> Result<(), Fault>,
    dies_with_parent: bool,
) -> Result<Option<usize>, Fault> {
    // While every program can be read, which its user perhaps may only execute.
    let mut refused = first_refused(program);
    connect(&program.streams, terminal, program.uid)?;
    // Before the capability goes that raises them, and after the last file of ours is opened.
    for (i, (resource, limit)) in program.ulimits.iter().enumerate() {
        rustix::process::setrlimit(*resource, *limit).nth(Step::Ulimit, i)?;
    }
    // The bounding set first, while CAP_SETPCAP is there to do it.
    for capability in 0..=program.last_capability {
        if program.capabilities & (1u64 << capability) == 0 {
            drop_from_bounding(capability).nth(Step::BoundingSet, capability as usize)?;
        }
    }
    if program.set_groups {
        rustix::thread::set_thread_groups(&program.groups).at(Step::Groups)?;
    }
    // A filter may be loaded without no_new_privs by CAP_SYS_ADMIN alone, so that one outlives the change of user, and
    // goes with the last call before exec: whoever writes a profile need not know what is done here.
    if program.seccomp.is_some() {
        rustix::thread::set_keep_capabilities(true).at(Step::KeepCapabilities)?;
    }
    // Group before user: afterwards the right to change it is gone.
    rustix::thread::set_thread_res_gid(program.gid, program.gid, program.gid).at(Step::Gid)?;
    rustix::thread::set_thread_res_uid(program.uid, program.uid, program.uid).at(Step::Uid)?;
    // A host may be set to let processes that have changed their user be looked into (`fs.suid_dumpable`).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).at(Step::Dumpable)?;
    let admin = if program.seccomp.is_some() { CapabilitySet::SYS_ADMIN } else { CapabilitySet::empty() };
    set_capabilities(kept(program) | admin).at(Step::Capabilities)?;
    clear_ambient().at(Step::Capabilities)?;
    if dies_with_parent {
        // By the user that the program will run as: a change of ids clears it (prctl(2)).
        let kill = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(kill).at(Step::ParentDeath)?;
    }
    // A directory that root cannot enter (a squashed network mount) may still be open to the user.
    if entered.is_err() {
        enter(program)?;
        refused = first_refused(program);
    }
    if !sys::exec::working_dir_is_reachable() {
        return Err(Fault { step: Step::WorkingDir, errno: Errno::XDEV, detail: 0 });
    }
    sys::exec::close_from_3_on_exec().at(Step::Descriptors)?;
    if let Starter::Launcher(launcher) = &program.starter {
        launcher.keep().at(Step::Descriptors)?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::signal::reset_for_exec();
    load_filter(program)?;
    Ok(refused)
}

/// The last steps before exec. With no_new_privs the filter comes after everything else; without, only the capability
/// that it takes to load it is given up under its eyes. Both orders are runc's.
fn load_filter(program: &Program) -> Result<(), Fault> {
    let load = || match &program.seccomp {
        Some(filter) => sys::seccomp::load(&filter.program, filter.flags).at(Step::Seccomp),
        None => Ok(()),
    };
    if program.no_new_privileges {
        rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges)?;
        set_capabilities(kept(program)).at(Step::Capabilities)?;
        return load();
    }
    load()?;
    set_capabilities(kept(program)).at(Step::Capabilities)
}

fn mask(plan: &Plan) -> Result<(), Fault> {
    // /dev is ours, yet what hides other files is checked before it is trusted (CVE-2025-31133).
    let null = rustix::fs::stat(c"/dev/null").at(Step::CheckNull)?;
    let is_null = rustix::fs::FileType::from_raw_mode(null.st_mode) == rustix::fs::FileType::CharacterDevice
        && (rustix::fs::major(null.st_rdev), rustix::fs::minor(null.st_rdev)) == (1, 3);
    if !is_null {
        return Err(Fault { step: Step::CheckNull, errno: Errno::NODEV, detail: 0 });
    }
    for (i, path) in plan.masked.iter().enumerate() {
        let hidden = match rustix::mount::mount_bind(c"/dev/null", *path) {
            // A directory cannot be covered by a file; an empty read-only one covers it.
            Err(Errno::NOTDIR | Errno::ISDIR) => {
                mount(c"tmpfs", *path, c"tmpfs", NOSUID_NODEV_NOEXEC | MountFlags::RDONLY, Some(c"size=0"))
            }
            other => other,
        };
        match hidden {
            Ok(()) | Err(Errno::NOENT) => {}
            other => other.nth(Step::Mask, i)?,
        }
    }
    for (i, path) in plan.read_only.iter().enumerate() {
        match rustix::mount::mount_bind_recursive(*path, *path) {
            Ok(()) => {
                rustix::mount::mount_remount(*path, MountFlags::BIND | MountFlags::RDONLY | NOSUID_NODEV_NOEXEC, c"")
                    .nth(Step::ReadOnly, i)?
            }
            Err(Errno::NOENT) => {}
            other => other.nth(Step::ReadOnly, i)?,
        }
    }
    Ok(())
}

/// As docker does, a missing working directory is made, owned by root. Symlinks of the image are followed; a magic link
/// of /proc is not, since the engine's descriptors are still open here and lead to the host (CVE-2024-21626).
pub(super) fn enter_or_make_working_dir(program: &Program) -> Result<(), Fault> {
    let open = |at: BorrowedFd<'_>, name: &CStr| {
        rustix::fs::openat2(
            at,
            name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_MAGICLINKS,
        )
    };
    let mut dir = open(CWD, c"/").at(Step::WorkingDir)?;
    for (i, part) in program.cwd_parts.iter().enumerate() {
        dir = match open(dir.as_fd(), part) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&dir, part.as_c_str(), Mode::from_raw_mode(0o755)) {
                    // A link to what is missing: that is made.
                    Err(Errno::EXIST) => return enter_missing(program),
                    made => made.nth(Step::WorkingDir, i)?,
                }
                open(dir.as_fd(), part)
            }
            other => other,
        }
        .nth(Step::WorkingDir, i)?;
    }
    rustix::process::fchdir(&dir).at(Step::WorkingDir)
}

fn enter_missing(program: &Program) -> Result<(), Fault> {
    let root = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .at(Step::WorkingDir)?;
    let found = target::find(root.as_fd(), &program.cwd, Missing::Directory).at(Step::WorkingDir)?;
    rustix::process::fchdir(&found.fd).at(Step::WorkingDir)
}

fn drop_from_bounding(capability: u32) -> Result<(), Errno> {
    rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1u64 << capability))
}

/// What the program is to have. Another user than root has nothing, as if the kernel had cleared the sets at the change
/// of id; execve would not bring them back.
fn kept(program: &Program) -> CapabilitySet {
    CapabilitySet::from_bits_retain(if program.uid.is_root() { program.capabilities } else { 0 })
}

fn set_capabilities(set: CapabilitySet) -> Result<(), Errno> {
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() },
    )
}

fn clear_ambient() -> Result<(), Errno> {
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(e),
    }
}
