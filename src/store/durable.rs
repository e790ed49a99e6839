//! The only way to a name in the store: a file's content is on storage before the rename that publishes it, and the
//! directory after. What a power cut leaves is then the old or the new, never a part.
//!
//! The files of layers and their blobs are too many for that. They are covered by a mark, see
//! [`unsynced`](super::unsynced).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::FlockOperation;

use super::lock::Lock;
use super::{Store, StoreError, Tmp, unique_name};

/// What a power cut may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is flushed: for stores that do not outlive the machine.
    None,
    /// Everything that says what is in the store is on storage before a command ends. Files of layers are written when
    /// the kernel sees fit; what is lost is noticed and pulled again.
    #[default]
    Default,
    /// Everything is on storage before a command says that an image was pulled.
    Full,
}

impl Durability {
    /// The words of `--durability`.
    pub const NAMES: [&str; 3] = ["none", "default", "full"];

    /// As given to `--durability`.
    pub fn parse(text: &str) -> Option<Self> {
        [Durability::None, Durability::Default, Durability::Full]
            .into_iter()
            .zip(Self::NAMES)
            .find_map(|(durability, name)| (name == text).then_some(durability))
    }
}

impl Store {
    /// Writes a file of the store. Readers see the old content or the new one, also after a power cut; what a killed
    /// process leaves is in `tmp/`.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        self.write_together(&[(path.to_owned(), content)], &[])
    }

    /// The same for what may be lost, or be empty, after a power cut: recorded runs, the state of a container that
    /// goes with its process. It costs a warm run nothing.
    pub fn write_unsynced(&self, path: &Path, content: &[u8]) -> Result<(), StoreError> {
        let fail = |e| StoreError::file("write", path, e);
        let draft = self.draft(content).map_err(fail)?;
        draft.publish(path).map_err(fail)
    }

    /// Writes several files, the last of which makes the others known, and waits for storage twice: until it has them,
    /// and until it has their names and those in `more` directories.
    pub(super) fn write_together(&self, files: &[(PathBuf, &[u8])], more: &[PathBuf]) -> Result<(), StoreError> {
        let mut drafts = Vec::new();
        for (path, content) in files {
            drafts.push(self.draft(content).map_err(|e| StoreError::file("write", path, e))?);
        }
        let Some((last, _)) = files.last() else { return Ok(()) };
        self.sync_together(drafts.iter().map(|d| &d.file)).map_err(|e| StoreError::file("write", last, e))?;
        let mut dirs: Vec<PathBuf> = more.to_vec();
        for (draft, (path, _)) in drafts.into_iter().zip(files) {
            draft.publish(path).map_err(|e| StoreError::file("write", path, e))?;
            dirs.extend(path.parent().map(Path::to_owned));
        }
        self.sync_directories(dirs)
    }

    /// A file in `tmp/`, which goes when it is dropped without being published.
    fn draft(&self, content: &[u8]) -> io::Result<FileDraft> {
        // Between making a file and locking it, it would look left over.
        let gate = Lock::shared(&self.path("locks/create")).map_err(io::Error::other)?;
        let path = self.path("tmp").join(unique_name());
        let draft = FileDraft { file: File::create_new(&path)?, path: Some(path) };
        rustix::fs::flock(&draft.file, FlockOperation::LockExclusive)?;
        drop(gate);
        (&draft.file).write_all(content)?;
        Ok(draft)
    }

    /// Makes files in a directory that is still to be published, and the directory itself.
    pub(super) fn make_files(&self, dir: &Path, files: &[(&str, &[u8])]) -> Result<(), StoreError> {
        let make = || {
            let mut made = Vec::new();
            for (name, content) in files {
                let mut file = File::create_new(dir.join(name))?;
                file.write_all(content)?;
                made.push(file);
            }
            made.push(File::open(dir)?);
            self.sync_together(made.iter())
        };
        make().map_err(|e| StoreError::file("write", dir, e))
    }

    pub(super) fn sync_file(&self, file: &File) -> io::Result<()> {
        if self.durability == Durability::None { Ok(()) } else { file.sync_all() }
    }

    /// Waits for storage once for all of them: the file system joins what arrives at the same time.
    pub(super) fn sync_together<'f>(&self, files: impl IntoIterator<Item = &'f File>) -> io::Result<()> {
        let mut files = files.into_iter();
        let Some(first) = files.next() else { return Ok(()) };
        if self.durability == Durability::None {
            return Ok(());
        }
        std::thread::scope(|scope| {
            let start =
                |file: &'f File| thread::Builder::new().spawn_scoped(scope, || file.sync_all()).map_err(|_| file);
            let others: Vec<_> = files.map(start).collect();
            let done = first.sync_all();
            others.into_iter().fold(done, |done, other| {
                done.and(match other {
                    Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    // Without a thread it only takes longer.
                    Err(file) => file.sync_all(),
                })
            })
        })
    }

    /// Makes the names in directories last.
    pub(super) fn sync_directories(&self, mut dirs: Vec<PathBuf>) -> Result<(), StoreError> {
        dirs.sort();
        dirs.dedup();
        let open = |dir: &PathBuf| File::open(dir).map_err(|e| StoreError::file("open", dir, e));
        let opened = dirs.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let first = dirs.first().cloned().unwrap_or_default();
        self.sync_together(opened.iter()).map_err(|e| StoreError::file("write to storage", &first, e))
    }

    /// Makes the names in a directory last.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), StoreError> {
        self.sync_directories(vec![path.to_owned()])
    }

    pub(super) fn sync_directory_of(&self, path: &Path) -> Result<(), StoreError> {
        path.parent().map_or(Ok(()), |dir| self.sync_directory(dir))
    }

    /// Flushes the whole file system that the store is on.
    pub(super) fn sync_all(&self) -> Result<(), StoreError> {
        let fail = |e| StoreError::file("write to storage", &self.path(""), e);
        let root = File::open(self.path("")).map_err(fail)?;
        rustix::fs::syncfs(&root).map_err(|e| fail(e.into()))
    }

    /// Moves something to where it is removed when the value is dropped, if there is anything.
    pub(super) fn set_aside(&self, path: &Path) -> Result<Option<Tmp>, StoreError> {
        let tmp = self.tmp()?;
        match fs::rename(path, tmp.path().join("old")) {
            Ok(()) => Ok(Some(tmp)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::file("replace", path, e)),
        }
    }
}

/// See [`Store::draft`].
struct FileDraft {
    file: File,
    path: Option<PathBuf>,
}

impl FileDraft {
    fn publish(mut self, to: &Path) -> io::Result<()> {
        if let Some(from) = &self.path {
            fs::rename(from, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for FileDraft {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// Publishes what was made in `tmp/`, its content being on storage or marked. The caller syncs the directory.
pub(super) fn publish(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::file("create", to, e))
}

/// Moves something out of its place.
pub(super) fn move_away(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|e| StoreError::file("remove", from, e))
}
