//! From a policy to a program.
//!
//! The kernel walks a new filter once for every number of a call, and translates it to machine code, so what loading
//! costs is the length of the program and of the way through it. Numbers with the same outcome that stand side by side
//! are one range, and the ranges are the leaves of a binary tree.

use std::borrow::Cow;

use super::bpf::{Target, Test, Writer};
use super::calls::X32_BIT;
use super::multiplexed;
use super::policy::{Action, Arch, Comparison, Condition, ENOSYS, Policy};
use crate::sys::seccomp::Instruction;

/// Offsets in `struct seccomp_data` (linux/seccomp.h), whose 64-bit arguments are little-endian on all that is known
/// here.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What happens from some number (of a call, or a value of an argument) on.
struct Range<T> {
    first: u32,
    outcome: T,
}

enum Outcome<'a> {
    Always(u32),
    /// What the first of these says whose conditions hold.
    Chain(Vec<Conditional<'a>>, Arch),
}

#[derive(Clone)]
struct Conditional<'a> {
    conditions: Cow<'a, [Condition]>,
    action: Action,
}

/// The program.
pub fn compile(policy: &Policy) -> Vec<Instruction> {
    let mut writer = Writer::default();
    // What is none of these is not meant to run here.
    let mut next = Target::Return(Action::KillThread.value());
    // The machine's own comes first in the program, so it is written last.
    for space in policy.native.family().iter().filter(|arch| **arch != Arch::X32).rev() {
        if !has(policy, *space) {
            continue;
        }
        let ranges = ranges(policy, *space);
        let tree = tree(&mut writer, &ranges, &mut |writer, outcome| match outcome {
            Outcome::Always(value) => Target::Return(*value),
            Outcome::Chain(rules, arch) => chain(writer, rules, *arch, policy.default),
        });
        let section = writer.load(NUMBER, tree);
        next = writer.branch(Test::Equal, space.audit(), section, next);
    }
    let first = writer.load(ARCH, next);
    writer.finish(first)
}

fn has(policy: &Policy, arch: Arch) -> bool {
    arch == policy.native || policy.arches.contains(&arch)
}

/// What happens to every number, from 0 on. x32 shares the space of x86-64.
fn ranges(policy: &Policy, space: Arch) -> Vec<Range<Outcome<'_>>> {
    let mut all = Vec::new();
    let beyond = one_architecture(policy, space, 0, &mut all);
    if space == Arch::X86_64 {
        if has(policy, Arch::X32) {
            one_architecture(policy, Arch::X32, X32_BIT, &mut all);
        } else {
            push(&mut all, X32_BIT, beyond.unwrap_or(Action::KillThread));
        }
    }
    all
}

/// Adds the numbers from `base` on. Gives what happens beyond the last call, if that is something of its own.
fn one_architecture<'a>(
    policy: &'a Policy,
    arch: Arch,
    base: u32,
    all: &mut Vec<Range<Outcome<'a>>>,
) -> Option<Action> {
    let mut calls: Vec<(u32, Conditional<'a>)> = Vec::with_capacity(policy.rules.len());
    let mut last = None;
    for rule in &policy.rules {
        let Some(number) = rule.call.number(arch) else { continue };
        last = last.max(Some(number));
        // As in libseccomp and runc, a rule that says what happens anyway is none.
        if rule.action != policy.default {
            calls.push((number, Conditional { conditions: Cow::Borrowed(&rule.conditions), action: rule.action }));
        }
    }
    if arch == Arch::X86 {
        multiplexed::add(policy, |number, conditions, action| {
            calls.push((number, Conditional { conditions: Cow::Owned(conditions), action }));
        });
    }
    calls.sort_by_key(|(number, _)| *number);
    let mut next = base;
    for same in calls.chunk_by(|(a, _), (b, _)| a == b) {
        let number = same[0].0;
        if number > next {
            push(all, next, policy.default);
        }
        // A rule without conditions covers all others of its call, in libseccomp as here.
        match same.iter().find(|(_, rule)| rule.conditions.is_empty()) {
            Some((_, rule)) => push(all, number, rule.action),
            None => {
                let rules = same.iter().map(|(_, rule)| rule.clone()).collect();
                all.push(Range { first: number, outcome: Outcome::Chain(rules, arch) });
            }
        }
        next = number + 1;
    }
    let permissive = matches!(policy.default, Action::Allow | Action::Log | Action::Trace(_));
    let unknown = last.filter(|_| policy.arches.contains(&arch) && !permissive);
    if let Some(last) = unknown {
        if last >= next {
            push(all, next, policy.default);
            next = last + 1;
        }
        push(all, next, Action::Errno(ENOSYS));
    } else {
        push(all, next, policy.default);
    }
    unknown.map(|_| Action::Errno(ENOSYS))
}

fn push(all: &mut Vec<Range<Outcome<'_>>>, first: u32, action: Action) {
    let value = action.value();
    if !matches!(all.last(), Some(Range { outcome: Outcome::Always(before), .. }) if *before == value) {
        all.push(Range { first, outcome: Outcome::Always(value) });
    }
}

/// A binary search for the range that the accumulator is in.
fn tree<T>(writer: &mut Writer, ranges: &[Range<T>], leaf: &mut impl FnMut(&mut Writer, &T) -> Target) -> Target {
    match ranges {
        [] => unreachable!("every number is in a range"),
        [one] => leaf(writer, &one.outcome),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let yes = tree(writer, high, leaf);
            let no = tree(writer, low, leaf);
            writer.branch(Test::GreaterOrEqual, high[0].first, yes, no)
        }
    }
}

fn chain(writer: &mut Writer, rules: &[Conditional<'_>], arch: Arch, default: Action) -> Target {
    if let Some((argument, ranges)) = by_one_argument(rules, default) {
        let low = tree(writer, &ranges, &mut |_, value| Target::Return(*value));
        let low = writer.load(ARGUMENTS + 8 * argument, low);
        if !arch.is_64_bit() {
            return low;
        }
        // None of the rules is about values of more than 32 bits.
        let high = writer.branch(Test::Equal, 0, low, Target::Return(default.value()));
        return writer.load(ARGUMENTS + 8 * argument + 4, high);
    }
    rules.iter().rev().fold(Target::Return(default.value()), |otherwise, rule| {
        rule.conditions.iter().rev().fold(Target::Return(rule.action.value()), |then, condition| {
            compare(writer, *condition, arch, then, otherwise)
        })
    })
}

/// Rules that each ask whether the same argument has one value, or is less than one, are a search in its low word.
fn by_one_argument(rules: &[Conditional<'_>], default: Action) -> Option<(u32, Vec<Range<u32>>)> {
    /// One more than the largest word.
    const WORDS: u64 = 1 << 32;
    let mut spans = Vec::with_capacity(rules.len());
    let mut borders = vec![0];
    for rule in rules {
        let [Condition { argument, comparison, value }] = *rule.conditions else { return None };
        if argument != rules[0].conditions[0].argument || value >= WORDS {
            return None;
        }
        let span = match comparison {
            Comparison::Equal => value..value + 1,
            Comparison::Less => 0..value,
            Comparison::LessOrEqual => 0..value + 1,
            _ => return None,
        };
        borders.extend([span.start, span.end]);
        spans.push((span, rule.action.value()));
    }
    borders.sort_unstable();
    borders.dedup();
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for border in borders.into_iter().filter(|border| *border < WORDS) {
        let found = spans.iter().find(|(span, _)| span.contains(&border));
        let outcome = found.map_or(default.value(), |(_, action)| *action);
        if ranges.last().is_none_or(|before| before.outcome != outcome) {
            ranges.push(Range { first: border as u32, outcome });
        }
    }
    Some((u32::from(rules[0].conditions[0].argument), ranges))
}

/// Goes on at `yes` if the condition holds. Of a 32-bit program's argument only the low word counts, as in libseccomp.
fn compare(writer: &mut Writer, condition: Condition, arch: Arch, yes: Target, no: Target) -> Target {
    let Condition { argument, comparison, value } = condition;
    let (mask, value) = match comparison {
        Comparison::MaskedEqual(mask) => (mask, value & mask),
        _ => (u64::MAX, value),
    };
    let (high, low) = ((value >> 32) as u32, value as u32);
    let (test, yes, no) = match comparison {
        Comparison::Equal | Comparison::MaskedEqual(_) => (Test::Equal, yes, no),
        Comparison::NotEqual => (Test::Equal, no, yes),
        Comparison::Greater => (Test::Greater, yes, no),
        Comparison::LessOrEqual => (Test::Greater, no, yes),
        Comparison::GreaterOrEqual => (Test::GreaterOrEqual, yes, no),
        Comparison::Less => (Test::GreaterOrEqual, no, yes),
    };
    let word = ARGUMENTS + 8 * u32::from(argument);
    let masked = |writer: &mut Writer, mask: u32, then| if mask == u32::MAX { then } else { writer.and(mask, then) };
    let last = writer.branch(test, low, yes, no);
    let last = masked(writer, mask as u32, last);
    let last = writer.load(word, last);
    let high_mask = (mask >> 32) as u32;
    if !arch.is_64_bit() || high_mask == 0 {
        return last;
    }
    let equal = writer.branch(Test::Equal, high, last, no);
    let first = match test {
        Test::Equal => equal,
        Test::Greater | Test::GreaterOrEqual => writer.branch(Test::Greater, high, yes, equal),
    };
    let first = masked(writer, high_mask, first);
    writer.load(word + 4, first)
}
