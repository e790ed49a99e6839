//! The command line as clap sees it. Plain options for the engine are made from it by the commands.

use clap::{Args, Parser, Subcommand};

/// Run a container and see where the time goes.
#[derive(Debug, Parser)]
#[command(name = "trace", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Example: trace run hello-world")]
pub struct Cli {
    /// Show the chain of causes of an error
    #[arg(long, global = true)]
    pub verbose: bool,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// From the words of the command line.
    pub fn read() -> Result<Self, clap::Error> {
        let is_run = std::env::args_os().nth(1).is_some_and(|word| word == "run");
        if is_run && let Ok(OnlyRun { verbose, command: RunCommand::Run(args) }) = OnlyRun::try_parse() {
            return Ok(Cli { verbose, command: Command::Run(args) });
        }
        // Help and errors of `run` too: they speak of everything there is.
        Cli::try_parse()
    }
}

/// [`Cli`] with `run` as its only command. To build the parsers of all commands takes longer than to parse, and `run` is
/// the one whose time counts.
#[derive(Debug, Parser)]
#[command(name = "trace", disable_help_subcommand = true)]
struct OnlyRun {
    #[arg(long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<Run>),
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a container and show where the time went
    Run(Box<Run>),
    /// List recorded runs, newest first
    Ls(Ls),
    /// Show a recorded run
    Show(Show),
    /// Compare two recorded runs, or two groups of them
    Compare(Compare),
    /// Run an image many times, cold and warm in turn, with statistics
    Bench(Box<Bench>),
    /// Hand recorded runs to other tools
    Export(Export),
    /// Take in traces from files, Jaeger or Tempo
    Import(Import),
    /// Look at a recorded run in the browser
    Open(Open),
    /// Recorded runs as metrics for dashboards
    Metrics(Metrics),
    /// Pull an image
    Pull(Pull),
    /// List images
    Images(Images),
    /// Work with one image
    #[command(subcommand)]
    Image(Image),
    /// List containers
    Ps(Ps),
    /// Remove containers
    Rm(Rm),
    /// Show what a kept container wrote
    Logs(Logs),
    /// Remove exited containers and what no image needs
    Prune(Prune),
    /// The built-in registry
    #[command(subcommand)]
    Hub(Hub),
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "trace run [FLAGS] IMAGE [COMMAND [ARG...]]")]
#[command(after_help = "Example: trace run --rm -e GREETING=hello debian:12 sh -c 'echo $GREETING'\n\n\
    The container's output goes to stdout and stderr as it is; everything else goes to stderr.\n\
    Exit code: the container's; 125 an error of trace, 126 not executable, 127 not found, 128+n signal n.")]
pub struct Run {
    /// Forget the image first, with the layers that only it needs
    #[arg(long)]
    pub cold: bool,
    /// Registry for names without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// What to print at the end
    #[arg(long, value_name = "HOW", default_value = "full", value_parser = ["full", "summary", "none"])]
    pub report: String,
    /// Write the report to FILE: .svg, .png, .html, .json or text, by its ending
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Write the trace (one line of OTLP JSON) to FILE too
    #[arg(long, value_name = "FILE")]
    pub trace_out: Option<std::path::PathBuf>,
    /// Send the trace to an OpenTelemetry receiver after the container has gone; port 4317 or grpc:// is gRPC, else
    /// HTTP; in place of $OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Where Jaeger's user interface is, for a link to what was sent; none for no link [default: looked for where
    /// traces are sent to, port 16686]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Record the command line in the trace
    #[arg(long)]
    pub record_args: bool,
    /// Record these entries of the caller's $BAGGAGE in the trace; `*` for all
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub record_baggage: Vec<String>,
    /// Hand the trace's context and the OTLP endpoint into the container, so that its program's spans hang under
    /// `container.run`: TRACEPARENT, TRACESTATE, BAGGAGE, OTEL_EXPORTER_OTLP_ENDPOINT and _PROTOCOL
    #[arg(long)]
    pub propagate: bool,
    /// The same with the headers of the export (OTEL_EXPORTER_OTLP_HEADERS), which may hold secrets
    #[arg(long)]
    pub propagate_headers: bool,
    /// Remove recorded runs beyond LIMITS (a number, a size, an age, or several by comma; all keeps all) now; by
    /// itself that happens now and then, by $TRACE_KEEP_TRACES, else 10000,1GiB
    #[arg(long, value_name = "LIMITS", value_parser = crate::store::retention::Keep::parse)]
    pub keep_traces: Option<crate::store::retention::Keep>,
    /// auto, or none to run the program without a container
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "none"])]
    pub isolation: String,
    /// Keep the container after it exits
    #[arg(long, conflicts_with = "rm")]
    pub keep: bool,
    /// Remove the container after it exits (the default without --name)
    #[arg(long)]
    pub rm: bool,
    /// Name of the container, which is then kept unless --rm is given
    #[arg(long)]
    pub name: Option<String>,
    /// Set an environment variable; KEY alone takes the value from here
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Read environment variables from FILE
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<std::path::PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// User or uid, optionally with :group or :gid
    #[arg(short, long)]
    pub user: Option<String>,
    /// Program to run in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Host name of the container
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Network of the container
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "none", value_parser = ["none", "host"])]
    pub network: String,
    /// Platform, e.g. linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Mount the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,
    /// Keep stdin open, as it always is here
    #[arg(short, long)]
    pub interactive: bool,
    /// Don't show the pull
    #[arg(short, long)]
    pub quiet: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image, and the command to run in it
    #[arg(value_name = "IMAGE [COMMAND", trailing_var_arg = true)]
    pub image_and_command: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace export last --format otlp -o run.otlp.jsonl\n         \
    trace export cold -o cold.perfetto-trace\n         trace export --all --otlp http://localhost:4318\n         \
    trace export --pending\n\n\
    Endings: .jsonl .otlp.json (otlp), .pb .binpb (otlp-proto), .jaeger.json (jaeger), .chrome.json .trace.json (chrome),\n\
    .perfetto-trace .pftrace (perfetto).\n\n\
    --otlp URL: port 4317 or grpc:// (grpcs:// with TLS) is gRPC, else HTTP, unless $OTEL_EXPORTER_OTLP_PROTOCOL says\n\
    otherwise; headers, certificates, compression and timeout come from the $OTEL_EXPORTER_OTLP_* variables.")]
pub struct Export {
    /// Recorded runs: ids, files, last, last~N, cold, warm [default: last]
    #[arg(value_name = "TRACE")]
    pub traces: Vec<String>,
    /// The form to write [default: by the ending of FILE, else otlp]
    #[arg(long, value_name = "FORMAT", value_parser = crate::formats::Format::NAMES)]
    pub format: Option<String>,
    /// Write to FILE in place of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["otlp", "pending"])]
    pub output: Option<std::path::PathBuf>,
    /// Send to an OpenTelemetry receiver in place of writing
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Where Jaeger's user interface is, for a link to what was sent; none for no link [default: looked for where
    /// traces are sent to, port 16686]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// All recorded runs that URL has not had yet
    #[arg(long, requires = "otlp", conflicts_with = "traces")]
    pub all: bool,
    /// With --all: also those that URL has had
    #[arg(long, requires = "all")]
    pub again: bool,
    /// Send the runs that could not be sent, to where they should have gone or to the URL of --otlp
    #[arg(long, conflicts_with_all = ["traces", "all"])]
    pub pending: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace import dockerd.otlp.jsonl\n         \
    trace import --jaeger http://localhost:16686 --since 1h\n\n\
    Takes OTLP (JSON, Protobuf) and Jaeger JSON, also in gzip or zstd. A trace that is there already gets the spans it lacks.\n\
    With --jaeger or --tempo the words are ids of traces; without any it is all traces of the service in that\n\
    time, the newest first. What was interrupted goes on when the same command is given again.")]
pub struct Import {
    /// Files; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["jaeger", "tempo"])]
    pub files: Vec<std::path::PathBuf>,
    #[command(flatten)]
    pub live: super::live::Live,
    /// Don't go on where the same import was interrupted
    #[arg(long)]
    pub restart: bool,
    /// Leave the names of other engines' spans as they are
    #[arg(long)]
    pub keep_names: bool,
    /// One JSON object a trace; from a tracing back end one for all
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace open last\n\n\
    Opens the run's page in Jaeger if it is known and has it, else the run's report. The browser is $BROWSER, else\n\
    the desktop's; without one the address is printed, nothing else.")]
pub struct Open {
    /// Id or begin of one, file, last, last~N, cold, warm, cold:IMAGE, warm:IMAGE
    #[arg(default_value = "last")]
    pub trace: String,
    /// Where Jaeger's user interface is [default: looked for where traces are sent to, port 16686]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// The report, even if Jaeger has the run
    #[arg(long)]
    pub html: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace metrics --since 1d -o /var/lib/node_exporter/trace.prom\n         \
    trace metrics --otlp http://localhost:4318\n\n\
    Counters and histograms over the recorded runs by image and kind; exemplars carry the trace id. --otlp without a\n\
    URL goes by $OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT.")]
pub struct Metrics {
    /// Only runs of this image
    #[arg(long)]
    pub image: Option<String>,
    /// Only runs of the last 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<std::time::Duration>,
    /// OpenMetrics text, or OTLP JSON
    #[arg(long, value_name = "FORMAT", default_value = "prometheus", value_parser = ["prometheus", "otlp"])]
    pub format: String,
    /// Write to FILE in place of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "otlp")]
    pub output: Option<std::path::PathBuf>,
    /// Send to an OpenTelemetry receiver in place of writing
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub otlp: Option<String>,
}

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
    #[arg(long, value_parser = ["waterfall", "tree", "blame", "critical", "json", "summary", "svg", "png", "html"])]
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
    #[arg(long, value_parser = ["text", "json", "markdown", "svg", "png", "html"])]
    pub format: Option<String>,
    /// Write to FILE: .txt, .md, .json, .svg, .png or .html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub live: super::live::Live,
}

#[derive(Debug, Args)]
#[command(override_usage = "trace bench [FLAGS] IMAGE [COMMAND [ARG...]]")]
#[command(after_help = "Example: trace bench hello-world --cold 10 --warm 10 --vs docker,podman -o result.md\n\n\
    Flags come before IMAGE. Cold and warm runs, and engines, take turns. Every run is recorded (`trace ls`).\n\
    Ctrl-C ends after the current run with the statistics of what there is; the same command with --resume goes on.")]
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

#[derive(Debug, Args)]
#[command(after_help = "Example: trace pull debian:12")]
pub struct Pull {
    /// Image
    pub image: String,
    /// Registry for names without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// Platform, e.g. linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// What to print at the end
    #[arg(long, value_name = "HOW", default_value = "full", value_parser = ["full", "summary", "none"])]
    pub report: String,
    /// Write the report to FILE: .svg, .png, .html, .json or text, by its ending
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Write the trace (one line of OTLP JSON) to FILE too
    #[arg(long, value_name = "FILE")]
    pub trace_out: Option<std::path::PathBuf>,
    /// Send the trace to an OpenTelemetry receiver; port 4317 or grpc:// is gRPC, else
    /// HTTP; in place of $OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Where Jaeger's user interface is, for a link to what was sent; none for no link [default: looked for where
    /// traces are sent to, port 16686]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Remove recorded runs beyond LIMITS (a number, a size, an age, or several by comma; all keeps all) now; by
    /// itself that happens now and then, by $TRACE_KEEP_TRACES, else 10000,1GiB
    #[arg(long, value_name = "LIMITS", value_parser = crate::store::retention::Keep::parse)]
    pub keep_traces: Option<crate::store::retention::Keep>,
    /// Print the image's name only
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace images")]
pub struct Images {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Remove images
    #[command(after_help = "Example: trace image rm hello-world")]
    Rm {
        /// Names
        #[arg(required = true)]
        images: Vec<String>,
        /// Also where a container was made from it
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace ps -a")]
pub struct Ps {
    /// Exited ones too
    #[arg(short, long)]
    pub all: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace rm my-container")]
pub struct Rm {
    /// Names or ids
    #[arg(required = true)]
    pub containers: Vec<String>,
    /// Running ones too: they are killed
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace logs my-container")]
pub struct Logs {
    /// Name or id
    pub container: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace prune -f")]
pub struct Prune {
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
    /// Remove recorded runs beyond LIMITS (a number, a size, an age, or several by comma; all keeps all) now; by
    /// itself that happens now and then, by $TRACE_KEEP_TRACES, else 10000,1GiB
    #[arg(long, value_name = "LIMITS", value_parser = crate::store::retention::Keep::parse)]
    pub keep_traces: Option<crate::store::retention::Keep>,
}

#[derive(Debug, Subcommand)]
pub enum Hub {
    /// Serve the built-in registry to any OCI client
    #[command(after_help = "Example: trace hub serve --listen 127.0.0.1:5000\n         \
        skopeo inspect --tls-verify=false docker://127.0.0.1:5000/library/hello-world")]
    Serve {
        /// Address; port 0 takes a free one
        #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDR")]
        listen: std::net::SocketAddr,
        /// Don't print a line for each request
        #[arg(short, long)]
        quiet: bool,
    },
}

/// Flags of the contract that are not built yet: they are refused by name, never ignored.
const NOT_YET: &[&str] = &[
    "-d",
    "--detach",
    "-t",
    "--tty",
    "-v",
    "--volume",
    "--mount",
    "--tmpfs",
    "-p",
    "--publish",
    "--pull",
    "-m",
    "--memory",
    "--cpus",
    "--pids-limit",
    "--cap-add",
    "--cap-drop",
    "--init",
    "--privileged",
    "--security-opt",
    "--ulimit",
    "--label",
    "-l",
    "--add-host",
    "--dns",
    "--stop-signal",
    "--stop-timeout",
    "--cidfile",
    "--link",
    "--runtime",
    "--engine",
    "--fault",
];

/// Commands of the contract that are not built yet.
const COMMANDS_NOT_YET: &[&str] =
    &["simulate", "push", "load", "save", "inspect", "stats", "wait", "stop", "kill", "exec", "completions"];

/// One sentence for a flag or command that this version does not have but a later one will.
pub fn not_yet(error: &clap::Error) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(s)) => Some(s.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let arg = context(ContextKind::InvalidArg)?;
            let flag = arg.split(['=', ' ']).next()?;
            NOT_YET.contains(&flag).then(|| format!("`{flag}` is not built yet"))
        }
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand)?;
            COMMANDS_NOT_YET.contains(&name).then(|| format!("`trace {name}` is not built yet"))
        }
        _ => None,
    }
}

/// `90s`, `15m`, `2h`, `3d`; a bare number is seconds.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("`{text}` is no length of time: expected e.g. `90s`, `15m`, `2h` or `3d`");
    let (number, unit) = match text.char_indices().last() {
        Some((at, c)) if c.is_ascii_alphabetic() => (&text[..at], c),
        _ => (text, 's'),
    };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_parsed_alike_both_ways() {
        for words in [
            "trace run hello-world",
            "trace run --verbose -e A=1 -e B --name=x -u 1:2 --cold --network host debian:12 sh -c --rm",
            "trace run --rm --hub localhost:5000 -- image -x --verbose",
        ] {
            let words: Vec<_> = words.split(' ').collect();
            let OnlyRun { verbose, command: RunCommand::Run(args) } = OnlyRun::try_parse_from(&words).unwrap();
            let all = Cli::try_parse_from(&words).unwrap();
            assert_eq!(format!("{:?}", Cli { verbose, command: Command::Run(args) }), format!("{all:?}"), "{words:?}");
        }
    }
}
