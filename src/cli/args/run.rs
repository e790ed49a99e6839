//! What runs containers and gets images.

use clap::Args;

use crate::store::Durability;

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
    /// Hand the trace's context and the OTLP endpoint into the container, so that its program's spans hang under
    /// `container.run`: TRACEPARENT, TRACESTATE, BAGGAGE, OTEL_EXPORTER_OTLP_ENDPOINT and _PROTOCOL
    #[arg(long)]
    pub propagate: bool,
    /// The same with the headers of the export (OTEL_EXPORTER_OTLP_HEADERS), which may hold secrets
    #[arg(long)]
    pub propagate_headers: bool,
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
    /// Pass stdin on; without this the program reads an empty one
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
    /// What a power cut may cost: `none`, nothing is flushed; `default`, nothing that was there before, and a lost file of a
    /// new image is noticed and made again; `full`, an image is on storage before it is said to be pulled
    #[arg(long, env = "TRACE_DURABILITY", default_value = "default", value_name = "HOW", value_parser = Durability::NAMES)]
    pub durability: String,
    #[command(flatten)]
    pub recording: Recording,
    /// Print the image's name only
    #[arg(short, long)]
    pub quiet: bool,
}

/// What becomes of the trace.
#[derive(Debug, Args)]
pub struct Recording {
    /// What to print at the end
    #[arg(long, value_name = "HOW", default_value = "full", value_parser = ["full", "summary", "none"])]
    pub report: String,
    /// Write the report to FILE: .svg, .png, .html, .json or text, by its ending
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<std::path::PathBuf>,
    /// Write the trace (one line of OTLP JSON) to FILE too
    #[arg(long, value_name = "FILE")]
    pub trace_out: Option<std::path::PathBuf>,
    /// Send the trace to an OpenTelemetry receiver when all is done; port 4317 or grpc:// is gRPC, else
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
}
