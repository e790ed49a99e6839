//! What shows and compares recorded runs, and makes many of them.

use clap::Args;

use super::duration;
use crate::report::Format;

#[derive(Debug, Args)]
#[command(after_help = "Example: trace ls --kind cold --since 2h")]
pub struct Ls {
    /// Only runs of this image
    #[arg(long)]
    pub image: Option<String>,
    /// Only cold, warm or partial runs
    #[arg(long, value_parser = ["cold", "warm", "partial"])]
    pub kind: Option<String>,
    /// Only runs that failed or ended with another code than 0
    #[arg(long)]
    pub failed: bool,
    /// Only runs of the last 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<std::time::Duration>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace show last --format blame\n         trace show cold -o cold.html")]
pub struct Show {
    /// Id or begin of one, file, last, last~N, cold, warm, cold:IMAGE, warm:IMAGE
    #[arg(default_value = "last")]
    pub trace: String,
    /// How
    #[arg(long, value_parser = Format::names(Format::OF_RUN))]
    pub format: Option<String>,
    /// Write to FILE; without --format by its ending: .svg, .png, .html, .json or text
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example: trace compare cold:debian warm:debian\n         trace compare last~1 last -o change.md\n\n\
    A group is cold or warm (of the image that ran last), cold:IMAGE, warm:IMAGE, an id or the begin of one,\n\
    last, last~N, bench:ID:cold, bench:ID:warm, a file, a directory of files, or several of these joined by\n\
    commas; or attributes that all its runs have, KEY=VALUE joined by commas, where `service` and `operation` name\n\
    the service and a span. Without B it is the other kind of the same image; without both, all cold runs are\n\
    compared with all warm ones. With --jaeger or --tempo the runs are read from there and not kept:\n\
    trace compare --jaeger http://localhost:16686 --since 1d host.name=a,trace.run.kind=cold host.name=b,trace.run.kind=cold"
)]
pub struct Compare {
    /// What to compare with
    pub a: Option<String>,
    /// What to compare
    pub b: Option<String>,
    /// How [default: text, or by the ending of FILE]
    #[arg(long, value_parser = Format::names(Format::OF_COMPARISON))]
    pub format: Option<String>,
    /// Write to FILE: .txt, .md, .json, .svg, .png or .html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub remote: crate::cli::remote::Remote,
}

#[derive(Debug, Args)]
#[command(override_usage = "trace bench [FLAGS] IMAGE [COMMAND [ARG...]]")]
#[command(
    after_help = "Example: trace bench --cold 10 --warm 10 --hub builtin --vs podman,runc -o result.md hello-world\n\n\
    Flags come before IMAGE. Cold and warm runs, and engines, take turns. Every run is recorded (`trace ls`).\n\
    Ctrl-C ends after the current run with the statistics of what there is; the same command with --resume goes on."
)]
pub struct Bench {
    /// Cold runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub cold: usize,
    /// Warm runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub warm: usize,
    /// Other engines to time: docker, podman, crun, runc
    #[arg(long, value_name = "ENGINES", value_delimiter = ',', value_parser = ["docker", "podman", "crun", "runc"])]
    pub vs: Vec<String>,
    /// Before each cold run empty the kernel's page cache too (root only)
    #[arg(long)]
    pub drop_caches: bool,
    /// Registry for names without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// Send the recorded runs to an OpenTelemetry receiver when all are done
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Where Jaeger's user interface is, for a link to what was sent; none for no link [default: looked for where
    /// traces are sent to, port 16686]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Go on with the newest unfinished bench of the same command
    #[arg(long)]
    pub resume: bool,
    /// Results as JSON to stdout
    #[arg(long)]
    pub json: bool,
    /// Write results to FILE: .md or .json
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Image, and the command to run in it
    #[arg(value_name = "IMAGE [COMMAND", required = true, trailing_var_arg = true)]
    pub image_and_command: Vec<String>,
}
