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

/// The median with an interval of order statistics that has it in 95 % of draws or more; where values are too few for that, from the least
/// to the greatest. Two zeros of none.
pub fn median_of_few(values: &[f64]) -> (f64, [f64; 2]) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n == 0 {
        return (0.0, [0.0; 2]);
    }
    let median = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    // The chance that at most so many of n are below the median, in halves of powers.
    let (mut log, mut below, mut cut) = (n as f64 * 0.5f64.ln(), 0.0, 0);
    while below + log.exp() <= 0.025 {
        below += log.exp();
        cut += 1;
        log += ((n + 1 - cut) as f64 / cut as f64).ln();
    }
    let from = cut.saturating_sub(1).min((n - 1) / 2);
    (median, [sorted[from], sorted[n - 1 - from]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_few_have_intervals_of_order_statistics() {
        let of = |n: usize| median_of_few(&(1..=n).rev().map(|v| v as f64).collect::<Vec<_>>());
        assert_eq!(of(0), (0.0, [0.0, 0.0]));
        assert_eq!(of(5), (3.0, [1.0, 5.0]));
        // Published tables of the sign test: 6 to 8 values from the least to the greatest, 9 to 11 from the second, 20 from the sixth.
        assert_eq!(of(8), (4.5, [1.0, 8.0]));
        assert_eq!(of(9), (5.0, [2.0, 8.0]));
        assert_eq!(of(20), (10.5, [6.0, 15.0]));
    }
}
