//! `--device`, `--device-cgroup-rule`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::{clean, shown};

/// A device, or a directory of devices, of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// On the host, absolute.
    pub host: PathBuf,
    /// In the container, absolute.
    pub container: PathBuf,
    /// What it may be used for.
    pub access: Access,
}

/// What a device may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// To be read.
    pub read: bool,
    /// To be written.
    pub write: bool,
    /// To have nodes of it made.
    pub mknod: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Access = Access { read: true, write: true, mknod: true };

    /// `rwm` and its parts; each letter once.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut access = Access { read: false, write: false, mknod: false };
        for letter in text {
            let slot = match letter {
                b'r' => &mut access.read,
                b'w' => &mut access.write,
                b'm' => &mut access.mknod,
                _ => return None,
            };
            if std::mem::replace(slot, true) {
                return None;
            }
        }
        (!text.is_empty()).then_some(access)
    }
}

/// `HOST[:CONTAINER[:rwm]]`, also `HOST:rwm`.
pub fn flag(text: &[u8]) -> Result<Device, String> {
    let parts: Vec<&[u8]> = text.split(|b| *b == b':').collect();
    let (host, container, access) = match parts[..] {
        [host] => (host, host, Access::ALL),
        [host, second] => match Access::parse(second) {
            Some(access) => (host, host, access),
            None => (host, second, Access::ALL),
        },
        [host, container, mode] => {
            let access = Access::parse(mode).ok_or_else(|| format!("bad mode specified: `{}`", shown(mode)))?;
            (host, if container.is_empty() { host } else { container }, access)
        }
        _ => return Err(format!("bad format for path: `{}`", shown(text))),
    };
    let absolute = |path: &[u8]| -> Result<PathBuf, String> {
        if path.first() != Some(&b'/') {
            return Err(format!("`{}` is not an absolute path", shown(path)));
        }
        Ok(PathBuf::from(OsString::from_vec(clean(path))))
    };
    let device = Device { host: absolute(host)?, container: absolute(container)?, access };
    if device.container == Path::new("/") {
        return Err("a device cannot be the root".into());
    }
    Ok(device)
}

/// A rule of `--device-cgroup-rule`: `c 10:200 rwm`, `a *:* rwm`.
pub fn rule(text: &str) -> Result<String, String> {
    let wrong = || format!("invalid device cgroup format `{text}`: expected e.g. `c 10:200 rwm`");
    let mut parts = text.split(' ');
    let (Some(kind), Some(numbers), Some(access), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let number = |text: &str| text == "*" || text.parse::<u32>().is_ok();
    let good = ["a", "b", "c"].contains(&kind)
        && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        && Access::parse(access.as_bytes()).is_some();
    if good { Ok(text.to_owned()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_two_paths_and_letters() {
        let d = |text: &str| {
            let d = flag(text.as_bytes())?;
            let letters = [(d.access.read, 'r'), (d.access.write, 'w'), (d.access.mknod, 'm')];
            let letters: String = letters.iter().filter(|(on, _)| *on).map(|(_, c)| *c).collect();
            Ok::<_, String>(format!("{} {} {letters}", d.host.display(), d.container.display()))
        };
        for (text, expected) in [
            ("/dev/fuse", "/dev/fuse /dev/fuse rwm"),
            ("/dev/fuse:r", "/dev/fuse /dev/fuse r"),
            ("/dev/fuse:/dev/x", "/dev/fuse /dev/x rwm"),
            ("/dev/fuse:/dev/x:mr", "/dev/fuse /dev/x rm"),
            ("/dev/fuse::w", "/dev/fuse /dev/fuse w"),
        ] {
            assert_eq!(d(text).unwrap(), expected);
        }
        for bad in ["", "fuse", "/dev/fuse:/x:rr", "/dev/fuse:/x:rwx", "/a:/b:r:w", "/dev/fuse:x", "/dev/fuse:/x:"] {
            assert!(d(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_are_three_words() {
        for good in ["c 10:200 rwm", "a *:* rwm", "b 8:* r"] {
            assert!(rule(good).is_ok(), "{good}");
        }
        for bad in ["", "c 10:200", "c 10 r", "x 1:1 r", "c 1:1 q", "c 1:1 r ", "c -1:1 r"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
