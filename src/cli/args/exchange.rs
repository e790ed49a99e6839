//! What hands recorded runs to other tools and takes theirs in.

use clap::Args;

use super::duration;

#[derive(Debug, Args)]
#[command(after_help = "Example: trace export last --format otlp -o run.otlp.jsonl\n         \
    trace export cold -o cold.perfetto-trace\n         trace export --all --otlp http://localhost:4318\n         \
    trace export --pending\n\n\
    Endings: .jsonl .otlp.json (otlp), .pb .binpb (otlp-proto), .jaeger.json (jaeger), .chrome.json .trace.json (chrome),\n\
    .perfetto-trace .pftrace (perfetto).\n\n\
    --otlp URL: port 4317 or grpc:// (grpcs:// with TLS) is gRPC, else HTTP, unless $OTEL_EXPORTER_OTLP_PROTOCOL says\n\
    otherwise; headers, certificates, compression and timeout come from the $OTEL_EXPORTER_OTLP_* variables.")]
pub struct Export {
    /// Runs to export: ids, files or `-`, last, last~N, cold, warm, cold:IMAGE, warm:IMAGE or IMAGE [default: last]
    #[arg(value_name = "TRACE")]
    pub traces: Vec<String>,
    /// Form to write [default: by the ending of FILE, else otlp]
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = crate::formats::WireFormat::NAMES,
        conflicts_with_all = ["otlp", "pending"]
    )]
    pub format: Option<String>,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["otlp", "pending"])]
    pub output: Option<std::path::PathBuf>,
    /// Send to this OpenTelemetry receiver instead of writing
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Jaeger's user interface, for links to exported runs; `none` prints no link [default: port 16686 on the host
    /// that traces are sent to]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// All recorded runs; with --otlp, those that URL has not received yet
    #[arg(long, conflicts_with = "traces")]
    pub all: bool,
    /// With --all, also those that URL has received
    #[arg(long, requires_all = ["all", "otlp"])]
    pub again: bool,
    /// Send the runs that could not be sent before, to their original destination or to the URL of --otlp
    #[arg(long, conflicts_with_all = ["traces", "all"])]
    pub pending: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace import dockerd.otlp.jsonl\n         \
    trace import --jaeger http://localhost:16686 --since 1h\n\n\
    Reads OTLP (JSON, Protobuf), Jaeger and Zipkin JSON and what SDKs print, also compressed with gzip or zstd. A\n\
    trace that is already in the store gets the spans that it lacks.\n\
    With --jaeger or --tempo the words are ids of traces; without any it is all traces of the service in that\n\
    time, the newest first. What was interrupted goes on when the same command is given again.")]
pub struct Import {
    /// Files to import; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present_any = ["jaeger", "tempo"])]
    pub files: Vec<std::path::PathBuf>,
    #[command(flatten)]
    pub remote: crate::cli::remote::Remote,
    /// Start over instead of continuing an interrupted import
    #[arg(long)]
    pub restart: bool,
    /// Keep the span names of other engines as they are
    #[arg(long)]
    pub keep_names: bool,
    /// Print one JSON object per trace; for a tracing back end, one for all
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace open last\n\n\
    Opens the run's page in Jaeger if it is known and has it, else the run's report. The browser is $BROWSER, else\n\
    the desktop's; without one the address is printed, nothing else.")]
pub struct Open {
    /// Run to take: an id or its first characters, a file or `-`, last, last~N, cold, warm, cold:IMAGE, warm:IMAGE or
    /// IMAGE
    #[arg(default_value = "last")]
    pub trace: String,
    /// Jaeger's user interface [default: port 16686 on the host that traces are sent to]
    #[arg(long, env = "TRACE_JAEGER_URL", hide_env_values = true, value_name = "URL")]
    pub jaeger_url: Option<String>,
    /// Open the report even if Jaeger has the run
    #[arg(long)]
    pub html: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace metrics --since 1d -o /var/lib/node_exporter/trace.prom\n         \
    trace metrics --otlp http://localhost:4318\n\n\
    Counters and histograms over the recorded runs by image and kind. In OpenMetrics and OTLP exemplars carry the trace\n\
    id; prometheus is the older text, without them, which node_exporter's textfile collector reads. --otlp without a URL\n\
    goes by $OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT.")]
pub struct Metrics {
    /// Only runs of this image, which may be the end of its name
    #[arg(long)]
    pub image: Option<String>,
    /// Only runs of this last period, for example 90s, 15m, 2h or 3d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub since: Option<std::time::Duration>,
    /// Form to write [default: prometheus for a FILE that ends in .prom, else openmetrics]
    #[arg(long, value_name = "FORMAT", value_parser = ["openmetrics", "prometheus", "otlp"], conflicts_with = "otlp")]
    pub format: Option<String>,
    /// Write to FILE instead of standard output
    #[arg(short, long, value_name = "FILE", conflicts_with = "otlp")]
    pub output: Option<std::path::PathBuf>,
    /// Send to this OpenTelemetry receiver instead of writing
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub otlp: Option<String>,
}
