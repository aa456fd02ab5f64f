//! Shorter trainings: a metric that says early what another says at the end.

use super::MetricInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a metric is to another: the same number after a shorter training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fidelity {
    /// The metric after the shorter training, such as `cifar10/val_12`.
    pub metric: String,
    /// The metric after the full one, such as `cifar10/val`.
    pub of: String,
    /// What is spent, such as `epochs`.
    pub unit: String,
    /// How much of it the shorter training takes.
    pub amount: u32,
    /// How much of it the full training takes.
    pub full: u32,
}

impl Fidelity {
    /// Cost of the shorter training, in full ones: above 0 and below 1.
    pub fn cost(&self) -> f64 {
        f64::from(self.amount) / f64::from(self.full)
    }

    /// Refuses what is no shorter training of a metric that is there; `known` are the metrics.
    pub(super) fn check(&self, known: &BTreeMap<String, MetricInfo>) -> Result<(), String> {
        let wrong = |reason: String| Err(format!("fidelity `{}` of `{}`: {reason}", self.metric, self.of));
        if self.amount == 0 || self.amount >= self.full {
            return wrong(format!(
                "it takes {} of {} {}; a shorter training takes some and not all",
                self.amount, self.full, self.unit
            ));
        }
        let (Some(short), Some(full)) = (known.get(&self.metric), known.get(&self.of)) else {
            return wrong("one of the two is no metric of the benchmark".into());
        };
        if (&short.unit, short.direction) != (&full.unit, full.direction) {
            return wrong(
                "they differ in unit or direction, so one does not say early what the other says".into(),
            );
        }
        if self.metric == self.of {
            return wrong("a training is not a shorter one of itself".into());
        }
        Ok(())
    }
}

/// Refuses a list in which one fails, a metric stands twice, or two of one metric take the same.
pub(super) fn check_all(all: &[Fidelity], known: &BTreeMap<String, MetricInfo>) -> Result<(), String> {
    for (i, one) in all.iter().enumerate() {
        one.check(known)?;
        for other in &all[..i] {
            if one.metric == other.metric || (one.of == other.of && one.cost() == other.cost()) {
                return Err(format!(
                    "fidelities `{}` and `{}` cannot be told apart",
                    other.metric, one.metric
                ));
            }
            if one.of == other.metric || other.of == one.metric {
                return Err(format!("`{}` is both a full training and a shorter one", one.of));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::Direction;

    #[test]
    fn what_is_no_shorter_training_is_refused_with_the_reason() {
        let info = |unit: &str| MetricInfo {
            unit: unit.into(),
            direction: Direction::Maximise,
            description: String::new(),
        };
        let known = BTreeMap::from([
            ("d/val".to_string(), info("%")),
            ("d/val_12".into(), info("%")),
            ("d/val_24".into(), info("%")),
            ("d/time".into(), info("s")),
        ]);
        let of = |metric: &str, of: &str, amount: u32, full: u32| Fidelity {
            metric: metric.into(),
            of: of.into(),
            unit: "epochs".into(),
            amount,
            full,
        };
        let good = of("d/val_12", "d/val", 12, 200);
        assert_eq!((good.cost(), good.check(&known)), (0.06, Ok(())));
        for (bad, says) in [
            (of("d/val_12", "d/val", 0, 200), "takes 0 of 200 epochs"),
            (of("d/val_12", "d/val", 200, 200), "some and not all"),
            (of("d/val_13", "d/val", 12, 200), "no metric of the benchmark"),
            (of("d/time", "d/val", 12, 200), "unit or direction"),
            (of("d/val", "d/val", 12, 200), "of itself"),
        ] {
            let error = bad.check(&known).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let twice = [good.clone(), of("d/val_24", "d/val", 24, 400)];
        assert!(check_all(&twice, &known).unwrap_err().contains("cannot be told apart"));
        let chained = [good.clone(), of("d/val_24", "d/val_12", 6, 12)];
        assert!(check_all(&chained, &known).unwrap_err().contains("both"));
        assert_eq!(check_all(&[good, of("d/val_24", "d/val", 24, 200)], &known), Ok(()));
    }
}
