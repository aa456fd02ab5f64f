//! Experience: the stream of batches to the learner, within its credits.

use super::{
    Joined,
    connection::{CALL, JoinError, Link, client, describe, refusal},
    counters::{ClientCounters, add},
    unacknowledged::Unacknowledged,
};
use srnas_proto::v1::{self, RejectReason, experience_request::Kind};
use srnas_wire::Experience;
use std::sync::Arc;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::{debug, error};

/// Messages between this and HTTP/2.
const AHEAD: usize = 2;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// Everything was acknowledged and the learner let the actor go.
    Finished,
    /// The connection broke, or the learner did not do what it should.
    Lost(String),
    /// The learner does not know the incarnation (any more).
    Forgotten(String),
    /// Another process took the actor's name.
    Replaced(String),
    /// The run is over.
    Over,
    /// The learner does not let this actor speak (any more).
    Refused(JoinError),
}

/// What may be in flight.
#[derive(Clone, Copy, Debug)]
struct Credit {
    batches: usize,
    bytes: u64,
}

/// The end that a broken stream means: of what a learner answers here, only that a peer may not speak is its last word.
fn broken(status: &Status) -> End {
    match refusal(status) {
        Some(JoinError::Refused(status)) if status.code() != Code::Unauthenticated => {
            End::Lost(describe(&status))
        }
        Some(refusal) => End::Refused(refusal),
        None => End::Lost(describe(status)),
    }
}

/// What outlives a session.
#[derive(Debug)]
pub(super) struct Uplink {
    pub queue: mpsc::Receiver<Experience>,
    pub unacknowledged: Unacknowledged,
    pub counters: Arc<ClientCounters>,
    pub stop: CancellationToken,
    pub actor: String,
}

impl Uplink {
    /// Streams until the stream breaks or the environment thread is done.
    pub async fn session(&mut self, link: Link, joined: &Joined) -> End {
        let (outbox, requests) = mpsc::channel(AHEAD);
        let hello = v1::Hello { actor_id: self.actor.clone(), incarnation: joined.incarnation };
        // The channel is new and has room.
        let _ = outbox.try_send(request(Kind::Hello(hello)));
        let opened = async {
            let mut learner = client(link);
            let mut responses = learner.experience(ReceiverStream::new(requests)).await?.into_inner();
            let first = responses.message().await?;
            Ok::<_, Status>((responses, first))
        };
        let (responses, first) = match tokio::time::timeout(CALL, opened).await {
            Err(_) => return End::Lost("no answer to Hello in time".into()),
            Ok(Err(status)) => return broken(&status),
            Ok(Ok((_, None))) => return End::Lost("the learner closed the stream".into()),
            Ok(Ok((responses, Some(first)))) => (responses, first),
        };
        let credit = match self.take(first) {
            Ok(credit) => credit,
            Err(end) => return end,
        };
        self.unacknowledged.rewind();
        self.stream(outbox, responses, credit, joined).await
    }

    async fn stream(
        &mut self,
        outbox: mpsc::Sender<v1::ExperienceRequest>,
        mut responses: Streaming<v1::ExperienceResponse>,
        mut credit: Credit,
        joined: &Joined,
    ) -> End {
        let mut heartbeat = tokio::time::interval_at(Instant::now() + joined.heartbeat, joined.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        // Drained: the environment thread is done and its last batch is in our hands.
        let (mut drained, mut left, mut beat_due) = (false, false, false);
        loop {
            let due = !self.unacknowledged.all_sent() || drained || beat_due;
            tokio::select! {
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                experience = self.queue.recv(), if !drained && self.may_send(credit) => {
                    match experience {
                        Some(experience) => self.keep(&experience),
                        None => drained = true,
                    }
                }
                permit = outbox.reserve(), if due && !left => {
                    let Ok(permit) = permit else { return End::Lost("the stream was closed".into()) };
                    let kind = if let Some((batch, again)) = self.unacknowledged.next() {
                        add(if again { &self.counters.resent } else { &self.counters.sent }, 1);
                        Kind::Batch(batch)
                    } else if drained {
                        left = true;
                        Kind::Leave(v1::Leave {})
                    } else {
                        Kind::Heartbeat(v1::Heartbeat {})
                    };
                    permit.send(request(kind));
                    beat_due = false;
                    heartbeat.reset();
                }
                response = responses.message() => match response {
                    Ok(Some(response)) => match self.take(response) {
                        Ok(granted) => credit = granted,
                        Err(end) => return end,
                    },
                    Ok(None) | Err(_) if left && self.unacknowledged.len() == 0 => return End::Finished,
                    Ok(None) => return End::Lost("the learner closed the stream".into()),
                    Err(status) => return broken(&status),
                },
                _ = heartbeat.tick() => beat_due = true,
            }
        }
    }

    /// Whether another batch may be in flight. One always may, however large.
    fn may_send(&self, credit: Credit) -> bool {
        let kept = &self.unacknowledged;
        kept.len() == 0 || (kept.len() < credit.batches && kept.bytes() < credit.bytes)
    }

    fn keep(&mut self, experience: &Experience) {
        if let Err(oversize) = self.unacknowledged.push(experience) {
            add(&self.counters.oversize, 1);
            let (bytes, limit) = (oversize.bytes, oversize.limit);
            error!(
                bytes,
                limit, "a batch is larger than the learner allows and is dropped: send shorter batches"
            );
        }
    }

    /// Takes a response in; returns the credits it grants.
    fn take(&mut self, response: v1::ExperienceResponse) -> Result<Credit, End> {
        let settled = self.unacknowledged.acknowledge(response.acknowledged);
        add(&self.counters.acknowledged, settled);
        for reject in response.rejects {
            let (sequence, detail) = (reject.sequence, reject.detail);
            match RejectReason::try_from(reject.reason) {
                Ok(RejectReason::Stale) => {
                    add(&self.counters.stale, 1);
                    debug!(sequence, %detail, "transitions were too old for the learner");
                }
                Ok(RejectReason::UnknownIncarnation) => return Err(End::Forgotten(detail)),
                Ok(RejectReason::Replaced) => return Err(End::Replaced(detail)),
                Ok(RejectReason::RunOver) => return Err(End::Over),
                Ok(RejectReason::Malformed | RejectReason::Unspecified) | Err(_) => {
                    let times = add(&self.counters.malformed, 1);
                    // Not a line a batch: it will say so all the time.
                    if times.is_power_of_two() {
                        error!(sequence, times, %detail, "the learner cannot read a batch of this actor: this is a bug in srnas");
                    }
                }
            }
        }
        Ok(Credit { batches: response.credits as usize, bytes: response.credit_bytes })
    }
}

fn request(kind: Kind) -> v1::ExperienceRequest {
    v1::ExperienceRequest { kind: Some(kind) }
}
