//! Hyperparameters of a ConfigSpace, and the values that they become.

use super::super::range::{MOST_LEVELS, Range, json, with_values};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(super) struct Hyperparameter {
    pub name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    choices: Vec<Value>,
    #[serde(default)]
    sequence: Vec<Value>,
    value: Option<Value>,
    lower: Option<f64>,
    upper: Option<f64>,
    /// Distance of the grid.
    q: Option<f64>,
    /// Some write `null` for no.
    log: Option<bool>,
    #[serde(alias = "default")]
    default_value: Option<Value>,
}

/// How a number is drawn.
#[derive(Clone, Copy, PartialEq)]
enum Distribution {
    Uniform,
    /// One that prefers some values.
    Other,
}

impl Hyperparameter {
    /// Whether its values stand in an order.
    pub fn is_ordered(&self) -> bool {
        matches!(self.kind(), "ordinal") || self.number().is_some()
    }

    /// The name of its type as `to_json` writes it; programs of their own write that of the class.
    fn kind(&self) -> &str {
        match self.kind.as_str() {
            "UniformFloatHyperparameter" => "uniform_float",
            "UniformIntegerHyperparameter" => "uniform_int",
            "NormalFloatHyperparameter" => "normal_float",
            "NormalIntegerHyperparameter" => "normal_int",
            "BetaFloatHyperparameter" => "beta_float",
            "BetaIntegerHyperparameter" => "beta_int",
            "CategoricalHyperparameter" => "categorical",
            "OrdinalHyperparameter" => "ordinal",
            "Constant" => "constant",
            "UnParametrizedHyperparameter" => "unparametrized",
            other => other,
        }
    }

    /// Where it is a number: whether it is whole, and how it is drawn.
    fn number(&self) -> Option<(bool, Distribution)> {
        match self.kind() {
            "uniform_int" => Some((true, Distribution::Uniform)),
            "uniform_float" => Some((false, Distribution::Uniform)),
            "normal_int" | "beta_int" => Some((true, Distribution::Other)),
            "normal_float" | "beta_float" => Some((false, Distribution::Other)),
            _ => None,
        }
    }

    /// Its values, and for a notice how they stand for a range, where they are only some of it. Numbers that are `named` are
    /// among them.
    ///
    /// # Errors
    /// Says what about it is not understood.
    pub fn choices(&self, named: &[f64]) -> Result<(Vec<Value>, Option<String>), String> {
        let name = &self.name;
        if let Some((whole, distribution)) = self.number() {
            return self.numbers(whole, distribution, named);
        }
        match self.kind() {
            "categorical" => Ok((self.choices.clone(), None)),
            "ordinal" => Ok((self.sequence.clone(), None)),
            "constant" | "unparametrized" => Ok((self.value.iter().cloned().collect(), None)),
            kind => Err(format!(
                "`{name}` is a {kind} hyperparameter; a search space has categorical, ordinal, integer, float and constant ones"
            )),
        }
    }

    fn numbers(
        &self,
        whole: bool,
        distribution: Distribution,
        named: &[f64],
    ) -> Result<(Vec<Value>, Option<String>), String> {
        let name = &self.name;
        let (Some(lower), Some(upper)) = (self.lower, self.upper) else {
            let kind = self.kind();
            let lacks = match distribution {
                Distribution::Uniform => format!("`{name}` has no lower or no upper end"),
                Distribution::Other => {
                    format!("`{name}` is a {kind} hyperparameter without lower and upper end")
                }
            };
            return Err(format!("{lacks}; give it both, or make it an ordinal one with the values to try"));
        };
        let step = self.q.filter(|&q| q > 0.0).or(whole.then_some(1.0));
        // The end belongs to the grid also where the division is a hair short.
        let steps = step.map(|step| ((upper - lower) / step + 1e-9).floor());
        if let (Some(step), Some(steps)) = (step, steps)
            && (0.0..MOST_LEVELS as f64).contains(&steps)
        {
            let value = |i: u32| {
                let value = lower + f64::from(i) * step;
                if whole {
                    Value::from(value.round() as i64)
                } else {
                    Value::from((value * 1e12).round() / 1e12)
                }
            };
            return Ok(((0..=steps as u32).map(value).collect(), None));
        }
        let (from, to) = match (step, steps) {
            (Some(step), Some(steps)) if whole => (lower.round(), (lower + steps * step).round()),
            (Some(step), Some(steps)) => (lower, lower + steps * step),
            _ => (lower, upper),
        };
        let log = self.log.unwrap_or(false);
        let range = Range { from, to, log, grid: step, levels: None };
        let levels = range
            .levels()
            .map_err(|e| format!("`{name}`: {e}; or make it an ordinal one with the values to try"))?;
        let default = self.default_value.as_ref().and_then(Value::as_f64);
        let possible = |value: &f64| step.is_none_or(|step| is_whole((value - from) / step));
        let kept: Vec<f64> = named.iter().copied().chain(default).filter(possible).collect();
        let levels = with_values(levels, &kept);
        let mut how = format!("`{name}` {}", levels.len());
        if let (Some(steps), true) = (steps, whole) {
            how += &format!(" of {}", steps + 1.0);
        }
        match (log, distribution) {
            (true, Distribution::Uniform) => how += " (log)",
            (true, Distribution::Other) => how += " (log, its distribution left out)",
            (false, Distribution::Other) => how += " (its distribution left out)",
            (false, Distribution::Uniform) => {}
        }
        Ok((levels.into_iter().map(|level| json(level, whole)).collect(), Some(how)))
    }
}

/// Whether a number of steps is whole, but for the rounding of floats.
fn is_whole(steps: f64) -> bool {
    (steps - steps.round()).abs() <= 1e-6
}
