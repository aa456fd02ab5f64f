//! A range as the file of a space has it.

use super::{LARGEST_WHOLE, Range, RangeError, json};
use toml::Value;

/// What a decision says of its numbers.
#[derive(Clone, Copy)]
pub(in super::super) struct Written<'a> {
    pub range: &'a Value,
    pub log: Option<bool>,
    pub levels: Option<&'a Value>,
    pub step: Option<&'a Value>,
}

impl Written<'_> {
    /// The levels: whole numbers where the ends and the step are.
    ///
    /// # Errors
    /// Says what is wrong with the range.
    pub fn choices(self) -> Result<Vec<serde_json::Value>, RangeError> {
        let [first, last] = self.range.as_array().map(Vec::as_slice).unwrap_or_default() else {
            let found = match self.range.as_array() {
                Some(numbers) => numbers.len().to_string(),
                None => self.range.to_string(),
            };
            return Err(RangeError::NotTwo(found));
        };
        let (from, to) = (number("range", first)?, number("range", last)?);
        let log = self.log.unwrap_or(false);
        let whole = [Some(first), Some(last), self.step].into_iter().flatten().all(Value::is_integer);
        // As floats, neighbours of the largest are the same.
        let too_large =
            |end: &&Value| end.as_integer().is_some_and(|end| end.unsigned_abs() > LARGEST_WHOLE as u64);
        if let Some(end) = [first, last].iter().find(|end| whole && too_large(end)) {
            return Err(RangeError::WholeTooLarge(number("range", end)?));
        }
        let levels = match self.levels {
            None => None,
            Some(Value::Integer(n)) => Some(usize::try_from(*n).map_err(|_| RangeError::Levels(*n))?),
            Some(other) => {
                let wanted = "number of levels, such as 8";
                return Err(RangeError::NoNumber { key: "levels", found: other.to_string(), wanted });
            }
        };
        let range = Range { from, to, log, grid: whole.then_some(1.0), levels };
        let levels = match self.step {
            Some(_) if log => return Err(RangeError::LogWithStep),
            Some(_) if levels.is_some() => return Err(RangeError::StepWithLevels),
            Some(step) => range.stepped(number("step", step)?)?,
            None => range.levels()?,
        };
        Ok(levels.into_iter().map(|level| json(level, whole)).collect())
    }
}

fn number(key: &'static str, value: &Value) -> Result<f64, RangeError> {
    match value {
        Value::Integer(whole) => Ok(*whole as f64),
        Value::Float(real) => Ok(*real),
        other => Err(RangeError::NoNumber { key, found: other.to_string(), wanted: "number" }),
    }
}
