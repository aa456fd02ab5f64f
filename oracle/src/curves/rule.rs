//! The rule by which a training that is surely worse than the others at the same epoch is stopped early.

use super::Curve;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Curves without which nothing is stopped, where nothing is said.
const LEAST: usize = 5;

/// The median rule: a training is stopped at an epoch where its best value so far is worse than the median, over those that got as
/// far, of the means of their values up to there (Golovin et al., Google Vizier, 2017, section 3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MedianRule {
    /// Nothing is stopped before this epoch.
    after: f64,
    /// Nor where fewer others got as far.
    of: usize,
}

impl Default for MedianRule {
    fn default() -> Self {
        Self { after: 0.0, of: LEAST }
    }
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{text}` is no rule to stop early: {reason}; write median, or median:after=3,of=5")]
pub struct RuleError {
    text: String,
    reason: String,
}

impl FromStr for MedianRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let wrong = |reason: String| RuleError { text: text.into(), reason };
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        if name != "median" {
            return Err(wrong("there is `median` alone".into()));
        }
        let mut rule = Self::default();
        for option in options.split(',').filter(|_| text.contains(':')) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let no_number = || wrong(format!("`{option}` has no number"));
            match key {
                "after" => {
                    let after: f64 = value.parse().map_err(|_| no_number())?;
                    rule.after = Some(after).filter(|after| after.is_finite()).ok_or_else(no_number)?;
                }
                "of" => {
                    let of: usize = value.parse().map_err(|_| no_number())?;
                    rule.of = Some(of).filter(|of| *of > 0).ok_or_else(no_number)?;
                }
                _ => return Err(wrong(format!("it has no `{key}`"))),
            }
        }
        Ok(rule)
    }
}

impl fmt::Display for MedianRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median:after={},of={}", self.after, self.of)
    }
}

impl From<MedianRule> for String {
    fn from(rule: MedianRule) -> Self {
        rule.to_string()
    }
}

impl TryFrom<String> for MedianRule {
    type Error = RuleError;

    fn try_from(text: String) -> Result<Self, RuleError> {
        text.parse()
    }
}

impl MedianRule {
    /// Stops nothing before an epoch, nor where fewer than `of` others got as far.
    #[cfg(test)]
    pub(super) fn after(after: f64, of: usize) -> Self {
        Self { after, of }
    }

    /// Whether a training with this curve is stopped now; of each value, more is better.
    pub(super) fn stops<'c>(&self, own: &Curve, others: impl Iterator<Item = &'c Curve>) -> bool {
        let Some((now, best)) = own.last() else { return false };
        if now < self.after {
            return false;
        }
        let mut means: Vec<f64> = others.filter_map(|other| other.mean_up_to(now)).collect();
        if means.len() < self.of {
            return false;
        }
        means.sort_by(f64::total_cmp);
        let middle = means.len() / 2;
        let median = match means.len() % 2 {
            0 => 0.5 * means[middle - 1] + 0.5 * means[middle],
            _ => means[middle],
        };
        best < median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(values: &[f64]) -> Curve {
        Curve::of(values.iter().enumerate().map(|(i, value)| (i as f64 + 1.0, *value)))
    }

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        let rule: MedianRule = "median".parse().unwrap();
        assert_eq!((rule, rule.to_string().parse()), (MedianRule::default(), Ok(rule)));
        assert_eq!("median:of=2,after=3".parse(), Ok(MedianRule { after: 3.0, of: 2 }));
        for (text, says) in [
            ("", "there is `median` alone"),
            ("mean", "there is `median` alone"),
            ("median:", "it has no ``"),
            ("median:of=0", "`of=0` has no number"),
            ("median:after=soon", "`after=soon` has no number"),
            ("median:after=nan", "`after=nan` has no number"),
            ("median:before=3", "it has no `before`"),
        ] {
            let error = text.parse::<MedianRule>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_worse_than_the_median_of_the_others_means_is_stopped() {
        let rule = MedianRule { after: 2.0, of: 3 };
        let others = [curve(&[1.0, 3.0]), curve(&[2.0, 4.0, 9.0]), curve(&[0.0, 2.0])];
        let stops = |values: &[f64], others: &[Curve]| rule.stops(&curve(values), others.iter());
        // Their means up to epoch 2 are 2, 3 and 1.
        assert!(stops(&[0.0, 1.9], &others));
        assert!(!stops(&[0.0, 2.0], &others), "no worse");
        assert!(!stops(&[2.5, 0.0], &others), "its best counts");
        assert!(!stops(&[0.0], &others), "too early");
        assert!(!stops(&[0.0, 0.0, 0.0], &others), "one of the three got as far");
        assert!(!stops(&[0.0, 0.0], &others[..2]), "too few");
        assert!(!stops(&[], &others));
        let four = [&others[..], &[curve(&[4.0, 4.0])]].concat();
        // 1, 2, 3, 4.
        assert!(stops(&[2.4, 2.4], &four) && !stops(&[2.6, 2.6], &four));
    }
}
