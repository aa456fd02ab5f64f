//! What a search is after: metrics to be maximised or minimised, and limits on metrics.

use serde::{Deserialize, Serialize};
use srnas_basics::text::number;
use srnas_oracle::costly::{self, Answer};
use srnas_task::{Reward, RewardError};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Most objectives and limits: beyond a handful, nearly everything is on the front.
const MOST: usize = 8;

/// Which metric is searched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Its name; of a [`Reward`] its text, under which it is a metric that is computed from others.
    pub metric: String,
    /// Whether less is better.
    #[serde(default)]
    pub minimise: bool,
}

impl Objective {
    /// A metric, or a reward, which is named as it is written and not as it was typed.
    pub fn new(metric: &str, minimise: bool) -> Self {
        let reward = Some(metric).filter(|text| Reward::is_meant(text)).and_then(|text| text.parse().ok());
        Self { metric: reward.map_or_else(|| metric.into(), |reward: Reward| reward.to_string()), minimise }
    }

    /// The reward that it is, if it is one.
    pub fn reward(&self) -> Option<Reward> {
        self.metric.parse().ok().filter(|_| Reward::is_meant(&self.metric))
    }

    /// What is maximised where the metric has this value.
    pub fn maximised(&self, value: f64) -> f64 {
        // Not its negative, which would make a minus nought of nought.
        if self.minimise { 0.0 - value } else { value }
    }

    /// The value that is maximised; or why the answer has none.
    ///
    /// # Errors
    /// The reason of an infeasible answer; a metric that is missing or not a number.
    pub fn value(&self, answer: &Answer) -> Result<f64, String> {
        match answer {
            Answer::Metrics(metrics) => Ok(self.maximised(costly::searched(metrics, &self.metric)?)),
            Answer::Infeasible(reason) => Err(reason.clone()),
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.minimise { "-" } else { "" })?;
        f.write_str(&self.metric)
    }
}

/// What a metric must not be beyond, as `latency_ms <= 12` or `accuracy >= 90`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Limit {
    /// The metric.
    pub metric: String,
    /// Whether it may not be more than the bound, or not less.
    pub at_most: bool,
    /// The bound.
    pub bound: f64,
}

impl Limit {
    /// How far a value is within the limit, in the metric's unit: below 0 it breaks it.
    pub fn slack(&self, value: f64) -> f64 {
        if self.at_most { self.bound - value } else { value - self.bound }
    }
}

impl FromStr for Limit {
    type Err = GoalError;

    fn from_str(text: &str) -> Result<Self, GoalError> {
        let wrong = || GoalError::Limit(text.into());
        let parts = text.split_once("<=").map(|parts| (parts, true));
        let ((metric, bound), at_most) =
            parts.or(text.split_once(">=").map(|parts| (parts, false))).ok_or_else(wrong)?;
        let bound: f64 = bound.trim().parse().map_err(|_| wrong())?;
        let metric = metric.trim();
        if metric.is_empty() || metric.contains(['<', '>', '=']) || !bound.is_finite() {
            return Err(wrong());
        }
        Ok(Self { metric: metric.into(), at_most, bound })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.metric, if self.at_most { "<=" } else { ">=" }, self.bound)
    }
}

/// A limit on what is known without training, such as `cost/parameters <= 5000`, or `cost/parameters <= 50%` of what a teacher has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KnownLimit {
    limit: Limit,
    of_teacher: bool,
}

impl KnownLimit {
    /// The metric that it is on.
    pub fn metric(&self) -> &str {
        &self.limit.metric
    }

    /// Whether its bound is a percentage of what a teacher has.
    pub fn is_of_teacher(&self) -> bool {
        self.of_teacher
    }

    /// Whether it lets a student have more than the teacher.
    pub fn is_beyond_the_teacher(&self) -> bool {
        self.of_teacher && self.limit.at_most && self.limit.bound > 100.0
    }

    /// The limit, where a teacher has so much.
    pub fn limit(&self, teacher: Option<f64>) -> Option<Limit> {
        match (self.of_teacher, teacher) {
            (false, _) => Some(self.limit.clone()),
            (true, Some(has)) => Some(Limit { bound: self.limit.bound / 100.0 * has, ..self.limit.clone() }),
            (true, None) => None,
        }
    }
}

impl FromStr for KnownLimit {
    type Err = GoalError;

    fn from_str(text: &str) -> Result<Self, GoalError> {
        let (number, of_teacher) = match text.trim_end().strip_suffix('%') {
            Some(number) => (number, true),
            None => (text, false),
        };
        let limit = number.parse().map_err(|_| GoalError::Limit(text.into()))?;
        Ok(Self { limit, of_teacher })
    }
}

impl fmt::Display for KnownLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.limit, if self.of_teacher { "% of the teacher's" } else { "" })
    }
}

impl TryFrom<String> for KnownLimit {
    type Error = GoalError;

    fn try_from(text: String) -> Result<Self, GoalError> {
        text.parse()
    }
}

impl From<KnownLimit> for String {
    /// As it is read.
    fn from(limit: KnownLimit) -> Self {
        format!("{}{}", limit.limit, if limit.of_teacher { "%" } else { "" })
    }
}

impl TryFrom<String> for Limit {
    type Error = GoalError;

    fn try_from(text: String) -> Result<Self, GoalError> {
        text.parse()
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

/// Why objectives and limits are not something to search for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GoalError {
    /// There is no objective.
    #[error("say which metric is searched: --maximise METRIC or --minimise METRIC")]
    Nothing,
    /// One metric twice.
    #[error("`{0}` is an objective twice; name each metric once, as what is to be maximised or minimised")]
    Twice(String),
    /// A limit that was given twice.
    #[error("`{0}` is required twice; give the tighter one alone")]
    LimitTwice(String),
    /// Nothing can be within both.
    #[error("nothing can be within `{0}` and `{1}`")]
    Empty(String, String),
    /// The text is no limit.
    #[error("`{0}` is no limit: write a metric, <= or >=, and a number, as in 'latency_ms <= 12'")]
    Limit(String),
    /// A product of metrics that is none.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// Too many of them.
    #[error("{0} objectives and limits are more than the {MOST} that can be searched at a time")]
    Many(usize),
}

/// One objective or several, and the limits within which they count.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    objectives: Vec<Objective>,
    limits: Vec<Limit>,
}

/// How an answer stands to a goal.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Of each objective, what is maximised.
    pub maximised: Vec<f64>,
    /// Of each limit, how far it is kept, in the metric's unit; below 0 it is broken.
    pub slacks: Vec<f64>,
}

impl Values {
    /// Whether every limit is kept.
    pub fn is_within(&self) -> bool {
        self.slacks.iter().all(|slack| *slack >= 0.0)
    }
}

impl Goal {
    /// What is searched for.
    ///
    /// # Errors
    /// See [`GoalError`].
    pub fn new(objectives: Vec<Objective>, limits: Vec<Limit>) -> Result<Self, GoalError> {
        if objectives.is_empty() {
            return Err(GoalError::Nothing);
        }
        if objectives.len() + limits.len() > MOST {
            return Err(GoalError::Many(objectives.len() + limits.len()));
        }
        for (i, objective) in objectives.iter().enumerate() {
            if Reward::is_meant(&objective.metric) {
                objective.metric.parse::<Reward>()?;
            }
            if objectives[..i].iter().any(|other| other.metric == objective.metric) {
                return Err(GoalError::Twice(objective.metric.clone()));
            }
        }
        for (i, limit) in limits.iter().enumerate() {
            for other in limits[..i].iter().filter(|other| other.metric == limit.metric) {
                if other.at_most == limit.at_most {
                    return Err(GoalError::LimitTwice(limit.metric.clone()));
                }
                if other.slack(limit.bound) < 0.0 {
                    return Err(GoalError::Empty(other.to_string(), limit.to_string()));
                }
            }
        }
        Ok(Self { objectives, limits })
    }

    /// One objective without limits.
    pub fn single(metric: impl Into<String>, minimise: bool) -> Self {
        Self { objectives: vec![Objective { metric: metric.into(), minimise }], limits: Vec::new() }
    }

    /// The objectives, at least one.
    pub fn objectives(&self) -> &[Objective] {
        &self.objectives
    }

    /// The limits.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The first objective: by it one number is told where only one can be.
    pub fn first(&self) -> &Objective {
        &self.objectives[0]
    }

    /// Whether one number says how good an architecture is.
    pub fn is_single(&self) -> bool {
        self.objectives.len() == 1
    }

    /// Every metric that is to be measured, each once: of rewards those that they are computed from.
    pub fn metrics(&self) -> Vec<String> {
        let of = |objective: &Objective| match objective.reward() {
            Some(reward) => reward.metrics().map(String::from).collect(),
            None => vec![objective.metric.clone()],
        };
        let limits = self.limits.iter().map(|limit| limit.metric.clone());
        let mut metrics: Vec<String> = Vec::new();
        for metric in self.objectives.iter().flat_map(of).chain(limits) {
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        metrics
    }

    /// The rewards among the objectives.
    pub fn rewards(&self) -> Vec<Reward> {
        self.objectives.iter().filter_map(Objective::reward).collect()
    }

    /// How an answer stands to the goal; or why it has no values.
    ///
    /// # Errors
    /// The reason of an infeasible answer; a metric that is missing or not a number.
    pub fn values(&self, answer: &Answer) -> Result<Values, String> {
        let maximised =
            self.objectives.iter().map(|objective| objective.value(answer)).collect::<Result<_, _>>()?;
        let slack = |limit: &Limit| match answer {
            Answer::Metrics(metrics) => Ok(limit.slack(costly::searched(metrics, &limit.metric)?)),
            Answer::Infeasible(reason) => Err(reason.clone()),
        };
        Ok(Values { maximised, slacks: self.limits.iter().map(slack).collect::<Result<_, String>>()? })
    }

    /// The limits that metrics break, in words such as `latency_ms 15.2000 is not <= 12`; nothing where all are kept.
    pub fn broken(&self, metrics: &BTreeMap<String, f64>) -> Option<String> {
        let broken = self.limits.iter().filter_map(|limit| {
            let value = metrics.get(&limit.metric).filter(|value| limit.slack(**value) < 0.0)?;
            let sign = if limit.at_most { "<=" } else { ">=" };
            Some(format!("{} {} is not {sign} {}", limit.metric, number(*value), limit.bound))
        });
        let broken: Vec<String> = broken.collect();
        (!broken.is_empty()).then(|| broken.join(", "))
    }
}

impl fmt::Display for Goal {
    /// As `val/clean & -latency_ms, latency_ms <= 12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, objective) in self.objectives.iter().enumerate() {
            write!(f, "{}{objective}", if i > 0 { " & " } else { "" })?;
        }
        self.limits.iter().try_for_each(|limit| write!(f, ", {limit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objective(metric: &str, minimise: bool) -> Objective {
        Objective { metric: metric.into(), minimise }
    }

    fn answer(metrics: &[(&str, f64)]) -> Answer {
        Answer::Metrics(metrics.iter().map(|(name, value)| ((*name).into(), *value)).collect())
    }

    #[test]
    fn limits_are_read_as_they_are_written() {
        for (text, slack) in
            [("ms <= 12", 2.0), ("ms<=12", 2.0), (" ms >= -1e1 ", 20.0), ("val/ms >= 12", -2.0)]
        {
            let limit: Limit = text.parse().unwrap();
            assert_eq!(limit.slack(10.0), slack, "{text}");
            assert_eq!(limit.to_string().parse::<Limit>().unwrap(), limit);
        }
        for text in [
            "",
            "ms",
            "ms < 12",
            "ms <= ",
            "<= 12",
            "ms <= twelve",
            "ms <= nan",
            "ms <= inf",
            "ms == 12",
            "1 <= ms <= 2",
        ] {
            assert_eq!(text.parse::<Limit>(), Err(GoalError::Limit(text.into())), "{text}");
        }
    }

    #[test]
    fn limits_on_what_is_known_are_written_as_they_are_read() {
        for text in ["cost/parameters <= 5000", "cost/multiply_adds <= 50%", "cost/parameters >= 2.5%"] {
            let limit: KnownLimit = text.parse().unwrap();
            assert_eq!(
                (String::from(limit.clone()), limit.is_of_teacher()),
                (text.into(), text.ends_with('%'))
            );
        }
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused() {
        let limit = |text: &str| text.parse::<Limit>().unwrap();
        let refused = |objectives: &[Objective], limits: &[&str]| {
            Goal::new(objectives.to_vec(), limits.iter().map(|text| limit(text)).collect()).unwrap_err()
        };
        let accuracy = objective("accuracy", false);
        assert_eq!(refused(&[], &["ms <= 1"]), GoalError::Nothing);
        assert_eq!(
            refused(&[accuracy.clone(), objective("accuracy", true)], &[]),
            GoalError::Twice("accuracy".into())
        );
        assert_eq!(
            refused(std::slice::from_ref(&accuracy), &["ms <= 1", "ms <= 2"]),
            GoalError::LimitTwice("ms".into())
        );
        assert!(matches!(
            refused(std::slice::from_ref(&accuracy), &["ms <= 1", "ms >= 2"]),
            GoalError::Empty(..)
        ));
        assert!(Goal::new(vec![accuracy.clone()], vec![limit("ms >= 1"), limit("ms <= 1")]).is_ok());
        let many: Vec<Objective> = (0..9).map(|i| objective(&format!("m{i}"), false)).collect();
        assert_eq!(refused(&many, &[]), GoalError::Many(9));
    }

    #[test]
    fn a_reward_is_an_objective_that_is_computed_from_metrics() {
        let soft = Objective::new("accuracy * (ms / 12.0)^-0.07", false);
        assert_eq!(soft.metric, "accuracy*(ms/12)^-0.07");
        let goal = Goal::new(vec![soft, objective("ms", true)], vec!["mb <= 8".parse().unwrap()]).unwrap();
        assert_eq!(goal.to_string(), "accuracy*(ms/12)^-0.07 & -ms, mb <= 8");
        assert_eq!(goal.metrics(), ["accuracy", "ms", "mb"]);
        assert_eq!(goal.rewards().len(), 1);
        let refused = Goal::new(vec![Objective::new("accuracy*(ms/0)^-1", false)], vec![]).unwrap_err();
        assert!(refused.to_string().contains("target 0 is not above 0"), "{refused}");
        // What is no product is a name.
        assert_eq!(Goal::single("a*b", false).rewards(), []);
    }

    #[test]
    fn an_answer_has_all_values_or_a_reason() {
        let objectives = vec![objective("accuracy", false), objective("ms", true)];
        let goal = Goal::new(objectives, vec!["ms <= 12".parse().unwrap()]).unwrap();
        assert_eq!(goal.to_string(), "accuracy & -ms, ms <= 12");
        let values = goal.values(&answer(&[("accuracy", 90.0), ("ms", 15.0)])).unwrap();
        assert_eq!(values, Values { maximised: vec![90.0, -15.0], slacks: vec![-3.0] });
        assert!(!values.is_within());
        assert!(goal.values(&answer(&[("accuracy", 90.0), ("ms", 12.0)])).unwrap().is_within());
        let missing = goal.values(&answer(&[("accuracy", 90.0), ("mss", 15.0)])).unwrap_err();
        assert!(missing.contains("no metric `ms`") && missing.contains("did you mean `mss`"), "{missing}");
        assert_eq!(goal.values(&Answer::Infeasible("it burnt".into())), Err("it burnt".into()));
        let Answer::Metrics(metrics) = answer(&[("accuracy", 90.0), ("ms", 15.0)]) else { unreachable!() };
        assert_eq!(goal.broken(&metrics).unwrap(), "ms 15.0000 is not <= 12");
    }
}
