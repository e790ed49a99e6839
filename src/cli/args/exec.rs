//! `trace exec` as clap sees it.

use std::ffi::OsString;

use clap::{ArgAction, Args};

use super::run::{Process, Recording};
use crate::container::options::boolean;

/// Run another program in a container that runs.
#[derive(Debug, Args)]
#[command(after_help = "Example: trace exec -it my-container sh", disable_help_flag = true)]
pub struct Exec {
    /// Start it and return at once
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub detach: bool,
    /// Pass standard input on
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub interactive: bool,
    /// Give the program a terminal; with -i our own becomes it
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub tty: bool,
    #[command(flatten)]
    pub process: Process,
    /// Give it all capabilities
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, value_name = "BOOL", action = ArgAction::Set, value_parser = boolean)]
    pub privileged: bool,
    /// Keys that leave the program running and end this command [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", default_value = "", hide_default_value = true)]
    pub detach_keys: String,
    #[command(flatten)]
    pub recording: Recording,
    /// Record the command line in the trace
    #[arg(long)]
    pub record_args: bool,
    /// Record these entries of the caller's $BAGGAGE in the trace; `*` for all
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub record_baggage: Vec<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Container, by name or id, and the command to run in it
    #[arg(value_name = "CONTAINER COMMAND", trailing_var_arg = true)]
    pub container_and_command: Vec<OsString>,
}
