//! What a run is called above every report, and the errors that stand below it.

use super::rows::Row;
use super::{Style, text};
use crate::analyze::Analysis;
use crate::names::{attr, span};
use crate::record::model::{Span, Status};

/// The image as people type it: without `docker.io/library/` and `:latest`.
pub(crate) fn image(root: &Span, style: &Style) -> String {
    let Some(name) = root.attributes.str(attr::CONTAINER_IMAGE_NAME) else { return String::new() };
    let short = familiar(name);
    let tag = match root.attributes.get(attr::CONTAINER_IMAGE_TAGS) {
        Some(crate::record::model::Value::Array(tags)) => match tags.first() {
            Some(crate::record::model::Value::Str(tag)) if tag != "latest" => format!(":{tag}"),
            _ => String::new(),
        },
        _ => String::new(),
    };
    style.clean(&format!("{short}{tag}")).into_owned()
}

/// `docker.io/library/x` is `x`, `docker.io/a/x` is `a/x`; other hosts stay.
pub(crate) fn familiar(name: &str) -> &str {
    match name.strip_prefix("docker.io/") {
        Some(rest) => rest.strip_prefix("library/").unwrap_or(rest),
        None => name,
    }
}

/// The messages that no row shows in full, each once, with the deepest span that has it.
pub(crate) fn errors(analysis: &Analysis<'_>, rows: &[Row], detail: usize, style: &Style) -> Vec<String> {
    const AT_MOST: usize = 3;
    let tree = &analysis.tree;
    let shown: Vec<&str> = rows.iter().map(|r| r.error.as_str()).filter(|e| text::width(e) <= detail).collect();
    let mut out: Vec<(String, String)> = Vec::new();
    for node in tree.bottom_up() {
        let Status::Error(message) = &tree.span(node).status else { continue };
        let message = style.clean(message).into_owned();
        // A try that failed under a stage that went well in the end is told in that stage's row.
        let went_well = tree.parent(node).is_some_and(|p| !tree.span(p).status.is_error());
        if message.is_empty()
            || went_well
            || shown.contains(&message.as_str())
            || out.iter().any(|(_, m)| *m == message)
        {
            continue;
        }
        out.push((style.clean(&tree.span(node).name).into_owned(), message));
        if out.len() == AT_MOST {
            break;
        }
    }
    out.into_iter().map(|(name, message)| format!("{name}: {message}")).collect()
}

/// Whether the root is one of ours rather than of a foreign trace.
pub(crate) fn is_ours(root: &Span) -> bool {
    root.name == span::RUN || root.name == span::PULL
}
