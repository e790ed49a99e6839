//! What is in the store besides recorded runs; and the built-in registry.

use clap::{Args, Subcommand};

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
