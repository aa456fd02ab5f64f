//! The few numbers of the posteriors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{WrongValue, not_negative, positive, share};

/// Numbers of the plain posterior.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlainSettings {
    /// Share of the kernel that looks at choice counts; the rest looks at the Hamming distance.
    pub count_share: f32,
    /// Length of the count kernel in units of half the number of decisions.
    pub count_length: f32,
    /// Length of the Hamming kernel in units of half the number of decisions.
    pub hamming_length: f32,
    /// Noise variance, with values standardised.
    pub noise: f32,
    /// Values further below the median of what was measured than so many times the way from the median up to the best count
    /// as if they were there: how bad the bad ones are says little about the good ones. 0: values count as they are.
    pub cut: f32,
}

impl Default for PlainSettings {
    fn default() -> Self {
        Self { count_share: 0.8, count_length: 1.0, hamming_length: 1.0, noise: 0.01, cut: 0.0 }
    }
}

/// Numbers of the transfer posterior, in units of the training tasks' gap between median and best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransferSettings {
    /// σ: standard deviation of the slope on the prior mean.
    pub slope: f32,
    /// r: variance of the residual, which has the plain kernel.
    pub residual: f32,
    /// c₀: variance of the constant.
    pub constant: f32,
    /// Noise variance.
    pub noise: f32,
    /// A second posterior has the training tasks' tables with this share of them smoothed, and both count by their evidence. 0: there
    /// is none.
    pub smoothing: f32,
    /// σ of the second posterior.
    pub smoothed_slope: f32,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self { slope: 0.5, residual: 0.06, constant: 9.0, noise: 0.002, smoothing: 0.5, smoothed_slope: 1.0 }
    }
}

/// The few numbers of both posteriors; they travel with the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PosteriorSettings {
    /// The plain posterior.
    pub plain: PlainSettings,
    /// The transfer posterior.
    pub transfer: TransferSettings,
}

impl PosteriorSettings {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the first key that makes no sense.
    pub fn check(&self) -> Result<(), WrongValue> {
        let (plain, transfer) = (&self.plain, &self.transfer);
        share("posterior.settings.plain.count_share", plain.count_share.into())?;
        positive("posterior.settings.plain.count_length", plain.count_length.into())?;
        positive("posterior.settings.plain.hamming_length", plain.hamming_length.into())?;
        positive("posterior.settings.plain.noise", plain.noise.into())?;
        not_negative("posterior.settings.plain.cut", plain.cut.into())?;
        not_negative("posterior.settings.transfer.slope", transfer.slope.into())?;
        not_negative("posterior.settings.transfer.residual", transfer.residual.into())?;
        not_negative("posterior.settings.transfer.constant", transfer.constant.into())?;
        positive("posterior.settings.transfer.noise", transfer.noise.into())?;
        share("posterior.settings.transfer.smoothing", transfer.smoothing.into())?;
        not_negative("posterior.settings.transfer.smoothed_slope", transfer.smoothed_slope.into())
    }
}
