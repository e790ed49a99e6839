//! One batch of traces to a receiver.

use crate::backend::batch::Batch;
use crate::backend::http::HttpError;
use crate::backend::send::{self, Delivery, DeliveryReport, SendError, Sender};
use crate::backend::settings::Target;
use crate::record::model::Trace;
use crate::store::pending::PendingGuard;

/// A trace under way, with its mark if it is a recorded one.
pub(super) struct Claimed {
    pub trace: Trace,
    pub held: Option<PendingGuard>,
}

/// What became of each trace of a batch.
pub(super) type Delivered = Vec<(Claimed, Result<DeliveryReport, SendError>)>;

/// Delivers a batch; if the receiver refuses it, trace by trace, so that one bad trace does not keep the others.
pub(super) async fn deliver_batch(
    sender: &Sender,
    target: &Target,
    claims: Vec<Claimed>,
    deadline: Option<tokio::time::Instant>,
) -> Delivered {
    let timeout = target.timeout.unwrap_or(send::EXPORT_TIMEOUT);
    let batch = |claims: &[&Claimed]| -> Batch {
        let traces: Vec<&Trace> = claims.iter().map(|c| &c.trace).collect();
        Batch::of(&traces, target.protocol)
    };
    let all: Vec<&Claimed> = claims.iter().collect();
    let result = sender.deliver(&batch(&all), timeout, deadline).await;
    match result {
        Err(error) if error.delivery == Delivery::Rejected && claims.len() > 1 => {
            let mut done = Vec::new();
            for claim in claims {
                let result = sender.deliver(&batch(&[&claim]), timeout, deadline).await;
                done.push((claim, result));
            }
            done
        }
        Ok(sent) => {
            let mut first = Some(DeliveryReport { spans: 0, ..sent });
            let each = claims.into_iter().map(|claim| {
                let spans = claim.trace.spans.len();
                let said = first.take().unwrap_or_default();
                (claim, Ok(DeliveryReport { spans, ..said }))
            });
            each.collect()
        }
        Err(error) => {
            let delivery = error.delivery;
            let words = error.to_string();
            let mut first = Some(error);
            let each = claims.into_iter().map(|claim| {
                let error =
                    first.take().unwrap_or_else(|| SendError::same(HttpError::Repeated(words.clone()), delivery));
                (claim, Err(error))
            });
            each.collect()
        }
    }
}
