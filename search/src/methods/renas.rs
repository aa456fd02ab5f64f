//! Reinforced evolution: Chen et al., "RENAS: Reinforced Evolutionary Neural Architecture Search" (arXiv 1808.00193). As in regularised
//! evolution the winner of a tournament is mutated and the oldest dies; but which decision is changed, and to what, is drawn by a controller
//! that has read the parent, forwards and backwards, and learns by REINFORCE what its mutations were worth.
//!
//! Published for cells whose children inherit their parents' weights; here every child is measured as every other architecture is.

use super::{
    Begin, MethodSpec, SpecError, Starter,
    baseline::Baseline,
    controller::{Codes, Shape, rate_for},
    lstm::{Affine, Lstm, Moment, Parameters, add_scaled, draw, log_softmax, softmax_gradient},
    measured::{Drawing, Measured, Policy},
    prefixes::{Made, Prefixes},
    random::{mutate, unmeasured},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
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
    prefixes: Arc<Prefixes>,
    hidden: usize,
    parameters: Parameters,
    codes: Codes,
    forwards: Lstm,
    backwards: Lstm,
    /// How much a decision, as both have read it, should be changed.
    which: Affine,
    /// By decision: to what.
    what: Vec<Affine>,
}

/// A parent as the controller reads it.
struct Reading {
    path: Vec<Made>,
    /// In the order of the path, and in the other one.
    forwards: Vec<Moment>,
    backwards: Vec<Moment>,
    /// What both say of each decision: f32 [2 · hidden].
    said: Vec<Vec<f32>>,
    /// Logarithms of the probabilities that each is changed.
    which: Vec<f32>,
}

impl Mutator {
    fn new(space: &Arc<SearchSpace>, prefixes: Arc<Prefixes>, shape: Shape, rng: &mut impl Rng) -> Self {
        let Shape { hidden, bound, .. } = shape;
        let mut p = Parameters::default();
        let codes = Codes::new(&mut p, space, hidden, bound, rng);
        let forwards = Lstm::new(&mut p, hidden, hidden, bound, rng);
        let backwards = Lstm::new(&mut p, hidden, hidden, bound, rng);
        let which = Affine::new(&mut p, 2 * hidden, 1, bound, rng);
        let what = |d| Affine::new(&mut p, 2 * hidden, space.arity(d).into(), bound, rng);
        let what = (0..space.len()).map(what).collect();
        Self {
            space: space.clone(),
            prefixes,
            hidden,
            parameters: p,
            codes,
            forwards,
            backwards,
            which,
            what,
        }
    }

    fn read(&self, parent: &Choices) -> Reading {
        let path = self.prefixes.path(parent).0;
        let p = &self.parameters;
        let pass = |lstm: &Lstm, order: &mut dyn Iterator<Item = &Made>| {
            let mut moments: Vec<Moment> = Vec::new();
            for made in order {
                moments.push(lstm.step(p, &p.values[self.codes.place(Some(made))], moments.last()));
            }
            moments
        };
        let forwards = pass(&self.forwards, &mut path.iter());
        let backwards = pass(&self.backwards, &mut path.iter().rev());
        let both = forwards.iter().zip(backwards.iter().rev());
        let said: Vec<Vec<f32>> = both.map(|(f, b)| [&f.output[..], &b.output].concat()).collect();
        let scores: Vec<f32> = said.iter().map(|said| self.which.forward(p, said)[0]).collect();
        let which = log_softmax(&scores, &vec![true; scores.len()]);
        Reading { path, forwards, backwards, said, which }
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
        for _ in 0..TRIES {
            let place = draw(&reading.which, rng);
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
        let (place, hidden) = (mutation.place, self.hidden);
        let what = self.what(&reading, place);
        let to_scores = softmax_gradient(&reading.which, place, weight, entropy);
        let to_what = softmax_gradient(&what, mutation.choice.into(), weight, entropy);
        let p = &mut self.parameters;
        let mut upstream = vec![vec![0.0; 2 * hidden]; reading.path.len()];
        for ((said, to_score), upstream) in reading.said.iter().zip(to_scores).zip(&mut upstream) {
            self.which.backward(p, said, &[to_score], upstream);
        }
        let head = &self.what[reading.path[place].step.decision];
        head.backward(p, &reading.said[place], &to_what, &mut upstream[place]);
        let to_forwards: Vec<Vec<f32>> = upstream.iter().map(|both| both[..hidden].to_vec()).collect();
        let to_backwards: Vec<Vec<f32>> = upstream.iter().rev().map(|both| both[hidden..].to_vec()).collect();
        let to_codes = self.forwards.backward(p, &reading.forwards, &to_forwards);
        let to_codes_too = self.backwards.backward(p, &reading.backwards, &to_backwards);
        for (made, (one, other)) in reading.path.iter().zip(to_codes.iter().zip(to_codes_too.iter().rev())) {
            let code = &mut p.gradient[self.codes.place(Some(made))];
            add_scaled(code, 1.0, one);
            add_scaled(code, 1.0, other);
        }
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

    fn learn(&mut self, choices: &Choices, value: f32, birth: Option<Birth>, _: &mut ChaCha8Rng) {
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
    use crate::methods::lstm::tests::check_gradient;
    use rand::SeedableRng;
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
        reading.which[mutation.place]
            + what[usize::from(mutation.choice)]
            + 0.5 * (entropy(&reading.which) + entropy(&what))
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
