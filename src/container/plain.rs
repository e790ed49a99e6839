//! The way without namespaces: the image's program as a plain child process, from its extracted layer.
//!
//! For hosts that allow no namespaces at all. There is no isolation, so the engine takes this way only for the built-in
//! hub's images or when asked to, says so, and marks the trace.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::error::ContainerError;
use super::io::{Streams, TheirStreams};
use super::{Spec, environment, user::Identity};
use crate::record::Mono;
use crate::sys::clone::{Child, Namespaces, spawn};
use crate::sys::exec::{StringArray, close_from_3_on_exec, execve};

struct Plan {
    path: CString,
    argv: StringArray,
    envp: StringArray,
    streams: TheirStreams,
    errno: std::sync::atomic::AtomicI32,
}

/// Starts it; `lowers` are the layers, topmost first. Returns when it has become the program.
pub fn start(
    spec: &Spec,
    lowers: &[OwnedFd],
    identity: &Identity,
) -> Result<(Child, Streams, [Mono; 2]), ContainerError> {
    let program = spec.argv.first().cloned().unwrap_or_default();
    let env = environment(spec, identity);
    let path = find(&program, &env, lowers)?;
    let (streams, theirs) = Streams::pipes(spec.interactive)?;
    let plan = Plan {
        path,
        argv: super::c_strings("an argument", &spec.argv)?,
        envp: super::c_strings("an environment variable", &env)?,
        streams: theirs,
        errno: 0.into(),
    };
    let called = Mono::now();
    let mut child = spawn(Namespaces::default(), None, &plan, become_program).map_err(super::privilege::clone_error)?;
    let returned = Mono::now();
    match plan.errno.load(std::sync::atomic::Ordering::Relaxed) {
        0 => Ok((child, streams, [called, returned])),
        errno => {
            let _ = child.reap();
            let program = program.to_string_lossy().into_owned();
            Err(ContainerError::Exec { program, source: std::io::Error::from_raw_os_error(errno) })
        }
    }
}

fn become_program(plan: &Plan) -> u8 {
    let go = || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        crate::sys::exec::connect(&plan.streams.input, &plan.streams.out, &plan.streams.err)?;
        close_from_3_on_exec()?;
        crate::sys::signal::reset_for_exec();
        Err::<(), _>(execve(&plan.path, &plan.argv, &plan.envp))
    };
    if let Err(e) = go() {
        plan.errno.store(e.raw_os_error(), std::sync::atomic::Ordering::Relaxed);
    }
    125
}

/// The host path of the program in the topmost layer that has it.
fn find(program: &OsStr, env: &[OsString], lowers: &[OwnedFd]) -> Result<CString, ContainerError> {
    for candidate in super::candidates(program, env)? {
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
