//! `--ulimit NAME=SOFT[:HARD]`.

use rustix::process::Resource;

/// A resource limit of the container's processes; `None` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// What is limited.
    pub resource: Resource,
    /// What counts.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

/// The flag's value.
pub fn flag(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: `{text}`: expected `NAME=SOFT[:HARD]`"))?;
    let resource = resource(name).ok_or_else(|| format!("invalid ulimit type: `{name}`"))?;
    let number = |text: &str| -> Result<Option<u64>, String> {
        if text == "-1" {
            return Ok(None);
        }
        let number: u64 =
            text.parse().map_err(|_| format!("`{text}` is no limit: expected a number, or -1 for none"))?;
        if number > i64::MAX as u64 { Err(format!("`{text}` is more than a limit can be")) } else { Ok(Some(number)) }
    };
    let mut parts = limits.split(':');
    let soft = number(parts.next().unwrap_or_default())?;
    let hard = parts.next().map(number).transpose()?.unwrap_or(soft);
    if parts.next().is_some() {
        return Err(format!("too many limits in `{limits}`: expected `SOFT[:HARD]`"));
    }
    match (soft, hard) {
        (None, Some(hard)) => Err(format!("the soft limit is no more than the hard limit: found none > {hard}")),
        (Some(soft), Some(hard)) if soft > hard => {
            Err(format!("the soft limit is no more than the hard limit: found {soft} > {hard}"))
        }
        _ => Ok(Ulimit { resource, soft, hard }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_one_or_two_numbers() {
        let both = |text| flag(text).map(|u| (u.soft, u.hard));
        assert_eq!(both("nofile=512:1024"), Ok((Some(512), Some(1024))));
        assert_eq!(both("core=0"), Ok((Some(0), Some(0))));
        assert_eq!(both("nproc=-1"), Ok((None, None)));
        assert_eq!(both("nofile=1:-1"), Ok((Some(1), None)));
        for bad in
            ["nofile", "nofile=", "nofile=x", "files=1", "nofile=2:1", "nofile=1:2:3", "nofile=-1:5", "=1", "nofile=-2"]
        {
            assert!(flag(bad).is_err(), "{bad}");
        }
    }
}
