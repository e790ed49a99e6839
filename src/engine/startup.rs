//! What happens before the image is looked up (`startup`): the rights that a container needs (`userns.enter`), the
//! store, and what killed processes left in it.

use super::EngineError;
use crate::container::privilege::Privilege;
use crate::container::{ContainerError, cgroup};
use crate::names::span;
use crate::record::{Mono, Stage};
use crate::stage;
use crate::store::{Durability, Maker, Store};

/// What every command of the engine starts with.
pub struct Startup {
    /// The store, opened.
    pub store: Store,
    /// What this host lets us do; `None` runs programs without a container.
    pub privilege: Option<Privilege>,
    /// Why it lets us do nothing, if that was not our wish.
    pub denied: Option<ContainerError>,
}

/// Enters a user namespace if need be, opens the store and removes what killed processes left there, under a stage that
/// began when the program did. The place of the store is settled first: in a user namespace of our own we would seem to
/// be root. `plain` asks for no rights. Being denied them is no error: an image of the built-in hub can still run.
///
/// Must run before any thread is started, see [`Privilege::acquire`].
pub fn startup(root: &Stage, started: Mono, plain: bool, durability: Durability) -> Result<Startup, EngineError> {
    let stage = stage!(span::STARTUP, in root);
    stage.began(started);
    let place = Store::default_root()?;
    let (privilege, denied) = match Privilege::held() {
        _ if plain => (None, None),
        Some(held) => (Some(held), None),
        None => {
            let enter = stage!(span::USERNS_ENTER, in &stage);
            match enter.end(Privilege::acquire()) {
                Ok(privilege) => (Some(privilege), None),
                Err(e) => (None, Some(e)),
            }
        }
    };
    let mut store = stage.clone().end(Store::open(&place))?.durability(durability);
    if let Some(privilege) = &privilege {
        store = store.used_as(match privilege {
            Privilege { initial_user_namespace: true, .. } => Maker::Root,
            Privilege { many_ids: true, .. } => Maker::User,
            Privilege { .. } => Maker::SingleId,
        });
    }
    clean_up(&store, privilege.as_ref());
    Ok(Startup { store, privilege, denied })
}

/// Removes what killed processes left behind.
pub fn clean_up(store: &Store, privilege: Option<&Privilege>) {
    let privileged = privilege.is_some_and(|p| p.initial_user_namespace);
    store.clean_up(&mut |state| cgroup::remove_leftovers(&state.id, privileged));
}
