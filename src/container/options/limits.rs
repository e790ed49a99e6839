//! How much of the machine a container may use: what the flags say, checked as docker's daemon checks it.

use std::collections::BTreeSet;

/// What was asked for; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Memory and swap together in bytes; `-1` for as much swap as there is.
    pub memory_swap: Option<i64>,
    /// What it is left with when memory is short, bytes.
    pub memory_reservation: Option<u64>,
    /// It waits instead of being killed when there is no more memory.
    pub oom_kill_disable: bool,
    /// Share of the processors against others, 1024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// Length of a period in microseconds.
    pub cpu_period: Option<u64>,
    /// Time on all processors in a period in microseconds; `-1` for no limit.
    pub cpu_quota: Option<i64>,
    /// Processors that it may use, as a list of ranges.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that it may use.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Share of the disks against others, 10 to 1000.
    pub blkio_weight: Option<u16>,
}

/// The flags as they were typed, numbers read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `-m`.
    pub memory: i64,
    /// `--memory-swap`.
    pub memory_swap: i64,
    /// `--memory-reservation`.
    pub memory_reservation: i64,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--cpus`, billionths.
    pub nano_cpus: u64,
    /// `--cpu-shares`.
    pub cpu_shares: i64,
    /// `--cpu-period`.
    pub cpu_period: i64,
    /// `--cpu-quota`.
    pub cpu_quota: i64,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: &'a str,
    /// `--cpuset-mems`.
    pub cpuset_mems: &'a str,
    /// `--pids-limit`.
    pub pids: i64,
    /// `--blkio-weight`.
    pub blkio_weight: u16,
}

/// The least memory that docker takes.
const LEAST_MEMORY: i64 = 6 << 20;
/// The kernel's period where none is given, microseconds.
const PERIOD: u64 = 100_000;

impl Asked<'_> {
    /// Checks it against what this machine has: its processors and memory nodes, as lists of ranges.
    pub fn check(&self, cpus: &str, mems: &str) -> Result<Limits, String> {
        let Asked { memory, memory_swap: swap, memory_reservation: reservation, .. } = *self;
        let wrong = |text: &str| Err(text.to_owned());
        if memory < 0 || swap < -1 || reservation < 0 {
            return wrong("a size cannot be negative");
        }
        if memory > 0 && memory < LEAST_MEMORY {
            return wrong("the minimum memory limit allowed is 6MB");
        }
        if memory > 0 && swap > 0 && swap < memory {
            return wrong("--memory-swap is memory and swap together: expected no less than --memory");
        }
        if memory == 0 && swap > 0 {
            return wrong("--memory-swap needs --memory too");
        }
        if reservation > 0 && reservation < LEAST_MEMORY {
            return wrong("the minimum memory reservation allowed is 6MB");
        }
        if memory > 0 && reservation > memory {
            return wrong("the memory limit can not be less than the memory reservation");
        }
        let (mut period, mut quota) = (self.cpu_period, self.cpu_quota);
        if self.nano_cpus > 0 {
            if period > 0 || quota > 0 {
                return wrong("conflicting options: --cpus sets --cpu-period and --cpu-quota itself");
            }
            let all = list(cpus).map_or(1, |l| l.len()) as u64;
            if self.nano_cpus < 10_000_000 || self.nano_cpus > all * 1_000_000_000 {
                return Err(format!(
                    "the range of CPUs is from 0.01 to {all}.00, as there are only {all} CPUs available"
                ));
            }
            period = PERIOD as i64;
            quota = (u128::from(self.nano_cpus) * u128::from(PERIOD) / 1_000_000_000) as i64;
        }
        if period != 0 && !(1000..=1_000_000).contains(&period) {
            return wrong("the CPU period can not be less than 1ms (1000) or larger than 1s (1000000)");
        }
        if quota > 0 && quota < 1000 {
            return wrong("the CPU quota can not be less than 1ms (1000)");
        }
        if self.cpu_shares < 0 {
            return Err(format!("invalid CPU shares ({}): the value must be positive", self.cpu_shares));
        }
        if self.blkio_weight != 0 && !(10..=1000).contains(&self.blkio_weight) {
            return wrong("the range of blkio weight is from 10 to 1000");
        }
        let some = |n: i64| (n > 0).then_some(n as u64);
        Ok(Limits {
            memory: some(memory),
            memory_swap: (memory > 0).then_some(if swap == 0 { memory.saturating_mul(2) } else { swap }),
            memory_reservation: some(reservation),
            oom_kill_disable: self.oom_kill_disable,
            // The kernel's least.
            cpu_shares: some(self.cpu_shares).map(|s| s.max(2)),
            cpu_period: some(period),
            cpu_quota: (quota != 0).then_some(quota),
            cpuset_cpus: set(self.cpuset_cpus, cpus, "CPUs")?,
            cpuset_mems: set(self.cpuset_mems, mems, "memory nodes")?,
            pids: some(self.pids),
            blkio_weight: (self.blkio_weight > 0).then_some(self.blkio_weight),
        })
    }
}

fn set(asked: &str, there: &str, what: &str) -> Result<Option<String>, String> {
    if asked.is_empty() {
        return Ok(None);
    }
    let wanted = list(asked).ok_or_else(|| format!("invalid value `{asked}` for a set of {what}"))?;
    if list(there).is_some_and(|there| !wanted.is_subset(&there)) {
        return Err(format!("requested {what} are not available - requested {asked}, available: {}", there.trim()));
    }
    Ok(Some(asked.to_owned()))
}

/// `0-2,7` as numbers.
fn list(text: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        // More processors than Linux can have.
        if first > last || last > 8192 {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

impl Limits {
    /// Docker's share of the processors as the unified hierarchy counts it (runc's conversion).
    pub fn cpu_weight(&self) -> Option<u64> {
        self.cpu_shares.map(|shares| 1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142)
    }

    /// The share of the disks as the unified hierarchy counts it.
    pub fn io_weight(&self) -> Option<u64> {
        self.blkio_weight.map(|weight| 1 + (u64::from(weight) - 10) * 9999 / 990)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &Asked<'_>) -> Result<Limits, String> {
        asked.check("0-1\n", "0\n")
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_said() {
        let memory = 64 << 20;
        let limits = check(&Asked { memory, ..Asked::default() }).unwrap();
        assert_eq!((limits.memory, limits.memory_swap), (Some(64 << 20), Some(128 << 20)));
        let limits = check(&Asked { memory, memory_swap: -1, ..Asked::default() }).unwrap();
        assert_eq!(limits.memory_swap, Some(-1));
        assert_eq!(check(&Asked::default()).unwrap(), Limits::default());
    }

    #[test]
    fn cpus_are_time_in_a_period() {
        let limits = check(&Asked { nano_cpus: 500_000_000, ..Asked::default() }).unwrap();
        assert_eq!((limits.cpu_period, limits.cpu_quota), (Some(100_000), Some(50_000)));
        let weights = |shares| Limits { cpu_shares: Some(shares), ..Limits::default() }.cpu_weight();
        assert_eq!((weights(2), weights(1024), weights(262_144)), (Some(1), Some(39), Some(10_000)));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        let m = 1 << 20;
        for (asked, part) in [
            (Asked { memory: 5 * m, ..Asked::default() }, "6MB"),
            (Asked { memory: 64 * m, memory_swap: 32 * m, ..Asked::default() }, "--memory-swap"),
            (Asked { memory_swap: 32 * m, ..Asked::default() }, "needs --memory"),
            (Asked { memory_reservation: m, ..Asked::default() }, "6MB"),
            (Asked { memory: 64 * m, memory_reservation: 65 * m, ..Asked::default() }, "reservation"),
            (Asked { nano_cpus: 3_000_000_000, ..Asked::default() }, "from 0.01 to 2.00"),
            (Asked { nano_cpus: 1_000_000, ..Asked::default() }, "from 0.01 to 2.00"),
            (Asked { nano_cpus: 1_000_000_000, cpu_quota: 5000, ..Asked::default() }, "conflicting"),
            (Asked { cpu_period: 10, ..Asked::default() }, "period"),
            (Asked { cpu_quota: 10, ..Asked::default() }, "quota"),
            (Asked { cpu_shares: -1, ..Asked::default() }, "shares"),
            (Asked { cpuset_cpus: "0-9", ..Asked::default() }, "available: 0-1"),
            (Asked { cpuset_cpus: "x", ..Asked::default() }, "invalid value `x`"),
            (Asked { cpuset_mems: "1", ..Asked::default() }, "memory nodes"),
            (Asked { blkio_weight: 5, ..Asked::default() }, "10 to 1000"),
        ] {
            let error = check(&asked).unwrap_err();
            assert!(error.contains(part), "{asked:?}: {error}");
        }
        assert_eq!(list("0,2-3"), Some([0, 2, 3].into()));
        assert_eq!(check(&Asked { cpuset_cpus: "1", ..Asked::default() }).unwrap().cpuset_cpus, Some("1".into()));
    }
}
