//! The calls of 32-bit x86 that are one: `socketcall` and `ipc`, whose first argument says which is meant.
//!
//! As libseccomp does it, a rule for one of the calls holds for its number in these too. Their further arguments are in
//! memory, where a filter cannot look, so a condition on the first argument is lost.

use super::calls::Call;
use super::policy::{Action, Arch, Comparison, Condition, Policy};

const SOCKETCALL: &[&str] = &[
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

const IPC: &[(&str, u64)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// Gives what the policy's rules mean for these calls: number, conditions, action.
pub fn add(policy: &Policy, mut rule: impl FnMut(u32, Vec<Condition>, Action)) {
    let settled = |call: &str| policy.rules.iter().any(|r| r.call.name == call && r.conditions.is_empty());
    for (call, part) in [("socketcall", socket_part as fn(&str) -> Option<u64>), ("ipc", ipc_part)] {
        let number = Call::named(call).and_then(|c| c.number(Arch::X86)).expect("in the table");
        if settled(call) {
            continue;
        }
        for r in policy.rules.iter().filter(|r| r.action != policy.default) {
            let Some(value) = part(r.call.name) else { continue };
            let which = Condition { argument: 0, comparison: Comparison::Equal, value };
            let others = r.conditions.iter().filter(|c| c.argument != 0);
            rule(number, [&which].into_iter().chain(others).copied().collect(), r.action);
        }
    }
}

fn socket_part(name: &str) -> Option<u64> {
    SOCKETCALL.iter().position(|part| *part == name).map(|at| at as u64 + 1)
}

fn ipc_part(name: &str) -> Option<u64> {
    IPC.iter().find(|(part, _)| *part == name).map(|(_, number)| *number)
}
