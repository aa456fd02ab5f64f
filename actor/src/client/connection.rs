//! Connection: finding the learner, with patience, and joining it.

use super::{ClientConfig, ClientError, Joined, encounter::Meant};
use rand::Rng;
use srnas_basics::text::followed_by_causes;
use srnas_proto::v1::{self, learner_client::LearnerClient};
use srnas_security::{Bearer, ClientSecurity, certificate_problem};
use srnas_wire::{CHUNK_BYTES, PROTOCOL_MAJOR, PROTOCOL_MINOR};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use tracing::warn;

/// A connection whose calls carry the token.
pub(crate) type Link = InterceptedService<Channel, Bearer>;

/// Deadline of a call's first answer.
pub(crate) const CALL: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
/// A learner that does not answer a ping for so long is gone. Without pings a channel does not notice a partition.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// As the learner's: with the defaults of HTTP/2 one connection carries a quarter of this.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Nothing that a learner says is larger: a chunk of its policy, or the run's configuration.
const LARGEST_ANSWER: usize = 4 * CHUNK_BYTES;
/// A waiting client says so this often.
const REMIND: Duration = Duration::from_secs(10);
/// No learner makes a client wait longer than this between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Jittered exponential back-off, 0.2 s to 5 s: many actors do not come back to a restarted learner all at once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: i32,
}

impl Backoff {
    /// The pause before the next attempt.
    pub fn next(&mut self) -> Duration {
        let longest = (0.2 * 2f64.powi(self.failures.min(10))).min(5.0);
        self.failures += 1;
        Duration::from_secs_f64(longest * rand::rng().random_range(0.5..=1.0))
    }

    /// [`Self::next`], or what the learner asks for if that is longer; spread too.
    pub fn next_after(&mut self, status: &Status) -> Duration {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        let spread = rand::rng().random_range(1.0..=1.25);
        self.next().max(asked.min(LONGEST_WAIT).mul_f64(spread))
    }
}

/// Why joining ended without success.
#[derive(Debug)]
pub(crate) enum JoinError {
    /// The learner's no is final.
    Refused(Status),
    /// The certificates do not do, the learner's or this actor's.
    Untrusted(String),
    /// Somebody else answers there, or in another way.
    Misdirected(String),
    /// The time is up; what the last attempt met.
    Unreachable(String),
    /// The client was stopped.
    Stopped,
    /// The run is over.
    Over,
}

impl JoinError {
    /// The error for the user of the client; `since` is when the attempts began.
    pub fn explain(self, config: &ClientConfig, since: Instant) -> ClientError {
        let learner = config.learner.clone();
        match self {
            JoinError::Refused(status) => {
                ClientError::Refused { learner, reason: status.message().into(), code: status.code() }
            }
            JoinError::Untrusted(reason) => ClientError::Untrusted { learner, reason },
            JoinError::Unreachable(reason) => {
                ClientError::Unreachable { learner, meant: Meant::Learner, waited: since.elapsed(), reason }
            }
            JoinError::Misdirected(reason) => {
                ClientError::Misdirected { learner, meant: Meant::Learner, reason }
            }
            JoinError::Stopped => ClientError::Stopped { learner },
            JoinError::Over => ClientError::Over { learner },
        }
    }
}

/// How to reach the learner and what to say first.
#[derive(Debug)]
pub(super) struct Connection {
    endpoint: Endpoint,
    bearer: Bearer,
    learner: String,
    introduction: v1::JoinRequest,
}

impl Connection {
    pub fn new(config: &ClientConfig) -> Result<Connection, ClientError> {
        let learner = &config.learner;
        let endpoint = endpoint(learner, &config.security)?;
        let introduction = v1::JoinRequest {
            protocol_major: PROTOCOL_MAJOR,
            protocol_minor: PROTOCOL_MINOR,
            software: config.software.clone(),
            actor_id: config.actor.clone(),
            incarnation: 0,
            layout_hash: config.layout_hash,
            candidate_features: config.candidate_features,
            context_features: config.context_features,
            benchmarks: config.benchmarks.clone(),
            episodes: config.episodes,
            previous_incarnation: 0,
        };
        let bearer = config.security.token.as_ref().into();
        Ok(Connection { endpoint, bearer, learner: learner.clone(), introduction })
    }

    /// Connects, until `give_up` or for as long as it takes, or until it turns out that nothing can come of it.
    pub async fn connect(&self, give_up: Option<Instant>) -> Result<Link, JoinError> {
        let mut backoff = Backoff::default();
        let mut reminder = Reminder::new(Meant::Learner);
        loop {
            let error = match self.endpoint.connect().await {
                Ok(channel) => return Ok(self.link(channel)),
                Err(error) => error,
            };
            if let Some(problem) = certificate_problem(&error) {
                return Err(JoinError::Untrusted(problem));
            }
            if reminder.tell(&self.learner, &describe(&error))
                && let Some(reason) = Meant::Learner.misdirected(self.endpoint.uri()).await
            {
                return Err(JoinError::Misdirected(reason));
            }
            if give_up.is_some_and(|end| Instant::now() >= end) {
                return Err(JoinError::Unreachable(describe(&error)));
            }
            let next = Instant::now() + backoff.next();
            tokio::time::sleep_until(give_up.map_or(next, |end| end.min(next))).await;
        }
    }

    fn link(&self, channel: Channel) -> Link {
        InterceptedService::new(channel, self.bearer.clone())
    }

    /// Connects and joins as a new incarnation, until `give_up` or for as long as it takes.
    pub async fn join(
        &self,
        previous_incarnation: u64,
        give_up: Option<Instant>,
    ) -> Result<(Link, Joined), JoinError> {
        // The same one in all attempts: a repeated Join is the same Join.
        let incarnation = rand::rng().random_range(1..=u64::MAX);
        let request = v1::JoinRequest { incarnation, previous_incarnation, ..self.introduction.clone() };
        let mut backoff = Backoff::default();
        let mut reminder = Reminder::new(Meant::Learner);
        loop {
            let attempt = self.attempt(request.clone());
            let result = match give_up {
                None => attempt.await,
                Some(end) if Instant::now() < end => match tokio::time::timeout_at(end, attempt).await {
                    Ok(result) => result,
                    Err(_) => return Err(JoinError::Unreachable(reminder.last("no answer in time"))),
                },
                Some(_) => return Err(JoinError::Unreachable(reminder.last("no answer in time"))),
            };
            let status = match result {
                Ok((link, response)) => return Ok((link, Joined::new(incarnation, response))),
                Err(status) => status,
            };
            if status.code() == Code::Unimplemented
                && let Ok(channel) = self.endpoint.connect().await
            {
                return Err(JoinError::Misdirected(Meant::Learner.instead(channel).await));
            }
            if let Some(refusal) = refusal(&status) {
                return Err(refusal);
            }
            let reason = describe(&status);
            if reminder.tell(&self.learner, &reason)
                && let Some(reason) = Meant::Learner.misdirected(self.endpoint.uri()).await
            {
                return Err(JoinError::Misdirected(reason));
            }
            let next = Instant::now() + backoff.next_after(&status);
            // It gives up when the time is up, not before.
            tokio::time::sleep_until(give_up.map_or(next, |end| end.min(next))).await;
        }
    }

    async fn attempt(&self, request: v1::JoinRequest) -> Result<(Link, v1::JoinResponse), Status> {
        let unavailable = |error: tonic::transport::Error| {
            let mut status = Status::unavailable("no connection");
            status.set_source(Arc::new(error));
            status
        };
        let link = self.link(self.endpoint.connect().await.map_err(unavailable)?);
        let mut request = Request::new(request);
        request.set_timeout(CALL);
        let mut learner = client(link.clone());
        let answer = tokio::time::timeout(CALL, learner.join(request)).await;
        let response = answer.map_err(|_| Status::deadline_exceeded("no answer to Join in time"))??;
        Ok((link, response.into_inner()))
    }
}

/// How an address is connected to.
///
/// # Errors
/// [`ClientError::Address`].
pub(crate) fn endpoint(learner: &str, security: &ClientSecurity) -> Result<Endpoint, ClientError> {
    let wrong = |reason: String| ClientError::Address { learner: learner.into(), reason };
    let url = if learner.contains("://") { learner.into() } else { format!("http://{learner}") };
    let endpoint = Endpoint::from_shared(url).map_err(|e| wrong(describe(&e)))?;
    let uri = endpoint.uri();
    let scheme = uri.scheme_str();
    let known = matches!(scheme, Some("http" | "https"));
    if !known || uri.host().is_none_or(str::is_empty) || uri.port_u16().is_none() {
        return Err(wrong("it must have the scheme http or https, a host and a port".into()));
    }
    let endpoint = match scheme {
        Some("https") => {
            let tls = security.tls.config().timeout(CONNECT);
            endpoint.tls_config(tls).map_err(|e| wrong(format!("TLS cannot be set up: {}", describe(&e))))?
        }
        _ => endpoint,
    };
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(false)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// The calls that a learner answers.
pub(super) fn client(link: Link) -> LearnerClient<Link> {
    LearnerClient::new(link).max_decoding_message_size(LARGEST_ANSWER)
}

/// The error, if the same question would get the same no.
pub(crate) fn refusal(status: &Status) -> Option<JoinError> {
    if let Some(problem) = certificate_problem(status) {
        return Some(JoinError::Untrusted(problem));
    }
    if status.code() == Code::OutOfRange {
        return Some(JoinError::Over);
    }
    let last_word = matches!(
        status.code(),
        Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
    );
    last_word.then(|| JoinError::Refused(status.clone()))
}

/// Log lines of a client that waits for the learner.
pub(crate) struct Reminder {
    meant: Meant,
    since: Instant,
    due: Instant,
    last: Option<String>,
}

impl Reminder {
    pub fn new(meant: Meant) -> Reminder {
        let now = Instant::now();
        Reminder { meant, since: now, due: now, last: None }
    }

    /// Says so, if it is time; returns whether it was.
    pub fn tell(&mut self, learner: &str, reason: &str) -> bool {
        self.last = Some(reason.into());
        let now = Instant::now();
        let due = now >= self.due;
        if due {
            let waited = (now - self.since).as_secs();
            warn!(%learner, %reason, waited_s = waited, "no {} yet: trying on", self.meant.noun());
            self.due = now + REMIND;
        }
        due
    }

    fn last(self, otherwise: &str) -> String {
        self.last.unwrap_or_else(|| otherwise.into())
    }
}

/// An error with its causes: tonic's alone say little more than "transport error".
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let said = match error.downcast_ref::<Status>() {
        // What was said, without what it looks like in memory.
        Some(status) if !status.message().is_empty() => status.message().into(),
        Some(status) => status.code().description().to_string(),
        None => error.to_string(),
    };
    followed_by_causes(said, error.source())
}
