//! What the processes of a later program in a running container do: the first joins the container, the second becomes
//! the program, see [`crate::sys::enter`].

use std::os::fd::{AsFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::exec::exec;
use super::harden::confine;
use super::report::{At, Border, Fault, Report, Step};
use super::{join, set_oom_score, terminal};
use crate::container::plan::Join;
use crate::container::program::Program;
use crate::sys;

/// Everything that they need.
pub struct Entry {
    /// Descriptors that the program is started with, in ascending order.
    pub kept: Vec<RawFd>,
    /// The container's first process.
    pub process: OwnedFd,
    /// Its namespaces that are not ours.
    pub namespaces: ThreadNameSpaceType,
    /// As /proc writes it.
    pub oom_score_adj: Option<Vec<u8>>,
    /// Groups to join, of hierarchies that clone3 cannot put us into.
    pub groups: Vec<Join>,
    /// What runs in the end.
    pub program: Program,
}

/// The first process. Whether it is in the container.
pub fn enter(entry: &Entry, report: &Report) -> bool {
    report.stamp(Border::Cloned);
    let go = || {
        if let Some(score) = &entry.oom_score_adj {
            // While this file of ours is ours.
            set_oom_score(score).at(Step::OomScore)?;
        }
        not_dumpable()?;
        // Before the namespaces: the groups have no names in the container's.
        for (i, group) in entry.groups.iter().enumerate() {
            join(group).nth(Step::JoinCgroup, i)?;
        }
        move_into_thread_name_spaces(entry.process.as_fd(), entry.namespaces).at(Step::Enter)
    };
    match go() {
        Ok(()) => {
            // The next process is seen by the container's.
            sys::enter::close_all_but(&entry.kept);
            true
        }
        Err(fault) => {
            report.failed(fault);
            false
        }
    }
}

/// The second process. Returns the exit status for the case that it could not exec.
pub fn inside(entry: &Entry, report: &Report) -> u8 {
    report.stamp(Border::Namespaces);
    let fault = match prepare(&entry.program, report) {
        Ok(refused) => exec(&entry.program, refused, report),
        Err(fault) => fault,
    };
    report.failed(fault);
    125
}

fn prepare(program: &Program, report: &Report) -> Result<Option<usize>, Fault> {
    rustix::process::setsid().at(Step::Session)?;
    sys::exec::new_session_keyring();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty()).at(Step::Terminal)?;
    let terminal = terminal::open_inside(&program.streams, root.as_fd())?;
    if terminal.is_some() {
        report.stamp(Border::Terminal);
    }
    let entered = enter_working_dir(program);
    let refused = confine(program, terminal.as_ref(), entered, enter_working_dir, false)?;
    report.stamp(Border::Hardened);
    Ok(refused)
}

fn not_dumpable() -> Result<(), Fault> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).at(Step::Dumpable)
}

/// One that is missing is not made, as with docker.
fn enter_working_dir(program: &Program) -> Result<(), Fault> {
    let go = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, c"/", flags, Mode::empty())?;
        let path = if program.cwd.is_empty() { c"." } else { program.cwd.as_c_str() };
        let dir = rustix::fs::openat2(&root, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
        rustix::process::fchdir(dir)
    };
    let go: Result<(), Errno> = go();
    go.at(Step::WorkingDir)
}
