//! One search, whoever measures: what its method asks for is paid for once, and told as often as it asks. A table's trainings end on
//! a simulated clock ([`crate::table`]), an oracle's when they end ([`crate::live`]).

use crate::method::{Fidelity, Method, MethodError, Training};
use hashbrown::HashMap;
use srnas_environment::ROUNDING;
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// A method that asks for nothing new so many times in a row has failed, or waits for what is under way.
const REPEATS: usize = 1000;

/// By what a training is paid for.
type Key = (u64, Fidelity);

/// A training that has ended.
pub(crate) struct Ended {
    pub training: Training,
    /// Its architecture's key.
    pub key: u64,
    /// What it found, each value to be maximised; none where it has no value.
    pub values: Option<Vec<f32>>,
    /// What was paid; nothing where it was measured elsewhere, and cannot be gone on with.
    cost: f64,
}

/// What a search does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This training begins; it was told to the method already.
    Begin(Training),
    /// Nothing before something under way has ended.
    Wait,
    /// Nothing more: the budget is spent, or what is left pays for nothing that is asked for, or nothing is left to ask.
    Over,
}

/// What a search pays.
#[derive(Clone)]
pub(crate) struct Prices {
    /// In full trainings.
    pub budget: usize,
    /// Costs of the shorter trainings, in full ones, the cheapest first.
    pub shorter: Arc<[f64]>,
    /// Whether longer trainings go on where shorter ones ended, and only the rest is paid.
    pub resumes: bool,
}

impl Prices {
    /// What a training costs from its beginning.
    pub fn of(&self, fidelity: Fidelity) -> f64 {
        fidelity.place().map_or(1.0, |place| self.shorter[place])
    }
}

/// The state of a search.
pub(crate) struct Search<'m> {
    space: Arc<SearchSpace>,
    count: Count,
    prices: Prices,
    /// Who says what is next; nobody before there is a value, where a method needs one to begin.
    method: Option<Box<dyn Method + 'm>>,
    ended: Vec<Ended>,
    /// Where among what has ended each training is; nowhere yet while it is under way.
    paid: HashMap<Key, Option<usize>>,
    /// In the order in which they began, with what is set aside for them.
    under_way: Vec<(Training, f64)>,
    /// What begins before what a method asks for, in this order.
    wanted: VecDeque<Training>,
    /// What was asked for and could not be paid for yet.
    pending: Option<Training>,
    /// The worst values so far of each length of training.
    worst: BTreeMap<Fidelity, Vec<f32>>,
    spent: f64,
}

impl<'m> Search<'m> {
    pub fn new(space: Arc<SearchSpace>, count: Count, prices: Prices) -> Self {
        Self {
            space,
            count,
            method: None,
            ended: Vec::with_capacity(prices.budget.min(1 << 16)),
            paid: HashMap::with_capacity(prices.budget.min(1 << 16)),
            under_way: Vec::new(),
            wanted: VecDeque::new(),
            pending: None,
            worst: BTreeMap::new(),
            spent: 0.0,
            prices,
        }
    }

    /// Trainings that begin before what a method asks for, in this order; what is known then is not made again.
    pub fn want(&mut self, trainings: impl IntoIterator<Item = Training>) {
        for training in trainings {
            if !self.wanted.contains(&training) {
                self.wanted.push_back(training);
            }
        }
    }

    /// The first that is wanted and has not begun.
    pub fn wanted(&self) -> Option<&Training> {
        self.wanted.iter().find(|training| self.is_new(training))
    }

    /// Whether it is neither known nor under way.
    pub fn is_new(&self, training: &Training) -> bool {
        !self.paid.contains_key(&(self.key(training), training.fidelity))
    }

    /// Lets a method say what is next from now on: it is told all that has ended, in its order, and what is under way.
    pub fn begin(&mut self, method: Box<dyn Method + 'm>) -> Result<(), MethodError> {
        self.method = Some(method);
        for place in 0..self.ended.len() {
            let training = self.ended[place].training.clone();
            self.tell_of(&training, place)?;
        }
        let Self { method, under_way, .. } = self;
        method
            .iter_mut()
            .for_each(|method| under_way.iter().for_each(|(training, _)| method.begun(training)));
        Ok(())
    }

    pub fn has_method(&self) -> bool {
        self.method.is_some()
    }

    /// All that has ended, in its order.
    pub fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Number of trainings under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Another budget from now on.
    pub fn set_budget(&mut self, budget: usize) {
        self.prices.budget = budget;
    }

    /// What was paid for what has ended, in full trainings.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Whether nothing more can be paid for.
    pub fn is_spent(&self) -> bool {
        self.spent + ROUNDING >= self.prices.budget as f64
    }

    pub fn key(&self, training: &Training) -> u64 {
        self.count.key(&self.space, &training.choices, self.space.rank(&training.choices))
    }

    /// The longest shorter training of the same architecture that has a value.
    pub fn done_before(&self, training: &Training) -> Option<usize> {
        let key = self.key(training);
        let limit = training.fidelity.place().unwrap_or(self.prices.shorter.len());
        let has_value = |place: &usize| {
            let ended = self.paid.get(&(key, Fidelity::Shorter(*place))).copied().flatten();
            ended
                .map(|ended| &self.ended[ended])
                .is_some_and(|ended| ended.values.is_some() && ended.cost > 0.0)
        };
        (0..limit).rev().find(has_value)
    }

    /// What a training will cost where it is not yet known from where it goes on.
    fn expected_cost(&self, training: &Training) -> f64 {
        let whole = self.prices.of(training.fidelity);
        let after = self.prices.resumes.then(|| self.done_before(training)).flatten();
        whole - after.map_or(0.0, |place| self.prices.shorter[place])
    }

    /// What is next. What is `brought` begins before what the method asks for, if it is new; it is looked for where it can be paid for.
    ///
    /// # Errors
    /// The method's own; and of one that asks for what is no architecture, or for nothing new for ever.
    pub fn next(&mut self, brought: impl FnOnce() -> Option<Training>) -> Result<Next, MethodError> {
        let wait = if self.under_way.is_empty() { Next::Over } else { Next::Wait };
        let set_aside: f64 = self.under_way.iter().map(|(_, cost)| cost).sum();
        let left = self.prices.budget as f64 - self.spent - set_aside;
        let cheapest = self.prices.shorter.first().copied().unwrap_or(1.0);
        if left + ROUNDING < cheapest {
            return Ok(wait);
        }
        if let Some(brought) = brought().filter(|training| self.is_new(training)) {
            return Ok(self.start(brought));
        }
        if let Some(wanted) = self.wanted().cloned() {
            // What is under way may yet cost less than was set aside for it.
            return Ok(if self.expected_cost(&wanted) <= left + ROUNDING {
                self.start(wanted)
            } else {
                wait
            });
        }
        let next = match self.pending.take().filter(|training| self.is_new(training)) {
            Some(pending) => Some(pending),
            None => self.ask()?,
        };
        let Some(next) = next else { return Ok(wait) };
        if self.expected_cost(&next) <= left + ROUNDING {
            return Ok(self.start(next));
        }
        // What is under way may yet cost less than was set aside for it.
        let kept = self.method.as_ref().is_none_or(|method| !method.asks_again());
        self.pending = kept.then_some(next);
        Ok(wait)
    }

    /// A training begins that no method asked for.
    pub fn start(&mut self, training: Training) -> Next {
        self.paid.insert((self.key(&training), training.fidelity), None);
        self.under_way.push((training.clone(), self.expected_cost(&training)));
        self.method.iter_mut().for_each(|method| method.begun(&training));
        Next::Begin(training)
    }

    /// What the method asks for that is new; what is known already it is told again.
    fn ask(&mut self) -> Result<Option<Training>, MethodError> {
        for _ in 0..REPEATS {
            let Some(method) = &mut self.method else { return Ok(None) };
            if !method.concurrent() && !self.under_way.is_empty() {
                return Ok(None);
            }
            let Some(next) = method.ask_training()? else { return Ok(None) };
            if !self.space.is_valid(&next.choices) {
                return Err(MethodError(format!("asked for {:?}, which is not valid", next.choices)));
            }
            let (place, n) = (next.fidelity.place(), self.prices.shorter.len());
            if let Some(place) = place.filter(|place| *place >= n) {
                return Err(MethodError(format!("asked for shorter training {place} of {n}")));
            }
            match self.paid.get(&(self.key(&next), next.fidelity)).copied() {
                None => return Ok(Some(next)),
                // In the encoding that was asked for, which may be another of the class.
                Some(Some(place)) => self.tell_of(&next, place)?,
                Some(None) => {}
            }
        }
        match self.under_way.is_empty() {
            true => Err(MethodError(format!("asked {REPEATS} times in a row for what was measured already"))),
            false => Ok(None),
        }
    }

    /// Somebody else pays for what is under way.
    pub fn set_nothing_aside(&mut self, training: &Training) {
        self.under_way
            .iter_mut()
            .filter(|(running, _)| running == training)
            .for_each(|(_, cost)| *cost = 0.0);
    }

    /// Whether it is under way.
    pub fn is_under_way(&self, training: &Training) -> bool {
        self.paid.get(&(self.key(training), training.fidelity)) == Some(&None)
    }

    /// A training that was under way is not any more, and says nothing.
    pub fn abandoned(&mut self, training: &Training) {
        self.under_way.retain(|(running, _)| running != training);
        self.paid.remove(&(self.key(training), training.fidelity));
    }

    /// A training has ended, begun here or before this search; its method is told. `cost` is what was paid, in full trainings.
    ///
    /// # Errors
    /// The method's own.
    pub fn end(
        &mut self,
        training: Training,
        values: Option<Vec<f32>>,
        cost: f64,
    ) -> Result<(), MethodError> {
        let (key, place) = (self.key(&training), self.ended.len());
        self.under_way.retain(|(running, _)| *running != training);
        self.paid.insert((key, training.fidelity), Some(place));
        self.spent += cost;
        // An answer says that trainings go on from shorter ones where nobody knew it beforehand; what was measured elsewhere
        // cost nothing here, and says nothing of that.
        self.prices.resumes |= cost > 0.0 && cost + ROUNDING < self.prices.of(training.fidelity);
        if let Some(values) = &values {
            let worst = self.worst.entry(training.fidelity).or_insert_with(|| values.clone());
            worst.iter_mut().zip(values).for_each(|(worst, value)| *worst = worst.min(*value));
        }
        self.ended.push(Ended { training: training.clone(), key, values, cost });
        self.tell_of(&training, place)
    }

    /// Tells the method what a training found: what has ended at this place, of the same class and length.
    fn tell_of(&mut self, training: &Training, place: usize) -> Result<(), MethodError> {
        let Self { ended, worst, method: Some(method), .. } = self else { return Ok(()) };
        match (&ended[place].values, training.fidelity) {
            (Some(values), Fidelity::Full) => method.tell(&training.choices, values),
            (Some(values), Fidelity::Shorter(_)) => method.tell_shorter(training, values[0]),
            (None, fidelity) => {
                let worst = worst.get(&fidelity).or_else(|| worst.values().next_back());
                method.tell_infeasible(training, worst.map(Vec::as_slice))
            }
        }
    }
}
