//! An oracle that also says what rewards its metrics come to.

use crate::{
    costly::{Answer, CostlyError, CostlyOracle, Worker, searched},
    curves::Hear,
};
use srnas_predictor::Describe;
use srnas_space::{Choices, SearchSpace};
use srnas_task::{Fidelities, Reward, Training};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// Adds rewards to what an oracle says, each under its own text as a name: from there on it is a metric like any other.
pub struct Rewarded {
    oracle: Box<dyn CostlyOracle>,
    rewards: Vec<Reward>,
}

impl Rewarded {
    /// The oracle, and what its metrics are to be multiplied to.
    pub fn over(oracle: Box<dyn CostlyOracle>, rewards: Vec<Reward>) -> Self {
        Self { oracle, rewards }
    }
}

/// The reward that metrics come to.
///
/// # Errors
/// A metric that is missing or no number, and a product that has no meaning, see [`Reward::of`].
pub fn reward_of(metrics: &BTreeMap<String, f64>, reward: &Reward) -> Result<f64, String> {
    reward.of(|metric| searched(metrics, metric))
}

/// An answer with the rewards that its metrics come to; infeasible where one of them has no meaning.
pub fn rewarded(answer: Answer, rewards: &[Reward]) -> Answer {
    let mut metrics = match answer {
        Answer::Metrics(metrics) => metrics,
        infeasible @ Answer::Infeasible(_) => return infeasible,
    };
    for reward in rewards {
        match reward_of(&metrics, reward) {
            Ok(value) => metrics.insert(reward.to_string(), value),
            Err(reason) => return Answer::Infeasible(reason),
        };
    }
    Answer::Metrics(metrics)
}

impl CostlyOracle for Rewarded {
    fn space(&self) -> &Arc<SearchSpace> {
        self.oracle.space()
    }

    fn identity(&self) -> (String, String) {
        self.oracle.identity()
    }

    fn metric_names(&self) -> Vec<String> {
        let mut names = self.oracle.metric_names();
        names.extend(self.rewards.iter().map(ToString::to_string));
        names
    }

    fn fidelities(&self) -> &Fidelities {
        self.oracle.fidelities()
    }

    fn describe(&self) -> Option<Arc<dyn Describe>> {
        self.oracle.describe()
    }

    fn ask_untrained(&self, choices: &Choices, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        self.oracle.ask_untrained(choices, stop)
    }

    fn resumes(&self) -> bool {
        self.oracle.resumes()
    }

    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        Ok(rewarded(self.oracle.measure(training, stop)?, &self.rewards))
    }

    fn measure_heard(
        &self,
        training: &Training,
        stop: &AtomicBool,
        hearing: Arc<dyn Hear>,
    ) -> Result<Answer, CostlyError> {
        Ok(rewarded(self.oracle.measure_heard(training, stop, hearing)?, &self.rewards))
    }

    fn ready(&self, wait: Duration) -> bool {
        self.oracle.ready(wait)
    }

    fn interrupted(&self) -> Vec<Training> {
        self.oracle.interrupted()
    }

    fn brought(&self) -> Option<Training> {
        self.oracle.brought()
    }

    fn measured_by(&self, training: &Training) -> Option<String> {
        self.oracle.measured_by(training)
    }

    fn kept(&self, training: &Training) {
        self.oracle.kept(training);
    }

    fn workers(&self) -> Vec<Worker> {
        self.oracle.workers()
    }

    fn dismiss(&self, worker: &str) -> Result<(), String> {
        self.oracle.dismiss(worker)
    }

    fn finish(&self) {
        self.oracle.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same of everything.
    struct Says(Vec<(&'static str, f64)>);

    impl CostlyOracle for Says {
        fn space(&self) -> &Arc<SearchSpace> {
            unreachable!("it is not asked for")
        }

        fn identity(&self) -> (String, String) {
            ("says".into(), "says".into())
        }

        fn metric_names(&self) -> Vec<String> {
            self.0.iter().map(|(name, _)| (*name).into()).collect()
        }

        fn measure(&self, _: &Training, _: &AtomicBool) -> Result<Answer, CostlyError> {
            Ok(Answer::Metrics(self.0.iter().map(|(name, value)| ((*name).into(), *value)).collect()))
        }
    }

    fn said(metrics: &[(&'static str, f64)], text: &str) -> Answer {
        let oracle = Rewarded::over(Box::new(Says(metrics.to_vec())), vec![text.parse().unwrap()]);
        assert_eq!(oracle.metric_names().last().unwrap(), text);
        oracle.measure(&Training::full(vec![]), &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn a_reward_is_one_more_metric_or_a_reason() {
        let hard = "accuracy*(ms/10)^(0|-1)";
        let Answer::Metrics(metrics) = said(&[("accuracy", 90.0), ("ms", 15.0)], hard) else { panic!() };
        assert_eq!((metrics[hard], metrics["accuracy"], metrics.len()), (60.0, 90.0, 3));
        for (metrics, says) in [
            (vec![("accuracy", 90.0), ("ms", 0.0)], "`ms` is 0"),
            (vec![("accuracy", 90.0), ("ms", f64::NAN)], "`ms` is not a number"),
            (vec![("accuracy", -1.0), ("ms", 1.0)], "`accuracy` is -1"),
            (vec![("accuracy", 90.0), ("mss", 1.0)], "no metric `ms`"),
        ] {
            let Answer::Infeasible(reason) = said(&metrics, hard) else { panic!("{metrics:?}") };
            assert!(reason.contains(says), "{reason}");
        }
    }
}
