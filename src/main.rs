//! The `trace` program.

fn main() {}
