//! What runs containers and gets images.

use clap::Args;

use crate::store::Durability;

#[derive(Debug, Args)]
#[command(disable_help_flag = true, override_usage = "trace run [FLAGS] IMAGE [COMMAND [ARG...]]")]
#[command(after_help = "Example: trace run --rm -e GREETING=hello debian:12 sh -c 'echo $GREETING'\n\n\
    The output of the container goes to stdout and stderr unchanged; everything else goes to stderr.\n\
    The exit code is the container's: 125 is an error of trace, 126 means that the command cannot be executed, 127\n\
    that it was not found, and 128+n that signal n ended it.")]
pub struct Run {
    /// Forget the image first, with the layers that only it needs
    #[arg(long)]
    pub cold: bool,
    /// Registry for image references without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// What a power cut may cost: `none`, nothing is flushed; `default`, nothing that was there before, and a lost file of a
    /// new image is noticed and made again; `full`, an image is on storage before it is said to be pulled
    #[arg(long, env = "TRACE_DURABILITY", default_value = "default", value_name = "HOW", value_parser = Durability::NAMES)]
    pub durability: String,
    #[command(flatten)]
    pub recording: Recording,
    /// Record the command line in the trace
    #[arg(long)]
    pub record_args: bool,
    /// Record these entries of the caller's $BAGGAGE in the trace; `*` for all
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub record_baggage: Vec<String>,
    /// Pass the trace context and the OTLP endpoint into the container, so that spans of its program are children of
    /// `container.run`: TRACEPARENT, TRACESTATE, BAGGAGE, OTEL_EXPORTER_OTLP_ENDPOINT and _PROTOCOL
    #[arg(long)]
    pub propagate: bool,
    /// With --propagate, also pass the headers of the export (OTEL_EXPORTER_OTLP_HEADERS), which may hold secrets
    #[arg(long)]
    pub propagate_headers: bool,
    /// Isolation of the program; `none` runs it without a container
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "none"])]
    pub isolation: String,
    /// Keep the container after it exits
    #[arg(long, conflicts_with = "rm")]
    pub keep: bool,
    /// Remove the container after it exits (the default without --name)
    #[arg(long)]
    pub rm: bool,
    /// Name of the container, which is kept unless --rm is given
    #[arg(long)]
    pub name: Option<String>,
    /// Set an environment variable; KEY alone passes its value on
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
    /// Program to run instead of the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Host name of the container
    #[arg(short = 'h', long)]
    pub hostname: Option<String>,
    /// Network of the container
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "none", value_parser = ["none", "host"])]
    pub network: String,
    /// Platform to choose from an index, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// Mount the root filesystem read-only
    #[arg(long)]
    pub read_only: bool,
    /// Pass standard input on; without this the program reads an empty one
    #[arg(short, long)]
    pub interactive: bool,
    /// Print nothing about the pull
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
#[command(after_help = "Example: trace pull debian:12")]
pub struct Pull {
    /// Image to pull
    pub image: String,
    /// Registry for image references without a host: auto, docker.io, builtin or HOST
    #[arg(long, env = "TRACE_HUB", default_value = "auto", value_name = "HUB")]
    pub hub: String,
    /// Platform to choose from an index, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// What a power cut may cost: `none`, nothing is flushed; `default`, nothing that was there before, and a lost file of a
    /// new image is noticed and made again; `full`, an image is on storage before it is said to be pulled
    #[arg(long, env = "TRACE_DURABILITY", default_value = "default", value_name = "HOW", value_parser = Durability::NAMES)]
    pub durability: String,
    #[command(flatten)]
    pub recording: Recording,
    /// Print only the name of the image
    #[arg(short, long)]
    pub quiet: bool,
}

/// What becomes of the trace.
#[derive(Debug, Args)]
pub struct Recording {
    /// Report to print at the end
    #[arg(long, value_name = "HOW", default_value = "full", value_parser = ["full", "summary", "none"])]
    pub report: String,
    /// Write the report to FILE; its ending chooses the form: .svg, .png, .html, .json, or text for any other
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Write the trace to FILE as well, as one line of OTLP JSON
    #[arg(long, value_name = "FILE")]
    pub trace_out: Option<std::path::PathBuf>,
    /// Send the trace to this OpenTelemetry receiver at the end: port 4317 or grpc:// means gRPC, anything else HTTP
    /// [default: $OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Jaeger's user interface, for links to exported runs; `none` prints no link [default: port 16686 on the host
    /// that traces are sent to]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Remove recorded runs beyond LIMITS now: a number, a size, an age, or several separated by commas; `all` keeps
    /// all runs. Without it this happens from time to time [default: $TRACE_KEEP_TRACES, else 10000,1GiB]
    #[arg(long, value_name = "LIMITS", value_parser = crate::store::retention::Keep::parse)]
    pub keep_traces: Option<crate::store::retention::Keep>,
}
