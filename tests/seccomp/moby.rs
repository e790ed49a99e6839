//! Our table and compiler against docker's profile itself, evaluated by what runc and libseccomp document.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;
use trace_run::container::options::capability::NAMES;
use trace_run::container::seccomp::calls::{CALLS, Call as Named};
use trace_run::container::seccomp::compile::compile;
use trace_run::container::seccomp::policy::{Arch, Policy};
use trace_run::container::seccomp::profile::Profile;

use super::machine::{Call, run};
use super::support::{MODULE, module_file};
use crate::common::have;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const X32: u32 = 0x4000_0000;

/// One rule of the profile that is there on this kind of machine for these capabilities.
struct Rule {
    names: Vec<String>,
    action: u32,
    arguments: Vec<(usize, String, u64, u64)>,
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn rules(profile: &Value, go_arch: &str, capabilities: u64) -> Vec<Rule> {
    let has = |cap: &String| {
        let n = NAMES.iter().position(|c| cap.strip_prefix("CAP_") == Some(c)).expect("a capability");
        capabilities & (1 << n) != 0
    };
    let mut there = Vec::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let (with, without) = (&rule["includes"], &rule["excludes"]);
        let arches = |when: &Value| texts(&when["arches"]).contains(&go_arch.to_owned());
        if texts(&without["caps"]).iter().any(has) || arches(without) {
            continue;
        }
        if !texts(&with["caps"]).iter().all(has) || (!with["arches"].is_null() && !arches(with)) {
            continue;
        }
        // What is conditional on a kernel is so on 4.8, which this one is newer than.
        let least = with["minKernel"].as_str().unwrap_or("4.8");
        assert_eq!((least, without["minKernel"].as_str()), ("4.8", None));
        let action = match rule["action"].as_str().unwrap() {
            "SCMP_ACT_ALLOW" => ALLOW,
            "SCMP_ACT_ERRNO" => 0x0005_0000 | rule["errnoRet"].as_u64().unwrap_or(1) as u32,
            other => panic!("{other}"),
        };
        let arguments = rule["args"].as_array().into_iter().flatten().map(|a| {
            let number = |key: &str| a[key].as_u64().unwrap_or(0);
            (number("index") as usize, a["op"].as_str().unwrap().to_owned(), number("value"), number("valueTwo"))
        });
        there.push(Rule { names: texts(&rule["names"]), action, arguments: arguments.collect() });
    }
    there
}

impl Rule {
    fn fits(&self, arguments: &[u64; 6], wide: bool) -> bool {
        self.arguments.iter().all(|(index, op, value, second)| {
            let word = |v: u64| if wide { v } else { v & 0xffff_ffff };
            let (argument, value, second) = (word(arguments[*index]), word(*value), word(*second));
            match op.as_str() {
                "SCMP_CMP_EQ" => argument == value,
                "SCMP_CMP_LT" => argument < value,
                "SCMP_CMP_MASKED_EQ" => argument & value == second,
                other => panic!("{other}"),
            }
        })
    }
}

/// What happens to every number of an architecture by these rules; calls that depend on arguments have their rules.
struct Expected<'a> {
    by_number: BTreeMap<u32, Vec<&'a Rule>>,
    last: u32,
    wide: bool,
}

impl<'a> Expected<'a> {
    fn of(rules: &'a [Rule], arch: Arch) -> Self {
        let mut by_number: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
        for rule in rules {
            for number in rule.names.iter().filter_map(|n| Named::named(n)).filter_map(|c| c.number(arch)) {
                by_number.entry(number).or_default().push(rule);
            }
        }
        let last = *by_number.keys().last().unwrap();
        Expected { by_number, last, wide: matches!(arch, Arch::X86_64 | Arch::Aarch64) }
    }

    fn answer(&self, number: u32, arguments: &[u64; 6]) -> u32 {
        if number > self.last {
            return ENOSYS;
        }
        let rules = self.by_number.get(&number).map_or(&[][..], Vec::as_slice);
        rules.iter().find(|rule| rule.fits(arguments, self.wide)).map_or(EPERM, |rule| rule.action)
    }
}

fn samples() -> Vec<[u64; 6]> {
    let mut first: Vec<u64> = (0..=50).collect();
    // Personalities, clone flags one by one, what pthread_create and fork ask for, and values beyond 32 bits.
    first.extend([0x2_0000, 0x2_0008, 0x40_0000, 0xffff_ffff, 0x3d_0f00, 0x120_0011, u64::MAX]);
    first.extend((0..64).map(|bit| 1u64 << bit));
    first.extend([(1 << 32) | 2, (1 << 32) | 38, (38 << 32) | 2]);
    // The others say nothing to any rule.
    first.into_iter().map(|value| [value, 0x7e02_0000, 3, 4, 5, 6]).collect()
}

fn capability_sets() -> Vec<u64> {
    let dockers = 0xa804_25fb;
    let all = (1 << NAMES.len()) - 1;
    let single = (0..NAMES.len()).map(|n| 1 << n);
    let docker_and_one = (0..NAMES.len()).map(|n| dockers | 1 << n);
    [0, dockers, all, all & !(1 << 21)].into_iter().chain(single).chain(docker_and_one).collect()
}

/// Every number of every architecture, under `policy`, against the profile.
fn compare(profile: &Value, native: Arch, policy: impl Fn(u64) -> Policy) {
    let go_arch = if native == Arch::Aarch64 { "arm64" } else { "amd64" };
    let samples = samples();
    let mut compared = 0;
    for capabilities in capability_sets() {
        let rules = rules(profile, go_arch, capabilities);
        let program = compile(&policy(capabilities));
        assert!(program.len() < 700, "{} instructions", program.len());
        for arch in native.family() {
            let expected = Expected::of(&rules, *arch);
            let base = if *arch == Arch::X32 { X32 } else { 0 };
            let some = [0, 1, 1000, 0xf_0000, 0xf_0001, 0xf_0006, 0xf_ffff].map(|n| base + n);
            for number in (base..base + 620).chain(some) {
                let has_arguments =
                    expected.by_number.get(&number).is_some_and(|r| r.iter().any(|r| !r.arguments.is_empty()));
                for arguments in if has_arguments { &samples[..] } else { &samples[..1] } {
                    let call = Call { number, arch: arch.audit(), arguments: *arguments };
                    let (answer, steps) = run(&program, &call);
                    let want = expected.answer(number, arguments);
                    assert_eq!(answer, want, "{arch:?} {number:#x} {arguments:x?} with {capabilities:#x}");
                    assert!(steps < 40, "{steps} steps");
                    compared += 1;
                }
            }
        }
        let foreign = Call { number: 0, arch: 0xc000_00f3, arguments: samples[0] };
        assert_eq!(run(&program, &foreign).0, 0, "a program of another machine is killed");
    }
    assert!(compared > 50_000, "{compared}");
}

fn profile() -> Option<String> {
    module_file(MODULE, "default.json").map(|file| std::fs::read_to_string(file).unwrap())
}

#[test]
fn the_default_is_dockers_for_every_call_capability_and_architecture() {
    let Some(text) = profile() else { return };
    let profile: Value = serde_json::from_str(&text).unwrap();
    for native in [Arch::X86_64, Arch::Aarch64] {
        compare(&profile, native, |capabilities| Policy::docker_default(native, capabilities));
    }
}

#[test]
fn dockers_own_file_means_the_same() {
    let Some(text) = profile() else { return };
    let read = Profile::parse(&text).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    compare(&profile, Arch::NATIVE, |capabilities| read.policy(capabilities).unwrap());
    // Nor does it matter that the one is a table and the other was read.
    for capabilities in [0xa804_25fb, 0] {
        let ours = compile(&Policy::docker_default(Arch::NATIVE, capabilities));
        assert_eq!(compile(&read.policy(capabilities).unwrap()).len(), ours.len());
    }
}

/// `name → number` from a header that gcc expands.
fn header(arch: &str) -> BTreeMap<String, u32> {
    let out = Command::new("gcc")
        .args(["-E", "-dM", "-x", "c", "-include", &format!("asm/unistd_{arch}.h"), "/dev/null"])
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("#define __NR_")) {
        let Some((name, value)) = line.split_once(' ') else { continue };
        let value = value.trim_matches(['(', ')']);
        let number = match value.split_once('+') {
            Some((_, more)) => more.trim().parse().map(|n: u32| n | X32),
            None => value.parse(),
        };
        if let Ok(number) = number {
            found.insert(name.to_owned(), number);
        }
    }
    found
}

/// The same from Go's tables.
fn go_numbers(arch: &str) -> Option<BTreeMap<String, u32>> {
    let file = module_file("golang.org/x/sys@v0.33.0", &format!("unix/zsysnum_linux_{arch}.go"))?;
    let text = std::fs::read_to_string(file).unwrap();
    let line = |l: &str| {
        let (name, number) = l.trim().strip_prefix("SYS_")?.split_once('=')?;
        Some((name.trim().to_lowercase(), number.trim().parse().ok()?))
    };
    let made_up = ["syscall_mask", "arch_specific_syscall"];
    Some(text.lines().filter_map(line).filter(|(name, _): &(String, u32)| !made_up.contains(&name.as_str())).collect())
}

#[test]
fn numbers_are_the_kernels() {
    assert!(CALLS.is_sorted_by(|a, b| a.name < b.name), "looked up by binary search");
    let check = |arch: Arch, numbers: BTreeMap<String, u32>| {
        assert!(numbers.len() > 280, "{arch:?}: {}", numbers.len());
        for (name, number) in numbers {
            let ours = Named::named(&name).and_then(|call| call.number(arch));
            assert_eq!(ours, Some(number), "{name} on {arch:?}");
        }
    };
    if cfg!(target_arch = "x86_64") && have(&["gcc"]) {
        for (arch, name) in [(Arch::X86_64, "64"), (Arch::X86, "32"), (Arch::X32, "x32")] {
            check(arch, header(name));
        }
    }
    for (arch, name) in [(Arch::X86_64, "amd64"), (Arch::X86, "386"), (Arch::Aarch64, "arm64"), (Arch::Arm, "arm")] {
        let Some(numbers) = go_numbers(name) else { return };
        check(arch, numbers);
    }
}
