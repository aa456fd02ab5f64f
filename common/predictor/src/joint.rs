//! What is known of full trainings besides themselves, shorter trainings and past tasks, and how much of it counts: what the
//! evidence of the full ones is for.

use super::{PosteriorSettings, Predictor, Prior};
use srnas_space::SearchSpace;
use std::sync::Arc;

/// Full trainings after which what is known besides can be judged.
const JUDGED_AFTER: usize = 4;
/// Shares of the shorter trainings beside real past tasks, of which the evidence chooses one; the first where there is none.
const SHARES: [f32; 3] = [0.5, 1.0, 0.0];
/// Residuals of which the evidence chooses one, and how probable each is beforehand (logarithm); the first where there is no
/// evidence.
const RESIDUALS: [(f32, f64); 3] = [(0.6, 0.0), (3.0, 0.0), (0.06, -1.0)];
/// With such a residual what is known besides hardly counts.
const LOOSE: f32 = 3.0;
/// The bound's height where full trainings follow what is known besides, and where they do not.
const BETAS: [f32; 2] = [1.5, 3.0];
/// What is not left to the evidence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Share of the shorter trainings beside real past tasks.
    pub share: Option<f32>,
    /// How far full trainings may be from what is known of them besides.
    pub residual: Option<f32>,
}

/// What is known besides the full trainings, as the prior of their transfer posterior.
#[derive(Clone, Debug, Default)]
pub struct Besides {
    prior: Option<Arc<Prior>>,
    shorter: usize,
    /// Which past tasks count.
    kept: Vec<bool>,
}

impl Besides {
    /// What the shorter trainings say, each level as a task, then past tasks, of which those with a weight count alike.
    pub fn new(shorter: Option<Prior>, past: Option<(&Arc<Prior>, &[f32])>) -> Self {
        let past = past.filter(|(_, weights)| weights.iter().any(|w| *w > 0.0));
        let kept = past.map_or_else(Vec::new, |(_, weights)| weights.iter().map(|w| *w > 0.0).collect());
        let levels = shorter.as_ref().map_or(0, |prior| prior.tasks().len());
        let prior = match (shorter, past) {
            (Some(shorter), Some((past, _))) => Some(Arc::new(shorter.joined(past))),
            (Some(shorter), None) => Some(Arc::new(shorter)),
            (None, past) => past.map(|(past, _)| past.clone()),
        };
        Self { prior, shorter: levels, kept }
    }

    /// The prior; nothing where there are neither shorter trainings nor a past.
    pub fn prior(&self) -> Option<&Arc<Prior>> {
        self.prior.as_ref()
    }

    /// Weights of the tasks if the shorter trainings have this share; empty without a prior.
    fn shared(&self, share: f32) -> Vec<f32> {
        let past = self.kept.iter().filter(|kept| **kept).count();
        let of_past = (1.0 - share) / past.max(1) as f32;
        let past = self.kept.iter().map(|&kept| if kept { of_past } else { 0.0 });
        std::iter::repeat_n(share / self.shorter.max(1) as f32, self.shorter).chain(past).collect()
    }

    /// How much of it counts: what the evidence of the full trainings is for, unless it is `counted`.
    pub fn weighed(
        &self,
        space: &Arc<SearchSpace>,
        settings: &PosteriorSettings,
        full: &[(Vec<u8>, f32)],
        counted: Counted,
    ) -> Joint {
        let has_past = self.kept.iter().any(|kept| *kept);
        let shares: &[f32] = match (self.shorter > 0, has_past) {
            (false, _) => &[0.0],
            (_, false) => &[1.0],
            _ => counted.share.as_ref().map_or(&SHARES, std::slice::from_ref),
        };
        let given = counted.residual.map(|residual| (residual, 0.0));
        let residuals: &[(f32, f64)] = given.as_ref().map_or(&RESIDUALS, std::slice::from_ref);
        let (mut chosen, mut close) = ((shares[0], residuals[0].0), f64::NEG_INFINITY);
        let judged = full.len() >= JUDGED_AFTER;
        if self.prior.is_some() && judged && shares.len() * residuals.len() > 1 {
            let mut best = f64::NEG_INFINITY;
            for (&share, &(residual, before)) in
                shares.iter().flat_map(|s| residuals.iter().map(move |r| (s, r)))
            {
                let settings = with_residual(settings, residual);
                let (prior, weights) = (self.prior.clone(), self.shared(share));
                let evidence = before + evidence(space, settings, prior, &weights, full);
                if evidence > best {
                    (best, chosen) = (evidence, (share, residual));
                }
                if residual < LOOSE {
                    close = close.max(evidence);
                }
            }
        }
        Joint { weights: self.shared(chosen.0), residual: chosen.1, close, judged }
    }
}

/// How much of what is known besides the full trainings counts.
#[derive(Clone, Debug, Default)]
pub struct Joint {
    /// Weight of each task of the prior; empty without one.
    pub weights: Vec<f32>,
    /// How far full trainings may be from what is known of them besides.
    residual: f32,
    /// Evidence if what is known besides counts at all; none where it was not looked at.
    close: f64,
    judged: bool,
}

impl Joint {
    /// Whether as much counts as in another.
    pub fn counts_as(&self, other: &Self) -> bool {
        (&self.weights, self.residual) == (&other.weights, other.residual)
    }

    /// The posteriors' numbers with the residual that was chosen.
    pub fn settings(&self, settings: &PosteriorSettings) -> PosteriorSettings {
        with_residual(settings, self.residual)
    }

    /// Whether the full trainings are against what is known besides. What they are far from is as good as unknown. `over_plain` is
    /// the evidence for the transfer posterior over the plain one (see [`super::Beliefs::evidence`]), `transfer` the former alone.
    pub fn says_nothing(&self, over_plain: f32, transfer: f64) -> bool {
        self.judged
            && match self.close.is_finite() {
                true => self.close < transfer - f64::from(over_plain),
                false => over_plain < 0.0,
            }
    }

    /// How many deviations above the mean an upper bound is to lie: as probable as it is that full trainings follow what is known
    /// besides, so little is there to explore.
    pub fn beta(over_plain: f32) -> f32 {
        let follows = 1.0 / (1.0 + (-over_plain).exp());
        BETAS[1] + (BETAS[0] - BETAS[1]) * follows
    }
}

fn with_residual(settings: &PosteriorSettings, residual: f32) -> PosteriorSettings {
    let mut settings = *settings;
    settings.transfer.residual = residual;
    // What shorter trainings say changes with each of them, and is filled by a posterior: it is smooth.
    settings.transfer.smoothing = 0.0;
    settings
}

/// Logarithm of the evidence of the full trainings.
fn evidence(
    space: &Arc<SearchSpace>,
    settings: PosteriorSettings,
    prior: Option<Arc<Prior>>,
    weights: &[f32],
    full: &[(Vec<u8>, f32)],
) -> f64 {
    let mut predictor = Predictor::sampled(space.clone(), settings, prior, full.len(), 1);
    predictor.restart(weights);
    full.iter().for_each(|(choices, value)| predictor.observe(choices, space.rank(choices), *value));
    predictor.log_evidence()
}
