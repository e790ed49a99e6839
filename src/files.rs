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

/// Whether a file can be made there or written to, before the work is done whose result it is to hold. What is there
/// stays as it is.
pub fn can_write(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(rustix::io::Errno::ISDIR.into()),
        Ok(there) if there.is_file() => fs::OpenOptions::new().append(true).open(path).map(drop),
        // To open a pipe would wait for its reader.
        Ok(_) => Ok(()),
        Err(_) => {
            let target = fs::read_link(path).unwrap_or_else(|_| path.to_owned());
            let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
            if name.len() > 255 {
                return Err(io::ErrorKind::InvalidFilename.into());
            }
            let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            tempfile::Builder::new().prefix(".trace").tempfile_in(directory).map(drop).map_err(bare)
        }
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
        .tempfile_in(directory)
        .map_err(bare)?;
    temporary.write_all(bytes)?;
    if let Some(permissions) = permissions {
        temporary.as_file().set_permissions(permissions)?;
    }
    temporary.persist(target).map(drop).map_err(|e| e.error)
}

/// Without the name of the temporary file, which nobody asked for.
fn bare(error: io::Error) -> io::Error {
    use rustix::io::Errno;
    match error.kind() {
        io::ErrorKind::NotFound => Errno::NOENT.into(),
        io::ErrorKind::PermissionDenied => Errno::ACCESS.into(),
        io::ErrorKind::ReadOnlyFilesystem => Errno::ROFS.into(),
        io::ErrorKind::StorageFull => Errno::NOSPC.into(),
        io::ErrorKind::NotADirectory => Errno::NOTDIR.into(),
        _ => error,
    }
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
    fn whether_a_file_can_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        can_write(&file).unwrap();
        fs::write(&file, "old").unwrap();
        can_write(&file).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        can_write(Path::new("/dev/full")).unwrap();
        for wrong in
            [dir.path().to_owned(), dir.path().join("no/file"), file.join("below"), dir.path().join("x".repeat(300))]
        {
            assert!(can_write(&wrong).is_err(), "{}", wrong.display());
        }
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
