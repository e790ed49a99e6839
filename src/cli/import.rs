//! `trace import`: traces of other programs become recorded runs.

use std::io::Read as _;
use std::path::Path;

use super::output::{clean, fail, print, say};
use super::{CliError, Done, args, remote};
use crate::error::Failure;
use crate::formats::read;
use crate::import::{self, ImportSummary, Imported};
use crate::record::file::{self, MAX_FILE};
use crate::report::units::count;
use crate::store::Store;

/// `trace import`. Files that can be read are taken in also if another one cannot.
pub fn import(args: &args::Import) -> Done {
    if args.remote.is_given() {
        return remote::import(args);
    }
    args.remote.unused()?;
    let store = Store::open(&Store::default_root()?)?;
    let mut code = 0;
    for path in &args.files {
        match traces(path) {
            Ok(contents) => {
                let mut summary = ImportSummary::default();
                super::show::remark(&contents, path);
                for trace in contents.traces {
                    let imported = import::import(&store, trace, args.keep_names)?;
                    if args.json {
                        print(format!("{}\n", json(&imported, path)));
                    }
                    summary.add(&imported);
                }
                say(&clean(&sentence(&summary, &path.display().to_string())));
            }
            Err(error) => {
                fail(error.as_ref(), false);
                code = error.exit_code();
            }
        }
    }
    Ok(code)
}

fn traces(path: &Path) -> Result<read::Contents, Box<dyn Failure>> {
    if path.as_os_str() != "-" {
        return Ok(read::salvage(path)?);
    }
    let name = Path::new("<stdin>");
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|source| CliError::File {
        action: "read",
        path: name.display().to_string(),
        source,
    })?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(file::FileError::TooLarge { path: name.to_owned() }.into());
    }
    Ok(read::salvage_bytes(&bytes, name)?)
}

fn json(imported: &Imported, path: &Path) -> serde_json::Value {
    serde_json::json!({
        "trace_id": imported.id.to_string(),
        "file": path.display().to_string(),
        "result": match (imported.added, imported.known) {
            (0, _) => "known",
            (_, true) => "merged",
            _ => "new",
        },
        "spans": imported.spans(),
        "spans_added": imported.added,
        "spans_renamed": imported.renamed,
        "root": imported.root,
        "services": imported.services,
    })
}

/// What came in; `from` names where it came from.
fn sentence(summary: &ImportSummary, from: &str) -> String {
    const NAMED: usize = 6;
    let mut services: Vec<_> = summary.services.iter().collect();
    services.sort_by_key(|(name, spans)| (std::cmp::Reverse(**spans), *name));
    let mut who: Vec<String> = services.iter().take(NAMED).map(|(name, spans)| format!("`{name}` ({spans})")).collect();
    if services.len() > NAMED {
        who.push(format!("{} more", services.len() - NAMED));
    }
    let mut out = format!(
        "Imported {} with {} from `{from}`: {}",
        count(summary.traces() as u64, "trace"),
        count(summary.spans as u64, "span"),
        who.join(", ")
    );
    if summary.known > 0 {
        out.push_str(&format!("; {} there already", summary.known));
    }
    if summary.completed > 0 {
        out.push_str(&format!("; {} got the spans that were missing", summary.completed));
    }
    if summary.spans_renamed > 0 {
        out.push_str(&format!("; {} brought onto trace's names", count(summary.spans_renamed as u64, "span")));
    }
    if let (1, Some(id)) = (summary.traces(), summary.first) {
        out.push_str(&format!("; `trace show {}`", id.short()));
    }
    out
}
