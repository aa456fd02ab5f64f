//! How much of a full training a measurement takes.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How long a training is, among the [`Fidelities`] there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// A shorter one: its place among these, the cheapest first.
    Shorter(usize),
    /// A full training.
    #[default]
    Full,
}

impl Fidelity {
    /// Its place among the shorter ones; none for a full training.
    pub fn place(self) -> Option<usize> {
        match self {
            Self::Shorter(place) => Some(place),
            Self::Full => None,
        }
    }

    /// Whether it is a full training.
    pub fn is_full(self) -> bool {
        self == Self::Full
    }
}

/// What is asked for: an architecture, and how long it is to be trained.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Training {
    /// The architecture: u8 [decisions].
    pub choices: Vec<u8>,
    /// How long.
    pub fidelity: Fidelity,
}

impl Training {
    /// A full training.
    pub fn full(choices: Vec<u8>) -> Self {
        Self { choices, fidelity: Fidelity::Full }
    }

    /// A shorter one, by its place.
    pub fn shorter(choices: Vec<u8>, place: usize) -> Self {
        Self { choices, fidelity: Fidelity::Shorter(place) }
    }
}

/// The amounts of training that may be asked for, such as 3, 9 and 27 epochs; the last one is a full training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fidelities {
    unit: String,
    /// Whether it is asked, too, what can be said without training.
    untrained: bool,
    /// Ascending, all above 0 and below `full`.
    shorter: Vec<f64>,
    full: f64,
}

/// Two shares of a full training that differ by less are the same: they travel as f32.
const SAME: f64 = 1e-6;

/// Why a text names no fidelities.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[error(
    "`{text}` names no fidelities: {reason}; write epochs=3,27 for trainings of 3 and of 27 epochs, the full one last, and epochs=0,27 \
     to ask as well what can be said without training"
)]
pub struct FidelitiesError {
    text: String,
    reason: String,
}

impl Fidelities {
    /// Full trainings only.
    pub const FULL: Self = Self { unit: String::new(), untrained: false, shorter: Vec::new(), full: 1.0 };

    /// What is spent, such as `epochs`; empty where there is nothing but full trainings.
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// Whether it is asked, too, what can be said of an architecture without training it: an amount of 0.
    pub fn asks_untrained(&self) -> bool {
        self.untrained
    }

    /// Whether one has to say how much is to be trained: there is more than full trainings.
    pub fn vary(&self) -> bool {
        self.untrained || !self.shorter.is_empty()
    }

    /// Number of shorter trainings.
    pub fn shorter(&self) -> usize {
        self.shorter.len()
    }

    /// Costs of the shorter trainings in full ones, the cheapest first.
    pub fn costs(&self) -> impl Iterator<Item = f64> {
        self.shorter.iter().map(|amount| amount / self.full)
    }

    /// All of them, the cheapest first and the full training last.
    pub fn all(&self) -> impl Iterator<Item = Fidelity> {
        (0..self.shorter.len()).map(Fidelity::Shorter).chain([Fidelity::Full])
    }

    /// The shorter ones that come before one, the cheapest first.
    pub fn before(&self, fidelity: Fidelity) -> std::ops::Range<usize> {
        0..fidelity.place().unwrap_or(self.shorter.len())
    }

    /// How much is trained.
    ///
    /// # Panics
    /// At a place that there is not.
    pub fn amount(&self, fidelity: Fidelity) -> f64 {
        fidelity.place().map_or(self.full, |place| self.shorter[place])
    }

    /// What it costs from its beginning, in full trainings.
    ///
    /// # Panics
    /// At a place that there is not.
    pub fn cost(&self, fidelity: Fidelity) -> f64 {
        self.amount(fidelity) / self.full
    }

    /// What is left to pay of a training that goes on after a shorter one.
    ///
    /// # Panics
    /// At a place that there is not.
    pub fn rest(&self, fidelity: Fidelity, after: usize) -> f64 {
        (self.amount(fidelity) - self.shorter[after]) / self.full
    }

    /// The training that takes this share of a full one, as ledger and wire name it; 0, which old peers say, is a full one.
    /// None where there is no such training.
    pub fn of_share(&self, share: f64) -> Option<Fidelity> {
        if share == 0.0 || (share - 1.0).abs() < SAME {
            return Some(Fidelity::Full);
        }
        self.costs().position(|cost| (cost - share).abs() < SAME).map(Fidelity::Shorter)
    }

    /// The shorter training of an amount.
    pub fn of_amount(&self, amount: f64) -> Option<usize> {
        self.shorter.iter().position(|known| *known == amount)
    }

    /// A training in words, such as `3 of 27 epochs`.
    pub fn name(&self, fidelity: Fidelity) -> String {
        match fidelity {
            Fidelity::Shorter(place) => format!("{} of {} {}", self.shorter[place], self.full, self.unit),
            Fidelity::Full if self.unit.is_empty() => "a full training".into(),
            Fidelity::Full => format!("{} {}", self.full, self.unit),
        }
    }
}

impl FromStr for Fidelities {
    type Err = FidelitiesError;

    fn from_str(text: &str) -> Result<Self, FidelitiesError> {
        let wrong = |reason: String| Err(FidelitiesError { text: text.into(), reason });
        let Some((unit, amounts)) = text.split_once('=') else {
            return wrong("it has no `=`".into());
        };
        let unit = unit.trim();
        if unit.is_empty() || !unit.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return wrong("before the `=` is what is spent, a word of letters, digits and `_`".into());
        }
        let mut shorter: Vec<f64> = Vec::new();
        let mut untrained = false;
        for (place, amount) in amounts.split(',').enumerate() {
            match amount.trim().parse::<f64>() {
                Ok(0.0) if place == 0 => untrained = true,
                Ok(0.0) => {
                    return wrong(
                        "0 stands first, where it is asked what can be said without training".into(),
                    );
                }
                Ok(amount) if amount.is_finite() && amount > 0.0 => shorter.push(amount),
                _ => return wrong(format!("`{}` is no amount above 0", amount.trim())),
            }
        }
        if let Some(pair) = shorter.windows(2).find(|pair| pair[1] / pair[0] < 1.0 + SAME) {
            let reason = match pair[0] == pair[1] {
                true => format!("{} stands twice", pair[0]),
                false => {
                    format!("{} comes after {}, and each must be more than the one before", pair[1], pair[0])
                }
            };
            return wrong(reason);
        }
        match shorter.pop() {
            Some(full) if untrained || !shorter.is_empty() => {
                Ok(Self { unit: unit.into(), untrained, shorter, full })
            }
            None if untrained => {
                wrong("without training nothing is found; the last amount is the full training".into())
            }
            _ => wrong("it has one amount, and a full training alone needs none".into()),
        }
    }
}

impl fmt::Display for Fidelities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.unit, if self.untrained { "0," } else { "" })?;
        self.shorter.iter().try_for_each(|amount| write!(f, "{amount},"))?;
        write!(f, "{}", self.full)
    }
}

impl From<Fidelities> for String {
    fn from(fidelities: Fidelities) -> Self {
        fidelities.to_string()
    }
}

impl TryFrom<String> for Fidelities {
    type Error = FidelitiesError;

    fn try_from(text: String) -> Result<Self, FidelitiesError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fidelity::*, *};

    #[test]
    fn they_are_read_and_written_and_found_by_share_and_amount() {
        let three: Fidelities = "epochs=3,9,27".parse().unwrap();
        assert_eq!((three.unit(), three.shorter(), three.to_string()), ("epochs", 2, "epochs=3,9,27".into()));
        assert_eq!(three.costs().collect::<Vec<_>>(), [3.0 / 27.0, 9.0 / 27.0]);
        assert_eq!(
            (three.cost(Full), three.cost(Shorter(1)), three.rest(Full, 1)),
            (1.0, 9.0 / 27.0, 18.0 / 27.0)
        );
        assert_eq!(three.all().collect::<Vec<_>>(), [Shorter(0), Shorter(1), Full]);
        assert!(Shorter(0) < Shorter(1) && Shorter(1) < Full);
        assert_eq!((three.before(Full), three.before(Shorter(1))), (0..2, 0..1));
        for fidelity in three.all() {
            assert_eq!(three.of_share((three.cost(fidelity) as f32).into()), Some(fidelity));
        }
        assert_eq!((three.of_share(0.0), three.of_share(0.5)), (Some(Full), None));
        assert_eq!((three.of_amount(9.0), three.of_amount(27.0)), (Some(1), None));
        assert_eq!((three.name(Shorter(0)), three.name(Full)), ("3 of 27 epochs".into(), "27 epochs".into()));
        assert_eq!("share = 0.1, 1".parse::<Fidelities>().unwrap().amount(Shorter(0)), 0.1);
        assert_eq!(Fidelities::FULL.of_share(1.0), Some(Full));
    }

    #[test]
    fn what_has_no_order_or_costs_nothing_is_refused_with_the_reason() {
        for (text, says) in [
            ("epochs", "no `=`"),
            ("=3,27", "what is spent"),
            ("my epochs=3,27", "what is spent"),
            ("epochs=27", "one amount"),
            ("epochs=27,3", "3 comes after 27"),
            ("epochs=3,3,27", "3 stands twice"),
            ("epochs=-3,27", "`-3` is no amount"),
            ("epochs=three,27", "`three` is no amount"),
            ("epochs=nan,27", "`nan` is no amount"),
            ("epochs=3,", "`` is no amount"),
        ] {
            let error = text.parse::<Fidelities>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("epochs=3,27"), "{text}: {error}");
        }
    }

    #[test]
    fn an_amount_of_0_asks_what_can_be_said_without_training_and_is_no_training() {
        let asked: Fidelities = "epochs=0,27".parse().unwrap();
        assert!(asked.asks_untrained() && asked.vary() && asked.shorter() == 0);
        assert_eq!((asked.to_string(), asked.all().collect::<Vec<_>>()), ("epochs=0,27".into(), vec![Full]));
        let both: Fidelities = "epochs=0,3,27".parse().unwrap();
        assert_eq!(
            (both.to_string(), both.shorter(), both.cost(Shorter(0))),
            ("epochs=0,3,27".into(), 1, 3.0 / 27.0)
        );
        let neither: Fidelities = "epochs=3,27".parse().unwrap();
        assert!(!neither.asks_untrained() && neither.vary() && !Fidelities::FULL.vary());
        assert_ne!(both, neither);
        for (text, says) in [
            ("epochs=0", "without training nothing is found"),
            ("epochs=3,0,27", "0 stands first"),
            ("epochs=0,0,27", "0 stands first"),
        ] {
            let error = text.parse::<Fidelities>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
