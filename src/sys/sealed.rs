//! This program as a sealed copy in memory. Whoever sees a process of ours in a container and has the power to look
//! into it could otherwise open the program's file by /proc/PID/exe, and change it on the host (CVE-2019-5736).

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;

use super::exec::{StringArray, exec_descriptor};

const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Begins this command again as a sealed copy of this program, and returns only where that is what runs already, or why
/// it cannot be done. For callers that have not done anything yet.
pub fn begin_again() -> io::Result<()> {
    let mut own = File::open("/proc/self/exe")?;
    if rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SEALS)) {
        return Ok(());
    }
    let mut copy = File::from(memory()?);
    io::copy(&mut own, &mut copy)?;
    rustix::fs::fcntl_add_seals(&copy, SEALS)?;
    let c_string = |text: std::ffi::OsString| CString::new(text.into_vec()).map_err(io::Error::from);
    let argv = std::env::args_os().map(c_string).collect::<io::Result<Vec<_>>>()?;
    let envp = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        c_string(key)
    });
    let envp = envp.collect::<io::Result<Vec<_>>>()?;
    Err(exec_descriptor(copy.as_fd(), &StringArray::new(argv), &StringArray::new(envp)).into())
}

fn memory() -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants it said that this is to be executed.
    match rustix::fs::memfd_create(c"trace", flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"trace", flags),
        other => other,
    }
}
