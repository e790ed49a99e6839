//! What the user may write to mean recorded runs: files, `last~N`, kinds, images, attributes.

use std::path::Path;

use super::Found;
use crate::backend::find::Selector;
use crate::cli::CliError;
use crate::names::attr;
use crate::registry::ImageRef;

/// Whether the user wrote a path: it is there, has the ending of a trace file, or has a slash and no kind before it.
/// `-` is standard input.
pub fn looks_like_a_file(what: &str) -> bool {
    if what == "-" || Path::new(what).exists() {
        return true;
    }
    let of_a_kind = what.split_once(':').is_some_and(|(kind, _)| is_kind(kind));
    !of_a_kind && (what.starts_with(['/', '.']) || what.ends_with(".json") || what.ends_with(".jsonl"))
}

/// The path that a word means, see [`looks_like_a_file`].
pub fn file_of(what: &str) -> &Path {
    Path::new(if what == "-" { "/dev/stdin" } else { what })
}

/// `last` is 0, `last~3` is 3.
pub fn last(what: &str) -> Option<usize> {
    match what.strip_prefix("last")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

fn is_kind(word: &str) -> bool {
    matches!(word, "cold" | "warm" | "partial")
}

/// `cold`, `warm:IMAGE` and so on: the kind and the image.
pub fn kind(what: &str) -> Found<Option<(&str, Option<Wanted>)>> {
    let (kind, image) = what.split_once(':').map_or((what, None), |(k, i)| (k, Some(i)));
    if !is_kind(kind) {
        return Ok(None);
    }
    Ok(Some((kind, image.map(Wanted::parse).transpose()?)))
}

/// An image as the user names it: `hello-world`, `localhost:5000/team/app:v1`, or the end of a longer name, `app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As it was typed, without tag and digest.
    pub(super) typed: String,
    /// The full name.
    pub(super) name: String,
    tag: Option<String>,
}

impl Wanted {
    pub fn parse(typed: &str) -> Found<Self> {
        let image = ImageRef::parse(typed)?;
        let last = typed.rsplit('/').next().unwrap_or_default();
        let tag = last.contains(':').then(|| image.tag().map(str::to_owned)).flatten();
        let path = typed.len() - last.len() + last.find([':', '@']).unwrap_or(last.len());
        Ok(Wanted { typed: typed[..path].to_owned(), name: image.name(), tag })
    }

    /// Whether a run of that image (name without tag) and tag is meant.
    pub fn is(&self, image: Option<&str>, tag: Option<&str>) -> bool {
        let Some(image) = image else { return false };
        let ends = || image.strip_suffix(self.typed.as_str()).is_some_and(|before| before.ends_with('/'));
        (image == self.name || ends()) && (self.tag.is_none() || tag.is_none() || self.tag.as_deref() == tag)
    }
}

/// `service=a,trace.run.kind=cold`: runs by attributes, all of which a span must have; `service` and `operation` are
/// the names of the service and of the span. `None` for words of another sort.
pub fn selector(words: &str) -> Found<Option<Selector>> {
    let all = || words.split(',').map(str::trim).filter(|w| !w.is_empty());
    let pair = |w: &str| w.split_once('=').filter(|(k, _)| !k.is_empty() && !k.contains('/')).is_some();
    if !all().any(pair) || Path::new(words).exists() {
        return Ok(None);
    }
    let mut out = Selector::default();
    for word in all() {
        let Some((key, value)) = word.split_once('=').filter(|_| pair(word)) else {
            return Err(CliError::Usage(format!(
                "`{words}` mixes attributes and names of runs: expected `KEY=VALUE,…` or, with a comma between, what else a group can be"
            ))
            .into());
        };
        match key {
            "service" | attr::SERVICE_NAME => out.service = Some(value.to_owned()),
            "operation" => out.operation = Some(value.to_owned()),
            _ => out.tags.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!((last("last"), last("last~3"), last("lastly"), last("last~x")), (Some(0), Some(3), None, None));
        let (_, image) = kind("warm:hello-world").unwrap().unwrap();
        assert!(image.unwrap().is(Some("docker.io/library/hello-world"), Some("latest")));
        assert_eq!(kind("cold").unwrap(), Some(("cold", None)));
        assert_eq!(kind("abc:def").unwrap(), None);
        assert!(kind("cold:UPPER").is_err());
        assert!(!looks_like_a_file("cold:localhost:5000/team/app") && !looks_like_a_file("team/app"));
        assert!(looks_like_a_file("-") && looks_like_a_file("./x") && looks_like_a_file("x.jsonl"));
    }

    #[test]
    fn images_are_known_by_the_end_of_their_names() {
        let is = |typed: &str, image: &str, tag| Wanted::parse(typed).unwrap().is(Some(image), tag);
        for typed in ["app", "team/app", "localhost:5000/team/app", "app:v1"] {
            assert!(is(typed, "localhost:5000/team/app", Some("v1")), "{typed}");
        }
        assert!(
            is("alpine", "docker.io/library/alpine", None) && is("docker.io/alpine", "docker.io/library/alpine", None)
        );
        for typed in ["pp", "steam/app", "other:5000/team/app", "app:v2"] {
            assert!(!is(typed, "localhost:5000/team/app", Some("v1")), "{typed}");
        }
    }
}
