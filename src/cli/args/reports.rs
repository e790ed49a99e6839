//! What shows and compares recorded runs, and makes many of them.

use clap::Args;

use super::duration;
use crate::report::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example: trace ls --kind cold --since 2h")]
pub struct Ls {
    /// Only runs of this image, which may be the end of its name
    #[arg(long)]
    pub image: Option<String>,
    /// Only runs of this kind
    #[arg(long, value_parser = ["cold", "warm", "partial"])]
    pub kind: Option<String>,
    /// Only runs that failed or exited with a code other than 0
    #[arg(long)]
    pub failed: bool,
    /// Only runs of this last period, for example 90s, 15m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<std::time::Duration>,
    /// List at most N runs
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace show last --format blame\n         trace show cold -o cold.html")]
pub struct Show {
    /// Run to take: an id or its first characters, a file or `-`, last, last~N, cold, warm, cold:IMAGE, warm:IMAGE or
    /// IMAGE
    #[arg(default_value = "last")]
    pub trace: String,
    /// Form of the report; `waterfall` has all rows [default: short, or by the ending of FILE]
    #[arg(long, value_parser = Format::names(Format::OF_RUN))]
    pub format: Option<String>,
    /// Write to FILE; its ending chooses the form: .txt, .json, .svg, .png or .html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example: trace compare cold:debian warm:debian\n         trace compare last~1 last -o change.md\n\n\
    A group is cold or warm (of the image that ran last), cold:IMAGE, warm:IMAGE, an id or its first characters,\n\
    last, last~N, bench:ID:cold, bench:ID:warm, a file, a directory of files, or several of these separated by\n\
    commas. It can also be given by attributes that all its runs have: KEY=VALUE, separated by commas, where\n\
    `service` and `operation` stand for the service and the name of a span. Without B, A is compared with the other\n\
    kind of the same image; without both, all cold runs are compared with all warm ones. With --jaeger or --tempo\n\
    the runs are read from there and not stored:\n\
    trace compare --jaeger http://localhost:16686 --since 1d host.name=a,trace.run.kind=cold host.name=b,trace.run.kind=cold"
)]
pub struct Compare {
    /// Run or group to compare with
    pub a: Option<String>,
    /// Run or group to compare
    pub b: Option<String>,
    /// Form of the comparison [default: text, or by the ending of FILE]
    #[arg(long, value_parser = Format::names(Format::OF_COMPARISON))]
    pub format: Option<String>,
    /// Write to FILE, which ends in .txt, .md, .json, .svg, .png or .html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub remote: crate::cli::remote::Remote,
}

#[derive(Debug, Args)]
#[command(override_usage = "trace bench [FLAGS] IMAGE [COMMAND [ARG...]]")]
#[command(
    after_help = "Example: trace bench --cold 10 --warm 10 --hub builtin --vs podman,runc -o result.md hello-world\n         trace bench --check 'warm<10ms,cold<2x last-week' hello-world\n\n\
    Flags come before IMAGE. Cold and warm runs, and engines, alternate. Every run is recorded (`trace ls`).\n\
    Ctrl-C ends the bench after the current run, with statistics so far; the same command with --resume continues."
)]
pub struct Bench {
    /// Number of cold runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub cold: usize,
    /// Number of warm runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub warm: usize,
    /// Other engines to measure: docker, podman, crun, runc
    #[arg(long, value_name = "ENGINES", value_delimiter = ',', value_parser = ["docker", "podman", "crun", "runc"])]
    pub vs: Vec<String>,
    /// Drop the kernel's page cache before each cold run as well (root only)
    #[arg(long)]
    pub drop_caches: bool,
    /// Registry for image references without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// Send the recorded runs to this OpenTelemetry receiver when all are done
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Jaeger's user interface, for links to exported runs; `none` prints no link [default: port 16686 on the host
    /// that traces are sent to]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Continue the newest unfinished bench of the same command
    #[arg(long)]
    pub resume: bool,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
    /// Bounds for the medians, for CI: exit code 1 if one is not kept. KIND<TIME, or KIND<Nx REFERENCE, which is
    /// `cold`, `warm`, an earlier result.json, or benches of the same command in `last-week` or another last period
    #[arg(long, value_name = "BOUNDS")]
    pub check: Vec<String>,
    /// Write the times to FILE in the form of hyperfine's --export-json
    #[arg(long, value_name = "FILE")]
    pub export_hyperfine: Option<std::path::PathBuf>,
    /// Write the results to FILE, which ends in .md or .json
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Image, and the command to run in it
    #[arg(value_name = "IMAGE [COMMAND", required = true, trailing_var_arg = true)]
    pub image_and_command: Vec<String>,
}
