//! From a request path to what it asks for (OCI distribution specification, "Endpoints").
//!
//! Nothing here touches a file: a repository and a reference are only ever compared with the names the hub knows, so
//! a path like `..` has nowhere to lead.

use crate::digest::Digest;

/// What a path asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`: is this a registry?
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(String),
    /// `/v2/<name>/manifests/<tag or digest>`
    Manifest(String, String),
    /// `/v2/<name>/blobs/<digest>`
    Blob(String, Digest),
    /// `/v2/<name>/blobs/uploads/…`
    Upload,
    /// The repository name breaks the grammar.
    BadName,
    /// `/v2/<name>/blobs/` with something that is no digest.
    BadDigest,
    /// None of the above.
    Unknown,
}

impl Route {
    pub(super) fn parse(path: &str) -> Route {
        let Some(rest) = path.strip_prefix("/v2") else {
            return Route::Unknown;
        };
        let Some(rest) = rest.strip_prefix('/').or(rest.is_empty().then_some("")) else {
            return Route::Unknown;
        };
        // Longer than any name and reference that the grammar lets through.
        if rest.len() > 1024 {
            return if rest.contains('/') { Route::BadName } else { Route::Unknown };
        }
        let Some(parts) = rest.split('/').map(decode).collect::<Option<Vec<String>>>() else {
            return Route::BadName;
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (name, asked) = match &parts[..] {
            [""] => return Route::Base,
            ["_catalog"] => return Route::Catalog,
            [name @ .., "manifests", reference] => (name, Route::Manifest(name.join("/"), (*reference).to_owned())),
            [name @ .., "tags", "list"] => (name, Route::Tags(name.join("/"))),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", _] => (name, Route::Upload),
            [name @ .., "blobs", digest] => {
                let route = Digest::parse(digest).map(|digest| Route::Blob(name.join("/"), digest));
                (name, route.unwrap_or(Route::BadDigest))
            }
            _ => return Route::Unknown,
        };
        if is_name(name) { asked } else { Route::BadName }
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` for each part, 255 bytes together.
fn is_name(parts: &[&str]) -> bool {
    let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
    (2..=256).contains(&length) && parts.iter().all(|part| is_component(part))
}

fn is_component(part: &str) -> bool {
    let alnum = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators_fit = part
        .split(|c: char| alnum(u8::try_from(c).unwrap_or(0)))
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|c| c == b'-'));
    let ends = [part.bytes().next(), part.bytes().next_back()];
    separators_fit && ends.iter().all(|end| end.is_some_and(alnum))
}

/// Undoes percent-encoding; `None` if it is broken or does not give UTF-8. An encoded slash stays inside its part,
/// where the grammar of names refuses it.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|c| char::from(c).to_digit(16));
            let value = digit()? << 4 | digit()?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let digest = Digest::of(b"");
        let manifest = |name: &str, reference: &str| Route::Manifest(name.to_owned(), reference.to_owned());
        for (path, expected) in [
            ("/v2", Route::Base),
            ("/v2/", Route::Base),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/a/tags/list", Route::Tags("a".to_owned())),
            ("/v2/library/hello-world/manifests/latest", manifest("library/hello-world", "latest")),
            ("/v2/manifests/manifests/manifests", manifest("manifests", "manifests")),
            ("/v2/a/b/c/manifests/x%3Ay", manifest("a/b/c", "x:y")),
            (&format!("/v2/a/blobs/sha256:{hex}"), Route::Blob("a".to_owned(), digest)),
            (&format!("/v2/a/blobs/sha256%3a{hex}"), Route::Blob("a".to_owned(), digest)),
            ("/v2/a/blobs/uploads/", Route::Upload),
            ("/v2/a/blobs/uploads/some-id", Route::Upload),
            ("/v2/a/blobs/sha256:..", Route::BadDigest),
            ("/v2/a/blobs/..%2f..%2fetc%2fpasswd", Route::BadDigest),
            ("/v2/../manifests/latest", Route::BadName),
            ("/v2//manifests/latest", Route::BadName),
            ("/v2/manifests/latest", Route::BadName),
            ("/v2/a//b/manifests/latest", Route::BadName),
            ("/v2/a%2Fb/manifests/latest", Route::BadName),
            ("/v2/A/manifests/latest", Route::BadName),
            ("/v2/a%ff/manifests/latest", Route::BadName),
            ("/v2/a%2/manifests/latest", Route::BadName),
            ("/v2/a%zz/manifests/latest", Route::BadName),
            ("/v2/-a/manifests/latest", Route::BadName),
            ("/v2/a___b/manifests/latest", Route::BadName),
            ("/v2/a..b/manifests/latest", Route::BadName),
            ("/v2/é/manifests/latest", Route::BadName),
            ("/v2/a__b/c--d.e/tags/list", Route::Tags("a__b/c--d.e".to_owned())),
            ("/", Route::Unknown),
            ("", Route::Unknown),
            ("*", Route::Unknown),
            ("/v22", Route::Unknown),
            ("/v1/", Route::Unknown),
            ("/v2/a", Route::Unknown),
            ("/etc/passwd", Route::Unknown),
            ("/v2/../../etc/passwd", Route::Unknown),
        ] {
            assert_eq!(Route::parse(path), expected, "{path}");
        }
        assert_eq!(Route::parse(&format!("/v2/{}/tags/list", "a".repeat(255))), Route::Tags("a".repeat(255)));
        assert_eq!(Route::parse(&format!("/v2/{}/tags/list", "a".repeat(256))), Route::BadName);
        assert_eq!(Route::parse(&format!("/v2/{}tags/list", "a/".repeat(100_000))), Route::BadName);
    }
}
