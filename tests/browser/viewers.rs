//! What `trace export --format chrome` writes, loaded by the viewer of `chrome://tracing` (catapult's
//! `trace_viewer_full.html`, which Go carries for `go tool trace`) in a real Chromium. Chromium's own page with that
//! viewer is gone from current versions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::common::server::{Server, ok, status};
use super::{common, driver::Browser, recorded};

/// The directory with the viewer, in Go's sources.
fn viewer() -> Option<PathBuf> {
    let go = common::find("go").or_else(|| Some(PathBuf::from("/usr/local/go/bin/go")).filter(|p| p.exists()))?;
    let root = String::from_utf8(Command::new(go).args(["env", "GOROOT"]).output().ok()?.stdout).ok()?;
    let dir = Path::new(root.trim()).join("src/internal/trace/traceviewer/static");
    dir.join("trace_viewer_full.html").exists().then_some(dir)
}

const PAGE: &str =
    "<!DOCTYPE html><script src='webcomponents.min.js'></script><link rel='import' href='trace_viewer_full.html'>";

/// Imports the trace; gives warnings, slices and the number of arrows.
const IMPORT: &str = "
    const model = new tr.Model();
    new tr.importer.Import(model, new tr.importer.ImportOptions()).importTraces([JSON.stringify(DATA)]);
    const slices = [];
    for (const process of Object.values(model.processes))
        for (const thread of Object.values(process.threads))
            for (const s of thread.sliceGroup.slices)
                if (s.args.spanId)
                    slices.push([s.args.spanId, s.title, s.start * 1e6, s.duration * 1e6, s.parentSlice ? s.parentSlice.args.spanId : null]);
    return {warnings: model.importWarnings.map(w => w.message), slices, arrows: model.flowEvents.length};";

#[test]
fn chrome_trace_events_load_in_their_viewer_with_the_same_durations() {
    let Some(dir) = viewer() else {
        common::skipped("this needs catapult's trace viewer: Go 1.22 or newer with its sources");
        return;
    };
    let Some(browser) = Browser::start() else { return };
    let server = Server::in_background(move |seen| match seen.target.as_str() {
        "/" => ok("text/html", PAGE),
        target @ ("/webcomponents.min.js" | "/trace_viewer_full.html") => {
            let kind = if target.ends_with("js") { "text/javascript" } else { "text/html" };
            ok(kind, std::fs::read(dir.join(&target[1..])).expect("a file of Go's"))
        }
        _ => status(404),
    });
    let away = tempfile::tempdir().expect("a directory");
    let start = away.path().join("start.html");
    std::fs::write(&start, format!("<script>location.replace('http://{}/')</script>", server.address)).expect("a page");
    browser.open(&start, "");
    browser.until("typeof tr === 'object' && tr.Model && tr.importer && tr.importer.ImportOptions");
    for name in ["cold-12-layers", "warm-hello-world"] {
        let out = away.path().join("run.chrome.json");
        let done =
            Command::new(env!("CARGO_BIN_EXE_trace")).arg("export").arg(recorded(name)).arg("-o").arg(&out).status();
        assert!(done.expect("trace starts").success());
        let data = std::fs::read_to_string(&out).expect("an export");
        let loaded = browser.eval(&IMPORT.replace("DATA", &data));
        assert_eq!(loaded["warnings"], serde_json::json!([]));
        let trace = trace_run::record::file::read(&recorded(name)).expect("a trace").remove(0);
        let zero = trace.spans.iter().map(|s| s.start).min().expect("a span");
        let spans: HashMap<String, _> = trace.spans.iter().map(|s| (s.id.to_string(), s)).collect();
        let slices = loaded["slices"].as_array().expect("slices");
        assert_eq!(slices.len(), spans.len());
        for slice in slices {
            let span = spans[slice[0].as_str().expect("an id")];
            assert_eq!(slice[1].as_str(), Some(span.name.as_ref()));
            let times = [&slice[2], &slice[3]].map(|v| v.as_f64().expect("a number").round() as u64);
            assert_eq!(times, [span.start - zero, span.duration()], "{}", span.name);
            // What it lies in, in its lane, is its parent.
            if let Some(above) = slice[4].as_str() {
                assert_eq!(span.parent.map(|p| p.to_string()).as_deref(), Some(above), "{}", span.name);
            }
        }
        // Streaming stages wait for each other all the time: of these the later one may end first, and no arrow points
        // back.
        let ended = |s: &trace_run::record::model::Span, id| trace.span(id).is_some_and(|other| other.end <= s.end);
        let waits: usize = trace.spans.iter().map(|s| s.waits_for().filter(|id| ended(s, *id)).count()).sum();
        assert_eq!(loaded["arrows"].as_u64(), Some(waits as u64));
    }
}
