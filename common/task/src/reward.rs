//! Rewards that trade one metric against what an architecture costs, as products.
//!
//! MnasNet (Tan et al., arXiv 1807.11626, equations 2 and 3) maximises accuracy · (latency / target)^w, with one exponent within the target
//! and another beyond it: hard, 0 and −1; soft, −0.07 in both. ProxylessNAS (Cai et al., arXiv 1812.00332) has the same form
//! with one exponent, −0.1 in its published code. Written `accuracy*(latency_ms/12)^-0.07` and `accuracy*(latency_ms/12)^(0|-1)`.

use std::{fmt, str::FromStr};

/// A text up to its first factor, and from there on: a factor is opened by `*(`, with or without spaces between, which no sum of metrics
/// has.
fn opened(text: &str) -> Option<(&str, &str)> {
    text.match_indices('*')
        .find_map(|(star, _)| Some((&text[..star], text[star + 1..].trim_start().strip_prefix('(')?)))
}

/// (metric / target)^w, where w is one exponent up to the target and may be another beyond it.
#[derive(Clone, Debug, PartialEq)]
pub struct Factor {
    /// What an architecture costs.
    pub metric: String,
    target: f64,
    within: f64,
    beyond: f64,
}

/// A metric times at least one factor.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    /// The metric that is traded against the others.
    pub metric: String,
    factors: Vec<Factor>,
}

/// A text that is no reward.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is no reward: {reason}; write METRIC*(COST/TARGET)^EXPONENT, as in 'accuracy*(latency_ms/12)^-0.07', or two exponents, \
     within the target and beyond it, as in 'accuracy*(latency_ms/12)^(0|-1)'"
)]
pub struct RewardError {
    text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Factor {
    /// The factor where the metric has this value; 1 at the target.
    ///
    /// # Errors
    /// Why a value has none: it is not above 0, no number, or the power is too large for any number.
    pub fn of(&self, value: f64) -> Result<f64, String> {
        if value.is_nan() || value.is_infinite() || value <= 0.0 {
            return Err(format!(
                "{}, and ({}/{})^… is of numbers above 0",
                said(value),
                self.metric,
                self.target
            ));
        }
        let exponent = if value <= self.target { self.within } else { self.beyond };
        let power = (value / self.target).powf(exponent);
        if power.is_finite() { Ok(power) } else { Err(format!("{}, and {self} is too large", said(value))) }
    }

    /// The same of a metric under another name.
    pub fn over(&self, metric: String) -> Self {
        Self { metric, ..self.clone() }
    }
}

fn said(value: f64) -> String {
    if value.is_nan() { "is not a number".into() } else { format!("is {value}") }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, target, within, beyond } = self;
        write!(f, "({metric}/{target})^")?;
        if within == beyond { write!(f, "{within}") } else { write!(f, "({within}|{beyond})") }
    }
}

impl FromStr for Factor {
    type Err = String;

    /// Of a text without the bracket that opens it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (inner, exponent) =
            text.split_once(")^").ok_or_else(|| format!("`({text}` has no `)^` with an exponent"))?;
        let (metric, target) =
            inner.rsplit_once('/').ok_or_else(|| format!("`({inner})` has no target after a slash"))?;
        let (metric, exponent) = (metric.trim(), exponent.trim());
        if metric.is_empty() {
            return Err(format!("`({inner})` names no metric"));
        }
        let number = |what: &str, text: &str| {
            let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| format!("{what} `{}` is not a number", text.trim()))
        };
        let target = number("the target", target)?;
        if target <= 0.0 {
            return Err(format!("the target {target} is not above 0"));
        }
        let two = exponent.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let (within, beyond) = match two.and_then(|text| text.split_once('|')) {
            Some((within, beyond)) => (number("the exponent", within)?, number("the exponent", beyond)?),
            None => {
                let exponent = number("the exponent", exponent)?;
                (exponent, exponent)
            }
        };
        // Not -0, which would be written otherwise than it is read.
        Ok(Self { metric: metric.into(), target, within: within + 0.0, beyond: beyond + 0.0 })
    }
}

impl Reward {
    /// Whether a text is meant to be one.
    pub fn is_meant(text: &str) -> bool {
        opened(text).is_some()
    }

    /// What the metric is multiplied by; at least one.
    pub fn factors(&self) -> &[Factor] {
        &self.factors
    }

    /// The metric, then those of the factors.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        [self.metric.as_str()].into_iter().chain(self.factors.iter().map(|factor| factor.metric.as_str()))
    }

    /// The reward where the metrics have these values.
    ///
    /// # Errors
    /// What `value` says of one, and why a product of these has no meaning: a metric that is below 0, which a smaller factor would make
    /// better, or a cost that is not above 0.
    pub fn of(&self, mut value: impl FnMut(&str) -> Result<f64, String>) -> Result<f64, String> {
        let about = |metric: &str, reason| format!("its metric `{metric}` {reason}");
        let mut product = traded(value(&self.metric)?).map_err(|reason| about(&self.metric, reason))?;
        for factor in &self.factors {
            product *= factor.of(value(&factor.metric)?).map_err(|reason| about(&factor.metric, reason))?;
        }
        Ok(product)
    }
}

/// The value of a metric that is to be multiplied; or why it cannot be.
///
/// # Errors
/// What is below 0 or no number.
pub fn traded(value: f64) -> Result<f64, String> {
    match value >= 0.0 {
        true => Ok(value),
        false => Err(format!(
            "{}, and a product is of numbers from 0 on: below, dearer would be better",
            said(value)
        )),
    }
}

impl fmt::Display for Reward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        self.factors.iter().try_for_each(|factor| write!(f, "*{factor}"))
    }
}

impl FromStr for Reward {
    type Err = RewardError;

    fn from_str(text: &str) -> Result<Self, RewardError> {
        let error = |reason: String| RewardError { text: text.into(), reason };
        let (metric, mut rest) = opened(text).ok_or_else(|| error("nothing is multiplied".into()))?;
        let metric = metric.trim();
        if metric.is_empty() {
            return Err(error("it begins with no metric".into()));
        }
        let mut factors = Vec::new();
        loop {
            let (factor, more) = opened(rest).map_or((rest, None), |(factor, more)| (factor, Some(more)));
            factors.push(factor.trim().parse().map_err(error)?);
            let Some(more) = more else { break };
            rest = more;
        }
        Ok(Self { metric: metric.into(), factors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reward(text: &str, accuracy: f64, latency: f64) -> Result<f64, String> {
        let values = [("accuracy", accuracy), ("net/ms", latency)];
        let value = |metric: &str| Ok(values.iter().find(|(name, _)| *name == metric).unwrap().1);
        text.parse::<Reward>().unwrap().of(value)
    }

    #[test]
    fn rewards_are_those_of_the_papers() {
        // Hard: accuracy within the target, accuracy · target / latency beyond it.
        let hard = "accuracy*(net/ms/80)^(0|-1)";
        for (latency, expected) in [(20.0, 75.0), (80.0, 75.0), (160.0, 37.5), (120.0, 50.0)] {
            assert!((reward(hard, 75.0, latency).unwrap() - expected).abs() < 1e-12, "{latency}");
        }
        // Soft: twice the latency costs 5 % of the accuracy, by which the exponent was chosen: 2^-0.07 = 0.9526.
        let soft = "accuracy*(net/ms/80)^-0.07";
        assert!((reward(soft, 75.0, 160.0).unwrap() - 75.0 * 0.952_637_998).abs() < 1e-6);
        assert!((reward(soft, 75.0, 40.0).unwrap() - 75.0 * 1.049_716_684).abs() < 1e-6);
        assert_eq!(reward(soft, 75.0, 80.0), Ok(75.0));
        // Several costs multiply; a loss that is minimised is made dearer.
        let two = "accuracy*(net/ms/10)^-1*(net/ms/5)^2";
        assert_eq!(reward(two, 3.0, 20.0), Ok(3.0 * 0.5 * 16.0));
    }

    #[test]
    fn a_reward_is_written_as_it_is_read() {
        for (text, written) in [
            ("accuracy*(ms/12)^-0.07", "accuracy*(ms/12)^-0.07"),
            (
                " val/clean *( cost/latency_ms / 1.50 )^( 0 | -1e0 ) ",
                "val/clean*(cost/latency_ms/1.5)^(0|-1)",
            ),
            ("a*(b/1e-3)^(-0.07|-0.07)*(c/2)^-0", "a*(b/0.001)^-0.07*(c/2)^0"),
        ] {
            let reward: Reward = text.parse().unwrap();
            assert_eq!(reward.to_string(), written);
            assert_eq!(written.parse::<Reward>().unwrap(), reward);
            assert!(Reward::is_meant(text));
        }
        for sum in ["val-0.15*log(edgegpu_latency)", "val+2*cost", "a*b", "(a)*b"] {
            assert!(!Reward::is_meant(sum), "{sum}");
        }
        for (text, says) in [
            ("accuracy", "nothing is multiplied"),
            ("*(ms/2)^1", "begins with no metric"),
            ("accuracy*(ms/0)^-1", "target 0 is not above 0"),
            ("accuracy*(ms/-3)^-1", "target -3 is not above 0"),
            ("accuracy*(ms/nan)^-1", "target `nan` is not a number"),
            ("accuracy*(ms/inf)^-1", "not a number"),
            ("accuracy*(ms)^-1", "no target after a slash"),
            ("accuracy*(/3)^-1", "names no metric"),
            ("accuracy*(ms/3)", "no `)^`"),
            ("accuracy*(ms/3)^", "exponent `` is not a number"),
            ("accuracy*(ms/3)^nan", "exponent `nan`"),
            ("accuracy*(ms/3)^(0|)", "exponent `` is not a number"),
            ("accuracy*(ms/3)^(0)", "exponent `(0)`"),
            ("accuracy*(ms/3)^-1-0.1*log(x)", "exponent `-1-0.1*log(x)`"),
        ] {
            let error = text.parse::<Reward>().unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("METRIC*(COST/TARGET)^EXPONENT"), "{error}");
        }
    }

    #[test]
    fn what_has_no_power_or_no_sense_in_a_product_is_said() {
        let of = |accuracy, latency| reward("accuracy*(net/ms/80)^-0.07", accuracy, latency).unwrap_err();
        for latency in [0.0, -0.0, -3.0, f64::NAN, f64::INFINITY] {
            let said = of(75.0, latency);
            assert!(
                said.starts_with("its metric `net/ms` is ") && said.contains("numbers above 0"),
                "{said}"
            );
        }
        assert!(of(-1.0, 80.0).contains("its metric `accuracy` is -1"));
        assert!(of(f64::NAN, 80.0).contains("is not a number"));
        assert!(reward("accuracy*(net/ms/1e-300)^9", 1.0, 1.0).unwrap_err().contains("too large"));
        // Nothing right is worth nothing, however fast.
        assert_eq!(reward("accuracy*(net/ms/80)^-0.07", 0.0, 1.0), Ok(0.0));
    }
}
