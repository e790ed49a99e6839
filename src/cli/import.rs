//! `trace import`: traces of other programs and machines into the store.

use std::path::Path;

use super::output::{print, say};
use super::{CliError, Done, args, live};
use crate::record::file;
use crate::report::units::count;
use crate::store::Store;

/// `trace import`.
pub fn import(args: &args::Import) -> Done {
    if args.live.is_given() {
        return live::import(args);
    }
    args.live.unused()?;
    if args.files.is_empty() {
        return Err(CliError::Usage("what to import is missing: `trace import FILE` or `--jaeger URL`".into()).into());
    }
    let store = Store::open(&Store::default_root()?)?;
    let mut traces = 0;
    for path in &args.files {
        for trace in file::read(Path::new(path))? {
            store.keep_trace(trace.id, &(file::to_line(&trace) + "\n"))?;
            traces += 1;
        }
    }
    if args.json {
        print(format!("{}\n", serde_json::json!({ "imported": traces })));
    } else {
        say(&format!("imported {}", count(traces, "trace")));
    }
    Ok(0)
}
