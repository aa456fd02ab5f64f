//! Ranges of numbers, which a space has as lists of levels: choices are counted, and a model of 8 learning rates learns faster
//! than one of 10,000.
//!
//! What a range gives may never change: benchmarks and run directories keep the text of a space and read it again.

mod levels;
#[cfg(test)]
mod tests;
mod written;

pub(super) use written::Written;

use levels::Places;

/// Choices are bytes, see `check_decisions`.
pub(super) const MOST_LEVELS: usize = 255;

/// Whole numbers up to here are exact as floats.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Numbers from one end to another, both of them included.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// The smaller end.
    pub from: f64,
    /// The larger end.
    pub to: f64,
    /// Whether levels are equally far apart in the logarithm.
    pub log: bool,
    /// Distance of the numbers that are possible, beginning with the smaller end: 1 where they are whole.
    pub grid: Option<f64>,
    /// So many levels are wanted, or as many as make round numbers.
    pub levels: Option<usize>,
}

/// Why a range has no levels.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum RangeError {
    #[error("a range has two numbers, as in `range = [1e-4, 1e-1]`, not {0}")]
    NotTwo(String),
    #[error("`{key} = {found}` is no {wanted}")]
    NoNumber { key: &'static str, found: String, wanted: &'static str },
    #[error("an end of its range is {}; the ends are finite numbers", said(*.0))]
    NotFinite(f64),
    #[error(
        "its range is written from {} to {}; the smaller end comes first: [{}, {}]",
        said(*.from), said(*.to), said(*.to), said(*.from)
    )]
    Reversed { from: f64, to: f64 },
    #[error("both ends of its range are {end}; one value is written as `choices = [{end}]`")]
    Equal { end: String },
    #[error("its range begins with {}, and only numbers above 0 have a logarithm; begin it above 0 or leave `log` out", said(*.0))]
    NoLogarithm(f64),
    #[error(
        "it has `log` and `step`; a step is no distance of logarithms: say with `levels` how many there are"
    )]
    LogWithStep,
    #[error("it has `step` and `levels`, and each says how many there are; leave one out")]
    StepWithLevels,
    #[error("`step = {}` leads nowhere; a step is a number above 0", said(*.0))]
    StepNotPositive(f64),
    #[error("`step = {}` is larger than its range, from {} to {}", said(*.step), said(*.from), said(*.to))]
    StepTooLarge { step: f64, from: f64, to: f64 },
    #[error(
        "`step = {}` does not lead from {} to {}, and both ends are levels; end it with {} or {}",
        said(*.step), said(*.from), said(*.to), said(*.below), said(*.above)
    )]
    StepDoesNotFit { step: f64, from: f64, to: f64, below: f64, above: f64 },
    #[error("`step = {}` gives {} levels; 2 to {MOST_LEVELS} are possible: make it larger", said(*.step), said(*.levels))]
    TooManySteps { step: f64, levels: f64 },
    #[error(
        "`levels = {0}`; 2 to {MOST_LEVELS} are possible, and a single value is written as `choices = [value]`"
    )]
    Levels(i64),
    #[error(
        "`levels = {levels}`, but only {} whole numbers lie from {} to {}{}; want fewer levels",
        said(*.count), said(*.from), said(*.to),
        if *.reals { ", or write the ends with a point for numbers in between" } else { "" }
    )]
    TooFewWhole { levels: usize, count: f64, from: f64, to: f64, reals: bool },
    #[error("its ends, {from:?} and {to:?}, are too near to each other for {levels} different levels")]
    Collide { levels: usize, from: f64, to: f64 },
    #[error("an end of its range is {}; whole numbers of a range lie between -2^53 and 2^53", said(*.0))]
    WholeTooLarge(f64),
    #[error("it has `choices` and `range`; a decision has either")]
    ChoicesAndRange,
    #[error("it has neither `choices = [a, b, …]` nor `range = [from, to]`")]
    Nothing,
    #[error("`{0}` belongs to a range, and it has `choices`: write `range = [from, to]` or leave `{0}` out")]
    WithoutRange(&'static str),
}

/// A number as one writes it.
fn said(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number}") } else { format!("{number:?}") }
}

impl Range {
    /// The levels, in ascending order; the first and the last are the ends.
    ///
    /// # Errors
    /// Says why there are none.
    pub fn levels(&self) -> Result<Vec<f64>, RangeError> {
        self.check_ends()?;
        if self.log && self.from <= 0.0 {
            return Err(RangeError::NoLogarithm(self.from));
        }
        let places = Places { from: self.from, to: self.to, log: self.log, grid: self.grid };
        let possible = places.possible();
        let wanted = match self.levels {
            None => places.round_number(),
            Some(n) if !(2..=MOST_LEVELS).contains(&n) => {
                return Err(RangeError::Levels(i64::try_from(n).unwrap_or(i64::MAX)));
            }
            Some(n) => n,
        };
        if let Some(count) = possible.filter(|&count| count < wanted as f64) {
            let (from, to) = (self.from, self.to);
            return Err(RangeError::TooFewWhole { levels: wanted, count, from, to, reals: !self.log });
        }
        self.ascending(places.levels(wanted))
    }

    /// The levels that are a step apart.
    ///
    /// # Errors
    /// Refuses a step that does not lead from one end to the other.
    pub fn stepped(&self, step: f64) -> Result<Vec<f64>, RangeError> {
        self.check_ends()?;
        let (from, to) = (self.from, self.to);
        if step.is_nan() || step <= 0.0 {
            return Err(RangeError::StepNotPositive(step));
        }
        let exact = to / step - from / step;
        let steps = exact.round();
        if exact < 1.0 - NEARLY {
            return Err(RangeError::StepTooLarge { step, from, to });
        }
        if !(1.0..MOST_LEVELS as f64).contains(&steps) {
            return Err(RangeError::TooManySteps { step, levels: exact.floor() + 1.0 });
        }
        let places = Places { from, to, log: false, grid: Some(step) };
        if (exact - steps).abs() > NEARLY {
            let (below, above) =
                (places.possible_number(exact.floor()), places.possible_number(exact.ceil()));
            return Err(RangeError::StepDoesNotFit { step, from, to, below, above });
        }
        let between = (1..steps as u32).map(|i| places.possible_number(f64::from(i)));
        self.ascending(places.with_ends(between.collect()))
    }

    fn check_ends(&self) -> Result<(), RangeError> {
        let (from, to) = (self.from, self.to);
        if let Some(&end) = [from, to].iter().find(|end| !end.is_finite()) {
            return Err(RangeError::NotFinite(end));
        }
        if from > to {
            return Err(RangeError::Reversed { from, to });
        }
        if from == to {
            return Err(RangeError::Equal { end: said(from) });
        }
        let beyond = [from, to].into_iter().find(|end| end.abs() > LARGEST_WHOLE);
        match beyond.filter(|_| self.grid.is_some()) {
            Some(end) => Err(RangeError::WholeTooLarge(end)),
            None => Ok(()),
        }
    }

    fn ascending(&self, levels: Vec<f64>) -> Result<Vec<f64>, RangeError> {
        if levels.is_sorted_by(|a, b| a < b) {
            // Zero has one sign.
            return Ok(levels.into_iter().map(|level| level + 0.0).collect());
        }
        Err(RangeError::Collide { levels: levels.len(), from: self.from, to: self.to })
    }
}

/// A step fits where it misses the end by no more than this share of itself: decimal fractions are not exact.
const NEARLY: f64 = 1e-6;

/// Adds values that must be levels, such as those that a condition names. A level that a value is nearly at, the ends left out,
/// gives way to it.
pub(super) fn with_values(mut levels: Vec<f64>, values: &[f64]) -> Vec<f64> {
    let mut kept: Vec<f64> = values.to_vec();
    kept.extend([levels[0], levels[levels.len() - 1]]);
    for &value in values {
        let above = levels.partition_point(|&level| level < value);
        if above == 0 || above == levels.len() || levels[above] == value {
            continue;
        }
        let near = (levels[above] - levels[above - 1]) * levels::NEAR;
        let replaced = [above - 1, above]
            .into_iter()
            .find(|&at| (levels[at] - value).abs() <= near && !kept.contains(&levels[at]));
        match replaced {
            Some(at) => levels[at] = value,
            None => levels.insert(above, value),
        }
    }
    levels
}

/// A level as JSON has it.
pub(super) fn json(level: f64, whole: bool) -> serde_json::Value {
    if whole { (level as i64).into() } else { level.into() }
}
