//! Gaussian-process search: what both posteriors of [`srnas_common::posterior`] say about the whole of a small space, or
//! about a pool in a large one.

use super::{Begin, Method, MethodError, MethodSpec, SpecError, Starter, pool};
use crate::method::Options;
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use srnas_common::{
    posterior::{Kind, PosteriorSettings, Predictor},
    space::Choices,
};

/// Slots of the predictor in a space that is too large to be listed.
const SLOTS: usize = 1000;

/// How the next architecture is chosen.
#[derive(Clone, Copy)]
pub(crate) enum Acquisition {
    /// The highest mean + β deviations.
    Bound(f32),
    /// The highest draw, independent for each architecture.
    Thompson,
}

/// Reads `acquisition` and `beta`.
pub(super) fn acquisition(options: &mut Options) -> Result<Acquisition, SpecError> {
    let word = options.word("acquisition", &["ucb", "thompson"])?;
    let beta = options.number("beta", 3.0, 0.0)? as f32;
    Ok(if word == "ucb" { Acquisition::Bound(beta) } else { Acquisition::Thompson })
}

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let acquisition = acquisition(&mut options)?;
    let kernel = options.word("kernel", &["counts", "hamming"])?;
    options.end()?;
    let mut settings = PosteriorSettings::default();
    if kernel == "hamming" {
        settings.plain.count_share = 0.0;
    }
    Ok(Box::new(move |begin| Ok(Box::new(Gp::new(begin, settings, Kind::Plain, acquisition)))))
}

pub(crate) struct Gp {
    begin: Begin,
    rng: ChaCha8Rng,
    predictor: Predictor,
    kind: Kind,
    acquisition: Acquisition,
    measured: HashSet<u64>,
    told: Vec<(Vec<u8>, f32)>,
}

impl Gp {
    /// A search by one posterior; the transfer posterior knows the past of `begin`.
    pub fn new(begin: &Begin, settings: PosteriorSettings, kind: Kind, acquisition: Acquisition) -> Self {
        let past = begin.past.clone().filter(|_| kind == Kind::Transfer);
        let (space, points) = (begin.space.clone(), begin.budget);
        let predictor = match &begin.whole {
            Some(whole) => Predictor::whole(space, &whole.forms, settings, past, points),
            None => Predictor::sampled(space, settings, past, points, SLOTS),
        };
        Self {
            rng: begin.rng(),
            begin: begin.clone(),
            predictor,
            kind,
            acquisition,
            measured: HashSet::new(),
            told: Vec::new(),
        }
    }

    /// Mean of the posterior at each slot, in units of the measured values.
    pub fn means(&mut self) -> Vec<f32> {
        let (kind, slots) = (self.kind, self.predictor.slots());
        let beliefs = self.predictor.beliefs();
        let value = |slot| beliefs.centre + beliefs.spread * f64::from(beliefs.of(kind, slot).0);
        (0..slots).map(|slot| value(slot) as f32).collect()
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
        let beliefs = self.predictor.beliefs();
        (beliefs.centre + beliefs.spread * f64::from(beliefs.of(kind, slot).0)) as f32
    }

    /// The slot with the highest acquisition among `open` ones; the first of equals.
    fn best(&mut self, open: impl Iterator<Item = usize>) -> Option<usize> {
        let (kind, acquisition) = (self.kind, self.acquisition);
        let beliefs = self.predictor.beliefs();
        let rng = &mut self.rng;
        let mut best: Option<(f32, usize)> = None;
        for slot in open {
            let (mean, deviation) = beliefs.of(kind, slot);
            let score = mean
                + deviation
                    * match acquisition {
                        Acquisition::Bound(beta) => beta,
                        Acquisition::Thompson => rng.sample(StandardNormal),
                    };
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, slot));
            }
        }
        best.map(|(_, slot)| slot)
    }
}

impl Method for Gp {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        let d = self.begin.space.len();
        if let Some(whole) = self.begin.whole.clone() {
            let measured = std::mem::take(&mut self.measured);
            let open = (0..whole.keys.len())
                .filter(|&rank| whole.valid[rank] && !measured.contains(&whole.keys[rank]));
            let best = self.best(open);
            self.measured = measured;
            return Ok(best.map(|rank| whole.choices[rank * d..][..d].to_vec()));
        }
        let mut pool = pool::unmeasured(&self.begin, &self.measured, &self.told, &mut self.rng);
        pool.truncate(SLOTS);
        let ranks: Vec<u64> = pool.iter().map(|choices| self.begin.space.rank(choices)).collect();
        self.predictor.place(0, &pool.concat(), &ranks);
        Ok(self.best(0..pool.len()).map(|slot| pool[slot].clone()))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.measured.insert(self.begin.key(choices)) {
            self.predictor.observe(choices, self.begin.space.rank(choices), values[0]);
            self.told.push((choices.to_vec(), values[0]));
        }
        Ok(())
    }
}
