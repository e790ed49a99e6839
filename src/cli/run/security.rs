//! `--security-opt`, as `docker run` takes it.

use crate::cli::CliError;
use crate::container::Security;
use crate::container::seccomp::Seccomp;
use crate::container::seccomp::profile::Profile;

/// What the options say together; of two about the same thing the later one holds. A privileged container has no filter
/// unless it is given one.
pub fn options(given: &[String], privileged: bool) -> Result<Security, CliError> {
    let mut security = Security::default();
    if privileged {
        security.seccomp = Seccomp::Unconfined;
    }
    for option in given {
        let wrong = |why: String| CliError::SecurityOption { option: option.clone(), why };
        // docker still takes a colon, too.
        let (key, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((key, value)) => (key, Some(value)),
            None => (option.as_str(), None),
        };
        match (key, value) {
            ("no-new-privileges", None) => security.no_new_privileges = true,
            ("no-new-privileges", Some(value)) => {
                security.no_new_privileges =
                    boolean(value).ok_or_else(|| wrong(format!("`{value}` is neither `true` nor `false`")))?;
            }
            (_, None | Some("")) => return Err(wrong("expected `KEY=VALUE`".into())),
            ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
            ("seccomp", Some("builtin")) => security.seccomp = Seccomp::Default,
            ("seccomp", Some(file)) => security.seccomp = read(file)?,
            ("systempaths", Some("unconfined")) => security.open_system_paths = true,
            ("systempaths", Some(_)) => return Err(wrong("expected `systempaths=unconfined`".into())),
            ("apparmor", Some(profile)) => apparmor(profile).map_err(wrong)?,
            ("label", Some(label)) => selinux(label).map_err(wrong)?,
            _ => return Err(wrong(format!("`{key}` is no security option that is built in"))),
        }
    }
    Ok(security)
}

/// What Go's `strconv.ParseBool` takes.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn read(file: &str) -> Result<Seccomp, CliError> {
    let text = std::fs::read_to_string(file).map_err(|source| CliError::File {
        action: "read the seccomp profile",
        path: file.to_owned(),
        source,
    })?;
    let profile = Profile::parse(&text).map_err(|why| CliError::SeccompProfile { path: file.to_owned(), why })?;
    Ok(Seccomp::File(profile))
}

/// Where the kernel has no AppArmor, docker takes any profile and there is nothing to do.
fn apparmor(profile: &str) -> Result<(), String> {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    match enabled && profile != "unconfined" {
        true => Err("profiles of AppArmor are not built in, and this host has AppArmor".into()),
        false => Ok(()),
    }
}

/// The same for labels of SELinux.
fn selinux(label: &str) -> Result<(), String> {
    let enabled = std::path::Path::new("/sys/fs/selinux/enforce").exists();
    match enabled && label != "disable" {
        true => Err("labels of SELinux are not built in, and this host has SELinux".into()),
        false => Ok(()),
    }
}
