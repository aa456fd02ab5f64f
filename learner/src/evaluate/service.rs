//! The service: what evaluators say, in the words of the wire.

use super::{
    oracle::{Evaluator, Shared, State},
    reports::Begins,
};
use crate::service::{ServiceError, doors, listening, reflection, server};
use srnas_ledger::leases::{Given, Holder, Use};
use srnas_oracle::{costly::Answer, curves::Report};
use srnas_proto::v1::{
    self,
    answer_request::Said,
    evaluate_server::{Evaluate, EvaluateServer},
};
use srnas_task::Training;
use srnas_wire::{LARGEST_ANSWER, PROTOCOL_MAJOR, PROTOCOL_MINOR};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::interceptor::InterceptedService};
use tracing::{info, warn};

/// Connections at a time.
const CONNECTIONS: usize = 4096;
/// Larger messages are refused; evaluators look to it that theirs are not.
const LARGEST: usize = LARGEST_ANSWER + (64 << 10);
/// Longest wait for work in one call.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// An answer that is not durable by then is to be repeated.
const DURABLE: Duration = Duration::from_secs(10);
/// Longest id of an evaluator, in bytes.
const MAX_ID: usize = 128;
/// Longest reason of an infeasible answer, in characters.
const MAX_REASON: usize = 2000;

/// The protocol's minor number since which evaluators know of shorter trainings.
const FIDELITIES_SINCE: u32 = 2;

/// Serves until `shutdown`.
///
/// # Errors
/// When reflection cannot be set up.
pub(super) fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) -> Result<impl Future<Output = Result<(), ServiceError>>, ServiceError> {
    let address = listener.local_addr().map_or_else(|_| "an unknown address".into(), |a| a.to_string());
    let (doors, guard) = doors(&shared.options.security, CONNECTIONS);
    let reflection = InterceptedService::new(reflection().build_v1()?, guard.clone());
    let service = Service { shared: shared.clone(), shutdown: shutdown.clone() };
    let evaluate = EvaluateServer::new(service).max_decoding_message_size(LARGEST);
    let sweeping = async move {
        let mut ticks =
            tokio::time::interval((shared.options.terms.lease / 8).max(Duration::from_millis(10)));
        loop {
            ticks.tick().await;
            shared.sweep();
        }
    };
    Ok(async move {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<EvaluateServer<Service>>().await;
        let serving = server()
            .add_service(InterceptedService::new(health_service, guard.open()))
            .add_service(reflection)
            .add_service(InterceptedService::new(evaluate, guard))
            .serve_with_incoming_shutdown(
                listening::connections(listener, doors, shutdown.clone()),
                shutdown.clone().cancelled_owned(),
            );
        tokio::select! {
            served = serving => served.map_err(|source| ServiceError::Serve { address, source }),
            () = sweeping => Ok(()),
        }
    })
}

struct Service {
    shared: Arc<Shared>,
    shutdown: CancellationToken,
}

/// Counts a call that waits for work, for as long as it does.
struct Asking<'s>(&'s Shared);

impl<'s> Asking<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.lock().asking += 1;
        shared.tell();
        Self(shared)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock().asking -= 1;
    }
}

impl Service {
    /// The evaluator that speaks, if it may: attached, not replaced, and about this search.
    fn hear(
        &self,
        state: &mut State,
        evaluator: Option<v1::Evaluator>,
        search_id: &str,
    ) -> Result<Holder, Status> {
        let said = evaluator.unwrap_or_default();
        let known = state.evaluators.get_mut(&said.id);
        let known = known
            .ok_or_else(|| Status::not_found("the search does not know this evaluator: attach again"))?;
        if known.incarnation != said.incarnation {
            return Err(Status::failed_precondition(format!(
                "another process attached as evaluator `{}`: give each one a name of its own with --id",
                said.id
            )));
        }
        if search_id != self.shared.options.search_id {
            return Err(Status::failed_precondition(
                "another search listens here now: start the evaluator again",
            ));
        }
        known.heard = Instant::now();
        if state.over {
            known.dismissed = true;
            self.shared.tell();
            return Err(over());
        }
        Ok(Holder { id: said.id, incarnation: said.incarnation })
    }

    /// What an evaluator calls a training.
    fn training(&self, choices: &[u8], fidelity: f32) -> Result<Training, Status> {
        let space = &self.shared.space;
        let fits = choices.len() == space.len()
            && choices.iter().enumerate().all(|(d, &choice)| choice < space.arity(d));
        if !fits || !space.is_valid(choices) {
            return Err(Status::invalid_argument(format!(
                "{choices:?} is no architecture of {}",
                space.name()
            )));
        }
        let known = self.shared.options.fidelities.of_share(fidelity.into());
        let fidelity = known.ok_or_else(|| {
            Status::invalid_argument(format!("the search asks for no training of fidelity {fidelity}"))
        })?;
        Ok(Training { choices: choices.to_vec(), fidelity })
    }

    /// Does something to the state, as soon as it gives a result, by `until` at the latest.
    async fn wait<T>(
        &self,
        until: Instant,
        mut attempt: impl FnMut(&mut State) -> Result<Option<T>, Status>,
    ) -> Result<Option<T>, Status> {
        let mut moved = self.shared.listen();
        loop {
            if let Some(done) = attempt(&mut self.shared.lock())? {
                return Ok(Some(done));
            }
            tokio::select! {
                _ = moved.changed() => {}
                () = tokio::time::sleep_until(until.into()) => return Ok(None),
                () = self.shutdown.cancelled() => {
                    return Err(Status::unavailable("the search is shutting down; it may be resumed"));
                }
            }
        }
    }
}

/// The search needs nothing any more.
fn over() -> Status {
    Status::out_of_range("the search is over")
}

/// There is nothing more to do for who asks; to an evaluator it is the end, as that of the search is.
fn leave() -> Status {
    Status::out_of_range("the search asked this evaluator to end, and goes on without it")
}

#[tonic::async_trait]
impl Evaluate for Service {
    async fn attach(
        &self,
        request: Request<v1::AttachRequest>,
    ) -> Result<Response<v1::AttachResponse>, Status> {
        let request = request.into_inner();
        let v1::Evaluator { id, incarnation } = request.evaluator.unwrap_or_default();
        if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) || incarnation == 0 {
            return Err(Status::invalid_argument(format!(
                "evaluator {id:?}, incarnation {incarnation}: its id must have 1 to {MAX_ID} bytes without control \
                 characters, and its incarnation not be 0"
            )));
        }
        if request.protocol_major != PROTOCOL_MAJOR {
            return Err(Status::failed_precondition(format!(
                "evaluator `{id}` ({}) speaks protocol {}.{}, this search {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}: run the \
                 same release of srnas on both sides",
                request.software, request.protocol_major, request.protocol_minor
            )));
        }
        let fidelities = &self.shared.options.fidelities;
        if fidelities.shorter() > 0 && request.protocol_minor < FIDELITIES_SINCE {
            return Err(Status::failed_precondition(format!(
                "evaluator `{id}` ({}) knows full trainings only, and this search asks for shorter ones ({fidelities}): run \
                 the release of this search there too",
                request.software
            )));
        }
        let mut state = self.shared.lock();
        if state.over {
            return Err(over());
        }
        // Another process of this name may have work; the same one that was told to end may not.
        let told = state.evaluators.get(&id).filter(|before| before.incarnation == incarnation);
        let leaves = told.is_some_and(|before| before.leaves);
        let now = Evaluator { incarnation, heard: Instant::now(), dismissed: false, leaves };
        let before = state.evaluators.insert(id.clone(), now);
        let attached = state.evaluators.len();
        drop(state);
        let silent = before.as_ref().filter(|b| b.incarnation != incarnation).map(|b| b.heard.elapsed());
        match silent {
            Some(silent) if silent < self.shared.options.terms.lease => {
                warn!(evaluator = %id, silent_s = silent.as_secs_f64(), "another process takes the place of an evaluator");
            }
            _ => info!(evaluator = %id, software = %request.software, attached, "an evaluator attached"),
        }
        let options = &self.shared.options;
        let milliseconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Ok(Response::new(v1::AttachResponse {
            search_id: options.search_id.clone(),
            metric: options.metrics.first().cloned().unwrap_or_default(),
            also: options.metrics.iter().skip(1).cloned().collect(),
            minimise: options.minimise,
            space: options.space.clone(),
            space_definition: options.definition.clone(),
            seed: options.seed,
            fidelities: match fidelities.shorter() {
                0 => String::new(),
                _ => fidelities.to_string(),
            },
            lease_ms: milliseconds(options.terms.lease),
            heartbeat_ms: milliseconds(self.shared.heartbeat()),
            hears_reports: true,
        }))
    }

    async fn take(&self, request: Request<v1::TakeRequest>) -> Result<Response<v1::TakeResponse>, Status> {
        let request = request.into_inner();
        let fidelities = request.held_fidelities.iter().copied().chain(std::iter::repeat(0.0));
        let held = request.held.iter().zip(fidelities);
        let held = held.map(|(choices, fidelity)| Ok(self.shared.key(&self.training(choices, fidelity)?)));
        let held = held.collect::<Result<Vec<_>, Status>>()?;
        self.hear(&mut self.shared.lock(), request.evaluator.clone(), &request.search_id)?;
        let wait = Duration::from_millis(request.wait_ms.into()).min(LONGEST_WAIT);
        let _asking = Asking::new(&self.shared);
        let given = self
            .wait(Instant::now() + wait, |state| {
                let holder = self.hear(state, request.evaluator.clone(), &request.search_id)?;
                if let Some(evaluator) = state.evaluators.get_mut(&holder.id).filter(|known| known.leaves) {
                    evaluator.dismissed = true;
                    return Err(leave());
                }
                Ok(state.leases.take(&holder, &held, Instant::now()))
            })
            .await?;
        let space = &self.shared.space;
        let fidelities = &self.shared.options.fidelities;
        let work = given.map(|Given { training: Training { choices, fidelity }, again }| v1::Work {
            architecture: serde_json::Value::Object(space.to_json(&choices)).to_string(),
            notation: space.format(&choices),
            choices: choices.into(),
            fidelity: fidelities.cost(fidelity) as f32,
            again,
            amount: fidelities.amount(fidelity),
        });
        Ok(Response::new(v1::TakeResponse { work }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let request = request.into_inner();
        let training = self.training(&request.choices, request.fidelity)?;
        let wanted = {
            let mut state = self.shared.lock();
            let holder = self.hear(&mut state, request.evaluator, &request.search_id)?;
            state.leases.renew(self.shared.key(&training), &training, &holder, Instant::now())
        };
        self.shared.tell();
        Ok(Response::new(v1::RenewResponse { wanted }))
    }

    async fn report(
        &self,
        request: Request<v1::ReportRequest>,
    ) -> Result<Response<v1::ReportResponse>, Status> {
        let request = request.into_inner();
        let training = self.training(&request.choices, request.fidelity)?;
        let key = self.shared.key(&training);
        let followed = {
            let mut state = self.shared.lock();
            let holder = self.hear(&mut state, request.evaluator, &request.search_id)?;
            let wanted = state.leases.renew(key, &training, &holder, Instant::now());
            wanted.then(|| self.shared.followed(&mut state, key, &holder))
        };
        self.shared.tell();
        let Some(followed) = followed else {
            return Ok(Response::new(v1::ReportResponse { wanted: false, stop: false }));
        };
        let begins = match (request.begins, request.may_go_on) {
            (false, _) => Begins::Before,
            (true, false) => Begins::Anew,
            (true, true) => Begins::AnewOrGoesOn,
        };
        let reports = request.points.into_iter();
        let reports: Vec<Report> = reports
            .map(|point| Report { at: point.at, metrics: point.values.into_iter().collect() })
            .collect();
        // It writes into a file.
        let heard = tokio::task::spawn_blocking(move || followed.take(begins, reports));
        let stop = heard.await.map_err(|_| Status::internal("a report could not be taken in"))?;
        Ok(Response::new(v1::ReportResponse { wanted: true, stop }))
    }

    async fn answer(
        &self,
        request: Request<v1::AnswerRequest>,
    ) -> Result<Response<v1::AnswerResponse>, Status> {
        let request = request.into_inner();
        let training = self.training(&request.choices, request.fidelity)?;
        let key = self.shared.key(&training);
        let answer = answer(request.said, &self.shared.options.metrics)?;
        // The first attempt takes it in, the others wait until it is durable.
        let used = self
            .wait(Instant::now() + DURABLE, |state| {
                let holder = self.hear(state, request.evaluator.clone(), &request.search_id)?;
                let used = state.leases.answered(key, &training, &holder, answer.clone());
                Ok(match used {
                    Use::Counts { .. } => {
                        self.shared.tell_search();
                        None
                    }
                    Use::TriedAgain => {
                        // Somebody else may be at it and report by now.
                        let tried = state.no_longer_reports(key, &holder);
                        Some((holder.id, used, tried))
                    }
                    used => Some((holder.id, used, None)),
                })
            })
            .await?;
        let Some((evaluator, used, tried)) = used else {
            return Err(Status::unavailable("the answer is not in the ledger yet: repeat it"));
        };
        let architecture = || self.shared.name(&training);
        let used = match used {
            Use::Counted { late: true } => {
                info!(%evaluator, architecture = architecture(), "a late answer counts: nobody had answered before");
                v1::Use::CountedLate
            }
            Use::Counted { late: false } | Use::Counts { .. } => v1::Use::Counted,
            Use::TriedAgain => {
                if let Some(tried) = tried {
                    // It removes a file.
                    let _ = tokio::task::spawn_blocking(move || tried.end(false)).await;
                }
                self.shared.tell();
                v1::Use::TriedAgain
            }
            Use::NotNeeded => {
                info!(%evaluator, architecture = architecture(), "an answer is not needed: there is one");
                v1::Use::NotNeeded
            }
        };
        Ok(Response::new(v1::AnswerResponse { r#use: used.into() }))
    }
}

/// What an evaluator said, as the search sees it: without the metrics that are searched it is infeasible.
fn answer(said: Option<Said>, wanted: &[String]) -> Result<Answer, Status> {
    match said {
        Some(Said::Metrics(metrics)) => Ok(Answer::of(metrics.values.into_iter().collect(), wanted)),
        Some(Said::Infeasible(reason)) => Ok(Answer::Infeasible(reason.chars().take(MAX_REASON).collect())),
        None => Err(Status::invalid_argument("an answer has metrics, or a reason why there are none")),
    }
}
