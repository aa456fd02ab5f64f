//! Oracles whose answers cost seconds to days.

use crate::curves::Hear;
use serde::Serialize;
use srnas_basics::names;
use srnas_predictor::Describe;
use srnas_space::{Choices, SearchSpace};
use srnas_task::{Fidelities, Training};
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

/// By this name an oracle says, among its metrics, from which amount of training it went on instead of training from the
/// beginning; only the rest is paid for then.
pub const RESUMED_FROM: &str = "resumed_from";

/// What an oracle says of an architecture.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Its metrics by name.
    Metrics(BTreeMap<String, f64>),
    /// It has none, and this is why. That is an answer, and paid for like any other.
    Infeasible(String),
}

impl Answer {
    /// What metrics are as an answer to a search of `wanted` ones: infeasible where one is missing or cannot be searched.
    pub fn of(metrics: BTreeMap<String, f64>, wanted: &[String]) -> Self {
        match wanted.iter().find_map(|metric| searched(&metrics, metric).err()) {
            None => Self::Metrics(metrics),
            Some(reason) => Self::Infeasible(reason),
        }
    }
}

/// The value of the metric that is searched.
///
/// # Errors
/// Why it has none: it is missing, no number, or beyond f32, in which posteriors compute.
pub fn searched(metrics: &BTreeMap<String, f64>, metric: &str) -> Result<f64, String> {
    let Some(&value) = metrics.get(metric) else {
        let hint = names::did_you_mean(metric, metrics.keys().map(String::as_str));
        return Err(format!("it has no metric `{metric}`{hint}"));
    };
    match value {
        _ if value.is_nan() => Err(format!("its metric `{metric}` is not a number (NaN)")),
        _ if value.is_infinite() => {
            let sign = if value < 0.0 { "minus " } else { "" };
            Err(format!("its metric `{metric}` is {sign}infinite"))
        }
        _ if !(value as f32).is_finite() => Err(format!(
            "its metric `{metric}` is {value:e}, and {:.1e} is the most that can be searched; report it in another unit",
            f32::MAX
        )),
        _ => Ok(value),
    }
}

/// Somebody who measures for an oracle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Seconds since it was heard.
    pub silent: u64,
    /// What it measures now.
    pub measures: Vec<String>,
    /// Whether it was told to end when it has answered.
    pub leaves: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CostlyError {
    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,
    /// The oracle itself is broken: no other architecture would fare better.
    #[error("{0}")]
    Failed(String),
}

/// An oracle that is asked through a ledger, so that each answer is paid for once.
pub trait CostlyOracle: Send + Sync {
    /// The space of its architectures.
    fn space(&self) -> &Arc<SearchSpace>;

    /// Its name, and a text that differs wherever its answers may: what is in a ledger under another text is of another
    /// oracle.
    fn identity(&self) -> (String, String);

    /// The unit and direction of its metrics, by name, as far as it knows them.
    fn metric_names(&self) -> Vec<String>;

    /// How long it can train.
    fn fidelities(&self) -> &Fidelities {
        static FULL: Fidelities = Fidelities::FULL;
        &FULL
    }

    /// What it can say of architectures without training them; nothing of most.
    fn describe(&self) -> Option<Arc<dyn Describe>> {
        None
    }

    /// Asks somebody what can be said of an architecture without training it, where [`Fidelities::asks_untrained`]; all numbers of the
    /// answer say something. Looks at `stop` now and then.
    ///
    /// # Errors
    /// See [`CostlyError`]; most oracles ask nobody.
    fn ask_untrained(&self, choices: &Choices, stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let _ = (choices, stop);
        let (name, _) = self.identity();
        Err(CostlyError::Failed(format!("{name} asks nobody about what is not trained")))
    }

    /// Whether a training goes on where a shorter one of the same architecture ended, as far as is known beforehand; what
    /// counts is what each answer says ([`RESUMED_FROM`]).
    fn resumes(&self) -> bool {
        false
    }

    /// Trains an architecture and measures it; looks at `stop` now and then.
    ///
    /// # Errors
    /// See [`CostlyError`].
    fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError>;

    /// The same, and what it reports as it goes is heard by somebody, who may stop it early; most report nothing.
    ///
    /// # Errors
    /// See [`CostlyError`].
    fn measure_heard(
        &self,
        training: &Training,
        stop: &AtomicBool,
        hearing: Arc<dyn Hear>,
    ) -> Result<Answer, CostlyError> {
        drop(hearing);
        self.measure(training, stop)
    }

    /// Waits, at most so long, until one more measurement could begin at once, and says whether it could; whoever hears
    /// yes is expected to ask for one.
    fn ready(&self, wait: Duration) -> bool {
        let _ = wait;
        true
    }

    /// A training that is under way, or was, without having been asked for: work of before a restart. Each is told once.
    fn brought(&self) -> Option<Training> {
        None
    }

    /// Trainings of an earlier call that came to no end, in the order in which they began: they are asked for first, where they can
    /// be paid for.
    fn interrupted(&self) -> Vec<Training> {
        Vec::new()
    }

    /// Who has measured a training whose answer is not durable yet, where it was somebody with a name.
    fn measured_by(&self, training: &Training) -> Option<String> {
        let _ = training;
        None
    }

    /// There is a durable answer about a training.
    fn kept(&self, training: &Training) {
        let _ = training;
    }

    /// Who measures, where these have names; by name.
    fn workers(&self) -> Vec<Worker> {
        Vec::new()
    }

    /// Gives one of [`Self::workers`] nothing more to do: it ends when it has answered what it is at.
    ///
    /// # Errors
    /// Says who there is, where nobody has that name.
    fn dismiss(&self, worker: &str) -> Result<(), String> {
        let _ = worker;
        Err("nobody with a name measures here".into())
    }

    /// Nothing more will be asked.
    fn finish(&self) {}
}
