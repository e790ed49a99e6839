//! Who we are to registries.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Example: pass show registry | trace login -u me --password-stdin registry.example.com\n\n\
    The login is checked, and kept where docker keeps it: `$DOCKER_CONFIG/config.json` or the program that this file names.")]
pub struct Login {
    /// Registry [default: Docker Hub]
    pub server: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Password, which others may see in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace logout registry.example.com")]
pub struct Logout {
    /// Registry [default: Docker Hub]
    pub server: Option<String>,
}
