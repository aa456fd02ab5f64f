//! Reinforced evolution: Chen et al., "RENAS: Reinforced Evolutionary Neural Architecture Search" (arXiv 1808.00193). As in regularised
//! evolution the winner of a tournament is mutated and the oldest dies; but which decision is changed, and to what, is drawn by a controller
//! that has read the parent, forwards and backwards, and learns by REINFORCE what its mutations were worth.
//!
//! Published for cells whose children inherit their parents' weights; here every child is measured as every other architecture is.

use super::{
    Begin, MethodSpec, SpecError, Starter,
    controller::{Shape, rate_for},
    measured::{Drawing, Measured, Policy},
    prefixes::{Made, Prefixes},
    random::{mutate, unmeasured},
    reader::{Reader, Reading},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_network::{
    Baseline,
    lstm::{Affine, Parameters, draw, log_softmax, softmax_gradient},
};
use srnas_space::{Choices, SearchSpace};
use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

/// Mutations that lead to something invalid before one is drawn that does not.
const TRIES: usize = 50;

#[derive(Clone, Copy)]
struct Settings {
    population: usize,
    tournament: usize,
    shape: Shape,
    rate: Option<f64>,
    entropy: f32,
    keep: f64,
    /// Whether a mutation is worth what the child is above its parent, and not what the child is.
    gain: bool,
}

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let settings = Settings {
        population: options.whole("population", 20, 1)?,
        tournament: options.whole("tournament", 5, 1)?,
        shape: Shape {
            layers: 1,
            hidden: options.whole("hidden", 35, 1)?,
            bound: options.number("init", 0.08, 0.0)? as f32,
        },
        rate: options.number_or("rate", "budget")?,
        entropy: options.number("entropy", 1e-4, 0.0)? as f32,
        keep: options.number("baseline", 0.95, 0.0)?,
        gain: options.word("reward", &["child", "gain"])? == "gain",
    };
    options.end()?;
    let prefixes = OnceLock::new();
    Ok(Box::new(move |begin| {
        let prefixes = prefixes.get_or_init(|| Arc::new(Prefixes::new(&begin.space)));
        let mut rng = begin.rng();
        let policy = Renas {
            mutator: Mutator::new(&begin.space, prefixes.clone(), settings.shape, &mut rng),
            rate: rate_for(settings.rate, (0.000_35, 1000.0), begin.budget, 1),
            begin: begin.clone(),
            settings,
            baseline: Baseline::new(settings.keep),
            alive: VecDeque::new(),
        };
        Ok(Box::new(Drawing::new(begin, rng, policy)))
    }))
}

/// A change of one decision.
#[derive(Clone, Debug, PartialEq)]
struct Mutation {
    /// Its place among the decisions that the parent's path has.
    place: usize,
    choice: u8,
}

/// The mutation controller.
struct Mutator {
    space: Arc<SearchSpace>,
    parameters: Parameters,
    reader: Reader,
    /// How much a decision, as both have read it, should be changed.
    which: Affine,
    /// By decision: to what.
    what: Vec<Affine>,
}

impl Mutator {
    fn new(space: &Arc<SearchSpace>, prefixes: Arc<Prefixes>, shape: Shape, rng: &mut impl Rng) -> Self {
        let Shape { hidden, bound, .. } = shape;
        let mut p = Parameters::default();
        let reader = Reader::new(&mut p, space, prefixes, shape, rng);
        let which = Affine::new(&mut p, 2 * hidden, 1, bound, rng);
        let what = |d| Affine::new(&mut p, 2 * hidden, space.arity(d).into(), bound, rng);
        let what = (0..space.len()).map(what).collect();
        Self { space: space.clone(), parameters: p, reader, which, what }
    }

    fn read(&self, parent: &Choices) -> Reading {
        self.reader.read(&self.parameters, parent)
    }

    /// Logarithms of the probabilities that each decision is changed.
    fn which(&self, reading: &Reading) -> Vec<f32> {
        let score = |said: &Vec<f32>| self.which.forward(&self.parameters, said)[0];
        let scores: Vec<f32> = reading.said.iter().map(score).collect();
        log_softmax(&scores, &vec![true; scores.len()])
    }

    /// Logarithms of the probabilities of what a decision is changed to: anything but what it is.
    fn what(&self, reading: &Reading, place: usize) -> Vec<f32> {
        let Made { step, choice } = &reading.path[place];
        let logits = self.what[step.decision].forward(&self.parameters, &reading.said[place]);
        let others: Vec<bool> = (0..logits.len()).map(|c| c != usize::from(*choice)).collect();
        log_softmax(&logits, &others)
    }

    /// A valid child and how it came to be; none where hardly one is valid.
    fn mutate(&self, parent: &Choices, rng: &mut impl Rng) -> Option<(Vec<u8>, Mutation)> {
        let reading = self.read(parent);
        if reading.path.is_empty() {
            return None;
        }
        let which = self.which(&reading);
        for _ in 0..TRIES {
            let place = draw(&which, rng);
            let choice = draw(&self.what(&reading, place), rng) as u8;
            let mut child = parent.to_vec();
            child[reading.path[place].step.decision] = choice;
            if self.space.is_valid(&child) {
                return Some((child, Mutation { place, choice }));
            }
        }
        None
    }

    /// Adds to the gradient that of `weight` · log p of a mutation + `entropy` · H.
    fn add_gradient(&mut self, parent: &Choices, mutation: &Mutation, weight: f32, entropy: f32) {
        let reading = self.read(parent);
        let place = mutation.place;
        let (which, what) = (self.which(&reading), self.what(&reading, place));
        let to_scores = softmax_gradient(&which, place, weight, entropy);
        let to_what = softmax_gradient(&what, mutation.choice.into(), weight, entropy);
        let p = &mut self.parameters;
        let mut upstream = self.reader.nothing(&reading);
        for ((said, to_score), upstream) in reading.said.iter().zip(to_scores).zip(&mut upstream) {
            self.which.backward(p, said, &[to_score], upstream);
        }
        let head = &self.what[reading.path[place].step.decision];
        head.backward(p, &reading.said[place], &to_what, &mut upstream[place]);
        self.reader.backward(p, &reading, &upstream);
    }
}

/// What a child came from.
struct Birth {
    parent: Vec<u8>,
    value: f32,
    mutation: Mutation,
}

struct Renas {
    begin: Begin,
    settings: Settings,
    rate: f32,
    mutator: Mutator,
    baseline: Baseline,
    /// The oldest first.
    alive: VecDeque<(Vec<u8>, f32)>,
}

impl Policy for Renas {
    type Drawn = Birth;

    fn draw(&mut self, measured: &Measured, rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, Option<Birth>)> {
        if self.alive.len() < self.settings.population
            && let Some(random) = unmeasured(&self.begin, measured.keys(), rng)
        {
            return Some((random, None));
        }
        // Nothing has a value, and there is nothing else.
        if self.alive.is_empty() {
            return None;
        }
        let (child, birth) = measured.draw(rng, |rng| {
            let mut parent = rng.random_range(0..self.alive.len());
            for _ in 1..self.settings.tournament {
                let other = rng.random_range(0..self.alive.len());
                if self.alive[other].1 > self.alive[parent].1 {
                    parent = other;
                }
            }
            let (parent, value) = &self.alive[parent];
            match self.mutator.mutate(parent, rng) {
                Some((child, mutation)) => {
                    (child, Some(Birth { parent: parent.clone(), value: *value, mutation }))
                }
                None => (mutate(&self.begin, parent, rng), None),
            }
        })?;
        Some((child, birth.flatten()))
    }

    fn learn(&mut self, choices: &Choices, values: &[f32], birth: Option<Birth>, _: &mut ChaCha8Rng) {
        let value = values[0];
        self.alive.push_back((choices.to_vec(), value));
        if self.alive.len() > self.settings.population {
            self.alive.pop_front();
        }
        if let Some(Birth { parent, value: before, mutation }) = birth {
            let worth = if self.settings.gain { value - before } else { value };
            let advantage = self.baseline.advantage(f64::from(worth)) as f32;
            self.mutator.add_gradient(&parent, &mutation, advantage, self.settings.entropy);
            self.mutator.parameters.ascend(self.rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_network::lstm::check_gradient;
    use srnas_space::{Condition, Conditional, Decision};

    fn mutator(hidden: usize, bound: f32) -> Mutator {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let condition = Condition { decision: 2, depends_on: 0, active_if: vec![1, 2] };
        let space = Conditional::space("made-up", (0..4).map(named).collect(), vec![condition]).unwrap();
        let (space, shape) = (Arc::new(space), Shape { layers: 1, hidden, bound });
        let prefixes = Arc::new(Prefixes::new(&space));
        Mutator::new(&space, prefixes, shape, &mut ChaCha8Rng::seed_from_u64(2))
    }

    /// Log p + half the entropies of which decision and of what.
    fn value(mutator: &Mutator, parent: &Choices, mutation: &Mutation) -> f32 {
        let reading = mutator.read(parent);
        let what = mutator.what(&reading, mutation.place);
        let entropy = |logs: &[f32]| -logs.iter().filter(|l| l.is_finite()).map(|l| l.exp() * l).sum::<f32>();
        let which = mutator.which(&reading);
        which[mutation.place] + what[usize::from(mutation.choice)] + 0.5 * (entropy(&which) + entropy(&what))
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut mutator = mutator(3, 0.8);
        let (parent, mutation) = ([1, 1, 2, 0], Mutation { place: 2, choice: 0 });
        mutator.add_gradient(&parent, &mutation, 1.0, 0.5);
        let gradient = mutator.parameters.gradient.clone();
        let at = |i: usize, by: f32| {
            let before = mutator.parameters.values[i];
            mutator.parameters.values[i] += by;
            let value = value(&mutator, &parent, &mutation);
            mutator.parameters.values[i] = before;
            value
        };
        check_gradient(at, &gradient);
    }

    #[test]
    fn one_active_decision_is_changed_and_what_is_rewarded_is_done_again() {
        let mut mutator = mutator(8, 0.08);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let parent = [0, 1, 2, 1];
        for _ in 0..100 {
            let (child, mutation) = mutator.mutate(&parent, &mut rng).unwrap();
            let changed: Vec<usize> = (0..4).filter(|&d| child[d] != parent[d]).collect();
            // The third does not count.
            assert_eq!((changed.len(), changed[0] == [0, 1, 3][mutation.place]), (1, true));
        }
        let good = Mutation { place: 1, choice: 2 };
        for _ in 0..80 {
            mutator.add_gradient(&parent, &good, 1.0, 0.0);
            mutator.parameters.ascend(0.01);
        }
        let again = (0..100).filter(|_| mutator.mutate(&parent, &mut rng).unwrap().1 == good).count();
        assert!(again > 90, "{again}");
    }
}
