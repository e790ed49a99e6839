//! `--cap-add` and `--cap-drop`: docker's spellings of the capabilities, and how the two combine.

/// All capabilities by number (linux/capability.h), up to Linux 5.9.
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities, bit n for capability number n.
pub type Set = u64;

/// Every one that has a name.
pub const ALL: Set = (1 << NAMES.len()) - 1;

/// What a container has by default: docker's 14.
pub const DEFAULT: Set = {
    const KEPT: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
    let (mut set, mut i) = (0, 0);
    while i < KEPT.len() {
        set |= 1 << KEPT[i];
        i += 1;
    }
    set
};

/// Names of the members, by number.
pub fn names(set: Set) -> Vec<&'static str> {
    NAMES.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, name)| *name).collect()
}

/// One word; `None` for `ALL`.
fn number(word: &str) -> Result<Option<u32>, String> {
    let upper = word.trim().to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(None);
    }
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = NAMES.iter().position(|n| *n == name);
    found.map(|n| Some(n as u32)).ok_or_else(|| format!("unknown capability: `{word}`"))
}

/// What is left of docker's default after both flags. As with docker, with `--cap-add ALL` only single ones are
/// dropped, and with `--cap-drop ALL` only those that are added are there.
pub fn combine(add: &[String], drop: &[String]) -> Result<Set, String> {
    let words = |words: &[String], flag: &str| -> Result<(bool, Set), String> {
        let (mut all, mut set) = (false, 0);
        for word in words.iter().filter(|w| !w.is_empty()) {
            match number(word).map_err(|e| format!("invalid {flag}: {e}"))? {
                Some(n) => set |= 1 << n,
                None => all = true,
            }
        }
        Ok((all, set))
    };
    let ((add_all, add), (drop_all, drop)) = (words(add, "--cap-add")?, words(drop, "--cap-drop")?);
    Ok(match (add_all, drop_all) {
        (true, _) => ALL & !drop,
        (false, true) => add,
        (false, false) => (DEFAULT & !drop) | add,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, String> {
        let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        combine(&own(add), &own(drop)).map(names)
    }

    #[test]
    fn flags_combine_as_dockers_do() {
        assert_eq!(DEFAULT, 0xa804_25fb);
        assert_eq!(set(&[], &[]).unwrap().len(), 14);
        assert_eq!(set(&[], &["ALL"]).unwrap(), [""; 0]);
        assert_eq!(set(&["chown", "CAP_sys_admin"], &["all"]).unwrap(), ["CHOWN", "SYS_ADMIN"]);
        assert_eq!(set(&["ALL"], &["CAP_MKNOD"]).unwrap().len(), 40);
        assert_eq!(set(&["ALL"], &["ALL"]).unwrap().len(), 41);
        assert_eq!(set(&["NET_ADMIN"], &["NET_RAW", "net_raw"]).unwrap().len(), 14);
        assert_eq!(set(&["CHOWN"], &["CHOWN"]).unwrap().len(), 14);
        assert!(set(&["CAP_NOSUCH"], &[]).unwrap_err().contains("unknown capability: `CAP_NOSUCH`"));
        assert!(set(&[], &["ALL_"]).is_err());
    }
}
