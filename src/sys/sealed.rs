//! Programs in sealed memory: small ones of our own, and this one as a copy. Whoever sees a process of ours in a
//! container and has the power to look into it could otherwise open the program's file by /proc/PID/exe, and change it
//! on the host (CVE-2019-5736).

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
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
    let mut copy = File::from(memory(c"trace")?);
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

/// An executable of this machine code, ready for [`exec_descriptor`]. Where programs in memory are forbidden
/// (`vm.memfd_noexec`), it is a file in `scratch` that has no name and that nobody else runs.
pub(super) fn program(name: &CStr, code: &[u8], scratch: &Path) -> io::Result<OwnedFd> {
    match memory(name) {
        Ok(memory) => {
            let mut file = File::from(memory);
            file.write_all(&elf(code))?;
            rustix::fs::fcntl_add_seals(&file, SEALS)?;
            Ok(file.into())
        }
        Err(Errno::ACCESS) => {
            let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(scratch, flags, Mode::from_raw_mode(0o500))?);
            file.write_all(&elf(code))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o555))?;
            // The kernel runs no file that is open for writing.
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        }
        Err(e) => Err(e.into()),
    }
}

/// An executable with one segment that holds everything (System V ABI, ch. 4 and 5).
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let size = HEADERS + code.len() as u64;
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // ET_EXEC, machine, EV_CURRENT
    out.extend([2u16.to_le_bytes(), machine.to_le_bytes()].concat());
    out.extend(1u32.to_le_bytes());
    // Entry, program headers, section headers.
    [BASE + HEADERS, 64, 0].iter().for_each(|n: &u64| out.extend(n.to_le_bytes()));
    // Flags; sizes and counts of the headers.
    out.extend(0u32.to_le_bytes());
    [64u16, 56, 1, 64, 0, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
    // PT_LOAD, readable and executable.
    [1u32, 5].iter().for_each(|n| out.extend(n.to_le_bytes()));
    [0, BASE, BASE, size, size, 0x1_0000].iter().for_each(|n: &u64| out.extend(n.to_le_bytes()));
    out.extend(code);
    out
}

fn memory(name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Linux 6.3 wants it said that this is to be executed.
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    }
}
