//! Delivery: a batch on its way to the ingest thread, with the means to acknowledge it.

use super::member::Member;
use srnas_wire::Experience;
use std::{sync::Arc, time::Instant};

/// A checked batch for the ingest thread.
#[derive(Debug)]
#[must_use = "a delivery that is not `done` is never acknowledged, and its actor runs out of credits"]
pub struct Delivery {
    /// Id of the actor that sent it.
    pub actor: Arc<str>,
    /// Its incarnation.
    pub incarnation: u64,
    /// Number of the batch within the incarnation.
    pub sequence: u64,
    /// The batch. Without segments if its policy was too old: its measurements and episode ends are facts all the same.
    pub experience: Experience,
    /// Policy versions broadcast since the one that acted.
    pub lag: u64,
    /// To be [`done`](Acknowledgement::done) when the experience was taken in.
    pub acknowledgement: Acknowledgement,
}

impl Delivery {
    /// The batch is taken in (and durable, where that matters): its actor may forget it.
    pub fn done(self) {
        self.acknowledgement.done();
    }
}

/// The right to acknowledge one batch. Dropped without [`Self::done`] it abandons the batch: the actor keeps it and
/// re-sends it to the next learner, and nobody here waits for it any more.
#[derive(Debug)]
#[must_use = "an acknowledgement that is not `done` leaves the batch unacknowledged for ever"]
pub struct Acknowledgement {
    /// `None` once done.
    member: Option<Arc<Member>>,
    sequence: u64,
    /// When the batch came.
    arrived: Instant,
}

impl Acknowledgement {
    pub(super) fn new(member: Arc<Member>, sequence: u64, arrived: Instant) -> Acknowledgement {
        Acknowledgement { member: Some(member), sequence, arrived }
    }

    /// The batch is taken in. Acknowledgements are cumulative: the actor hears of it once all before it are done too.
    /// Never blocks.
    pub fn done(mut self) {
        if let Some(member) = self.member.take() {
            member.settle(self.sequence, self.arrived.elapsed());
        }
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        if let Some(member) = &self.member {
            member.abandoned.cancel();
        }
    }
}
