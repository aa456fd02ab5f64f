//! Experience: one actor's stream. Batches are judged in the order of their sequence numbers and handed to the ingest
//! thread; acknowledgements, credits and rejects go back.

use super::{
    Delivery, FAREWELL, Service, ServiceConfig,
    delivery::Acknowledgement,
    member::{Counters, Departure, Member, Superseded},
    members::Members,
    shutting_down,
};
use prost::Message;
use srnas_proto::v1::{self, RejectReason, experience_request::Kind};
use srnas_wire::{Experience, Snapshot};
use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, PollSender};
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

type Responses = ReceiverStream<Result<v1::ExperienceResponse, Status>>;

/// A stream that does not say Hello within this time is closed.
const HELLO: Duration = Duration::from_secs(5);

/// Waits for the Hello and starts to serve the stream.
pub(super) async fn open(
    service: &Service,
    mut requests: Streaming<v1::ExperienceRequest>,
) -> Result<Responses, Status> {
    let first = tokio::time::timeout(HELLO, requests.message());
    let first =
        first.await.map_err(|_| Status::deadline_exceeded("no Hello came on the experience stream"))??;
    let Some(Kind::Hello(hello)) = first.and_then(|request| request.kind) else {
        return Err(Status::invalid_argument("the first message of an experience stream must be a Hello"));
    };
    let (outbox, responses) = mpsc::channel(1);
    match service.members.find(&hello.actor_id, hello.incarnation) {
        Ok(member) => {
            let (token, read) = member.open_stream();
            let stream = Stream {
                config: service.config.clone(),
                members: service.members.clone(),
                policy: service.policy.clone(),
                shutdown: service.shutdown.clone(),
                acknowledged: member.watch_acknowledged(),
                member,
                token,
                read,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                rejects: Vec::new(),
                due: true,
                leaving: false,
                malformed: 0,
            };
            tokio::spawn(stream.run(requests, PollSender::new(service.deliveries.clone()), outbox));
        }
        Err(departure) => {
            let actor = hello.actor_id.as_str();
            info!(actor, incarnation = hello.incarnation, "an incarnation that is no member is turned away");
            let response = v1::ExperienceResponse { rejects: vec![absent(departure)], ..Default::default() };
            // The channel is new and has room for one.
            let _ = outbox.try_send(Ok(response));
        }
    }
    Ok(ReceiverStream::new(responses))
}

/// Why a stream ends.
enum End {
    /// The actor said Leave and everything is settled.
    Left,
    /// The connection broke; the lease runs on.
    Lost(Status),
    /// Another stream of the same incarnation took over.
    Superseded,
    /// The incarnation is no member any more.
    Absent,
    /// The actor broke the rules of the stream.
    Broken(Status),
    /// The learner stops.
    Shutdown,
    /// The run is over.
    Over,
}

struct Stream {
    config: Arc<ServiceConfig>,
    members: Arc<Members>,
    policy: watch::Receiver<Option<Arc<Snapshot>>>,
    shutdown: CancellationToken,
    member: Arc<Member>,
    /// Cancelled when a newer stream of this incarnation takes over.
    token: CancellationToken,
    acknowledged: watch::Receiver<u64>,
    /// Highest sequence number read.
    read: u64,
    /// Batches read and not yet judged: as many as there are credits at most. They wait for the ingest thread here,
    /// so that heartbeats are read all the while.
    waiting: VecDeque<(v1::ExperienceBatch, Instant)>,
    /// Bytes of them.
    waiting_bytes: usize,
    /// Rejects for the next response.
    rejects: Vec<v1::Reject>,
    /// Whether there is something to respond.
    due: bool,
    /// Whether the actor said Leave.
    leaving: bool,
    /// Malformed batches on this stream.
    malformed: u64,
}

impl Stream {
    async fn run(
        mut self,
        requests: Streaming<v1::ExperienceRequest>,
        deliveries: PollSender<Delivery>,
        outbox: mpsc::Sender<Result<v1::ExperienceResponse, Status>>,
    ) {
        let end = self.serve(requests, deliveries, &outbox).await;
        let (actor, incarnation) = (self.member.id.clone(), self.member.incarnation);
        let status = match end {
            End::Left => {
                self.members.leave(&self.member);
                info!(%actor, incarnation, live = self.members.live(), "actor left");
                None
            }
            End::Lost(status) => {
                info!(%actor, incarnation, reason = %status.message(), "connection to actor lost; its lease runs");
                // Where it was a message that broke the stream and not the connection, the actor hears of it.
                Some(status)
            }
            End::Superseded => Some(Status::aborted("a newer stream of this incarnation took over")),
            End::Absent => {
                self.rejects.push(absent(self.member.departure()));
                None
            }
            End::Broken(status) => {
                warn!(%actor, incarnation, reason = %status.message(), "experience stream is cut");
                Some(status)
            }
            End::Over => {
                self.member.settled(self.config.shutdown_grace).await;
                self.members.leave(&self.member);
                info!(%actor, incarnation, "the run is over: actor is let go");
                self.rejects.push(over());
                None
            }
            End::Shutdown => {
                // What is acknowledged now will not be sent again to the next learner.
                self.member.settled(self.config.shutdown_grace).await;
                Some(shutting_down())
            }
        };
        let farewell = async {
            let response = Ok(self.response());
            if outbox.send(response).await.is_ok()
                && let Some(status) = status
            {
                let _ = outbox.send(Err(status)).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    async fn serve(
        &mut self,
        mut requests: Streaming<v1::ExperienceRequest>,
        mut deliveries: PollSender<Delivery>,
        outbox: &mpsc::Sender<Result<v1::ExperienceResponse, Status>>,
    ) -> End {
        let (shutdown, token, gone) = (self.shutdown.clone(), self.token.clone(), self.member.clone());
        let over = self.members.over();
        loop {
            // Whoever does not read its rejects is not read.
            let reading = !self.leaving && self.rejects.len() <= self.config.credits as usize;
            if self.leaving
                && self.waiting.is_empty()
                && !self.due
                && self.member.settled(Duration::ZERO).await
            {
                return End::Left;
            }
            tokio::select! {
                () = shutdown.cancelled() => return End::Shutdown,
                () = over.cancelled() => return End::Over,
                () = token.cancelled() => return End::Superseded,
                () = gone.gone.cancelled() => return End::Absent,
                () = outbox.closed() => return End::Lost(Status::cancelled("the actor closed the stream")),
                request = requests.message(), if reading => match request {
                    Ok(Some(request)) => {
                        self.member.heard();
                        if let Err(status) = self.read(request) {
                            return End::Broken(status);
                        }
                    }
                    Ok(None) => return End::Lost(Status::cancelled("the stream ended without a Leave")),
                    Err(status) => return End::Lost(status),
                },
                reserved = poll_fn(|cx| deliveries.poll_reserve(cx)), if !self.waiting.is_empty() => {
                    if reserved.is_err() {
                        return End::Shutdown;
                    }
                    match self.judge() {
                        Ok(Some(delivery)) => if deliveries.send_item(delivery).is_err() {
                            return End::Shutdown;
                        }
                        // The place in the channel is free for others again.
                        Ok(None) => _ = deliveries.abort_send(),
                        Err(Superseded) => return End::Superseded,
                    }
                },
                changed = self.acknowledged.changed() => match changed {
                    Ok(()) => self.due = true,
                    Err(_) => return End::Absent,
                },
                permit = outbox.reserve(), if self.due => match permit {
                    Ok(permit) => permit.send(Ok(self.response())),
                    Err(_) => return End::Lost(Status::cancelled("the actor closed the stream")),
                },
            }
        }
    }

    /// Puts a batch into the queue, or says what rule it breaks.
    fn read(&mut self, request: v1::ExperienceRequest) -> Result<(), Status> {
        let batch = match request.kind {
            Some(Kind::Batch(batch)) => batch,
            Some(Kind::Heartbeat(_)) => return Ok(()),
            Some(Kind::Leave(_)) => {
                self.leaving = true;
                return Ok(());
            }
            Some(Kind::Hello(_)) | None => {
                return Err(Status::invalid_argument(
                    "only the first message of an experience stream is a Hello",
                ));
            }
        };
        let (sequence, next) = (batch.sequence, self.read + 1);
        let bytes = batch.encoded_len();
        if sequence < next {
            debug!(actor = %self.member.id, sequence, "batch received before: ignored");
            self.member.count(Counters { duplicates: 1, ..Counters::default() });
            self.due = true;
            return Ok(());
        }
        let last = self.member.acknowledged().saturating_add(self.config.credits.into());
        if sequence > next || sequence > last {
            let detail = format!(
                "batch {sequence} came where {next} was due, and credits reach to {last}: sequence numbers rise by one, \
                 within the credits"
            );
            self.rejects.push(reject(sequence, RejectReason::Malformed, &detail));
            return Err(Status::invalid_argument(detail));
        }
        let limit = self.credit_bytes().saturating_add(self.config.max_batch_bytes);
        if self.waiting_bytes + bytes > limit {
            let detail =
                format!("{} bytes wait to be read, and credits are for {limit}", self.waiting_bytes + bytes);
            self.rejects.push(reject(sequence, RejectReason::Malformed, &detail));
            return Err(Status::invalid_argument(detail));
        }
        self.read = sequence;
        self.waiting_bytes += bytes;
        self.waiting.push_back((batch, Instant::now()));
        Ok(())
    }

    /// Enters the next waiting batch; what of it goes to the ingest thread.
    fn judge(&mut self) -> Result<Option<Delivery>, Superseded> {
        let Some((batch, arrived)) = self.waiting.pop_front() else { return Ok(None) };
        self.waiting_bytes -= batch.encoded_len();
        let decoded = Experience::decode(&batch, &self.config.shape).and_then(|decoded| {
            let space = self.config.space.as_deref();
            space.map_or(Ok(()), |s| decoded.1.fits(s, self.config.max_candidates)).map(|()| decoded)
        });
        let (sequence, experience) = match decoded {
            Ok(decoded) => decoded,
            Err(malformed) => {
                let (actor, sequence) = (&self.member.id, batch.sequence);
                self.malformed += 1;
                // Not a line a batch: one program is broken, and says so all the time.
                if self.malformed.is_power_of_two() {
                    let times = self.malformed;
                    warn!(%actor, sequence, times, %malformed, "batch rejected: the actor's program and this one do not fit");
                }
                self.member.enter(
                    &self.token,
                    Counters { malformed: 1, ..Counters::default() },
                    None,
                    true,
                )?;
                self.rejects.push(reject(sequence, RejectReason::Malformed, &malformed.to_string()));
                self.due = true;
                return Ok(None);
            }
        };
        let current = self.policy.borrow().as_ref().map_or(0, |snapshot| snapshot.version);
        let lag = current.saturating_sub(experience.policy_version);
        let acted = experience.steps() > 0;
        let stale = acted && lag > u64::from(self.config.max_policy_lag);
        let experience = if stale { experience.without_transitions() } else { experience };
        let empty = experience.is_empty();
        let counts = Counters {
            batches: u64::from(!empty),
            transitions: experience.steps() as u64,
            measurements: experience.measurements.tasks.len() as u64,
            episodes: experience.episodes.tasks.len() as u64,
            environment_steps: experience.environment_steps,
            elapsed_us: experience.elapsed_us,
            credit_us: experience.credit_us,
            oracle_us: experience.oracle_us,
            stale: u64::from(stale),
            ..Counters::default()
        };
        self.member.enter(&self.token, counts, acted.then_some(lag), empty)?;
        if stale {
            let limit = self.config.max_policy_lag;
            let detail = format!("acted {lag} policy versions ago, and {limit} are allowed");
            debug!(actor = %self.member.id, sequence, lag, "transitions rejected: stale");
            self.rejects.push(reject(sequence, RejectReason::Stale, &detail));
            self.due = true;
        }
        let acknowledgement = Acknowledgement::new(self.member.clone(), sequence, arrived);
        let (actor, incarnation) = (self.member.id.clone(), self.member.incarnation);
        Ok((!empty).then_some(Delivery { actor, incarnation, sequence, experience, lag, acknowledgement }))
    }

    /// This actor's share of what may be in flight. Never so little that nothing moves: one batch always may.
    fn credit_bytes(&self) -> usize {
        self.config.credit_bytes(self.members.live())
    }

    fn response(&mut self) -> v1::ExperienceResponse {
        self.due = false;
        let credit_bytes = self.credit_bytes() as u64;
        v1::ExperienceResponse {
            acknowledged: *self.acknowledged.borrow_and_update(),
            credits: self.config.credits,
            credit_bytes,
            rejects: std::mem::take(&mut self.rejects),
        }
    }
}

fn reject(sequence: u64, reason: RejectReason, detail: &str) -> v1::Reject {
    v1::Reject { sequence, reason: reason.into(), detail: detail.into() }
}

/// Tells an actor that it is not needed any more.
fn over() -> v1::Reject {
    reject(0, RejectReason::RunOver, "the run is over")
}

/// Tells an incarnation that it is no member.
fn absent(departure: Option<Departure>) -> v1::Reject {
    match departure {
        Some(Departure::Replaced) => reject(
            0,
            RejectReason::Replaced,
            "another process joined under this actor's id; give every actor an id of its own with --id",
        ),
        Some(Departure::Lapsed) => {
            reject(0, RejectReason::UnknownIncarnation, "the lease ran out: join again")
        }
        Some(Departure::Left) | None => reject(
            0,
            RejectReason::UnknownIncarnation,
            "the learner does not know this incarnation: join again",
        ),
    }
}
