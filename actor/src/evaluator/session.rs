//! The calls to a search, each repeated until it is answered.

use super::{EvaluatorError, EvaluatorOptions};
use crate::client::{
    ClientError,
    connection::{Backoff, CALL, JoinError, Link, Reminder, describe, endpoint, refusal},
    encounter::Meant,
};
use srnas_proto::v1::{self, evaluate_client::EvaluateClient};
use srnas_wire::{PROTOCOL_MAJOR, PROTOCOL_MINOR};
use std::{future::Future, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Uri},
};
use tracing::info;

/// How long an evaluator that is to stop waits for the answer to what it said last.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a call has no answer.
pub(super) enum End {
    /// The search is over.
    Over,
    /// The evaluator is to stop, and nobody answered.
    Stopped,
    Failed(EvaluatorError),
}

/// The calls to a search, each repeated until it is answered.
pub(super) struct Session {
    link: Link,
    /// As `link`, without the token.
    channel: Channel,
    uri: Uri,
    pub identity: v1::Evaluator,
    pub options: EvaluatorOptions,
    pub search_id: String,
    /// Ends the attempts.
    stop: CancellationToken,
}

impl Session {
    /// With a search that nobody has introduced this evaluator to.
    ///
    /// # Errors
    /// An address that is none.
    pub fn new(options: EvaluatorOptions, stop: CancellationToken) -> Result<Self, ClientError> {
        let endpoint = endpoint(&options.learner, &options.security)?;
        let (uri, channel) = (endpoint.uri().clone(), endpoint.connect_lazy());
        let link = InterceptedService::new(channel.clone(), options.security.token.as_ref().into());
        let identity = v1::Evaluator { id: options.id.clone(), incarnation: rand::random::<u64>().max(1) };
        Ok(Self { link, channel, uri, identity, options, search_id: String::new(), stop })
    }

    /// Introduces the evaluator.
    pub async fn attach(&self) -> Result<v1::AttachResponse, End> {
        let request = v1::AttachRequest {
            protocol_major: PROTOCOL_MAJOR,
            protocol_minor: PROTOCOL_MINOR,
            software: format!("srnas {}", env!("CARGO_PKG_VERSION")),
            evaluator: Some(self.identity.clone()),
        };
        self.repeat(CALL, async |mut search, deadline| search.attach(within(request.clone(), deadline)).await)
            .await
    }

    /// As [`Self::repeat`], attaching again where the search has forgotten this evaluator.
    pub async fn call<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        deadline: Duration,
        ask: impl Fn(EvaluateClient<Link>, Duration) -> F,
    ) -> Result<T, End> {
        loop {
            match self.repeat(deadline, &ask).await {
                Err(End::Failed(EvaluatorError::Client(ClientError::Refused {
                    code: Code::NotFound,
                    ..
                }))) => {
                    let attached = self.attach().await?;
                    if attached.search_id != self.search_id {
                        let learner = self.options.learner.clone();
                        return Err(End::Failed(EvaluatorError::OtherSearch(learner)));
                    }
                    info!(evaluator = %self.identity.id, "attached again");
                }
                other => return other,
            }
        }
    }

    /// Asks until there is an answer that will not change, the evaluator is to stop, or nobody has answered for
    /// [`EvaluatorOptions::connect_timeout`].
    async fn repeat<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        deadline: Duration,
        ask: impl Fn(EvaluateClient<Link>, Duration) -> F,
    ) -> Result<T, End> {
        let (learner, since) = (self.options.learner.clone(), Instant::now());
        let give_up = self.options.connect_timeout.and_then(|most| since.checked_add(most));
        let (mut backoff, mut reminder) = (Backoff::default(), Reminder::new(Meant::Search));
        loop {
            let call = ask(EvaluateClient::new(self.link.clone()), deadline);
            let late = Status::deadline_exceeded("no answer in time");
            let end = give_up.map_or(Instant::now() + deadline, |end| end.min(Instant::now() + deadline));
            let answered = tokio::select! {
                answered = tokio::time::timeout_at(end, call) => answered.unwrap_or(Err(late)),
                // What is on its way may still arrive.
                () = async { self.stop.cancelled().await; tokio::time::sleep(FAREWELL).await } => return Err(End::Stopped),
            };
            let status = match answered {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let refused = |status: &Status| ClientError::Refused {
                learner: learner.clone(),
                reason: status.message().into(),
                code: status.code(),
            };
            let failed = |error: ClientError| Err(End::Failed(error.into()));
            let misdirected = |reason| {
                failed(ClientError::Misdirected { learner: learner.clone(), meant: Meant::Search, reason })
            };
            if status.code() == Code::Unimplemented {
                return misdirected(Meant::Search.instead(self.channel.clone()).await);
            }
            match refusal(&status) {
                Some(JoinError::Over) => return Err(End::Over),
                Some(JoinError::Untrusted(reason)) => {
                    return failed(ClientError::Untrusted { learner, reason });
                }
                Some(_) => return failed(refused(&status)),
                None if status.code() == Code::NotFound => return failed(refused(&status)),
                None => {}
            }
            let reason = describe(&status);
            if reminder.tell(&learner, &reason)
                && let Some(reason) = Meant::Search.misdirected(&self.uri).await
            {
                return misdirected(reason);
            }
            let (now, pause) = (Instant::now(), backoff.next_after(&status));
            if give_up.is_some_and(|end| now >= end) {
                let (meant, waited) = (Meant::Search, now - since);
                return failed(ClientError::Unreachable { learner, meant, waited, reason });
            }
            tokio::select! {
                () = tokio::time::sleep_until(give_up.map_or(now + pause, |end| end.min(now + pause))) => {}
                () = self.stop.cancelled() => return Err(End::Stopped),
            }
        }
    }
}

/// A request with its deadline in the header, for the search to know.
pub(super) fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}
