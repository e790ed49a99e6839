//! Docker's JSON form of a profile, as `docker run --security-opt seccomp=FILE` takes it.
//!
//! It is what `github.com/moby/profiles/seccomp` documents: the OCI runtime specification's `linux.seccomp` with
//! architectures by the host's, and rules by capability, architecture and kernel. What runc and libseccomp make of it
//! is followed too: calls that are not known here are passed over, several conditions on one argument are alternatives.

use serde_json::{Map, Value};

use super::calls::Call;
use super::policy::{Action, Arch, Comparison, Condition, EPERM, Policy, Rule};
use crate::container::options::capability;

/// A profile that is well-formed.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// None: there is to be no filter.
    default: Option<Action>,
    arches: Vec<Arch>,
    flags: u32,
    rules: Vec<ProfileRule>,
    /// As it was given, for programs that come later.
    pub text: String,
}

#[derive(Clone, Debug)]
struct ProfileRule {
    names: Vec<String>,
    action: Action,
    arguments: Vec<Condition>,
    includes: When,
    excludes: When,
}

/// When a rule is there.
#[derive(Clone, Debug, Default)]
struct When {
    capabilities: Vec<String>,
    arches: Vec<String>,
    kernel: Option<(u64, u64)>,
}

/// What is wrong with a profile: a clause that follows its file's name.
pub type Wrong = String;

/// What libseccomp calls architectures; those that do not run on this machine are known to be none of ours.
const OTHER_ARCHES: [&str; 16] = [
    "MIPS",
    "MIPS64",
    "MIPS64N32",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC",
    "PPC64",
    "PPC64LE",
    "S390",
    "S390X",
    "PARISC",
    "PARISC64",
    "RISCV64",
    "LOONGARCH64",
    "M68K",
];

impl Profile {
    /// Reads a profile.
    pub fn parse(text: &str) -> Result<Profile, Wrong> {
        let json: Value = serde_json::from_str(text).map_err(|e| format!("it is no JSON: {e}"))?;
        let top = Object::of(&json, "the profile")?;
        let rules = top.list("syscalls")?;
        let action = top.text("defaultAction")?;
        if action.is_empty() && rules.is_empty() {
            return Ok(Profile::default());
        }
        let default = read_action(action, "defaultAction", top.number("defaultErrnoRet")?)?;
        if !top.text("listenerPath")?.is_empty() {
            return Err("it has a `listenerPath`, and handing calls to another process is not built in".into());
        }
        let mut flags = 0;
        for flag in top.texts("flags")? {
            flags |= read_flag(flag)?;
        }
        Ok(Profile {
            default: Some(default),
            arches: read_arches(&top)?,
            flags,
            text: text.to_owned(),
            rules: rules.iter().enumerate().map(|(i, rule)| read_rule(i, rule)).collect::<Result<_, Wrong>>()?,
        })
    }

    /// The filter that it asks for on this machine for these capabilities (bit n for capability n). None if it asks for
    /// none.
    pub fn policy(&self, capabilities: u64) -> Option<Policy> {
        let default = self.default?;
        let host = Host { capabilities, kernel: kernel() };
        let mut rules = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.is_there(&host)) {
            for call in rule.names.iter().filter_map(|name| Call::named(name)) {
                let mut add = |conditions| rules.push(Rule { call, conditions, action: rule.action });
                let all = &rule.arguments;
                let twice = all.iter().enumerate().any(|(i, c)| all[..i].iter().any(|b| b.argument == c.argument));
                if twice {
                    all.iter().for_each(|one| add(vec![*one]));
                } else {
                    add(all.clone());
                }
            }
        }
        Some(Policy { native: Arch::NATIVE, default, arches: self.arches.clone(), rules, flags: self.flags })
    }
}

struct Host {
    capabilities: u64,
    kernel: (u64, u64),
}

impl Host {
    fn has(&self, capability: &str) -> bool {
        let number = capability::NAMES.iter().position(|name| capability.strip_prefix("CAP_") == Some(name));
        number.is_some_and(|n| self.capabilities & (1 << n) != 0)
    }
}

impl ProfileRule {
    fn is_there(&self, host: &Host) -> bool {
        let arch = if Arch::NATIVE == Arch::Aarch64 { "arm64" } else { "amd64" };
        let (with, without) = (&self.includes, &self.excludes);
        let excluded = without.arches.iter().any(|a| a == arch)
            || without.capabilities.iter().any(|c| host.has(c))
            || without.kernel.is_some_and(|least| host.kernel >= least);
        let included = (with.arches.is_empty() || with.arches.iter().any(|a| a == arch))
            && with.capabilities.iter().all(|c| host.has(c))
            && with.kernel.is_none_or(|least| host.kernel >= least);
        included && !excluded
    }
}

fn kernel() -> (u64, u64) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn read_arches(top: &Object<'_>) -> Result<Vec<Arch>, Wrong> {
    let listed = top.texts("architectures")?;
    let map = top.list("archMap")?;
    if !listed.is_empty() && !map.is_empty() {
        return Err("it has both `architectures` and `archMap`, and only one may be there".into());
    }
    let mut names = listed;
    for entry in map {
        let entry = Object::of(entry, "an entry of `archMap`")?;
        let (main, others) = (entry.text("architecture")?, entry.texts("subArchitectures")?);
        if names.is_empty() && main == arch_name(Arch::NATIVE) {
            names = [vec![main], others].concat();
        }
    }
    let mut arches = Vec::new();
    for name in names {
        if name == "SCMP_ARCH_NATIVE" {
            arches.push(Arch::NATIVE);
            continue;
        }
        let known = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm];
        match known.into_iter().find(|arch| arch_name(*arch) == name) {
            Some(arch) => arches.push(arch),
            None if name.strip_prefix("SCMP_ARCH_").is_some_and(|n| OTHER_ARCHES.contains(&n)) => {}
            None => return Err(format!("`{name}` is no architecture, which would be `SCMP_ARCH_X86_64` or the like")),
        }
    }
    Ok(arches)
}

fn arch_name(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "SCMP_ARCH_X86_64",
        Arch::X86 => "SCMP_ARCH_X86",
        Arch::X32 => "SCMP_ARCH_X32",
        Arch::Aarch64 => "SCMP_ARCH_AARCH64",
        Arch::Arm => "SCMP_ARCH_ARM",
    }
}

fn read_rule(index: usize, rule: &Value) -> Result<ProfileRule, Wrong> {
    let place = format!("`syscalls[{index}]`");
    let read = || {
        let rule = Object::of(rule, "it")?;
        let mut names: Vec<String> = rule.texts("names")?.into_iter().map(str::to_owned).collect();
        let name = rule.text("name")?;
        if !name.is_empty() {
            if !names.is_empty() {
                return Err("it has both `name` and `names`, and only one may be there".into());
            }
            names.push(name.to_owned());
        }
        Ok(ProfileRule {
            names,
            action: read_action(rule.text("action")?, "action", rule.number("errnoRet")?)?,
            arguments: rule.list("args")?.iter().map(read_condition).collect::<Result<_, Wrong>>()?,
            includes: read_when(&rule, "includes")?,
            excludes: read_when(&rule, "excludes")?,
        })
    };
    read().map_err(|why: Wrong| format!("in {place} {why}"))
}

fn read_when(rule: &Object<'_>, key: &'static str) -> Result<When, Wrong> {
    let Some(when) = rule.get(key) else { return Ok(When::default()) };
    let when = Object::of(when, key)?;
    let own = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
    let kernel = match when.text("minKernel")? {
        "" => None,
        text => Some(read_kernel(text).ok_or_else(|| format!("`{text}` is no kernel version, which would be `4.8`"))?),
    };
    Ok(When { capabilities: own(when.texts("caps")?), arches: own(when.texts("arches")?), kernel })
}

fn read_kernel(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once('.')?;
    let version = (u64::from(major.parse::<u8>().ok()?), u64::from(minor.parse::<u8>().ok()?));
    (version != (0, 0)).then_some(version)
}

fn read_condition(condition: &Value) -> Result<Condition, Wrong> {
    let condition = Object::of(condition, "an entry of `args`")?;
    let argument = condition.number("index")?.unwrap_or(0);
    let argument = u8::try_from(argument).ok().filter(|n| *n < 6);
    let argument = argument.ok_or("`index` is above 5, the last argument that a call has")?;
    let (value, second) = (condition.number("value")?.unwrap_or(0), condition.number("valueTwo")?.unwrap_or(0));
    let (comparison, value) = match condition.text("op")? {
        "SCMP_CMP_NE" => (Comparison::NotEqual, value),
        "SCMP_CMP_LT" => (Comparison::Less, value),
        "SCMP_CMP_LE" => (Comparison::LessOrEqual, value),
        "SCMP_CMP_EQ" => (Comparison::Equal, value),
        "SCMP_CMP_GE" => (Comparison::GreaterOrEqual, value),
        "SCMP_CMP_GT" => (Comparison::Greater, value),
        "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual(value), second),
        other => return Err(format!("`{other}` is no comparison, which would be `SCMP_CMP_EQ` or the like")),
    };
    Ok(Condition { argument, comparison, value })
}

fn read_action(name: &str, key: &str, errno: Option<u64>) -> Result<Action, Wrong> {
    let errno = || {
        let errno = errno.unwrap_or(u64::from(EPERM));
        u16::try_from(errno).map_err(|_| format!("{errno} is no errno"))
    };
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(errno()?),
        "SCMP_ACT_TRACE" => Action::Trace(errno()?),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_NOTIFY" => {
            return Err("`SCMP_ACT_NOTIFY` hands calls to another process, which is not built in".into());
        }
        "" => return Err(format!("`{key}` is missing")),
        other => return Err(format!("`{other}` is no action, which would be `SCMP_ACT_ALLOW` or the like")),
    })
}

fn read_flag(name: &str) -> Result<u32, Wrong> {
    match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(1),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(1 << 1),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(1 << 2),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
            Err(format!("the flag `{name}` needs `SCMP_ACT_NOTIFY`, which is not built in"))
        }
        other => Err(format!("`{other}` is no flag of a filter")),
    }
}

/// A JSON object, read as Go does: keys without regard to case, null is nothing.
struct Object<'a>(&'a Map<String, Value>);

impl<'a> Object<'a> {
    fn of(value: &'a Value, what: &str) -> Result<Self, Wrong> {
        value.as_object().map(Object).ok_or_else(|| format!("{what} is no object"))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        let same = || self.0.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v);
        self.0.get(key).or_else(same).filter(|v| !v.is_null())
    }

    fn text(&self, key: &str) -> Result<&'a str, Wrong> {
        match self.get(key) {
            None => Ok(""),
            Some(value) => value.as_str().ok_or_else(|| format!("`{key}` is no string")),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Wrong> {
        let whole = |value: &Value| value.as_u64().ok_or_else(|| format!("`{key}` is no whole number from 0 on"));
        self.get(key).map(whole).transpose()
    }

    fn list(&self, key: &str) -> Result<&'a [Value], Wrong> {
        match self.get(key) {
            None => Ok(&[]),
            Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| format!("`{key}` is no list")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<&'a str>, Wrong> {
        let text = |value: &'a Value| value.as_str().ok_or_else(|| format!("`{key}` is no list of strings"));
        self.list(key)?.iter().map(text).collect()
    }
}
