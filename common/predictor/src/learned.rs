//! `prior = "network"`: the training tasks' values as the predictor network estimates them.

use super::{Prior, PriorError};
use srnas_network::{self as network, FrozenPredictor};
use srnas_space::{Choices, SearchSpace};

/// Why the network's estimates are not a prior.
#[derive(Debug, thiserror::Error)]
pub enum LearnedPriorError {
    /// The network failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// Its estimates are not a prior.
    #[error(transparent)]
    Prior(#[from] PriorError),
}

/// Number of inputs of a predictor network for a space: a code of the active form and the choice counts.
pub fn predictor_inputs(space: &SearchSpace) -> usize {
    (0..space.len()).map(|d| space.arity(d) as usize).sum::<usize>() + space.count_features()
}

/// Writes the inputs for one architecture: one-hot codes of its active form, then choice counts over the number of
/// decisions: f32 [[`predictor_inputs`]].
pub fn write_predictor_inputs(
    space: &SearchSpace,
    choices: &Choices,
    active: &mut Vec<u8>,
    out: &mut Vec<f32>,
) {
    active.clear();
    active.extend_from_slice(choices);
    space.activate(active);
    for (d, &choice) in active.iter().enumerate() {
        out.extend((0..space.arity(d)).map(|c| f32::from(u8::from(c == choice))));
    }
    let mut counts = vec![0; space.count_features()];
    space.count_choices(active, &mut counts);
    let unit = f32::from(space.count_unit());
    out.extend(counts.iter().map(|&c| f32::from(c) / unit / space.len() as f32));
}

impl Prior {
    /// A prior from the network's estimates over an enumerable space.
    ///
    /// # Errors
    /// Refuses spaces that are too large to tabulate, and estimates that are not finite.
    pub fn from_network(
        space: &SearchSpace,
        network: &FrozenPredictor,
        tasks: Vec<String>,
        families: Vec<String>,
    ) -> Result<Self, LearnedPriorError> {
        let size = space
            .size()
            .filter(|&s| s <= Self::LARGEST)
            .ok_or_else(|| PriorError::TooLarge(space.name().into()))? as usize;
        let heads = tasks.len();
        let mut values = vec![0.0; heads * size];
        let (mut choices, mut active) = (vec![0; space.len()], Vec::new());
        const BLOCK: usize = 1024;
        let mut inputs = Vec::with_capacity(BLOCK * predictor_inputs(space));
        for start in (0..size).step_by(BLOCK) {
            let end = size.min(start + BLOCK);
            inputs.clear();
            for rank in start..end {
                space.unrank(rank as u64, &mut choices);
                write_predictor_inputs(space, &choices, &mut active, &mut inputs);
            }
            let estimates = network.predict(&inputs)?;
            for (rank, row) in (start..end).zip(estimates.chunks_exact(heads)) {
                for (task, &value) in row.iter().enumerate() {
                    values[task * size + rank] = value.clamp(-3.0, 1.0);
                }
            }
        }
        Ok(Self::new(tasks, families, size, values)?)
    }
}
