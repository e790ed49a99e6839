//! Which system calls a container may make.
//!
//! Reading order: [`calls`] (the table of calls, with docker's default as a column) → [`policy`] (what a filter is to
//! do for a set of capabilities) → [`compile`] (a tree of ranges, written by `bpf`); [`profile`] reads docker's JSON
//! form.
//!
//! A filter is compiled for each container: that takes a few microseconds, less than opening a file would, so nothing
//! is cached.

mod bpf;
pub mod calls;
pub mod compile;
mod multiplexed;
pub mod policy;
pub mod profile;

use self::policy::{Arch, Policy};
use self::profile::Profile;
use super::error::ContainerError;
use crate::sys::seccomp::Instruction;

/// What the caller wants.
#[derive(Clone, Debug, Default)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile from a file.
    File(Profile),
}

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// For seccomp(2).
    pub flags: u32,
}

/// More instructions than the kernel takes (`BPF_MAXINSNS`, linux/bpf_common.h).
pub const MOST_INSTRUCTIONS: usize = 4096;

impl Seccomp {
    /// The name of the choice in traces.
    pub fn name(&self) -> &'static str {
        match self {
            Seccomp::Default => "default",
            Seccomp::Unconfined => "unconfined",
            Seccomp::File(_) => "file",
        }
    }

    /// The filter for a container with these capabilities (bit n for capability n).
    pub fn filter(&self, capabilities: u64) -> Result<Option<Filter>, ContainerError> {
        let policy = match self {
            Seccomp::Default => Some(Policy::docker_default(Arch::NATIVE, capabilities)),
            Seccomp::Unconfined => None,
            Seccomp::File(profile) => profile.policy(capabilities),
        };
        let Some(policy) = policy else { return Ok(None) };
        let program = compile::compile(&policy);
        if program.len() > MOST_INSTRUCTIONS {
            return Err(ContainerError::SeccompTooLong { instructions: program.len() });
        }
        Ok(Some(Filter { program, flags: policy.flags }))
    }
}
