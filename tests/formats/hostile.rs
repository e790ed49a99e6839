//! Files made to fill memory or to be read forever. Each is read in a process of its own, so that its memory can be
//! told.
#![allow(clippy::print_stdout, reason = "figures for whoever runs it by hand")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::common::lab::Lab;

/// Size of the files: large enough to tell a factor, small enough for a debug build.
const SIZE: usize = 12 << 20;
/// Memory that reading may take, by the size of the file, and besides.
const FACTOR: usize = 8;
const BESIDES: usize = 192 << 20;

fn repeated(head: &str, piece: &str, tail: &str) -> Vec<u8> {
    let times = (SIZE - head.len() - tail.len()) / piece.len();
    let mut out = head.as_bytes().to_vec();
    out.extend(piece.repeat(times).as_bytes());
    // The last piece ends with a comma.
    if out.ends_with(b",") {
        out.pop();
    }
    out.extend(tail.as_bytes());
    out
}

/// A message's field with a length.
fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(content.len() as u64, &mut out);
    out.extend(content);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Exit code, what was said, largest resident memory in bytes, time.
fn show(lab: &Lab, bytes: &[u8]) -> (i32, String, usize, Duration) {
    let path = lab.dir().join("hostile.json");
    std::fs::write(&path, bytes).unwrap();
    let begun = Instant::now();
    let trace = lab.command(&["show", "hostile.json", "--format", "summary"]);
    // `wait4` of the shell's child tells the peak; GNU time is not everywhere.
    let mut command = Command::new("python3");
    command
        .args(["-c", "import resource,subprocess,sys\ncode=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL).returncode\nprint(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"])
        .arg(trace.get_program())
        .args(trace.get_args())
        .env_clear()
        .envs(trace.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .current_dir(lab.dir())
        .stderr(Stdio::piped());
    let done = command.output().unwrap();
    let told = String::from_utf8(done.stdout).unwrap();
    let mut told = told.split_whitespace().map(|w| w.parse::<i64>().unwrap());
    let (code, peak) = (told.next().unwrap() as i32, told.next().unwrap() as usize * 1024);
    (code, String::from_utf8(done.stderr).unwrap(), peak, begun.elapsed())
}

#[test]
fn files_that_would_fill_memory_are_refused_or_stay_small() {
    if !super::common::have(&["python3"]) {
        return;
    }
    let ids = "\"traceId\":\"00000000000000000000000000000001\",\"spanId\":\"0000000000000001\"";
    let otlp = "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[";
    let span = format!("{otlp}{{{ids},");
    let attribute = "{\"key\":\"k\",\"value\":{\"stringValue\":\"v\"}}";
    // A resource of 1 MB and as many libraries as fit: together they would take terabytes.
    let large = format!(
        "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":[{{\"key\":\"k\",\"value\":{{\"stringValue\":\"{}\"}}}}]}},\"scopeSpans\":[",
        "x".repeat(1 << 20)
    );
    let libraries: String =
        (0..60_000).map(|i| format!("{{\"scope\":{{\"name\":\"{i}\"}},\"spans\":[{{{ids}}}]}},")).collect();
    let empty = field(2, &[]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty spans", repeated(otlp, "{},", "]}]}]}")),
        ("empty spans, spaced out", repeated(otlp, "{}                       ,", "]}]}]}")),
        ("empty attributes", repeated(&format!("{span}\"attributes\":["), "{},", "]}]}]}]}")),
        ("empty attributes, spaced out", repeated(&format!("{span}\"attributes\":["), "{}         ,", "]}]}]}]}")),
        ("events", repeated(&format!("{span}\"events\":["), "{}         ,", "]}]}]}]}")),
        (
            "one attribute, again and again",
            repeated(&format!("{span}\"attributes\":["), &format!("{attribute},"), "]}]}]}]}"),
        ),
        (
            "lists",
            repeated(
                "{\"data\":[{\"spans\":[{\"spanID\":\"1\",\"traceID\":\"1\",\"tags\":[{\"key\":\"k\",\"value\":[",
                "[],",
                "]}]}]}]}",
            ),
        ),
        (
            "numbers",
            repeated(
                "{\"data\":[{\"spans\":[{\"spanID\":\"1\",\"traceID\":\"1\",\"tags\":[{\"key\":\"k\",\"value\":[",
                "1,",
                "]}]}]}]}",
            ),
        ),
        (
            "tags",
            repeated("{\"data\":[{\"spans\":[{\"spanID\":\"1\",\"traceID\":\"1\",\"tags\":[", "{}         ,", "]}]}]}"),
        ),
        ("Jaeger's spans", repeated("{\"data\":[{\"spans\":[", "{}         ,", "]}]}")),
        ("Zipkin's spans", repeated("[{\"traceId\":\"1\",\"id\":\"1\"},", "{}         ,", "]")),
        ("Zipkin's annotations", repeated("[{\"traceId\":\"1\",\"id\":\"1\",\"annotations\":[", "{}         ,", "]}]")),
        ("a resource for each library", format!("{large}{}]}}]}}", libraries.trim_end_matches(',')).into_bytes()),
        ("Protobuf spans", field(1, &field(2, &empty.repeat(SIZE / 2)))),
        ("Protobuf resources", field(1, &[]).repeat(SIZE / 2)),
        ("Protobuf attributes", field(1, &field(2, &field(2, &field(9, &[]).repeat(SIZE / 2))))),
        ("Protobuf lists", field(1, &field(1, &field(1, &field(2, &field(5, &field(1, &[]).repeat(SIZE / 2))))))),
        ("a bomb", gzip(&vec![b' '; 200 << 20])),
        ("a bomb in a bomb", gzip(&gzip(&vec![b' '; 200 << 20]))),
        ("a bomb of zstd", zstd::encode_all(&vec![b' '; 200 << 20][..], 3).unwrap()),
        ("many records that swell", {
            let packed = zstd::encode_all(&vec![b' '; 8 << 20][..], 3).unwrap();
            [&(packed.len() as u32).to_be_bytes()[..], &packed].concat().repeat(1000)
        }),
        ("lists in lists", "[".repeat(SIZE).into_bytes()),
        ("objects in objects", "{\"data\":".repeat(SIZE / 8).into_bytes()),
    ];
    let lab = Lab::new();
    let mut wrong = Vec::new();
    for (what, bytes) in cases {
        let (code, said, peak, took) = show(&lab, &bytes);
        let most = bytes.len().min(64 << 20) * FACTOR + BESIDES;
        println!(
            "{what}: exit {code}, {} MiB from {} kB in {took:?}: {}",
            peak >> 20,
            bytes.len() >> 10,
            said.lines().next().unwrap_or_default().chars().take(140).collect::<String>()
        );
        // So many values for their size that reading them at all would be a waste.
        let crowded = ["empty attributes", "lists", "numbers", "Protobuf attributes"].contains(&what);
        if crowded && !(code == 125 && said.contains("that is no trace")) {
            wrong.push(format!("{what}: exit {code}: {said}"));
        }
        if peak > most || took > Duration::from_secs(120) || !(code == 0 || code == 125) || said.contains("panic") {
            wrong.push(format!("{what}: exit {code}, {} MiB of {}, {took:?}: {said}", peak >> 20, most >> 20));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
