//! Containers on disk. Each is a directory that its engine keeps locked while the container is there for it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{Store, StoreError, new_id, read_json, remove_tree};
use crate::layer::RawPath;
use crate::record::clock::unix_now;

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// 64 hex digits.
    pub id: String,
    /// Given or invented name.
    pub name: String,
    /// Image as the user called it.
    pub image: String,
    /// Manifest that it was made from.
    pub manifest: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Made at, nanoseconds since the Unix epoch.
    pub created: u64,
    /// Removed when it exits.
    pub remove_on_exit: bool,
    /// Process id in the engine's namespace, once started.
    pub pid: Option<i32>,
    /// Exit code and time, once exited.
    pub exited: Option<(u8, u64)>,
    /// What was mounted into it, for `--volumes-from`, and so that its volumes are known to be in use.
    #[serde(default)]
    pub mounts: Vec<Mounted>,
    /// The image's and the user's.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Signal that asks it to end; empty for SIGTERM.
    #[serde(default)]
    pub stop_signal: String,
    /// How many seconds it then has; docker's ten if it does not say.
    #[serde(default)]
    pub stop_timeout: Option<i64>,
    /// What later programs are started with.
    #[serde(default)]
    pub process: Option<Process>,
}

/// See [`State::process`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Host name; empty for the begin of the id.
    pub hostname: String,
    /// `KEY=value`: the image's and the user's, bytes.
    pub env: Vec<RawPath>,
    /// Working directory, bytes.
    pub cwd: RawPath,
    /// User as the image or the caller spells it.
    pub user: String,
    /// More groups.
    pub groups: Vec<String>,
    /// Capabilities of its root, bit n for capability number n.
    pub capabilities: u64,
    /// Whether exec may never add privileges.
    pub no_new_privileges: bool,
    /// `default`, `unconfined`, or the profile itself.
    pub seccomp: String,
    /// How soon the kernel kills it for want of memory.
    pub oom_score_adj: Option<i32>,
}

/// A mount of a container, as others need to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Path in the container, bytes.
    pub target: RawPath,
    /// Name of the volume, if it is one.
    pub volume: Option<String>,
    /// It goes with the container.
    pub anonymous: bool,
    /// Path on the host, if it is none.
    pub host: Option<RawPath>,
    /// It cannot be written to.
    pub read_only: bool,
}

/// A container of this process. Dropping it without [`Container::remove`] keeps it.
#[derive(Debug)]
pub struct Container {
    store: Store,
    /// What is written in `state.json`.
    pub state: State,
    dir: PathBuf,
    _lock: Lock,
}

/// A container as others see it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its state file.
    pub state: State,
    /// Its engine is alive.
    pub running: bool,
    dir: PathBuf,
}

impl Store {
    /// Makes a container's directory. `state.id` and, if empty, `state.name` are filled in.
    pub fn create_container(&self, mut state: State, named: bool) -> Result<Container, StoreError> {
        state.id = new_id();
        // Held until the container is there: a name whose container is not there then belongs to nobody.
        let _claiming = if named {
            check_name(&state.name)?;
            let lock = Lock::exclusive(&self.path("locks/names"))?;
            self.claim_name(&state.name, &state.id)?;
            Some(lock)
        } else {
            None
        };
        let make = |state: &State| {
            let tmp = self.tmp()?;
            let path = tmp.path().join("state.json");
            let dir = self.path("containers").join(&state.id);
            if state.remove_on_exit {
                // It goes with this process, and sooner with the power.
                fs::write(&path, to_json(state)).map_err(|e| StoreError::file("write", &path, e))?;
                return Ok((tmp.rename(&dir)?, dir));
            }
            self.make_files(tmp.path(), &[("state.json", &to_json(state))])?;
            let lock = tmp.rename(&dir)?;
            self.sync_directory_of(&dir)?;
            Ok((lock, dir))
        };
        match make(&state) {
            Ok((lock, dir)) => Ok(Container { store: self.clone(), state, dir, _lock: lock }),
            Err(e) => {
                if named {
                    self.release_name(&state);
                }
                Err(e)
            }
        }
    }

    /// To be called with the lock on names, so that of several processes one has it.
    fn claim_name(&self, name: &str, id: &str) -> Result<(), StoreError> {
        let path = self.path("names").join(name);
        let by = fs::read_to_string(&path).unwrap_or_default();
        if is_id(OsStr::new(&by)) && self.path("containers").join(&by).exists() {
            return Err(StoreError::NameTaken { name: name.to_owned(), by });
        }
        // Nobody's, or left by a process that died before its container was there.
        self.write(&path, id.as_bytes())
    }

    /// Volumes without a name go with their container, unless another one has taken them over (`--volumes-from`).
    fn discard_own_volumes(&self, state: &State) {
        for name in state.mounts.iter().filter(|m| m.anonymous).filter_map(|m| m.volume.as_deref()) {
            if is_id(OsStr::new(name)) && self.volume_users(name).is_ok_and(|users| users.is_empty()) {
                let _ = self.discard_volume(name);
            }
        }
    }

    fn release_name(&self, state: &State) {
        let path = self.path("names").join(&state.name);
        if fs::read_to_string(&path).is_ok_and(|by| by == state.id) {
            let _ = fs::remove_file(path);
        }
    }

    /// All containers, newest first.
    pub fn containers(&self) -> Result<Vec<Listed>, StoreError> {
        let root = self.path("containers");
        let mut all = Vec::new();
        for entry in fs::read_dir(&root).map_err(|e| StoreError::file("read", &root, e))?.flatten() {
            let dir = entry.path();
            if let Some(mut state) = read_state(&dir) {
                let running = dir.exists() && Lock::try_path(&dir).is_none();
                let noted = || fs::read_to_string(dir.join("pid")).ok()?.parse().ok();
                state.pid = state.pid.or_else(|| if running { noted() } else { None });
                all.push(Listed { state, running, dir });
            }
        }
        all.sort_by_key(|c| std::cmp::Reverse(c.state.created));
        Ok(all)
    }

    /// The container with this name, id or unique begin of an id.
    pub fn container(&self, key: &str) -> Result<Listed, StoreError> {
        let mut all = self.containers()?;
        if let Some(i) = all.iter().position(|c| c.state.name == key || c.state.id == key) {
            return Ok(all.swap_remove(i));
        }
        all.retain(|c| !key.is_empty() && c.state.id.starts_with(key));
        match all.len() {
            0 => Err(StoreError::NoContainer(key.to_owned())),
            1 => Ok(all.swap_remove(0)),
            _ => Err(StoreError::Ambiguous(key.to_owned())),
        }
    }

    /// Takes away what processes left that were killed: containers that were to be removed on exit, temporary files. A
    /// kept container whose engine died counts as killed. `also` is told of each, to remove what is not on disk; where
    /// it could not (`false`) the container stays for the next command to try again.
    pub fn clean_up(&self, also: &mut dyn FnMut(&State) -> bool) {
        // Empty on the warm path: one directory read each.
        let entries = |dir: &str| fs::read_dir(self.path(dir)).into_iter().flatten().flatten().map(|e| e.path());
        let mut tmp = entries("tmp").peekable();
        if tmp.peek().is_some()
            && let Ok(Some(_gate)) = Lock::try_exclusive(&self.path("locks/create"))
        {
            for path in tmp {
                if let Some(_left) = Lock::try_path(&path) {
                    let _ = if path.is_dir() { remove_tree(&path) } else { fs::remove_file(&path) };
                }
            }
        }
        for dir in entries("containers") {
            // Kept ones that have exited are the common case, and are told by their state without a lock.
            let state = read_state(&dir);
            if state.as_ref().is_some_and(|s| s.exited.is_some() && !s.remove_on_exit) {
                continue;
            }
            let Some(_left) = Lock::try_path(&dir) else { continue };
            match state {
                Some(state) if !also(&state) => {}
                Some(mut state) => {
                    if state.remove_on_exit {
                        self.release_name(&state);
                        let _ = remove_tree(&dir);
                        self.discard_own_volumes(&state);
                    } else {
                        state.exited = Some((137, unix_now()));
                        let _ = self.write(&dir.join("state.json"), &to_json(&state));
                    }
                }
                // Half removed by somebody who was killed over it.
                None if dir.file_name().is_some_and(is_id) => drop(remove_tree(&dir)),
                None => {}
            }
        }
    }
}

impl Container {
    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes the pid of its program where the state is not worth writing again.
    pub fn note_pid(&self, pid: i32) {
        let _ = fs::write(self.dir.join("pid"), pid.to_string());
    }

    /// Where its output is kept.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Writes a changed state.
    pub fn save(&self) -> Result<(), StoreError> {
        let path = self.dir.join("state.json");
        if self.state.remove_on_exit {
            return self.store.write_unsynced(&path, &to_json(&self.state));
        }
        self.store.write(&path, &to_json(&self.state))
    }

    /// Removes it, with the volumes that were made for it alone.
    pub fn remove(self) -> Result<(), StoreError> {
        self.store.release_name(&self.state);
        remove_tree(&self.dir).map_err(|e| StoreError::file("remove", &self.dir, e))?;
        self.store.discard_own_volumes(&self.state);
        Ok(())
    }
}

impl Listed {
    /// Where its output is kept.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Removes a container that is not running; with `volumes` also those that were made for it alone.
    pub fn remove(&self, store: &Store, volumes: bool) -> Result<(), StoreError> {
        let Some(_lock) = Lock::try_path(&self.dir) else {
            return if self.dir.exists() { Err(StoreError::Running(self.state.name.clone())) } else { Ok(()) };
        };
        store.release_name(&self.state);
        remove_tree(&self.dir).map_err(|e| StoreError::file("remove", &self.dir, e))?;
        if volumes {
            store.discard_own_volumes(&self.state);
        }
        Ok(())
    }
}

/// The state of the container in `dir`; `None` if there is none. One that cannot be read, or speaks of another
/// container, is told as exited, so that it can be listed and removed.
fn read_state(dir: &Path) -> Option<State> {
    let id = dir.file_name()?;
    let damaged = || State {
        id: id.to_string_lossy().into_owned(),
        name: id.to_string_lossy().chars().take(12).collect(),
        image: "<damaged>".into(),
        manifest: String::new(),
        command: Vec::new(),
        created: 0,
        remove_on_exit: false,
        pid: None,
        exited: Some((137, 0)),
        mounts: Vec::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        stop_signal: String::new(),
        stop_timeout: None,
        process: None,
    };
    match read_json::<State>(&dir.join("state.json")) {
        Ok(Some(state)) if id.to_str() == Some(&state.id) && is_id(id) && check_name(&state.name).is_ok() => {
            Some(state)
        }
        Ok(None) => None,
        Ok(Some(_)) | Err(_) => dir.is_dir().then(damaged),
    }
}

fn is_id(name: &OsStr) -> bool {
    name.len() == 64 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit)
}

/// Docker's rule for names.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let ok = name.len() <= 128
        && name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if ok { Ok(()) } else { Err(StoreError::BadName(name.chars().take(130).collect())) }
}

fn to_json(state: &State) -> Vec<u8> {
    serde_json::to_vec(state).expect("strings and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str) -> State {
        State {
            id: String::new(),
            name: name.into(),
            image: "image".into(),
            manifest: String::new(),
            command: Vec::new(),
            created: 1,
            remove_on_exit: false,
            pid: None,
            exited: Some((0, 2)),
            mounts: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            stop_signal: String::new(),
            stop_timeout: None,
            process: None,
        }
    }

    #[test]
    fn a_damaged_state_hides_nothing_and_can_be_removed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let kept = store.create_container(state("kept"), true).unwrap();
        kept.save().unwrap();
        let damaged = store.create_container(state("other"), true).unwrap();
        let id = damaged.state.id.clone();
        fs::write(damaged.dir().join("state.json"), "{").unwrap();
        drop((kept, damaged));
        store.clean_up(&mut |_| true);
        assert_eq!(store.containers().unwrap().len(), 2);
        assert_eq!(store.container("kept").unwrap().state.name, "kept");
        store.container(&id).unwrap().remove(&store, false).unwrap();
        assert_eq!(store.containers().unwrap().len(), 1);
    }

    #[test]
    fn a_state_that_speaks_of_another_container_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        for lie in ["..", "/", ""] {
            let container = store.create_container(state("x1"), false).unwrap();
            let lying = State { id: lie.into(), exited: None, pid: Some(1), ..state("x1") };
            fs::write(container.dir().join("state.json"), to_json(&lying)).unwrap();
            drop(container);
            store.clean_up(&mut |told| panic!("was told to clean up after `{}`", told.id));
            let listed = store.containers().unwrap().pop().unwrap();
            assert_eq!((listed.state.id.len(), listed.state.pid), (64, None));
            listed.remove(&store, false).unwrap();
        }
    }
}
