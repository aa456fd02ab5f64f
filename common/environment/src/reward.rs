//! What a step earns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The two modes of reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reward {
    /// The rise of the incumbent's [`shaped_quality`].
    #[default]
    Shaped,
    /// quality^p of the architecture arrived at, p = 0.478 (arXiv 2412.01420), quality = 1 − normalised regret.
    Power,
}

const FLOOR: f32 = 0.02;
const POWER: f32 = 0.478;

/// φ(y) = −log10(normalised regret + 0.02): going from 1 % to 0.1 % of the gap is worth as much as from 10 % to 1 %.
/// Regret below 0 (better than the best known) counts as 0.
pub fn shaped_quality(normalised_regret: f32) -> f32 {
    -(normalised_regret.max(0.0) + FLOOR).log10()
}

impl Reward {
    /// Reward of a step that measured or walked to an architecture of regret `here` and moved the incumbent's regret
    /// from `before` to `after` (all normalised). `cost` is that of the training in full ones: where each step is rewarded for where it
    /// leads, many short ones must not earn more than the full one that they cost.
    pub fn of_step(self, before: f32, after: f32, here: f32, cost: f32) -> f32 {
        match self {
            Self::Shaped => shaped_quality(after) - shaped_quality(before),
            Self::Power => cost * (1.0 - here).clamp(0.0, 1.0).powf(POWER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_gap_is_worth_about_the_same_everywhere() {
        let early = Reward::Shaped.of_step(1.0, 0.2, 0.2, 1.0);
        let late = Reward::Shaped.of_step(0.2, 0.02, 0.02, 1.0);
        assert!(early > 0.6 && late > 0.7 && late < 0.8);
        assert_eq!(Reward::Shaped.of_step(0.3, 0.3, 0.9, 1.0), 0.0);
        assert_eq!(Reward::Power.of_step(0.3, 0.3, 2.0, 1.0), 0.0);
        assert_eq!(Reward::Power.of_step(0.3, 0.0, 0.0, 1.0), 1.0);
        assert_eq!(Reward::Power.of_step(0.3, 0.3, 0.0, 0.06), 0.06);
    }
}
