//! Training of the predictor network on the measurements of the ledger.

use crate::ledger::Ledger;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_common::{
    config::PredictorTraining,
    network::{self, Adam, AdamConfig, Gradients, PredictorConfig, PredictorNetwork},
    policy::LearnedPrior,
    posterior::{predictor_inputs, write_predictor_inputs},
    space::SearchSpace,
};
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
    version: u64,
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
        Ok(Self { config, space, network, adam, tasks, families, scales, steps: 0, version: 0, rng })
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

    /// The network as it is now, under a new version.
    pub fn publish(&mut self) -> network::Result<LearnedPrior> {
        self.version += 1;
        Ok(LearnedPrior {
            version: self.version,
            network: self.network.frozen()?,
            tasks: self.tasks.clone(),
            families: self.families.clone(),
        })
    }
}
