//! Several objectives by Bayesian optimisation: one plain posterior for each ([`srnas_predictor::Predictor`]), believed to be
//! independent, and an acquisition that looks at all of them. With one objective it is the plain upper bound.
//!
//! Acquisitions: `bound` is the volume that an architecture's upper bounds would add to what the measured front dominates (Ponweiser
//! et al. 2008, SMS-EGO, without its penalty); `ehvi` the volume that it is expected to add (Emmerich et al. 2006), exact: the region that
//! no point of the front dominates is cut into boxes, and in a box the expectation is a product of ordinary expected improvements
//! (Yang et al. 2019); `chebyshev` scalarises the upper bounds with random weights (Knowles 2006, ParEGO); `thompson` is `bound` with a height
//! of the bounds that is drawn for each objective.
//!
//! Within limits, each limit has a posterior of its own: of how far it is kept. The front is of what keeps them all, and what an
//! architecture would add counts with the probability that it keeps them (Gelbart et al. 2014); until something keeps them,
//! that probability alone.

#[cfg(test)]
mod tests;
mod undominated;

use super::{
    Begin, Method, MethodError, MethodSpec, Past, Preparation, SLOPE_OF_PART, SpecError, Starter,
    gp::{AMONG, FIRST, universal},
    nsga2::{Individual, survivors},
    pool::{self, POOL as SLOTS},
    random::several_unmeasured,
};
use crate::{method::Training, pareto::non_dominated};
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Exp1, StandardNormal};
use srnas_predictor::{PosteriorSettings, Predictor, Prior};
use srnas_space::Choices;
use srnas_task::Task;
use statrs::distribution::{ContinuousCDF, Normal};
use std::{borrow::Cow, sync::Arc};
use undominated::Undominated;

/// The reference point of volumes lies so far below the worst of the measured front, in ranges of that front.
const MARGIN: f32 = 0.1;
/// ρ of the augmented Chebyshev scalarisation.
const AUGMENTED: f32 = 0.05;
/// What adds nothing even so many deviations above its mean is not expected to add anything: that is cheap to see.
const HOPE: f32 = 4.0;
/// How many boxes a front may leave, about: of a larger one the points stand for it that NSGA-II would keep.
const BOXES: f64 = 1e6;
/// Boxes times architectures at most. With many objectives a front leaves very many boxes.
const WORK: usize = 20_000_000;

/// How the next architecture is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Acquisition {
    /// Volume that the upper bounds add.
    Bound,
    /// Expected volume.
    Ehvi,
    /// Scalarised upper bounds.
    Chebyshev,
    /// Volume that bounds of random heights add.
    Thompson,
}

pub fn prepare(spec: &MethodSpec, p: &Preparation) -> Result<(Starter, Past), SpecError> {
    let mut options = spec.options()?;
    let acquisition = match options.word("acquisition", &["bound", "ehvi", "chebyshev", "thompson"])? {
        "ehvi" => Acquisition::Ehvi,
        "chebyshev" => Acquisition::Chebyshev,
        "thompson" => Acquisition::Thompson,
        _ => Acquisition::Bound,
    };
    let beta = options.number("beta", 3.0, 0.0)? as f32;
    let mut settings = universal();
    settings.plain.cut = options.number("cut", settings.plain.cut.into(), 0.0)? as f32;
    let knows = options.word("past", &["none", "all"])? == "all";
    options.end()?;
    let past = if knows { past_of(spec, p)? } else { Past::default() };
    if p.known.is_known() {
        settings.transfer.slope = SLOPE_OF_PART;
    }
    let start: Starter = Box::new(move |begin| Ok(Box::new(Mobo::new(begin, settings, acquisition, beta))));
    Ok((start, past))
}

/// What the past tasks of the same metric say of each objective and of each limit.
fn past_of(spec: &MethodSpec, p: &Preparation) -> Result<Past, SpecError> {
    if p.known.is_known() {
        return Ok(p.known.clone());
    }
    let of = |metric: &Option<Arc<Task>>| {
        let Some(objective) = metric else { return Ok(None) };
        let same = p.past.iter().filter(|past| past.family() == objective.family());
        // What is searched must not be looked up in the past.
        let past: Vec<Arc<Task>> = same.filter(|past| past.name() != objective.name()).cloned().collect();
        let prior =
            (!past.is_empty()).then(|| Prior::of_tasks(p.space, &universal().plain, &past).map(Arc::new));
        prior.transpose().map_err(|e| spec.unfit(e.to_string()))
    };
    let priors = p.tasks.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    match priors.iter().any(Option::is_some) {
        true => Ok(Past::several(priors, Vec::new())),
        false => {
            Err(spec.unfit("has past=all, and no past task has a metric of the objectives: give --past T"))
        }
    }
}

struct Mobo {
    begin: Begin,
    rng: ChaCha8Rng,
    acquisition: Acquisition,
    beta: f32,
    /// One for each objective, then one for each limit: after what the past says of it, if it says something.
    predictors: Vec<Predictor>,
    measured: HashSet<u64>,
    told: Vec<Individual>,
    /// What is being measured.
    running: Vec<Vec<u8>>,
    /// Of a space that is listed: one encoding of each key.
    distinct: Vec<usize>,
}

impl Mobo {
    fn new(begin: &Begin, settings: PosteriorSettings, acquisition: Acquisition, beta: f32) -> Self {
        let mut seen = HashSet::new();
        let distinct = begin.whole.as_ref().map_or_else(Vec::new, |whole| {
            (0..whole.keys.len()).filter(|&r| whole.valid[r] && seen.insert(whole.keys[r])).collect()
        });
        Self {
            rng: begin.rng(),
            predictors: (0..begin.objectives + begin.limits)
                .map(|place| predictor(begin, settings, place))
                .collect(),
            begin: begin.clone(),
            acquisition,
            beta,
            measured: HashSet::new(),
            told: Vec::new(),
            running: Vec::new(),
            distinct,
        }
    }

    fn learn(&mut self, choices: &Choices, values: &[f32]) {
        let rank = self.begin.space.rank(choices);
        for (predictor, &value) in self.predictors.iter_mut().zip(values) {
            predictor.observe(choices, rank, value);
        }
    }

    /// Mean of each posterior at an architecture, in units of the measured values.
    fn means_of(&mut self, choices: &Choices) -> Vec<f32> {
        let slot = self.slots(&[choices.to_vec()])[0];
        let mean = |predictor: &mut Predictor| {
            let kind = predictor.rule();
            predictor.beliefs().value(kind, slot)
        };
        self.predictors.iter_mut().map(mean).collect()
    }

    /// Where the predictors have these architectures.
    fn slots(&mut self, pool: &[Vec<u8>]) -> Vec<usize> {
        let ranks: Vec<u64> = pool.iter().map(|choices| self.begin.space.rank(choices)).collect();
        if self.begin.whole.is_some() {
            return ranks.iter().map(|&rank| rank as usize).collect();
        }
        let architectures = pool.concat();
        for predictor in &mut self.predictors {
            predictor.place(0, &architectures, &ranks);
        }
        (0..pool.len()).collect()
    }

    /// So many measurements there are before the whole of a space is looked at: who knows a past needs no more than a unit.
    fn first(&self) -> usize {
        if self.begin.past.is_known() { 1 } else { FIRST }
    }

    /// The next one after what is known and believed.
    fn choose(&mut self) -> Option<Vec<u8>> {
        let d = self.begin.space.len();
        // What differs most from all that is known, which upper bounds like best at first, are the extremes of a space.
        if self.told.len() >= self.first()
            && let Some(whole) = self.begin.whole.clone()
        {
            let is_open = |&&rank: &&usize| !self.measured.contains(&whole.keys[rank]);
            let open: Vec<usize> = self.distinct.iter().filter(is_open).copied().collect();
            return self.best(&open).map(|at| whole.choices[open[at] * d..][..d].to_vec());
        }
        let mut pool = match self.told.len() < self.first() {
            true => several_unmeasured(&self.begin, &self.measured, AMONG, &mut self.rng),
            false => self.pool(),
        };
        pool.truncate(SLOTS);
        let slots = self.slots(&pool);
        self.best(&slots).map(|at| pool.swap_remove(at))
    }

    /// Of a space that is too large to be listed: random ones, and what is near the best by random weights.
    fn pool(&mut self) -> Vec<Vec<u8>> {
        let weights = self.weights();
        let values: Vec<Vec<f32>> = self.told.iter().map(|i| i.values.clone()).collect();
        let scale = Scale::of(&values, self.begin.objectives);
        // What breaks a limit is worth less than whatever keeps them all.
        let broken = |i: &Individual| if i.is_within() { 0.0 } else { 1e3 };
        let worth = |i: &Individual| (i.choices.clone(), scale.scalarise(&i.values, &weights) - broken(i));
        let told: Vec<(Vec<u8>, f32)> = self.told.iter().map(worth).collect();
        let favourites = self.begin.past.favourites();
        pool::unmeasured(&self.begin, &self.measured, &told, favourites, SLOTS, &mut self.rng)
    }

    /// Random weights of the objectives, uniform over those that sum to 1; of a single one nothing is drawn.
    fn weights(&mut self) -> Vec<f32> {
        if self.begin.objectives == 1 {
            return vec![1.0];
        }
        let drawn: Vec<f32> = (0..self.begin.objectives).map(|_| self.rng.sample::<f32, _>(Exp1)).collect();
        let sum = drawn.iter().sum::<f32>().max(f32::MIN_POSITIVE);
        drawn.iter().map(|weight| weight / sum).collect()
    }

    /// Which of the slots has the highest acquisition, the first of equals.
    fn best(&mut self, slots: &[usize]) -> Option<usize> {
        let objectives = self.begin.objectives;
        let (acquisition, weights) = (self.acquisition, self.weights());
        let heights: Vec<f32> = match acquisition {
            Acquisition::Thompson => (0..objectives).map(|_| self.rng.sample(StandardNormal)).collect(),
            _ => vec![self.beta; objectives],
        };
        // In the units of the posteriors.
        let mut known = vec![vec![0.0; objectives]; self.told.len()];
        for (m, predictor) in self.predictors[..objectives].iter_mut().enumerate() {
            let beliefs = predictor.beliefs();
            for (known, told) in known.iter_mut().zip(&self.told) {
                known[m] = beliefs.standardise(told.values[m]);
            }
        }
        if self.begin.limits > 0 {
            let mut told = self.told.iter();
            known.retain(|_| told.next().is_none_or(Individual::is_within));
        }
        let beliefs: Vec<View> = self.predictors.iter_mut().map(View::of).collect();
        let (beliefs, limits) = beliefs.split_at(objectives);
        let kept =
            |slot: usize| -> f64 { limits.iter().map(|limit| probability_above_zero(limit, slot)).product() };
        if !limits.is_empty() && known.is_empty() && !self.told.is_empty() {
            return first_highest(slots.iter().map(|&slot| kept(slot)));
        }
        let mut front = non_dominated(&known);
        let ends = Scale::of(if front.len() > 1 { &front } else { &known }, objectives);
        let point = |slot: usize, heights: &[f32]| -> Vec<f32> {
            let at = |(b, height): (&View, &f32)| {
                let (mean, deviation) = b.at(slot);
                mean + height * deviation
            };
            beliefs.iter().zip(heights).map(at).collect()
        };
        let scalar = |&slot: &usize| f64::from(ends.scalarise(&point(slot, &heights), &weights));
        // Where nothing is gained for sure, what is least bad, and may be within the limits.
        let by_scalar = || {
            let scalars: Vec<f64> = slots.iter().map(scalar).collect();
            if limits.is_empty() {
                return first_highest(scalars.into_iter());
            }
            // Above the best that keeps the limits; where nothing is, above the worst.
            let best =
                known.iter().map(|own| f64::from(ends.scalarise(own, &weights))).fold(f64::MIN, f64::max);
            let above = scalars.iter().any(|&scalar| scalar > best);
            let least = if above { best } else { scalars.iter().copied().fold(f64::MAX, f64::min) };
            first_highest(
                scalars.iter().zip(slots).map(|(scalar, &slot)| (scalar - least).max(0.0) * kept(slot)),
            )
        };
        if acquisition == Acquisition::Chebyshev || objectives == 1 {
            return by_scalar();
        }
        let most = BOXES.powf(1.0 / (objectives - 1) as f64) as usize;
        if front.len() > most {
            front = spread(front, most);
        }
        let region = Undominated::new(&front, &ends.reference());
        let (certain, hope) = (vec![0.0; objectives], vec![HOPE; objectives]);
        let mut gains = Vec::new();
        let mut gain = |&slot: &usize| match acquisition {
            Acquisition::Ehvi if region.gain(&point(slot, &hope), &certain, &mut gains) <= 0.0 => 0.0,
            Acquisition::Ehvi => {
                let deviations: Vec<f32> = beliefs.iter().map(|b| b.at(slot).1).collect();
                region.gain(&point(slot, &certain), &deviations, &mut gains)
            }
            _ => region.gain(&point(slot, &heights), &certain, &mut gains),
        };
        // Where all is too much, the most promising by the same weights.
        let mut promising: Vec<usize> = (0..slots.len()).collect();
        let most = (WORK / region.len()).max(100);
        if promising.len() > most {
            let worth: Vec<f64> = slots.iter().map(scalar).collect();
            promising.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]).then(a.cmp(&b)));
            promising.truncate(most);
        }
        let gained: Vec<f64> = promising.iter().map(|&at| gain(&slots[at]) * kept(slots[at])).collect();
        match gained.iter().any(|&gained| gained > 0.0) {
            true => first_highest(gained.into_iter()).map(|place| promising[place]),
            false => by_scalar(),
        }
    }
}

/// A posterior in deviations of what was measured.
struct View<'p> {
    mean: Cow<'p, [f32]>,
    deviation: Cow<'p, [f32]>,
    /// What the posterior's unit is in them.
    unit: f32,
    /// Where a limit is.
    nought: f32,
}

impl<'p> View<'p> {
    /// The transfer posterior until there is something to judge the past by, then the plain one, about the past's mean where the
    /// measurements follow it.
    fn of(predictor: &'p mut Predictor) -> Self {
        let about = predictor.about_the_past();
        let judged = predictor.len() >= FIRST || !predictor.has_prior();
        let beliefs = predictor.beliefs();
        let nought = beliefs.standardise(0.0);
        if let Some((mean, deviation)) = about {
            return Self { mean: mean.into(), deviation: deviation.into(), unit: 1.0, nought };
        }
        let (mean, deviation, unit) = match judged {
            true => (&beliefs.plain_mean, &beliefs.plain_deviation, 1.0),
            false => (&beliefs.transfer_mean, &beliefs.transfer_deviation, 1.0 / beliefs.scale),
        };
        Self { mean: mean.into(), deviation: deviation.into(), unit, nought }
    }

    /// Mean and deviation of a slot.
    fn at(&self, slot: usize) -> (f32, f32) {
        (self.unit * self.mean[slot], self.unit * self.deviation[slot])
    }
}

/// How probable it is, as a posterior has it, that a value is above 0.
fn probability_above_zero(view: &View, slot: usize) -> f64 {
    let (mean, deviation) = view.at(slot);
    let above = f64::from(mean - view.nought);
    match deviation > 0.0 {
        true => Normal::standard().cdf(above / f64::from(deviation)),
        false => f64::from(u8::from(above >= 0.0)),
    }
}

impl Method for Mobo {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.running.is_empty() {
            return Ok(self.choose());
        }
        // What is being measured is believed at its mean meanwhile.
        let (predictors, measured) = (self.predictors.clone(), self.measured.clone());
        for choices in self.running.clone() {
            // Before anything is known there is no unit to believe anything in.
            if !self.told.is_empty() {
                let means = self.means_of(&choices);
                self.learn(&choices, &means);
            }
            self.measured.insert(self.begin.key(&choices));
        }
        let next = self.choose();
        (self.predictors, self.measured) = (predictors, measured);
        Ok(next)
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.running.retain(|running| running != choices);
        if self.measured.insert(self.begin.key(choices)) {
            self.learn(choices, values);
            self.told.push(Individual::told(&self.begin, choices, values));
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

/// The posterior of an objective or a limit, by its place.
fn predictor(begin: &Begin, settings: PosteriorSettings, place: usize) -> Predictor {
    let (space, points, past) = (begin.space.clone(), begin.budget, begin.past.of(place).cloned());
    match &begin.whole {
        Some(whole) => Predictor::whole(space, &whole.forms, settings, past, points),
        None => Predictor::sampled(space, settings, past, points, SLOTS),
    }
}

/// So many of the points of a front, those that are furthest from others.
fn spread(front: Vec<Vec<f32>>, most: usize) -> Vec<Vec<f32>> {
    // Numbers stand for architectures, which have to differ.
    let numbered = |(at, values): (usize, Vec<f32>)| Individual {
        choices: at.to_be_bytes().to_vec(),
        values,
        slacks: Vec::new(),
    };
    let all = front.into_iter().enumerate().map(numbered).collect();
    survivors(all, most).into_iter().map(|individual| individual.values).collect()
}

fn first_highest(scores: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (at, score) in scores.enumerate() {
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, at));
        }
    }
    best.map(|(_, at)| at)
}

/// How some points are spread: their lowest and highest in each objective.
struct Scale {
    low: Vec<f32>,
    high: Vec<f32>,
    span: Vec<f32>,
}

impl Scale {
    fn of(points: &[Vec<f32>], objectives: usize) -> Self {
        let (mut low, mut high) = (vec![0.0; objectives], vec![0.0; objectives]);
        if let Some(first) = points.first() {
            (low, high) = (first.clone(), first.clone());
        }
        for point in points {
            for m in 0..objectives {
                (low[m], high[m]) = (low[m].min(point[m]), high[m].max(point[m]));
            }
        }
        // Where all are equal, a deviation is the unit.
        let span = low.iter().zip(&high).map(|(l, h)| if h - l > 1e-6 { h - l } else { 1.0 }).collect();
        Self { low, high, span }
    }

    fn reference(&self) -> Vec<f32> {
        self.low.iter().zip(&self.span).map(|(low, span)| low - MARGIN * span).collect()
    }

    /// The augmented Chebyshev scalarisation of how far a point is from the best in each objective; higher is better.
    fn scalarise(&self, point: &[f32], weights: &[f32]) -> f32 {
        let (mut most, mut sum) = (f32::NEG_INFINITY, 0.0);
        for (m, weight) in weights.iter().enumerate() {
            let loss = weight * (self.high[m] - point[m]) / self.span[m];
            (most, sum) = (most.max(loss), sum + loss);
        }
        -most - AUGMENTED * sum
    }
}
