//! x
use crate::analyze::Analysis;
use crate::record::model::Trace;
/// x
pub fn run(_trace: &Trace, _analysis: &Analysis<'_>) -> String {
    String::new()
}
