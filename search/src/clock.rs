//! The simulated clock of a comparison: how many trainings run at a time, and how long each takes. Nothing waits.

use crate::{method::Fidelity, problem::Problem};
use serde::{Deserialize, Serialize};
use srnas_config::Latency;
use srnas_oracle::{
    catalog::Catalog,
    simulated::{DelayError, Delays},
};
use std::time::Duration;

/// What is simulated of a comparison's clock; by default one training runs after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Trainings at a time, for methods that can have several under way.
    pub workers: usize,
    /// How long a full training takes; where none is named the clock counts full trainings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

impl Default for Clock {
    fn default() -> Self {
        Self { workers: 1, latency: None }
    }
}

impl Clock {
    /// Whether it says no more than what was paid.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the clock cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Trainings cannot take so long.
    #[error("--simulate-latency")]
    Delay(#[from] DelayError),
    /// No training takes any time.
    #[error(
        "--simulate-latency {0}: no training would take any time; give one above 0, or leave the option out"
    )]
    Nothing(Latency),
    /// The column is of the rows of a table, and what is searched is not.
    #[error(
        "--simulate-latency {latency}: {task} is on every architecture of a space, and recorded times are of a table's rows; use a constant or \
         log-normal latency"
    )]
    Unlisted {
        /// The latency.
        latency: Latency,
        /// The task.
        task: String,
    },
    /// The column has holes.
    #[error(
        "--simulate-latency {latency}: {missing} architectures of {task} have no recorded time; use another metric, or a \
         constant or log-normal latency"
    )]
    Missing {
        /// The latency.
        latency: Latency,
        /// The task.
        task: String,
        /// Valid architectures without a time.
        missing: usize,
    },
}

impl ClockError {
    /// Whether what was asked for is to blame, not a benchmark that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Delay(delay) => delay.is_usage(),
            _ => true,
        }
    }
}

/// How long the trainings of a problem take.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    /// Of full trainings; none where a second of the clock stands for a full training.
    full: Option<Delays>,
    /// Of shorter trainings whose own times are recorded.
    shorter: Vec<Option<Delays>>,
}

/// Two costs that differ by less are the same.
const SAME: f64 = 1e-9;

impl Durations {
    /// Where every training takes its share of these.
    pub fn new(full: Delays) -> Self {
        Self { full: Some(full), shorter: Vec::new() }
    }

    /// Those of each problem.
    ///
    /// # Errors
    /// Refuses a column that the benchmark has not, that is no time, or not known everywhere, and what takes no time at all.
    pub fn resolve(clock: &Clock, catalog: &Catalog, problems: &[Problem]) -> Result<Vec<Self>, ClockError> {
        let Some(latency) = &clock.latency else { return Ok(vec![Self::default(); problems.len()]) };
        let benchmarks: Vec<&str> = problems.iter().map(benchmark).collect();
        let full = Delays::new(latency, &benchmarks, catalog, 0)?;
        let of = |problem: &Problem| {
            let shorter = match latency {
                Latency::Column { metric, scale } => recorded(catalog, problem, metric, *scale)?,
                _ => Vec::new(),
            };
            for delays in [&full].into_iter().chain(shorter.iter().flatten()) {
                check(delays, latency, problem)?;
            }
            Ok(Self { full: Some(full.clone()), shorter })
        };
        problems.iter().map(of).collect()
    }

    /// The same with random ones from a search's seed.
    pub(crate) fn seeded(&self, seed: u64) -> Self {
        Self { full: self.full.as_ref().map(|full| full.seeded(seed)), shorter: self.shorter.clone() }
    }

    /// How long the next training takes: of the architecture of this rank, how short it is, and what it costs.
    pub(crate) fn of(&mut self, rank: u64, fidelity: Fidelity, cost: f64) -> Duration {
        let Some(full) = &mut self.full else { return Duration::from_secs_f64(cost) };
        match fidelity.place().and_then(|place| self.shorter.get_mut(place)?.as_mut()) {
            Some(own) => own.draw(rank),
            None => full.draw(rank).mul_f64(cost),
        }
    }
}

/// The benchmark of what is searched; of the first of several objectives.
fn benchmark(problem: &Problem) -> &str {
    problem.signals[0].name().split('/').next().unwrap_or_default()
}

/// The times that a benchmark recorded of shorter trainings: what it names as shorter ones of the full training's time.
fn recorded(
    catalog: &Catalog,
    problem: &Problem,
    metric: &str,
    scale: f64,
) -> Result<Vec<Option<Delays>>, DelayError> {
    let benchmark = catalog.open(benchmark(problem))?;
    let known = benchmark.fidelities(metric);
    let of = |cost: f64| {
        let same = known.iter().find(|fidelity| (fidelity.cost() - cost).abs() < SAME);
        same.map(|fidelity| Delays::of_column(&benchmark, &fidelity.metric, scale)).transpose()
    };
    problem.shorter.iter().map(|shorter| of(shorter.cost)).collect()
}

/// Refuses times that are not known of every architecture, or are nothing for all of them.
fn check(delays: &Delays, latency: &Latency, problem: &Problem) -> Result<(), ClockError> {
    let space = problem.space();
    if problem.signals[0].tabulated().is_none() {
        // A benchmark records no times of what it does not list; others are the same for every architecture.
        return match latency {
            Latency::Column { .. } => {
                Err(ClockError::Unlisted { latency: latency.clone(), task: problem.name.clone() })
            }
            _ if delays.clone().draw(0).is_zero() => Err(ClockError::Nothing(latency.clone())),
            _ => Ok(()),
        };
    }
    // A benchmark's times are by the ranks of its own space.
    let whole = space.whole().unwrap_or(space);
    let (mut delays, mut choices) = (delays.clone(), vec![0; space.len()]);
    let (mut missing, mut any_time) = (0, false);
    for rank in 0..space.size().unwrap_or(0) {
        space.unrank(rank, &mut choices);
        let rank = whole.rank(&choices);
        if delays.knows(rank) {
            any_time = any_time || !delays.draw(rank).is_zero();
            continue;
        }
        missing += usize::from(space.is_valid(&choices));
    }
    match (missing, any_time) {
        (0, true) => Ok(()),
        (0, false) => Err(ClockError::Nothing(latency.clone())),
        _ => Err(ClockError::Missing { latency: latency.clone(), task: problem.name.clone(), missing }),
    }
}
