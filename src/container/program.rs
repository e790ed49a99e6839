//! One program that is to run in a container, its first or a later one: built before the clone, only read after it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Gid, Resource, Rlimit, Uid};

use super::error::ContainerError;
use super::init::{Fault, Report, Step};
use super::io::TheirStreams;
use super::options::{clean, environment as entries};
use super::seccomp::Filter;
use super::user::Identity;
use super::{c_string, interpreter};
use crate::sys::exec::StringArray;
use crate::sys::launcher::Launcher;

/// See the module. All descriptors are close-on-exec.
pub struct Program {
    /// Components of the working directory, outermost first.
    pub cwd_parts: Vec<CString>,
    /// The same in one, relative to the root.
    pub cwd: CString,
    /// Capabilities to keep, bit n for capability number n.
    pub capabilities: u64,
    /// Highest capability the kernel knows.
    pub last_capability: u32,
    /// Whether the supplementary groups can be set (not in a single-id user namespace).
    pub set_groups: bool,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
    /// User to become.
    pub uid: Uid,
    /// Group to become.
    pub gid: Gid,
    /// Whether exec may never add privileges.
    pub no_new_privileges: bool,
    /// Which system calls the program may make; all if `None`.
    pub seccomp: Option<Filter>,
    /// Become its standard streams.
    pub streams: TheirStreams,
    /// Resource limits of its own.
    pub ulimits: Vec<(Resource, Rlimit)>,
    /// Paths to try to execute, in order.
    pub candidates: Vec<CString>,
    /// They come from `$PATH`.
    pub searched: bool,
    /// What becomes the program, or its parent.
    pub starter: Starter,
    /// Environment.
    pub envp: StringArray,
    /// The program as it was asked for.
    name: OsString,
}

/// What executes the container's program: where others could change what lies at its path, a program of ours, so that
/// this is not done from the engine's own file.
pub enum Starter {
    /// The new process itself, with these arguments.
    Itself(StringArray),
    /// See [`crate::sys::launcher`].
    Launcher(Launcher),
    /// See [`crate::sys::reaper`]: its arguments with the candidates, and its program.
    Reaper(StringArray, OwnedFd),
    /// It has done its work.
    Gone,
}

/// What a [`Program`] is made from.
pub(super) struct Wanted<'a> {
    pub argv: &'a [OsString],
    /// All of it.
    pub env: &'a [OsString],
    pub cwd: &'a OsStr,
    pub identity: &'a Identity,
    /// There is more than one id.
    pub many_ids: bool,
    pub capabilities: u64,
    pub no_new_privileges: bool,
    pub seccomp: Option<Filter>,
    pub streams: TheirStreams,
    pub ulimits: Vec<(Resource, Rlimit)>,
    pub init: bool,
    /// Other processes may reach the container's files before its program runs.
    pub shared: bool,
    /// A directory for files without names, see [`crate::sys::sealed`].
    pub scratch: &'a Path,
}

/// Docker's default search path.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What execve takes as one argument or variable, its end counted (`MAX_ARG_STRLEN`).
const MAX_STRING: usize = 128 * 1024;

impl Program {
    pub(super) fn new(wanted: Wanted<'_>) -> Result<Self, ContainerError> {
        let Wanted { argv, env, identity, .. } = wanted;
        let name = argv.first().cloned().unwrap_or_default();
        // The kernel would say so in the end, but every directory of a long PATH would be tried first.
        if argv.iter().chain(env).any(|s| s.len() >= MAX_STRING) {
            return Err(ContainerError::TooLarge { program: name.to_string_lossy().into_owned() });
        }
        let cwd = clean(wanted.cwd.as_bytes());
        let candidates = candidates(&name, env)?;
        let starter = starter(&candidates, &wanted)?;
        Ok(Program {
            cwd_parts: cwd
                .split(|b| *b == b'/')
                .filter(|p| !p.is_empty())
                .map(|p| c_string("the working directory", OsStr::from_bytes(p)))
                .collect::<Result<_, _>>()?,
            cwd: c_string("the working directory", OsStr::from_bytes(&cwd[1..]))?,
            capabilities: wanted.capabilities,
            last_capability: last_capability(),
            set_groups: wanted.many_ids,
            groups: identity.groups.iter().map(|g| Gid::from_raw(*g)).collect(),
            uid: Uid::from_raw(identity.uid),
            gid: Gid::from_raw(identity.gid),
            no_new_privileges: wanted.no_new_privileges,
            seccomp: wanted.seccomp,
            streams: wanted.streams,
            ulimits: wanted.ulimits,
            searched: !name.as_bytes().contains(&b'/'),
            candidates,
            starter,
            envp: c_strings("an environment variable", env)?,
            name,
        })
    }

    /// What the new process needs of ours for becoming the program.
    pub(super) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let mut all = self.streams.descriptors();
        match &self.starter {
            Starter::Launcher(launcher) => all.extend(launcher.descriptors()),
            Starter::Reaper(_, program) => all.push(program.as_fd()),
            Starter::Itself(_) | Starter::Gone => {}
        }
        all
    }

    /// Once the new process has become what starts the program: waits until this runs, or says why it does not.
    pub(super) fn started(&mut self, report: &Report) -> Option<Fault> {
        let before = report.fault();
        match std::mem::replace(&mut self.starter, Starter::Gone) {
            Starter::Launcher(launcher) if before.is_none() => launcher.outcome().map(|errno| report.launched(errno)),
            _ => before,
        }
    }

    /// Words a failure of one of its steps; `root` is the container's.
    pub(super) fn word(&self, fault: Fault, root: &OwnedFd) -> ContainerError {
        let name = self.name.to_string_lossy();
        if fault.step == Step::Interpreter {
            let path = self.candidates.get(fault.detail as usize);
            let interpreter = path.and_then(|path: &CString| interpreter::named(root, path));
            return ContainerError::Interpreter { program: name.into_owned(), interpreter };
        }
        let cwd = format!("/{}", CStr::to_string_lossy(&self.cwd));
        ContainerError::from_fault(fault, &name, &cwd)
    }
}

/// All variables of a program: docker's own, then those given, of two with one name the later; HOME by the user.
pub(super) fn environment(hostname: &str, terminal: bool, wanted: &[OsString], identity: &Identity) -> Vec<OsString> {
    // Docker's, in its order.
    let terminal = terminal.then(|| OsString::from("TERM=xterm"));
    let given: Vec<OsString> =
        [OsString::from(PATH), format!("HOSTNAME={hostname}").into()].into_iter().chain(terminal).collect();
    let mut env: Vec<&OsStr> = Vec::with_capacity(wanted.len() + 4);
    let mut places: HashMap<&OsStr, usize> = HashMap::with_capacity(wanted.len() + 4);
    for entry in given.iter().chain(wanted) {
        match places.entry(entries::key(entry)) {
            Entry::Occupied(place) => env[*place.get()] = entry,
            Entry::Vacant(place) => {
                place.insert(env.len());
                env.push(entry);
            }
        }
    }
    let home = OsString::from(format!("HOME={}", identity.home));
    if !places.contains_key(OsStr::new("HOME")) {
        env.push(&home);
    }
    env.into_iter().map(OsStr::to_owned).collect()
}

/// The paths that `program` can mean: itself if it has a slash, else one per entry of PATH. Entries that are no
/// absolute path mean nothing, as to docker.
pub(super) fn candidates(program: &OsStr, env: &[OsString]) -> Result<Vec<CString>, ContainerError> {
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("the command", program)?]);
    }
    let path = env.iter().find_map(|e| entries::value_of(e, "PATH")).unwrap_or_default();
    path.as_bytes()
        .split(|b| *b == b':')
        .filter(|dir| !program.is_empty() && dir.starts_with(b"/"))
        .map(|dir| c_string("the command", OsStr::from_bytes(&[dir, b"/", program.as_bytes()].concat())))
        .collect()
}

fn starter(candidates: &[CString], wanted: &Wanted<'_>) -> Result<Starter, ContainerError> {
    let argv = wanted.argv.iter().map(|t| c_string("an argument", t)).collect::<Result<Vec<_>, _>>()?;
    let fail = |source| ContainerError::File { action: "make", path: "the program that starts it".into(), source };
    if wanted.init {
        let program = crate::sys::reaper::program(wanted.scratch).map_err(fail)?;
        return Ok(Starter::Reaper(StringArray::choosing(c"init".to_owned(), candidates.to_vec(), argv), program));
    }
    if !wanted.shared {
        return Ok(Starter::Itself(StringArray::new(argv)));
    }
    Launcher::new(candidates, argv, wanted.scratch).map(Starter::Launcher).map_err(fail)
}

pub(super) fn last_capability() -> u32 {
    std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|s| s.trim().parse().ok())
        .unwrap_or(40)
        .min(63)
}

/// Those that this kernel knows.
pub(super) fn known_capabilities() -> u64 {
    u64::MAX >> (63 - last_capability())
}

pub(super) fn c_strings(what: &'static str, texts: &[OsString]) -> Result<StringArray, ContainerError> {
    let strings = texts.iter().map(|t| c_string(what, t)).collect::<Result<_, _>>()?;
    Ok(StringArray::new(strings))
}
