//! Becoming the program.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::report::{Fault, Step};
use crate::container::program::Program;
use crate::sys;

/// Tries the candidates in order and returns why none of them could be run. As docker does, and unlike execvp(3), what
/// is found by `$PATH` and cannot be executed by its mode is passed over.
pub(super) fn exec(program: &Program, refused: Option<usize>) -> Fault {
    let searched = program.searched;
    for (i, path) in program.candidates.iter().enumerate() {
        let detail = i as u32;
        if refused == Some(i) {
            return Fault { step: Step::ExecMagicLink, errno: Errno::LOOP, detail };
        }
        let errno = match &program.reaper {
            Some(_) if !is_there(path) => Errno::NOENT,
            Some(_) if !is_executable(path) => Errno::ACCESS,
            Some(reaper) => {
                let errno = sys::exec::exec_descriptor(reaper.program.as_fd(), &reaper.argv[i], &program.envp);
                return Fault { step: Step::Exec, errno, detail };
            }
            None => sys::exec::execve(path, &program.argv, &program.envp),
        };
        match errno {
            Errno::NOENT if is_there(path) => return Fault { step: Step::Interpreter, errno, detail },
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS if searched && !is_executable(path) => {}
            errno => return Fault { step: Step::Exec, errno, detail },
        }
    }
    Fault { step: Step::NotFound, errno: Errno::NOENT, detail: 0 }
}

fn is_there(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok()
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

/// Until exec this process's /proc/self/exe is the engine itself. An image whose program, or whose program's
/// interpreter line, leads there would run the engine's file inside the container and could then overwrite it on the
/// host (CVE-2019-5736). Paths through /proc's magic links are therefore refused, and with them links that go in
/// circles.
///
/// An ELF interpreter that leads there is harmless: /proc/self/exe is then the image's program.
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
