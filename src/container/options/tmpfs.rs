//! Options of a tmpfs, in the words of mount(8).

use super::{cut, shown, size};

/// How a tmpfs is mounted. As docker does, programs, setuid and devices in it have no effect unless asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tmpfs {
    /// `key`, `value` for the filesystem, later ones win.
    pub data: Vec<(String, String)>,
    /// Nothing can be written.
    pub read_only: bool,
    /// Set-user-id files have no effect.
    pub nosuid: bool,
    /// Device nodes have no effect.
    pub nodev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
    /// When access times are kept.
    pub atime: Atime,
    /// Access times of directories are not kept.
    pub nodiratime: bool,
}

/// When access times are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Atime {
    /// Now and then, the kernel's default.
    Relative,
    /// Never.
    Never,
    /// Always.
    Strict,
}

impl Default for Tmpfs {
    fn default() -> Self {
        Tmpfs {
            data: Vec::new(),
            read_only: false,
            nosuid: true,
            nodev: true,
            noexec: true,
            atime: Atime::Relative,
            nodiratime: false,
        }
    }
}

impl Tmpfs {
    /// From a list with commas.
    pub fn parse(options: &str) -> Result<Self, String> {
        let mut tmpfs = Tmpfs::default();
        for option in options.split(',').filter(|o| !o.is_empty()) {
            tmpfs.option(option)?;
        }
        Ok(tmpfs)
    }

    fn option(&mut self, option: &str) -> Result<(), String> {
        match option {
            "defaults" => {}
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "suid" => self.nosuid = false,
            "nosuid" => self.nosuid = true,
            "dev" => self.nodev = false,
            "nodev" => self.nodev = true,
            "exec" => self.noexec = false,
            "noexec" => self.noexec = true,
            "noatime" => self.atime = Atime::Never,
            "strictatime" => self.atime = Atime::Strict,
            "atime" | "relatime" | "norelatime" | "nostrictatime" => self.atime = Atime::Relative,
            "nodiratime" => self.nodiratime = true,
            "diratime" => self.nodiratime = false,
            // A tmpfs has nothing to write later, and one of its own nobody to share it with.
            "sync" | "async" | "dirsync" | "mand" | "nomand" | "private" | "rprivate" => {}
            other => {
                let (key, value) = other.split_once('=').ok_or_else(|| wrong(other))?;
                match key {
                    "size" => {
                        let percent = value.strip_suffix('%').is_some_and(|n| n.parse::<u32>().is_ok());
                        let bytes = if percent {
                            value.to_owned()
                        } else {
                            size::bytes(value).map_err(|_| wrong(other))?.to_string()
                        };
                        self.set(key, bytes);
                    }
                    "mode" => {
                        let octal =
                            !value.is_empty() && value.len() <= 5 && value.bytes().all(|b| (b'0'..=b'7').contains(&b));
                        if !octal {
                            return Err(wrong(other));
                        }
                        self.set(key, value.to_owned());
                    }
                    "uid" | "gid" => {
                        value.parse::<u32>().map_err(|_| wrong(other))?;
                        self.set(key, value.to_owned());
                    }
                    "nr_inodes" | "nr_blocks" | "mpol" => self.set(key, value.to_owned()),
                    _ => return Err(wrong(other)),
                }
            }
        }
        Ok(())
    }

    /// Sets a value for the filesystem.
    pub fn set(&mut self, key: &str, value: String) {
        self.data.retain(|(k, _)| k != key);
        self.data.push((key.to_owned(), value));
    }
}

fn wrong(option: &str) -> String {
    format!("invalid tmpfs option `{option}`")
}

/// `PATH[:OPTIONS]` of `--tmpfs`: the path as it stands, and the options.
pub fn flag(text: &[u8]) -> Result<(&[u8], Tmpfs), String> {
    let (path, options) = cut(text, b':').unwrap_or((text, b""));
    Ok((path, Tmpfs::parse(&shown(options))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_dockers_defaults() {
        let (path, tmpfs) = flag(b"/run:rw,exec,size=64m,mode=1770,size=32k").unwrap();
        assert_eq!(path, b"/run");
        assert_eq!(tmpfs.data, [("mode".into(), "1770".into()), ("size".into(), "32768".into())]);
        assert_eq!((tmpfs.noexec, tmpfs.nosuid, tmpfs.nodev, tmpfs.read_only), (false, true, true, false));
        assert_eq!(flag(b"/run").unwrap().1, Tmpfs::default());
        for bad in ["foo", "size=x", "mode=9", "uid=-1", "huge=always"] {
            assert_eq!(Tmpfs::parse(bad), Err(format!("invalid tmpfs option `{bad}`")));
        }
    }
}
