//! Files recorded by other programs, compared with what those files say by other means.

use std::collections::{BTreeSet, HashSet};

use super::common::fixtures;
use super::common::same::assert_same;
use trace_run::formats::{WireFormat, read};
use trace_run::record::model::{Span, Trace};

/// A line of `expected.tsv`, made by `expect.py` from what we read.
fn line(name: &str, traces: &[Trace]) -> String {
    let spans: Vec<(&Trace, &Span)> = traces.iter().flat_map(|t| t.spans.iter().map(move |s| (t, s))).collect();
    let ids: HashSet<_> = spans.iter().map(|(t, s)| (t.id, s.id)).collect();
    let count = |test: &dyn Fn(&Trace, &Span) -> bool| spans.iter().filter(|(t, s)| test(t, s)).count();
    let longest = spans.iter().max_by_key(|(_, s)| (s.duration(), &s.name)).unwrap().1;
    let services: BTreeSet<&str> =
        spans.iter().filter_map(|(t, s)| t.origin(s)?.resource.str("service.name")).collect();
    [
        name.to_owned(),
        traces.len().to_string(),
        spans.len().to_string(),
        count(&|_, s| s.parent.is_some()).to_string(),
        count(&|t, s| s.parent.is_none_or(|p| !ids.contains(&(t.id, p)))).to_string(),
        spans.iter().map(|(_, s)| s.events.len()).sum::<usize>().to_string(),
        spans.iter().map(|(_, s)| s.links.len()).sum::<usize>().to_string(),
        count(&|_, s| s.status.is_error()).to_string(),
        spans.iter().map(|(_, s)| s.duration()).sum::<u64>().to_string(),
        longest.duration().to_string(),
        longest.name.to_string(),
        services.into_iter().collect::<Vec<_>>().join(","),
    ]
    .join("\t")
}

#[test]
fn every_file_is_read_as_its_own_program_means_it() {
    let expected = std::fs::read_to_string(fixtures::directory().join("expected.tsv")).unwrap();
    let expected: Vec<&str> = expected.lines().skip(1).collect();
    let got: Vec<String> = fixtures::all()
        .iter()
        .map(|path| {
            let traces = read::read(path).unwrap_or_else(|e| panic!("{e}"));
            line(&path.file_name().unwrap().to_string_lossy(), &traces)
        })
        .collect();
    assert!(got.len() >= 20, "{} files", got.len());
    assert_eq!(got, expected);
}

#[test]
fn what_was_read_goes_out_and_comes_back_the_same() {
    for path in fixtures::all() {
        let traces = read::read(&path).unwrap();
        for format in [WireFormat::Otlp, WireFormat::OtlpProto] {
            let again = read::parse(&format.render(&traces), &path).unwrap();
            assert_eq!(again.len(), traces.len(), "{} as {}", path.display(), format.name());
            again.iter().zip(&traces).for_each(|(again, trace)| assert_same(again, trace));
        }
        let again = read::parse(&WireFormat::Jaeger.render(&traces), &path).unwrap();
        assert_eq!(spans(&again), spans(&traces), "{} as jaeger", path.display());
    }
}

/// What Jaeger's form surely keeps.
fn spans(traces: &[Trace]) -> Vec<String> {
    let one = |t: &Trace, s: &Span| {
        format!(
            "{} {} {:?} {} {:?} {} {} {:?} {}",
            t.id,
            s.id,
            s.parent,
            s.name,
            s.kind,
            s.start,
            s.end,
            s.status,
            s.links.len()
        )
    };
    let mut all: Vec<String> =
        traces.iter().flat_map(|t| t.spans.iter().map(|s| one(t, s)).collect::<Vec<_>>()).collect();
    all.sort();
    all
}

#[test]
fn compressed_files_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for (packed, plain) in [("dockerd-cold.pb.gz", "dockerd-cold.pb"), ("jaeger-v3-cri.json.zst", "jaeger-v3-cri.json")]
    {
        assert_eq!(
            read::read(&fixtures::compressed(packed, dir.path())).unwrap(),
            read::read(&fixtures::directory().join(plain)).unwrap()
        );
    }
}
