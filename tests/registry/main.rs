//! The registry client against servers that do what they should, and servers that don't.
//!
//! `common::server` is a tiny HTTP server whose every byte the test decides; `real` uses the distribution project's own
//! server, filled by skopeo.

#[path = "../common/mod.rs"]
mod common;

mod again;
mod answers;
mod auth;
mod faults;
mod lenient;
mod logins;
mod real;
mod server;
mod spans;
mod tls;
