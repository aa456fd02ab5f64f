//! What a live search asks for next, and what it believes.

use crate::{
    guide::Known,
    importance,
    live::{LiveError, LiveSearch, Measured, State},
    method::{Begin, Method, Whole},
    methods::{Acquisition, FIRST, Gp, Screening, ScreeningSettings, unmeasured},
};
use hashbrown::HashSet;
use srnas_oracle::costly::Training;
use srnas_predictor::Kind;
use srnas_space::{Choices, SearchSpace};
use srnas_task::Count;
use std::sync::Arc;

/// Measurements that a posterior is conditioned on at most: its cost grows with their cube.
pub(crate) const CONDITIONED: usize = 320;

impl LiveSearch<'_> {
    /// What to measure next, the best first: one training, or several where so many were measured that proposing costs more
    /// than a cheap measurement. Nothing where every architecture was measured or is being measured.
    pub(crate) fn propose(
        &self,
        state: &State,
        whole: &Option<Arc<Whole>>,
    ) -> Result<Vec<Training>, LiveError> {
        if self.oracle.fidelities().shorter() > 0 {
            return self.propose_training(state, whole);
        }
        let space = self.oracle.space();
        let values = self.values(&state.known);
        let asked = state.known.len() + state.running.len();
        // Who knows a past needs no start.
        let guided = state.known.is_empty() && self.guide.knows_a_past();
        if values.iter().all(Option::is_none) && !guided {
            let begin = self.begin(asked, asked + 1, whole);
            let known = state.known.iter().map(|m| m.key);
            let running = state.running.iter().map(|running| space.canonical_key(&running.choices));
            let taken: HashSet<u64> = known.chain(running).collect();
            return Ok(unmeasured(&begin, &taken, &mut begin.rng())
                .into_iter()
                .map(Training::full)
                .collect());
        }
        let mut posterior = self.posterior(&state.known, &values, asked, whole)?;
        for running in &state.running {
            let mean = posterior.mean_of(&running.choices);
            posterior.0.tell(&running.choices, &[mean])?;
        }
        if let (true, Some(whole)) = (self.guide.is_trained(), whole) {
            let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
            let known = state.known.iter().zip(&values);
            let known = known.map(|(m, value)| (m.training.choices.clone(), value.unwrap_or(worst)));
            let running = state.running.iter().map(|running| &running.choices);
            let running = running.map(|choices| (choices.clone(), posterior.mean_of(choices)));
            let known = Known { full: known.chain(running).collect(), ..Known::default() };
            let (expected, seed) = (posterior.0.means(), self.begin(asked, 1, &None).seed);
            let moved = self.guide.policy_choice(whole, &known, expected, self.budget, seed)?;
            if let Some(moved) = moved.filter(|training| state.is_new(space, training)) {
                return Ok(vec![moved]);
            }
        }
        // Up to here each proposal knows all that was measured before it.
        let batch = if asked <= CONDITIONED { 1 } else { asked / 64 };
        let most = batch.min(self.budget.saturating_sub(asked)).max(1);
        Ok(posterior.0.ask_for(most).into_iter().map(Training::full).collect())
    }

    /// What to train next, and how long.
    fn propose_training(
        &self,
        state: &State,
        whole: &Option<Arc<Whole>>,
    ) -> Result<Vec<Training>, LiveError> {
        let asked = state.known.len() + state.running.len();
        if asked == 0 && self.guide.knows_shorter() && whole.is_some() {
            // An episode of the policy begins with a full training.
            let begin = self.begin(asked, 1, whole);
            let start = unmeasured(&begin, &HashSet::new(), &mut begin.rng());
            return Ok(start.into_iter().map(Training::full).collect());
        }
        let mut screening = self.screening(&state.known, asked, whole)?;
        let has_value = |running: &Training| {
            let same = state.known.iter().filter(|m| m.training.shorter == running.shorter);
            same.into_iter().any(|m| self.objective.value(&m.answer).is_ok())
        };
        let mut expected = Vec::with_capacity(state.running.len());
        let mut posterior = None;
        for running in &state.running {
            // Where nothing of its kind is known there is no unit to expect anything in.
            let mean = match running.shorter {
                _ if !has_value(running) => None,
                Some(place) => Some(screening.shorter_mean(&running.choices, place)?),
                None => {
                    // It costs much, and there may be very many running.
                    if posterior.is_none() {
                        posterior = Some(screening.posterior()?);
                    }
                    posterior.as_mut().map(|posterior| posterior.mean_of(&running.choices))
                }
            };
            expected.push((running, mean));
        }
        if let (true, Some(whole)) = (self.guide.knows_shorter(), whole)
            && let Some(moved) = self.policy_training(state, &expected, whole, &mut screening)?
        {
            return Ok(vec![moved]);
        }
        for (running, mean) in expected {
            if running.shorter.is_some() {
                // A longer training of it would have nothing to go on from.
                screening.exclude(&running.choices);
            }
            match (mean, running.shorter) {
                (Some(mean), Some(_)) => screening.tell_shorter(running, mean)?,
                (Some(mean), None) => screening.tell(&running.choices, &[mean])?,
                (None, Some(_)) => screening.tell_running(running)?,
                (None, None) => screening.exclude(&running.choices),
            }
        }
        Ok(screening.ask_training()?.into_iter().collect())
    }

    /// What a trained policy trains next, and how long; `expected` is what the trainings under way are believed to say. Nothing where
    /// it has nothing to say: before the first full training, and where what it would train is taken or has failed already.
    fn policy_training(
        &self,
        state: &State,
        expected: &[(&Training, Option<f32>)],
        whole: &Arc<Whole>,
        screening: &mut Screening,
    ) -> Result<Option<Training>, LiveError> {
        let values = self.values(&state.known);
        let mut known = Known { costs: self.oracle.fidelities().costs().collect(), ..Known::default() };
        let told = state.known.iter().zip(&values).map(|(m, value)| (&m.training, *value));
        for (training, value) in told.chain(expected.iter().copied()) {
            let Some(value) = value else { continue };
            match training.shorter {
                None => known.full.push((training.choices.clone(), value)),
                Some(place) => known.shorter.push((place, training.choices.clone(), value)),
            }
        }
        if known.full.is_empty() {
            return Ok(None);
        }
        let asked = state.known.len() + state.running.len();
        let seed = self.begin(asked, 1, &None).seed;
        let means = screening.posterior()?.means();
        let moved = self.guide.policy_choice(whole, &known, means, self.budget, seed)?;
        let space = self.oracle.space();
        let free = |training: &Training| {
            let key = space.canonical_key(&training.choices);
            let failed = state.known.iter().zip(&values).any(|(m, value)| m.key == key && value.is_none());
            let under_way = state.running.iter().any(|running| space.canonical_key(&running.choices) == key);
            !failed && !under_way && state.is_new(space, training)
        };
        Ok(moved.filter(free))
    }

    /// The values that are maximised; none where there is none.
    fn values(&self, known: &[Measured]) -> Vec<Option<f32>> {
        known.iter().map(|m| self.objective.value(&m.answer).ok().map(|value| value as f32)).collect()
    }

    /// The search that pays for shorter trainings, after `known`.
    fn screening(
        &self,
        known: &[Measured],
        asked: usize,
        whole: &Option<Arc<Whole>>,
    ) -> Result<Screening, LiveError> {
        let costs: Vec<f64> = self.oracle.fidelities().costs().collect();
        let begin = Begin { shorter: costs.into(), ..self.begin(asked, self.budget, whole) };
        let mut screening =
            Screening::new(&begin, ScreeningSettings::live()).near(self.guide.favourites().to_vec());
        let values = self.values(known);
        let full: Vec<usize> = (0..known.len()).filter(|&i| known[i].training.shorter.is_none()).collect();
        let full_values: Vec<Option<f32>> = full.iter().map(|&i| values[i]).collect();
        let told: HashSet<usize> = conditioned(&full_values).into_iter().map(|i| full[i]).collect();
        for (i, (measured, value)) in known.iter().zip(&values).enumerate() {
            let training = &measured.training;
            match (value, training.shorter) {
                (None, _) => screening.tell_failed(training)?,
                (Some(value), Some(_)) => screening.tell_shorter(training, *value)?,
                (Some(value), None) if told.contains(&i) => screening.tell(&training.choices, &[*value])?,
                (Some(_), None) => screening.exclude(&training.choices),
            }
        }
        Ok(screening)
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

    /// What is believed after `known`, full trainings only; what is infeasible counts as the worst. Of more than
    /// [`CONDITIONED`] measurements the others are merely not asked for again.
    fn posterior(
        &self,
        known: &[Measured],
        values: &[Option<f32>],
        asked: usize,
        whole: &Option<Arc<Whole>>,
    ) -> Result<LivePosterior, LiveError> {
        let worst = values.iter().flatten().copied().reduce(f32::min).unwrap_or(0.0);
        let told = conditioned(values);
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
            known.iter().for_each(|m| posterior.skip(&m.training.choices));
        }
        for &i in &told {
            posterior.learn(&known[i].training.choices, values[i].unwrap_or(worst));
        }
        Ok(LivePosterior(posterior))
    }

    /// Which decisions mattered in what was measured: `(decision, share)`, see [`crate::importance`].
    ///
    /// # Errors
    /// When there is no posterior of it.
    pub fn importance(&self, known: &[Measured]) -> Result<Vec<(usize, f64)>, LiveError> {
        let full = known.iter().filter(|m| m.training.shorter.is_none());
        if full.filter(|m| self.objective.value(&m.answer).is_ok()).count() < 2 {
            return Ok(Vec::new());
        }
        let whole = Whole::new(self.oracle.space(), Count::Classes).map(Arc::new);
        let mut posterior = match self.oracle.fidelities().shorter() {
            0 => self.posterior(known, &self.values(known), known.len(), &whole)?,
            _ => LivePosterior(self.screening(known, known.len(), &whole)?.posterior()?),
        };
        Ok(importance::main_effects(&mut posterior)?)
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
