//! `trace login` and `trace logout`: docker's words, and docker's file.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{self, LocalModes, OptionalActions};

use super::output::{print, say};
use super::{CliError, Done, args};
use crate::engine::EngineError;
use crate::error::Failure;
use crate::names::span;
use crate::registry::credentials::{self, Edit};
use crate::registry::reference::DOCKER_HUB;
use crate::registry::{Client, Login, Options, Places};
use crate::stage;

/// `trace login`.
pub fn login(args: &args::Login, verbose: bool) -> Done {
    let registry = registry(args.server.as_deref());
    let file =
        Places::from_environment().docker.ok_or(CliError::Usage("neither `DOCKER_CONFIG` nor `HOME` is set".into()))?;
    let login = ask(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(EngineError::Runtime)?;
    let client = Client::new(Options::default());
    let stage = stage!(span::REGISTRY_AUTH);
    let checked = runtime.block_on(client.log_in(&stage, &registry, &login));
    runtime.shutdown_background();
    if let Err(e) = checked {
        super::output::fail(&e, verbose);
        // docker login's
        return Ok(1);
    }
    match credentials::remember(&file, &registry, &login).map_err(CliError::Login)? {
        Edit::Plain(path) => say(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
             warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            path.display()
        )),
        Edit::Kept | Edit::Nothing => {}
    }
    print("Login Succeeded\n");
    Ok(0)
}

/// `trace logout`.
pub fn logout(args: &args::Logout) -> Done {
    let registry = registry(args.server.as_deref());
    let shown = credentials::key_of(&registry);
    let done = match Places::from_environment().docker {
        Some(file) => credentials::forget(&file, &registry).map_err(CliError::Login)?,
        None => Edit::Nothing,
    };
    match done {
        Edit::Nothing => print(format!("Not logged in to {shown}\n")),
        Edit::Plain(_) | Edit::Kept => print(format!("Removing login credentials for {shown}\n")),
    }
    Ok(0)
}

/// As docker reads it: a scheme and a path are nothing, and no server is Docker Hub.
fn registry(server: Option<&str>) -> String {
    let server = server.unwrap_or(DOCKER_HUB);
    let server = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    match server.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host.to_owned(),
    }
}

fn ask(args: &args::Login) -> Result<Login, Box<dyn Failure>> {
    let usage = |text: &str| CliError::Usage(text.to_owned());
    if args.password.is_some() && args.password_stdin {
        return Err(usage("--password and --password-stdin are mutually exclusive").into());
    }
    if args.password_stdin && args.username.is_none() {
        return Err(usage("Must provide --username with --password-stdin").into());
    }
    if args.password.is_some() {
        say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let failed = |source| CliError::File { action: "read", path: "standard input".into(), source };
    if (args.username.is_none() || args.password.is_none() && !args.password_stdin) && !io::stdin().is_terminal() {
        return Err(usage("Cannot perform an interactive login from a non TTY device").into());
    }
    let user = match &args.username {
        Some(user) => user.clone(),
        None => prompt("Username: ", true).map_err(failed)?,
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => {
            let mut text = String::new();
            io::stdin().take(1 << 20).read_to_string(&mut text).map_err(failed)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None => prompt("Password: ", false).map_err(failed)?,
    };
    if user.is_empty() || user.contains(':') {
        return Err(usage("a user name has at least one character and no colon").into());
    }
    if password.is_empty() {
        return Err(usage("Error: Password Required").into());
    }
    Ok(Login::Password { user, password })
}

/// One line from the terminal; without showing what is typed if it is a secret.
fn prompt(text: &str, shown: bool) -> io::Result<String> {
    let stdin = io::stdin();
    let mut out = io::stderr();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    let before = termios::tcgetattr(&stdin)?;
    if !shown {
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        termios::tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    }
    let mut line = String::new();
    let read = stdin.lock().take(1 << 16).read_line(&mut line);
    if !shown {
        termios::tcsetattr(&stdin, OptionalActions::Flush, &before)?;
        out.write_all(b"\n")?;
    }
    read?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_docker_does() {
        for (typed, meant) in [
            (None, "docker.io"),
            (Some("docker.io"), "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("r.io:5000"), "r.io:5000"),
            (Some("http://r.io/v2/"), "r.io"),
        ] {
            assert_eq!(registry(typed), meant);
        }
    }
}
