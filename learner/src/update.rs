//! One step of double DQN: n-step targets, Huber loss, Adam, target copy, weight average.
//!
//! The batch is cut into parts, and threads take part after part. Gradients are added up in the order of the parts,
//! so a step gives the same weights to the last bit whatever the number of threads.

use std::{collections::HashMap, ops::Range};

use candle_core::Tensor;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use srnas_network::{
    self as network, Adam, AdamConfig, AveragedWeights, FrozenQNetwork, Gradients, ObservationBatch,
    QNetwork, QNetworkConfig, huber,
};

/// Observations of a part: a few parts for each thread, so that they end at about the same time.
const PART: usize = 64;

/// What an update refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parts of a batch differ in length, or an action is not a valid candidate.
    #[error("transitions: {0}")]
    Transitions(String),
    /// The threads could not be started.
    #[error("learner threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
}

/// The result of an update.
pub type Result<T> = std::result::Result<T, Error>;

/// How the Q-network learns.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(default, deny_unknown_fields)]
pub struct DqnConfig {
    /// Learning rate of the first step.
    pub learning_rate: f64,
    /// The share of it that is left at the last step; in between it falls in a straight line.
    pub final_fraction: f64,
    /// Errors beyond this count in proportion, not squared.
    pub huber_delta: f32,
    /// The largest gradient norm let through.
    pub clip: f64,
    /// Steps between copies of the online network to the target network.
    pub target_copy_every: u64,
    /// How far the weight average moves towards the online weights each step.
    pub average_rate: f32,
    /// Threads that share a step.
    pub threads: usize,
}

impl Default for DqnConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            final_fraction: 0.05,
            huber_delta: 1.0,
            clip: 10.0,
            target_copy_every: 400,
            average_rate: 0.0025,
            threads: 2,
        }
    }
}

impl DqnConfig {
    /// The learning rate when this share of the training is over, 0 to 1.
    pub fn learning_rate_at(&self, share: f64) -> f64 {
        let share = share.clamp(0.0, 1.0);
        self.learning_rate * (1.0 - share * (1.0 - self.final_fraction))
    }
}

/// A batch of n-step transitions, B of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransitionBatch {
    /// What was seen when acting.
    pub now: ObservationBatch,
    /// The candidate chosen, [B].
    pub actions: Vec<u32>,
    /// Discounted sum of the n rewards that followed, [B].
    pub returns: Vec<f32>,
    /// What was seen after them. Where the discount is 0 it is not looked at and may have no candidates.
    pub next: ObservationBatch,
    /// γⁿ, or 0 where the episode ended, [B].
    pub discounts: Vec<f32>,
    /// Importance weights, [B].
    pub weights: Vec<f32>,
}

impl TransitionBatch {
    fn check(&self) -> Result<()> {
        let batch = self.now.batch();
        let lengths = [
            self.next.batch(),
            self.actions.len(),
            self.returns.len(),
            self.discounts.len(),
            self.weights.len(),
        ];
        if batch == 0 || lengths != [batch; 5] {
            return Err(Error::Transitions(format!(
                "{batch} observations; next observations, actions, returns, discounts and weights are {lengths:?}"
            )));
        }
        let count = |index: usize| self.now.rows(index).len();
        match (0..batch).find(|&index| self.actions[index] as usize >= count(index)) {
            Some(index) => Err(Error::Transitions(format!(
                "transition {index} chose candidate {} of {}",
                self.actions[index],
                count(index)
            ))),
            None => Ok(()),
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Weighted mean of the Huber loss before the step.
    pub loss: f64,
    /// Q(now, action) less its target, [B].
    pub td_errors: Vec<f32>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Mean of Q(now, action).
    pub mean_q: f64,
    /// The learning rate used.
    pub learning_rate: f64,
    /// Loss or gradient was not finite: nothing was changed.
    pub skipped: bool,
}

/// What one part of the batch contributes.
struct Part {
    loss: f64,
    chosen: Vec<f32>,
    targets: Vec<f32>,
    gradients: Gradients,
}

/// Online, target and averaged network with their optimiser.
pub struct DqnUpdate {
    config: DqnConfig,
    online: QNetwork,
    target: FrozenQNetwork,
    average: AveragedWeights,
    adam: Adam,
    threads: rayon::ThreadPool,
    progress: f64,
}

impl DqnUpdate {
    /// Starts learning from `online` as it is.
    pub fn new(config: DqnConfig, online: QNetwork) -> Result<Self> {
        let target = online.frozen()?;
        let average = AveragedWeights::new(config.average_rate, online.parameters())?;
        let adam = Adam::new(AdamConfig { clip: config.clip, ..Default::default() }, online.parameters());
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads.max(1))
            .thread_name(|index| format!("learner-{index}"))
            .build()?;
        Ok(Self { config, online, target, average, adam, threads, progress: 0.0 })
    }

    /// The network that learns.
    pub fn online(&self) -> &QNetwork {
        &self.online
    }

    /// The averaged weights: what acts and is exported.
    pub fn average(&self) -> &AveragedWeights {
        &self.average
    }

    /// The averaged network, for acting.
    pub fn acting(&self) -> Result<FrozenQNetwork> {
        Ok(self.average.frozen(self.online.config())?)
    }

    /// Steps taken, those that were skipped not counted.
    pub fn steps(&self) -> u64 {
        self.adam.steps()
    }

    /// Says which share of the training is over, 0 to 1: the learning rate falls with it.
    pub fn set_progress(&mut self, share: f64) {
        self.progress = share;
    }

    /// Learns from one batch.
    ///
    /// Where loss or gradient is not finite the step is skipped: nothing changes, and the outcome says so.
    pub fn step(&mut self, batch: &TransitionBatch) -> Result<StepOutcome> {
        batch.check()?;
        let size = batch.now.batch();
        let acting = self.online.frozen()?;
        let parts: Vec<Range<usize>> =
            (0..size).step_by(PART).map(|start| start..size.min(start + PART)).collect();
        let parts: Vec<Part> = self.threads.install(|| {
            parts.into_par_iter().map(|range| self.part(batch, range, &acting)).collect::<Result<_>>()
        })?;

        let mut sum = self.empty_part();
        for part in parts {
            sum.loss += part.loss;
            sum.chosen.extend(part.chosen);
            sum.targets.extend(part.targets);
            sum.gradients.add(&part.gradients);
        }

        let learning_rate = self.config.learning_rate_at(self.progress);
        let mut outcome = StepOutcome {
            loss: sum.loss,
            td_errors: sum.chosen.iter().zip(&sum.targets).map(|(chosen, target)| chosen - target).collect(),
            gradient_norm: sum.gradients.norm(),
            mean_q: sum.chosen.iter().map(|&chosen| chosen as f64).sum::<f64>() / size as f64,
            learning_rate,
            skipped: true,
        };
        if !outcome.loss.is_finite() {
            return Ok(outcome);
        }
        outcome.skipped = self.adam.step(self.online.parameters(), &sum.gradients, learning_rate)?.skipped;
        if !outcome.skipped {
            self.average.update(self.online.parameters())?;
            if self.steps().is_multiple_of(self.config.target_copy_every) {
                self.target = self.online.frozen()?;
            }
        }
        Ok(outcome)
    }

    fn empty_part(&self) -> Part {
        let gradients = Gradients::zeros(self.online.parameters());
        Part { loss: 0.0, chosen: Vec::new(), targets: Vec::new(), gradients }
    }

    /// Loss and gradients of the transitions in `range`, as their share in the whole batch.
    fn part(&self, batch: &TransitionBatch, range: Range<usize>, acting: &FrozenQNetwork) -> Result<Part> {
        let mut part = self.empty_part();
        for block in batch.now.blocks(range, self.online.config()) {
            let targets = self.targets(batch, block.clone(), acting)?;
            let now = batch.now.pack(block.clone(), self.online.config())?;
            let scores = self.online.forward_packed(&now)?;
            let actions = now.ranges().zip(&batch.actions[block.clone()]);
            let chosen: Vec<usize> = actions.map(|(rows, &action)| rows.start + action as usize).collect();
            let scale = 1.0 / batch.now.batch() as f32;
            let weights = batch.weights[block].iter().map(|weight| weight * scale).collect();
            let loss = huber(&scores, chosen.clone(), targets.clone(), weights, self.config.huber_delta)
                .map_err(network::Error::from)?;
            part.gradients.add_loss(&loss, self.online.parameters())?;
            part.loss += values(&loss)?[0] as f64;
            let scores = values(&scores)?;
            part.chosen.extend(chosen.into_iter().map(|place| scores[place]));
            part.targets.extend(targets);
        }
        Ok(part)
    }

    /// Return plus discounted value of the next observation: the online network chooses among its
    /// candidates, the target network says what the choice is worth.
    fn targets(
        &self,
        batch: &TransitionBatch,
        range: Range<usize>,
        acting: &FrozenQNetwork,
    ) -> Result<Vec<f32>> {
        let mut targets = batch.returns[range.clone()].to_vec();
        let going_on: Vec<usize> = range.clone().filter(|&index| batch.discounts[index] != 0.0).collect();
        if going_on.is_empty() {
            return Ok(targets);
        }
        let next = batch.next.pack(going_on.iter().copied(), acting.config())?;
        let (online, target) = (acting.q_values_packed(&next)?, self.target.q_values_packed(&next)?);
        for (&index, rows) in going_on.iter().zip(next.ranges()) {
            let choice = rows.start + arg_max(&online[rows]);
            targets[index - range.start] += batch.discounts[index] * target[choice];
        }
        Ok(targets)
    }
}

impl DqnUpdate {
    /// Everything a checkpoint needs, by name: `online.…`, `target.…`, `average.…`, `adam.…`.
    pub fn to_tensors(&self) -> Result<HashMap<String, Tensor>> {
        let parts = [
            ("online", self.online.to_tensors()?),
            ("target", self.target.tensors().clone()),
            ("average", self.average.to_tensors()?),
            ("adam", self.adam.to_tensors(self.online.parameters())?),
        ];
        let named = parts.into_iter().flat_map(|(part, tensors)| {
            tensors.into_iter().map(move |(name, tensor)| (format!("{part}.{name}"), tensor))
        });
        Ok(named.collect())
    }

    /// Goes on from what [`DqnUpdate::to_tensors`] gave.
    pub fn from_tensors(
        config: DqnConfig,
        network: QNetworkConfig,
        tensors: &HashMap<String, Tensor>,
    ) -> Result<Self> {
        let part = |part: &str| -> HashMap<String, Tensor> {
            let named = tensors.iter().filter_map(|(name, tensor)| {
                let name = name.strip_prefix(part)?.strip_prefix('.')?;
                Some((name.to_string(), tensor.clone()))
            });
            named.collect()
        };
        let mut update = Self::new(config, QNetwork::from_tensors(network.clone(), &part("online"))?)?;
        let parameters = update.online.parameters();
        update.target = FrozenQNetwork::from_tensors(network, &part("target"))?;
        update.average =
            AveragedWeights::from_tensors(update.config.average_rate, parameters, &part("average"))?;
        let adam = AdamConfig { clip: update.config.clip, ..Default::default() };
        update.adam = Adam::from_tensors(adam, parameters, &part("adam"))?;
        Ok(update)
    }
}

/// The values of a tensor, row after row.
fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(network::Error::from)?)
}

/// Index of the largest value, the first of equals.
fn arg_max(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    fn network(layers: usize) -> QNetwork {
        let config = QNetworkConfig { width: 16, layers, base_feature: Some(0), ..QNetworkConfig::new(4, 2) };
        QNetwork::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn observations(batch: usize, rng: &mut StdRng) -> ObservationBatch {
        let mut observations = ObservationBatch::default();
        for _ in 0..batch {
            let (rows, context, _) = observations.push(rng.random_range(1..=6), 4, 2, 0);
            rows.iter_mut().chain(context).for_each(|value| *value = rng.random_range(-1.0..1.0));
        }
        observations
    }

    /// The same without the candidates of one observation.
    fn emptied(observations: &ObservationBatch, which: usize) -> ObservationBatch {
        let (mut emptied, rows) = (observations.clone(), observations.rows(which));
        emptied.candidates.drain(rows.start * 4..rows.end * 4);
        emptied.offsets[which + 1..].iter_mut().for_each(|offset| *offset -= rows.len());
        emptied
    }

    /// Transitions that end at once, worth what feature 1 of the chosen candidate says.
    fn bandit(batch: usize, seed: u64) -> TransitionBatch {
        let mut rng = StdRng::seed_from_u64(seed);
        let now = observations(batch, &mut rng);
        let chosen: Vec<usize> = (0..batch).map(|index| rng.random_range(now.rows(index))).collect();
        let actions = chosen.iter().zip(&now.offsets).map(|(row, first)| (row - first) as u32).collect();
        let returns = chosen.iter().map(|row| now.candidates[row * 4 + 1]).collect();
        let next = ObservationBatch { offsets: vec![0; batch + 1], candidates: Vec::new(), ..now.clone() };
        TransitionBatch {
            now,
            actions,
            returns,
            next,
            discounts: vec![0.0; batch],
            weights: vec![1.0; batch],
        }
    }

    /// Transitions that go on.
    fn walk(batch: usize, seed: u64) -> TransitionBatch {
        let next = observations(batch, &mut StdRng::seed_from_u64(seed + 1000));
        TransitionBatch { next, discounts: vec![0.5; batch], ..bandit(batch, seed) }
    }

    fn weights(update: &DqnUpdate) -> HashMap<String, Vec<f32>> {
        let tensors = update.online.to_tensors().unwrap();
        tensors.iter().map(|(name, tensor)| (name.clone(), values(tensor).unwrap())).collect()
    }

    #[test]
    fn learns_what_candidates_are_worth() {
        for layers in [0, 1] {
            let config = DqnConfig { learning_rate: 5e-3, ..Default::default() };
            let mut update = DqnUpdate::new(config, network(layers)).unwrap();
            let first = update.step(&bandit(128, 0)).unwrap().loss;
            for step in 1..400 {
                assert!(!update.step(&bandit(128, step)).unwrap().skipped);
            }
            let last = update.step(&bandit(128, 10_000)).unwrap().loss;
            assert!(last < 0.05 * first, "{layers} layers: {first} → {last}");
        }
    }

    #[test]
    fn targets_are_those_of_double_dqn() {
        // Steps large enough for the networks to disagree.
        let config = DqnConfig { target_copy_every: 1000, learning_rate: 0.02, ..Default::default() };
        let mut update = DqnUpdate::new(config, network(0)).unwrap();
        let target = update.online.frozen().unwrap();
        for step in 0..20 {
            update.step(&walk(64, step)).unwrap();
        }
        let mut batch = walk(70, 99);
        batch.discounts[3] = 0.0;
        let after = std::mem::take(&mut batch.next);
        batch.next = emptied(&after, 3);
        let online = update.online.frozen().unwrap();
        let outcome = update.step(&batch).unwrap();
        let [now, next, worth] = [(&online, &batch.now), (&online, &after), (&target, &after)]
            .map(|(network, observations)| network.q_values(observations).unwrap());
        let mut choices_differ = 0;
        for index in 0..70 {
            let rows = after.rows(index);
            let choice = arg_max(&next[rows.clone()]);
            choices_differ += (choice != arg_max(&worth[rows.clone()])) as usize;
            let expected = batch.returns[index] + batch.discounts[index] * worth[rows.start + choice];
            let error = now[batch.now.offsets[index] + batch.actions[index] as usize] - expected;
            assert!((outcome.td_errors[index] - error).abs() < 1e-5);
        }
        assert!(choices_differ > 0, "the batch does not tell double DQN from DQN");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let run = |threads| {
            let mut update = DqnUpdate::new(DqnConfig { threads, ..Default::default() }, network(1)).unwrap();
            let outcomes: Vec<StepOutcome> =
                (0..5).map(|step| update.step(&walk(100, step)).unwrap()).collect();
            (outcomes, weights(&update))
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn a_step_that_is_not_finite_changes_nothing() {
        let mut update = DqnUpdate::new(DqnConfig::default(), network(0)).unwrap();
        update.step(&walk(40, 0)).unwrap();
        let before = weights(&update);
        let average = update.average.to_tensors().unwrap();
        let mut bad_return = walk(40, 1);
        bad_return.returns[7] = f32::NAN;
        let mut bad_feature = walk(40, 1);
        bad_feature.now.candidates[0] = f32::NAN;
        for batch in [bad_return, bad_feature] {
            assert!(update.step(&batch).unwrap().skipped);
        }
        assert_eq!(weights(&update), before);
        assert_eq!(update.steps(), 1);
        for (name, tensor) in update.average.to_tensors().unwrap() {
            assert_eq!(values(&tensor).unwrap(), values(&average[&name]).unwrap());
        }
        assert!(!update.step(&walk(40, 2)).unwrap().skipped);
    }

    #[test]
    fn a_weight_of_zero_leaves_a_transition_out() {
        let run = |value: f32| {
            let mut batch = walk(40, 0);
            batch.weights[5] = 0.0;
            batch.returns[5] = value;
            let mut update = DqnUpdate::new(DqnConfig::default(), network(0)).unwrap();
            update.step(&batch).unwrap();
            weights(&update)
        };
        assert_eq!(run(0.0), run(100.0));
    }

    #[test]
    fn a_restored_update_goes_on_as_if_never_stopped() {
        let config = DqnConfig { target_copy_every: 3, ..Default::default() };
        let mut update = DqnUpdate::new(config.clone(), network(1)).unwrap();
        for step in 0..4 {
            update.step(&walk(40, step)).unwrap();
        }
        let saved = update.to_tensors().unwrap();
        let shape = update.online.config().clone();
        let mut restored = DqnUpdate::from_tensors(config.clone(), shape.clone(), &saved).unwrap();
        for step in 4..8 {
            assert_eq!(update.step(&walk(40, step)).unwrap(), restored.step(&walk(40, step)).unwrap());
        }
        let acting = |update: &DqnUpdate| update.acting().unwrap().q_values(&walk(10, 50).now).unwrap();
        assert_eq!(acting(&update), acting(&restored));
        let incomplete = saved.into_iter().filter(|(name, _)| name != "adam.steps").collect();
        assert!(DqnUpdate::from_tensors(config, shape, &incomplete).is_err());
    }

    #[test]
    fn the_learning_rate_falls_in_a_straight_line() {
        let config = DqnConfig { learning_rate: 1.0, final_fraction: 0.5, ..Default::default() };
        assert_eq!([0.0, 0.5, 1.0, 9.0].map(|share| config.learning_rate_at(share)), [1.0, 0.75, 0.5, 0.5]);
    }

    #[test]
    fn transitions_that_do_not_fit_are_refused() {
        let mut update = DqnUpdate::new(DqnConfig::default(), network(0)).unwrap();
        let good = walk(4, 0);
        let mut bad_action = good.clone();
        bad_action.actions[2] = bad_action.now.rows(2).len() as u32;
        let bad = [
            bad_action,
            TransitionBatch { next: emptied(&good.next, 1), ..good.clone() },
            TransitionBatch { returns: vec![0.0; 3], ..good.clone() },
            TransitionBatch { weights: vec![0.0; 5], ..good },
            TransitionBatch::default(),
        ];
        for batch in bad {
            assert!(update.step(&batch).is_err());
        }
    }
}
