//! One layer after the other: what a tar becomes, what is refused, and what several layers look like together.

mod entries;
mod merged;
mod stream;
mod support;
