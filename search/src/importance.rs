//! Which decisions mattered, as a posterior of what was measured sees it.

use crate::guided::LivePosterior;
use srnas_space::{SearchSpace, listed_or_drawn};

/// Decisions of which pairs are looked at: those that explain most by themselves.
const PAIRED: usize = 64;
/// A pair that explains less is not told.
const TOLD: f64 = 0.01;

/// Which decisions mattered, as shares of the variance of the predicted mean over the space.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    /// What each decision explains by itself, the highest first: all of them, or none where the same is predicted of everything.
    pub main: Vec<(usize, f64)>,
    /// What two decisions explain together beyond each by itself, the highest first.
    pub pairs: Vec<(usize, usize, f64)>,
}

/// Architectures on which the posterior is asked.
const SAMPLE: u64 = 4_000;

/// The share of the variance of the predicted mean over the space that each decision explains by itself, and two of them together
/// (main effects and interactions, as in functional ANOVA, Hutter et al. 2014). An inactive decision counts as a choice of its own.
pub(crate) fn effects(posterior: &mut LivePosterior) -> Importance {
    let space = posterior.space().clone();
    let (sample, is_whole) = listed_or_drawn(&space, SAMPLE);
    let means: Vec<f64> = sample.iter().map(|choices| f64::from(posterior.mean_of(choices))).collect();
    decompose(&space, (&sample, is_whole), &means)
}

/// The shares of the variance of `means` over a sample, which may be the whole space.
fn decompose(space: &SearchSpace, (sample, is_whole): (&[Vec<u8>], bool), means: &[f64]) -> Importance {
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n;
    if !(variance.is_finite() && variance > 1e-12 * mean.abs().max(1e-12)) {
        return Importance::default();
    }
    let group = |choices: &[u8], d: usize| match space.is_inactive(choices, d) {
        true => usize::from(space.arity(d)),
        false => usize::from(choices[d]),
    };
    // What the means of groups of the sample explain.
    let explained = |groups: usize, of: &dyn Fn(&[u8]) -> usize| {
        let mut sums = vec![(0.0, 0.0); groups];
        for (choices, m) in sample.iter().zip(means) {
            let place = of(choices);
            sums[place].0 += m - mean;
            sums[place].1 += 1.0;
        }
        sums.iter().filter(|(_, n)| *n > 0.0).map(|(sum, n)| sum * sum / n).sum::<f64>() / n / variance
    };
    let wide = |d: usize| usize::from(space.arity(d)) + 1;
    let alone: Vec<f64> = (0..space.len()).map(|d| explained(wide(d), &|c| group(c, d))).collect();
    let mut main: Vec<(usize, f64)> = alone.iter().copied().enumerate().collect();
    main.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut paired: Vec<usize> = main.iter().take(PAIRED).map(|(d, _)| *d).collect();
    paired.sort_unstable();
    let mut pairs = Vec::new();
    for (i, &a) in paired.iter().enumerate() {
        for &b in &paired[i + 1..] {
            let both = explained(wide(a) * wide(b), &|c| group(c, a) * wide(b) + group(c, b));
            let share = both - alone[a] - alone[b];
            // Each group of a sample explains about one of its number by chance.
            let by_chance = if is_whole { 0.0 } else { (wide(a) * wide(b)) as f64 / n };
            pairs.extend((share >= TOLD + by_chance).then_some((a, b, share)));
        }
    }
    pairs.sort_by(|x, y| y.2.total_cmp(&x.2).then((x.0, x.1).cmp(&(y.0, y.1))));
    Importance { main, pairs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

    #[test]
    fn what_is_owed_to_one_decision_and_to_two_is_told_apart() {
        let decisions = (0..7).map(|d| Decision::new(format!("d{d}"), &["a", "b"])).collect();
        let space = Conditional::space("made-up", decisions, vec![]).unwrap();
        let (sample, _) = listed_or_drawn(&space, SAMPLE);
        assert_eq!(sample.len(), 128);
        let of = |value: &dyn Fn(&[u8]) -> f64| {
            decompose(
                &space,
                (&sample, true),
                &sample.iter().map(|choices| value(choices)).collect::<Vec<_>>(),
            )
        };
        // Variances 1/4 of the square of each weight: 9, 4 and 3 of 16.
        let sum = |c: &[u8]| 3.0 * f64::from(c[1]) + 2.0 * f64::from(c[4]);
        let either = |c: &[u8]| f64::from(c[0] ^ c[2]) * f64::sqrt(3.0);
        let found = of(&|c| sum(c) + either(c));
        assert_eq!(found.main.len(), 7);
        for (place, (decision, share)) in [(1, 9.0 / 16.0), (4, 4.0 / 16.0)].into_iter().enumerate() {
            assert!(
                found.main[place].0 == decision && (found.main[place].1 - share).abs() < 1e-9,
                "{found:?}"
            );
        }
        assert!(found.main[2..].iter().all(|(_, share)| share.abs() < 1e-9), "{found:?}");
        let [(0, 2, share)] = found.pairs[..] else { panic!("{found:?}") };
        assert!((share - 3.0 / 16.0).abs() < 1e-9);
        assert_eq!(of(&|_| 5.0), Importance::default());
        assert!(of(&sum).pairs.is_empty());
    }
}
