//! Becoming the program.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::report::{Fault, Report, Step};
use crate::container::program::{Program, Starter};
use crate::sys;

/// Tries the candidates in order and returns why none of them could be run. As docker does, and unlike execvp(3), what
/// is found by `$PATH` and cannot be executed by its mode is passed over.
pub(super) fn exec(program: &Program, refused: Option<usize>, report: &Report) -> Fault {
    for (i, path) in program.candidates.iter().enumerate() {
        let fault = |step, errno| Fault { step, errno, detail: i as u32 };
        if refused == Some(i) {
            return fault(Step::ExecMagicLink, Errno::LOOP);
        }
        match rustix::fs::stat(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(Errno::ACCESS) if program.searched => continue,
            Ok(_) if program.searched && !is_executable(path) => continue,
            Err(e) => return fault(Step::Exec, e),
            Ok(_) => {}
        }
        report.chosen(i);
        let errno = match &program.starter {
            Starter::Itself(argv) => return report.launched(sys::exec::execve(path, argv, &program.envp)),
            Starter::Launcher(launcher) => launcher.exec(i, &program.envp),
            Starter::Reaper(..) if !is_executable(path) => Errno::ACCESS,
            Starter::Reaper(argv, reaper) => {
                argv.choose(i);
                sys::exec::exec_by_name(reaper.as_fd(), argv, &program.envp)
            }
            Starter::Gone => Errno::BADF,
        };
        return fault(Step::Exec, errno);
    }
    Fault { step: Step::NotFound, errno: Errno::NOENT, detail: 0 }
}

fn is_executable(path: &CStr) -> bool {
    let regular = rustix::fs::stat(path).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    regular && rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

pub(super) fn first_refused(program: &Program) -> Option<usize> {
    program.candidates.iter().position(|path| leads_to_engine(path))
}

/// More than the kernel follows (5, `exec_binprm`).
const INTERPRETERS: usize = 8;

/// An image whose program, or whose program's interpreter line, leads to /proc/self/exe means the engine by it
/// (CVE-2019-5736). It would only find the launcher there, see [`crate::sys::launcher`]; that it is refused gives it a
/// better answer; where nobody else can change what is looked at, see [`Starter::Itself`], it is all that it takes.
/// Paths through other magic links of /proc are refused with it, and links that go in circles.
fn leads_to_engine(path: &CStr) -> bool {
    let mut line = [0u8; 256];
    let mut interpreter: Option<[u8; 256]> = None;
    for _ in 0..INTERPRETERS {
        let current = match &interpreter {
            Some(name) => CStr::from_bytes_until_nul(name).unwrap_or(c"/"),
            None => path,
        };
        let file = match rustix::fs::openat2(
            CWD,
            current,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
            Mode::empty(),
            ResolveFlags::NO_MAGICLINKS,
        ) {
            Ok(file) => file,
            // Not there or not to be opened, which execve will say.
            Err(e) => return e == Errno::LOOP,
        };
        let n = rustix::io::read(&file, &mut line).unwrap_or(0);
        let Some(line) = line[..n].strip_prefix(b"#!") else { return false };
        let blank = |b: &u8| *b == b' ' || *b == b'\t';
        let begin = line.iter().position(|b| !blank(b)).unwrap_or(line.len());
        let name = &line[begin..];
        let len = name.iter().position(|b| blank(b) || *b == b'\n' || *b == 0).unwrap_or(name.len());
        if len == 0 {
            return false;
        }
        // At most 254 bytes: the two of `#!` are gone, so the terminating zero has room.
        let mut next = [0u8; 256];
        next[..len].copy_from_slice(&name[..len]);
        interpreter = Some(next);
    }
    false
}
