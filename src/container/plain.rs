//! The way without namespaces: the image's program as a plain child process, from its extracted layer.
//!
//! For hosts that allow no namespaces at all. There is no isolation, so the engine takes this way only for the built-in
//! hub's images or when asked to, says so, and marks the trace.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::thread::CapabilitySet;

use super::error::ContainerError;
use super::io::{self, Streams, TheirStreams};
use super::options::capability;
use super::program::{self, c_strings};
use super::seccomp::Filter;
use super::terminal::{self, Pair};
use super::{Spec, user::Identity};
use crate::record::Mono;
use crate::sys::clone::{Child, Namespaces, spawn};
use crate::sys::exec::{StringArray, close_from_3_on_exec, execve};

struct Plan {
    path: CString,
    argv: StringArray,
    envp: StringArray,
    streams: TheirStreams,
    /// They are a terminal.
    tty: bool,
    no_new_privileges: bool,
    seccomp: Option<Filter>,
    errno: AtomicI32,
    /// Whether that is why the filter could not be loaded.
    unfiltered: AtomicBool,
}

/// A program that runs.
pub struct Started {
    /// Its process.
    pub child: Child,
    /// Our ends of its standard streams.
    pub streams: Streams,
    /// When clone3 was called, and when it had become the program.
    pub times: [Mono; 2],
    /// Whether exec may never add privileges.
    pub no_new_privileges: bool,
    /// Instructions of its filter.
    pub filter_instructions: Option<usize>,
}

/// Starts it; `lowers` are the layers, topmost first. Returns when it has become the program.
///
/// The filter is the one of a container. Who has no CAP_SYS_ADMIN here can only load it together with no_new_privs.
pub fn start(spec: &Spec, lowers: &[OwnedFd], identity: &Identity) -> Result<Started, ContainerError> {
    let program = spec.argv.first().cloned().unwrap_or_default();
    let env = program::environment(&spec.hostname, spec.terminal, &spec.env, identity);
    let path = find(&program, &env, lowers)?;
    let (streams, theirs) = streams(spec)?;
    let seccomp = spec.security.seccomp.filter(capability::DEFAULT)?;
    let admin = rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    let plan = Plan {
        path,
        argv: c_strings("an argument", &spec.argv)?,
        envp: c_strings("an environment variable", &env)?,
        streams: theirs,
        tty: spec.terminal,
        no_new_privileges: spec.security.no_new_privileges || (seccomp.is_some() && !admin),
        seccomp,
        errno: AtomicI32::new(0),
        unfiltered: AtomicBool::new(false),
    };
    let called = Mono::now();
    let mut child = spawn(Namespaces::default(), None, &plan, become_program).map_err(super::privilege::clone_error)?;
    let returned = Mono::now();
    match plan.errno.load(Ordering::Relaxed) {
        0 => Ok(Started {
            child,
            streams,
            times: [called, returned],
            no_new_privileges: plan.no_new_privileges,
            filter_instructions: plan.seccomp.map(|filter| filter.program.len()),
        }),
        errno => {
            let _ = child.reap();
            let program = program.to_string_lossy().into_owned();
            let source = std::io::Error::from_raw_os_error(errno);
            Err(match plan.unfiltered.load(Ordering::Relaxed) {
                true => ContainerError::Seccomp { source },
                false => ContainerError::Exec { program, source },
            })
        }
    }
}

/// A terminal is one of the host's, the program's side of it in place of three pipes.
fn streams(spec: &Spec) -> Result<(Streams, TheirStreams), ContainerError> {
    if !spec.terminal {
        let (ends, theirs) = io::ends(spec.interactive, false)?;
        return Ok((ends.ready()?, theirs));
    }
    let make = || {
        let Pair { master, slave } = terminal::open_on_host()?;
        if let Some(size) = terminal::size() {
            rustix::termios::tcsetwinsize(&slave, size)?;
        }
        let again = || rustix::io::fcntl_dupfd_cloexec(&slave, 3);
        let theirs = TheirStreams::Pipes { input: Some(again()?), out: again()?, err: slave };
        Ok((Streams::terminal(master, spec.interactive)?, theirs))
    };
    make().map_err(|e: rustix::io::Errno| ContainerError::File {
        action: "open a terminal by",
        path: "/dev/ptmx".into(),
        source: e.into(),
    })
}

fn become_program(plan: &Plan) -> u8 {
    let go = || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if let TheirStreams::Pipes { input, out, err } = &plan.streams {
            crate::sys::exec::connect(input.as_ref().map(AsFd::as_fd), out.as_fd(), err.as_fd())?;
        }
        if plan.tty {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        close_from_3_on_exec()?;
        crate::sys::signal::reset_for_exec();
        if plan.no_new_privileges {
            rustix::thread::set_no_new_privs(true)?;
        }
        if let Some(filter) = &plan.seccomp {
            crate::sys::seccomp::load(&filter.program, filter.flags)
                .inspect_err(|_| plan.unfiltered.store(true, Ordering::Relaxed))?;
        }
        Err::<(), _>(execve(&plan.path, &plan.argv, &plan.envp))
    };
    if let Err(e) = go() {
        plan.errno.store(e.raw_os_error(), Ordering::Relaxed);
    }
    125
}

/// The host path of the program in the topmost layer that has it.
fn find(program: &OsStr, env: &[OsString], lowers: &[OwnedFd]) -> Result<CString, ContainerError> {
    for candidate in program::candidates(program, env)? {
        let relative = OsStr::from_bytes(candidate.to_bytes());
        for lower in lowers {
            let open = rustix::fs::openat2(
                lower,
                Path::new(relative),
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            );
            let Ok(file) = open else { continue };
            let is_file =
                rustix::fs::fstat(&file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
            if !is_file {
                continue;
            }
            let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
                .map_err(|source| ContainerError::File { action: "find the path of", path: program.into(), source })?;
            return super::c_string("the store's path", path.as_os_str());
        }
    }
    let name = program.to_string_lossy().into_owned();
    Err(match program.as_bytes().contains(&b'/') {
        true => ContainerError::NoSuchFile { program: name },
        false => ContainerError::NotFound { program: name },
    })
}
