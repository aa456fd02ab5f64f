//! Which decisions mattered, as a posterior of what was measured sees it.

use crate::{guided::LivePosterior, method::MethodError};
use srnas_space::listed_or_drawn;

/// Architectures on which the posterior is asked.
const SAMPLE: u64 = 4_000;

/// The share of the variance of the predicted mean over the space that each decision explains by itself (its main effect, as
/// in functional ANOVA, Hutter et al. 2014): `(decision, share)`, the highest first. An inactive decision counts as a choice
/// of its own. Empty where the posterior says the same of everything.
///
/// # Errors
/// When the posterior cannot be made.
pub(crate) fn main_effects(posterior: &mut LivePosterior) -> Result<Vec<(usize, f64)>, MethodError> {
    let space = posterior.space().clone();
    let (sample, _) = listed_or_drawn(&space, SAMPLE);
    let means: Vec<f64> = sample.iter().map(|choices| f64::from(posterior.mean_of(choices))).collect();
    let n = means.len() as f64;
    let mean = means.iter().sum::<f64>() / n;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / n;
    if !(variance.is_finite() && variance > 1e-12 * mean.abs().max(1e-12)) {
        return Ok(Vec::new());
    }
    let effect = |d: usize| {
        let inactive = usize::from(space.arity(d));
        let mut groups = vec![(0.0, 0.0); inactive + 1];
        for (choices, m) in sample.iter().zip(&means) {
            let group = if space.is_inactive(choices, d) { inactive } else { usize::from(choices[d]) };
            groups[group].0 += m - mean;
            groups[group].1 += 1.0;
        }
        let explained: f64 = groups.iter().filter(|g| g.1 > 0.0).map(|(sum, n)| sum * sum / n).sum();
        explained / n / variance
    };
    let mut effects: Vec<(usize, f64)> = (0..space.len()).map(|d| (d, effect(d))).collect();
    effects.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(effects)
}
