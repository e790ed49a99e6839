//! A run, or two side by side, as one page that needs nothing else: no network, no other file.
//!
//! The page is `view.css`, `view.js` and the runs as JSON ([`data`]). Names, labels and messages may come from
//! strangers: they stand only inside that JSON, where `<`, `>` and `&` are written as `\u003c` and so on, and the
//! script puts them on the page as text, never as markup. A content security policy allows this one script and nothing
//! from elsewhere.

mod data;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::picture::Scene;
use super::picture::svg;
use super::picture::timeline::words;
use crate::analyze::Analysis;
use crate::record::model::Trace;

const CSS: &str = include_str!("view.css");
const SCRIPTS: [&str; 5] = [
    include_str!("model.js"),
    include_str!("format.js"),
    include_str!("draw.js"),
    include_str!("look.js"),
    include_str!("view.js"),
];
const BODY: &str = include_str!("body.html");

/// The page of one run.
pub fn run(trace: &Trace, analysis: &Analysis<'_>) -> String {
    page(&[(trace, analysis)], words(trace, analysis).0, None)
}

/// The page of one or two runs side by side, below a picture that is shown as it is.
pub fn side_by_side(runs: &[(&Trace, &Analysis<'_>)], charts: &Scene) -> String {
    page(runs, charts.title.clone(), Some(charts))
}

fn page(runs: &[(&Trace, &Analysis<'_>)], title: String, chart: Option<&Scene>) -> String {
    let heading = svg::escape(&title);
    // The picture shows its title itself.
    let hidden = if chart.is_some() { " class=\"hidden\"" } else { "" };
    let data = data::page(runs, title);
    // Every key is text and every number finite.
    let json = in_script(&serde_json::to_string(&data).expect("columns are always JSON"));
    let script = SCRIPTS.concat();
    let hash = BASE64_STANDARD.encode(Sha256::digest(script.as_bytes()));
    let (light, dark) = (svg::variables(false), svg::variables(true));
    // A picture in the page follows the page.
    let inherit: String = svg::variable_names().map(|name| format!("{name}:inherit;")).collect();

    let mut out = String::with_capacity(json.len() + script.len() + CSS.len() + 16_384);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'sha256-{hash}'; \
         style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{heading}</title>\n<style>\n:root{{{light}}}\n\
         @media (prefers-color-scheme:dark){{:root:not([data-theme]){{{dark}}}}}\n:root[data-theme=dark]{{{dark}}}\n\
         :root[data-paper][data-paper]{{{light}}}\n@media print{{:root:root:root{{{light}}}}}\n\
         :root .trace{{{inherit}}}\n{CSS}</style>\n</head>\n<body>\n\
         <h1{hidden}>{heading}</h1>\n"
    );
    if let Some(chart) = chart {
        let _ = writeln!(out, "<figure>{}</figure>", svg::svg(chart));
    }
    out.push_str(BODY);
    let _ = write!(
        out,
        "<script type=\"application/json\" id=\"data\">{json}</script>\n<script>{script}</script>\n</body>\n</html>\n"
    );
    out
}

/// JSON that can stand in a script element: nothing in it ends the element or a line of script.
fn in_script(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 32);
    let mut done = 0;
    // All five can only stand inside strings.
    for (at, c) in json.match_indices(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        out.push_str(&json[done..at]);
        let code = c.chars().next().map_or(0, u32::from);
        let _ = write!(out, "\\u{code:04x}");
        done = at + c.len();
    }
    out.push_str(&json[done..]);
    out
}
