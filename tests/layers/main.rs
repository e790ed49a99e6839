//! One layer after the other: what a tar becomes, what is refused, and what several layers look like together.

#[path = "../common/mod.rs"]
mod common;

mod entries;
mod formats;
mod fuzz;
mod hostile;
mod measure;
mod merged;
mod peer;
mod stream;
mod support;
