//! What says things about the program itself.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Example: trace completions bash > ~/.local/share/bash-completion/completions/trace\n         \
    source <(trace completions zsh)\n\n\
    Names of images, containers and recorded runs are completed as well.")]
pub struct Completions {
    /// Shell to write them for
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish", "powershell", "elvish"])]
    pub shell: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace man -o /usr/local/share/man/man1")]
pub struct Man {
    /// Write a page for each command into this directory [default: the page of trace itself, to standard output]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<std::path::PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: trace version --json")]
pub struct Version {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
}
