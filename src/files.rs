//! Files that the user asked for. Those of the store have ways of their own.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Writes a file so that a reader sees the old one or the whole new one, whatever happens meanwhile: the bytes go to a
/// temporary file in the same directory, which is then renamed. Not synced: what is lost in a power cut is no harm.
///
/// A file that is there keeps its permissions, a symbolic link stays and its target is replaced, and a device or a pipe
/// is written to. Where a file cannot be replaced but can be written, as in a directory of somebody else or where a
/// file is a mount point, it is overwritten.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => match fs::canonicalize(path) {
            Ok(target) => target,
            // It leads nowhere yet: the system makes what it names.
            Err(_) => return fs::write(path, bytes),
        },
        _ => path.to_owned(),
    };
    let before = fs::metadata(&target).ok();
    if before.as_ref().is_some_and(|m| !m.is_file()) {
        return fs::write(&target, bytes);
    }
    let replaced = replace(&target, before.as_ref().map(fs::Metadata::permissions), bytes);
    match replaced {
        Err(e) if before.is_some() && cannot_be_replaced(&e) => fs::write(&target, bytes),
        other => other,
    }
}

fn replace(target: &Path, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let directory =
        target.parent().filter(|p| !p.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Into::into);
    let mut prefix = std::ffi::OsString::from(".");
    // Short enough to leave room for what makes it unique.
    prefix.push(if name.len() < 200 { name } else { "file".as_ref() });
    let mut temporary = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".tmp")
        // As for any new file: the umask takes away what it should.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions)?;
    }
    temporary.persist(target).map(drop).map_err(|e| e.error)
}

fn cannot_be_replaced(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, PermissionDenied, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ResourceBusy | CrossesDevices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_and_links_stay_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        write_file(&file, b"new").unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&file) & 0o111, 0);
        assert_ne!(mode(&file) & 0o044, 0, "readable as any new file, {:o}", mode(&file));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let held = fs::File::open(&file).unwrap();
        write_file(&link, b"newer").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read(&file).unwrap(), mode(&file)), (b"newer".to_vec(), 0o640));
        assert_eq!(io::read_to_string(held).unwrap(), "new", "whoever reads has the old one");
        let dangling = dir.path().join("dangling");
        std::os::unix::fs::symlink("later", &dangling).unwrap();
        write_file(&dangling, b"x").unwrap();
        assert_eq!(fs::read(dir.path().join("later")).unwrap(), b"x");
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["dangling", "file", "later", "link"]);
    }

    #[test]
    fn devices_and_pipes_are_written_to() {
        write_file(Path::new("/dev/null"), b"x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_file(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), b"through");
        assert!(!fs::symlink_metadata(&pipe).unwrap().is_file());
    }

    #[test]
    fn what_fails_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_file(&dir.path().join("no/such/file"), b"x").is_err());
        assert!(write_file(dir.path(), b"x").is_err(), "a directory");
        assert!(write_file(Path::new("/"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
