//! What to run and how: the flags of `run` once they are understood.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::resolve::HubChoice;
use crate::container::options::limits::Limits;
use crate::container::options::volume::MountRequest;
use crate::container::settings::{Names, Powers, Settings, Spaces};
use crate::container::{Network, Security};
use crate::registry::{ImageRef, Platform};

/// What to run and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Image as typed, for those who list containers.
    pub image_as_typed: String,
    /// Image.
    pub image: ImageRef,
    /// Command; the image's own if empty.
    pub command: Vec<OsString>,
    /// Which registry names without a host mean.
    pub hub: HubChoice,
    /// Platform.
    pub platform: Platform,
    /// Forget the image first.
    pub cold: bool,
    /// When to ask the registry for the image.
    pub pull: PullPolicy,
    /// Keep the container after it exited.
    pub keep: bool,
    /// Given name.
    pub name: Option<String>,
    /// `KEY=value`, over the image's.
    pub env: Vec<OsString>,
    /// What the container is told about the trace; `env` wins.
    pub propagated: Option<Propagated>,
    /// Working directory, over the image's.
    pub workdir: Option<OsString>,
    /// User, over the image's.
    pub user: Option<String>,
    /// Entrypoint, over the image's; empty for none.
    pub entrypoint: Option<OsString>,
    /// More groups of the user.
    pub groups: Vec<String>,
    /// By which names it is known and knows others.
    pub names: Names,
    /// Network.
    pub network: Network,
    /// What is mounted into it.
    pub mounts: MountOptions,
    /// How much of the machine it may use.
    pub limits: Limits,
    /// What it may do.
    pub powers: Powers,
    /// Which system calls it may make, and what else confines it.
    pub security: Security,
    /// Which namespaces are not its own.
    pub spaces: Spaces,
    /// What its processes find set.
    pub settings: Settings,
    /// What is said about it.
    pub notes: Notes,
    /// Keep what it writes, if it is kept itself.
    pub log: bool,
    /// The root is read-only.
    pub read_only: bool,
    /// Pass our standard input on.
    pub interactive: bool,
    /// Give it a terminal.
    pub terminal: bool,
    /// Record the command line in the trace.
    pub record_args: bool,
    /// Run without a container even an image that is not from the built-in hub.
    pub plain: bool,
}

impl RunOptions {
    /// Everything that makes the time of one run comparable with that of another: what runs, within which bounds, and
    /// on which machine. Two runs for which this is equal differ only in what they found in the store.
    pub fn what_makes_runs_alike(&self) -> String {
        let machine = rustix::system::uname();
        format!(
            "{:?}",
            (
                (&self.platform, &self.command, &self.entrypoint, &self.env, &self.workdir, &self.user, &self.groups),
                (&self.network, &self.mounts, &self.limits, &self.powers, &self.security, &self.spaces),
                (&self.settings, self.read_only, self.interactive, self.plain, self.keep, self.pull),
                (machine.nodename(), machine.release(), std::thread::available_parallelism().ok()),
            )
        )
    }
}

/// What a container is told about the trace that it is part of.
#[derive(Clone, Debug)]
pub struct Propagated {
    /// Its span: `TRACEPARENT`.
    pub trace_context: bool,
    /// `KEY=value`: what else belongs to the context, and where to send spans.
    pub env: Vec<String>,
}

/// What is mounted into the container.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// `-v`, `--mount` and `--tmpfs`.
    pub requests: Vec<MountRequest>,
    /// Containers whose mounts it shares.
    pub volumes_from: Vec<VolumesFrom>,
}

/// A container whose mounts another one shares.
#[derive(Clone, Debug)]
pub struct VolumesFrom {
    /// Its name or id.
    pub container: String,
    /// The other one cannot write to them.
    pub read_only: bool,
}

/// When to ask the registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// If it is not in the store.
    #[default]
    Missing,
    /// Always, so that a newer one under the same name is found.
    Always,
    /// Never.
    Never,
}

/// What is said about a container, for other programs and later commands.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// A file that is to hold its id.
    pub cidfile: Option<PathBuf>,
    /// Labels, over the image's.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Signal that asks it to end.
    pub stop_signal: Option<String>,
    /// How many seconds it then has.
    pub stop_timeout: Option<i64>,
}
