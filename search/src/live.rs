//! A search whose measurements cost seconds to days: several at a time, none twice, and none lost.
//!
//! Whenever a slot is free the posterior's highest upper bound is asked for next. What is running counts as measured with
//! its predicted mean, so that two slots do not ask for neighbours that say the same; infeasible architectures count as
//! the worst value so far, so that the search keeps away from them.

use crate::{
    guide::Guide,
    importance,
    method::{Begin, Method, MethodError, Whole},
    methods::{Acquisition, FIRST, Gp, unmeasured},
};
use hashbrown::HashSet;
use srnas_common::{
    posterior::Kind,
    space::{Choices, SearchSpace},
    task::Count,
};
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Measurements that a posterior is conditioned on at most: its cost grows with their cube.
pub(crate) const CONDITIONED: usize = 320;

/// A slot looks so often whether the search is over while its oracle can begin nothing.
const READY: Duration = Duration::from_millis(200);

/// Which metric is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// Its name.
    pub metric: String,
    /// Whether less is better.
    pub minimise: bool,
}

impl Objective {
    /// The value that is maximised; or why the answer has none.
    ///
    /// # Errors
    /// The reason of an infeasible answer; a metric that is missing or not a number.
    pub fn value(&self, answer: &Answer) -> Result<f32, String> {
        let metrics = match answer {
            Answer::Metrics(metrics) => metrics,
            Answer::Infeasible(reason) => return Err(reason.clone()),
        };
        let value =
            *metrics.get(&self.metric).ok_or_else(|| format!("it has no metric `{}`", self.metric))?;
        // Beyond the range of f32 is no number here.
        if !(value as f32).is_finite() {
            return Err(format!("its metric `{}` is {value}", self.metric));
        }
        Ok(if self.minimise { -value as f32 } else { value as f32 })
    }
}

/// An architecture that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Its choices.
    pub choices: Vec<u8>,
    /// By what it is paid for.
    pub key: u64,
    /// What the oracle said.
    pub answer: Answer,
}

/// Where measurements are kept before they count.
pub trait Journal: Send {
    /// Keeps one; it is durable when this returns. `value` is what is maximised, or why there is none.
    ///
    /// # Errors
    /// Says why it cannot be kept.
    fn keep(&mut self, measured: &Measured, value: &Result<f32, String>) -> Result<(), String>;
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A measurement was begun; so many are running now.
    Began {
        /// Running now, this one included.
        running: usize,
    },
    /// A measurement is kept.
    Ended {
        /// The measurement.
        measured: &'a Measured,
        /// What is maximised, or why there is none.
        value: &'a Result<f32, String>,
        /// Seconds it took.
        seconds: f64,
        /// Measurements kept, those of earlier calls among them.
        done: usize,
        /// Running still.
        running: usize,
    },
}

/// A search by an oracle.
pub struct LiveSearch<'a> {
    /// Who measures.
    pub oracle: &'a dyn CostlyOracle,
    /// What is searched.
    pub objective: Objective,
    /// By what.
    pub guide: Guide,
    /// Distinct architectures to measure in all.
    pub budget: usize,
    /// Measurements at a time.
    pub parallel: usize,
    /// Seed of everything random. With one measurement at a time it determines the whole search.
    pub seed: u64,
}

/// Why a search ended before its budget.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It was asked to stop; what was measured is kept.
    #[error("stopped after {done} of {budget} measurements; the same command with --resume goes on")]
    Stopped {
        /// Measurements kept.
        done: usize,
        /// Of how many.
        budget: usize,
    },
    /// The oracle is broken.
    #[error("the oracle failed: {0}")]
    Oracle(String),
    /// A measurement cannot be kept.
    #[error("a measurement cannot be kept: {0}")]
    Journal(String),
    /// The search method failed.
    #[error("the search failed: {0}")]
    Method(#[from] MethodError),
}

struct State<'j> {
    known: Vec<Measured>,
    running: Vec<Vec<u8>>,
    /// What is to be asked for next, where a posterior proposes several at once.
    proposed: VecDeque<Vec<u8>>,
    journal: &'j mut dyn Journal,
    failed: Option<LiveError>,
}

impl State<'_> {
    /// Whether an architecture is neither measured nor being measured.
    fn is_new(&self, space: &SearchSpace, choices: &Choices) -> bool {
        let key = space.canonical_key(choices);
        let known = self.known.iter().any(|measured| measured.key == key);
        !known && !self.running.iter().any(|running| space.canonical_key(running) == key)
    }
}

impl LiveSearch<'_> {
    /// Measures until the budget is spent or nothing is left; `known` was measured before and counts. Returns all, in
    /// the order in which they ended.
    ///
    /// # Errors
    /// See [`LiveError`]. Whatever happens, the journal has every measurement that ended.
    pub fn run(
        &self,
        known: Vec<Measured>,
        journal: &mut dyn Journal,
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<Vec<Measured>, LiveError> {
        let whole = Whole::new(self.oracle.space(), Count::Classes).map(Arc::new);
        known.iter().for_each(|measured| self.oracle.kept(&measured.choices));
        let state = Mutex::new(State {
            known,
            running: Vec::new(),
            proposed: VecDeque::new(),
            journal,
            failed: None,
        });
        let changed = Condvar::new();
        std::thread::scope(|scope| {
            for slot in 0..self.parallel.max(1) {
                let (state, changed, whole) = (&state, &changed, &whole);
                let work = move || {
                    if let Err(error) = self.work(state, changed, whole, stop, tell) {
                        lock(state).failed.get_or_insert(error);
                    }
                    changed.notify_all();
                };
                let thread = std::thread::Builder::new().name(format!("measure-{slot}"));
                if let Err(error) = thread.spawn_scoped(scope, work) {
                    lock(state).failed.get_or_insert(LiveError::Oracle(format!("no thread: {error}")));
                }
            }
        });
        let state = state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        match state.failed {
            Some(error) => Err(error),
            None if stop.load(Ordering::Relaxed) && state.known.len() < self.budget => {
                Err(LiveError::Stopped { done: state.known.len(), budget: self.budget })
            }
            None => {
                self.oracle.finish();
                Ok(state.known)
            }
        }
    }

    /// One slot: proposes, measures and keeps, until there is nothing left to do.
    fn work(
        &self,
        state: &Mutex<State>,
        changed: &Condvar,
        whole: &Option<Arc<Whole>>,
        stop: &AtomicBool,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<(), LiveError> {
        loop {
            let choices = {
                while !self.oracle.ready(READY) {
                    let now = lock(state);
                    if stop.load(Ordering::Relaxed) || now.failed.is_some() || now.known.len() >= self.budget
                    {
                        return Ok(());
                    }
                }
                let mut now = lock(state);
                loop {
                    let over = stop.load(Ordering::Relaxed) || now.failed.is_some();
                    if over || now.known.len() >= self.budget {
                        return Ok(());
                    }
                    if now.known.len() + now.running.len() < self.budget {
                        break;
                    }
                    // What is running may yet end without an answer, and then there is one more to ask for.
                    now = changed
                        .wait_timeout(now, Duration::from_millis(500))
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .0;
                }
                let next =
                    match self.oracle.brought().filter(|choices| now.is_new(self.oracle.space(), choices)) {
                        Some(choices) => Some(choices),
                        None => self.next(&mut now, whole)?,
                    };
                let Some(choices) = next else { return Ok(()) };
                now.running.push(choices.clone());
                tell(Event::Began { running: now.running.len() });
                choices
            };
            let began = Instant::now();
            let answer = self.oracle.measure(&choices, stop);
            let now = &mut *lock(state);
            now.running.retain(|running| *running != choices);
            let answer = match answer {
                Ok(answer) => answer,
                Err(CostlyError::Stopped) => return Ok(()),
                Err(CostlyError::Failed(reason)) => return Err(LiveError::Oracle(reason)),
            };
            let key = self.oracle.space().canonical_key(&choices);
            let measured = Measured { choices, key, answer };
            let value = self.objective.value(&measured.answer);
            if let Err(reason) = now.journal.keep(&measured, &value) {
                // Whatever else is measured cannot be kept either, and evaluators may answer late or never.
                stop.store(true, Ordering::Relaxed);
                return Err(LiveError::Journal(reason));
            }
            self.oracle.kept(&measured.choices);
            now.known.push(measured);
            tell(Event::Ended {
                measured: &now.known[now.known.len() - 1],
                value: &value,
                seconds: began.elapsed().as_secs_f64(),
                done: now.known.len(),
                running: now.running.len(),
            });
            changed.notify_all();
        }
    }

    fn next(&self, now: &mut State, whole: &Option<Arc<Whole>>) -> Result<Option<Vec<u8>>, LiveError> {
        // What was proposed some time ago may have been brought meanwhile.
        while let Some(choices) = now.proposed.pop_front() {
            if now.is_new(self.oracle.space(), &choices) {
                return Ok(Some(choices));
            }
        }
        now.proposed = self.propose(now, whole)?.into();
        Ok(now.proposed.pop_front())
    }

    /// What to measure next, the best first: one architecture, or several where so many were measured that proposing costs
    /// more than a cheap measurement. Nothing where every architecture was measured or is being measured.
    fn propose(&self, state: &State, whole: &Option<Arc<Whole>>) -> Result<Vec<Vec<u8>>, LiveError> {
        let space = self.oracle.space();
        let values: Vec<Option<f32>> =
            state.known.iter().map(|m| self.objective.value(&m.answer).ok()).collect();
        let asked = state.known.len() + state.running.len();
        // Who knows a past needs no start.
        let guided = state.known.is_empty() && self.guide.knows_a_past();
        if values.iter().all(Option::is_none) && !guided {
            let begin = self.begin(asked, asked + 1, whole);
            let known = state.known.iter().map(|m| m.key);
            let taken: HashSet<u64> =
                known.chain(state.running.iter().map(|c| space.canonical_key(c))).collect();
            return Ok(unmeasured(&begin, &taken, &mut begin.rng()).into_iter().collect());
        }
        let mut posterior = self.posterior(&state.known, &values, asked, whole)?;
        for running in &state.running {
            let mean = posterior.mean_of(running);
            posterior.0.tell(running, &[mean])?;
        }
        if let (true, Some(whole)) = (self.guide.is_trained(), whole) {
            let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
            let known = state.known.iter().zip(&values).map(|(m, v)| (m.choices.clone(), v.unwrap_or(worst)));
            let running = state.running.iter().map(|choices| (choices.clone(), posterior.mean_of(choices)));
            let measured: Vec<(Vec<u8>, f32)> = known.chain(running).collect();
            let (expected, seed) = (posterior.0.means(), self.begin(asked, 1, &None).seed);
            let moved = self.guide.policy_choice(whole, &measured, expected, self.budget, seed)?;
            if let Some(choices) = moved.filter(|choices| state.is_new(space, choices)) {
                return Ok(vec![choices]);
            }
        }
        // Up to here each proposal knows all that was measured before it.
        let batch = if asked <= CONDITIONED { 1 } else { asked / 64 };
        Ok(posterior.0.ask_for(batch.min(self.budget.saturating_sub(asked)).max(1)))
    }

    fn begin(&self, asked: usize, points: usize, whole: &Option<Arc<Whole>>) -> Begin {
        Begin {
            space: self.oracle.space().clone(),
            count: Count::Classes,
            objectives: 1,
            budget: points,
            shorter: Arc::from([]),
            start: Vec::new(),
            // Another draw at each turn, and the same again if the search is resumed here.
            seed: self.seed.wrapping_add((asked as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            start_seed: self.seed,
            whole: whole.clone(),
            past: self.guide.prior().cloned(),
            tasks: Arc::from([]),
        }
    }

    /// What is believed after `known`; what is infeasible counts as the worst. Of more than [`CONDITIONED`] measurements the
    /// best half and the newest half count; the others are merely not asked for again.
    fn posterior(
        &self,
        known: &[Measured],
        values: &[Option<f32>],
        asked: usize,
        whole: &Option<Arc<Whole>>,
    ) -> Result<LivePosterior, LiveError> {
        let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
        let value = |i: usize| values[i].unwrap_or(worst);
        let newest = known.len().saturating_sub(CONDITIONED / 2);
        let mut told: Vec<usize> = (0..known.len()).collect();
        if known.len() > CONDITIONED {
            let mut older: Vec<usize> = (0..newest).collect();
            older.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(a.cmp(&b)));
            older.truncate(CONDITIONED / 2);
            older.sort_unstable();
            told = older.into_iter().chain(newest..known.len()).collect();
        }
        let kind = if self.guide.knows_a_past() { Kind::Transfer } else { Kind::Plain };
        let running = asked - known.len();
        let begin = self.begin(asked, told.len() + running + 1, whole);
        // Before anything is measured the past's scale and sign are open, and an upper bound likes best what was worst.
        let beta = if known.is_empty() { 0.0 } else { self.guide.beta() };
        let mut posterior = Gp::new(&begin, *self.guide.settings(), kind, Acquisition::Bound(beta));
        posterior = match kind {
            Kind::Plain => posterior.beginning_among_random(FIRST),
            Kind::Transfer => posterior.near(self.guide.favourites().to_vec()),
        };
        if told.len() < known.len() {
            known.iter().for_each(|m| posterior.skip(&m.choices));
        }
        for &i in &told {
            posterior.learn(&known[i].choices, value(i));
        }
        Ok(LivePosterior(posterior))
    }

    /// Which decisions mattered in what was measured: `(decision, share)`, see [`crate::importance`].
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self, known: &[Measured]) -> Result<Vec<(usize, f64)>, LiveError> {
        let values: Vec<Option<f32>> = known.iter().map(|m| self.objective.value(&m.answer).ok()).collect();
        if values.iter().flatten().count() < 2 {
            return Ok(Vec::new());
        }
        let whole = Whole::new(self.oracle.space(), Count::Classes).map(Arc::new);
        let mut posterior = self.posterior(known, &values, known.len(), &whole)?;
        Ok(importance::main_effects(&mut posterior)?)
    }
}

/// What a search believes of its space.
pub(crate) struct LivePosterior(Gp);

impl LivePosterior {
    /// The space.
    pub fn space(&self) -> &Arc<SearchSpace> {
        self.0.space()
    }

    /// The mean at an architecture, in units of what is maximised.
    pub fn mean_of(&mut self, choices: &Choices) -> f32 {
        self.0.mean_of(choices)
    }
}

fn lock<'s, 'j>(state: &'s Mutex<State<'j>>) -> MutexGuard<'s, State<'j>> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::PastSearch;
    use rand::SeedableRng;
    use srnas_common::space::{Conditional, Decision};
    use std::{collections::BTreeMap, sync::atomic::AtomicUsize};

    /// Counts how often it is asked; some architectures are infeasible.
    struct Toy {
        space: Arc<SearchSpace>,
        asked: Mutex<Vec<Vec<u8>>>,
        at_once: AtomicUsize,
        most: AtomicUsize,
    }

    fn toy(decisions: usize) -> Toy {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
        Toy { space: Arc::new(space), asked: Mutex::default(), at_once: 0.into(), most: 0.into() }
    }

    impl CostlyOracle for Toy {
        fn space(&self) -> &Arc<SearchSpace> {
            &self.space
        }

        fn identity(&self) -> (String, String) {
            ("toy".into(), String::new())
        }

        fn metric_names(&self) -> Vec<String> {
            vec!["loss".into()]
        }

        fn measure(&self, choices: &Choices, _stop: &AtomicBool) -> Result<Answer, CostlyError> {
            let at_once = 1 + self.at_once.fetch_add(1, Ordering::SeqCst);
            self.most.fetch_max(at_once, Ordering::SeqCst);
            self.asked.lock().unwrap().push(choices.to_vec());
            std::thread::sleep(Duration::from_millis(2));
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            if choices[0] == 2 {
                return Ok(Answer::Infeasible("it diverged".into()));
            }
            let loss = choices.iter().map(|&c| 2.0 - f64::from(c)).sum::<f64>();
            Ok(Answer::Metrics(BTreeMap::from([(
                "loss".into(),
                if loss > 1.4 * choices.len() as f64 { f64::NAN } else { loss },
            )])))
        }
    }

    #[derive(Default)]
    struct Kept(Vec<(Measured, Result<f32, String>)>);

    impl Journal for Kept {
        fn keep(&mut self, measured: &Measured, value: &Result<f32, String>) -> Result<(), String> {
            self.0.push((measured.clone(), value.clone()));
            Ok(())
        }
    }

    fn search(oracle: &Toy, budget: usize, parallel: usize) -> LiveSearch<'_> {
        let objective = Objective { metric: "loss".into(), minimise: true };
        LiveSearch { oracle, objective, guide: Guide::default(), budget, parallel, seed: 7 }
    }

    fn distinct(measured: &[Measured]) -> usize {
        measured.iter().map(|m| m.key).collect::<HashSet<_>>().len()
    }

    #[test]
    fn slots_work_at_once_and_nothing_is_measured_twice() {
        let (oracle, mut journal) = (toy(5), Kept::default());
        let found =
            search(&oracle, 30, 4).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
        assert_eq!((found.len(), distinct(&found), oracle.asked.lock().unwrap().len()), (30, 30, 30));
        assert!(oracle.most.load(Ordering::SeqCst) > 1, "one at a time");
        let best = journal.0.iter().filter_map(|(_, v)| v.clone().ok()).fold(f32::MIN, f32::max);
        // The best that is feasible is 1, 2, 2, 2, 2 with -1; which of its neighbours come first depends on the slots.
        assert!(best >= -2.0, "{best}");
        let infeasible: Vec<&String> = journal.0.iter().filter_map(|(_, v)| v.as_ref().err()).collect();
        assert!(!infeasible.is_empty() && infeasible.len() < 15, "{infeasible:?}");
    }

    #[test]
    fn a_search_that_is_stopped_goes_on_with_what_it_has() {
        let (oracle, mut journal) = (toy(5), Kept::default());
        let stop = AtomicBool::new(false);
        let after = |event: Event| {
            if matches!(event, Event::Ended { done: 9, .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let error = search(&oracle, 20, 1).run(vec![], &mut journal, &stop, &after).unwrap_err();
        assert!(matches!(error, LiveError::Stopped { done: 9, budget: 20 }), "{error}");
        let known: Vec<Measured> = journal.0.iter().map(|(m, _)| m.clone()).collect();
        let go = AtomicBool::new(false);
        let resumed = search(&oracle, 20, 1).run(known, &mut journal, &go, &|_| ()).unwrap();
        assert_eq!((distinct(&resumed), journal.0.len()), (20, 20));
        // One at a time, what was stopped in between is the search that was not.
        let straight = search(&toy(5), 20, 1).run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
        let order = |found: &[Measured]| found.iter().map(|m| m.choices.clone()).collect::<Vec<_>>();
        assert_eq!(order(&resumed), order(&straight));
    }

    #[test]
    fn a_past_guides_from_the_first_measurement_on_also_where_the_space_cannot_be_listed() {
        for decisions in [5, 14] {
            let (oracle, go) = (toy(decisions), AtomicBool::new(false));
            let value = |choices: &[u8]| choices.iter().map(|&c| f32::from(c)).sum::<f32>();
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
            let mut choices = vec![0; decisions];
            let draws = (0..80).map(|_| {
                oracle.space.sample(&mut rng, &mut choices);
                (choices.clone(), Some(value(&choices) - if choices[0] == 2 { 9.0 } else { 0.0 }))
            });
            let past = PastSearch { name: "before".into(), measured: draws.collect() };
            let guide = Guide::of_past(&oracle.space, std::slice::from_ref(&past)).unwrap();
            assert!(guide.knows_a_past());
            let search = LiveSearch { guide, ..search(&oracle, 10, 1) };
            let found = search.run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
            let best_before = past.measured.iter().filter_map(|(_, v)| *v).fold(f32::MIN, f32::max);
            assert!(value(&found[0].choices) >= best_before - 2.0, "{:?}", found[0].choices);
            let best =
                found.iter().filter(|m| m.choices[0] < 2).map(|m| value(&m.choices)).fold(0.0, f32::max);
            assert!(best > best_before, "{decisions} decisions: {best} after {best_before}");
        }
    }

    #[test]
    fn a_budget_beyond_the_space_measures_all_of_it() {
        let (oracle, mut journal) = (toy(2), Kept::default());
        let found =
            search(&oracle, 100, 3).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
        assert_eq!((found.len(), distinct(&found)), (9, 9));
    }
}
