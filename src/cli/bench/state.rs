//! The file that a bench keeps while it runs: `bench/<id>.json`, the same as its JSON result without the summary.

use crate::analyze::bench::{Bench, Machine, Plan, SCHEMA};
use crate::cli::CliError;
use crate::error::Failure;
use crate::record::clock::unix_now;
use crate::store::lock::Lock;
use crate::store::{Store, StoreError};

/// One that has measured nothing yet.
pub fn new(plan: Plan) -> Bench {
    let uname = rustix::system::uname();
    let text = |c: &std::ffi::CStr| c.to_string_lossy().into_owned();
    Bench {
        schema: SCHEMA.to_owned(),
        id: crate::store::new_id()[..32].to_owned(),
        started_unix_ns: unix_now(),
        finished: false,
        plan,
        machine: Machine {
            host: text(uname.nodename()),
            arch: crate::cli::recording::host_arch().to_owned(),
            kernel: text(uname.release()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        engines: Vec::new(),
        skipped: Vec::new(),
        runs: Vec::new(),
    }
}

/// Writes it whole.
pub fn save(store: &Store, bench: &Bench) -> Result<(), StoreError> {
    let dir = store.path("bench");
    std::fs::create_dir_all(&dir).map_err(|e| StoreError::file("create", &dir, e))?;
    // Writing to memory cannot fail, and every map key is text.
    let text = serde_json::to_vec(bench).expect("a bench is always JSON");
    store.write(&dir.join(format!("{}.json", bench.id)), &text)
}

/// Nobody else goes on with it meanwhile.
pub fn lock(store: &Store, id: &str) -> Result<Lock, Box<dyn Failure>> {
    let lock = Lock::try_exclusive(&store.path(format!("locks/bench-{id}")))?;
    Ok(lock.ok_or_else(|| CliError::Usage(format!("another process is running bench `{id}`")))?)
}

/// All that can be read, newest first.
pub fn all(store: &Store) -> Vec<Bench> {
    let files = std::fs::read_dir(store.path("bench")).into_iter().flatten().flatten();
    let read = |path: &std::path::Path| serde_json::from_slice::<Bench>(&std::fs::read(path).ok()?).ok();
    let mut all: Vec<Bench> = files.filter_map(|f| read(&f.path())).filter(|b| b.schema == SCHEMA).collect();
    all.sort_by_key(|b| std::cmp::Reverse(b.started_unix_ns));
    all
}

/// The newest that was asked for the same on this machine by this version, and is not finished.
pub fn unfinished(store: &Store, plan: &Plan) -> Option<Bench> {
    let machine = new(plan.clone()).machine;
    all(store).into_iter().find(|b| !b.finished && b.plan == *plan && b.machine == machine && b.id.len() == 32)
}
