//! What a filter is to do, before it is a program: docker's default profile for a set of capabilities, or what was read
//! from a file.

use super::calls::{Allowed, CALLS, Call};

/// Capability numbers (linux/capability.h) as bits, those that docker's default profile asks for.
pub mod capability {
    #![allow(missing_docs, reason = "the kernel's names")]
    pub const DAC_READ_SEARCH: u64 = 1 << 2;
    pub const SYS_MODULE: u64 = 1 << 16;
    pub const SYS_RAWIO: u64 = 1 << 17;
    pub const SYS_CHROOT: u64 = 1 << 18;
    pub const SYS_PTRACE: u64 = 1 << 19;
    pub const SYS_PACCT: u64 = 1 << 20;
    pub const SYS_ADMIN: u64 = 1 << 21;
    pub const SYS_BOOT: u64 = 1 << 22;
    pub const SYS_NICE: u64 = 1 << 23;
    pub const SYS_TIME: u64 = 1 << 25;
    pub const SYS_TTY_CONFIG: u64 = 1 << 26;
    pub const SYSLOG: u64 = 1 << 34;
    pub const PERFMON: u64 = 1 << 38;
    pub const BPF: u64 = 1 << 39;
}

/// A kind of program that a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers.
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM.
    Arm,
}

impl Arch {
    /// This machine's own.
    pub const NATIVE: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

    /// It and the others that run beside it.
    pub fn family(self) -> &'static [Arch] {
        match self {
            Arch::X86_64 | Arch::X86 | Arch::X32 => &[Arch::X86_64, Arch::X86, Arch::X32],
            Arch::Aarch64 | Arch::Arm => &[Arch::Aarch64, Arch::Arm],
        }
    }

    /// What a filter sees of it (`AUDIT_ARCH_*`, linux/audit.h). x86-64 and x32 are told apart by the number of the
    /// call.
    pub fn audit(self) -> u32 {
        match self {
            Arch::X86_64 | Arch::X32 => 0xc000_003e,
            Arch::X86 => 0x4000_0003,
            Arch::Aarch64 => 0xc000_00b7,
            Arch::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments have 64 bits.
    pub fn is_64_bit(self) -> bool {
        matches!(self, Arch::X86_64 | Arch::Aarch64)
    }
}

/// What happens to a call (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process is killed.
    KillProcess,
    /// The thread is killed.
    KillThread,
    /// It gets SIGSYS.
    Trap,
    /// The call fails with this errno.
    Errno(u16),
    /// A tracer is told, with this number.
    Trace(u16),
    /// It is allowed and logged.
    Log,
    /// It is allowed.
    Allow,
}

impl Action {
    /// The value that a filter returns for it (linux/seccomp.h).
    pub fn value(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(data) => 0x7ff0_0000 | u32::from(data),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }
}

/// How an argument is compared, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Comparison {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// Of its bits under this mask.
    MaskedEqual(u64),
}

/// A condition on one argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, from 0 to 5.
    pub argument: u8,
    /// How.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// What happens to a call under some conditions, all of which must hold.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The call.
    pub call: &'static Call,
    /// None: always.
    pub conditions: Vec<Condition>,
    /// What happens.
    pub action: Action,
}

/// A whole filter, to be compiled.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The machine's own architecture.
    pub native: Arch,
    /// What happens to calls without a rule that fits.
    pub default: Action,
    /// Which programs may make calls; the machine's own always may. To one that is listed, a call beyond the last one
    /// that the rules know is as if the kernel did not have it (ENOSYS), as runc does it: programs then try an older
    /// call, where EPERM would make them give up.
    pub arches: Vec<Arch>,
    /// In order.
    pub rules: Vec<Rule>,
    /// For seccomp(2), `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

pub(super) const EPERM: u16 = 1;
pub(super) const ENOSYS: u16 = 38;

/// Those that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Linux, UNAME26 and ADDR_NO_RANDOMIZE in docker's combinations, and the question which one it is.
pub const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What is left of linux/socket.h without AF_ALG (38) and AF_VSOCK (40), which reach into the kernel's crypto code and
/// to the hypervisor, and without families that have long been dead. First and last of each range.
pub const SOCKET_FAMILIES: [(u64, u64); 9] =
    [(0, 2), (7, 10), (13, 18), (21, 22), (24, 24), (26, 33), (35, 36), (39, 39), (41, 45)];

impl Policy {
    /// Docker's default profile for a container with these capabilities (bit n for capability n).
    ///
    /// The source is `github.com/moby/profiles/seccomp`, version 0.3.0. Its conditions on the kernel are left out,
    /// since they ask for 4.8 and nothing here runs below 5.12.
    pub fn docker_default(native: Arch, capabilities: u64) -> Policy {
        let mut rules = Vec::with_capacity(CALLS.len());
        let admin = capabilities & capability::SYS_ADMIN != 0;
        for call in CALLS {
            let mut rule = |action, conditions: Vec<Condition>| rules.push(Rule { call, conditions, action });
            let first = |comparison, value| vec![Condition { argument: 0, comparison, value }];
            match call.allowed {
                Allowed::Always => rule(Action::Allow, Vec::new()),
                Allowed::With(any) if capabilities & any != 0 => rule(Action::Allow, Vec::new()),
                Allowed::NoNamespaces | Allowed::Unseen if admin => rule(Action::Allow, Vec::new()),
                Allowed::NoNamespaces => rule(Action::Allow, first(Comparison::MaskedEqual(NAMESPACE_FLAGS), 0)),
                Allowed::Unseen => rule(Action::Errno(ENOSYS), Vec::new()),
                Allowed::Personality => {
                    PERSONALITIES.iter().for_each(|value| rule(Action::Allow, first(Comparison::Equal, *value)));
                }
                Allowed::Socket => {
                    for (from, to) in SOCKET_FAMILIES {
                        (from..=to).for_each(|family| rule(Action::Allow, first(Comparison::Equal, family)));
                    }
                }
                Allowed::With(_) | Allowed::Never => {}
            }
        }
        Policy { native, default: Action::Errno(EPERM), arches: native.family().to_vec(), rules, flags: 0 }
    }
}
