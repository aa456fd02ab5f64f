//! The names of tasks: a benchmark, and an objective over its metrics.

use crate::reward::{Factor, Reward, RewardError};
use std::{fmt, str::FromStr};

/// One part of an objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Factor of the scaled metric; 1 for the first term.
    pub weight: f64,
    /// Full name of the metric within its benchmark, such as `cifar10/val`.
    pub metric: String,
    /// One seed in place of the mean over seeds.
    pub seed: Option<usize>,
    /// Standardised natural logarithm in place of (value − median)/(best − median).
    pub log: bool,
}

/// The parsed name of a task. A single term is the raw metric (negated if less is better), times what its factors are; several terms are
/// scaled and summed, and have no factors.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskName {
    text: String,
    /// The benchmark that measures.
    pub benchmark: String,
    /// Terms of the objective, at least one.
    pub terms: Vec<Term>,
    /// What the only term is multiplied by, see [`Reward`]; the metrics by their full names.
    pub factors: Vec<Factor>,
}

/// A name that is not a task.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "`{text}` is not a task: {reason}; expected benchmark/dataset/metric, as in nb201/cifar10/val, nb201/cifar10/val-0.15*log(edgegpu_latency) or nb201/cifar10/val*(edgegpu_latency/5)^-0.07"
)]
pub struct TaskNameError {
    text: String,
    reason: String,
}

impl TaskName {
    /// The task's name as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same objective over other metrics: what `of` makes of each term, as full names. Seeds are left out; what factors are of stays.
    ///
    /// # Errors
    /// When what `of` gives is no metric.
    pub fn over(&self, of: impl Fn(&Term) -> String) -> Result<Self, TaskNameError> {
        let mut text = format!("{}/", self.benchmark);
        for (i, term) in self.terms.iter().enumerate() {
            let metric = of(term);
            match (i, term.log) {
                (0, false) => text += &metric,
                // The first term names its data set outside.
                (0, true) => {
                    let (dataset, metric) = metric.split_once('/').unwrap_or(("", &metric));
                    text += &format!("{dataset}/log({metric})");
                }
                (_, false) => text += &format!("{:+}*{metric}", term.weight),
                (_, true) => text += &format!("{:+}*log({metric})", term.weight),
            }
        }
        self.factors.iter().for_each(|factor| text += &format!("*{factor}"));
        text.parse()
    }

    /// Full names of all metrics: of the terms, then of the factors.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let terms = self.terms.iter().map(|term| term.metric.as_str());
        terms.chain(self.factors.iter().map(|factor| factor.metric.as_str()))
    }

    /// The metric that the task is of, in its unit: its only term where that is no logarithm, which factors without a unit may multiply.
    pub fn alone(&self) -> Option<&Term> {
        match &self.terms[..] {
            [term] if !term.log => Some(term),
            _ => None,
        }
    }

    /// The family: tasks that differ only in data set and strength (`pgd@1` and `pgd@2`) are relatives, and so are products that differ in
    /// targets and exponents. A policy in training never sees its task's family in the prior.
    pub fn family(&self) -> String {
        let objective = self.text.splitn(3, '/').nth(2).unwrap_or(&self.text);
        let traded = objective.split_once('*').filter(|_| !self.factors.is_empty());
        let objective = traded.map_or(objective, |(metric, _)| metric);
        let mut family = String::new();
        let mut strength = false;
        for c in objective.chars() {
            strength = match c {
                '@' | ':' => true,
                '0'..='9' | '.' if strength => true,
                _ => false,
            };
            if !strength {
                family.push(c);
            }
        }
        for factor in &self.factors {
            let metric = factor.metric.rsplit('/').next().unwrap_or_default();
            family += &format!("*({metric})");
        }
        family
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TaskName {
    type Err = TaskNameError;

    fn from_str(text: &str) -> Result<Self, TaskNameError> {
        let error = |reason: &str| TaskNameError { text: text.into(), reason: reason.into() };
        let mut parts = text.splitn(3, '/');
        let (Some(benchmark), Some(dataset), Some(objective)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(error("it has fewer than three parts between slashes"));
        };
        if benchmark.is_empty() || dataset.is_empty() {
            return Err(error("a part is empty"));
        }
        if Reward::is_meant(objective) {
            return Self::product(text, benchmark, dataset, objective);
        }
        let mut terms = Vec::new();
        let mut rest = objective;
        loop {
            let mut weight = 1.0f64;
            if !terms.is_empty() {
                let star =
                    rest.find('*').ok_or_else(|| error("a further term needs a weight: -0.15*metric"))?;
                weight = rest[..star].parse().map_err(|_| error("a weight is not a number"))?;
                if !weight.is_finite() {
                    return Err(error("a weight is not finite"));
                }
                rest = &rest[star + 1..];
            }
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let (term, tail) = rest.split_at(end);
            let (inner, log) = match term.strip_prefix("log(").and_then(|t| t.strip_suffix(')')) {
                Some(inner) => (inner, true),
                None => (term, false),
            };
            let (metric, seed) = seeded(inner, dataset).map_err(|reason| error(&reason))?;
            terms.push(Term { weight, metric, seed, log });
            if tail.is_empty() {
                break;
            }
            rest = tail;
        }
        Ok(Self { text: text.into(), benchmark: benchmark.into(), terms, factors: Vec::new() })
    }
}

/// The full name of a metric, which may be one of another data set: `val/clean-0.15*log(cost/latency_ms)`.
fn full(metric: &str, dataset: &str) -> Result<String, String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '@' | '.');
    let (dataset, name) = metric.split_once('/').unwrap_or((dataset, metric));
    match [dataset, name].iter().any(|part| part.is_empty() || !part.chars().all(plain)) {
        true => Err(format!("`{metric}` is not a metric")),
        false => Ok(format!("{dataset}/{name}")),
    }
}

/// The full name of a metric, and the seed that may follow it.
fn seeded(text: &str, dataset: &str) -> Result<(String, Option<usize>), String> {
    let (metric, seed) = match text.split_once(':') {
        Some((metric, seed)) => {
            (metric, Some(seed.parse().map_err(|_| "a seed is not a number".to_string())?))
        }
        None => (text, None),
    };
    Ok((full(metric, dataset)?, seed))
}

impl TaskName {
    fn product(text: &str, benchmark: &str, dataset: &str, objective: &str) -> Result<Self, TaskNameError> {
        let error = |reason: String| TaskNameError { text: text.into(), reason };
        let reward: Reward = objective.parse().map_err(|refused: RewardError| error(refused.reason))?;
        let (metric, seed) = seeded(&reward.metric, dataset).map_err(error)?;
        let factor = |factor: &Factor| full(&factor.metric, dataset).map(|metric| factor.over(metric));
        let factors = reward.factors().iter().map(factor).collect::<Result<_, _>>().map_err(error)?;
        let terms = vec![Term { weight: 1.0, metric, seed, log: false }];
        Ok(Self { text: text.into(), benchmark: benchmark.into(), terms, factors })
    }
}

/// The most names that braces may stand for.
const MOST_NAMES: usize = 10_000;

/// Expands braces: `a/{b,c}/d` is `a/b/d` and `a/c/d`; several groups multiply.
///
/// # Errors
/// Refuses braces that stand for more than 10,000 names.
pub fn expand_braces(pattern: &str) -> Result<Vec<String>, TaskNameError> {
    let (mut names, mut rest) = (vec![String::new()], pattern);
    while let Some((head, (choices, tail))) =
        rest.split_once('{').and_then(|(head, after)| Some((head, after.split_once('}')?)))
    {
        let choices: Vec<&str> = choices.split(',').map(str::trim).collect();
        if names.len().saturating_mul(choices.len()) > MOST_NAMES {
            let reason = format!("its braces stand for more than {MOST_NAMES} names");
            return Err(TaskNameError { text: pattern.into(), reason });
        }
        let with = |name: &String| choices.iter().map(|c| format!("{name}{head}{c}")).collect::<Vec<_>>();
        names = names.iter().flat_map(with).collect();
        rest = tail;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_refused_with_a_reason() {
        let single: TaskName = "nb201/cifar10/pgd@0.5".parse().unwrap();
        assert_eq!(
            single.terms,
            [Term { weight: 1.0, metric: "cifar10/pgd@0.5".into(), seed: None, log: false }]
        );
        let sum: TaskName = "nb201/cifar10/val:1-0.15*log(edgegpu_latency)".parse().unwrap();
        assert_eq!(sum.terms[0].seed, Some(1));
        assert_eq!(
            sum.terms[1],
            Term { weight: -0.15, metric: "cifar10/edgegpu_latency".into(), seed: None, log: true }
        );
        for bad in [
            "",
            "nb201",
            "nb201/cifar10",
            "nb201//val",
            "nb201/c/",
            "nb201/c/a-b",
            "nb201/c/a-x*b",
            "nb201/c/a b",
        ] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn families_leave_out_data_set_and_strength() {
        let family = |s: &str| s.parse::<TaskName>().unwrap().family();
        assert_eq!(family("nb201/cifar10/pgd@0.5"), "pgd");
        assert_eq!(family("nb201/cifar100/pgd@1"), "pgd");
        assert_eq!(family("nb201/cifar10/val:0"), "val");
        assert_eq!(family("nb201/cifar10/val-0.15*log(pixel3_latency)"), "val-0.15*log(pixel3_latency)");
    }

    #[test]
    fn a_product_is_of_one_metric_and_what_costs_are_to_their_targets() {
        let name = |text: &str| text.parse::<TaskName>();
        let task = name("digits/val/clean:1*(cost/latency_ms/0.5)^(0|-1)*(loss/2)^-0.07").unwrap();
        assert_eq!(task.metrics().collect::<Vec<_>>(), ["val/clean", "cost/latency_ms", "val/loss"]);
        assert_eq!((task.terms[0].seed, task.alone()), (Some(1), Some(&task.terms[0])));
        assert_eq!(task.factors[0].of(1.0), Ok(0.5));
        // Of a shorter training: what it costs stays.
        let early = task.over(|_| "val/early".into()).unwrap();
        assert_eq!(early.as_str(), "digits/val/early*(cost/latency_ms/0.5)^(0|-1)*(val/loss/2)^-0.07");
        assert_eq!(early.factors, task.factors);
        let family = |text: &str| name(text).unwrap().family();
        assert_eq!(family("nb201/cifar10/pgd@1*(edgegpu_latency/5)^-0.07"), "pgd*(edgegpu_latency)");
        assert_eq!(family("nb201/cifar10/pgd@2*(edgegpu_latency/7)^(0|-1)"), "pgd*(edgegpu_latency)");
        for (text, says) in [
            ("b/d/val*(ms/0)^-1", "target 0 is not above 0"),
            ("b/d/val*(ms/2)^x", "exponent `x`"),
            ("b/d/val:x*(ms/2)^1", "a seed is not a number"),
            ("b/d/v al*(ms/2)^1", "`v al` is not a metric"),
            ("b/d/val*(m s/2)^1", "`m s` is not a metric"),
            ("b/d/val-0.1*log(x)*(ms/2)^1", "is not a metric"),
            ("b/d/val*(ms/2)^1-0.1*log(x)", "exponent"),
        ] {
            let error = name(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn braces_multiply() {
        let names = |pattern: &str| expand_braces(pattern).unwrap();
        assert_eq!(names("x/{a, b}/{c@1,d}"), ["x/a/c@1", "x/a/d", "x/b/c@1", "x/b/d"]);
        assert_eq!((names("plain"), names("a}{b")), (vec!["plain".to_string()], vec!["a}{b".to_string()]));
        assert_eq!(names(&"{a,b}".repeat(13)).len(), 8192);
        // Two hundred letters would fill any memory.
        for many in ["{a,b}".repeat(14), "{,}".repeat(60)] {
            let refused = expand_braces(&many).unwrap_err().to_string();
            assert!(refused.contains("more than 10000 names"), "{refused}");
        }
    }
}
