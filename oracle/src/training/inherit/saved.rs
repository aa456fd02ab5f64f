//! How many epochs inherited weights save, measured.

use super::{InheritError, edits, inherit, inheriting};
use crate::training::{Network, Recipe, TrainingError, data::ImageSet, model::Phase};
use rand::{SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use srnas_network::ops::copied;
use srnas_space::SearchSpace;
use std::sync::atomic::{AtomicBool, Ordering};

/// Parents that are drawn at most.
const DRAWS: usize = 1_000;

/// What a pair of a parent and a child says.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// The largest difference of a logit of a validation image between the trained parent and the child that inherits, in evaluation.
    pub change: f64,
    /// Share of the validation images that the parent tells.
    pub parent: f64,
    /// The same of the child, trained alone by the whole recipe.
    pub alone: f64,
    /// The same of the child that inherits, after each of its epochs.
    pub inherited: Vec<f64>,
}

impl Saved {
    /// After how many epochs the child that inherits tells as many as the one that was trained alone; none where it never does.
    pub fn reached(&self) -> Option<usize> {
        match self.parent >= self.alone {
            true => Some(0),
            false => self.inherited.iter().position(|accuracy| *accuracy >= self.alone).map(|at| at + 1),
        }
    }
}

/// Some parents and children that one decision tells apart, drawn: fewer where a thousand draws have not so many.
pub fn pairs(
    space: &SearchSpace,
    data: &ImageSet,
    recipe: &Recipe,
    count: usize,
    seed: u64,
) -> Vec<[Vec<u8>; 2]> {
    let (mut rng, mut parent) = (ChaCha8Rng::seed_from_u64(seed), vec![0; space.len()]);
    let mut pairs: Vec<[Vec<u8>; 2]> = Vec::with_capacity(count);
    for _ in 0..DRAWS {
        if pairs.len() == count {
            break;
        }
        space.sample(&mut rng, &mut parent);
        let mut children = Vec::new();
        space.for_each_edit(&mut parent.clone(), |child, _, _| {
            let found = edits(space, data.shape, recipe.scale, &parent, child);
            children.extend(found.ok().filter(|edits| !edits.is_empty()).map(|_| child.to_vec()));
        });
        if let Some(child) = children.choose(&mut rng) {
            let pair = [parent.clone(), child.clone()];
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// Trains a parent and a child by the recipe, and the child again for `epochs` with what it inherits. A child begins with its parent's
/// accuracy.
///
/// # Errors
/// What edits do not lead to; a training that diverges or is stopped.
pub fn saved(
    space: &SearchSpace,
    data: &ImageSet,
    recipe: &Recipe,
    epochs: usize,
    [parent, child]: [&[u8]; 2],
    seed: u64,
    stop: &AtomicBool,
) -> Result<Saved, InheritError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let accuracy = |network: &mut Network| -> Result<f64, TrainingError> {
        Ok(network.score(data, &data.validation, |_, _| {})?.accuracy)
    };
    let heard = || match stop.load(Ordering::Relaxed) {
        true => Err(TrainingError::Stopped),
        false => Ok(()),
    };
    let mut trained = Network::new(space, parent, data, recipe.scale, &mut rng)?;
    trained.fit(data, recipe, &mut rng, |_, _| heard())?;
    let mut alone = Network::new(space, child, data, recipe.scale, &mut rng)?;
    alone.fit(data, recipe, &mut rng, |_, _| heard())?;
    let mut heir = inherit(space, data, recipe, (parent, &mut trained), child, &mut rng)?;
    let change = change(data, [&mut trained, &mut heir])?;
    let mut inherited = Vec::with_capacity(epochs);
    heir.fit(data, &inheriting(recipe, epochs), &mut rng, |_, network| {
        heard()?;
        inherited.push(accuracy(network)?);
        Ok(())
    })?;
    Ok(Saved { change, parent: accuracy(&mut trained)?, alone: accuracy(&mut alone)?, inherited })
}

/// The largest difference of what two networks say of the validation images.
fn change(data: &ImageSet, networks: [&mut Network; 2]) -> Result<f64, TrainingError> {
    let indices: Vec<usize> = (0..data.validation.len()).collect();
    let batch = data.batch(&data.validation, &indices, |_, _| {});
    let mut said = Vec::new();
    for network in networks {
        let pixels = network.tensor(&batch)?;
        said.push(copied(&network.forward(&pixels, Phase::Evaluate)?)?);
    }
    let differences = said[0].iter().zip(&said[1]).map(|(a, b)| f64::from((a - b).abs()));
    Ok(differences.fold(0.0, f64::max))
}
