//! Everything that can be seen of a directory tree, to hold it against another.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use trace_run::digest::Digest;

pub fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut buf = vec![0; 65536];
    let n = rustix::fs::lgetxattr(path, name, &mut buf[..]).ok()?;
    buf.truncate(n);
    Some(buf)
}

/// All regular files below a directory.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => todo.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// Everything that can be seen of a tree: path to type, mode, owner, links, size or target, time, attributes, content.
pub fn list(root: &Path) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    let mut inodes: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let key = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii().to_string();
        let kind = meta.file_type();
        let mut line =
            format!("{:o} {}:{} t={}.{:09}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        if kind.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            line += &format!(" links={} size={}", meta.nlink(), meta.size());
        }
        if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string().into_vec();
            line += &format!(" -> {}", target.escape_ascii());
        } else if kind.is_file() {
            line += &format!(" {}", Digest::of(&fs::read(&path).unwrap()).short());
            inodes.entry(meta.ino()).or_default().push(key.clone());
        } else if !kind.is_dir() {
            line += &format!(" dev={}", meta.rdev());
        }
        let mut names = vec![0; 65536];
        let n = rustix::fs::llistxattr(&path, &mut names[..]).unwrap_or(0);
        let mut names: Vec<_> = names[..n].split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        names.sort();
        for name in names {
            let name = std::str::from_utf8(name).unwrap();
            line += &format!(" {name}={}", xattr(&path, name).unwrap_or_default().escape_ascii());
        }
        out.insert(key, line);
    }
    for mut names in inodes.into_values().filter(|n| n.len() > 1) {
        names.sort();
        names[1..].iter().for_each(|n| *out.get_mut(n).unwrap() += &format!(" same as {}", names[0]));
    }
    out
}
