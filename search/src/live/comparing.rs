//! Several methods on one oracle: each search pays for itself, and what two of them ask for is measured once.

use super::{Ends, Event, Inbox, Journal, LiveError, LiveSearch, Measured};
use crate::{
    comparison::{Outcome, Plan},
    goal::{Goal, Values},
    guide::Guide,
    method::{MethodSpec, Past},
    problem::{Problem, ProblemError},
    table::Query,
};
use hashbrown::{HashMap, HashSet};
use srnas_environment::compress::Students;
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle, RESUMED_FROM};
use srnas_policy::evaluation::start_seed;
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Task, Training};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

/// A comparison of methods whose measurements are made.
pub struct LiveComparison<'a> {
    /// Who measures.
    pub oracle: &'a dyn CostlyOracle,
    /// What is searched for.
    pub goal: Goal,
    /// What is compared; its methods are these, in their order.
    pub plan: Plan,
    /// By what is searched.
    pub methods: Vec<MethodSpec>,
    /// What is known of earlier tasks, for methods that learn from them.
    pub past: Past,
    /// What a teacher may become, where that is known of the space.
    pub students: Option<Students>,
    /// Measurements at a time.
    pub parallel: usize,
}

/// Why a comparison by an oracle ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum LiveComparisonError {
    /// A search could not go on.
    #[error(transparent)]
    Search(#[from] LiveError),
    /// What was measured cannot be compared.
    #[error(transparent)]
    Problem(#[from] ProblemError),
}

/// What came of it: the problem whose table is all that was measured, and the searches by method.
pub struct LiveOutcome {
    /// The problem.
    pub problem: Problem,
    /// The searches of each method.
    pub outcomes: Vec<Outcome>,
}

impl LiveComparison<'_> {
    /// Makes every search, one after the other: of each seed those of all methods, from a start that they share. `known` was measured
    /// in an earlier call. `tell` hears what is measured, `done` how many searches are.
    ///
    /// # Errors
    /// See [`LiveComparisonError`]; a search whose method fails is no error: it is in the outcome.
    pub fn run(
        &self,
        known: Vec<Measured>,
        journal: &mut dyn Journal,
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
        done: &dyn Fn(usize),
    ) -> Result<LiveOutcome, LiveComparisonError> {
        known.iter().for_each(|measured| self.oracle.kept(&measured.training));
        let shared = Shared::new(self.oracle, &self.goal, known, journal);
        let budget = self.plan.budgets.iter().copied().max().unwrap_or(0);
        let mut searches: Vec<Vec<Result<Vec<Measured>, String>>> = vec![Vec::new(); self.methods.len()];
        let mut finished = 0;
        for seed in 0..self.plan.seeds {
            for (method, searches) in self.methods.iter().zip(&mut searches) {
                shared.begin();
                let search = LiveSearch {
                    oracle: &shared,
                    goal: self.goal.clone(),
                    guide: Guide::default(),
                    method: Some(method.clone()),
                    students: self.students.clone(),
                    past: if method.knows_a_past() { self.past.clone() } else { Past::default() },
                    budget,
                    parallel: self.parallel,
                    first: Vec::new(),
                    added: Inbox::default(),
                    sharing: None,
                    ends: Ends::default(),
                    seed: start_seed(self.plan.seed, "live", seed),
                };
                let found = search.run(Vec::new(), &mut Nowhere, stop, tell);
                searches.push(match found {
                    Ok(found) => Ok(found),
                    Err(LiveError::Method(error)) => Err(error.to_string()),
                    Err(error) => return Err(shared.failure().unwrap_or(error).into()),
                });
                finished += 1;
                done(finished);
            }
        }
        let problem = Problem::of_measured(self.oracle.space(), &self.goal, &shared.measured())?;
        let outcome = |searches: Vec<Result<Vec<Measured>, String>>| {
            searches.into_iter().map(|found| Ok(trace(&problem, &found?))).collect()
        };
        Ok(LiveOutcome { outcomes: searches.into_iter().map(outcome).collect(), problem })
    }
}

/// The queries of a search.
fn trace(problem: &Problem, found: &[Measured]) -> Vec<Query> {
    let mut spent = 0.0;
    let query = |measured: &Measured| {
        let began = Duration::from_secs_f64(spent);
        spent += measured.cost;
        let choices = measured.training.choices.clone();
        let value = |task: &Arc<Task>| task.value(&choices).unwrap_or(f32::NEG_INFINITY);
        let values = problem.signals.iter().map(value).collect();
        let ended = Duration::from_secs_f64(spent);
        Query { choices, values, fidelity: measured.training.fidelity, spent, began, ended }
    };
    found.iter().map(query).collect()
}

/// Each search's own journal: what is measured is kept by the oracle that they share.
struct Nowhere;

impl Journal for Nowhere {
    fn keep(&mut self, _: &Measured, _: &Result<Values, String>) -> Result<(), String> {
        Ok(())
    }
}

/// An oracle that answers what was measured already from its ledger.
struct Shared<'a> {
    oracle: &'a dyn CostlyOracle,
    goal: &'a Goal,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    /// In the order in which it was measured.
    measured: Vec<Measured>,
    places: HashMap<(u64, Fidelity), usize>,
    /// What the search at hand has trained: longer trainings of it go on from there, where the oracle's do.
    own: HashSet<(u64, Fidelity)>,
    resumes: bool,
    journal: &'a mut dyn Journal,
    failure: Option<String>,
}

impl<'a> Shared<'a> {
    fn new(
        oracle: &'a dyn CostlyOracle,
        goal: &'a Goal,
        measured: Vec<Measured>,
        journal: &'a mut dyn Journal,
    ) -> Self {
        let places = measured.iter().enumerate().map(|(i, m)| ((m.key, m.training.fidelity), i)).collect();
        let (own, resumes, failure) = (HashSet::new(), oracle.resumes(), None);
        Self { oracle, goal, state: Mutex::new(State { measured, places, own, resumes, journal, failure }) }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another search begins.
    fn begin(&self) {
        self.state().own.clear();
    }

    fn measured(&self) -> Vec<Measured> {
        self.state().measured.clone()
    }

    /// Why a measurement could not be kept.
    fn failure(&self) -> Option<LiveError> {
        self.state().failure.take().map(LiveError::Journal)
    }

    /// The answer as the search at hand gets it: where trainings go on from shorter ones it says from which of its own.
    fn said(&self, state: &mut State, key: u64, fidelity: Fidelity, answer: &Answer) -> Answer {
        let fidelities = self.oracle.fidelities();
        let mut answer = answer.clone();
        if let Answer::Metrics(metrics) = &mut answer {
            let own = |place: &usize| state.own.contains(&(key, Fidelity::Shorter(*place)));
            let from = fidelities.before(fidelity).rev().find(own).filter(|_| state.resumes);
            if let Some(place) = from {
                metrics.insert(RESUMED_FROM.into(), fidelities.amount(Fidelity::Shorter(place)));
            }
            state.own.insert((key, fidelity));
        }
        answer
    }
}

impl CostlyOracle for Shared<'_> {
    fn space(&self) -> &Arc<SearchSpace> {
        self.oracle.space()
    }

    fn identity(&self) -> (String, String) {
        self.oracle.identity()
    }

    fn metric_names(&self) -> Vec<String> {
        self.oracle.metric_names()
    }

    fn fidelities(&self) -> &Fidelities {
        self.oracle.fidelities()
    }

    fn resumes(&self) -> bool {
        self.state().resumes
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let key = self.oracle.space().canonical_key(&training.choices);
        let at = (key, training.fidelity);
        {
            let state = &mut *self.state();
            if let Some(&place) = state.places.get(&at) {
                let answer = state.measured[place].answer.clone();
                return Ok(self.said(state, key, training.fidelity, &answer));
            }
        }
        let mut answer = self.oracle.measure(training, stop)?;
        let fidelities = self.oracle.fidelities();
        let from = match &mut answer {
            Answer::Metrics(metrics) => {
                metrics.remove(RESUMED_FROM).and_then(|said| fidelities.of_amount(said))
            }
            Answer::Infeasible(_) => None,
        };
        let from = from.filter(|place| fidelities.before(training.fidelity).contains(place));
        let whole = fidelities.cost(training.fidelity);
        let cost = from.map_or(whole, |place| fidelities.rest(training.fidelity, place));
        let measured = Measured { training: training.clone(), key, cost, answer };
        let state = &mut *self.state();
        if let Err(reason) = state.journal.keep(&measured, &self.goal.values(&measured.answer)) {
            state.failure = Some(reason.clone());
            return Err(CostlyError::Failed(reason));
        }
        self.oracle.kept(training);
        state.resumes |= from.is_some();
        state.places.insert(at, state.measured.len());
        let said = self.said(state, key, training.fidelity, &measured.answer);
        state.measured.push(measured);
        Ok(said)
    }

    fn ready(&self, wait: Duration) -> bool {
        self.oracle.ready(wait)
    }

    fn measured_by(&self, training: &Training) -> Option<String> {
        self.oracle.measured_by(training)
    }
}
