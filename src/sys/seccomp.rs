//! seccomp(2).

use rustix::io::Errno;

use super::exec::last_errno;

/// One instruction of classic BPF, `struct sock_filter` (linux/filter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub if_true: u8,
    /// Instructions to skip if it does not.
    pub if_false: u8,
    /// Constant, offset or distance.
    pub constant: u32,
}

/// In the new process: puts the filter between it and the kernel, for good. Needs CAP_SYS_ADMIN or no_new_privs.
pub fn load(program: &[Instruction], flags: u32) -> Result<(), Errno> {
    const { assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>()) };
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the kernel reads `len` instructions of the layout of sock_filter and writes none.
    let r = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}
