//! The first process of a container run with `--init`: a program of some hundred bytes that starts the real one, passes
//! every signal on to it, takes in orphans, and ends with its status.
//!
//! It is a file of its own, in sealed memory, and not this program in another role: whoever gains power over it in the
//! container can neither read this program's memory nor change its file on the host through /proc/1/exe
//! (CVE-2019-5736).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::sealed;

// argv is: own name, path of the program, the program's own arguments.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".pushsection .rodata.trace_reaper,\"a\"",
    ".globl trace_reaper_begin",
    ".hidden trace_reaper_begin",
    ".globl trace_reaper_end",
    ".hidden trace_reaper_end",
    "trace_reaper_begin:",
    "mov r14, [rsp]",
    "lea rbp, [rsp + 8]",
    "lea r12, [rbp + r14*8 + 8]",
    // All signals blocked; the old mask, for the program, and the full one on the stack.
    "sub rsp, 512",
    "mov qword ptr [rsp], -1",
    "mov eax, 14",
    "xor edi, edi",
    "mov rsi, rsp",
    "lea rdx, [rsp + 8]",
    "mov r10d, 8",
    "syscall",
    "mov eax, 57",
    "syscall",
    "test eax, eax",
    "jz 5f",
    "js 4f",
    "mov r13d, eax",
    // Waits for a signal.
    "7:",
    "mov eax, 128",
    "mov rdi, rsp",
    "lea rsi, [rsp + 64]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "test eax, eax",
    "jle 7b",
    "cmp eax, 17",
    "je 2f",
    "mov esi, eax",
    "mov edi, r13d",
    "mov eax, 62",
    "syscall",
    "jmp 7b",
    // Takes in what has ended.
    "2:",
    "mov eax, 61",
    "mov rdi, -1",
    "lea rsi, [rsp + 16]",
    "mov edx, 1",
    "xor r10d, r10d",
    "syscall",
    "test eax, eax",
    "jle 7b",
    "cmp eax, r13d",
    "jne 2b",
    "mov edi, [rsp + 16]",
    "mov eax, edi",
    "shr edi, 8",
    "and edi, 255",
    "and eax, 127",
    "jz 3f",
    "lea edi, [rax + 128]",
    "3:",
    "mov eax, 231",
    "syscall",
    "4:",
    "mov edi, 125",
    "jmp 3b",
    // The new process: its signals as they were, then the program.
    "5:",
    "mov eax, 14",
    "mov edi, 2",
    "lea rsi, [rsp + 8]",
    "xor edx, edx",
    "mov r10d, 8",
    "syscall",
    "mov eax, 59",
    "mov rdi, [rbp + 8]",
    "lea rsi, [rbp + 16]",
    "mov rdx, r12",
    "syscall",
    "mov edi, 127",
    "cmp eax, -2",
    "je 3b",
    "mov edi, 126",
    "jmp 3b",
    "trace_reaper_end:",
    ".popsection",
);

#[cfg(target_arch = "aarch64")]
std::arch::global_asm!(
    ".pushsection .rodata.trace_reaper,\"a\"",
    ".balign 4",
    ".globl trace_reaper_begin",
    ".hidden trace_reaper_begin",
    ".globl trace_reaper_end",
    ".hidden trace_reaper_end",
    "trace_reaper_begin:",
    "ldr x19, [sp]",
    "add x20, sp, #8",
    "add x21, x20, x19, lsl #3",
    "add x21, x21, #8",
    "sub sp, sp, #512",
    "mov x0, #-1",
    "str x0, [sp]",
    "mov x8, #135",
    "mov x0, #0",
    "mov x1, sp",
    "add x2, sp, #8",
    "mov x3, #8",
    "svc #0",
    // clone(SIGCHLD)
    "mov x8, #220",
    "mov x0, #17",
    "mov x1, #0",
    "mov x2, #0",
    "mov x3, #0",
    "mov x4, #0",
    "svc #0",
    "cbz x0, 5f",
    "tbnz x0, #63, 4f",
    "mov x22, x0",
    "7:",
    "mov x8, #137",
    "mov x0, sp",
    "add x1, sp, #64",
    "mov x2, #0",
    "mov x3, #8",
    "svc #0",
    "cmp x0, #0",
    "b.le 7b",
    "cmp x0, #17",
    "b.eq 2f",
    "mov x1, x0",
    "mov x0, x22",
    "mov x8, #129",
    "svc #0",
    "b 7b",
    "2:",
    "mov x8, #260",
    "mov x0, #-1",
    "add x1, sp, #16",
    "mov x2, #1",
    "mov x3, #0",
    "svc #0",
    "cmp x0, #0",
    "b.le 7b",
    "cmp x0, x22",
    "b.ne 2b",
    "ldr w1, [sp, #16]",
    "ubfx w0, w1, #8, #8",
    "ands w1, w1, #127",
    "b.eq 3f",
    "add w0, w1, #128",
    "3:",
    "mov x8, #94",
    "svc #0",
    "4:",
    "mov x0, #125",
    "b 3b",
    "5:",
    "mov x8, #135",
    "mov x0, #2",
    "add x1, sp, #8",
    "mov x2, #0",
    "mov x3, #8",
    "svc #0",
    "mov x8, #221",
    "ldr x0, [x20, #8]",
    "add x1, x20, #16",
    "mov x2, x21",
    "svc #0",
    "mov x1, x0",
    "mov x0, #127",
    "cmn x1, #2",
    "b.eq 3b",
    "mov x0, #126",
    "b 3b",
    "trace_reaper_end:",
    ".popsection",
);

unsafe extern "C" {
    static trace_reaper_begin: u8;
    static trace_reaper_end: u8;
}

fn code() -> &'static [u8] {
    // SAFETY: both labels stand in one read-only section of this program, the end after the begin, and what lies
    // between them is never written.
    unsafe {
        let (begin, end) = (&raw const trace_reaper_begin, &raw const trace_reaper_end);
        std::slice::from_raw_parts(begin, end.addr() - begin.addr())
    }
}

/// The program, ready for [`super::exec::StringArray`]s whose first two strings are a name of its own and the path of
/// the program that it starts. `scratch` is a directory for hosts without executable memory.
pub fn program(scratch: &Path) -> io::Result<OwnedFd> {
    sealed::program(c"init", code(), scratch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    fn run(script: &str) -> std::process::Output {
        let fd = program(Path::new("/tmp")).unwrap();
        // Read-only: the kernel runs no file that is open for writing.
        Command::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))
            .arg0("init")
            .args(["/bin/sh", "sh", "-c", script])
            .output()
            .unwrap()
    }

    #[test]
    fn status_and_output_are_the_programs() {
        assert_eq!(run("exit 7").status.code(), Some(7));
        assert_eq!(run("kill -TERM $$").status.code(), Some(143));
        assert_eq!(run("echo $PPID; read x < /proc/$PPID/comm; true").status.code(), Some(0));
        let fd = program(Path::new("/tmp")).unwrap();
        let gone = Command::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).args(["/no/such", "x"]).status().unwrap();
        assert_eq!(gone.code(), Some(127));
    }
}
