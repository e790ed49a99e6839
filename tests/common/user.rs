//! Ordinary users of the machine, made for a test and taken away after it.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::lab::Lab;
use super::{find, have, needs_root, run};

/// A user without privileges.
pub struct User {
    pub name: String,
    pub uid: u32,
    gid: u32,
}

/// Whether such users can be made here and can map ids of their own; a skipped test says what is missing.
pub fn can_be_made() -> bool {
    needs_root() && have(&["useradd", "userdel", "usermod", "setpriv", "newuidmap"])
}

impl User {
    /// Makes one, with or without ids of its own for user namespaces (`/etc/subuid`). Needs root.
    pub fn create(many_ids: bool) -> User {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = std::process::id() % 10_000 * 4 + NEXT.fetch_add(1, Ordering::Relaxed) % 4;
        let name = format!("trace-t{n}");
        let uid = 200_000 + n;
        let _ = Command::new(find("userdel").unwrap()).arg(&name).output();
        // Other tests make users too, and useradd refuses where /etc/passwd is locked at that moment.
        let made = (0..50).any(|_| {
            let out = Command::new(find("useradd").unwrap())
                .args(["--no-create-home", "--shell", "/bin/sh", "--uid", &uid.to_string(), &name])
                .output();
            let made = out.is_ok_and(|o| o.status.success());
            if !made {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            made
        });
        assert!(made, "useradd {name}");
        // useradd gives ranges by itself where the system is set up so.
        let sub = |flag| drop(Command::new(find("usermod").unwrap()).args([flag, "0-4294967294", &name]).output());
        sub("--del-subuids");
        sub("--del-subgids");
        if many_ids {
            let first = 300_000_000 + u64::from(n) * 70_000;
            let range = format!("{first}-{}", first + 65_535);
            run("usermod", &["--add-subuids", &range, "--add-subgids", &range, &name]);
        }
        let gid = run("id", &["-g", &name]).trim().parse().unwrap();
        User { name, uid, gid }
    }

    /// A lab whose commands this user runs.
    pub fn lab(&self) -> Lab {
        let (uid, gid, setpriv) = (self.uid.to_string(), self.gid.to_string(), find("setpriv").unwrap());
        Lab::new().through(
            &[setpriv.to_str().unwrap(), "--reuid", &uid, "--regid", &gid, "--clear-groups", "--inh-caps=-all"],
            self.uid,
        )
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new(find("userdel").unwrap()).arg(&self.name).output();
    }
}
