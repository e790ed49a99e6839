//! Taking everything away again (`container.cleanup`), whether the run went well or not.

use super::start::Failed;
use super::wait::Ended;
use super::{EngineError, RunOptions};
use crate::container::cgroup::Cgroup;
use crate::names::span;
use crate::record::Stage;
use crate::record::clock::unix_now;
use crate::stage;
use crate::store::StoreError;
use crate::store::containers::Container;
use crate::sys::wait::Exit;

/// Gives the run's own result, and beside it what could not be taken away.
pub fn cleanup(
    run: &Stage,
    ended: Result<Ended, Box<Failed>>,
    options: &RunOptions,
) -> (Result<Exit, EngineError>, Vec<StoreError>) {
    let stage = stage!(span::CONTAINER_CLEANUP, in run);
    let (result, container, cgroup, rootfs) = match ended {
        Ok(Ended { exit, container, cgroup, rootfs }) => (Ok(exit), container, cgroup, Some(rootfs)),
        Err(failed) => {
            let Failed { error, container, cgroup } = *failed;
            (Err(error), container, cgroup, None)
        }
    };
    let mut leftovers = Vec::new();
    // A network namespace without an address pair outside ends with its last process: nothing is left to take down.
    drop(stage!(span::NETWORK_TEARDOWN, in &stage));
    let unmount = stage!(span::ROOTFS_UNMOUNT, in &stage);
    drop(rootfs);
    drop(unmount);
    remove_cgroup(&stage, &cgroup, &mut leftovers);
    remove_container(&stage, container, &result, options, &mut leftovers);
    (result, leftovers)
}

fn remove_cgroup(stage: &Stage, cgroup: &Cgroup, leftovers: &mut Vec<StoreError>) {
    let stage = stage!(span::CGROUP_REMOVE, in stage);
    if let Err(e) = cgroup.remove() {
        stage.fail("cgroup", &e.to_string());
        leftovers.push(StoreError::file("remove the cgroup of", std::path::Path::new("the container"), e));
    }
}

fn remove_container(
    stage: &Stage,
    mut container: Container,
    result: &Result<Exit, EngineError>,
    options: &RunOptions,
    leftovers: &mut Vec<StoreError>,
) {
    let stage = stage!(span::CONTAINER_REMOVE, in stage);
    // One that never ran is not worth keeping.
    let done = match result {
        Ok(exit) if options.keep => {
            container.state.exited = Some((exit.code(), unix_now()));
            container.save()
        }
        _ => container.remove(),
    };
    if let Err(e) = stage.end(done) {
        leftovers.push(e);
    }
}
