//! What a new process becomes before it becomes the container's program: a program of some hundred bytes whose only
//! work is to execute that one.
//!
//! Until its first exec the new process runs from this program's file, and /proc/self/exe in the container means that
//! file. Who can change what lies at the program's path while the container starts, on a volume or from within, can
//! make it lead there: the engine would run inside, with the image's libraries, and its file on the host could be
//! written to (CVE-2019-5736). No look at the path beforehand helps, for it can be changed after the look. So what is
//! executed by its path is executed from the launcher, whose file is memory that cannot be changed and that nobody else
//! runs.
//!
//! It costs 0.1 ms. Where nobody else can reach the container's files yet, a look at the path is enough.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use super::exec::{StringArray, exec_by_name, keep_on_exec};
use super::sealed;

// argv is: the number of the descriptor that takes the errno, path of the program, the program's own arguments. The
// descriptor closes with the exec. Where a filter forbids to say so, it is closed now, and only the exit status tells
// of a failure.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.trace_launcher,\"a\"",
    ".globl trace_launcher_begin",
    ".hidden trace_launcher_begin",
    ".globl trace_launcher_end",
    ".hidden trace_launcher_end",
    "trace_launcher_begin:",
    "mov r14, [rsp]",
    "lea rbp, [rsp + 8]",
    "lea r12, [rbp + r14*8 + 8]",
    "mov rsi, [rbp]",
    "xor r13d, r13d",
    "7:",
    "movzx eax, byte ptr [rsi]",
    "test eax, eax",
    "jz 2f",
    "imul r13d, r13d, 10",
    "lea r13d, [r13 + rax - 48]",
    "inc rsi",
    "jmp 7b",
    "2:",
    // fcntl(fd, F_SETFD, FD_CLOEXEC)
    "mov eax, 72",
    "mov edi, r13d",
    "mov esi, 2",
    "mov edx, 1",
    "syscall",
    "test eax, eax",
    "jz 3f",
    "mov eax, 3",
    "mov edi, r13d",
    "syscall",
    "3:",
    "mov eax, 59",
    "mov rdi, [rbp + 8]",
    "lea rsi, [rbp + 16]",
    "mov rdx, r12",
    "syscall",
    "push rax",
    "mov r12, rax",
    "mov eax, 1",
    "mov edi, r13d",
    "mov rsi, rsp",
    "mov edx, 8",
    "syscall",
    // 127 for ENOENT, else 126.
    "mov edi, 126",
    "cmp r12, -2",
    "jne 4f",
    "inc edi",
    "4:",
    "mov eax, 231",
    "syscall",
    "trace_launcher_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .rodata.trace_launcher,\"a\"",
    ".balign 4",
    ".globl trace_launcher_begin",
    ".hidden trace_launcher_begin",
    ".globl trace_launcher_end",
    ".hidden trace_launcher_end",
    "trace_launcher_begin:",
    "ldr x19, [sp]",
    "add x20, sp, #8",
    "add x21, x20, x19, lsl #3",
    "add x21, x21, #8",
    "ldr x1, [x20]",
    "mov x22, #0",
    "mov x3, #10",
    "7:",
    "ldrb w2, [x1], #1",
    "cbz w2, 2f",
    "sub w2, w2, #48",
    "madd x22, x22, x3, x2",
    "b 7b",
    "2:",
    "mov x8, #25",
    "mov x0, x22",
    "mov x1, #2",
    "mov x2, #1",
    "svc #0",
    "cbz x0, 3f",
    "mov x8, #57",
    "mov x0, x22",
    "svc #0",
    "3:",
    "mov x8, #221",
    "ldr x0, [x20, #8]",
    "add x1, x20, #16",
    "mov x2, x21",
    "svc #0",
    "str x0, [sp, #-16]!",
    "mov x19, x0",
    "mov x8, #64",
    "mov x0, x22",
    "mov x1, sp",
    "mov x2, #8",
    "svc #0",
    "mov x0, #126",
    "cmn x19, #2",
    "cinc x0, x0, eq",
    "mov x8, #94",
    "svc #0",
    "trace_launcher_end:",
    ".popsection",
);

unsafe extern "C" {
    static trace_launcher_begin: u8;
    static trace_launcher_end: u8;
}

fn code() -> &'static [u8] {
    // SAFETY: both labels stand in one read-only section of this program, the end after the begin, and what lies
    // between them is never written.
    unsafe {
        let (begin, end) = (&raw const trace_launcher_begin, &raw const trace_launcher_end);
        std::slice::from_raw_parts(begin, end.addr() - begin.addr())
    }
}

/// A launcher for one program, made before the clone.
pub struct Launcher {
    program: OwnedFd,
    argv: StringArray,
    faults: OwnedFd,
    fault: OwnedFd,
}

impl Launcher {
    /// For one of the programs at the paths `candidates`, with the arguments `argv`. `scratch` is a directory for hosts
    /// without executable memory.
    pub fn new(candidates: &[CString], argv: Vec<CString>, scratch: &Path) -> io::Result<Self> {
        let (faults, fault) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let number = CString::new(fault.as_raw_fd().to_string())?;
        Ok(Launcher {
            program: sealed::program(c"launcher", code(), scratch)?,
            argv: StringArray::choosing(number, candidates.to_vec(), argv),
            faults,
            fault,
        })
    }

    /// What the new process needs of ours for it.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.program.as_fd(), self.fault.as_fd()]
    }

    /// In the new process: becomes the launcher of the `n`th candidate. Returns only with the reason why it could not.
    pub fn exec(&self, n: usize, envp: &StringArray) -> Errno {
        self.argv.choose(n);
        exec_by_name(self.program.as_fd(), &self.argv, envp)
    }

    /// In the new process, after all descriptors were marked to close, and before a filter: the launcher is to have
    /// one.
    pub fn keep(&self) -> Result<(), Errno> {
        keep_on_exec(self.fault.as_fd())
    }

    /// After [`Launcher::exec`]: waits until the program runs, or gives the reason why it could not be executed.
    pub fn outcome(self) -> Option<Errno> {
        /// Who can look into the new process can keep the pipe open, and is not waited for.
        const PATIENCE: Duration = Duration::from_secs(5);
        drop(self.fault);
        let mut errno = [0u8; 8];
        let mut fds = [PollFd::new(&self.faults, PollFlags::IN)];
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut fds, Some(&left)) {
                Err(Errno::INTR) => {}
                Ok(1) => break,
                _ => return None,
            }
        }
        match rustix::io::read(&self.faults, &mut errno) {
            Ok(8) => Some(Errno::from_raw_os_error(i32::try_from(-i64::from_ne_bytes(errno)).unwrap_or(0))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone::{Namespaces, spawn};

    fn launch(path: &str, argv: &[&str]) -> (Option<Errno>, u8) {
        let c = |text: &str| CString::new(text).unwrap();
        let launcher = Launcher::new(&[c("/no/such"), c(path)], argv.iter().map(|a| c(a)).collect(), Path::new("/tmp"));
        let launcher = launcher.unwrap();
        let envp = StringArray::new(vec![c("SAID=well")]);
        let mut child = spawn(Namespaces::default(), None, &(&launcher, envp), |(launcher, envp)| {
            let _ = launcher.keep();
            launcher.exec(1, envp);
            1
        });
        let child = child.as_mut().unwrap();
        (launcher.outcome(), child.reap().unwrap().code())
    }

    #[test]
    fn arguments_and_environment_are_the_programs() {
        let script = r#"[ "$0 $1 $SAID" = "zero one well" ] && ! [ -e /proc/self/fd/3 ] && exit 7"#;
        assert_eq!(launch("/bin/sh", &["sh", "-c", script, "zero", "one"]), (None, 7));
    }

    #[test]
    fn a_failure_has_its_reason() {
        assert_eq!(launch("/not/there", &["x"]), (Some(Errno::NOENT), 127));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(launch(file.path().to_str().unwrap(), &["x"]), (Some(Errno::ACCESS), 126));
        assert_eq!(launch("/etc", &["x"]), (Some(Errno::ACCESS), 126));
    }

    #[test]
    fn its_own_file_is_not_ours_and_cannot_be_written() {
        // A launcher of a launcher ends where there are no arguments left.
        let (errno, _) = launch("/proc/self/exe", &["/bin/true", "/bin/true"]);
        assert_eq!(errno, None);
        let script = "readlink /proc/self/exe >/dev/null; exit 3";
        assert_eq!(launch("/bin/sh", &["sh", "-c", script]).1, 3);
    }
}
