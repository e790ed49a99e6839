//! What the new process does between clone and exec.
//!
//! It shares its parent's memory while the parent is suspended, so it makes system calls only: every path, argument and
//! mount has been prepared in [`Plan`]. It leaves a stamp in [`Report`] at each border between stages, and on failure
//! the step and errno; nothing of `tracing` is touched here.
//!
//! Order matters and is explained where it does. The rule for paths: before pivot_root the image's tree is reached only
//! through descriptors opened beneath its root without following symlinks; after it, the image is all there is.

mod exec;
mod harden;
mod later;
mod mounts;
mod report;
mod target;
mod terminal;

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use later::{Entry, enter, inside};
pub use mounts::DEVICES;
pub use report::{Border, Fault, Report, Step};

use self::report::At;
use super::plan::{Join, Plan};
use crate::sys;

/// Entry of the new process. Returns the exit status for the case that it could not exec.
pub fn main(plan: &Plan, report: &Report) -> u8 {
    report.stamp(Border::Cloned);
    let fault = match prepare(plan, report) {
        Ok(refused) => exec::exec(&plan.program, refused, report),
        Err(fault) => fault,
    };
    report.failed(fault);
    125
}

fn prepare(plan: &Plan, report: &Report) -> Result<Option<usize>, Fault> {
    namespaces(plan)?;
    report.stamp(Border::Namespaces);
    let root = plan.rootfs.as_fd();
    mounts::attach_root(plan)?;
    mounts::mounts(plan, root)?;
    report.stamp(Border::Mounts);
    let terminal = terminal::open(&plan.program.streams, root)?;
    if terminal.is_some() {
        report.stamp(Border::Terminal);
    }
    mounts::pivot(root)?;
    report.stamp(Border::Pivoted);
    let refused = harden::harden(plan, terminal.as_ref())?;
    report.stamp(Border::Hardened);
    Ok(refused)
}

fn namespaces(plan: &Plan) -> Result<(), Fault> {
    // What is made from here on has the mode that is asked for, whatever the caller's umask; the program gets 022.
    rustix::process::umask(Mode::empty());
    // A session of its own takes the user's terminal away as controlling terminal: the container cannot push input into
    // it (TIOCSTI), and Ctrl-C reaches the container only through us.
    rustix::process::setsid().at(Step::Session)?;
    if let Some(score) = &plan.oom_score_adj {
        // While this file of ours is ours: it is root's of the first user namespace once nobody may look into us.
        set_oom_score(score).at(Step::OomScore)?;
    }
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).at(Step::Dumpable)?;
    for (i, group) in plan.join_cgroups.iter().enumerate() {
        join(group).nth(Step::JoinCgroup, i)?;
    }
    // Only now: the root of a cgroup namespace is the cgroup that its creator is in. Without a cgroup of its own, too:
    // the names of the host's are nobody's business.
    if plan.new_cgroup {
        sys::clone::unshare_cgroup().at(Step::CgroupNamespace)?;
    }
    if plan.new_uts {
        rustix::system::sethostname(plan.hostname.to_bytes()).at(Step::HostName)?;
        if let Some(name) = &plan.domainname {
            sys::exec::set_domain_name(name).at(Step::DomainName)?;
        }
    }
    if plan.new_net {
        sys::net::loopback_up().at(Step::Loopback)?;
    }
    Ok(())
}

fn set_oom_score(score: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(rustix::fs::CWD, c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(&file, score).map(drop)
}

fn join(group: &Join) -> Result<(), Errno> {
    match rustix::io::write(&group.tasks, b"0") {
        Ok(_) => return Ok(()),
        // A caller of a real-time class (`chrt`): a new group of the `cpu` hierarchy has no time to give such
        // processes. Outside it the container could reach the host's groups, so it gives up its class, as docker's
        // never has one.
        Err(Errno::INVAL) if sys::exec::leave_real_time().is_ok() => {
            return rustix::io::write(&group.tasks, b"0").map(drop);
        }
        Err(_) => {}
    }
    let procs =
        rustix::fs::openat(&group.root, group.procs.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&procs, b"0").map(drop)
}
