//! The posteriors of an episode: over full trainings, and where a task has shorter ones, over each of these.
//!
//! What a shorter training says is a past task of the full ones, beside the real past, each as far as the evidence is for it
//! ([`Joint`]). The rule is *two-phase* ([`TwoPhase`]), with full trainings let in among the first short ones: what earns a reward at any
//! time is to be good at any time.

use super::{Candidate, CandidateKind, Environment};
use hashbrown::HashMap;
use srnas_basics::statistics::rank_correlation;
use srnas_predictor::{Besides, Counted, Joint, Kind, Predictor, Prior, Turn, TwoPhase};
use srnas_task::{Fidelity, Measurable};

/// Full trainings that are taken in before everything is computed again.
const ROOM: usize = 8;

/// Everything that predicts in an episode.
#[derive(Clone, Debug)]
pub(super) struct Predictors {
    /// Over full trainings.
    pub full: Predictor,
    /// Over shorter ones, the cheapest first; none where the task has none, or the environment does not look at them.
    pub levels: Vec<Level>,
    /// Where there are levels: the full trainings so far, and the weights of the past.
    measured: Vec<(Vec<u8>, f32)>,
    keys: Vec<u64>,
    weights: Vec<f32>,
    /// Whether the full trainings are against what is known besides.
    says_nothing: bool,
    beta: f32,
    /// What `full` was made with: what so many shorter trainings and the past say, how much of it counts, and room for so many full
    /// trainings.
    told: usize,
    besides: Besides,
    joint: Joint,
    room: usize,
    two_phase: TwoPhase,
    stale: bool,
}

/// What is known after one shorter training.
#[derive(Clone, Debug)]
pub(super) struct Level {
    pub cost: f64,
    pub predictor: Predictor,
    /// Values by key.
    pub known: HashMap<u64, f32>,
    pub best: f32,
}

impl Level {
    fn new(env: &Environment, cost: f64, slots: usize) -> Self {
        let most = env.config.shorter;
        let predictor = match &env.whole {
            Some(whole) => Predictor::whole(env.space.clone(), whole, env.settings, None, most),
            None => Predictor::sampled(env.space.clone(), env.settings, None, most, slots),
        };
        Self { cost, predictor, known: HashMap::new(), best: f32::NEG_INFINITY }
    }

    pub fn observe(&mut self, choices: &[u8], rank: u64, key: u64, value: f32) {
        if self.known.insert(key, value).is_none() {
            self.predictor.observe(choices, rank, value);
            self.best = self.best.max(value);
        }
    }

    /// Whether more such trainings are taken in.
    pub fn is_open(&self, env: &Environment) -> bool {
        self.known.len() < env.config.shorter
    }

    /// Upper bound of a slot in this level's own posterior.
    pub fn bound(&mut self, slot: usize) -> f32 {
        let (mean, deviation) = self.predictor.beliefs().of(Kind::Plain, slot);
        mean + TwoPhase::BETA * deviation
    }
}

impl Predictors {
    pub fn new(env: &Environment, slots: usize) -> Self {
        let points = env.config.horizon;
        let full = match &env.whole {
            Some(whole) => {
                Predictor::whole(env.space.clone(), whole, env.settings, env.prior.clone(), points)
            }
            None => Predictor::sampled(env.space.clone(), env.settings, env.prior.clone(), points, slots),
        };
        Self {
            full,
            levels: Vec::new(),
            measured: Vec::new(),
            keys: Vec::new(),
            weights: Vec::new(),
            says_nothing: false,
            beta: env.config.rule_beta,
            told: usize::MAX,
            besides: Besides::default(),
            joint: Joint::default(),
            room: 0,
            two_phase: TwoPhase::default(),
            stale: false,
        }
    }

    /// Forgets what was measured, for another task.
    pub fn restart(&mut self, env: &Environment, what: &Measurable, weights: &[f32]) {
        let slots = self.full.slots();
        if !self.levels.is_empty() {
            *self = Self::new(env, slots);
        }
        self.full.restart(weights);
        if env.config.shorter > 0 {
            let shorter = 0..what.shorter().min(super::SHORTER_LEVELS);
            let cost = |place| what.cost(Fidelity::Shorter(place));
            self.levels = shorter.map(|place| Level::new(env, cost(place), slots)).collect();
            self.weights = weights.to_vec();
            let cheapest = self.levels.first().map_or(1.0, |level| level.cost);
            let most = env.config.shorter.min(super::FIRST_SHORTER);
            let two_phase = TwoPhase::new(most, cheapest, env.config.horizon);
            self.two_phase = two_phase.interleaved(TwoPhase::PACE, cheapest);
        }
    }

    /// Puts architectures into slots, see [`Predictor::place`].
    pub fn place(&mut self, start: usize, architectures: &[u8], ranks: &[u64]) {
        self.full.place(start, architectures, ranks);
        for level in &mut self.levels {
            level.predictor.place(start, architectures, ranks);
        }
    }

    /// Takes in a full training.
    pub fn observe(&mut self, choices: &[u8], rank: u64, key: u64, value: f32) {
        if self.levels.is_empty() {
            self.full.observe(choices, rank, value);
        } else {
            self.measured.push((choices.to_vec(), value));
            self.keys.push(key);
            self.stale = true;
        }
    }

    /// Takes in a shorter one, where there is room for it.
    pub fn observe_shorter(
        &mut self,
        env: &Environment,
        level: usize,
        choices: &[u8],
        rank: u64,
        key: u64,
        value: f32,
    ) {
        if let Some(level) = self.levels.get_mut(level).filter(|level| level.is_open(env)) {
            level.observe(choices, rank, key, value);
            self.stale = true;
        }
    }

    /// What is expected of a slot after so long a training, in the unit of the values; nothing where no value is known.
    pub fn mean(&mut self, fidelity: Fidelity, slot: usize) -> Option<f32> {
        let (predictor, kind) = match fidelity {
            Fidelity::Full => {
                let kind = self.rule().0;
                (&mut self.full, kind)
            }
            Fidelity::Shorter(place) => (&mut self.levels.get_mut(place)?.predictor, Kind::Plain),
        };
        (!predictor.is_empty()).then(|| predictor.beliefs().value(kind, slot))
    }

    /// Where there are shorter trainings: what they say now becomes part of the prior. `architectures` and `ranks` are those of
    /// the slots, empty for a whole space.
    pub fn refresh(&mut self, env: &Environment, what: &Measurable, architectures: &[u8], ranks: &[u64]) {
        if self.levels.is_empty() || !std::mem::take(&mut self.stale) {
            return;
        }
        let told: usize = self.levels.iter().map(|level| level.known.len()).sum();
        let new = told != self.told;
        let mut at_slots = Vec::new();
        if new {
            let (shorter, expected) = self.said_by_shorter(env, what);
            at_slots = expected;
            let past = env.prior.as_ref().map(|prior| (prior, &self.weights[..]));
            self.besides = Besides::new(shorter, past);
            self.told = told;
        }
        let joint = self.besides.weighed(&env.space, &env.settings, &self.measured, Counted::default());
        if new || !joint.counts_as(&self.joint) || self.measured.len() > self.room {
            self.rebuild(env, &joint, architectures, ranks, &at_slots);
        }
        for (choices, value) in &self.measured[self.full.len()..] {
            self.full.observe(choices, env.space.rank(choices), *value);
        }
        let over_plain = self.full.beliefs().evidence;
        self.says_nothing = joint.says_nothing(over_plain, self.full.log_evidence());
        self.beta = Joint::beta(over_plain);
        self.joint = joint;
    }

    /// The posterior of full trainings after what is known besides as it is now.
    fn rebuild(
        &mut self,
        env: &Environment,
        joint: &Joint,
        architectures: &[u8],
        ranks: &[u64],
        at_slots: &[Vec<f32>],
    ) {
        let (space, settings) = (env.space.clone(), joint.settings(&env.settings));
        let prior = self.besides.prior().cloned();
        match (&env.whole, prior) {
            (Some(_), Some(prior)) if self.measured.len() <= self.room => {
                return self.full.change_prior(settings, prior, &joint.weights);
            }
            (Some(whole), prior) => {
                self.room = self.measured.len() + ROOM;
                self.full = Predictor::whole(space, whole, settings, prior, self.room);
            }
            (None, prior) => {
                self.room = self.measured.len() + ROOM;
                self.full = Predictor::sampled(space, settings, prior, self.room, self.full.slots());
            }
        }
        self.full.restart(&joint.weights);
        if env.whole.is_none() {
            self.full.place_expecting(0, architectures, ranks, at_slots);
        }
    }

    /// Each level as a task of a prior, and its values at the slots; nothing before the first shorter training.
    fn said_by_shorter(&mut self, env: &Environment, what: &Measurable) -> (Option<Prior>, Vec<Vec<f32>>) {
        let told = self.levels.iter_mut().enumerate().filter(|(_, level)| !level.known.is_empty());
        let name = |place: usize| format!("shorter {place}");
        if env.whole.is_none() {
            let (mut expected, mut at_slots) = (Vec::new(), Vec::new());
            for (place, level) in told {
                if let Some((expectation, values)) = level.predictor.expectation() {
                    expected.push((name(place), expectation));
                    at_slots.push(values);
                }
            }
            return ((!expected.is_empty()).then(|| Prior::expected(expected)), at_slots);
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (place, level) in told {
            names.push(name(place));
            let Level { predictor, known, .. } = level;
            let known = |rank| known.get(&env.whole_key(what.count(), rank as u64)).copied();
            let valid = |rank| what.has(Fidelity::Shorter(place), rank as u64);
            values.extend(Prior::completed(predictor, Kind::Plain, known, valid));
        }
        let encodings = self.full.slots();
        let prior = (!names.is_empty()).then(|| {
            Prior::new(names.clone(), names, encodings, values).expect("beliefs are finite numbers")
        });
        (prior, Vec::new())
    }

    /// The posterior that the rule follows, and how far above its mean the bound lies.
    pub fn rule(&self) -> (Kind, f32) {
        let kind = if self.says_nothing { Kind::Plain } else { self.full.rule() };
        (kind, self.beta)
    }

    /// Whether the full trainings are against what the shorter ones say.
    pub fn says_nothing(&self) -> bool {
        self.says_nothing
    }

    /// Share of the rule's first shorter trainings that is still to come; 0 where there are none.
    pub fn first_left(&self) -> f32 {
        let done = self.levels.first().map_or(usize::MAX, |level| level.known.len());
        let first = self.two_phase.first();
        first.saturating_sub(done) as f32 / first.max(1) as f32
    }

    /// Rank correlation of the full trainings and the longest shorter ones of the same architectures, less sure the fewer there are;
    /// 0 where nothing can be said.
    pub fn agreement(&self) -> f32 {
        let Some(level) = self.levels.iter().rev().find(|level| !level.known.is_empty()) else { return 0.0 };
        let full = self.keys.iter().zip(&self.measured);
        let both = full.filter_map(|(key, (_, value))| Some((*level.known.get(key)?, *value)));
        let (shorter, full): (Vec<f64>, Vec<f64>) = both.map(|(s, f)| (f64::from(s), f64::from(f))).unzip();
        let n = full.len() as f64;
        let found = rank_correlation(&shorter, &full);
        if found.is_finite() { (found * n / (n + 4.0)) as f32 } else { 0.0 }
    }

    /// Place of the rule's choice among candidates.
    pub fn rule_choice(&mut self, candidates: &[Candidate]) -> usize {
        if let Some(choice) = self.first_choice(candidates) {
            return choice;
        }
        let (kind, beta) = self.rule();
        let full = bound_choice(&mut self.full, candidates, kind, beta);
        if self.says_nothing {
            return full;
        }
        let at = |fidelity: Fidelity| {
            candidates.iter().position(|c| c.rank == candidates[full].rank && c.fidelity == fidelity)
        };
        let length = TwoPhase::length(self.levels.len(), |place| at(Fidelity::Shorter(place)).is_some());
        if length.is_full() { full } else { at(length).unwrap_or(full) }
    }

    /// One of the first shorter trainings.
    fn first_choice(&mut self, candidates: &[Candidate]) -> Option<usize> {
        let level = self.levels.first_mut()?;
        let mut cheapest = candidates.iter().enumerate().filter(|(_, c)| c.fidelity == Fidelity::Shorter(0));
        match self.two_phase.turn(level.known.len(), self.measured.len()) {
            Turn::Full => None,
            Turn::Random => cheapest.find(|(_, c)| c.kind == CandidateKind::Random).map(|(i, _)| i),
            Turn::Bound => {
                let bounds = cheapest.filter_map(|(i, c)| Some((level.bound(c.slot?), i)));
                bounds.reduce(|a, b| if b.0 > a.0 { b } else { a }).map(|(_, i)| i)
            }
        }
    }
}

/// Place of the full training that is not made yet with the highest mean + β·deviation.
pub(super) fn bound_choice(full: &mut Predictor, candidates: &[Candidate], kind: Kind, beta: f32) -> usize {
    let mut best = (f32::NEG_INFINITY, 0);
    let beliefs = full.beliefs();
    for (i, c) in candidates.iter().enumerate() {
        if let (false, Fidelity::Full, Some(slot)) = (c.measured, c.fidelity, c.slot) {
            let (mean, deviation) = beliefs.of(kind, slot);
            if mean + beta * deviation > best.0 {
                best = (mean + beta * deviation, i);
            }
        }
    }
    best.1
}
