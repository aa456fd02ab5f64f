//! Training of the predictor network on the measurements of the ledger.

use crate::checkpoint::PredictorState;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_config::PredictorTraining;
use srnas_ledger::{FULL, Ledger};
use srnas_network::{
    self as network, Adam, AdamConfig, FrozenPredictor, Gradients, Named, PredictorConfig, PredictorNetwork,
};
use srnas_policy::LearnedPrior;
use srnas_predictor::{predictor_inputs, write_predictor_inputs};
use srnas_space::SearchSpace;
use std::sync::Arc;

/// Steps between looks at the best and the median of each task.
const RESCALE: u64 = 500;
/// Where the loss turns linear, in units of a task's gap: dead architectures lie far below and say little.
const HUBER: f32 = 0.5;

/// The network, its optimiser and the scale of its targets.
pub(crate) struct PredictorTrainer {
    config: PredictorTraining,
    space: Arc<SearchSpace>,
    network: PredictorNetwork,
    adam: Adam,
    tasks: Vec<String>,
    families: Vec<String>,
    /// Best and median of each task among its measurements so far.
    scales: Vec<Option<(f32, f32)>>,
    steps: u64,
    rng: ChaCha8Rng,
}

impl PredictorTrainer {
    /// A network with one head for each task.
    pub fn new(
        config: PredictorTraining,
        space: Arc<SearchSpace>,
        tasks: Vec<String>,
        families: Vec<String>,
        seed: u64,
    ) -> network::Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shape = PredictorConfig {
            width: config.width,
            layers: config.layers,
            ..PredictorConfig::new(predictor_inputs(&space), tasks.len())
        };
        let network = PredictorNetwork::new(shape, &mut rng)?;
        let adam = Adam::new(AdamConfig::default(), network.parameters());
        let scales = vec![None; tasks.len()];
        Ok(Self { config, space, network, adam, tasks, families, scales, steps: 0, rng })
    }

    /// Learns from a batch of measurements; `progress` is the share of the run that is over. Returns whether the network
    /// is due to be broadcast.
    pub fn step(&mut self, ledger: &Ledger, progress: f64) -> network::Result<bool> {
        if self.steps.is_multiple_of(RESCALE) {
            self.scales = (0..self.tasks.len()).map(|t| ledger.best_and_median(t)).collect();
        }
        let (mut inputs, mut tasks, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut active = Vec::new();
        for _ in 0..self.config.batch.min(ledger.len()) {
            let (entry, choices) = ledger.get(self.rng.random_range(0..ledger.len()));
            // What a shorter training says is no value of the task.
            if entry.fidelity != FULL {
                continue;
            }
            let Some((best, median)) = self.scales[usize::from(entry.task)] else { continue };
            write_predictor_inputs(&self.space, choices, &mut active, &mut inputs);
            tasks.push(u32::from(entry.task));
            values.push(((entry.value - median) / (best - median)).clamp(-3.0, 1.0));
        }
        self.steps += 1;
        if tasks.is_empty() {
            return Ok(false);
        }
        let weights = vec![1.0; tasks.len()];
        let loss = self.network.loss(&inputs, &tasks, &values, &weights, HUBER)?;
        let gradients = Gradients::of(&loss, self.network.parameters())?;
        let rate = self.config.learning_rate * (1.0 - 0.95 * progress.clamp(0.0, 1.0));
        self.adam.step(self.network.parameters(), &gradients, rate)?;
        Ok(self.steps.is_multiple_of(self.config.broadcast))
    }

    /// Whether it ever made a step.
    pub fn has_learned(&self) -> bool {
        self.steps > 0
    }

    /// The network as it is now, under a version that no other of the run ever had.
    pub fn publish(&self, version: u64) -> network::Result<LearnedPrior> {
        Ok(self.prior(version, self.network.frozen()?))
    }

    fn prior(&self, version: u64, network: FrozenPredictor) -> LearnedPrior {
        LearnedPrior { version, network, tasks: self.tasks.clone(), families: self.families.clone() }
    }

    /// Weights and optimiser by name.
    pub fn to_tensors(&self) -> network::Result<Named> {
        let mut tensors = Named::new();
        let parts = [
            ("weights", self.network.to_tensors()?),
            ("adam", self.adam.to_tensors(self.network.parameters())?),
        ];
        for (part, named) in parts {
            tensors.extend(named.into_iter().map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
        }
        Ok(tensors)
    }

    /// What a checkpoint needs beside the tensors; `published` is the version of the copy that was published last.
    pub fn state(&self, published: u64) -> PredictorState {
        PredictorState { steps: self.steps, scales: self.scales.clone(), rng: self.rng.clone(), published }
    }

    /// Goes on from a checkpoint.
    pub fn restore(&mut self, state: PredictorState, tensors: &Named) -> network::Result<()> {
        let part = |part: &str| -> Named {
            let named = tensors.iter().filter_map(|(name, tensor)| {
                let name = name.strip_prefix(part)?.strip_prefix('.')?;
                Some((name.to_string(), tensor.clone()))
            });
            named.collect()
        };
        if state.scales.len() != self.tasks.len() {
            let message = format!("the predictor has {} tasks, not {}", state.scales.len(), self.tasks.len());
            return Err(network::Error::Weights(message));
        }
        self.network = PredictorNetwork::from_tensors(self.network.config().clone(), &part("weights"))?;
        self.adam = Adam::from_tensors(AdamConfig::default(), self.network.parameters(), &part("adam"))?;
        (self.steps, self.scales, self.rng) = (state.steps, state.scales, state.rng);
        Ok(())
    }

    /// The copy that was published last, from a checkpoint.
    pub fn published(&self, version: u64, tensors: &Named) -> network::Result<LearnedPrior> {
        Ok(self.prior(version, FrozenPredictor::from_tensors(self.network.config().clone(), tensors)?))
    }
}
