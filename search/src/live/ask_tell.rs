//! A search as whoever measures sees it: asked what to measure, told what came of it. It waits for nobody and measures nothing.

use super::{
    Ends, Enough, Journal, LiveError, Measured,
    asking::{Prepared, starter},
    ends::Progress,
    paid_for, used_up,
};
use crate::{
    goal::{Goal, Values},
    guide::Guide,
    guided::Guided,
    importance::Importance,
    method::{Begin, MethodError, MethodSpec, Past, Whole},
    methods::unmeasured,
    search::{Next, Prices, Search},
};
use hashbrown::{HashMap, HashSet};
use srnas_environment::compress::{Students, lipschitz_beside};
use srnas_oracle::{
    costly::{Answer, RESUMED_FROM},
    rewarded::rewarded,
};
use srnas_space::SearchSpace;
use srnas_task::{Count, Fidelities, Fidelity, Training};
use std::{collections::BTreeMap, sync::Arc, time::Instant};

/// What is searched, and by what.
#[derive(Clone)]
pub struct Asking {
    /// Where.
    pub space: Arc<SearchSpace>,
    /// How long may be trained.
    pub fidelities: Fidelities,
    /// Whether longer trainings go on where shorter ones ended, as far as is known beforehand.
    pub resumes: bool,
    /// What is searched for.
    pub goal: Goal,
    /// By what, if no method is named.
    pub guide: Guide,
    /// By which method, if one is.
    pub method: Option<MethodSpec>,
    /// What that method knows of earlier tasks, if it learns from some.
    pub past: Past,
    /// What a teacher may become, where that is known of the space: what methods that compress networks see.
    pub students: Option<Students>,
    /// Full trainings to pay for in all, or as many shorter ones as cost the same; each is paid for once.
    pub budget: usize,
    /// What ends it before its budget does.
    pub ends: Ends,
    /// Seed of everything random. With one measurement at a time it determines the whole search.
    pub seed: u64,
}

impl Asking {
    /// What metrics are as an answer: with the rewards that are searched for, and infeasible where a metric is missing or is no number.
    pub fn answer(&self, metrics: BTreeMap<String, f64>) -> Answer {
        rewarded(Answer::of(metrics, &self.goal.metrics()), &self.goal.rewards())
    }

    /// The search of the first objective by the guide.
    pub(super) fn guided(&self, whole: Option<Arc<Whole>>) -> Guided {
        let costs = self.fidelities.costs().collect();
        Guided::new(&self.space, &whole, self.guide.clone(), costs, self.budget, self.seed)
    }

    /// What is known and what it says: no more is spent than the budget.
    fn prices(&self) -> Prices {
        Prices { budget: self.budget, shorter: self.fidelities.costs().collect(), resumes: self.resumes }
    }
}

/// A search that is asked and told; see the head of this module.
pub struct AskTell {
    asking: Asking,
    prepared: Prepared,
    /// What it holds as ended is what is known, in the same order.
    search: Search<'static>,
    known: Vec<Measured>,
    /// What is under way elsewhere, by what it is known.
    elsewhere: HashMap<(u64, Fidelity), Training>,
    /// What was reached so far, and when something was gained.
    progress: Progress,
    /// Why nothing more is begun, once that is so.
    enough: Option<Enough>,
    began: Instant,
}

/// What became of what was told.
pub struct Told {
    /// How it stands to what is searched for, or why it has no value.
    pub values: Result<Values, String>,
    /// It says that it went on after a training of this amount, after which it cannot have gone on: the whole is paid.
    pub not_resumed: Option<f64>,
}

impl AskTell {
    /// A search that was told nothing yet.
    ///
    /// # Errors
    /// A method that is not for this search, or cannot begin.
    pub fn new(asking: Asking) -> Result<Self, LiveError> {
        // Those of this search.
        let asking = Asking { students: asking.students.as_ref().map(Students::anew), ..asking };
        let whole = Whole::new(&asking.space, Count::Classes).map(Arc::new);
        let distinct = whole.as_ref().map(|whole| whole.distinct());
        let prepared = Prepared { whole, distinct, start: starter(&asking)? };
        let search = Search::new(asking.space.clone(), Count::Classes, asking.prices());
        let (known, progress, enough) = (Vec::new(), Progress::default(), None);
        let (elsewhere, began) = (HashMap::new(), Instant::now());
        let mut new = Self { asking, prepared, search, known, elsewhere, progress, enough, began };
        new.begin()?;
        Ok(new)
    }

    /// What is searched, and by what.
    pub fn asking(&self) -> &Asking {
        &self.asking
    }

    /// All that is known, in the order in which it ended.
    pub fn known(&self) -> &[Measured] {
        &self.known
    }

    /// The same, and nothing else of the search.
    pub fn into_known(self) -> Vec<Measured> {
        self.known
    }

    /// How many of it were paid for.
    pub fn paid_for(&self) -> usize {
        paid_for(&self.known)
    }

    /// What they cost, in full trainings.
    pub fn spent(&self) -> f64 {
        self.search.spent()
    }

    /// Whether the budget pays for nothing more.
    pub fn is_spent(&self) -> bool {
        self.search.is_spent()
    }

    /// Number of trainings that were asked for and not told.
    pub fn under_way(&self) -> usize {
        self.search.under_way()
    }

    /// Those among them that are measured here.
    pub fn running(&self) -> usize {
        self.search.under_way() - self.elsewhere.len()
    }

    /// Whether a training is neither known nor under way.
    pub fn is_new(&self, training: &Training) -> bool {
        self.search.is_new(training)
    }

    /// Why nothing more is begun, once that is so.
    pub fn enough(&self) -> Option<&Enough> {
        self.enough.as_ref()
    }

    /// What is asked for before anything else, in this order, where it is not known then.
    pub fn want(&mut self, trainings: impl IntoIterator<Item = Training>) {
        self.search.want(trainings);
    }

    /// Whether something is wanted that was not begun.
    pub fn wants(&self) -> bool {
        self.search.wanted().is_some()
    }

    /// Takes in what was measured before and is kept already.
    ///
    /// # Errors
    /// The method's own.
    pub fn know(&mut self, known: impl IntoIterator<Item = Measured>) -> Result<(), LiveError> {
        for measured in known {
            self.learn(measured)?;
        }
        self.begin_if_it_waits()
    }

    /// Another budget: a method that shares it out begins anew, and is told what is known.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn set_budget(&mut self, budget: usize) -> Result<(), LiveError> {
        if budget == self.asking.budget {
            return Ok(());
        }
        self.asking.budget = budget;
        self.search.set_budget(budget);
        self.prepared.start = starter(&self.asking)?;
        self.begin()
    }

    /// What ends it from now on; its time begins now.
    pub fn set_ends(&mut self, ends: Ends) {
        (self.progress, self.enough, self.began) = (Progress::default(), None, Instant::now());
        let mut spent = 0.0;
        for measured in &self.known {
            spent += measured.cost;
            self.progress.add(&ends, &self.asking.goal, measured, spent);
        }
        self.asking.ends = ends;
    }

    /// What to measure next. It is under way from now on, until it is told or given up.
    ///
    /// # Errors
    /// The method's own.
    pub fn ask(&mut self) -> Result<Next, LiveError> {
        if self.is_over() {
            return Ok(Next::Over);
        }
        self.next(|| None)
    }

    /// As [`Self::ask`], of a search that is not over; what is `brought` comes before what the method asks for.
    pub(super) fn next(&mut self, brought: impl FnOnce() -> Option<Training>) -> Result<Next, LiveError> {
        let waits = self.search.has_method() || self.wants();
        let first = if waits { None } else { self.first() };
        Ok(self.search.next(|| brought().or(first))?)
    }

    /// Somebody measures a training that was not asked for: what is proposed meanwhile counts on it.
    pub fn begun(&mut self, training: Training) {
        if self.is_new(&training) {
            self.search.start(training);
        }
    }

    /// Another search measures what is under way: that costs nothing here, and its answer is [added](Self::add) when it comes.
    pub fn leave_elsewhere(&mut self, training: &Training) {
        self.search.set_nothing_aside(training);
        self.elsewhere.insert(self.flight(training), training.clone());
    }

    /// What is under way elsewhere of the same architecture, as long.
    pub fn left_elsewhere(&self, training: &Training) -> Option<Training> {
        self.elsewhere.get(&self.flight(training)).cloned()
    }

    /// Whether a training is under way here.
    pub fn is_measured_here(&self, training: &Training) -> bool {
        self.search.is_under_way(training) && !self.elsewhere.contains_key(&self.flight(training))
    }

    fn flight(&self, training: &Training) -> (u64, Fidelity) {
        (self.asking.space.canonical_key(&training.choices), training.fidelity)
    }

    /// A training that was under way ended with this answer; the journal has it before it counts.
    ///
    /// # Errors
    /// [`LiveError::Journal`], and then nothing has changed; the method's own.
    pub fn tell(
        &mut self,
        training: Training,
        mut answer: Answer,
        journal: &mut dyn Journal,
    ) -> Result<Told, LiveError> {
        let key = self.asking.space.canonical_key(&training.choices);
        let (cost, not_resumed) = self.cost(&training, &mut answer);
        let measured = Measured { training, key, cost, answer };
        let values = self.keep(measured, journal)?;
        Ok(Told { values, not_resumed })
    }

    /// What was measured elsewhere: it informs, and costs nothing. Whether it is new; what is known or under way here stays as it is.
    ///
    /// # Errors
    /// As [`Self::tell`].
    pub fn add(
        &mut self,
        training: Training,
        answer: Answer,
        journal: &mut dyn Journal,
    ) -> Result<bool, LiveError> {
        // As it was asked for: the answer may be of another writing of the same architecture.
        let (key, awaited) = (self.flight(&training), self.left_elsewhere(&training));
        if awaited.is_none() && !self.is_new(&training) {
            return Ok(false);
        }
        let training = awaited.unwrap_or(training);
        let _ = self.keep(Measured { training, key: key.0, cost: 0.0, answer }, journal)?;
        self.elsewhere.remove(&key);
        Ok(true)
    }

    /// A training that was under way is not any more: it says nothing, and costs nothing.
    pub fn give_up(&mut self, training: &Training) {
        self.elsewhere.remove(&self.flight(training));
        self.search.abandoned(training);
    }

    /// Whether nothing more is begun: the budget is spent, the space is measured, or it is enough.
    pub fn is_over(&mut self) -> bool {
        self.look();
        self.enough.is_some() || self.is_spent() || self.is_used_up()
    }

    /// Whether each architecture of the space has had a full training.
    pub fn is_used_up(&self) -> bool {
        used_up(self.prepared.distinct, &self.known)
    }

    /// Looks whether it is enough; why, if it was not at the last look.
    pub fn look(&mut self) -> Option<&Enough> {
        if self.enough.is_some() || self.is_spent() {
            return None;
        }
        self.enough = self.asking.ends.enough(&self.progress, self.spent(), self.began);
        self.enough.as_ref()
    }

    /// Which decisions mattered for the first objective in what is known.
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self) -> Result<Importance, MethodError> {
        let guided = self.asking.guided(self.prepared.whole.clone());
        super::importance_by(guided, &self.asking.goal, &self.known)
    }

    fn keep(
        &mut self,
        measured: Measured,
        journal: &mut dyn Journal,
    ) -> Result<Result<Values, String>, LiveError> {
        let values = self.asking.goal.values(&measured.answer);
        journal.keep(&measured, &values).map_err(LiveError::Journal)?;
        self.learn(measured)?;
        self.begin_if_it_waits()?;
        Ok(values)
    }

    /// Takes a measurement in.
    fn learn(&mut self, measured: Measured) -> Result<(), MethodError> {
        let (training, values) = (measured.training.clone(), self.told_values(&measured));
        // Before the method is told, which asks for it then.
        if let (Some(students), Some(values)) = (&self.asking.students, &values) {
            students.judge.found(&training.choices, values[0], self.lipschitz(&measured));
        }
        self.search.end(training, values, measured.cost)?;
        let Self { progress, asking, search, .. } = self;
        progress.add(&asking.ends, &asking.goal, &measured, search.spent());
        self.known.push(measured);
        Ok(())
    }

    /// What a method is told of a measurement: its objectives, each to be maximised, and how far it keeps each limit; none where it
    /// has no value.
    fn told_values(&self, measured: &Measured) -> Option<Vec<f32>> {
        let values = self.asking.goal.values(&measured.answer).ok()?;
        let number = |value: &f64| value.clamp(f32::MIN.into(), f32::MAX.into()) as f32;
        Some(values.maximised.iter().chain(&values.slacks).map(number).collect())
    }

    /// The Lipschitz term that goes with the first objective, where it was measured.
    fn lipschitz(&self, measured: &Measured) -> Option<f32> {
        let (metric, Answer::Metrics(metrics)) =
            (lipschitz_beside(&self.asking.goal.first().metric)?, &measured.answer)
        else {
            return None;
        };
        metrics.get(&metric).map(|term| *term as f32)
    }

    /// What a training cost: the rest, where its answer says that it went on after a shorter one of the same architecture; and
    /// after what it says that it went on, if that cannot be.
    fn cost(&self, training: &Training, answer: &mut Answer) -> (f64, Option<f64>) {
        let fidelities = &self.asking.fidelities;
        let said = match answer {
            Answer::Metrics(metrics) => metrics.remove(RESUMED_FROM),
            Answer::Infeasible(_) => None,
        };
        let said = said.filter(|amount| *amount != 0.0);
        let place = said.and_then(|amount| fidelities.of_amount(amount));
        match place.filter(|place| self.search.done_before(training).is_some_and(|done| *place <= done)) {
            Some(place) => (fidelities.rest(training.fidelity, place), None),
            None => (fidelities.cost(training.fidelity), said),
        }
    }

    /// Random architectures, one at a time, until one has a value.
    fn first(&self) -> Option<Training> {
        if self.under_way() > 0 {
            return None;
        }
        let begin = self.begin_with(Vec::new());
        let taken: HashSet<u64> = self.search.ended().iter().map(|ended| ended.key).collect();
        unmeasured(&begin, &taken, &mut begin.rng()).map(Training::full)
    }

    /// Begins the method where it waits for something to begin from.
    fn begin_if_it_waits(&mut self) -> Result<(), LiveError> {
        if self.search.has_method() { Ok(()) } else { self.begin() }
    }

    /// Begins the method if it can begin.
    fn begin(&mut self) -> Result<(), LiveError> {
        let Some(start) = &self.prepared.start else {
            let guided = self.asking.guided(self.prepared.whole.clone());
            return Ok(self.search.begin(Box::new(guided))?);
        };
        let mut ended = self.search.ended().iter();
        let first = ended.find(|ended| ended.training.fidelity.is_full() && ended.values.is_some());
        let Some(first) = first.map(|ended| ended.training.choices.clone()) else { return Ok(()) };
        let method = start(&self.begin_with(first))?;
        Ok(self.search.begin(method)?)
    }

    /// What a method begins with.
    fn begin_with(&self, start: Vec<u8>) -> Begin {
        let asking = &self.asking;
        Begin {
            space: asking.space.clone(),
            count: Count::Classes,
            objectives: asking.goal.objectives().len(),
            limits: asking.goal.limits().len(),
            budget: asking.budget,
            shorter: asking.fidelities.costs().collect(),
            start,
            // A search that goes on draws what it has not drawn before.
            seed: asking.seed.wrapping_add((self.known.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            start_seed: asking.seed,
            whole: self.prepared.whole.clone(),
            past: asking.past.clone(),
        }
    }
}
