//! The evaluator: takes what a search asks for, measures it with an oracle of its own, and answers.

mod reports;
mod session;

use crate::client::{
    ClientError,
    connection::{CALL, Link},
};
use prost::Message;
use reports::Spoken;
use session::{End, Session, within};
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_proto::v1::{self, answer_request::Said, evaluate_client::EvaluateClient};
use srnas_security::ClientSecurity;
use srnas_task::Training;
use srnas_telemetry as telemetry;
use srnas_wire::LARGEST_ANSWER;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long the search may let a call for work wait.
const WAIT: Duration = Duration::from_secs(20);

/// What an evaluator is started with.
#[derive(Clone, Debug)]
pub struct EvaluatorOptions {
    /// Address of the search.
    pub learner: String,
    /// What it shows and trusts.
    pub security: ClientSecurity,
    /// Its own name.
    pub id: String,
    /// Measurements at a time.
    pub parallel: usize,
    /// Gives up when nobody answers for so long; never if `None`.
    pub connect_timeout: Option<Duration>,
}

/// Why an evaluator ends before its search does.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatorError {
    /// The search cannot be reached or does not want it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Another search listens there now.
    #[error("another search listens at {0} now; start the evaluator again to work for it")]
    OtherSearch(String),
    /// Its oracle is broken; another evaluator gets the work.
    #[error("the oracle failed: {0}")]
    Failed(String),
}

/// An evaluator that a search has taken in.
pub struct Evaluator {
    session: Session,
    search: v1::AttachResponse,
}

impl Evaluator {
    /// Introduces an evaluator to a search; none if the search is over, or `stop` is cancelled before it answers.
    ///
    /// # Errors
    /// [`EvaluatorError::Client`].
    pub async fn attach(
        options: EvaluatorOptions,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, EvaluatorError> {
        let mut session = Session::new(options, stop.clone())?;
        match session.attach().await {
            Ok(search) => {
                let (learner, evaluator) = (&session.options.learner, &session.options.id);
                info!(%learner, %evaluator, metric = %search.metric, "attached to a search");
                session.search_id.clone_from(&search.search_id);
                Ok(Some(Self { session, search }))
            }
            Err(End::Over | End::Stopped) => Ok(None),
            Err(End::Failed(error)) => Err(error),
        }
    }

    /// What the search says of itself.
    pub fn search(&self) -> &v1::AttachResponse {
        &self.search
    }

    /// Measures until the search is over or `stop` is cancelled. Returns how many answers counted.
    ///
    /// # Errors
    /// [`EvaluatorError`].
    pub async fn work(
        self,
        oracle: Arc<dyn CostlyOracle>,
        stop: CancellationToken,
    ) -> Result<u64, EvaluatorError> {
        let parallel = self.session.options.parallel.max(1);
        let shared = Arc::new(Shared {
            session: self.session,
            metric: self.search.metric,
            is_heard: self.search.hears_reports,
            oracle,
            heartbeat: Duration::from_millis(self.search.heartbeat_ms.max(10).into()),
            held: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            stop: stop.clone(),
        });
        let mut slots = JoinSet::new();
        for _ in 0..parallel {
            slots.spawn(shared.clone().slot());
        }
        let (mut counted, mut failed) = (0, None);
        while let Some(slot) = slots.join_next().await {
            match slot {
                Ok(Ok(answers)) => counted += answers,
                Ok(Err(error)) => {
                    // The others end what they are at.
                    stop.cancel();
                    failed.get_or_insert(error);
                }
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        }
        failed.map_or(Ok(counted), Err)
    }
}

/// How the reports of a training came to an end.
enum Told {
    /// It says nothing more.
    Everything,
    /// Nobody wants it any more.
    Unwanted,
}

/// What the slots of an evaluator share.
struct Shared {
    session: Session,
    /// What is searched.
    metric: String,
    /// Whether the search hears what trainings report as they go.
    is_heard: bool,
    oracle: Arc<dyn CostlyOracle>,
    heartbeat: Duration,
    /// What is taken and not answered.
    held: Mutex<Vec<Training>>,
    /// Whoever has it may take: a call for work says what is held, so nothing may be taken beside it.
    turn: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

impl Shared {
    /// One measurement after the other. Returns how many answers counted.
    async fn slot(self: Arc<Self>) -> Result<u64, EvaluatorError> {
        let mut counted = 0;
        loop {
            let done = tokio::select! {
                work = self.take() => match work {
                    Ok(Some(training)) => self.measure(training).await,
                    Ok(None) => Ok(None),
                    Err(end) => Err(end),
                },
                () = self.stop.cancelled() => return Ok(counted),
            };
            match done {
                Ok(Some(v1::Use::Counted | v1::Use::CountedLate)) => counted += 1,
                Ok(_) => {}
                Err(End::Over | End::Stopped) => return Ok(counted),
                Err(End::Failed(error)) => return Err(error),
            }
            if self.stop.is_cancelled() {
                return Ok(counted);
            }
        }
    }

    /// What to measure next; it is held from now on.
    async fn take(&self) -> Result<Option<Training>, End> {
        let _turn = self.turn.lock().await;
        let session = &self.session;
        let held = self.held().clone();
        let request = v1::TakeRequest {
            evaluator: Some(session.identity.clone()),
            search_id: session.search_id.clone(),
            wait_ms: WAIT.as_millis() as u32,
            held: held.iter().map(|held| held.choices.clone().into()).collect(),
            held_fidelities: held.iter().map(|held| self.share(held)).collect(),
        };
        let ask = async |mut search: EvaluateClient<Link>, deadline| {
            search.take(within(request.clone(), deadline)).await
        };
        let Some(work) = session.call(WAIT + CALL, ask).await?.work else { return Ok(None) };
        let choices = work.choices.to_vec();
        let space = self.oracle.space();
        let fits =
            choices.len() == space.len() && choices.iter().enumerate().all(|(d, &c)| c < space.arity(d));
        if !fits {
            let reason = format!("the search asks for {choices:?}, no architecture of {}", space.name());
            return Err(End::Failed(EvaluatorError::Failed(reason)));
        }
        let Some(fidelity) = self.oracle.fidelities().of_share(work.fidelity.into()) else {
            let reason = format!(
                "the search asks for a training of fidelity {}, which is none of its own",
                work.fidelity
            );
            return Err(End::Failed(EvaluatorError::Failed(reason)));
        };
        let training = Training { choices, fidelity };
        self.held().push(training.clone());
        Ok(Some(training))
    }

    /// The share of a full training, as the wire has it.
    fn share(&self, training: &Training) -> f32 {
        self.oracle.fidelities().cost(training.fidelity) as f32
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<Training>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Measures and answers; nothing where the search does not want it any more, or the evaluator stops.
    async fn measure(&self, training: Training) -> Result<Option<v1::Use>, End> {
        let done = self.measure_held(&training).await;
        if let Ok(Some(v1::Use::Counted | v1::Use::CountedLate | v1::Use::NotNeeded)) = done {
            let (oracle, training) = (self.oracle.clone(), training.clone());
            // It may remove folders.
            let _ = tokio::task::spawn_blocking(move || oracle.kept(&training)).await;
        }
        self.held().retain(|held| *held != training);
        done
    }

    async fn measure_held(&self, training: &Training) -> Result<Option<v1::Use>, End> {
        let (oracle, enough) = (self.oracle.clone(), Arc::new(AtomicBool::new(false)));
        let (asked, flag, began) = (training.clone(), enough.clone(), Instant::now());
        let (reports, said) = reports::channel();
        let is_heard = self.is_heard;
        let mut measuring = tokio::task::spawn_blocking(move || match is_heard {
            true => oracle.measure_heard(&asked, &flag, reports),
            false => oracle.measure(&asked, &flag),
        });
        let renewing = self.renew(training);
        let reporting = self.report(training, said);
        tokio::pin!(renewing, reporting);
        let mut all_said = false;
        let answer = loop {
            let unwanted = tokio::select! {
                answer = &mut measuring => break Some(answer),
                unwanted = &mut renewing => unwanted,
                told = &mut reporting, if !all_said => match told {
                    Ok(Told::Everything) => {
                        all_said = true;
                        continue;
                    }
                    Ok(Told::Unwanted) => Ok(()),
                    Err(end) => Err(end),
                },
                () = self.stop.cancelled() => break None,
            };
            if let Err(End::Failed(error)) = unwanted {
                warn!(%error, "the lease cannot be kept");
            }
            break None;
        };
        // What it said last is told before its answer, which needs none of it.
        if answer.is_some() && !all_said {
            let _ = tokio::time::timeout(CALL, &mut reporting).await;
        }
        let Some(answer) = answer else {
            enough.store(true, Ordering::Relaxed);
            // Whatever it still says, nobody hears.
            let _ = measuring.await;
            info!(architecture = %self.oracle.space().format(&training.choices), "dropped: it is not wanted here any more");
            return Ok(None);
        };
        let answer = answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let said = match answer {
            Ok(Answer::Metrics(values)) => {
                let metrics = v1::Metrics { values: values.into_iter().collect() };
                match metrics.encoded_len() {
                    0..=LARGEST_ANSWER => Said::Metrics(metrics),
                    bytes => Said::Infeasible(format!(
                        "its {} metrics take {bytes} bytes, and the search hears {LARGEST_ANSWER} at most",
                        metrics.values.len()
                    )),
                }
            }
            Ok(Answer::Infeasible(reason)) => Said::Infeasible(reason),
            Err(CostlyError::Stopped) => return Ok(None),
            Err(CostlyError::Failed(reason)) => return Err(End::Failed(EvaluatorError::Failed(reason))),
        };
        let took = began.elapsed().as_secs_f64();
        let outcome = match &said {
            Said::Metrics(metrics) => format!("{:?}", std::collections::BTreeMap::from_iter(&metrics.values)),
            Said::Infeasible(reason) => format!("infeasible: {reason}"),
        };
        let architecture = self.oracle.space().format(&training.choices);
        match (telemetry::for_machines(), &said) {
            (false, _) => info!("{architecture} · {outcome} · {took:.1} s"),
            (true, Said::Metrics(metrics)) => {
                let metric = self.metric.as_str();
                info!(%architecture, metric, value = metrics.values.get(metric), seconds = took, "measured");
            }
            (true, Said::Infeasible(reason)) => {
                info!(%architecture, infeasible = reason.as_str(), seconds = took, "measured");
            }
        }
        let session = &self.session;
        let request = v1::AnswerRequest {
            evaluator: Some(session.identity.clone()),
            search_id: session.search_id.clone(),
            choices: training.choices.clone().into(),
            fidelity: self.share(training),
            said: Some(said),
        };
        // The search answers when it is in its ledger.
        let ask = async |mut search: EvaluateClient<Link>, deadline| {
            search.answer(within(request.clone(), deadline)).await
        };
        let answered = session.call(2 * CALL, ask).await;
        if let Err(End::Stopped | End::Failed(_)) = answered {
            let architecture = self.oracle.space().format(&training.choices);
            warn!(%architecture, "what was measured could not be told to the search, which will ask for it again");
        }
        Ok(Some(answered?.r#use()))
    }

    /// Tells the search what a training reports, until that has an end or is not wanted any more.
    async fn report(&self, training: &Training, mut said: Spoken) -> Result<Told, End> {
        let session = &self.session;
        while let Some((begins, points)) = said.next().await {
            let request = v1::ReportRequest {
                evaluator: Some(session.identity.clone()),
                search_id: session.search_id.clone(),
                choices: training.choices.clone().into(),
                fidelity: self.share(training),
                begins,
                may_go_on: false,
                points,
            };
            let ask = async |mut search: EvaluateClient<Link>, deadline| {
                search.report(within(request.clone(), deadline)).await
            };
            let v1::ReportResponse { wanted, stop } = session.call(CALL, ask).await?;
            if !wanted {
                return Ok(Told::Unwanted);
            }
            if stop {
                said.stop();
            }
        }
        Ok(Told::Everything)
    }

    /// Keeps the lease for as long as the work is wanted.
    async fn renew(&self, training: &Training) -> Result<(), End> {
        let session = &self.session;
        let request = v1::RenewRequest {
            evaluator: Some(session.identity.clone()),
            search_id: session.search_id.clone(),
            choices: training.choices.clone().into(),
            fidelity: self.share(training),
        };
        let ask = async |mut search: EvaluateClient<Link>, deadline| {
            search.renew(within(request.clone(), deadline)).await
        };
        loop {
            tokio::time::sleep(self.heartbeat).await;
            if !session.call(CALL, ask).await?.wanted {
                return Ok(());
            }
        }
    }
}
