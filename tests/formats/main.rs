//! Trace files of other programs: what was recorded by them is read as they meant it, and whatever else comes is refused.

mod fuzz;
mod hostile;
mod mutate;
mod recorded;
