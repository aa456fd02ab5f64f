//! Training: advantage actor-critic, a policy gradient with the network's own value as baseline.

use super::{
    math::logistic,
    network::{Network, Shape},
    worlds::{End, Lanes, Task, WORLDS, Worlds},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_network::ops::simd::{LANES, sum, total, vectorised};

/// How a policy is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Changes of the weights.
    pub updates: usize,
    /// Of them, those after which the early return is measured.
    pub early: usize,
    /// Steps of all worlds that a change is made from.
    pub rollout: usize,
    /// Worth of a reward one step later.
    pub discount: f32,
    /// Weight of a longer look ahead (the λ of generalised advantages).
    pub trace: f32,
    /// The first rate of Adam, which falls to 0 in a straight line.
    pub rate: f32,
    /// Weight of the policy's entropy.
    pub entropy: f32,
    /// Weight of the error of the value.
    pub value: f32,
    /// The most that the norm of the gradients may be.
    pub clip: f32,
}

/// What was seen and done in a step of all worlds.
struct Step {
    values: Vec<Lanes>,
    forwards: Lanes,
    rewards: Lanes,
    ends: [End; WORLDS],
}

/// A training under way.
pub struct Training<'a> {
    recipe: &'a Recipe,
    network: Network,
    worlds: Worlds,
    rng: ChaCha8Rng,
    steps: Vec<Step>,
    gradients: Vec<Lanes>,
    adam: Adam,
    updates: usize,
}

impl<'a> Training<'a> {
    /// Nothing learned yet.
    pub fn new(task: Task, shape: &Shape, recipe: &'a Recipe, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let network = Network::new(shape, &mut rng);
        let step = || Step {
            values: vec![[0.0; WORLDS]; network.units()],
            forwards: [0.0; WORLDS],
            rewards: [0.0; WORLDS],
            ends: [End::Not; WORLDS],
        };
        Self {
            recipe,
            worlds: Worlds::new(task, rng.random()),
            steps: (0..recipe.rollout).map(|_| step()).collect(),
            gradients: vec![[0.0; WORLDS]; network.units()],
            adam: Adam::new(network.weights.len()),
            network,
            rng,
            updates: 0,
        }
    }

    /// The network as it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Acts for a rollout, and changes the weights once.
    pub fn update(&mut self) {
        let Self { network, worlds, rng, steps, .. } = self;
        let outputs = network.units() - 2;
        for step in steps.iter_mut() {
            worlds.observe(&mut step.values);
            network.forward(&mut step.values);
            step.forwards = drawn(&step.values[outputs], rng);
            worlds.step(&step.forwards, &mut step.rewards, &mut step.ends);
        }
        let mut ahead = vec![[0.0; WORLDS]; network.units()];
        worlds.observe(&mut ahead);
        network.forward(&mut ahead);
        let advantages = self.advantages(ahead[outputs + 1]);
        self.learn(&advantages);
        self.updates += 1;
    }

    /// By how much each step was better than its value said: generalised advantages. What would have come after the end of
    /// an episode's time is taken for what the last state seen was worth.
    fn advantages(&self, last: Lanes) -> Vec<Lanes> {
        let (recipe, outputs) = (self.recipe, self.network.units() - 2);
        let mut all = vec![[0.0; WORLDS]; self.steps.len()];
        let (mut next, mut trace) = (last, [0.0; WORLDS]);
        for (step, advantages) in self.steps.iter().zip(&mut all).rev() {
            let values = &step.values[outputs + 1];
            for world in 0..WORLDS {
                let (ahead, later) = match step.ends[world] {
                    End::Not => (next[world], trace[world]),
                    End::Failed => (0.0, 0.0),
                    End::Over => (values[world], 0.0),
                };
                let surprise =
                    (1.0 - recipe.discount) * step.rewards[world] + recipe.discount * ahead - values[world];
                advantages[world] = surprise + recipe.discount * recipe.trace * later;
            }
            (next, trace) = (*values, *advantages);
        }
        all
    }

    fn learn(&mut self, advantages: &[Lanes]) {
        let Self { recipe, network, steps, gradients, adam, .. } = self;
        let outputs = network.units() - 2;
        let count = (advantages.len() * WORLDS) as f32;
        let mean = advantages.iter().map(|a| sum(a)).sum::<f32>() / count;
        let squares = advantages.iter().flatten().map(|a| (a - mean) * (a - mean)).sum::<f32>();
        let scale = 1.0 / ((squares / count).sqrt() + 1e-6);
        let mut rows = vec![[0.0; LANES]; network.weights.len()];
        for (step, advantages) in steps.iter().zip(advantages) {
            let (logits, forwards) = (step.values[outputs], step.forwards);
            let (mut policy, mut value) = ([0.0; WORLDS], [0.0; WORLDS]);
            // Of −advantage · ln(probability of what was done) − entropy, and of the squared error of the value, which is
            // off by the advantage.
            vectorised!(for world in 0..WORLDS {
                let probability = logistic(logits[world]);
                let chosen = (probability - forwards[world]) * (advantages[world] - mean) * scale;
                let even = logits[world] * probability * (1.0 - probability);
                policy[world] = (chosen + recipe.entropy * even) / count;
                value[world] = -recipe.value * advantages[world] / count;
            });
            (gradients[outputs], gradients[outputs + 1]) = (policy, value);
            network.backward(&step.values, gradients, &mut rows);
        }
        let sums: Vec<f32> = rows.into_iter().map(total).collect();
        let norm = sums.iter().map(|g| g * g).sum::<f32>().sqrt();
        let shrink = if norm > recipe.clip { recipe.clip / norm } else { 1.0 };
        let left = 1.0 - self.updates as f32 / recipe.updates as f32;
        adam.step(&mut network.weights, &sums, shrink, recipe.rate * left);
    }
}

/// Draws 1 for a push forwards, with the probability that a logit stands for, or 0.
fn drawn(logits: &Lanes, rng: &mut impl Rng) -> Lanes {
    let draws: Lanes = std::array::from_fn(|_| rng.random());
    let mut drawn = [0.0; WORLDS];
    vectorised!(for world in 0..WORLDS {
        drawn[world] = if draws[world] < logistic(logits[world]) { 1.0 } else { 0.0 };
    });
    drawn
}

/// Adam (Kingma and Ba 2015).
struct Adam {
    means: Vec<f32>,
    squares: Vec<f32>,
    /// What the decays have become by now.
    powers: [f32; 2],
}

impl Adam {
    const DECAYS: [f32; 2] = [0.9, 0.999];

    fn new(weights: usize) -> Self {
        Self { means: vec![0.0; weights], squares: vec![0.0; weights], powers: [1.0; 2] }
    }

    fn step(&mut self, weights: &mut [f32], gradients: &[f32], shrink: f32, rate: f32) {
        let [first, second] = Self::DECAYS;
        self.powers = [self.powers[0] * first, self.powers[1] * second];
        let [mean_share, square_share] = self.powers.map(|power| 1.0 - power);
        let moments = self.means.iter_mut().zip(&mut self.squares);
        for ((weight, gradient), (mean, square)) in weights.iter_mut().zip(gradients).zip(moments) {
            let gradient = gradient * shrink;
            *mean = first * *mean + (1.0 - first) * gradient;
            *square = second * *square + (1.0 - second) * gradient * gradient;
            *weight -= rate * (*mean / mean_share) / ((*square / square_share).sqrt() + 1e-8);
        }
    }
}

/// The mean return over [`WORLDS`] episodes, in which the network draws its pushes as in training. Starts are the same for every network.
pub fn mean_return(task: Task, network: &Network) -> f32 {
    let (mut worlds, mut rng) = (Worlds::new(task, u64::MAX), ChaCha8Rng::seed_from_u64(u64::MAX - 1));
    let mut values = vec![[0.0; WORLDS]; network.units()];
    let outputs = network.units() - 2;
    let (mut rewards, mut ends) = ([0.0; WORLDS], [End::Not; WORLDS]);
    let (mut returns, mut running) = ([0.0; WORLDS], [true; WORLDS]);
    for _ in 0..task.horizon {
        worlds.observe(&mut values);
        network.forward(&mut values);
        let forwards = drawn(&values[outputs], &mut rng);
        worlds.step(&forwards, &mut rewards, &mut ends);
        for world in 0..WORLDS {
            if running[world] {
                returns[world] += rewards[world];
                running[world] = ends[world] == End::Not;
            }
        }
    }
    sum(&returns) / WORLDS as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{network::Activation, recipe, worlds::TASKS};

    fn shape() -> Shape {
        Shape { layers: vec![(16, Activation::Tanh), (8, Activation::Relu)], skip: true }
    }

    fn trained(task: Task, updates: usize, seed: u64) -> Vec<f32> {
        let recipe = recipe();
        let mut training = Training::new(task, &shape(), &recipe, seed);
        (0..updates).for_each(|_| training.update());
        assert!(training.network().weights.iter().all(|weight| weight.is_finite()));
        let mut said = training.network().weights.clone();
        said.push(mean_return(task, training.network()));
        said
    }

    #[test]
    fn equal_seeds_give_equal_networks_to_the_bit() {
        for task in TASKS {
            let [one, again, other] = [1, 1, 2].map(|seed| trained(task, 20, seed));
            let bits = |weights: &[f32]| weights.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&one), bits(&again), "{}", task.name);
            assert_ne!(one, other, "{}", task.name);
        }
    }

    #[test]
    fn what_is_trained_returns_more_than_what_is_not() {
        for task in TASKS {
            let [before, after] =
                [0, recipe().updates].map(|updates| *trained(task, updates, 1).last().unwrap());
            assert!(after > 2.0 * before, "{}: {before} and {after}", task.name);
        }
    }

    #[test]
    fn advantages_look_as_far_ahead_as_an_episode_goes() {
        let recipe = Recipe { rollout: 3, discount: 0.5, trace: 0.5, ..recipe() };
        let mut training = Training::new(TASKS[0], &shape(), &recipe, 1);
        let value = training.network.units() - 1;
        for (at, step) in training.steps.iter_mut().enumerate() {
            step.rewards = [4.0; WORLDS];
            step.values[value] = [at as f32; WORLDS];
        }
        training.steps[1].ends[1] = End::Failed;
        training.steps[1].ends[2] = End::Over;
        let advantages = training.advantages([3.0; WORLDS]);
        let of = |world: usize| [0, 1, 2].map(|step| advantages[step][world]);
        // A reward counts half, so that the value of a state is on the scale of its rewards; what is a step away counts a half
        // of that, and the surprise there a quarter.
        let last = 2.0 + 0.5 * 3.0 - 2.0;
        let middle = 2.0 + 0.5 * 2.0 - 1.0 + 0.25 * last;
        assert_eq!(of(0), [2.0 + 0.5 * 1.0 - 0.0 + 0.25 * middle, middle, last]);
        let failed = 2.0 - 1.0;
        assert_eq!(of(1), [2.5 + 0.25 * failed, failed, last]);
        let over = 2.0 + 0.5 * 1.0 - 1.0;
        assert_eq!(of(2), [2.5 + 0.25 * over, over, last]);
    }
}
