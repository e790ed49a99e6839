//! Registries that want to know who asks.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trace_run::error::Failure;
use trace_run::registry::{Credentials, Login, Options};

use super::server::*;
use crate::common::docker_registry::DockerRegistry;
use crate::common::image::Image as Runnable;
use crate::common::lab::{Lab, Running};
use crate::common::{is_root, needs, tree};

/// In no trace, log, error or file.
const CANARY: &str = "canary-pw-7";
/// Of the canary; bcrypt.
const HASH: &str = "$2b$05$abcdefghijklmnopqrstuu84LocgYo3.8WtB/3Y2tZaqfErf4pgse";

fn password() -> Login {
    Login::Password { user: "me".into(), password: "s3cr3t-pw".into() }
}

fn with(login: Login) -> Options {
    Options { credentials: Credentials::Given(login), ..options() }
}

fn challenge(value: String) -> Reply {
    Reply::Http(401, vec![("WWW-Authenticate", value)], b"s3cr3t-pw".to_vec())
}

fn realm(seen: &Seen) -> String {
    format!("Bearer realm=\"http://{}/token\",service=\"s\",scope=\"repository:team/app:pull\"", seen.headers["host"])
}

fn token_of(seen: &Seen) -> &str {
    seen.headers.get("authorization").map_or("", String::as_str)
}

#[tokio::test]
async fn a_password_goes_with_each_request_where_the_registry_wants_it_so() {
    let image = Image::new();
    let basic = format!("Basic {}", STANDARD.encode("me:s3cr3t-pw"));
    let expected = basic.clone();
    let server = Server::start(move |seen| match token_of(seen) == expected {
        true => image.serve(seen),
        false => challenge("Basic realm=\"here\", Negotiate".into()),
    })
    .await;
    let pull = Pull::with(with(password()));
    pull.everything(&server.image("team/app")).await.unwrap();
    assert_eq!(server.seen().iter().filter(|s| token_of(s).is_empty()).count(), 1, "it is asked for once");
    let trace = pull.finish();
    assert_eq!(named(&trace, "registry.auth")[0].attributes.str("trace.auth.scheme"), Some("basic"));
    assert!(!format!("{trace:?}").contains(basic.trim_start_matches("Basic ")));

    let pull = Pull::new();
    let error = pull.everything(&server.image("team/app")).await.unwrap_err();
    assert_eq!(error.kind(), "denied");
    assert!(error.to_string().contains("asks for a user name and password, and nobody is logged in"), "{error}");
    assert_eq!(error.hint(), Some(format!("log in with `trace login {}`", server.address)));
    let pull = Pull::with(with(Login::Password { user: "me".into(), password: "wrong".into() }));
    let error = pull.everything(&server.image("team/app")).await.unwrap_err();
    assert_eq!(error.kind(), "denied");
    assert!(error.hint().unwrap().contains("whether this login may pull it"));
}

/// Answers a form or a question for a token.
fn give_token(seen: &Seen, posts: bool) -> Reply {
    let body = String::from_utf8_lossy(&seen.body).into_owned();
    let good = match seen.method.as_str() {
        "POST" if !posts => return status(404),
        "POST" => {
            body.contains("grant_type=password&username=me&password=s3cr3t-pw")
                || body.contains("grant_type=refresh_token&refresh_token=s3cr3t-identity")
        }
        _ => token_of(seen) == format!("Basic {}", STANDARD.encode("me:s3cr3t-pw")),
    };
    match good {
        true => ok("application/json", r#"{"access_token":"s3cr3t-token"}"#),
        false => status(401),
    }
}

#[tokio::test]
async fn a_token_is_asked_for_by_post_and_else_by_get() {
    for (posts, methods) in [(true, &["POST"][..]), (false, &["POST", "GET"])] {
        let image = Image::new();
        let server = Server::start(move |seen| match () {
            () if seen.target.starts_with("/token") => give_token(seen, posts),
            () if token_of(seen) == "Bearer s3cr3t-token" => image.serve(seen),
            () => challenge(format!("Basic realm=\"x\", {}", realm(seen))),
        })
        .await;
        let pull = Pull::with(with(password()));
        pull.everything(&server.image("team/app")).await.unwrap();
        let asked: Vec<_> = server.seen().into_iter().filter(|s| s.target.starts_with("/token")).collect();
        assert_eq!(asked.iter().map(|s| s.method.as_str()).collect::<Vec<_>>(), methods);
        assert_eq!(asked[0].headers["content-type"], "application/x-www-form-urlencoded");
        if let Some(get) = asked.get(1) {
            assert_eq!(get.target, "/token?account=me&service=s&scope=repository:team/app:pull");
        }
        let trace = pull.finish();
        let auth = named(&trace, "registry.auth");
        assert_eq!(auth.len(), 1);
        assert_eq!(children(&trace, auth[0]).iter().map(|s| &*s.name).collect::<Vec<_>>(), methods);
    }
}

#[tokio::test]
async fn identity_tokens_are_exchanged_and_registry_tokens_used_as_they_are() {
    let image = Image::new();
    let server = Server::start(move |seen| match () {
        () if seen.target.starts_with("/token") => give_token(seen, true),
        () if ["Bearer s3cr3t-token", "Bearer s3cr3t-direct"].contains(&token_of(seen)) => image.serve(seen),
        () => challenge(realm(seen)),
    })
    .await;
    let pull = Pull::with(with(Login::Identity("s3cr3t-identity".into())));
    pull.everything(&server.image("team/app")).await.unwrap();
    pull.finish();
    let before = server.seen().len();
    let pull = Pull::with(with(Login::Bearer("s3cr3t-direct".into())));
    pull.everything(&server.image("team/app")).await.unwrap();
    pull.finish();
    assert!(server.seen()[before..].iter().all(|s| !s.target.starts_with("/token")));
    let pull = Pull::with(with(Login::Identity("other".into())));
    assert_eq!(pull.everything(&server.image("team/app")).await.unwrap_err().kind(), "denied");
}

#[tokio::test]
async fn one_token_is_fetched_for_all_that_want_it_at_once() {
    let image = Image::new();
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    // Each token is good for a few requests only: it expires in the middle.
    let used = AtomicUsize::new(0);
    let server = Server::start(move |seen| {
        if seen.target.starts_with("/token") {
            let n = count.fetch_add(1, Ordering::SeqCst);
            used.store(0, Ordering::SeqCst);
            return ok("application/json", format!(r#"{{"token":"s3cr3t-{n}"}}"#));
        }
        let newest = format!("Bearer s3cr3t-{}", count.load(Ordering::SeqCst).wrapping_sub(1));
        if token_of(seen) != newest || used.fetch_add(1, Ordering::SeqCst) >= 20 {
            return challenge(realm(seen));
        }
        image.serve(seen)
    })
    .await;
    let pull = Pull::new();
    let reference = server.image("team/app");
    let resolved = pull.manifest(&reference).await.unwrap();
    assert_eq!(issued.load(Ordering::SeqCst), 1);
    for _ in 0..5 {
        let all: Vec<_> = (0..8).map(|_| pull.layer(&reference, &resolved)).collect();
        for layer in futures(all).await {
            layer.unwrap();
        }
    }
    assert!(issued.load(Ordering::SeqCst) <= 4, "{}", issued.load(Ordering::SeqCst));
    pull.finish();
}

/// All at once, on this task.
async fn futures<F: std::future::Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (future, done) in &mut all {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => ready = false,
                }
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn a_password_is_for_the_token_server_alone() {
    let elsewhere = Server::start(|_| ok("application/json", r#"{"token":"s3cr3t-token"}"#)).await;
    let away = format!("http://localhost:{}/token", elsewhere.address.port());
    for code in [301, 302, 303, 307, 308] {
        let away = away.clone();
        let server = Server::start(move |seen| match seen.target.starts_with("/token") {
            true => Reply::Http(code, vec![("Location", away.clone())], vec![]),
            false => challenge(realm(seen)),
        })
        .await;
        let pull = Pull::with(with(password()));
        let _ = pull.everything(&server.image("team/app")).await.unwrap_err();
        pull.finish();
    }
    for seen in elsewhere.seen() {
        assert!(!seen.headers.contains_key("authorization") && seen.body.is_empty(), "{seen:?}");
        assert!(!seen.target.contains("s3cr3t"), "{seen:?}");
    }
}

/// A real registry whose users are in a file, an image in it, and a place to pull it to.
fn registry_with_users() -> (DockerRegistry, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let users = directory.path().join("users");
    fs::write(&users, format!("me:{HASH}\n")).unwrap();
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display());
    let registry = DockerRegistry::start_with(directory, &auth, "");
    let layout = registry.dir().join("layout");
    Runnable::new(&[], serde_json::json!({"Cmd": ["/x"]})).write_layout(&layout);
    registry.push(&layout, "team/app:1", &["--dest-creds", &format!("me:{CANARY}")]);
    (registry, Lab::new())
}

#[test]
fn login_pull_logout() {
    if !have(&["docker-registry", "skopeo"]) || !needs(is_root(), "root") {
        return;
    }
    let (registry, lab) = registry_with_users();
    let (host, image) = (registry.address.as_str(), registry.image("team/app:1"));
    let refused = lab.trace(&["pull", &image]).exits(1);
    assert!(refused.err().contains(&format!("log in with `trace login {host}`")), "{}", refused.err());

    let wrong = lab.fed(&["login", "-u", "me", "--password-stdin", host], b"wrong-canary\n").exits(1);
    assert!(wrong.err().contains(&format!("`{host}` refuses this login")), "{}", wrong.err());
    assert!(!wrong.err().contains("wrong-canary"));
    let config = lab.dir().join("home/.docker/config.json");
    assert!(!config.exists());

    let right = lab.fed(&["login", "-u", "me", "--password-stdin", host], format!("{CANARY}\n").as_bytes()).ok();
    assert_eq!(right.out(), "Login Succeeded\n");
    assert!(right.err().contains("stored unencrypted"), "{}", right.err());
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let pulled = lab.trace(&["pull", &image]).ok();
    assert!(pulled.out().contains("Downloaded newer image"), "{}", pulled.out());
    for text in [&pulled.out(), &pulled.err()] {
        assert!(!text.contains(CANARY));
    }
    // Others read the same file.
    let authfile = format!("--authfile={}", config.display());
    run("skopeo", &["inspect", "--tls-verify=false", &authfile, &format!("docker://{image}")]);

    assert_eq!(lab.trace(&["logout", host]).ok().out(), format!("Removing login credentials for {host}\n"));
    assert_eq!(lab.trace(&["logout", host]).ok().out(), format!("Not logged in to {host}\n"));
    lab.trace(&["pull", &image]).exits(1);

    let secrets = [CANARY.to_owned(), STANDARD.encode(format!("me:{CANARY}"))];
    for file in tree::files(&lab.root()) {
        let bytes = fs::read(&file).unwrap();
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{}", file.display());
        }
    }
}

#[test]
fn logins_of_docker_and_podman_are_found() {
    if !have(&["docker-registry", "skopeo"]) || !needs(is_root(), "root") {
        return;
    }
    let (registry, lab) = registry_with_users();
    let (host, image) = (registry.address.as_str(), registry.image("team/app:1"));
    let auth = STANDARD.encode(format!("me:{CANARY}"));
    let auths = format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    let pull = |environment: &[(&str, &OsStr)]| {
        let mut command = lab.command(&["pull", "-q", &image]);
        command.envs(environment.iter().copied());
        Running::start(command, &[]).wait()
    };
    pull(&[]).exits(1);
    pull(&[("DOCKER_AUTH_CONFIG", auths.as_ref())]).ok();
    let file = |name: &str, text: &str| {
        let path = lab.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let podman = file("podman.json", &auths);
    pull(&[("REGISTRY_AUTH_FILE", podman.as_ref())]).ok();
    file("run/containers/auth.json", &format!(r#"{{"auths":{{"{host}/team":{{"auth":"{auth}"}}}}}}"#));
    pull(&[("XDG_RUNTIME_DIR", lab.dir().join("run").as_ref())]).ok();

    let helper = format!(
        "#!/bin/sh\nread -r server\ntest \"$1 $server\" = \"get {host}\" || {{ echo 'credentials not found in native \
         keychain'; exit 1; }}\necho '{{\"ServerURL\":\"{host}\",\"Username\":\"me\",\"Secret\":\"{CANARY}\"}}'\n"
    );
    let program = file("bin/docker-credential-test", &helper);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", lab.dir().join("bin").display());
    for (name, text) in [
        ("store", r#"{"credsStore":"test"}"#.to_owned()),
        ("helpers", format!(r#"{{"credHelpers":{{"{host}":"test"}},"credsStore":"nosuch"}}"#)),
    ] {
        file(&format!("{name}/config.json"), &text);
        pull(&[("DOCKER_CONFIG", lab.dir().join(name).as_ref()), ("PATH", path.as_ref())]).ok();
    }
    // What cannot be used is told only where it matters.
    file("bad/config.json", r#"{"credsStore":"nosuch"}"#);
    let told = pull(&[("DOCKER_CONFIG", lab.dir().join("bad").as_ref())]).exits(1).err();
    assert!(told.contains("`docker-credential-nosuch` cannot be run"), "{told}");
}
