//! `--check`: bounds that the medians of a bench must keep, `warm<10ms,cold<2x last-week`, for CI.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CliError, state};
use crate::analyze::bench::{Bench, BenchRun, OURS, succeeded};
use crate::analyze::stats::median;
use crate::report::{Style, units};
use crate::store::Store;

/// One bound.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// As it was typed.
    typed: String,
    kind: String,
    bound: Bound,
}

#[derive(Clone, Debug, PartialEq)]
enum Bound {
    /// ns.
    Time(f64),
    /// So many times the median of something else.
    Times(f64, Reference),
}

#[derive(Clone, Debug, PartialEq)]
enum Reference {
    /// The other kind of this bench.
    Kind(String),
    /// Benches of the same command in this last period.
    Past(Duration),
    /// What `-o FILE.json` wrote.
    File(PathBuf),
}

impl Check {
    /// All bounds of one flag.
    pub fn parse_all(text: &str) -> Result<Vec<Check>, String> {
        text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Check::parse).collect()
    }

    fn parse(text: &str) -> Result<Check, String> {
        let wrong = || {
            format!(
                "`{text}` is no check: expected e.g. `warm<10ms`, `cold<2x last-week`, `warm<0.5x cold` or \
                `cold<1.5x result.json`"
            )
        };
        let (kind, bound) = text.split_once('<').ok_or_else(wrong)?;
        let (kind, bound) = (kind.trim(), bound.trim());
        if !matches!(kind, "cold" | "warm") {
            return Err(wrong());
        }
        let bound = match bound.split_once(['x', '×']) {
            Some((factor, reference)) if factor.trim().parse::<f64>().is_ok() => {
                let factor: f64 = factor.trim().parse().map_err(|_| wrong())?;
                Bound::Times(factor, reference_of(reference.trim()).ok_or_else(wrong)?)
            }
            _ => Bound::Time(time(bound).ok_or_else(wrong)?),
        };
        Ok(Check { typed: text.to_owned(), kind: kind.to_owned(), bound })
    }

    /// Refuses a reference that cannot be read, before anything is measured.
    pub fn can_be_judged(&self) -> Result<(), CliError> {
        match &self.bound {
            Bound::Times(_, Reference::File(path)) => read(path).map(drop),
            _ => Ok(()),
        }
    }

    /// A sentence if the bound is not kept; a note if there is nothing to hold it against.
    pub fn judge(&self, bench: &Bench, store: &Store) -> Result<Judgement, CliError> {
        let ours = |r: &&BenchRun| r.engine == OURS && r.kind == self.kind;
        let Some(here) = middle(bench.runs.iter().filter(ours)) else {
            return Ok(Judgement::Broken(format!("`{}`: there is no {} run that went well", self.typed, self.kind)));
        };
        let (bound, whose) = match &self.bound {
            Bound::Time(ns) => (*ns, String::new()),
            Bound::Times(factor, reference) => {
                let Some(there) = self.median_of(reference, bench, store)? else {
                    let none = format!("`{}`: there is nothing yet to hold it against", self.typed);
                    return Ok(Judgement::Unknown(none));
                };
                (factor * there, format!(", {factor} times {}", span(there)))
            }
        };
        let sentence = format!("`{}`: {} took {} (bound {}{whose})", self.typed, self.kind, span(here), span(bound));
        Ok(if here < bound { Judgement::Kept(sentence) } else { Judgement::Broken(sentence) })
    }

    fn median_of(&self, reference: &Reference, bench: &Bench, store: &Store) -> Result<Option<f64>, CliError> {
        let of_kind = |kind: &str| {
            let kind = kind.to_owned();
            move |r: &&BenchRun| r.engine == OURS && r.kind == kind
        };
        Ok(match reference {
            Reference::Kind(kind) => middle(bench.runs.iter().filter(of_kind(kind))),
            Reference::File(path) => middle(read(path)?.runs.iter().filter(of_kind(&self.kind))),
            Reference::Past(period) => {
                let first = bench.runs.iter().map(|r| r.start_unix_ns).min().unwrap_or(u64::MAX);
                let from = first.saturating_sub(u64::try_from(period.as_nanos()).unwrap_or(u64::MAX));
                let like = |b: &Bench| {
                    b.id != bench.id && b.plan.image == bench.plan.image && b.plan.command == bench.plan.command
                };
                let past: Vec<BenchRun> = state::all(store)
                    .into_iter()
                    .filter(|b| like(b) && b.machine == bench.machine && b.plan.hub == bench.plan.hub)
                    .flat_map(|b| b.runs)
                    .filter(|r| r.start_unix_ns >= from)
                    .collect();
                middle(past.iter().filter(of_kind(&self.kind)))
            }
        })
    }
}

/// What `-o FILE.json` wrote.
fn read(path: &Path) -> Result<Bench, CliError> {
    let fail = |source| CliError::File { action: "read", path: path.display().to_string(), source };
    let text = std::fs::read_to_string(path).map_err(fail)?;
    serde_json::from_str(&text).map_err(|e| fail(std::io::Error::other(e)))
}

/// What became of a bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    Kept(String),
    Broken(String),
    Unknown(String),
}

fn middle<'r>(runs: impl Iterator<Item = &'r BenchRun>) -> Option<f64> {
    let mut times: Vec<f64> = runs.filter(|r| succeeded(r)).map(|r| r.process_ns as f64).collect();
    times.sort_by(f64::total_cmp);
    median(&times)
}

fn span(ns: f64) -> String {
    units::precise(ns.round().max(0.0) as u64, &Style::default())
}

fn reference_of(word: &str) -> Option<Reference> {
    let days = |n: u64| Some(Reference::Past(Duration::from_secs(n * 86_400)));
    match word {
        "" => None,
        "cold" | "warm" => Some(Reference::Kind(word.to_owned())),
        "last-day" => days(1),
        "last-week" => days(7),
        "last-month" => days(30),
        word => match super::super::args::duration(word) {
            Ok(period) => Some(Reference::Past(period)),
            Err(_) => Some(Reference::File(Path::new(word).to_owned())),
        },
    }
}

/// `10ms`, `1.5 s`, `800us`.
fn time(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_alphabetic() || c == 'µ')?;
    let number: f64 = text[..at].trim().parse().ok()?;
    let unit = match &text[at..] {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "min" | "m" => 6e10,
        _ => return None,
    };
    (number > 0.0).then_some(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read() {
        let bound = |text: &str| Check::parse(text).map(|c| c.bound);
        assert_eq!(bound("warm<10ms"), Ok(Bound::Time(1e7)));
        assert_eq!(bound("cold < 1.5 s"), Ok(Bound::Time(1.5e9)));
        let week = Reference::Past(Duration::from_secs(7 * 86_400));
        assert_eq!(bound("cold<2x last-week"), Ok(Bound::Times(2.0, week.clone())));
        assert_eq!(bound("cold<2x 7d"), Ok(Bound::Times(2.0, week)));
        assert_eq!(bound("warm<0.5x cold"), Ok(Bound::Times(0.5, Reference::Kind("cold".into()))));
        assert_eq!(bound("warm<1.1x old.json"), Ok(Bound::Times(1.1, Reference::File("old.json".into()))));
        assert_eq!(Check::parse_all("warm<10ms, cold<2x last-week").unwrap().len(), 2);
        for wrong in ["warm", "hot<1ms", "warm>1ms", "warm<", "warm<10", "warm<-1ms", "warm<2x"] {
            assert!(bound(wrong).is_err(), "{wrong}");
        }
    }
}
