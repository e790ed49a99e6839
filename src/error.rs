//! What all errors have in common. Each stage has its own enum beside its code.
//!
//! A message is one sentence: what was tried, on what, what was found, what was expected, values in backticks.

/// An error that a stage can end with.
pub trait Failure: std::error::Error {
    /// What sort of failure, for the span's `error.type`; of low cardinality, e.g. `digest_mismatch`.
    fn kind(&self) -> &'static str;

    /// What the user can do about it; printed on a line of its own.
    fn hint(&self) -> Option<String> {
        None
    }

    /// The exit code of the program: 125 unless the container's command itself was at fault (126, 127).
    fn exit_code(&self) -> u8 {
        125
    }
}
