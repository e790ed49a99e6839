//! The spans below `container.start` and `exec.start`: from the call of clone to the program.

use crate::container::ContainerError;
use crate::container::options::capability;
use crate::names::{attr, span};
use crate::record::{Finished, Mono, Stage};

/// What was asked of the new process, for the attributes of its spans.
pub(super) struct Asked {
    /// The namespaces that it gets or joins.
    pub namespaces: Vec<&'static str>,
    /// As a bit set.
    pub capabilities: capability::Set,
    pub no_new_privileges: bool,
    /// What the profile of its filter is called.
    pub seccomp_profile: &'static str,
    /// How long its filter is, if it has one.
    pub seccomp_instructions: Option<usize>,
}

/// Adds the stages between the borders that were stamped, from `called` to `returned`. The first one without a border is
/// the last that began; with an `error` it failed.
pub(super) fn add(
    stage: &Stage,
    called: Mono,
    stages: impl IntoIterator<Item = (&'static str, Option<Mono>)>,
    returned: Mono,
    error: Option<&ContainerError>,
    asked: &Asked,
) {
    let mut start = called;
    for (name, border) in stages {
        let mut finished = asked.describe(Finished::new(name, start, border.unwrap_or(returned)), name);
        if let (None, Some(error)) = (border, error) {
            finished = finished.failed(error);
        }
        stage.finished(finished);
        let Some(border) = border else { break };
        start = border;
    }
}

impl Asked {
    fn describe(&self, finished: Finished, name: &str) -> Finished {
        match name {
            span::INIT_NAMESPACES => finished.with(attr::NAMESPACES, self.namespaces.clone()),
            span::INIT_HARDENING => {
                let finished = finished
                    .with(attr::CAPABILITIES, capability::names(self.capabilities))
                    .with(attr::NO_NEW_PRIVILEGES, self.no_new_privileges);
                with_filter(finished, self.seccomp_profile, self.seccomp_instructions)
            }
            _ => finished,
        }
    }
}

/// With the filter that the program got, if it got one: what its profile is called and how long it is.
pub(super) fn with_filter(finished: Finished, profile: &'static str, instructions: Option<usize>) -> Finished {
    let kind = if instructions.is_some() { "filter" } else { "none" };
    let finished = finished.with(attr::SECCOMP, kind).with(attr::SECCOMP_PROFILE, profile);
    match instructions {
        Some(count) => finished.with(attr::SECCOMP_INSTRUCTIONS, count),
        None => finished,
    }
}
