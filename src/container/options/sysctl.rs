//! `--sysctl`: only what a namespace of the container has for itself, as docker allows it.

/// Which namespace a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// System V IPC and message queues.
    Ipc,
    /// Network.
    Net,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// With dots, `net.ipv4.ip_forward`.
    pub name: String,
    /// What it is set to.
    pub value: String,
    /// Whose it is.
    pub scope: Scope,
}

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// The flag's value, `NAME=VALUE`.
pub fn flag(text: &str) -> Result<Sysctl, String> {
    let refused = || format!("sysctl `{text}` is not allowed");
    let (name, value) = text.split_once('=').ok_or_else(refused)?;
    let scope = if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        Scope::Ipc
    } else if name.starts_with("net.") {
        Scope::Net
    } else {
        return Err(refused());
    };
    // It becomes a path below /proc/sys; interfaces with a dot in their name have a slash for it.
    let parts = name.split(['.', '/']);
    if parts.clone().any(|p| p.is_empty() || p == "..") || name.contains('\0') {
        return Err(refused());
    }
    Ok(Sysctl { name: name.to_owned(), value: value.to_owned(), scope })
}

impl Sysctl {
    /// Below `/proc`. Where the name has a slash, slash and dot change places (sysctl(8)).
    pub fn path(&self) -> String {
        let swapped = self.name.find(['.', '/']).is_some_and(|at| self.name.as_bytes()[at] == b'/');
        let path: String = self
            .name
            .chars()
            .map(|c| match c {
                '.' if !swapped => '/',
                '/' if !swapped => '.',
                c => c,
            })
            .collect();
        format!("sys/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_container_has_for_itself_can_be_set() {
        let net = flag("net.ipv4.ip_forward=1").unwrap();
        assert_eq!((net.path().as_str(), net.value.as_str(), net.scope), ("sys/net/ipv4/ip_forward", "1", Scope::Net));
        assert_eq!(flag("net.ipv4.conf.eth0/1.rp_filter=0").unwrap().path(), "sys/net/ipv4/conf/eth0.1/rp_filter");
        assert_eq!(flag("kernel.sem=250 32000 32 128").unwrap().scope, Scope::Ipc);
        assert_eq!(flag("fs.mqueue.msg_max=").unwrap().value, "");
        for bad in
            ["kernel.panic=1", "vm.swappiness=1", "net", "net.ipv4", "kernel.hostname=x", "net...x=1", "net.=1", ""]
        {
            assert!(flag(bad).is_err(), "{bad}");
        }
    }
}
