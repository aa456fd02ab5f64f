//! What is simulated on top of a run's oracle, so that one machine shows what a run on costly measurements would do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::WrongValue;
use std::{fmt, str::FromStr, time::Duration};

/// What is simulated on top of the oracle: every actor of the run does the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    /// How long a measurement takes; nothing: as long as it takes.
    pub latency: Option<Latency>,
    /// Standard deviation of the noise of a measurement, as a share of the task's gap (best − median).
    pub noise: f64,
    /// Share of the measurements that fail: such an architecture counts as not in the table.
    pub failures: f64,
}

impl SimulationConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the first key that makes no sense.
    pub fn check(&self) -> Result<(), WrongValue> {
        let wrong = |key, reason: &str| Err(WrongValue { key, reason: reason.into() });
        if !(0.0..=10.0).contains(&self.noise) {
            return wrong("simulation.noise", "must be a share of the gap (best − median) from 0 to 10");
        }
        if !(0.0..1.0).contains(&self.failures) {
            return wrong("simulation.failures", "must be a share from 0 to below 1");
        }
        Ok(())
    }
}

/// How long a measurement takes.
///
/// Written as `20ms`, as `lognormal:20ms:0.5` (median and deviation of the logarithm), or as
/// `column:cifar10/train_time*0.001` (a metric of the run's benchmark in seconds, and what it is multiplied with).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Log-normal: most are near the median, a few take much longer.
    LogNormal {
        /// Half of the measurements take less.
        median: Duration,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// What the benchmark says that the architecture takes, scaled.
    Column {
        /// Full name of a metric in seconds, such as `cifar10/train_time`.
        metric: String,
        /// Factor.
        scale: f64,
    },
}

/// A text that is not a latency.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "`{text}` is not a latency: {reason}; expected a time such as 20ms, lognormal:MEDIAN:SIGMA such as \
     lognormal:20ms:0.5, or column:METRIC*SCALE such as column:cifar10/train_time*0.001"
)]
pub struct LatencyError {
    text: String,
    reason: String,
}

/// A simulation that waits for longer is surely a mistake.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Beyond it one measurement in a thousand takes more than a million times the median.
const MOST_SIGMA: f64 = 5.0;

impl FromStr for Latency {
    type Err = LatencyError;

    fn from_str(text: &str) -> Result<Self, LatencyError> {
        let error = |reason: String| LatencyError { text: text.into(), reason };
        let time = |part: &str| match humantime::parse_duration(part) {
            Ok(time) if time <= LONGEST => Ok(time),
            Ok(_) => Err(error(format!("{part} is more than a day"))),
            Err(e) => Err(error(format!("`{part}` is not a time ({e})"))),
        };
        let number = |part: &str, name: &str| {
            part.parse::<f64>().map_err(|_| error(format!("the {name} `{part}` is not a number")))
        };
        if let Some(rest) = text.strip_prefix("lognormal:") {
            let (median, sigma) =
                rest.split_once(':').ok_or_else(|| error("there is no sigma after the median".into()))?;
            let (median, sigma) = (time(median)?, number(sigma, "sigma")?);
            if !(0.0..=MOST_SIGMA).contains(&sigma) {
                return Err(error(format!("the sigma {sigma} is not from 0 to {MOST_SIGMA}")));
            }
            Ok(Self::LogNormal { median, sigma })
        } else if let Some(rest) = text.strip_prefix("column:") {
            let (metric, scale) =
                rest.rsplit_once('*').ok_or_else(|| error("there is no *SCALE after the metric".into()))?;
            let scale = number(scale, "scale")?;
            if metric.is_empty() {
                return Err(error("there is no metric".into()));
            }
            if !(scale.is_finite() && scale > 0.0) {
                return Err(error(format!("the scale {scale} is not above 0")));
            }
            Ok(Self::Column { metric: metric.into(), scale })
        } else {
            Ok(Self::Constant(time(text)?))
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the spaces between units: `1s500ms` needs no quotes in a shell.
        let time = |time: &Duration| humantime::format_duration(*time).to_string().replace(' ', "");
        match self {
            Self::Constant(latency) => f.write_str(&time(latency)),
            Self::LogNormal { median, sigma } => write!(f, "lognormal:{}:{sigma}", time(median)),
            Self::Column { metric, scale } => write!(f, "column:{metric}*{scale}"),
        }
    }
}

impl TryFrom<String> for Latency {
    type Error = LatencyError;

    fn try_from(text: String) -> Result<Self, LatencyError> {
        text.parse()
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        latency.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn latencies_are_read_and_written_back() {
        let ms = Duration::from_millis;
        for (text, latency) in [
            ("20ms", Latency::Constant(ms(20))),
            ("0s", Latency::Constant(Duration::ZERO)),
            ("1s500ms", Latency::Constant(ms(1500))),
            ("250us", Latency::Constant(Duration::from_micros(250))),
            ("lognormal:20ms:0.5", Latency::LogNormal { median: ms(20), sigma: 0.5 }),
            (
                "column:cifar10/train_time*0.00001",
                Latency::Column { metric: "cifar10/train_time".into(), scale: 1e-5 },
            ),
        ] {
            assert_eq!(text.parse::<Latency>().unwrap(), latency, "{text}");
            assert_eq!(latency.to_string().parse::<Latency>().unwrap(), latency, "{latency}");
            let config = SimulationConfig { latency: Some(latency), noise: 0.1, failures: 0.05 };
            let config = Config { simulation: config, ..Config::default() };
            assert_eq!(Config::parse(&config.to_toml(), "x").unwrap(), config);
        }
        assert_eq!("20 ms".parse(), Ok(Latency::Constant(ms(20))));
        assert_eq!(Latency::Constant(ms(1500)).to_string(), "1s500ms");
    }

    #[test]
    fn what_is_no_latency_is_refused_with_the_reason_and_the_grammar() {
        for (text, reason) in [
            ("", "not a time"),
            ("20", "not a time"),
            ("-20ms", "not a time"),
            ("2days", "more than a day"),
            ("99999999999999999999s", "not a time"),
            ("lognormal:20ms", "no sigma"),
            ("lognormal:x:0.5", "`x` is not a time"),
            ("lognormal:20ms:x", "`x` is not a number"),
            ("lognormal:20ms:-1", "not from 0 to 5"),
            ("lognormal:20ms:nan", "not from 0 to 5"),
            ("column:cifar10/train_time", "no *SCALE"),
            ("column:*1", "no metric"),
            ("column:a/b*x", "`x` is not a number"),
            ("column:a/b*0", "not above 0"),
            ("column:a/b*inf", "not above 0"),
            ("gamma:20ms:1", "not a time"),
        ] {
            let error = text.parse::<Latency>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("lognormal:MEDIAN:SIGMA") && error.contains("column:METRIC*SCALE"));
        }
    }

    #[test]
    fn senseless_simulations_are_refused_by_key_or_line() {
        for (text, part) in [
            ("noise = -0.1", "simulation.noise"),
            ("noise = nan", "simulation.noise"),
            ("failures = 1.0", "simulation.failures"),
            ("latency = 'soon'", "`soon` is not a latency"),
            ("latency = 'soon'", "line 2"),
            ("nois = 1", "did you mean `noise`"),
        ] {
            let error = Config::parse(&format!("[simulation]\n{text}"), "x").unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
