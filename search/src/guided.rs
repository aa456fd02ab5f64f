//! The method of a search with one objective where none is named: the upper bound of what a guide knows, the short trainings
//! first where there are some, or what a trained policy moves to.
//!
//! What it asks for follows from what it was told alone, so that a search that goes on asks for what it would have asked for.
//! What is running counts as measured with its predicted mean, so that two slots do not ask for neighbours that say the same;
//! infeasible architectures count as the worst value so far, so that the search keeps away from them.

use crate::{
    guide::Guide,
    importance::{self, Importance},
    method::{Begin, Fidelity, Method, MethodError, Training, Whole},
    methods::{Acquisition, FIRST, Gp, Rule, Screening, ScreeningSettings, unmeasured},
};
use hashbrown::HashSet;
use srnas_predictor::Kind;
use srnas_space::{Choices, SearchSpace};
use srnas_task::Count;
use std::{collections::VecDeque, sync::Arc};

/// Measurements that a posterior is conditioned on at most: its cost grows with their cube.
pub(crate) const CONDITIONED: usize = 320;

/// A posterior is made with room for so many more measurements at a time.
const ROOM: usize = 64;

/// A search by a guide.
pub(crate) struct Guided {
    space: Arc<SearchSpace>,
    whole: Option<Arc<Whole>>,
    guide: Guide,
    /// Costs of the shorter trainings, in full ones, the cheapest first.
    costs: Arc<[f64]>,
    budget: usize,
    seed: u64,
    known: Vec<Told>,
    running: Vec<Training>,
    /// What was believed at the last proposal: at the next one most of it still holds.
    kept: Option<Gp>,
    /// What is to be asked for next, where a posterior proposes several at once.
    proposed: VecDeque<Training>,
}

/// What it was told.
struct Told {
    training: Training,
    key: u64,
    /// What is maximised, if there is something.
    value: Option<f32>,
}

impl Guided {
    /// A search that was told nothing yet. `costs` are those of the shorter trainings, in full ones, the cheapest first.
    pub fn new(
        space: &Arc<SearchSpace>,
        whole: &Option<Arc<Whole>>,
        guide: Guide,
        costs: Arc<[f64]>,
        budget: usize,
        seed: u64,
    ) -> Self {
        Self {
            space: space.clone(),
            whole: whole.clone(),
            guide,
            costs,
            budget,
            seed,
            known: Vec::new(),
            running: Vec::new(),
            kept: None,
            proposed: VecDeque::new(),
        }
    }

    fn learn(&mut self, training: &Training, value: Option<f32>) {
        self.running.retain(|running| running != training);
        let key = self.space.canonical_key(&training.choices);
        self.known.push(Told { training: training.clone(), key, value });
        if !self.costs.is_empty() {
            // What could not be paid for was chosen without knowing this.
            self.proposed.clear();
        }
    }

    /// Whether a training is neither done nor under way.
    fn is_new(&self, training: &Training) -> bool {
        let key = self.space.canonical_key(&training.choices);
        let known = self.known.iter().any(|t| t.key == key && t.training.fidelity == training.fidelity);
        let under_way = |running: &Training| {
            running.fidelity == training.fidelity && self.space.canonical_key(&running.choices) == key
        };
        !known && !self.running.iter().any(under_way)
    }

    /// What to measure next, the best first: one training, or several where so many were measured that proposing costs more
    /// than a cheap measurement. Nothing where every architecture was measured or is being measured.
    fn propose(&mut self) -> Result<Vec<Training>, MethodError> {
        if !self.costs.is_empty() {
            return self.propose_training();
        }
        let space = &self.space;
        let values = self.values();
        let asked = self.known.len() + self.running.len();
        // Who knows a past needs no start.
        let guided = self.known.is_empty() && self.guide.knows_a_past();
        if values.iter().all(Option::is_none) && !guided {
            let begin = self.begin(asked, asked + 1);
            let known = self.known.iter().map(|m| m.key);
            let running = self.running.iter().map(|running| space.canonical_key(&running.choices));
            let taken: HashSet<u64> = known.chain(running).collect();
            return Ok(unmeasured(&begin, &taken, &mut begin.rng())
                .into_iter()
                .map(Training::full)
                .collect());
        }
        if let Some(moved) = self.policy_choice()? {
            return Ok(vec![moved]);
        }
        let kept = self.kept.take();
        let mut posterior = self.posterior(kept);
        let known = (!self.running.is_empty()).then(|| posterior.clone());
        for running in &self.running {
            let mean = posterior.mean_of(&running.choices);
            posterior.tell(&running.choices, &[mean])?;
        }
        // Up to here each proposal knows all that was measured before it.
        let batch = if asked <= CONDITIONED { 1 } else { asked / 64 };
        let most = batch.min(self.budget.saturating_sub(asked)).max(1);
        let next = posterior.ask_for(most);
        self.kept = known.or(Some(posterior));
        Ok(next.into_iter().map(Training::full).collect())
    }

    /// What to train next, and how long.
    fn propose_training(&self) -> Result<Vec<Training>, MethodError> {
        let asked = self.known.len() + self.running.len();
        if asked == 0 && self.guide.knows_shorter() {
            // A walk of the policy begins with a full training.
            let begin = self.begin(asked, 1);
            let start = unmeasured(&begin, &HashSet::new(), &mut begin.rng());
            return Ok(start.into_iter().map(Training::full).collect());
        }
        if self.guide.knows_shorter()
            && let Some(moved) = self.policy_choice()?
        {
            return Ok(vec![moved]);
        }
        let mut screening = self.screening()?;
        let has_value = |running: &Training| {
            self.known.iter().any(|m| m.training.fidelity == running.fidelity && m.value.is_some())
        };
        let mut expected = Vec::with_capacity(self.running.len());
        let mut posterior = None;
        for running in &self.running {
            // Where nothing of its kind is known there is no unit to expect anything in.
            let mean = match running.fidelity {
                _ if !has_value(running) => None,
                Fidelity::Shorter(place) => Some(screening.shorter_mean(&running.choices, place)?),
                Fidelity::Full => {
                    // It costs much, and there may be very many running.
                    if posterior.is_none() {
                        posterior = Some(screening.posterior()?);
                    }
                    posterior.as_mut().map(|posterior| posterior.mean_of(&running.choices))
                }
            };
            expected.push((running, mean));
        }
        for (running, mean) in expected {
            if !running.fidelity.is_full() {
                // A longer training of it would have nothing to go on from.
                screening.exclude(&running.choices);
            }
            match (mean, running.fidelity) {
                (Some(mean), Fidelity::Shorter(_)) => screening.tell_shorter(running, mean)?,
                (Some(mean), Fidelity::Full) => screening.tell(&running.choices, &[mean])?,
                (None, Fidelity::Shorter(_)) => screening.tell_running(running)?,
                (None, Fidelity::Full) => screening.exclude(&running.choices),
            }
        }
        Ok(screening.ask_training()?.into_iter().collect())
    }

    /// What a trained policy trains next, and how long, where it has something to say.
    fn policy_choice(&self) -> Result<Option<Training>, MethodError> {
        let asked = self.known.len() + self.running.len();
        let begin = self.begin(asked, self.budget);
        let begin = Begin { start_seed: begin.seed, shorter: self.costs.clone(), ..begin };
        let known = self.known.iter().map(|told| (&told.training, told.value));
        let moved = self.guide.policy_choice(&begin, known, &self.running)?;
        Ok(moved.filter(|training| self.is_new(training)))
    }

    /// The values that are maximised; none where there is none.
    fn values(&self) -> Vec<Option<f32>> {
        self.known.iter().map(|told| told.value).collect()
    }

    /// The search that pays for shorter trainings, after what is known.
    fn screening(&self) -> Result<Screening, MethodError> {
        let (known, asked) = (&self.known, self.known.len() + self.running.len());
        let begin = Begin { shorter: self.costs.clone(), ..self.begin(asked, self.budget) };
        let mut screening = Screening::new(&begin, ScreeningSettings::of(Rule::ScreenFirst))
            .near(self.guide.favourites().to_vec());
        let values = self.values();
        let full: Vec<usize> = (0..known.len()).filter(|&i| known[i].training.fidelity.is_full()).collect();
        let full_values: Vec<Option<f32>> = full.iter().map(|&i| values[i]).collect();
        let told: HashSet<usize> = conditioned(&full_values).into_iter().map(|i| full[i]).collect();
        for (i, (measured, value)) in known.iter().zip(&values).enumerate() {
            let training = &measured.training;
            match (value, training.fidelity) {
                (None, _) => screening.tell_infeasible(training, None)?,
                (Some(value), Fidelity::Shorter(_)) => screening.tell_shorter(training, *value)?,
                (Some(value), Fidelity::Full) if told.contains(&i) => {
                    screening.tell(&training.choices, &[*value])?
                }
                (Some(_), Fidelity::Full) => screening.exclude(&training.choices),
            }
        }
        Ok(screening)
    }

    fn begin(&self, asked: usize, points: usize) -> Begin {
        Begin {
            space: self.space.clone(),
            count: Count::Classes,
            objectives: 1,
            limits: 0,
            budget: points,
            shorter: Arc::from([]),
            start: Vec::new(),
            // Another draw at each turn, and the same again if the search is resumed here.
            seed: self.seed.wrapping_add((asked as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            start_seed: self.seed,
            whole: self.whole.clone(),
            past: self.guide.past(),
        }
    }

    /// What is believed after what is known, full trainings only; what is infeasible counts as the worst. Of more than
    /// [`CONDITIONED`] measurements the others are merely not asked for again. What was `kept` from an earlier proposal goes on
    /// where nothing of it has changed, which is the same to the bit.
    fn posterior(&self, kept: Option<Gp>) -> Gp {
        let (known, values) = (&self.known, self.values());
        let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
        let told: Vec<(&[u8], f32)> = conditioned(&values)
            .into_iter()
            .map(|i| (&known[i].training.choices[..], values[i].unwrap_or(worst)))
            .collect();
        let (asked, points) = (known.len() + self.running.len(), told.len() + self.running.len() + 1);
        let mut posterior =
            kept.filter(|kept| kept.has_room(points) && kept.begins(&told)).unwrap_or_else(|| {
                let begin = self.begin(asked, points.next_multiple_of(ROOM));
                let settings = *self.guide.settings();
                match self.guide.knows_a_past() {
                    false => Gp::new(&begin, settings, Kind::Plain, Acquisition::Bound(0.0))
                        .beginning_among_random(FIRST),
                    true => Gp::new(&begin, settings, Kind::Transfer, Acquisition::Bound(0.0))
                        .near(self.guide.favourites().to_vec()),
                }
            });
        // Before anything is measured the past's scale and sign are open, and an upper bound likes best what was worst.
        posterior.bound_by(if known.is_empty() { 0.0 } else { self.guide.beta() });
        posterior.reseed(self.begin(asked, points).seed);
        if told.len() < known.len() {
            known.iter().for_each(|m| posterior.skip(&m.training.choices));
        }
        for (choices, value) in &told[posterior.known()..] {
            posterior.learn(choices, *value);
        }
        posterior
    }

    /// Which decisions mattered in what was measured.
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self) -> Result<Importance, MethodError> {
        let full = self.known.iter().filter(|told| told.training.fidelity.is_full());
        if full.filter(|told| told.value.is_some()).count() < 2 {
            return Ok(Importance::default());
        }
        let mut posterior = match self.costs.is_empty() {
            true => LivePosterior(self.posterior(None)),
            false => LivePosterior(self.screening()?.posterior()?),
        };
        Ok(importance::effects(&mut posterior))
    }
}

impl Method for Guided {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_training()?.map(|training| training.choices))
    }

    fn ask_training(&mut self) -> Result<Option<Training>, MethodError> {
        // What was proposed some time ago may have been begun meanwhile by somebody else.
        while self.proposed.front().is_some_and(|training| !self.is_new(training)) {
            self.proposed.pop_front();
        }
        if self.proposed.is_empty() {
            self.proposed = self.propose()?.into();
        }
        // It stays there until it has begun: what cannot be paid for now may be, later.
        Ok(self.proposed.front().cloned())
    }

    fn begun(&mut self, training: &Training) {
        self.proposed.retain(|proposed| proposed != training);
        self.running.push(training.clone());
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.learn(&Training::full(choices.to_vec()), Some(values[0]));
        Ok(())
    }

    fn tell_shorter(&mut self, training: &Training, value: f32) -> Result<(), MethodError> {
        self.learn(training, Some(value));
        Ok(())
    }

    fn tell_infeasible(&mut self, training: &Training, _worst: Option<&[f32]>) -> Result<(), MethodError> {
        self.learn(training, None);
        Ok(())
    }

    fn concurrent(&self) -> bool {
        true
    }

    fn asks_again(&self) -> bool {
        true
    }
}

/// Which of very many measurements a posterior is conditioned on: the best half, and the newest half. What has no value
/// counts as the worst.
fn conditioned(values: &[Option<f32>]) -> Vec<usize> {
    let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
    let value = |i: usize| values[i].unwrap_or(worst);
    if values.len() <= CONDITIONED {
        return (0..values.len()).collect();
    }
    let newest = values.len() - CONDITIONED / 2;
    let mut older: Vec<usize> = (0..newest).collect();
    older.sort_by(|&a, &b| value(b).total_cmp(&value(a)).then(a.cmp(&b)));
    older.truncate(CONDITIONED / 2);
    older.sort_unstable();
    older.into_iter().chain(newest..values.len()).collect()
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
