//! BOHB's model (arXiv 1807.01774): kernel densities of the good and of the other architectures; what is likely among the good and
//! unlikely among the others is tried next. Settings as published: the best 15 % are good, 64 draws, bandwidths three times as wide
//! for drawing.

use rand::Rng;
use srnas_space::SearchSpace;

/// Share of the measurements that are good.
const GOOD: f64 = 0.15;
/// Draws of which the best is taken.
const DRAWS: usize = 64;
/// How much wider the kernel is for drawing.
const WIDER: f64 = 3.0;
/// Least bandwidth: no choice is ever impossible.
const LEAST: f64 = 1e-3;

pub(super) struct Densities {
    good: Density,
    others: Density,
}

struct Density {
    points: Vec<Vec<u8>>,
    /// By decision: λ of Aitchison and Aitken's kernel, the chance of another choice than the point's.
    bandwidths: Vec<f64>,
    arities: Vec<usize>,
}

impl Densities {
    /// The densities; none while there are too few measurements: both sides need one more than there are decisions.
    pub fn new(space: &SearchSpace, known: &[(&[u8], f32)]) -> Option<Self> {
        let least = space.len() + 1;
        if known.len() < least + 2 {
            return None;
        }
        let mut sorted: Vec<&(&[u8], f32)> = known.iter().collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let n = sorted.len();
        let good = ((GOOD * n as f64) as usize).max(least).min(n - 1);
        let others = (((1.0 - GOOD) * n as f64) as usize).max(least).min(n);
        Some(Self {
            good: Density::new(space, &sorted[..good]),
            others: Density::new(space, &sorted[n - others..]),
        })
    }

    /// The best of some draws among those that are `fit`.
    pub fn draw(&self, rng: &mut impl Rng, fit: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let mut best: Option<(f64, Vec<u8>)> = None;
        for _ in 0..DRAWS {
            let choices = self.good.draw(rng);
            let score = self.good.at(&choices) / self.others.at(&choices).max(1e-32);
            if fit(&choices) && best.as_ref().is_none_or(|(highest, _)| score > *highest) {
                best = Some((score, choices));
            }
        }
        best.map(|(_, choices)| choices)
    }
}

impl Density {
    fn new(space: &SearchSpace, points: &[&(&[u8], f32)]) -> Self {
        let arities: Vec<usize> = (0..space.len()).map(|d| space.arity(d) as usize).collect();
        let n = points.len() as f64;
        // Normal reference rule, as the published code has it: 1.06 deviations n^(−1/(4 + decisions)).
        let shrink = 1.06 * n.powf(-1.0 / (4.0 + arities.len() as f64));
        let bandwidths = arities.iter().enumerate().map(|(d, &arity)| {
            let values: Vec<f64> = points.iter().map(|(choices, _)| f64::from(choices[d])).collect();
            let mean = values.iter().sum::<f64>() / n;
            let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
            let most = (arity as f64 - 1.0) / arity as f64;
            (shrink * deviation).clamp(LEAST, most.max(LEAST))
        });
        Self {
            bandwidths: bandwidths.collect(),
            points: points.iter().map(|(choices, _)| choices.to_vec()).collect(),
            arities,
        }
    }

    fn at(&self, choices: &[u8]) -> f64 {
        let of_point = |point: &Vec<u8>| -> f64 {
            let each = point.iter().zip(choices).enumerate().map(|(d, (a, b))| {
                let others = (self.arities[d] - 1).max(1) as f64;
                if a == b { 1.0 - self.bandwidths[d] } else { self.bandwidths[d] / others }
            });
            each.product()
        };
        self.points.iter().map(of_point).sum::<f64>() / self.points.len() as f64
    }

    fn draw(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut choices = self.points[rng.random_range(0..self.points.len())].clone();
        for (d, choice) in choices.iter_mut().enumerate() {
            if self.arities[d] > 1 && rng.random_bool((WIDER * self.bandwidths[d]).min(1.0)) {
                *choice = rng.random_range(0..self.arities[d]) as u8;
            }
        }
        choices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::{Conditional, Decision};

    #[test]
    fn draws_are_near_the_good_ones_and_fit() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Conditional::space("made-up", (0..6).map(decision).collect(), vec![]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut choices = vec![0; 6];
        let all: Vec<(Vec<u8>, f32)> = (0..60)
            .map(|_| {
                space.sample(&mut rng, &mut choices);
                (choices.clone(), choices.iter().map(|&c| f32::from(c)).sum())
            })
            .collect();
        let known: Vec<(&[u8], f32)> = all.iter().map(|(c, v)| (&c[..], *v)).collect();
        let model = Densities::new(&space, &known).unwrap();
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let drawn: Vec<f32> = (0..40)
            .map(|_| model.draw(&mut rng, |c| c[0] != 1).unwrap())
            .inspect(|c| assert_ne!(c[0], 1))
            .map(|c| c.iter().map(|&c| f32::from(c)).sum())
            .collect();
        let before: Vec<f32> = all.iter().map(|(_, v)| *v).collect();
        assert!(mean(&drawn) > mean(&before) + 2.0, "{} after {}", mean(&drawn), mean(&before));
        assert!(model.draw(&mut rng, |_| false).is_none());
        // Too few, and all equal.
        assert!(Densities::new(&space, &known[..8]).is_none());
        let equal: Vec<(&[u8], f32)> = known.iter().map(|(c, _)| (*c, 1.0)).collect();
        assert!(Densities::new(&space, &equal).unwrap().draw(&mut rng, |_| true).is_some());
    }
}
