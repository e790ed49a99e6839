//! What is in the store besides recorded runs; and the built-in registry.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(after_help = "Example: trace images")]
pub struct Images {
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Image {
    /// Remove images
    #[command(after_help = "Example: trace image rm hello-world")]
    Rm {
        /// Images to remove
        #[arg(required = true)]
        images: Vec<String>,
        /// Remove images even if containers were created from them
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace ps -a")]
pub struct Ps {
    /// List exited containers too
    #[arg(short, long)]
    pub all: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace rm my-container")]
pub struct Rm {
    /// Containers to remove, by name or id
    #[arg(required = true)]
    pub containers: Vec<String>,
    /// Kill and remove running containers too
    #[arg(short, long)]
    pub force: bool,
    /// With the volumes that were made for them alone
    #[arg(short, long)]
    pub volumes: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace logs my-container")]
pub struct Logs {
    /// Container, by name or id
    pub container: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace prune -f")]
pub struct Prune {
    /// Remove without asking
    #[arg(short, long)]
    pub force: bool,
    /// Remove recorded runs beyond LIMITS now: a number, a size, an age, or several separated by commas; `all` keeps
    /// all runs. Without it this happens from time to time [default: $TRACE_KEEP_TRACES, else 10000,1GiB]
    #[arg(long, value_name = "LIMITS", value_parser = crate::store::retention::Keep::parse)]
    pub keep_traces: Option<crate::store::retention::Keep>,
}

#[derive(Debug, Subcommand)]
pub enum Hub {
    /// Serve the built-in registry to any OCI client
    #[command(after_help = "Example: trace hub serve --listen 127.0.0.1:5000\n         \
        skopeo inspect --tls-verify=false docker://127.0.0.1:5000/library/hello-world")]
    Serve {
        /// Address to listen on; port 0 takes a free port
        #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDR")]
        listen: std::net::SocketAddr,
        /// Print no line for each request
        #[arg(short, long)]
        quiet: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Volume {
    /// Make a volume
    #[command(
        after_help = "Example: trace volume create data\n         trace run -v data:/data debian:12 touch /data/x"
    )]
    Create {
        /// Its name; one is invented if there is none
        name: Option<String>,
        /// Set a label: KEY[=VALUE]
        #[arg(long, value_name = "LABEL")]
        label: Vec<String>,
    },
    /// List volumes
    #[command(after_help = "Example: trace volume ls")]
    Ls {
        /// Names only
        #[arg(short, long)]
        quiet: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show what is known of volumes, as JSON
    #[command(after_help = "Example: trace volume inspect data")]
    Inspect {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove volumes that no container uses
    #[command(after_help = "Example: trace volume rm data")]
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
        /// One that is not there is no error
        #[arg(short, long)]
        force: bool,
    },
    /// Remove volumes without a name that no container uses
    #[command(after_help = "Example: trace volume prune -f")]
    Prune {
        /// Don't ask
        #[arg(short, long)]
        force: bool,
        /// Those with a name too
        #[arg(short, long)]
        all: bool,
    },
}
