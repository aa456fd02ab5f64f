//! How a user steers a search by an oracle: what comes first, what ends it, and where each measurement runs.

use super::{Usage, config::LiveConfig};
use clap::Args;
use srnas_oracle::{
    command::SlotVariables,
    curves::{MedianRule, RuleError},
};
use srnas_search::{Ends, Limit};
use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
};

/// What a search begins with, and what ends it before its budget does.
#[derive(Debug, Default, Args)]
pub struct SteeringArguments {
    /// With --oracle, first points of your own: JSON lines or CSV, an architecture each; those with values were measured elsewhere
    /// and inform the search without being paid for, the others are measured first
    #[arg(long, value_name = "FILE", requires = "live")]
    pub start: Option<PathBuf>,
    /// With --oracle, begin no measurement after so long, such as 8h or 90m; those that run then are waited for [default: none]
    #[arg(long, value_name = "TIME", requires = "live")]
    pub time_limit: Option<humantime::Duration>,
    /// With --time-limit, give up after so long again what runs then, such as 10m; --resume takes a program's up first [default: never]
    #[arg(long, value_name = "TIME", requires = "time_limit")]
    pub grace: Option<humantime::Duration>,
    /// With --oracle, end when a full training keeps this limit on any metric that it reports, such as 'loss <= 0.01'; given several
    /// times, when one keeps them all. `never` takes back what the search was begun with
    #[arg(long, value_name = "LIMIT|never", requires = "live")]
    stop_when: Vec<StopWhen>,
    /// With --oracle, end when so many full trainings, or as many shorter ones as cost the same, brought nothing better; 0 is never
    #[arg(long, value_name = "N", requires = "live")]
    no_gain: Option<u32>,
    /// With --oracle, end after so many measurements without a value, with exit status 1; what was measured is kept [default:
    /// never]
    #[arg(long, value_name = "N", requires = "live", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_failures: Option<u32>,
}

/// How a training that is surely worse is stopped early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StopEarly {
    /// By this rule.
    By(MedianRule),
    /// Not at all.
    Never,
}

impl StopEarly {
    /// The rule, if there is one.
    pub fn rule(self) -> Option<MedianRule> {
        match self {
            Self::By(rule) => Some(rule),
            Self::Never => None,
        }
    }
}

impl FromStr for StopEarly {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "never" => Ok(Self::Never),
            text => text.parse().map(Self::By),
        }
    }
}

/// A limit at which a search ends.
#[derive(Clone, Debug, PartialEq)]
enum StopWhen {
    At(Limit),
    Never,
}

impl FromStr for StopWhen {
    type Err = <Limit as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "never" => Ok(Self::Never),
            text => text.parse().map(Self::At),
        }
    }
}

impl SteeringArguments {
    /// The limits that end the search; none at all where `never` was said, nothing where nothing was.
    pub fn stop_when(&self) -> anyhow::Result<Option<Vec<Limit>>> {
        if self.stop_when.is_empty() {
            return Ok(None);
        }
        if self.stop_when.len() > 1 && self.stop_when.contains(&StopWhen::Never) {
            return Err(Usage("--stop-when never goes with no other --stop-when".into()).into());
        }
        let limit = |stop: &StopWhen| match stop {
            StopWhen::At(limit) => Some(limit.clone()),
            StopWhen::Never => None,
        };
        Ok(Some(self.stop_when.iter().filter_map(limit).collect()))
    }

    /// After how many without a gain the search ends; nothing where nothing was said.
    pub fn no_gain(&self) -> Option<Option<u32>> {
        self.no_gain.map(|n| (n > 0).then_some(n))
    }

    /// What ends a search of this configuration before its budget.
    pub fn ends(&self, config: &LiveConfig, drain: Arc<AtomicBool>) -> anyhow::Result<Ends> {
        if self.time_limit.is_some_and(|time| time.is_zero()) {
            return Err(Usage("--time-limit 0s: nothing would be measured".into()).into());
        }
        Ok(Ends {
            failures: self.max_failures.map(|most| most as usize),
            time: self.time_limit.map(Into::into),
            grace: self.grace.map(Into::into),
            reached: config.stop_when.clone(),
            no_gain: config.no_gain.map(|n| n as usize),
            drain,
        })
    }

    /// What of these is to be said again by who goes on.
    pub fn again(&self) -> String {
        let mut again = String::new();
        if let Some(most) = self.max_failures {
            again += &format!(" --max-failures {most}");
        }
        if let Some(time) = self.time_limit {
            again += &format!(" --time-limit {}", time.to_string().replace(' ', ""));
        }
        if let Some(grace) = self.grace {
            again += &format!(" --grace {}", grace.to_string().replace(' ', ""));
        }
        again
    }
}

/// The variables of each slot, from the file that `--slots-env` names.
pub fn read_slots(path: Option<&Path>) -> anyhow::Result<Option<SlotVariables>> {
    let Some(path) = path else { return Ok(None) };
    let wrong = |reason: String| Usage(format!("--slots-env {}: {reason}", path.display()));
    let text = fs::read_to_string(path).map_err(|e| wrong(format!("it cannot be read: {e}")))?;
    Ok(Some(SlotVariables::read(&text).map_err(|e| wrong(e.to_string()))?))
}

/// How many measurements are made at a time, where that is said or there are slots with variables.
///
/// # Errors
/// Where there are fewer slots than that.
pub fn slots_for(slots: &SlotVariables, parallel: Option<u16>) -> anyhow::Result<Option<u16>> {
    match (slots.len(), parallel) {
        (0, parallel) => Ok(parallel),
        (lines, Some(parallel)) if lines < usize::from(parallel) => Err(Usage(format!(
            "--slots-env has {lines} {}, and --parallel {parallel} needs one line for each",
            if lines == 1 { "line" } else { "lines" }
        ))
        .into()),
        (_, Some(parallel)) => Ok(Some(parallel)),
        (lines, None) => u16::try_from(lines)
            .ok()
            .filter(|lines| *lines <= 1024)
            .map(Some)
            .ok_or_else(|| Usage(format!("--slots-env has {lines} lines, and 1024 are the most")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_line_for_each_measurement_at_a_time() {
        let of = |text: &str| SlotVariables::read(text).unwrap();
        assert_eq!(slots_for(&SlotVariables::default(), Some(4)).unwrap(), Some(4));
        assert_eq!(slots_for(&SlotVariables::default(), None).unwrap(), None);
        assert_eq!(slots_for(&of("A=1\nA=2"), None).unwrap(), Some(2));
        assert_eq!(slots_for(&of("A=1\nA=2"), Some(1)).unwrap(), Some(1));
        let error = slots_for(&of("A=1\nA=2"), Some(3)).unwrap_err().to_string();
        assert!(error.contains("2 lines, and --parallel 3"), "{error}");
        assert!(slots_for(&of(&"A=1\n".repeat(1025)), None).is_err());
    }

    #[test]
    fn what_ends_a_search_is_taken_back_by_never_and_by_nought() {
        let given = |stop: &[&str], no_gain| SteeringArguments {
            stop_when: stop.iter().map(|text| text.parse().unwrap()).collect(),
            no_gain,
            ..SteeringArguments::default()
        };
        assert_eq!(given(&[], None).stop_when().unwrap(), None);
        assert_eq!(given(&["never"], None).stop_when().unwrap(), Some(vec![]));
        assert_eq!(given(&["a <= 1", "b >= 2"], None).stop_when().unwrap().unwrap().len(), 2);
        assert!(given(&["a <= 1", "never"], None).stop_when().is_err());
        assert!("a < 1".parse::<StopWhen>().unwrap_err().to_string().contains("is no limit"));
        let no_gain = [None, Some(0), Some(5)].map(|n| given(&[], n).no_gain());
        assert_eq!(no_gain, [None, Some(None), Some(Some(5))]);
    }
}
