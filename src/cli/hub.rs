//! `trace hub serve`.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Done;
use super::output::say;
use crate::container::signals::Signals;
use crate::hub::{self, Hub};
use crate::report::units;

/// Serves until Ctrl-C.
pub fn serve(listen: SocketAddr, quiet: bool) -> Done {
    let mut signals = Signals::block().map_err(super::run::signals_failed)?;
    let observer: Option<hub::Observer> = (!quiet).then(|| {
        Arc::new(|access: &hub::Access| {
            say(&format!("{} {} {} {}", access.status, access.method, access.path, units::bytes(access.bytes)));
        }) as hub::Observer
    });
    let hub = Hub::with(listen, hub::Options { observer, ..hub::Options::default() })?;
    say(&format!("The built-in hub listens on {}. It has:", hub.addr()));
    for entry in hub::catalogue() {
        say(&format!("  {}/{:24} {}", hub.addr(), entry.example, entry.description));
    }
    say("Ctrl-C ends it.");
    signals.wait();
    drop(hub);
    Ok(0)
}
