//! Writes a static Linux executable that prints one message and exits, byte by byte: no compiler, no linker, no libc.
//!
//! The file is an ELF header, one `PT_LOAD` program header, the instructions and the message; the kernel maps all of
//! it readable and executable, nothing is writable. The program is a loop around `write(1, …)`: a short write goes on
//! where it stopped, `EINTR` tries again, any other failure (and a write of nothing) ends it with status 1, so that a
//! closed or full stdout is an error and not an endless loop.
//!
//! Sources: System V ABI ch. 4 and 5 (ELF), Linux `elf(5)`, the system call tables of the two architectures.

/// An architecture that the hub has programs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    /// In the order of the image indexes: the first is what a client without index support gets.
    pub(super) const ALL: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

    /// The name in OCI platforms (Go's `GOARCH`).
    pub(super) fn goarch(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// `e_machine`: `EM_X86_64`, `EM_AARCH64`.
    fn machine(self) -> u16 {
        match self {
            Arch::Amd64 => 62,
            Arch::Arm64 => 183,
        }
    }

    /// The largest page size the kernel may use, for `p_align`.
    fn page(self) -> u64 {
        match self {
            Arch::Amd64 => 0x1000,
            Arch::Arm64 => 0x1_0000,
        }
    }
}

const EHDR: u64 = 64;
const PHDR: u64 = 56;
const BASE: u64 = 0x40_0000;

/// The executable that prints `message`, at most 65 535 bytes of it (what one arm64 `movz` can load).
pub(super) fn print_and_exit(arch: Arch, message: &[u8]) -> Vec<u8> {
    let message = &message[..message.len().min(usize::from(u16::MAX))];
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let code = match arch {
        Arch::Amd64 => amd64(length),
        Arch::Arm64 => arm64(length),
    };
    let size = EHDR + PHDR + (code.len() + message.len()) as u64;
    let mut out = Vec::new();
    // e_ident: magic, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV, padding.
    out.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(2u16.to_le_bytes()); // e_type: ET_EXEC
    out.extend(arch.machine().to_le_bytes());
    out.extend(1u32.to_le_bytes()); // e_version
    out.extend((BASE + EHDR + PHDR).to_le_bytes()); // e_entry: right behind the headers
    out.extend(EHDR.to_le_bytes()); // e_phoff
    out.extend(0u64.to_le_bytes()); // e_shoff: no sections
    out.extend(0u32.to_le_bytes()); // e_flags
    for half in [EHDR as u16, PHDR as u16, 1, 64, 0, 0] {
        out.extend(half.to_le_bytes()); // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    }
    out.extend(1u32.to_le_bytes()); // p_type: PT_LOAD
    out.extend(5u32.to_le_bytes()); // p_flags: PF_R | PF_X
    for word in [0, BASE, BASE, size, size, arch.page()] {
        out.extend(word.to_le_bytes()); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    }
    out.extend(code);
    out.extend(message);
    out
}

/// `write` is 1, `exit_group` 231; arguments in rdi, rsi, rdx; the result in rax, negative for an error.
fn amd64(length: u16) -> Vec<u8> {
    let mut code = vec![0x48, 0x8d, 0x35]; // 0x00  lea rsi, [rip + message]; rip is 0x07 here
    code.extend((AMD64_SIZE - 7).to_le_bytes());
    code.push(0xba); //                       0x07  mov edx, length
    code.extend(u32::from(length).to_le_bytes());
    code.extend([0xbf, 1, 0, 0, 0]); //       0x0c  again: mov edi, 1
    code.extend([0xb8, 1, 0, 0, 0]); //       0x11  mov eax, 1
    code.extend([0x0f, 0x05]); //             0x16  syscall
    code.extend([0x48, 0x85, 0xc0]); //       0x18  test rax, rax
    code.extend([0x7e, 0x11]); //             0x1b  jle failed
    code.extend([0x48, 0x01, 0xc6]); //       0x1d  add rsi, rax
    code.extend([0x48, 0x29, 0xc2]); //       0x20  sub rdx, rax
    code.extend([0x75, 0xe7]); //             0x23  jnz again
    code.extend([0x31, 0xff]); //             0x25  xor edi, edi
    code.extend([0xb8, 231, 0, 0, 0]); //     0x27  exit: mov eax, 231
    code.extend([0x0f, 0x05]); //             0x2c  syscall
    code.extend([0x48, 0x83, 0xf8, 0xfc]); // 0x2e  failed: cmp rax, -EINTR
    code.extend([0x74, 0xd8]); //             0x32  je again
    code.extend([0xbf, 1, 0, 0, 0]); //       0x34  mov edi, 1
    code.extend([0xeb, 0xec]); //             0x39  jmp exit
    code
}

const AMD64_SIZE: u32 = 0x3b;

/// `write` is 64, `exit_group` 94; number in x8, arguments in x0 to x2; the result in x0, negative for an error.
fn arm64(length: u16) -> Vec<u8> {
    let code: [u32; ARM64_WORDS as usize] = [
        0x1000_0001 | ARM64_WORDS << 5, //  0  adr x1, message: the word distance is the upper immediate
        0xd280_0002 | u32::from(length) << 5, //  1  movz x2, length
        0xd280_0020,                    //  2  again: movz x0, 1
        0xd280_0808,                    //  3  movz x8, 64
        0xd400_0001,                    //  4  svc 0
        0xf100_001f,                    //  5  cmp x0, 0
        0x5400_000d | 7 << 5,           //  6  b.le failed
        0x8b00_0021,                    //  7  add x1, x1, x0
        0xeb00_0042,                    //  8  subs x2, x2, x0
        0x5400_0001 | (-7i32 as u32 & 0x7_ffff) << 5, //  9  b.ne again
        0xd280_0000,                    // 10  movz x0, 0
        0xd280_0bc8,                    // 11  exit: movz x8, 94
        0xd400_0001,                    // 12  svc 0
        0xb100_101f,                    // 13  failed: cmn x0, EINTR
        0x5400_0000 | (-12i32 as u32 & 0x7_ffff) << 5, // 14  b.eq again
        0xd280_0020,                    // 15  movz x0, 1
        0x1400_0000 | (-5i32 as u32 & 0x3ff_ffff), // 16  b exit
    ];
    code.iter().flat_map(|word| word.to_le_bytes()).collect()
}

const ARM64_WORDS: u32 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Signal;
    use std::io::Read;
    use std::process::Command;
    use std::time::Duration;

    fn word(file: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    /// What `readelf -hl` would look at; that the instructions do what they should is shown by running them
    /// (`tests/hub/hello.rs`).
    #[test]
    fn headers_describe_the_file() {
        for (arch, machine) in [(Arch::Amd64, 62), (Arch::Arm64, 183)] {
            for message in [&b"x"[..], &[b'y'; 5000]] {
                let file = print_and_exit(arch, message);
                assert_eq!(&file[..7], b"\x7fELF\x02\x01\x01");
                assert_eq!((file[16], file[18]), (2, machine), "type, machine");
                assert_eq!(word(&file, 24), 0x40_0000 + 120, "entry");
                assert_eq!((word(&file, 32), word(&file, 40)), (64, 0), "program and section headers");
                assert_eq!(&file[52..58], &[64, 0, 56, 0, 1, 0], "header sizes and count");
                assert_eq!(word(&file, 64), 1 | 5 << 32, "PT_LOAD, readable and executable, not writable");
                let [offset, vaddr, filesz, memsz, align] = [72, 80, 96, 104, 112].map(|at| word(&file, at));
                assert_eq!((offset, vaddr, filesz, memsz), (0, 0x40_0000, file.len() as u64, file.len() as u64));
                assert!(align.is_power_of_two() && vaddr % align == offset % align);
                assert!(file.ends_with(message));
            }
        }
    }

    #[test]
    fn code_sizes_are_what_the_addresses_assume() {
        assert_eq!(amd64(1).len(), AMD64_SIZE as usize);
        assert_eq!(arm64(1).len(), 4 * ARM64_WORDS as usize);
    }

    /// A pipe of one page takes a part of the message; stopping and continuing a process that waits for room makes
    /// `write` return that part. The program must go on where it was.
    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let message: Vec<u8> = (0..20_000u32).flat_map(|n| n.to_le_bytes()).take(60_000).collect();
        let native = if cfg!(target_arch = "aarch64") { Arch::Arm64 } else { Arch::Amd64 };
        for arch in Arch::ALL {
            // Copied by another program: a descriptor open for writing that a test beside this one inherits for a
            // moment would make exec fail.
            let [made, program] = ["made", "program"].map(|name| dir.path().join(format!("{name}-{}", arch.goarch())));
            std::fs::write(&made, print_and_exit(arch, &message)).unwrap();
            let copied =
                Command::new("install").args(["-m755".as_ref(), made.as_os_str(), program.as_os_str()]).status();
            assert!(copied.unwrap().success());
            let mut command = Command::new(&program);
            if arch != native {
                command = Command::new(if arch == Arch::Arm64 { "qemu-aarch64-static" } else { "qemu-x86_64-static" });
                command.arg(&program);
            }
            let (reader, writer) = std::io::pipe().unwrap();
            rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
            let spawned = command.stdout(writer).spawn();
            drop(command);
            let mut child = match spawned {
                Ok(child) => child,
                // `tests/hub/hello.rs` says aloud that the other architecture was skipped.
                Err(_) if arch != native => continue,
                Err(error) => panic!("{error}"),
            };
            let pid = rustix::process::Pid::from_child(&child);
            for signal in [Signal::STOP, Signal::CONT, Signal::STOP, Signal::CONT] {
                std::thread::sleep(Duration::from_millis(100));
                rustix::process::kill_process(pid, signal).unwrap();
            }
            let mut output = Vec::new();
            // Not to the end: a program that never stops would fill the memory.
            reader.take(message.len() as u64 + 1).read_to_end(&mut output).unwrap();
            assert!(child.wait().unwrap().success(), "{arch:?}");
            assert!(output == message, "{arch:?}: {} bytes", output.len());
        }
    }

    #[test]
    fn a_message_too_long_is_cut() {
        let file = print_and_exit(Arch::Arm64, &[b'z'; 70_000]);
        assert_eq!(file.len(), 120 + 68 + 65_535);
    }
}
