//! docker's `config.json` and podman's `auth.json`: the same form, read leniently, edited without touching what else is
//! in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustix::fs::FlockOperation;
use serde_json::{Map, Value};

use super::helper::{self, Helper};
use super::{Login, key_of};
use crate::json::{self, object};
use crate::registry::reference::DOCKER_HUB;

/// More than this is no file of logins.
const FILE_MAX: u64 = 4 << 20;

object! {
    struct Document {
        auths: BTreeMap<String, Entry> = "auths",
        helpers: BTreeMap<String, String> = "credHelpers",
        store: String = "credsStore",
    }
}

object! {
    #[derive(Clone)]
    struct Entry {
        auth: String = "auth",
        username: String = "username",
        password: String = "password",
        identity: String = "identitytoken",
        registry: String = "registrytoken",
    }
}

/// What one file says.
pub(super) struct Known {
    document: Document,
    /// For messages.
    name: String,
}

/// Reads a file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Known>, String> {
    let name = path.display().to_string();
    let fail = |e: io::Error| format!("`{name}` cannot be read ({e})");
    match fs::metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(fail(e)),
        Ok(seen) if seen.len() > FILE_MAX || !seen.is_file() => {
            return Err(format!("`{name}` is no file of logins"));
        }
        Ok(_) => {}
    }
    parse(&name, &fs::read(path).map_err(fail)?).map(Some)
}

/// Reads the text of such a file. The error says nothing of what is in it.
pub(super) fn parse(name: &str, text: &[u8]) -> Result<Known, String> {
    let text = if text.iter().all(u8::is_ascii_whitespace) { b"{}" } else { text };
    let document = json::parse(text)
        .map_err(|e| format!("`{name}` is not what docker writes (line {}, column {})", e.line(), e.column()))?;
    Ok(Known { document, name: name.to_owned() })
}

impl Known {
    /// The login for a repository: of the most exact key that fits, as podman has them for parts of a registry.
    pub(super) fn login(&self, registry: &str, repository: &str) -> Result<Option<Login>, String> {
        let document = &self.document;
        let by_host = |key: &&String| normalised(key) == registry;
        let program = document.helpers.iter().find(|(key, _)| by_host(key)).map(|(_, program)| program.as_str());
        let program = program.or((!document.store.is_empty()).then_some(document.store.as_str()));
        if let Some(program) = program.filter(|p| !p.is_empty()) {
            let helper = Helper::new(program)?;
            if let Some(login) = helper.get(key_of(registry))? {
                return Ok(Some(login));
            }
        }
        let full = format!("{registry}/{repository}");
        let fits = |key: &str| full == key || full.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'));
        let keys = document.auths.iter().map(|(key, entry)| (normalised(key), entry));
        let best = keys.filter(|(key, _)| fits(key)).max_by_key(|(key, _)| key.len());
        best.map_or(Ok(None), |(key, entry)| self.decoded(&key, entry))
    }

    fn decoded(&self, key: &str, entry: &Entry) -> Result<Option<Login>, String> {
        if !entry.identity.is_empty() {
            return Ok(Some(Login::Identity(entry.identity.clone())));
        }
        if !entry.registry.is_empty() {
            return Ok(Some(Login::Bearer(entry.registry.clone())));
        }
        if entry.auth.is_empty() {
            let login = Login::Password { user: entry.username.clone(), password: entry.password.clone() };
            return Ok((!entry.username.is_empty()).then_some(login));
        }
        let bytes = STANDARD.decode(&entry.auth).or_else(|_| STANDARD_NO_PAD.decode(&entry.auth)).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = text.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or_else(|| format!("the entry for `{key}` in `{}` is damaged", self.name))?;
        Ok(Some(Login::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
    }
}

/// A key as a registry or a part of one: without the scheme and the version of the API that early clients wrote.
fn normalised(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" | "docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

/// What became of a file of logins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It was written, and holds the password as it is.
    Plain(PathBuf),
    /// A program keeps it.
    Kept,
    /// There was nothing to take away.
    Nothing,
}

/// Writes a login for a registry to docker's file, or hands it to the program that this file names. The error is a
/// sentence.
pub fn remember(path: &Path, registry: &str, login: &Login) -> Result<Edit, String> {
    let key = key_of(registry);
    let known = read(path)?;
    if let Some(helper) = helper_of(known.as_ref(), registry)? {
        helper.store(key, login)?;
        edit(path, |document| {
            let auths = document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
            auths.as_object_mut().map(|auths| auths.insert(key.to_owned(), Value::Object(Map::new())));
        })?;
        return Ok(Edit::Kept);
    }
    let mut entry = Map::new();
    match login {
        Login::Password { user, password } => {
            entry.insert("auth".into(), STANDARD.encode(format!("{user}:{password}")).into());
        }
        Login::Identity(token) => {
            entry.insert("auth".into(), STANDARD.encode("<token>:").into());
            entry.insert("identitytoken".into(), token.as_str().into());
        }
        Login::Bearer(token) => {
            entry.insert("registrytoken".into(), token.as_str().into());
        }
    }
    edit(path, |document| {
        let auths = document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
        if !auths.is_object() {
            *auths = Value::Object(Map::new());
        }
        auths.as_object_mut().map(|auths| auths.insert(key.to_owned(), Value::Object(entry)));
    })?;
    Ok(Edit::Plain(path.to_owned()))
}

/// Takes the login for a registry out of docker's file, and away from the program that this file names.
pub fn forget(path: &Path, registry: &str) -> Result<Edit, String> {
    let known = read(path)?;
    let Some(known) = known else { return Ok(Edit::Nothing) };
    if let Some(helper) = helper_of(Some(&known), registry)? {
        helper.erase(key_of(registry))?;
    }
    let there = known.document.auths.keys().any(|key| normalised(key) == registry);
    if there {
        edit(path, |document| {
            if let Some(auths) = document.get_mut("auths").and_then(Value::as_object_mut) {
                auths.retain(|key, _| normalised(key) != registry);
            }
        })?;
    }
    Ok(if there { Edit::Plain(path.to_owned()) } else { Edit::Nothing })
}

fn helper_of(known: Option<&Known>, registry: &str) -> Result<Option<Helper>, String> {
    let Some(document) = known.map(|k| &k.document) else { return Ok(None) };
    let own = document.helpers.iter().find(|(key, _)| normalised(key) == registry).map(|(_, program)| program);
    match own.unwrap_or(&document.store) {
        program if program.is_empty() => Ok(None),
        program => helper::Helper::new(program).map(Some),
    }
}

/// Changes the file: whoever reads it sees the old one or the new one, and only its owner may.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), String> {
    let fail = |e: io::Error| format!("`{}` cannot be written ({e})", path.display());
    let write = || -> io::Result<()> {
        // A file that is a link elsewhere stays one.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let dir = target.parent().ok_or(io::ErrorKind::NotFound)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = File::open(dir)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        let old = match fs::read(&target) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let mut document = match serde_json::from_slice(&old) {
            Ok(Value::Object(document)) => document,
            _ if old.iter().all(u8::is_ascii_whitespace) => Map::new(),
            _ => return Err(io::Error::other("what is there now is not JSON")),
        };
        change(&mut document);
        let mut text = Vec::new();
        let indented = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, indented);
        serde::Serialize::serialize(&Value::Object(document), &mut serializer)?;
        text.push(b'\n');
        let mut random = [0; 8];
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let draft = dir.join(format!(".config.json.{:016x}", u64::from_ne_bytes(random)));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&draft, &target));
        written.inspect_err(|_| drop(fs::remove_file(&draft)))
    };
    write().map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, registry: &str, repository: &str) -> Option<(String, String)> {
        match parse("x", text.as_bytes()).unwrap().login(registry, repository).unwrap()? {
            Login::Password { user, password } => Some((user, password)),
            Login::Identity(token) => Some(("<identity>".into(), token)),
            Login::Bearer(token) => Some(("<bearer>".into(), token)),
        }
    }

    #[test]
    fn logins_are_found_by_the_most_exact_key() {
        let pair = |user: &str| STANDARD.encode(format!("{user}:pw:1"));
        let (a, b, c) = (pair("a"), pair("b"), pair("c"));
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{a}"}},"r.io":{{"auth":"{b}"}},
                "r.io/team":{{"auth":"{c}"}},"http://old.io/v2/":{{"username":"u","password":"p"}},
                "id.io":{{"auth":"PHRva2VuPjo=","identitytoken":"tok"}},"reg.io":{{"registrytoken":"rt"}},
                "nobody.io":{{}}}}}}"#
        );
        let found = |registry, repository| login(&text, registry, repository).map(|(user, _)| user);
        assert_eq!(login(&text, "docker.io", "library/x"), Some(("a".into(), "pw:1".into())));
        assert_eq!(found("r.io", "other/x").as_deref(), Some("b"));
        assert_eq!(found("r.io", "team/x").as_deref(), Some("c"));
        assert_eq!(found("r.io", "teams/x").as_deref(), Some("b"));
        assert_eq!(login(&text, "old.io", "x"), Some(("u".into(), "p".into())));
        assert_eq!(login(&text, "id.io", "x"), Some(("<identity>".into(), "tok".into())));
        assert_eq!(login(&text, "reg.io", "x"), Some(("<bearer>".into(), "rt".into())));
        for nobody in ["nobody.io", "r.io.evil.com", "r.io:5000", "index.docker.io.evil"] {
            assert_eq!(found(nobody, "x"), None, "{nobody}");
        }
        assert_eq!(login("", "r.io", "x"), None);
        assert_eq!(login(r#"{"Auths":{"r.io":{"AUTH":"YTpiAA=="}}}"#, "r.io", "x"), Some(("a".into(), "b".into())));
    }

    #[test]
    fn damage_is_told_without_what_is_in_it() {
        let error = parse("the file", br#"{"auths":{"r.io":{"auth":"s3cr3t"#).err().unwrap();
        assert!(error.contains("`the file`") && !error.contains("s3cr3t"), "{error}");
        let known = parse("the file", br#"{"auths":{"r.io":{"auth":"s3cr3t!"}}}"#).unwrap();
        let error = known.login("r.io", "x").err().unwrap();
        assert!(error.contains("`r.io` in `the file` is damaged"), "{error}");
    }

    #[test]
    fn a_login_is_written_privately_and_nothing_else_is_touched() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/config.json");
        let me = Login::Password { user: "me".into(), password: "pw".into() };
        assert_eq!(remember(&path, "docker.io", &me), Ok(Edit::Plain(path.clone())));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \"bWU6cHc=\"\n\t\t}\n\t}\n}\n"
        );
        fs::write(&path, r#"{"psFormat":"x","auths":{"a.io":{"auth":"YTpi"}}}"#).unwrap();
        remember(&path, "b.io:5000", &me).unwrap();
        assert_eq!(
            read(&path).unwrap().unwrap().login("a.io", "x").unwrap().unwrap(),
            Login::Password { user: "a".into(), password: "b".into() }
        );
        assert!(fs::read_to_string(&path).unwrap().contains("psFormat"));
        assert_eq!(forget(&path, "c.io"), Ok(Edit::Nothing));
        assert_eq!(forget(&path, "b.io:5000"), Ok(Edit::Plain(path.clone())));
        assert!(!fs::read_to_string(&path).unwrap().contains("b.io"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no drafts");
        fs::write(&path, "{").unwrap();
        assert!(remember(&path, "b.io", &me).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{", "what cannot be read is not overwritten");
    }
}
