//! Net2WiderNet of a stage of basic blocks: channels are there several times, and whoever reads them shares its weights out among them.
//!
//! Published, each copy has an equal share, and noise lets copies become different. Here the shares are drawn, for each reader and each of its
//! outputs, and sum to one: what is computed stays as it is up to rounding, and no two copies get the same gradient.

use super::{Array, Weights};
use candle_core::Result;
use rand::Rng;

/// A share before all are divided by their sum.
const SHARES: std::ops::Range<f32> = 0.5..1.5;

/// For each channel, which of the earlier ones it is.
struct Copies(Vec<usize>);

impl Copies {
    /// All that there were, then some drawn.
    fn drawn(before: usize, now: usize, rng: &mut impl Rng) -> Self {
        Self((0..now).map(|i| if i < before { i } else { rng.random_range(0..before) }).collect())
    }

    /// A row for each channel.
    fn rows(&self, array: &mut Array) {
        let row = array.values.len() / array.shape[0];
        array.values = self.0.iter().flat_map(|&i| array.values[i * row..(i + 1) * row].to_vec()).collect();
        array.shape[0] = self.0.len();
    }

    /// Along the second axis, each copy with its share.
    fn shared(&self, array: &mut Array, rng: &mut impl Rng) {
        let (outputs, inputs) = (array.shape[0], array.shape[1]);
        let taps = array.values.len() / (outputs * inputs);
        let mut values = Vec::with_capacity(outputs * self.0.len() * taps);
        for output in array.values.chunks_exact(inputs * taps) {
            let shares: Vec<f32> = self.0.iter().map(|_| rng.random_range(SHARES)).collect();
            let mut sums = vec![0.0; inputs];
            self.0.iter().zip(&shares).for_each(|(&i, share)| sums[i] += share);
            for (&i, share) in self.0.iter().zip(&shares) {
                values.extend(output[i * taps..(i + 1) * taps].iter().map(|w| w * share / sums[i]));
            }
        }
        array.values = values;
        array.shape[1] = self.0.len();
    }

    /// Gain and shift [2, C] and averages.
    fn normalisation(&self, weights: &mut Weights, layer: &str) -> Result<()> {
        let affine = weights.parameter(&format!("{layer}.affine"))?;
        let before = affine.shape[1];
        let of = |row: usize| self.0.iter().map(move |&i| row * before + i);
        affine.values = of(0).chain(of(1)).map(|at| affine.values[at]).collect();
        affine.shape[1] = self.0.len();
        let moments = weights.running.get_mut(layer).ok_or_else(|| super::missing(layer))?;
        for values in [&mut moments.mean, &mut moments.variance] {
            *values = self.0.iter().map(|&i| values[i]).collect();
        }
        Ok(())
    }
}

impl Weights {
    /// Widens a stage to so many channels.
    pub(super) fn widen(&mut self, stage: usize, channels: usize, rng: &mut impl Rng) -> Result<()> {
        let block = |stage: usize, block: usize| format!("stage{stage}.block{block}");
        let before = self.parameter(&format!("{}.second.weight", block(stage, 0)))?.shape[0];
        // What blocks add to has the same copies in all of them.
        let stream = Copies::drawn(before, channels, rng);
        for index in 0.. {
            let name = block(stage, index);
            let weight = |layer: &str| format!("{name}.{layer}.weight");
            if !self.parameters.contains_key(&weight("second")) {
                break;
            }
            let inner = Copies::drawn(before, channels, rng);
            if index > 0 {
                stream.normalisation(self, &format!("{name}.norm1"))?;
                stream.shared(self.parameter(&weight("first"))?, rng);
            }
            inner.rows(self.parameter(&weight("first"))?);
            inner.normalisation(self, &format!("{name}.norm2"))?;
            let second = self.parameter(&weight("second"))?;
            inner.shared(second, rng);
            stream.rows(second);
            if let Some(shortcut) = self.parameters.get_mut(&weight("shortcut")) {
                stream.rows(shortcut);
            }
        }
        let reader = block(stage + 1, 0);
        if !self.parameters.contains_key(&format!("{reader}.first.weight")) {
            stream.normalisation(self, "last")?;
            stream.shared(self.parameter("classifier.weight")?, rng);
            return Ok(());
        }
        stream.normalisation(self, &format!("{reader}.norm1"))?;
        for layer in ["first", "shortcut"] {
            stream.shared(self.parameter(&format!("{reader}.{layer}.weight"))?, rng);
        }
        Ok(())
    }
}
