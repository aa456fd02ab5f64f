//! The oracle whose measurements are made by evaluators.

use super::{reports::Reporting, service};
use crate::service::ServiceError;
use srnas_ledger::leases::{Holder, Incident, Key, Leases, Terms};
use srnas_oracle::{
    costly::{Answer, CostlyError, CostlyOracle, Worker},
    curves::{self, CurveOptions, Curves},
};
use srnas_security::ServerSecurity;
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A thread that waits for an answer looks so often whether it should stop.
const LOOK: Duration = Duration::from_millis(200);
/// How long a search that goes on waits for its evaluators, beyond a heartbeat: they find it again within this.
const REUNION: Duration = Duration::from_millis(500);
/// How long the end of the search waits for evaluators to hear of it, beyond their next heartbeat.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the evaluators of a search are told, and how they are listened to.
#[derive(Debug)]
pub struct RemoteOptions {
    /// What is searched: answers to another search do not count.
    pub search_id: String,
    /// The metrics without which an answer is infeasible; the first is the one that is told.
    pub metrics: Vec<String>,
    /// Whether less of it is better.
    pub minimise: bool,
    /// A known space, or the name of its file.
    pub space: String,
    /// What is in that file.
    pub definition: String,
    /// Seed of the search.
    pub seed: u64,
    /// How long it may ask to train.
    pub fidelities: Fidelities,
    /// What becomes of what trainings report as they go.
    pub curves: CurveOptions,
    /// Leases, timeout and retries.
    pub terms: Terms,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What evaluators must show.
    pub security: ServerSecurity,
}

/// Why there is nothing for evaluators to talk to.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What trainings reported before cannot be read.
    #[error("cannot read the curves in {place}: {source}; move that folder away to go on without them")]
    Curves {
        /// Their folder.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// No threads, or no sockets.
    #[error("cannot serve evaluators: {0}")]
    Runtime(#[from] io::Error),
}

/// Measures by evaluators.
pub struct RemoteOracle {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    shutdown: CancellationToken,
    address: SocketAddr,
}

/// What the search's threads and the service share.
pub(super) struct Shared {
    pub space: Arc<SearchSpace>,
    pub options: RemoteOptions,
    state: Mutex<State>,
    /// Wakes the search's threads.
    changed: Condvar,
    /// Wakes the service's calls.
    moved: watch::Sender<()>,
    /// What trainings report.
    curves: Arc<Curves>,
}

pub(super) struct State {
    pub leases: Leases,
    /// Calls that wait for work.
    pub asking: usize,
    /// Threads that were told that they may ask for a measurement and have not yet.
    claimed: usize,
    pub evaluators: HashMap<String, Evaluator>,
    /// Trainings that have reported something, of those who measure them now.
    reporting: HashMap<Key, Arc<Reporting>>,
    /// The search needs nothing any more.
    pub over: bool,
    /// Until then a search that goes on gives out nothing new: its evaluators may come back with what they have.
    reunion: Option<Instant>,
    /// Whether anything was asked for.
    began: bool,
}

/// An evaluator that has attached.
pub(super) struct Evaluator {
    pub incarnation: u64,
    pub heard: Instant,
    /// Whether it knows that the search is over.
    pub dismissed: bool,
    /// Whether it gets nothing more to do.
    pub leaves: bool,
}

impl State {
    /// Who measured a training does so no longer; what it reported on, if it is still it that is heard.
    pub fn no_longer_reports(&mut self, key: Key, holder: &Holder) -> Option<Arc<Reporting>> {
        let is_it = self.reporting.get(&key).is_some_and(|reporting| reporting.is_of(holder));
        is_it.then(|| self.reporting.remove(&key)).flatten()
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a change of the state.
    pub fn tell(&self) {
        self.changed.notify_all();
        self.moved.send_replace(());
    }

    /// Wakes the search's threads alone.
    pub fn tell_search(&self) {
        self.changed.notify_all();
    }

    /// Hears of every change from now on.
    pub fn listen(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// By what a training is known.
    pub fn key(&self, training: &Training) -> Key {
        (self.space.canonical_key(&training.choices), training.fidelity)
    }

    /// What follows a training that somebody measures.
    pub fn followed(&self, state: &mut State, key: Key, holder: &Holder) -> Arc<Reporting> {
        let known = state.reporting.get(&key).filter(|reporting| reporting.is_of(holder));
        if let Some(known) = known {
            return known.clone();
        }
        let reporting = Arc::new(Reporting::new(self.curves.follow(&self.file_name(key)), holder.clone()));
        state.reporting.insert(key, reporting.clone());
        reporting
    }

    /// A training has ended: with a value by somebody, or without one. It may remove a file.
    fn ended(&self, key: Key, has_value: bool, by: Option<&str>) {
        let reporting = self.lock().reporting.remove(&key);
        match reporting {
            Some(reporting) => reporting.end(has_value && by.is_some_and(|by| reporting.is_by(by))),
            // All that it reported it reported to an earlier process.
            None if has_value => self.curves.has_ended(&self.file_name(key)),
            None => self.curves.forget(&self.file_name(key)),
        }
    }

    fn file_name(&self, (key, fidelity): Key) -> String {
        curves::file_name(&self.options.fidelities, key, fidelity)
    }

    /// A training in words.
    pub fn name(&self, training: &Training) -> String {
        let architecture = self.space.format(&training.choices);
        match self.options.fidelities.shorter() {
            0 => architecture,
            _ => format!("{architecture} ({})", self.options.fidelities.name(training.fidelity)),
        }
    }

    pub fn heartbeat(&self) -> Duration {
        self.options.terms.lease / 3
    }

    /// Ends leases that ran out, and says so.
    pub fn sweep(&self) {
        let mut state = self.lock();
        let incidents = state.leases.sweep(Instant::now());
        // What nobody asked for and nobody measures any more is no flight.
        let State { reporting, leases, .. } = &mut *state;
        reporting.retain(|key, _| leases.is_in_flight(*key));
        drop(state);
        if incidents.is_empty() {
            return;
        }
        for incident in incidents {
            match incident {
                Incident::Lost { id, training } => {
                    let architecture = self.name(&training);
                    warn!(evaluator = %id, %architecture, "an evaluator was lost: its work goes to the next");
                }
                Incident::GivenUp { training, reason } => {
                    warn!(architecture = %self.name(&training), %reason, "an architecture is infeasible");
                }
            }
        }
        self.tell();
    }
}

impl RemoteOracle {
    /// Listens for evaluators.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub fn start(space: Arc<SearchSpace>, options: RemoteOptions) -> Result<Self, RemoteError> {
        let (wanted, unit) = (options.metrics.clone(), options.fidelities.unit().to_string());
        // What has ended is known one by one.
        let curves = Curves::open(options.curves.clone(), wanted, unit, |_| false).map_err(|source| {
            let folder = options.curves.folder.clone().unwrap_or_default();
            RemoteError::Curves { place: folder.display().to_string(), source }
        })?;
        let curves = Arc::new(curves);
        let leases = Leases::new(options.terms.clone());
        let state = State {
            leases,
            asking: 0,
            claimed: 0,
            evaluators: HashMap::new(),
            reporting: HashMap::new(),
            over: false,
            reunion: None,
            began: false,
        };
        let (listen, shutdown) = (options.listen, CancellationToken::new());
        let shared = Arc::new(Shared {
            space,
            options,
            state: Mutex::new(state),
            changed: Condvar::new(),
            moved: watch::Sender::new(()),
            curves,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("evaluate")
            .enable_all()
            .build()?;
        let address = runtime.block_on(async {
            let listener = crate::service::bind(listen).await?;
            let address = listener.local_addr()?;
            let serving = service::serve(listener, shared.clone(), shutdown.clone())?;
            let ended = shutdown.clone();
            tokio::spawn(async move {
                if let Err(error) = serving.await {
                    warn!(%error, "evaluators are not served any more");
                }
                // Nobody waits for answers that cannot come.
                ended.cancel();
            });
            Ok::<_, RemoteError>(address)
        })?;
        Ok(Self { shared, runtime: Some(runtime), shutdown, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>, longest: Duration) -> MutexGuard<'s, State> {
        self.shared.changed.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Drop for RemoteOracle {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(FAREWELL);
        }
    }
}

impl CostlyOracle for RemoteOracle {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.shared.space
    }

    /// Who measures may change from one evaluator to the next; what is asked may not.
    fn identity(&self) -> (String, String) {
        let options = &self.shared.options;
        let said = serde_json::json!({ "space": options.definition, "seed": options.seed });
        ("remote".into(), said.to_string())
    }

    fn metric_names(&self) -> Vec<String> {
        self.shared.options.metrics.clone()
    }

    fn fidelities(&self) -> &Fidelities {
        &self.shared.options.fidelities
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let key = self.shared.key(training);
        {
            let mut state = self.shared.lock();
            state.claimed = state.claimed.saturating_sub(1);
            state.began = true;
            state.leases.want(key, training);
        }
        self.shared.tell();
        let mut state = self.shared.lock();
        loop {
            if let Some(answer) = state.leases.answer(key) {
                let has_value = matches!(answer, Answer::Metrics(_));
                let by = state.leases.answered_by(key).map(str::to_string);
                drop(state);
                self.shared.ended(key, has_value, by.as_deref());
                return Ok(answer);
            }
            if stop.load(Ordering::Relaxed) {
                state.leases.forsake(key);
                return Err(CostlyError::Stopped);
            }
            if self.shutdown.is_cancelled() {
                return Err(CostlyError::Failed("evaluators are not served any more".into()));
            }
            state = self.wait(state, LOOK);
        }
    }

    fn measured_by(&self, training: &Training) -> Option<String> {
        self.shared.lock().leases.answered_by(self.shared.key(training)).map(str::to_string)
    }

    fn ready(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut state = self.shared.lock();
        loop {
            let now = Instant::now();
            let asking = if state.reunion.is_some_and(|end| now < end) { 0 } else { state.asking };
            if asking + state.leases.unasked() > state.leases.waiting() + state.claimed {
                state.claimed += 1;
                return true;
            }
            let left = until.saturating_duration_since(now);
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
    }

    fn brought(&self) -> Option<Training> {
        self.shared.lock().leases.brought()
    }

    /// Those that were heard lately: who is silent for two leases has gone.
    fn workers(&self) -> Vec<Worker> {
        let (state, gone) = (self.shared.lock(), 2 * self.shared.options.terms.lease);
        let here = state.evaluators.iter().filter(|(_, evaluator)| evaluator.heard.elapsed() < gone);
        let mut workers: Vec<Worker> = here
            .map(|(name, evaluator)| Worker {
                name: name.clone(),
                silent: evaluator.heard.elapsed().as_secs(),
                measures: state.leases.held_by(name).map(|training| self.shared.name(training)).collect(),
                leaves: evaluator.leaves,
            })
            .collect();
        drop(state);
        workers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        workers
    }

    fn dismiss(&self, worker: &str) -> Result<(), String> {
        let mut state = self.shared.lock();
        let Some(evaluator) = state.evaluators.get_mut(worker) else {
            let mut names: Vec<&str> = state.evaluators.keys().map(String::as_str).collect();
            names.sort_unstable();
            let there = if names.is_empty() { "nobody".into() } else { names.join(", ") };
            return Err(format!("no evaluator `{worker}` has attached; there is {there}"));
        };
        evaluator.leaves = true;
        drop(state);
        info!(evaluator = %worker, "an evaluator is to end when it has answered");
        self.shared.tell();
        Ok(())
    }

    /// Lets evaluators know, those that are alive, and waits for their next heartbeat at most.
    fn finish(&self) {
        let patience = Instant::now() + self.shared.heartbeat() + FAREWELL;
        let silent = 2 * self.shared.options.terms.lease;
        self.shared.lock().over = true;
        self.shared.tell();
        let mut state = self.shared.lock();
        let unaware =
            |state: &State| state.evaluators.values().any(|e| !e.dismissed && e.heard.elapsed() < silent);
        while unaware(&state) && Instant::now() < patience {
            state = self.wait(state, LOOK);
        }
    }

    fn kept(&self, training: &Training) {
        let key = self.shared.key(training);
        self.shared.curves.has_ended(&self.shared.file_name(key));
        let mut state = self.shared.lock();
        state.leases.keep(key);
        // What is kept before anybody was asked is of an earlier time.
        if state.reunion.is_none() && !state.began {
            state.reunion = Some(Instant::now() + self.shared.heartbeat() + REUNION);
        }
        drop(state);
        self.shared.tell();
    }
}
