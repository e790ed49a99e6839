//! Which system calls a container can make: docker's profile evaluated and compared, a probe of every call under trace
//! and under docker, attacks, and `--security-opt`.

#[path = "../common/mod.rs"]
mod common;

mod attacks;
mod machine;
mod moby;
mod options;
mod probe;
mod support;
