//! How much of a space a problem is about, where it is not all of it.

use serde::{Deserialize, Serialize};
use srnas_basics::text::percent;
use std::fmt;

/// How many of a space's architectures a problem is about, where it is not about all: best and median are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// So many are.
    pub known: usize,
    /// All; none where they are too many to be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<usize>,
    /// Why not the others.
    #[serde(default)]
    pub why: Why,
}

/// Why some of a space's architectures count and others do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// They have all the values that a problem needs; others are neither drawn nor asked for.
    #[default]
    HaveAValue,
    /// They were measured, have values and keep the limits.
    WereMeasured,
    /// They keep the limits.
    KeepTheLimits,
    /// Best and median are theirs, in a space of which any architecture has a value.
    AreTheBestKnown,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HaveAValue => "have a value",
            Self::WereMeasured => "were measured and count",
            Self::KeepTheLimits => "keep the limits",
            Self::AreTheBestKnown => "are those that best and median are of",
        })
    }
}

impl Known {
    /// Whether a network answers for what is not known.
    pub fn is_predicted(&self) -> bool {
        self.why == Why::AreTheBestKnown
    }

    /// What is to be thought of a comparison of it, in a sentence without its stop.
    pub fn remark(&self) -> String {
        match self.why {
            Why::AreTheBestKnown => self.to_string(),
            _ => format!("{self}; the comparison is on these"),
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { known, all, why } = self;
        match all {
            _ if *why == Why::AreTheBestKnown => write!(
                f,
                "a network predicts what has no row; best and median are those of {known} architectures, and better may be found"
            ),
            Some(all) => {
                let share = percent(*known as f64 / *all as f64);
                write!(f, "{known} of {all} architectures {why} ({share})")
            }
            None => {
                write!(f, "{known} architectures {why}, a sample of a space too large to be listed")
            }
        }
    }
}
