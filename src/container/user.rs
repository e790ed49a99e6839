//! `USER` of an image, and `-u`: names looked up in the image's own files.
//!
//! The files are the image's and so untrusted: resolved inside its root, regular files only, bounded in size.

use std::io::Read;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::error::ContainerError;

/// Whom the program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups, `gid` first.
    pub groups: Vec<u32>,
    /// Home directory, `/` where the image names none.
    pub home: String,
}

/// 1 MiB holds over 10,000 accounts.
const MAX_FILE: u64 = 1 << 20;
/// Highest usable id: 2³²−1 means "unchanged" to the kernel.
const MAX_ID: u32 = u32::MAX - 1;

/// Resolves `spec` (`user`, `uid`, `user:group`, …; empty for root) and `more` groups as docker does, in the tree under
/// `root`.
pub fn resolve(root: impl AsFd, spec: &str, more: &[String]) -> Result<Identity, ContainerError> {
    let passwd = read(&root, "etc/passwd");
    let group = read(&root, "etc/group");
    let mut identity = resolve_in(&passwd, &group, spec)?;
    for name in more {
        let id = more_group(&group, name)?;
        if !identity.groups.contains(&id) {
            identity.groups.push(id);
        }
    }
    Ok(identity)
}

/// A group of `--group-add`: a name of the image, or a number.
fn more_group(file: &str, name: &str) -> Result<u32, ContainerError> {
    let fail = |why: &str| ContainerError::Group { group: name.to_owned(), why: why.to_owned() };
    let entry = file.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.len() >= 3 && f[0] == name);
    match (entry, number(name).map_err(fail)?) {
        (Some(fields), _) => fields[2]
            .parse()
            .ok()
            .filter(|id| *id <= MAX_ID)
            .ok_or_else(|| fail("it has no valid id in the image's /etc/group")),
        (None, Some(id)) => Ok(id),
        (None, None) => Err(fail("no such group in the image's /etc/group")),
    }
}

fn resolve_in(passwd: &str, group: &str, spec: &str) -> Result<Identity, ContainerError> {
    let fail = |why: &str| ContainerError::User { user: spec.to_owned(), why: why.to_owned() };
    // What stands after a second colon means nothing, as to docker.
    let mut parts = spec.split(':');
    let (user, group_spec) = (parts.next().unwrap_or_default(), parts.next().filter(|g| !g.is_empty()));
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user).map_err(fail)?;
    // A name wins over a number, as in docker; both fields are compared as the account file has them.
    let account = passwd
        .lines()
        .map(|l| l.split(':').collect::<Vec<_>>())
        .filter(|f| f.len() >= 4)
        .find(|f| f[0] == user || (number.is_some() && f[2].parse().ok() == number));
    let parse = |field: &str| field.parse().ok().filter(|id| *id <= MAX_ID);
    let (uid, primary, name, home) = match (&account, number) {
        (Some(f), _) => {
            let uid = parse(f[2]).ok_or_else(|| fail("its entry in the image's /etc/passwd has no valid user id"))?;
            let gid = parse(f[3]).ok_or_else(|| fail("its entry in the image's /etc/passwd has no valid group id"))?;
            (uid, gid, Some(f[0]), f.get(5).copied().unwrap_or_default())
        }
        (None, Some(uid)) => (uid, 0, None, ""),
        (None, None) => return Err(fail("no such user in the image's /etc/passwd")),
    };
    let entries = || group.lines().map(|l| l.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= 3);
    let gid = match group_spec {
        None => primary,
        Some(g) => {
            let number = self::number(g).map_err(fail)?;
            match (entries().find(|f| f[0] == g), number) {
                (Some(f), _) => {
                    parse(f[2]).ok_or_else(|| fail("its group has no valid id in the image's /etc/group"))?
                }
                (None, Some(gid)) => gid,
                (None, None) => return Err(fail("no such group in the image's /etc/group")),
            }
        }
    };
    // The group itself is among the supplementary ones too, so that no setgid program can shed it where a file's mode
    // gives its group less than everybody else (CVE-2022-36109).
    let mut groups = vec![gid];
    // An explicit group stands alone; otherwise every group that lists the account.
    if let (None, Some(name)) = (group_spec, name) {
        let listed = entries()
            .filter(|f| f.get(3).is_some_and(|members| members.split(',').any(|m| m == name)))
            .filter_map(|f| parse(f[2]))
            .filter(|g| *g != gid);
        groups.extend(listed.take(MAX_GROUPS));
    }
    let home = if home.starts_with('/') { home } else { "/" };
    Ok(Identity { uid, gid, groups, home: home.to_owned() })
}

/// `NGROUPS_MAX` is 65536; nobody means more than this.
const MAX_GROUPS: usize = 1024;

/// `Ok(None)` for a name; an error for digits that are no id.
fn number(text: &str) -> Result<Option<u32>, &'static str> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err("ids go from 0 to 4294967294"),
    }
}

/// The text of a small regular file in the image; empty if there is none. Never follows a link out of the root, never
/// blocks on a fifo, and takes at most [`MAX_FILE`] bytes.
fn read(root: impl AsFd, path: &str) -> String {
    let open = rustix::fs::openat2(
        root,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let Ok(fd) = open else { return String::new() };
    let regular = rustix::fs::fstat(&fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile);
    let mut text = Vec::new();
    if regular {
        let _ = std::fs::File::from(fd).take(MAX_FILE).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\nbad:x:-1:0::/:\n77:x:5:6::/seven:\nshort\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1000:\nextra:x:20:app\n";

    fn id(spec: &str) -> Identity {
        resolve_in(PASSWD, GROUP, spec).unwrap()
    }

    #[test]
    fn users_resolve_as_docker_does() {
        let root = Identity { uid: 0, gid: 0, groups: vec![0, 10], home: "/root".into() };
        assert_eq!(id(""), root);
        assert_eq!(id("root"), root);
        assert_eq!(id("0"), root);
        assert_eq!(id("app"), Identity { uid: 1000, gid: 1000, groups: vec![1000, 10, 20], home: "/home/app".into() });
        assert_eq!(id("1000"), id("app"));
        assert_eq!(id("app:wheel"), Identity { uid: 1000, gid: 10, groups: vec![10], home: "/home/app".into() });
        assert_eq!(id("4242"), Identity { uid: 4242, gid: 0, groups: vec![0], home: "/".into() });
        assert_eq!(id("4242:4343").gid, 4343);
        assert_eq!(id(":20").gid, 20);
        assert_eq!(id("77").uid, 5, "a name of digits wins over the number");
    }

    #[test]
    fn what_is_no_user_is_refused() {
        for spec in
            ["nobody-here", "app:nogroup", "4294967296", "4294967295", "99999999999999999999", "bad", "-1", "0x0"]
        {
            assert!(resolve_in(PASSWD, GROUP, spec).is_err(), "{spec}");
        }
    }

    #[test]
    fn hostile_account_files_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        let root = || std::fs::File::open(dir.path()).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", etc.join("passwd")).unwrap();
        assert_eq!(read(root(), "etc/passwd"), "", "the link resolves inside the root, to itself");
        std::fs::remove_file(etc.join("passwd")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, etc.join("passwd"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
            .unwrap();
        assert_eq!(read(root(), "etc/passwd"), "", "a fifo is not waited for");
        std::fs::remove_file(etc.join("passwd")).unwrap();
        let huge = std::fs::File::create(etc.join("passwd")).unwrap();
        huge.set_len(1 << 30).unwrap();
        assert_eq!(read(root(), "etc/passwd").len() as u64, MAX_FILE);
    }
}
