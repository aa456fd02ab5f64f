//! Gaussian-process search: what both posteriors of [`srnas_predictor`] say about the whole of a small space, or
//! about where climbs lead in a large one ([`super::climb`]).

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter, Whole,
    climb::{Ground, Lookout, highest},
    pool,
    random::several_unmeasured,
};
use crate::method::{Options, Training};
use hashbrown::{HashMap, HashSet};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use srnas_predictor::{Kind, PosteriorSettings, Predictor, Prior};
use srnas_space::{Choices, SearchSpace};
use std::sync::Arc;

/// Slots of the predictor in a space that is too large to be listed: so many are predicted at once.
const SLOTS: usize = 256;

/// How the next architecture is chosen.
#[derive(Clone, Copy)]
pub(crate) enum Acquisition {
    /// The highest mean + β deviations.
    Bound(f32),
    /// The highest draw, independent for each architecture.
    Thompson,
}

impl Acquisition {
    /// What it makes of a mean and a deviation.
    fn of(self, (mean, deviation): (f32, f32), rng: &mut impl Rng) -> f32 {
        mean + deviation
            * match self {
                Self::Bound(beta) => beta,
                Self::Thompson => rng.sample(StandardNormal),
            }
    }
}

/// Scores of architectures in a space that is too large to be listed.
fn scores(
    predictor: &mut Predictor,
    space: &SearchSpace,
    kind: Kind,
    acquisition: Acquisition,
    pool: &[Vec<u8>],
    rng: &mut impl Rng,
) -> Vec<f32> {
    let mut scores = Vec::with_capacity(pool.len());
    for batch in pool.chunks(SLOTS) {
        let ranks: Vec<u64> = batch.iter().map(|choices| space.rank(choices)).collect();
        predictor.vacate();
        predictor.place(0, &batch.concat(), &ranks);
        let beliefs = predictor.beliefs();
        scores.extend((0..batch.len()).map(|slot| acquisition.of(beliefs.of(kind, slot), rng)));
    }
    scores
}

/// Reads `acquisition` and `beta`.
pub(super) fn acquisition(options: &mut Options) -> Result<Acquisition, SpecError> {
    let word = options.word("acquisition", &["ucb", "thompson"])?;
    let beta = options.number("beta", 3.0, 0.0)? as f32;
    Ok(if word == "ucb" { Acquisition::Bound(beta) } else { Acquisition::Thompson })
}

/// Reads `pool`: where the next architecture is looked for.
pub(super) fn lookout(options: &mut Options) -> Result<Lookout, SpecError> {
    Ok(match options.word_or_whole("pool", "climb", 0)? {
        None => Lookout::Climbs,
        Some(0) => Lookout::Everywhere,
        Some(size) => Lookout::Pool(size),
    })
}

/// Of where nothing is known: so many measurements there are before the whole of a space is looked at.
pub(crate) const FIRST: usize = 4;
/// Until then, the choice is among so many random architectures.
pub(super) const AMONG: usize = 300;

/// What is searched by where nothing is known: the settings of the plain posterior, chosen on many spaces (docs/results.md).
pub(crate) fn universal() -> PosteriorSettings {
    let mut settings = PosteriorSettings::default();
    settings.plain.cut = 1.0;
    // What is filled in of earlier searches is smooth already.
    settings.transfer.smoothing = 0.0;
    settings
}

pub fn prepare_universal(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let acquisition = Acquisition::Bound(options.number("beta", 3.0, 0.0)? as f32);
    let mut settings = universal();
    settings.plain.cut = options.number("cut", settings.plain.cut.into(), 0.0)? as f32;
    let lookout = lookout(&mut options)?;
    let first = options.whole("first", FIRST, 0)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        let gp = Gp::looking(lookout, begin, settings, Kind::Plain, acquisition);
        Ok(Box::new(gp.beginning_among_random(first)))
    }))
}

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let acquisition = acquisition(&mut options)?;
    let kernel = options.word("kernel", &["counts", "hamming"])?;
    let lookout = lookout(&mut options)?;
    options.end()?;
    let mut settings = PosteriorSettings::default();
    if kernel == "hamming" {
        settings.plain.count_share = 0.0;
    }
    Ok(Box::new(move |begin| Ok(Box::new(Gp::looking(lookout, begin, settings, Kind::Plain, acquisition)))))
}

#[derive(Clone)]
pub(crate) struct Gp {
    begin: Begin,
    rng: ChaCha8Rng,
    predictor: Predictor,
    kind: Kind,
    acquisition: Acquisition,
    lookout: Lookout,
    measured: HashSet<u64>,
    told: Vec<(Vec<u8>, f32)>,
    /// What is being measured.
    running: Vec<Vec<u8>>,
    /// Up to so many measurements it chooses among random architectures.
    random_until: usize,
    /// Good for earlier tasks; where a space is too large to be listed it looks near them too.
    favourites: Vec<Vec<u8>>,
}

impl Gp {
    /// A search by one posterior; the transfer posterior knows the past of `begin`.
    pub fn new(begin: &Begin, settings: PosteriorSettings, kind: Kind, acquisition: Acquisition) -> Self {
        Self::looking(Lookout::Everywhere, begin, settings, kind, acquisition)
    }

    /// As [`Self::new`], looking for the next architecture in its own way.
    pub fn looking(
        lookout: Lookout,
        begin: &Begin,
        settings: PosteriorSettings,
        kind: Kind,
        acquisition: Acquisition,
    ) -> Self {
        let mut begin = begin.clone();
        if lookout != Lookout::Everywhere {
            begin.whole = None;
        }
        let past = begin.past.of(0).cloned().filter(|_| kind == Kind::Transfer);
        let (space, points) = (begin.space.clone(), begin.budget);
        let mut predictor = match &begin.whole {
            Some(whole) => Predictor::whole(space, &whole.forms, settings, past, points),
            None => Predictor::sampled(space, settings, past, points, SLOTS),
        };
        if let Some(untrained) = begin.past.untrained() {
            predictor.describe(untrained.clone());
        }
        Self {
            rng: begin.rng(),
            begin,
            predictor,
            kind,
            acquisition,
            lookout,
            measured: HashSet::new(),
            told: Vec::new(),
            running: Vec::new(),
            random_until: 0,
            favourites: Vec::new(),
        }
    }

    /// Chooses among a few random architectures until `first` are measured: what differs most from all that is known, which
    /// an upper bound likes best at first, are the extremes of a space, all choices alike.
    pub fn beginning_among_random(self, first: usize) -> Self {
        Self { random_until: first, ..self }
    }

    /// Logarithm of the evidence for what the past says over that for the plain posterior, and of the former alone.
    pub fn evidence(&mut self) -> (f32, f64) {
        (self.predictor.beliefs().evidence, self.predictor.log_evidence())
    }

    /// Follows another posterior from now on.
    pub fn follow(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Searches by an upper bound of another height from now on.
    pub fn bound_by(&mut self, beta: f32) {
        self.acquisition = Acquisition::Bound(beta);
    }

    /// Takes other weights of the past tasks, before anything is learned.
    pub fn weighing(mut self, weights: &[f32]) -> Self {
        self.predictor.restart(weights);
        self
    }

    /// Looks near these too, in a space that is too large to be listed.
    pub fn near(self, favourites: Vec<Vec<u8>>) -> Self {
        Self { favourites, ..self }
    }

    /// Mean of the posterior at each slot, in units of the measured values.
    pub fn means(&mut self) -> Vec<f32> {
        let (kind, slots) = (self.kind, self.predictor.slots());
        let beliefs = self.predictor.beliefs();
        (0..slots).map(|slot| beliefs.value(kind, slot)).collect()
    }

    /// What it makes of a task of which these values are `known`, by their keys, as a past task ([`Prior::completed`]).
    pub fn completed(&mut self, whole: &Whole, known: &HashMap<u64, f32>) -> Vec<f32> {
        let value = |rank: usize| known.get(&whole.keys[rank]).copied();
        Prior::completed(&mut self.predictor, self.kind, value, |rank| whole.valid[rank])
    }

    /// Mean of the posterior at one architecture, in units of the measured values.
    pub fn mean_of(&mut self, choices: &Choices) -> f32 {
        let rank = self.begin.space.rank(choices);
        let slot = match self.begin.whole {
            Some(_) => rank as usize,
            None => {
                self.predictor.place(0, choices, &[rank]);
                0
            }
        };
        let kind = self.kind;
        self.predictor.beliefs().value(kind, slot)
    }

    /// The space.
    pub fn space(&self) -> &Arc<SearchSpace> {
        &self.begin.space
    }

    /// Never asks for this one, whatever it is worth.
    pub fn skip(&mut self, choices: &Choices) {
        self.skip_key(self.begin.key(choices));
    }

    /// As [`Self::skip`], by its key.
    pub fn skip_key(&mut self, key: u64) {
        self.measured.insert(key);
    }

    /// Draws what is random from another seed from now on.
    pub fn reseed(&mut self, seed: u64) {
        self.begin.seed = seed;
        self.rng = self.begin.rng();
    }

    /// How many measurements it was told.
    pub fn known(&self) -> usize {
        self.told.len()
    }

    /// Whether what it was told is how these measurements begin.
    pub fn begins(&self, measurements: &[(&Choices, f32)]) -> bool {
        let told = self.told.iter().map(|(choices, value)| (&choices[..], *value));
        self.told.len() <= measurements.len() && told.eq(measurements[..self.told.len()].iter().copied())
    }

    /// Whether there is room for so many measurements in all.
    pub fn has_room(&self, measurements: usize) -> bool {
        measurements <= self.begin.budget
    }

    /// Takes in a measurement.
    pub fn learn(&mut self, choices: &Choices, value: f32) {
        self.running.retain(|running| running != choices);
        self.measured.insert(self.begin.key(choices));
        if self.begin.whole.is_none() {
            self.predictor.vacate();
        }
        self.predictor.observe(choices, self.begin.space.rank(choices), value);
        self.told.push((choices.to_vec(), value));
    }

    /// The architecture to measure next. What is being measured is believed at its mean meanwhile, so that two workers are not
    /// sent to neighbours that say the same.
    pub fn ask_next(&mut self) -> Option<Vec<u8>> {
        if self.running.is_empty() {
            return self.ask_for(1).pop();
        }
        let (predictor, measured) = (self.predictor.clone(), self.measured.clone());
        for choices in self.running.clone() {
            // Before anything is known there is no unit to believe anything in.
            if !self.told.is_empty() {
                let mean = self.mean_of(&choices);
                self.predictor.observe(&choices, self.begin.space.rank(&choices), mean);
            }
            self.skip(&choices);
        }
        let next = self.ask_for(1).pop();
        (self.predictor, self.measured) = (predictor, measured);
        next
    }

    /// The `most` architectures with the highest acquisition that were not measured, each key once.
    pub fn ask_for(&mut self, most: usize) -> Vec<Vec<u8>> {
        let d = self.begin.space.len();
        if self.told.len() < self.random_until {
            return self.ask_among_random(most);
        }
        if let Some(whole) = self.begin.whole.clone() {
            let measured = std::mem::take(&mut self.measured);
            let open =
                (0..whole.keys.len()).filter(|&r| whole.valid[r] && !measured.contains(&whole.keys[r]));
            let best = self.best(open, most, |slot| whole.keys[slot]);
            self.measured = measured;
            return best.into_iter().map(|rank| whole.choices[rank * d..][..d].to_vec()).collect();
        }
        if let Lookout::Pool(size) = self.lookout {
            let pool = pool::unmeasured(
                &self.begin,
                &self.measured,
                &self.told,
                &self.favourites,
                size,
                &mut self.rng,
            );
            return self.best_of(pool, most);
        }
        let ground = Ground {
            begin: &self.begin,
            measured: &self.measured,
            told: &self.told,
            favourites: &self.favourites,
        };
        let (space, predictor) = (&self.begin.space, &mut self.predictor);
        let (kind, acquisition) = (self.kind, self.acquisition);
        highest(&ground, most, &mut self.rng, |pool, rng| {
            scores(predictor, space, kind, acquisition, pool, rng)
        })
    }

    fn ask_among_random(&mut self, most: usize) -> Vec<Vec<u8>> {
        let pool = several_unmeasured(&self.begin, &self.measured, AMONG, &mut self.rng);
        self.best_of(pool, most)
    }

    /// The best of some architectures, those left out that were measured; at most as many as a large space's predictor has slots
    /// for.
    pub fn ask_among(&mut self, mut pool: Vec<Vec<u8>>) -> Option<Vec<u8>> {
        pool.retain(|choices| !self.measured.contains(&self.begin.key(choices)));
        self.best_of(pool, 1).pop()
    }

    fn best_of(&mut self, pool: Vec<Vec<u8>>, most: usize) -> Vec<Vec<u8>> {
        if self.begin.whole.is_none() {
            let rng = &mut self.rng;
            let scores =
                scores(&mut self.predictor, &self.begin.space, self.kind, self.acquisition, &pool, rng);
            let mut order: Vec<usize> = (0..pool.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            return order.into_iter().take(most).map(|at| pool[at].clone()).collect();
        }
        let slots: Vec<usize> = pool.iter().map(|choices| self.begin.space.rank(choices) as usize).collect();
        let best = self.best(slots.iter().copied(), most, |slot| slot as u64);
        let place = |slot| slots.iter().position(|&other| other == slot);
        best.into_iter().filter_map(place).map(|at| pool[at].clone()).collect()
    }

    /// The slots with the highest acquisition among `open` ones, the first of equals first, each key once.
    fn best(
        &mut self,
        open: impl Iterator<Item = usize>,
        most: usize,
        key: impl Fn(usize) -> u64,
    ) -> Vec<usize> {
        let (kind, acquisition) = (self.kind, self.acquisition);
        let beliefs = self.predictor.beliefs();
        let rng = &mut self.rng;
        let mut score = |slot| acquisition.of(beliefs.of(kind, slot), rng);
        if most == 1 {
            let mut best: Option<(f32, usize)> = None;
            for slot in open {
                let score = score(slot);
                if best.is_none_or(|(highest, _)| score > highest) {
                    best = Some((score, slot));
                }
            }
            return best.map(|(_, slot)| slot).into_iter().collect();
        }
        let mut scored: Vec<(f32, usize)> = open.map(|slot| (score(slot), slot)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut seen = HashSet::new();
        scored.into_iter().map(|(_, slot)| slot).filter(|&slot| seen.insert(key(slot))).take(most).collect()
    }
}

impl Method for Gp {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(self.ask_next())
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if !self.measured.contains(&self.begin.key(choices)) {
            self.learn(choices, values[0]);
        }
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.running.push(training.choices.clone());
    }

    fn concurrent(&self) -> bool {
        true
    }
}
