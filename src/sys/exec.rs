//! execve(2) and what must happen just before it.

use std::ffi::{CStr, CString, c_char};
use std::io::Write as _;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, Ordering};

use rustix::io::Errno;

/// A NULL-terminated array of C strings, as execve wants it, built before the clone.
pub struct StringArray {
    pointers: Vec<AtomicPtr<c_char>>,
    _strings: Vec<CString>,
    choices: Vec<CString>,
}

impl StringArray {
    /// Takes the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr().cast_mut()).chain([std::ptr::null_mut()]);
        StringArray { pointers: pointers.map(AtomicPtr::new).collect(), _strings: strings, choices: Vec::new() }
    }

    /// With `first`, then what is [chosen](StringArray::choose), then the rest.
    pub fn choosing(first: CString, choices: Vec<CString>, rest: Vec<CString>) -> Self {
        let strings = [first, CString::default()].into_iter().chain(rest).collect();
        StringArray { choices, ..StringArray::new(strings) }
    }

    /// Takes the `n`th choice.
    pub fn choose(&self, n: usize) {
        if let Some(choice) = self.choices.get(n) {
            self.pointers[1].store(choice.as_ptr().cast_mut(), Ordering::Relaxed);
        }
    }

    /// Every pointer refers to a heap buffer owned by `_strings` or `choices`, which are never changed. An atomic
    /// pointer lies in memory as a plain one.
    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr().cast()
    }
}

/// In the new process: replaces it by `path`. Returns only with the reason why it could not.
pub fn execve(path: &CStr, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: both arrays are NULL-terminated and own their strings.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    last_errno()
}

/// In the new process: the same for the program that `file` has open, by its name in /proc if that is there: a filter
/// that knows execve alone must not be in the way.
pub fn exec_by_name(file: BorrowedFd<'_>, argv: &StringArray, envp: &StringArray) -> Errno {
    let mut path = [0u8; 32];
    let mut left = &mut path[..];
    // Formatting integers into a slice allocates nothing.
    let _ = write!(left, "/proc/self/fd/{}\0", file.as_raw_fd());
    match execve(CStr::from_bytes_until_nul(&path).unwrap_or(c""), argv, envp) {
        Errno::NOENT | Errno::NOTDIR => exec_descriptor(file, argv, envp),
        errno => errno,
    }
}

/// In the new process: replaces it by the program that `file` has open. Returns only with the reason why it could not.
pub fn exec_descriptor(file: BorrowedFd<'_>, argv: &StringArray, envp: &StringArray) -> Errno {
    // SAFETY: an empty path with AT_EMPTY_PATH names the descriptor; both arrays are NULL-terminated and own their
    // strings.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

/// In the new process: the NIS domain name of its UTS namespace.
pub fn set_domain_name(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many bytes as the name has.
    let r = unsafe { libc::setdomainname(name.as_ptr(), name.to_bytes().len()) };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// In the new process: gives it a session keyring of its own, so that it cannot read the caller's keys. A kernel
/// without keyrings, or a filter that forbids the call, leaves nothing to protect.
pub fn new_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is read.
    unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<c_char>()) };
}

/// In the new process: marks every descriptor from 3 up close-on-exec, whoever opened it.
pub fn close_from_3_on_exec() -> Result<(), Errno> {
    // SAFETY: the call changes descriptor flags only.
    let r = unsafe {
        libc::syscall(libc::SYS_close_range, 3 as libc::c_uint, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// In the new process: lets a descriptor outlive exec.
pub fn keep_on_exec(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
}

/// In the new process: /dev/null of the root that it has now, if that is it. What else lies there is not waited for.
pub fn null(writable: bool) -> Result<OwnedFd, Errno> {
    use rustix::fs::{CWD, FileType, Mode, OFlags};
    let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
    let flags = access | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let null = rustix::fs::openat(CWD, c"/dev/null", flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&null)?;
    let number = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || number != (1, 3) {
        return Err(Errno::NODEV);
    }
    Ok(null)
}

/// In the new process: makes these its standard streams; no input is /dev/null, of the root that it has now.
pub fn connect(input: Option<BorrowedFd<'_>>, out: BorrowedFd<'_>, err: BorrowedFd<'_>) -> Result<(), Errno> {
    match input {
        Some(input) => rustix::stdio::dup2_stdin(input)?,
        None => rustix::stdio::dup2_stdin(null(false)?)?,
    }
    rustix::stdio::dup2_stdout(out)?;
    rustix::stdio::dup2_stderr(err)
}

/// In the new process: the ordinary scheduling class.
pub fn leave_real_time() -> Result<(), Errno> {
    // SAFETY: all-zero is a valid sched_param, the one that this class wants.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: changes this process only, and reads the structure.
    let r = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameters) };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// In the new process: closes a descriptor that belongs to the parent, in this process's own table.
pub fn close_in_new_process(fd: RawFd) {
    // SAFETY: nothing in this process owns or uses that descriptor, and the parent's table is another one.
    unsafe { libc::close(fd) };
}

/// In the new process: whether the working directory lies below the root. The kernel says `(unreachable)…` if not.
pub fn working_dir_is_reachable() -> bool {
    let mut path = [0u8; 4096];
    // SAFETY: the kernel writes at most `path.len()` bytes.
    let n = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    // Only what is too long, or was removed under us, has no name at all.
    n < 0 || path[0] == b'/'
}

pub(super) fn last_errno() -> Errno {
    // SAFETY: errno is always readable.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
