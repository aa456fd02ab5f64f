//! The estimator of metrics: a trunk shared by all training tasks, one output (*head*) per task.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{
    Error, Result,
    ops::{copied, huber::huber, tensor},
    weights::{self, Affine, Drawn, Initial, Named, Saved, Supply, Trainable},
};

/// Rows that are computed at a time, for the sake of the cache.
const BLOCK: usize = 256;

/// The shape of a [`PredictorNetwork`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct PredictorConfig {
    /// Inputs of an architecture, I.
    pub inputs: usize,
    /// Width of the hidden layers.
    pub width: usize,
    /// Hidden layers.
    pub layers: usize,
    /// Training tasks, T.
    pub heads: usize,
}

impl PredictorConfig {
    /// A predictor of the default size: two hidden layers of 128.
    pub fn new(inputs: usize, heads: usize) -> Self {
        Self { inputs, width: 128, layers: 2, heads }
    }
}

/// The layers in order; all but the last end in ReLU.
#[derive(Clone, Debug)]
struct Layers(Vec<Affine>);

impl Layers {
    fn new(config: &PredictorConfig, supply: &mut dyn Supply) -> Result<Self> {
        if config.inputs == 0 || config.width == 0 || config.heads == 0 {
            return Err(Error::Config("inputs, width and heads must not be 0".into()));
        }
        let (mut layers, mut inputs) = (Vec::new(), config.inputs);
        for layer in 0..config.layers {
            let initial = Initial::Uniform { inputs };
            layers.push(Affine::new(supply, &format!("layers.{layer}"), config.width, inputs, initial)?);
            inputs = config.width;
        }
        layers.push(Affine::new(supply, "heads", config.heads, inputs, Initial::Uniform { inputs })?);
        Ok(Self(layers))
    }

    fn forward(&self, inputs: &Tensor) -> candle_core::Result<Tensor> {
        let last = self.0.len() - 1;
        let mut layers = self.0.iter().enumerate();
        layers.try_fold(inputs.clone(), |hidden, (index, layer)| layer.forward(&hidden, index < last))
    }
}

/// Inputs as a tensor, [B, I], if their number fits.
fn rows(config: &PredictorConfig, inputs: &[f32]) -> Result<Tensor> {
    if !inputs.len().is_multiple_of(config.inputs) {
        let message = format!("{} values do not divide into rows of {}", inputs.len(), config.inputs);
        return Err(Error::Input(message));
    }
    Ok(tensor(inputs.to_vec(), (inputs.len() / config.inputs, config.inputs))?)
}

/// The online predictor.
pub struct PredictorNetwork {
    config: PredictorConfig,
    layers: Layers,
    parameters: Vec<(String, Var)>,
}

impl PredictorNetwork {
    /// A network with weights drawn from `rng`.
    pub fn new(config: PredictorConfig, rng: &mut impl Rng) -> Result<Self> {
        Self::build(config, &mut Trainable::new(Drawn(rng)))
    }

    /// A network with copies of saved weights.
    pub fn from_tensors(config: PredictorConfig, tensors: &Named) -> Result<Self> {
        let mut supply = Trainable::new(Saved::new(tensors));
        let network = Self::build(config, &mut supply)?;
        supply.source.finish()?;
        Ok(network)
    }

    fn build<S: Supply>(config: PredictorConfig, supply: &mut Trainable<S>) -> Result<Self> {
        let layers = Layers::new(&config, supply)?;
        Ok(Self { config, layers, parameters: std::mem::take(&mut supply.parameters) })
    }

    /// The shape of the network.
    pub fn config(&self) -> &PredictorConfig {
        &self.config
    }

    /// The variables by name, in an order that depends on the configuration alone.
    pub fn parameters(&self) -> &[(String, Var)] {
        &self.parameters
    }

    /// Number of weights.
    pub fn parameter_count(&self) -> usize {
        weights::parameter_count(&self.parameters)
    }

    /// inputs [B · I] → estimates, [B, T], tracked.
    pub fn forward(&self, inputs: &[f32]) -> Result<Tensor> {
        Ok(self.layers.forward(&rows(&self.config, inputs)?)?)
    }

    /// Weighted mean over the rows of the Huber loss of each row's own head; an infinite `delta` makes it half
    /// the squared error.
    ///
    /// inputs [B · I]; one task, value and weight per row, [B] each → a scalar.
    pub fn loss(
        &self,
        inputs: &[f32],
        tasks: &[u32],
        values: &[f32],
        row_weights: &[f32],
        delta: f32,
    ) -> Result<Tensor> {
        let (count, width, heads) = (tasks.len(), self.config.inputs, self.config.heads);
        if count == 0 || [inputs.len(), values.len(), row_weights.len()] != [count * width, count, count] {
            return Err(Error::Input(format!(
                "{} inputs, {} values and {} weights do not fit {count} tasks",
                inputs.len(),
                values.len(),
                row_weights.len()
            )));
        }
        if let Some(task) = tasks.iter().find(|task| **task as usize >= heads) {
            return Err(Error::Input(format!("task {task} of {heads}")));
        }
        let total: f32 = row_weights.iter().sum();
        let block = |start: usize| -> Result<Tensor> {
            let rows = start..count.min(start + BLOCK);
            let estimates = self.forward(&inputs[rows.start * width..rows.end * width])?;
            let shares = row_weights[rows.clone()].iter().map(|weight| weight / total).collect();
            let tasks = tasks[rows.clone()].iter().enumerate();
            let chosen = tasks.map(|(row, task)| row * heads + *task as usize).collect();
            Ok(huber(&estimates, chosen, values[rows].to_vec(), shares, delta)?)
        };
        (BLOCK..count).step_by(BLOCK).try_fold(block(0)?, |sum, start| Ok((sum + block(start)?)?))
    }

    /// A copy for inference.
    pub fn frozen(&self) -> Result<FrozenPredictor> {
        FrozenPredictor::from_tensors(self.config.clone(), &self.to_tensors()?)
    }

    /// Copies of the weights by name.
    pub fn to_tensors(&self) -> Result<Named> {
        weights::to_tensors(&self.parameters)
    }
}

/// A predictor that no longer learns: cheap to clone, free to share between threads.
#[derive(Clone, Debug)]
pub struct FrozenPredictor {
    config: Arc<PredictorConfig>,
    layers: Arc<Layers>,
    tensors: Arc<Named>,
}

impl FrozenPredictor {
    /// A network with copies of saved weights.
    pub fn from_tensors(config: PredictorConfig, tensors: &Named) -> Result<Self> {
        let tensors = weights::copied(tensors)?;
        let mut supply = Saved::new(&tensors);
        let layers = Layers::new(&config, &mut supply)?;
        supply.finish()?;
        Ok(Self { config: Arc::new(config), layers: Arc::new(layers), tensors: Arc::new(tensors) })
    }

    /// The shape of the network.
    pub fn config(&self) -> &PredictorConfig {
        &self.config
    }

    /// The weights by name.
    pub fn tensors(&self) -> &Named {
        &self.tensors
    }

    /// inputs [N · I] → estimates, [N · T].
    pub fn predict(&self, inputs: &[f32]) -> Result<Vec<f32>> {
        let mut estimates = Vec::with_capacity(inputs.len() / self.config.inputs * self.config.heads);
        for block in inputs.chunks(BLOCK * self.config.inputs) {
            let block = self.layers.forward(&rows(&self.config, block)?)?;
            estimates.extend(copied(&block)?);
        }
        Ok(estimates)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{Adam, AdamConfig, Gradients};

    fn network() -> PredictorNetwork {
        let config = PredictorConfig { width: 16, ..PredictorConfig::new(5, 3) };
        PredictorNetwork::new(config, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn inputs(rows: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(2);
        (0..rows * 5).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn every_parameter_gets_a_gradient_and_an_unused_head_none() {
        let network = network();
        let loss = network.loss(&inputs(4), &[0, 2, 0, 2], &[1.0, -1.0, 2.0, 0.0], &[1.0; 4], 1.0).unwrap();
        let gradients = loss.backward().unwrap();
        for (name, variable) in network.parameters() {
            let gradient = gradients.get(variable).unwrap().abs().unwrap();
            assert!(gradient.sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0, "{name}");
            if name == "heads.bias" {
                let gradient = gradient.to_vec1::<f32>().unwrap();
                assert!(gradient[0] > 0.0 && gradient[1] == 0.0 && gradient[2] > 0.0);
            }
        }
    }

    #[test]
    fn learns_a_function_per_task() {
        let network = network();
        // More rows than one block.
        let count = BLOCK + 7;
        let inputs = inputs(count);
        let tasks: Vec<u32> = (0..count as u32).map(|row| row % 3).collect();
        // Each task weighs the same input differently.
        let values: Vec<f32> =
            inputs.chunks(5).zip(&tasks).map(|(row, task)| row[0] * (*task as f32 - 1.0)).collect();
        let mut adam = Adam::new(AdamConfig::default(), network.parameters());
        let loss = || network.loss(&inputs, &tasks, &values, &vec![1.0; count], f32::INFINITY).unwrap();
        let before: f32 = loss().to_scalar().unwrap();
        for _ in 0..300 {
            let gradients = Gradients::of(&loss(), network.parameters()).unwrap();
            adam.step(network.parameters(), &gradients, 0.01).unwrap();
        }
        let after: f32 = loss().to_scalar().unwrap();
        assert!(after < 0.02 * before, "{before} → {after}");
    }

    #[test]
    fn the_loss_is_a_weighted_mean() {
        let network = network();
        let loss = |rows: usize, weights: &[f32]| {
            let (tasks, values) = (vec![1; rows], vec![3.0; rows]);
            let loss = network.loss(&inputs(rows), &tasks, &values, weights, 1.0).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        assert!((loss(3, &[2.0, 2.0, 0.0]) - loss(2, &[1.0, 1.0])).abs() < 1e-6);
        // Rows beyond a block count as those before it.
        let mut weights = vec![0.0; BLOCK + 3];
        weights[..2].fill(1.0);
        weights[BLOCK..].fill(1.0);
        let estimates = copied(&network.forward(&inputs(BLOCK + 3)).unwrap()).unwrap();
        let used = weights.iter().zip(estimates.chunks(3)).filter(|(weight, _)| **weight > 0.0);
        let expected: f32 = used.map(|(_, row)| ((row[1] - 3.0).abs() - 0.5) / 5.0).sum();
        assert!((loss(BLOCK + 3, &weights) - expected).abs() < 1e-5);
        assert!(network.loss(&inputs(3), &[0, 1], &[0.0; 3], &[1.0; 3], 1.0).is_err());
        assert!(network.loss(&inputs(2), &[3, 0], &[0.0; 2], &[1.0; 2], 1.0).is_err());
    }

    #[test]
    fn the_frozen_copy_agrees_in_blocks_and_stays() {
        let network = network();
        let inputs = inputs(2 * BLOCK + 3);
        let frozen = network.frozen().unwrap();
        let estimates = frozen.predict(&inputs).unwrap();
        let tracked = copied(&network.forward(&inputs).unwrap()).unwrap();
        assert!(estimates.iter().zip(&tracked).all(|(left, right)| (left - right).abs() < 1e-5));
        let loaded = PredictorNetwork::from_tensors(frozen.config().clone(), frozen.tensors()).unwrap();
        network.parameters()[0].1.set(&network.parameters()[0].1.zeros_like().unwrap()).unwrap();
        assert_eq!(frozen.predict(&inputs).unwrap(), estimates);
        assert_eq!(loaded.frozen().unwrap().predict(&inputs).unwrap(), estimates);
        assert!(frozen.predict(&inputs[1..]).is_err());
    }
}
