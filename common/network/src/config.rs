//! The shape of the Q-network.

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// Features, widths and layers beyond this are a mistake, and their products might not fit a number.
const LARGEST: usize = 1 << 16;

/// Embeddings of (decision, choice), for an agent of one space.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct IdentityConfig {
    /// Decisions of the space.
    pub decisions: usize,
    /// The most choices a decision has.
    pub choices: usize,
}

impl IdentityConfig {
    /// Appends the table rows of `choices`, [candidates, decisions].
    pub(super) fn entries(&self, choices: &[u8], entries: &mut Vec<u32>) -> Result<()> {
        for (index, &choice) in choices.iter().enumerate() {
            let decision = index % self.decisions;
            if choice as usize >= self.choices {
                return Err(Error::Input(format!(
                    "decision {decision} has choice {choice} of {}",
                    self.choices
                )));
            }
            entries.push((decision * self.choices) as u32 + choice as u32);
        }
        Ok(())
    }
}

/// The shape of a [`QNetwork`].
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct QNetworkConfig {
    /// Features of a candidate row, CF.
    pub candidate_features: usize,
    /// Features of a context row, XF.
    pub context_features: usize,
    /// Width of every hidden layer, H.
    pub width: usize,
    /// Transformer blocks between candidates.
    pub layers: usize,
    /// Attention heads of a block.
    pub heads: usize,
    /// Embeddings of what a candidate is; without them nothing depends on the space.
    pub identity: Option<IdentityConfig>,
    /// The candidate feature the base rule ranks by.
    pub base_feature: Option<usize>,
    /// What one unit of that feature is worth.
    pub base_scale: f32,
}

impl QNetworkConfig {
    /// A network of the default size: width 64, no transformer blocks.
    pub fn new(candidate_features: usize, context_features: usize) -> Self {
        Self {
            candidate_features,
            context_features,
            width: 64,
            layers: 0,
            heads: 4,
            identity: None,
            base_feature: None,
            base_scale: 1.0,
        }
    }

    /// Values per candidate of the widest tensor: queries, keys and values where there is attention.
    pub(super) fn widest(&self) -> usize {
        self.candidate_features.max(if self.layers > 0 { 3 * self.width } else { self.width })
    }

    /// Refuses what describes no network.
    pub(super) fn check(&self) -> Result<()> {
        let refuse = |what: String| Err(Error::Config(what));
        if self.candidate_features == 0 || self.context_features == 0 || self.width == 0 {
            return refuse("features and width must not be 0".into());
        }
        let largest = self.candidate_features.max(self.context_features).max(self.width).max(self.layers);
        if largest > LARGEST {
            return refuse(format!("a size of {largest} is above {LARGEST}"));
        }
        if !self.base_scale.is_finite() {
            return refuse("the base scale is not a number".into());
        }
        if self.layers > 0 && (self.heads == 0 || !self.width.is_multiple_of(self.heads)) {
            return refuse(format!("width {} does not divide into {} heads", self.width, self.heads));
        }
        if self.base_feature.is_some_and(|feature| feature >= self.candidate_features) {
            return refuse(format!("no base feature {:?} of {}", self.base_feature, self.candidate_features));
        }
        let sizes = 1..=LARGEST;
        if self
            .identity
            .as_ref()
            .is_some_and(|i| !sizes.contains(&i.decisions) || !sizes.contains(&i.choices))
        {
            return refuse(format!("an identity needs 1 to {LARGEST} decisions and choices"));
        }
        Ok(())
    }
}
