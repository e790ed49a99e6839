//! `-v`, `--mount` and `--tmpfs`: what is to be mounted where, as docker spells it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::tmpfs::{self, Tmpfs};
use super::{boolean, clean, cut, os, shown, size};

/// One mount that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// What is mounted.
    pub source: Source,
    /// Where: absolute, clean, never the root itself.
    pub target: PathBuf,
    /// It cannot be written to.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or directory of the host.
    Bind(Bind),
    /// A volume of the store.
    Volume(Volume),
    /// Memory.
    Tmpfs(Tmpfs),
}

/// A file or directory of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Absolute.
    pub path: PathBuf,
    /// One that is missing is made, as a directory.
    pub create: bool,
    /// How mounts made later pass between host and container.
    pub propagation: Propagation,
    /// With what is mounted below it.
    pub recursive: bool,
    /// Where it is read-only, what is mounted below it is too.
    pub read_only_below: bool,
}

/// A volume of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name; one of its own if there is none.
    pub name: Option<String>,
    /// An empty one receives what the image has at the target.
    pub copy: bool,
    /// A directory in it.
    pub subpath: Option<PathBuf>,
    /// For one that is made by this.
    pub labels: Vec<(String, String)>,
}

impl Volume {
    /// As `-v /target` has it.
    pub fn anonymous() -> Self {
        Volume { name: None, copy: true, subpath: None, labels: Vec::new() }
    }
}

/// How mounts made later pass between host and container (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagation {
    /// The kind.
    pub kind: PropagationKind,
    /// For the top mount only, not for those below it.
    pub top_only: bool,
}

/// See [`Propagation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PropagationKind {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    Slave,
    /// Both ways.
    Shared,
}

impl Propagation {
    /// `rprivate`, `slave`, …
    pub fn parse(word: &str) -> Option<Self> {
        let (top_only, rest) = match word.strip_prefix('r') {
            Some(rest) => (false, rest),
            None => (true, word),
        };
        let kind = match rest {
            "private" => PropagationKind::Private,
            "slave" => PropagationKind::Slave,
            "shared" => PropagationKind::Shared,
            _ => return None,
        };
        Some(Propagation { kind, top_only })
    }
}

/// Where a mount goes.
fn target(path: &[u8]) -> Result<PathBuf, String> {
    if path.is_empty() {
        return Err("a mount needs a path in the container".into());
    }
    if path[0] != b'/' {
        return Err(format!("invalid mount path `{}`: mount path must be absolute", shown(path)));
    }
    let path = clean(path);
    if path == b"/" {
        return Err("invalid specification: the destination can't be `/`".into());
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

/// Docker's rule for names of volumes.
pub fn check_name(name: &[u8]) -> Result<String, String> {
    if name.len() == 1 {
        return Err("volume name is too short, names should be at least two alphanumeric characters".into());
    }
    let ok = name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(b))
        && name.len() <= 255;
    if ok {
        return Ok(shown(name));
    }
    Err(format!(
        "`{}` includes invalid characters for a local volume name, only `[a-zA-Z0-9][a-zA-Z0-9_.-]` are allowed; a host directory is given by its absolute path",
        shown(name)
    ))
}

/// Options after the second colon of `-v`.
#[derive(Default)]
struct Modes {
    read_only: bool,
    propagation: Option<Propagation>,
    nocopy: bool,
}

fn modes(text: &[u8]) -> Option<Modes> {
    let mut out = Modes::default();
    let (mut access, mut label, mut propagation, mut copy, mut consistency) = (0, 0, 0, 0, 0);
    for word in text.split(|b| *b == b',').filter(|_| !text.is_empty()) {
        match word {
            b"ro" | b"rw" => {
                access += 1;
                out.read_only = word == b"ro";
            }
            // Labels are SELinux's; docker too does nothing about them where there is none.
            b"z" | b"Z" => label += 1,
            b"nocopy" => {
                copy += 1;
                out.nocopy = true;
            }
            b"consistent" | b"cached" | b"delegated" => consistency += 1,
            other => {
                out.propagation = Some(Propagation::parse(std::str::from_utf8(other).ok()?)?);
                propagation += 1;
            }
        }
    }
    [access, label, propagation, copy, consistency].iter().all(|n| *n <= 1).then_some(out)
}

/// The value of `-v`: `[SOURCE:]TARGET[:MODE]`. `here` is the directory that `./` means.
pub fn flag(text: &[u8], here: &Path) -> Result<MountRequest, String> {
    let spec = || shown(text);
    if text.is_empty() {
        return Err("invalid empty volume spec".into());
    }
    let parts: Vec<&[u8]> = text.splitn(4, |b| *b == b':').collect();
    if parts[0].is_empty() || parts.iter().any(|p| p.is_empty()) {
        return Err(format!("invalid spec: `{}`: empty section between colons", spec()));
    }
    let (source, path, mode): (&[u8], &[u8], &[u8]) = match parts[..] {
        [path] => (b"", path, b""),
        [_, mode] if modes(mode).is_some() => return Err(format!("invalid volume specification: `{}`", spec())),
        [source, path] => (source, path, b""),
        [source, path, mode] => (source, path, mode),
        _ => return Err(format!("invalid volume specification: `{}`", spec())),
    };
    let Modes { read_only, propagation, nocopy } =
        modes(mode).ok_or_else(|| format!("invalid mode: `{}`", shown(mode)))?;
    let target = target(path)?;
    let source = match source.first() {
        None => Source::Volume(Volume::anonymous()),
        Some(b'/' | b'.') => {
            if nocopy {
                return Err("a bind mount has nothing to copy: `nocopy` is for volumes".into());
            }
            Source::Bind(Bind {
                path: PathBuf::from(OsString::from_vec(clean(here.join(os(source)).as_os_str().as_bytes()))),
                create: true,
                propagation: propagation.unwrap_or_default(),
                recursive: true,
                read_only_below: true,
            })
        }
        Some(_) => {
            if propagation.is_some() {
                return Err("a volume takes no propagation: that is for bind mounts".into());
            }
            Source::Volume(Volume { name: Some(check_name(source)?), copy: !nocopy, ..Volume::anonymous() })
        }
    };
    Ok(MountRequest { source, target, read_only })
}

/// The value of `--tmpfs`.
pub fn tmpfs_flag(text: &[u8]) -> Result<MountRequest, String> {
    let (path, tmpfs) = tmpfs::flag(text)?;
    let read_only = tmpfs.read_only;
    Ok(MountRequest { target: target(path)?, source: Source::Tmpfs(tmpfs), read_only })
}

/// Fields of `--mount` as they are read.
#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Vec<u8>,
    target: Vec<u8>,
    read_only: bool,
    propagation: Option<Propagation>,
    recursive: Option<String>,
    create: bool,
    nocopy: bool,
    labels: Vec<(String, String)>,
    subpath: Option<Vec<u8>>,
    size: Option<i64>,
    mode: Option<String>,
    /// One key of each kind of mount that was named: bind, volume, tmpfs.
    named: [bool; 3],
}

/// The value of `--mount`, comma-separated `KEY=VALUE`, quoted as in CSV.
pub fn mount_flag(text: &[u8], here: &Path) -> Result<MountRequest, String> {
    let mut fields = Fields::default();
    for field in csv(text)? {
        fields.take(&field, text)?;
    }
    fields.finish(here)
}

/// One record of RFC 4180, on one line.
fn csv(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let wrong = || format!("`{}` is not well quoted", shown(text));
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = Vec::new();
        if rest.first() == Some(&b'"') {
            rest = &rest[1..];
            loop {
                match rest {
                    [b'"', b'"', ..] => {
                        field.push(b'"');
                        rest = &rest[2..];
                    }
                    [b'"', ..] => {
                        rest = &rest[1..];
                        break;
                    }
                    [b, ..] => {
                        field.push(*b);
                        rest = &rest[1..];
                    }
                    [] => return Err(wrong()),
                }
            }
        } else {
            let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
            if rest[..end].contains(&b'"') {
                return Err(wrong());
            }
            field.extend(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest {
            [] => return Ok(fields),
            [b',', ..] => rest = &rest[1..],
            _ => return Err(wrong()),
        }
    }
}

impl Fields {
    fn take(&mut self, field: &[u8], all: &[u8]) -> Result<(), String> {
        let (key, value) = match cut(field, b'=') {
            Some((key, value)) => (shown(key).to_ascii_lowercase(), Some(value)),
            None => (shown(field).to_ascii_lowercase(), None),
        };
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => self.read_only = true,
                "volume-nocopy" => {
                    self.named[1] = true;
                    self.nocopy = true;
                }
                "bind-nonrecursive" => {
                    self.named[0] = true;
                    self.recursive = Some("disabled".into());
                }
                "bind-create-src" => {
                    self.named[0] = true;
                    self.create = true;
                }
                _ => return Err(format!("invalid field `{}` must be a key=value pair", shown(field))),
            }
            return Ok(());
        };
        let word = shown(value);
        let invalid = || format!("invalid value for `{key}`: `{word}`");
        if key.starts_with("bind-") {
            self.named[0] = true;
        } else if key.starts_with("volume-") {
            self.named[1] = true;
        } else if key.starts_with("tmpfs-") {
            self.named[2] = true;
        }
        match key.as_str() {
            "type" => self.kind = Some(word.to_ascii_lowercase()),
            "source" | "src" => self.source = value.to_vec(),
            "target" | "dst" | "destination" => self.target = value.to_vec(),
            "readonly" | "ro" => self.read_only = boolean(&word).map_err(|_| invalid())?,
            // For Docker Desktop's shared folders; on Linux docker too makes no difference.
            "consistency" => {}
            "bind-propagation" => {
                self.propagation = Some(Propagation::parse(&word.to_ascii_lowercase()).ok_or_else(invalid)?);
            }
            "bind-nonrecursive" => {
                if boolean(&word).map_err(|_| invalid())? {
                    self.recursive = Some("disabled".into());
                }
            }
            "bind-recursive" => match word.as_str() {
                "enabled" | "disabled" | "writable" | "readonly" => self.recursive = Some(word.clone()),
                _ => match boolean(&word) {
                    Ok(true) => self.recursive = Some("enabled".into()),
                    Ok(false) => self.recursive = Some("disabled".into()),
                    Err(_) => {
                        return Err(format!("{}: expected `enabled`, `disabled`, `writable` or `readonly`", invalid()));
                    }
                },
            },
            "bind-create-src" => self.create = boolean(&word).map_err(|_| invalid())?,
            "volume-nocopy" => self.nocopy = boolean(&word).map_err(|_| invalid())?,
            "volume-subpath" => self.subpath = Some(value.to_vec()),
            "volume-label" => {
                let (k, v) = word.split_once('=').unwrap_or((&word, ""));
                self.labels.push((k.to_owned(), v.to_owned()));
            }
            "volume-driver" if word == "local" => {}
            "volume-driver" => return Err(format!("volume driver `{word}` is not built yet: only `local` is")),
            "volume-opt" => return Err("`volume-opt` of --mount is not built yet".into()),
            "tmpfs-size" => self.size = Some(size::bytes(&word).map_err(|_| invalid())?),
            "tmpfs-mode" => {
                u32::from_str_radix(&word, 8).ok().filter(|m| *m <= 0o7777).ok_or_else(invalid)?;
                self.mode = Some(word.clone());
            }
            _ => return Err(format!("unexpected key `{key}` in `{}`", shown(all))),
        }
        Ok(())
    }

    fn finish(self, here: &Path) -> Result<MountRequest, String> {
        let kind = self.kind.clone().unwrap_or_else(|| "volume".into());
        let known = ["bind", "volume", "tmpfs"];
        let Some(own) = known.iter().position(|k| *k == kind) else {
            return Err(match kind.as_str() {
                "image" | "npipe" | "cluster" => format!("a mount of type `{kind}` is not built yet"),
                _ => format!("invalid mount config: mount type `{kind}` unknown"),
            });
        };
        if self.target.is_empty() {
            return Err("target is required".into());
        }
        if let Some(other) = (0..3).find(|k| *k != own && self.named[*k]) {
            return Err(format!("cannot mix `{}-*` options with mount type `{kind}`", known[other]));
        }
        let invalid = |why: String| format!("invalid mount config for type `{kind}`: {why}");
        let target = target(&self.target).map_err(invalid)?;
        let read_only = self.read_only;
        let source = match kind.as_str() {
            "bind" => self.bind(here).map_err(invalid)?,
            "tmpfs" => {
                if !self.source.is_empty() {
                    return Err(invalid("field Source must not be specified".into()));
                }
                let mut tmpfs = Tmpfs { read_only, ..Tmpfs::default() };
                if let Some(size) = self.size.filter(|s| *s > 0) {
                    tmpfs.set("size", size.to_string());
                }
                if let Some(mode) = self.mode {
                    tmpfs.set("mode", mode);
                }
                Source::Tmpfs(tmpfs)
            }
            _ => {
                let name = if self.source.is_empty() { None } else { Some(check_name(&self.source).map_err(invalid)?) };
                if name.is_none() && self.subpath.is_some() {
                    return Err(invalid("a subpath needs a named volume".into()));
                }
                let subpath = self.subpath.map(|p| PathBuf::from(OsString::from_vec(p)));
                if subpath.as_ref().is_some_and(|p| p.is_absolute() || p.components().any(|c| c.as_os_str() == "..")) {
                    return Err(invalid("the subpath must be a relative path inside the volume".into()));
                }
                Source::Volume(Volume { name, copy: !self.nocopy, subpath, labels: self.labels })
            }
        };
        Ok(MountRequest { source, target, read_only })
    }

    fn bind(&self, here: &Path) -> Result<Source, String> {
        let path = match self.source.first() {
            None => return Err("field Source must not be empty".into()),
            Some(b'/') => PathBuf::from(os(&self.source)),
            Some(b'.') => here.join(os(&self.source)),
            Some(_) => {
                return Err(format!("invalid mount path `{}`: mount path must be absolute", shown(&self.source)));
            }
        };
        let recursive = self.recursive.as_deref().unwrap_or("enabled");
        if matches!(recursive, "writable" | "readonly") && !self.read_only {
            return Err(format!("bind-recursive `{recursive}` needs `readonly` to be specified in conjunction"));
        }
        if recursive == "readonly" && self.propagation != Propagation::parse("rprivate") {
            return Err(
                "bind-recursive `readonly` needs `bind-propagation=rprivate` to be specified in conjunction".into()
            );
        }
        Ok(Source::Bind(Bind {
            path: PathBuf::from(OsString::from_vec(clean(path.as_os_str().as_bytes()))),
            create: self.create,
            propagation: self.propagation.unwrap_or_default(),
            recursive: recursive != "disabled",
            read_only_below: recursive != "writable",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Result<MountRequest, String> {
        flag(text.as_bytes(), Path::new("/here"))
    }

    fn m(text: &str) -> Result<MountRequest, String> {
        mount_flag(text.as_bytes(), Path::new("/here"))
    }

    #[test]
    fn volumes_are_named_anonymous_or_of_the_host() {
        let bind = |text| match v(text).unwrap() {
            MountRequest { source: Source::Bind(b), target, read_only } => {
                (b.path.to_str().unwrap().to_owned(), target.to_str().unwrap().to_owned(), read_only, b.propagation)
            }
            other => panic!("{other:?}"),
        };
        let private = Propagation::default();
        assert_eq!(bind("/a/b:/c/"), ("/a/b".into(), "/c".into(), false, private));
        assert_eq!(bind("./a:/c:ro,Z"), ("/here/a".into(), "/c".into(), true, private));
        assert_eq!(bind("/a/../x:/c/../d:rw"), ("/x".into(), "/d".into(), false, private));
        assert_eq!(bind("/a:/b:rslave").3, Propagation { kind: PropagationKind::Slave, top_only: false });
        assert_eq!(bind("/a:/b:shared,ro").3, Propagation { kind: PropagationKind::Shared, top_only: true });
        let named = v("data:/d:nocopy").unwrap();
        assert_eq!(
            named.source,
            Source::Volume(Volume { name: Some("data".into()), copy: false, ..Volume::anonymous() })
        );
        assert_eq!(v("/d").unwrap().source, Source::Volume(Volume::anonymous()));
        for (bad, part) in [
            ("", "empty volume spec"),
            (":/a", "empty section"),
            ("/a:", "empty section"),
            ("/a::ro", "empty section"),
            ("/a:ro", "invalid volume specification"),
            ("/a:/b:c:d", "invalid volume specification"),
            ("/a:/b:ro,rw", "invalid mode"),
            ("/a:/b:exec", "invalid mode"),
            ("/a:/b:z,Z", "invalid mode"),
            ("/a:b", "must be absolute"),
            ("rel", "must be absolute"),
            ("/a:/", "can't be `/`"),
            ("/", "can't be `/`"),
            ("x:/a", "too short"),
            ("a/b:/c", "invalid characters"),
            ("~/b:/c", "invalid characters"),
            ("/a:/b:nocopy", "for volumes"),
            ("data:/b:shared", "for bind mounts"),
        ] {
            let error = v(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn mounts_are_fields_with_commas() {
        let bind = m("type=bind,src=/a,dst=/b,readonly").unwrap();
        assert!(bind.read_only && matches!(bind.source, Source::Bind(Bind { create: false, recursive: true, .. })));
        let quoted = m("type=bind,\"src=/a,b\",target=/x").unwrap();
        assert!(matches!(quoted.source, Source::Bind(Bind { path, .. }) if path == Path::new("/a,b")));
        let tmpfs = m("type=tmpfs,destination=/t,tmpfs-size=1m,tmpfs-mode=1700").unwrap();
        assert!(matches!(tmpfs.source, Source::Tmpfs(t) if t.data.len() == 2 && t.noexec));
        assert_eq!(m("dst=/v").unwrap().source, Source::Volume(Volume::anonymous()));
        assert!(matches!(m("src=vv,dst=/v,volume-nocopy").unwrap().source, Source::Volume(Volume { copy: false, .. })));
        for (bad, part) in [
            ("type=bind,src=/a", "target is required"),
            ("type=bind,dst=/b", "Source must not be empty"),
            ("type=bind,src=a,dst=/b", "must be absolute"),
            ("type=tmpfs,src=/a,dst=/b", "must not be specified"),
            ("type=zip,dst=/b", "unknown"),
            ("dst=/b,volume-driver=x", "not built yet"),
            ("type=bind,src=/a,dst=/b,volume-nocopy", "cannot mix `volume-*`"),
            ("type=volume,dst=/b,tmpfs-size=1m", "cannot mix `tmpfs-*`"),
            ("type=bind,src=/a,dst=/b,ro=maybe", "invalid value for `ro`"),
            ("type=bind,src=/a,dst=/b,bind-recursive=writable", "needs `readonly`"),
            ("dst=/b,what=ever", "unexpected key `what`"),
            ("dst=/b,what", "key=value"),
            ("\"dst=/b", "quoted"),
            ("dst=/b,volume-subpath=../x,src=vv", "inside the volume"),
        ] {
            let error = m(bad).unwrap_err();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
