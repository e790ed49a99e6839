//! Who asks: what `docker login` and `podman login` left behind.
//!
//! In this order, as docker and podman look: `DOCKER_AUTH_CONFIG` (the text of a `config.json`), `REGISTRY_AUTH_FILE`,
//! docker's `config.json`, podman's `auth.json`. All of them are read only when a registry asks who we are. A file that
//! cannot be read is no reason to fail where everybody may pull; if the registry then refuses, the error tells.

mod file;
mod helper;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

pub use file::{Edit, forget, remember};

use super::reference::{DOCKER_HUB, ImageRef};

/// What somebody logged in with.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User name and password.
    Password {
        /// The user.
        user: String,
        /// The password, or a token in its place.
        password: String,
    },
    /// A token that token servers take for a password (`identitytoken`).
    Identity(String),
    /// A token for the registry itself (`registrytoken`).
    Bearer(String),
}

impl Login {
    /// What must never be shown.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let (Login::Password { password: secret, .. } | Login::Identity(secret) | Login::Bearer(secret)) = self;
        std::iter::once(secret.as_str())
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// Somebody who says so here, whatever the registry.
    Given(Login),
    /// Whoever logged in to the registry before.
    Stored(Places),
}

/// Where logins are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// The text of a `config.json`.
    pub text: Option<String>,
    /// Files, in the order in which they are looked into.
    pub files: Vec<PathBuf>,
    /// docker's `config.json`, where a login is written to.
    pub docker: Option<PathBuf>,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.files).finish()
    }
}

impl Places {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let env = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let path = |name: &str| env(name).map(PathBuf::from);
        let home = path("HOME");
        let docker = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|h| h.join(".docker")));
        let docker = docker.map(|d| d.join("config.json"));
        let mut files = Vec::new();
        files.extend(path("REGISTRY_AUTH_FILE"));
        files.extend(docker.clone());
        match path("XDG_RUNTIME_DIR") {
            Some(dir) => files.push(dir.join("containers/auth.json")),
            None => files.push(format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into()),
        }
        let config = path("XDG_CONFIG_HOME").or_else(|| home.map(|h| h.join(".config")));
        files.extend(config.map(|c| c.join("containers/auth.json")));
        Places { text: std::env::var("DOCKER_AUTH_CONFIG").ok(), files, docker }
    }

    /// The login for a repository. The second value says what could not be used on the way.
    fn find(&self, registry: &str, repository: &str) -> (Option<Login>, Option<String>) {
        let mut problem = None;
        let mut look = |known: Result<Option<file::Known>, String>| {
            let found = known.and_then(|known| known.map_or(Ok(None), |k| k.login(registry, repository)));
            found.unwrap_or_else(|why| {
                problem.get_or_insert(why);
                None
            })
        };
        let login =
            self.text.as_ref().and_then(|text| look(file::parse("DOCKER_AUTH_CONFIG", text.as_bytes()).map(Some)));
        let login = login.or_else(|| self.files.iter().find_map(|path| look(file::read(path))));
        (login, problem)
    }
}

/// What was found, by registry and repository; each is looked for once.
#[derive(Default)]
pub(super) struct Logins {
    found: Mutex<HashMap<(String, String), Option<Login>>>,
    problem: Arc<Mutex<Option<String>>>,
}

impl Logins {
    /// Whoever is logged in for this image. The error is a sentence's end.
    pub(super) async fn of(&self, credentials: &Credentials, image: &ImageRef) -> Result<Option<Login>, String> {
        let places = match credentials {
            Credentials::Anonymous => return Ok(None),
            Credentials::Given(login) => return Ok(Some(login.clone())),
            Credentials::Stored(places) => places.clone(),
        };
        let key = (image.registry().to_owned(), image.repository().to_owned());
        if let Some(found) = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let (registry, repository) = key.clone();
        // Programs may be started, and wait for their user.
        let looked = tokio::task::spawn_blocking(move || places.find(&registry, &repository)).await;
        let (login, problem) = looked.map_err(|e| format!("looking for a login failed ({e})"))?;
        if let Some(problem) = problem {
            self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
        }
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, login.clone());
        Ok(login)
    }

    /// What could not be used, for an error that may come of it.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The name by which docker keeps a registry's login.
pub fn key_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// docker's own registry has had this key since there was one.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
