//! A walk: what was measured so far, where it stands, and where it may move to. It is told what measurements find, and asks
//! nobody itself: what trains a policy and what searches with one are the same walk.

use super::{
    Candidate, Environment, Measurement, ROUNDING,
    candidates::{Pool, Standing},
    observation,
    predictors::{Predictors, bound_choice},
};
use hashbrown::{HashMap, HashSet};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_predictor::Kind;
use srnas_space::Choices;
use srnas_task::{Fidelity, Measurable, Training};
use std::sync::Arc;

/// A walk through a space. Moves do not allocate once a walk of the same length has been made.
#[derive(Clone, Debug)]
pub struct Walk {
    env: Arc<Environment>,
    what: Arc<Measurable>,
    predictors: Option<Predictors>,
    pool: Pool,
    rng: ChaCha8Rng,
    /// Values of full trainings by key.
    measured: HashMap<u64, f32>,
    /// What is under way, with its keys, and keys of what has no value: no candidates.
    under_way: Vec<(Training, u64)>,
    failed: HashSet<u64>,
    /// Keys of both, as of the last look.
    closed: HashSet<u64>,
    pub(super) current: Place,
    pub(super) incumbent: Place,
    candidates: Vec<Candidate>,
    paid: usize,
    /// Full trainings among them.
    full: usize,
    /// What was paid, in full trainings.
    spent: f64,
    /// Moves to what was measured before.
    free: usize,
    /// Points of the posterior of full trainings.
    points: usize,
    worst: f32,
    start: Vec<u8>,
    scratch: Vec<u8>,
}

/// An architecture that was measured.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) choices: Vec<u8>,
    pub(super) rank: u64,
    pub(super) key: u64,
    pub(super) value: f32,
    /// Its place among the points of the posterior.
    pub(super) point: usize,
}

impl Walk {
    /// A walk on which nothing is measured yet, see [`Walk::start`].
    ///
    /// `weights` are the weights of the prior's tasks (see [`srnas_predictor::Prior::weights`]); empty without a prior.
    /// Everything random in it comes from `seed`.
    pub fn new(env: Arc<Environment>, what: Arc<Measurable>, weights: &[f32], seed: u64) -> Self {
        let pool = Pool::new(&env);
        // One point a paid query, and room for the horizon of a longer search.
        let predictors = env.config.posteriors.then(|| Predictors::new(&env, pool.slots()));
        let d = env.space.len();
        let nowhere = Place { choices: vec![0; d], rank: 0, key: 0, value: f32::NEG_INFINITY, point: 0 };
        let mut walk = Self {
            measured: HashMap::with_capacity(env.config.horizon + 1),
            under_way: Vec::new(),
            failed: HashSet::new(),
            closed: HashSet::new(),
            candidates: Vec::with_capacity(64),
            current: nowhere.clone(),
            incumbent: nowhere,
            paid: 0,
            full: 0,
            spent: 0.0,
            free: 0,
            points: 0,
            worst: f32::INFINITY,
            start: vec![0; d],
            scratch: vec![0; d],
            rng: ChaCha8Rng::seed_from_u64(seed),
            pool,
            predictors,
            what: what.clone(),
            env,
        };
        walk.restart(what, weights, seed);
        walk
    }

    /// Starts over with other values of the same space to find, other weights of the prior's tasks and another seed.
    pub fn restart(&mut self, what: Arc<Measurable>, weights: &[f32], seed: u64) {
        self.what = what;
        self.rng = ChaCha8Rng::seed_from_u64(seed);
        // The start is drawn first, so that methods with the same seed begin at the same architecture.
        loop {
            self.env.space.sample(&mut self.rng, &mut self.start);
            if self.what.has(Fidelity::Full, self.env.space.rank(&self.start)) {
                break;
            }
        }
        self.measured.clear();
        self.under_way.clear();
        self.failed.clear();
        self.candidates.clear();
        (self.paid, self.full, self.free, self.points) = (0, 0, 0, 0);
        (self.spent, self.worst) = (0.0, f32::INFINITY);
        (self.incumbent.value, self.current.value) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
        let (env, what) = (&self.env, &self.what);
        if let Some(p) = &mut self.predictors {
            p.restart(env, what, weights);
        }
        self.pool.restart(env, what, weights, self.predictors.as_mut(), &mut self.rng);
    }

    /// A random architecture to begin with: the first draw of the seed.
    pub fn start(&self) -> &Choices {
        &self.start
    }

    /// Takes in what a training found, asked for or not. A full one moves the walk there. The candidates are those from before
    /// until the next [`Walk::look`]. A length that there is not says nothing.
    pub fn told(&mut self, choices: &Choices, fidelity: Fidelity, value: f32) {
        let rank = self.env.space.rank(choices);
        let key = self.what.key(&self.env.space, choices, rank);
        self.take_in(choices, rank, key, fidelity, value);
    }

    fn take_in(&mut self, choices: &Choices, rank: u64, key: u64, fidelity: Fidelity, value: f32) {
        self.ended(choices, fidelity);
        let Fidelity::Shorter(place) = fidelity else {
            return self.arrive(choices, rank, key, value);
        };
        if place >= self.what.shorter() {
            return;
        }
        self.paid += 1;
        self.spent += self.what.cost(fidelity);
        if let Some(p) = &mut self.predictors {
            p.observe_shorter(&self.env, place, choices, rank, key, value);
        }
    }

    /// Takes in that a training has no value: nothing else of its architecture is a candidate from now on. A full one counts as
    /// the worst so far, so that the walk keeps away from it.
    pub fn infeasible(&mut self, choices: &Choices, fidelity: Fidelity) {
        let rank = self.env.space.rank(choices);
        let key = self.what.key(&self.env.space, choices, rank);
        self.ended(choices, fidelity);
        self.failed.insert(key);
        self.paid += 1;
        match fidelity {
            Fidelity::Full => {
                (self.full, self.spent) = (self.full + 1, self.spent + 1.0);
                if self.worst.is_finite() {
                    self.observe(choices, rank, key, self.worst);
                }
            }
            Fidelity::Shorter(place) if place < self.what.shorter() => self.spent += self.what.cost(fidelity),
            Fidelity::Shorter(_) => {}
        }
    }

    /// A training has begun: until it ends nothing of its architecture is a candidate.
    pub fn begun(&mut self, training: &Training) {
        let rank = self.env.space.rank(&training.choices);
        let key = self.what.key(&self.env.space, &training.choices, rank);
        self.under_way.push((training.clone(), key));
    }

    fn ended(&mut self, choices: &Choices, fidelity: Fidelity) {
        self.under_way.retain(|(t, _)| t.fidelity != fidelity || t.choices != choices);
    }

    /// Whether trainings are under way.
    pub fn waits(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The same walk as if what is under way had found what the posteriors expect, so that two trainings at a time are not
    /// neighbours that say the same.
    pub fn imagined(&self) -> Self {
        let mut walk = self.clone();
        for (Training { choices, fidelity }, key) in &self.under_way {
            walk.spent += walk.what.cost(*fidelity);
            let Some(p) = &mut walk.predictors else { continue };
            let slot = walk.pool.hold(&walk.env, &walk.what, choices, p);
            let Some(mean) = p.mean(*fidelity, slot) else { continue };
            let rank = walk.env.space.rank(choices);
            match fidelity {
                Fidelity::Full => walk.observe(choices, rank, *key, mean),
                Fidelity::Shorter(place) => p.observe_shorter(&walk.env, *place, choices, rank, *key, mean),
            }
        }
        walk
    }

    /// Stands where another does that walked over what both have measured.
    pub(super) fn stand_with(&mut self, other: &Self) {
        self.current.clone_from(&other.current);
        self.free = other.free;
    }

    /// Draws on from where another does, so that it does not see the same random candidates again.
    pub(super) fn draw_with(&mut self, other: &Self) {
        self.rng.clone_from(&other.rng);
    }

    /// The walk stands at an architecture whose full training has just been paid.
    fn arrive(&mut self, choices: &Choices, rank: u64, key: u64, value: f32) {
        self.current.choices.copy_from_slice(choices);
        (self.current.rank, self.current.key, self.current.value) = (rank, key, value);
        let point = self.points;
        self.measured.insert(key, value);
        self.paid += 1;
        self.full += 1;
        self.spent += 1.0;
        self.worst = self.worst.min(value);
        self.observe(choices, rank, key, value);
        if value > self.incumbent.value {
            self.incumbent.choices.copy_from_slice(choices);
            (self.incumbent.rank, self.incumbent.key, self.incumbent.value, self.incumbent.point) =
                (rank, key, value, point);
            let (env, what) = (&self.env, &self.what);
            let incumbent = &self.incumbent.choices;
            self.pool.move_incumbent(env, what, incumbent, self.predictors.as_mut(), &mut self.rng);
        }
    }

    /// Takes a point into the posterior of full trainings, as long as there is room.
    fn observe(&mut self, choices: &Choices, rank: u64, key: u64, value: f32) {
        if let Some(p) = self.predictors.as_mut().filter(|_| self.points < self.env.config.horizon) {
            p.observe(choices, rank, key, value);
            self.points += 1;
        }
    }

    /// Finds the candidates of the next move: none before a full training has a value.
    pub fn look(&mut self) {
        self.candidates.clear();
        if !self.measured.is_empty() {
            self.close();
            self.find_candidates();
        }
    }

    /// As [`Self::look`], for who follows the base rule: where its choice is found without the other candidates, it is the only one.
    pub fn look_by_rule(&mut self) {
        self.candidates.clear();
        if self.measured.is_empty() {
            return;
        }
        self.close();
        let by_rule = self.by_rule();
        match by_rule {
            Some(candidate) => self.candidates.push(candidate),
            None => self.find_candidates(),
        }
    }

    /// What is no candidate now.
    fn close(&mut self) {
        self.closed.clone_from(&self.failed);
        self.closed.extend(self.under_way.iter().map(|(_, key)| *key));
    }

    fn by_rule(&mut self) -> Option<Candidate> {
        let predictors = self.predictors.as_mut().filter(|p| p.levels.is_empty())?;
        let standing = Standing {
            env: &self.env,
            what: &self.what,
            current: &self.current.choices,
            incumbent: None,
            measured: &self.measured,
            closed: &self.closed,
        };
        self.pool.rule_candidate(standing, predictors, &mut self.rng)
    }

    fn find_candidates(&mut self) {
        let away = self.current.key != self.incumbent.key;
        let standing = Standing {
            env: &self.env,
            what: &self.what,
            current: &self.current.choices,
            incumbent: away.then_some((self.incumbent.rank, self.incumbent.key)),
            measured: &self.measured,
            closed: &self.closed,
        };
        if let Some(p) = &mut self.predictors {
            let (architectures, ranks) = self.pool.architectures();
            p.refresh(&self.env, &self.what, architectures, ranks);
        }
        self.pool.candidates(standing, self.predictors.as_mut(), &mut self.rng, &mut self.candidates);
        if let Some(p) = self.predictors.as_mut().filter(|p| !p.levels.is_empty()) {
            let left = self.env.config.horizon as f64 - self.spent;
            self.pool.shorter_candidates(standing, left, p, &mut self.rng, &mut self.candidates);
        }
    }

    /// The moves there are.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Choices of a candidate: u8 [decisions].
    pub fn choices_of(&self, candidate: usize, out: &mut [u8]) {
        if !self.pool.choices_of(&self.env.space, &self.candidates[candidate], out) {
            out.copy_from_slice(&self.incumbent.choices);
        }
    }

    /// Moves to a candidate: free where it is measured already, else as [`Walk::told`] with what its training found.
    ///
    /// # Panics
    /// When there is no such candidate.
    pub(super) fn step(
        &mut self,
        candidate: usize,
        value: impl FnOnce(&Candidate, &Choices) -> f32,
    ) -> Option<Measurement> {
        let chosen = self.candidates[candidate];
        if chosen.measured {
            self.go(candidate);
            return None;
        }
        let mut choices = std::mem::take(&mut self.scratch);
        self.choices_of(candidate, &mut choices);
        let value = value(&chosen, &choices);
        self.take_in(&choices, chosen.rank, chosen.key, chosen.fidelity, value);
        self.scratch = choices;
        Some(Measurement { rank: chosen.rank, key: chosen.key, value, fidelity: chosen.fidelity })
    }

    /// Moves to a candidate that was measured before.
    ///
    /// # Panics
    /// When there is no such candidate, or it is new.
    pub fn go(&mut self, candidate: usize) {
        let chosen = self.candidates[candidate];
        let mut choices = std::mem::take(&mut self.scratch);
        self.choices_of(candidate, &mut choices);
        std::mem::swap(&mut self.current.choices, &mut choices);
        self.scratch = choices;
        let value = self.measured[&chosen.key];
        (self.current.rank, self.current.key, self.current.value) = (chosen.rank, chosen.key, value);
        self.free += 1;
    }

    /// Whether what is left pays for no full training, so that nothing more can be found, or the walk goes round in circles.
    pub fn is_over(&self) -> bool {
        let under_way = self.under_way.iter().filter(|(training, _)| training.fidelity.is_full()).count();
        let moves = self.free + self.full + under_way;
        self.spent + 1.0 > self.horizon() as f64 + ROUNDING || moves > 2 * self.horizon()
    }

    /// Writes the observation, see [`super::Layout`]: `rows` f32 [candidates, candidate features], `context` f32 [context
    /// features]. Rows beyond the candidates are left as they are.
    pub fn observation(&mut self, rows: &mut [f32], context: &mut [f32]) {
        observation::write(self, rows, context);
    }

    /// Place of the base rule's choice among the candidates: the highest mean + β·deviation of the transfer posterior
    /// (of the plain one where there is no past) among those that are not measured. Where there are shorter trainings it makes
    /// some of these first, and β goes by the evidence.
    pub fn rule_choice(&mut self) -> usize {
        match &mut self.predictors {
            Some(p) if !p.levels.is_empty() => p.rule_choice(&self.candidates),
            _ => self.bound_choice(None, self.env.config.rule_beta),
        }
    }

    /// The full training of the highest bound in one posterior (the rule's where none is named), among those that are not made;
    /// without posteriors the first of them.
    pub fn bound_choice(&mut self, kind: Option<Kind>, beta: f32) -> usize {
        let Some(p) = &mut self.predictors else {
            return self.candidates.iter().position(|c| !c.measured).unwrap_or(0);
        };
        let kind = kind.unwrap_or(p.full.rule());
        bound_choice(&mut p.full, &self.candidates, kind, beta)
    }

    /// Value of the incumbent; minus infinity before a full training has one.
    pub fn incumbent_value(&self) -> f32 {
        self.incumbent.value
    }

    /// Choices of the incumbent.
    pub fn incumbent(&self) -> &Choices {
        &self.incumbent.choices
    }

    /// Choices of the architecture the walk stands at.
    pub fn current(&self) -> &Choices {
        &self.current.choices
    }

    /// The measurement of the architecture the walk stands at.
    pub fn current_measurement(&self) -> Measurement {
        let here = &self.current;
        Measurement { rank: here.rank, key: here.key, value: here.value, fidelity: Fidelity::Full }
    }

    /// Paid queries so far, the start included.
    pub fn paid(&self) -> usize {
        self.paid
    }

    /// What was paid so far, in full trainings, the start included.
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// What the walk shares with others.
    pub fn environment(&self) -> &Arc<Environment> {
        &self.env
    }

    /// How many shorter trainings there were, and what they cost.
    pub(super) fn shorter_trainings(&self) -> (usize, f64) {
        (self.paid - self.full, self.spent - self.full as f64)
    }

    pub(super) fn horizon(&self) -> usize {
        self.env.config.horizon
    }

    pub(super) fn parts(
        &mut self,
    ) -> (&Environment, Option<&mut Predictors>, &Pool, &[Candidate], &mut [u8]) {
        (&self.env, self.predictors.as_mut(), &self.pool, &self.candidates, &mut self.scratch)
    }
}
