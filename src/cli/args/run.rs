//! What runs containers and gets images.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Args};

use crate::container::options::boolean;

use crate::store::Durability;

#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    args_override_self = true,
    mut_args(values_may_begin_with_a_dash),
    override_usage = "trace run [FLAGS] IMAGE [COMMAND [ARG...]]"
)]
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
    /// What a power cut may cost: `none`, nothing is flushed; `default`, nothing that was there before, and a lost file
    /// of a new image is noticed and made again; `full`, an image is on storage before it is said to be pulled
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
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub rm: bool,
    /// Name of the container, which is kept unless --rm is given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub process: Process,
    /// Add a group of the image, or a gid
    #[arg(long, value_name = "GROUP")]
    pub group_add: Vec<String>,
    /// Program to run instead of the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<OsString>,
    /// Host name of the container
    #[arg(short = 'h', long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// NIS domain name of the container
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Add a line to /etc/hosts: NAME:ADDRESS or NAME=ADDRESS
    #[arg(long, value_name = "HOST")]
    pub add_host: Vec<String>,
    /// Name server of the container
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<String>,
    /// Domain to search names in; `.` for none
    #[arg(long, value_name = "DOMAIN")]
    pub dns_search: Vec<String>,
    /// Option of the resolver
    #[arg(long, value_name = "OPTION", visible_alias = "dns-opt")]
    pub dns_option: Vec<String>,
    /// Network of the container: none or host
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "none")]
    pub network: String,
    /// Platform to choose from an index, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub platform: Option<String>,
    /// When to pull the image: missing, always or never
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub pull: String,
    /// Mount a directory of the host or a volume of the store: [SOURCE:]TARGET[:ro,…]
    #[arg(short, long, value_name = "SPEC")]
    pub volume: Vec<OsString>,
    /// Mount a bind, volume or tmpfs: type=…,source=…,target=…
    #[arg(long, value_name = "SPEC")]
    pub mount: Vec<OsString>,
    /// Mount memory: PATH[:size=…,…]
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<OsString>,
    /// Share the mounts of a kept container
    #[arg(long, value_name = "CONTAINER[:ro]")]
    pub volumes_from: Vec<String>,
    /// Mount the root filesystem read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub read_only: bool,
    /// Memory that it may use, e.g. 512m
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<String>,
    /// Memory and swap together; -1 for all the swap there is
    #[arg(long, value_name = "BYTES")]
    pub memory_swap: Option<String>,
    /// Memory that it is left with when it is short
    #[arg(long, value_name = "BYTES")]
    pub memory_reservation: Option<String>,
    /// Let it wait instead of being killed when its memory is used up
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub oom_kill_disable: bool,
    /// How soon it is killed when the host has no more memory, -1000 to 1000
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub oom_score_adj: i32,
    /// Number of CPUs, e.g. 1.5
    #[arg(long, value_name = "CPUS")]
    pub cpus: Option<String>,
    /// Share of the CPUs against others, 1024 is the usual one
    #[arg(short = 'c', long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub cpu_shares: i64,
    /// Length of a CPU period in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, hide_default_value = true)]
    pub cpu_period: i64,
    /// CPU time in a period in microseconds
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0, hide_default_value = true)]
    pub cpu_quota: i64,
    /// CPUs that it may use, e.g. 0-2,4
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub cpuset_cpus: String,
    /// Memory nodes that it may use
    #[arg(long, value_name = "LIST", default_value = "", hide_default_value = true)]
    pub cpuset_mems: String,
    /// Number of processes that it may have; -1 for no limit
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub pids_limit: i64,
    /// Share of the disks against others, 10 to 1000
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub blkio_weight: u16,
    /// Resource limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    pub ulimit: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<String>,
    /// Kernel setting of its namespaces: NAME=VALUE
    #[arg(long, value_name = "SETTING")]
    pub sysctl: Vec<String>,
    /// Add a capability; ALL for all
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability; ALL for all
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Keep nothing of the host from it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub privileged: bool,
    /// seccomp=FILE or seccomp=unconfined: the system calls that the container may make (default: docker's);
    /// no-new-privileges: exec adds none; systempaths=unconfined: nothing of /proc and /sys is hidden
    #[arg(long, value_name = "OPTION")]
    pub security_opt: Vec<String>,
    /// Give it a device: HOST[:CONTAINER[:rwm]]
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<OsString>,
    /// Let it make and use nodes of devices: `c 10:200 rwm`
    #[arg(long, value_name = "RULE")]
    pub device_cgroup_rule: Vec<String>,
    /// Run a small init as its first process, which passes signals on and takes in orphans
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub init: bool,
    /// Process namespace: host, or its own
    #[arg(long, value_name = "HOW", default_value = "", hide_default_value = true)]
    pub pid: String,
    /// IPC namespace: none, private, shareable or host
    #[arg(long, value_name = "HOW", default_value = "", hide_default_value = true)]
    pub ipc: String,
    /// Host name namespace: host, or its own
    #[arg(long, value_name = "HOW", default_value = "", hide_default_value = true)]
    pub uts: String,
    /// User namespace: host
    #[arg(long, value_name = "HOW", default_value = "", hide_default_value = true)]
    pub userns: String,
    /// Cgroup namespace: private or host
    #[arg(long, value_name = "HOW", default_value = "", hide_default_value = true)]
    pub cgroupns: String,
    /// Set a label: KEY[=VALUE]
    #[arg(short, long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Read labels from FILE
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Set an OCI annotation: KEY=VALUE
    #[arg(long, value_name = "ANNOTATION")]
    pub annotation: Vec<String>,
    /// Write the container's id to FILE
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<OsString>,
    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds that it then has before it is killed
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<i64>,
    /// Port that its program listens on; for other programs to know
    #[arg(long, value_name = "PORT")]
    pub expose: Vec<String>,
    /// What becomes of a kept container's output: json-file or none
    #[arg(long, value_name = "DRIVER", default_value = "json-file", hide_default_value = true)]
    pub log_driver: String,
    /// Don't run the image's health check, as is always so here
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub no_healthcheck: bool,
    /// Restart it when it ends: no
    #[arg(long, value_name = "POLICY", default_value = "no", hide_default_value = true)]
    pub restart: String,
    /// Pass signals on to its program (always)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub sig_proxy: bool,
    /// Pass standard input on; without this the program reads an empty one
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub interactive: bool,
    /// Give the program a terminal; with -i our own becomes it
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub tty: bool,
    /// Print nothing about the pull
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub quiet: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Image, and the command to run in it
    #[arg(value_name = "IMAGE [COMMAND", trailing_var_arg = true)]
    pub image_and_command: Vec<OsString>,
}

/// As docker's flags do: `--memory-swap -1`.
fn values_may_begin_with_a_dash(arg: Arg) -> Arg {
    let value = arg.get_action().takes_values() && !arg.is_positional() && !arg.is_require_equals_set();
    if value { arg.allow_hyphen_values(true) } else { arg }
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
    /// What a power cut may cost: `none`, nothing is flushed; `default`, nothing that was there before, and a lost file
    /// of a new image is noticed and made again; `full`, an image is on storage before it is said to be pulled
    #[arg(long, env = "TRACE_DURABILITY", default_value = "default", value_name = "HOW", value_parser = Durability::NAMES)]
    pub durability: String,
    #[command(flatten)]
    pub recording: Recording,
    /// Print only the name of the image
    #[arg(short, long)]
    pub quiet: bool,
}

/// What a program in a container is given, the first one and later ones.
#[derive(Debug, Args)]
pub struct Process {
    /// Set an environment variable; KEY alone passes its value on
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    pub env: Vec<OsString>,
    /// Read environment variables from FILE
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// User or uid, optionally with :group or :gid
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
}

/// What becomes of the trace.
#[derive(Debug, Args)]
pub struct Recording {
    /// Report to print at the end: `short` has the rows that matter, `full` all of them
    #[arg(long, value_name = "HOW", default_value = "short", value_parser = ["short", "full", "summary", "none"])]
    pub report: String,
    /// Write the report to FILE; its ending chooses the form: .txt, .json, .svg, .png or .html
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
