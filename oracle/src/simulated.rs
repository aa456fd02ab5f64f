//! An oracle that is slower, noisier and less reliable than the table behind it, so that one machine shows what a run
//! on costly measurements would do.
//!
//! Each layer is there or not, whatever the others are. *Noise* and *failures* make another task of a task
//! ([`disturb`]): what a measurement says depends on the run's seed, the task and the canonical key alone, so that it
//! repeats, in every actor. *Latency* says how long a measurement takes ([`Delays`]); who measures waits.

use crate::{
    benchmark::{Benchmark, BenchmarkError},
    catalog::{Catalog, CatalogError},
    run_tasks::RunTasks,
};
use hashbrown::HashMap;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, StandardNormal};
use sha2::{Digest, Sha256};
use srnas_config::{Config, ConfigError, Latency, SimulationConfig};
use srnas_task::{Shorter, Task, TaskError};
use std::{sync::Arc, time::Duration};

/// Unit of metrics that can be a latency.
const SECONDS: &str = "s";

/// Why an oracle cannot be simulated as the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The configuration names no task.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Measurements cannot take so long.
    #[error("simulation.latency")]
    Delay(#[from] DelayError),
    /// Noise or failures leave nothing to find.
    #[error("simulation.noise, simulation.failures")]
    Task(#[from] TaskError),
}

impl SimulationError {
    /// Whether the configuration is to blame, not a file that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Delay(delay) => delay.is_usage(),
            _ => true,
        }
    }
}

/// Why measurements cannot take as long as a latency says.
#[derive(Debug, thiserror::Error)]
pub enum DelayError {
    /// The benchmark cannot be opened.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The benchmark has no such metric.
    #[error(transparent)]
    Metric(#[from] BenchmarkError),
    /// The metric is no time.
    #[error("metric `{metric}` {reason}")]
    Column {
        /// The metric.
        metric: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl DelayError {
    /// Whether what was asked for is to blame, not a file that is missing or damaged.
    pub fn is_usage(&self) -> bool {
        !matches!(self, Self::Catalog(_))
    }
}

/// Checks that a run's oracle can be simulated as its configuration says.
///
/// # Errors
/// As [`disturb`] and [`Delays::resolve`].
pub fn check(config: &Config, catalog: &Catalog, tasks: &RunTasks) -> Result<(), SimulationError> {
    disturb(tasks.clone(), &config.simulation, config.seed)?;
    Delays::resolve(config, catalog, 0)?;
    // Recorded times are by the ranks of their benchmark's table.
    if let Some(Latency::Column { metric, .. }) = &config.simulation.latency {
        let benchmark = catalog.open(&config.train_tasks()?[0].benchmark).map_err(DelayError::from)?;
        let reason = match tasks.all.iter().any(|task| task.tabulated().is_none()) {
            true => "is of a table's rows, and the run is on every architecture of a space",
            false if benchmark.space().name() != tasks.space().name() => {
                "is of architectures of another space than the run's"
            }
            false => return Ok(()),
        };
        let reason = format!("{reason}; use a constant or log-normal latency");
        return Err(DelayError::Column { metric: metric.clone(), reason }.into());
    }
    Ok(())
}

/// The tasks as the simulated oracle measures them: with its noise, and without what fails. Best and median are those
/// of what can be measured.
///
/// # Errors
/// When so much fails that nothing is left to find.
pub fn disturb(
    mut tasks: RunTasks,
    simulation: &SimulationConfig,
    seed: u64,
) -> Result<RunTasks, SimulationError> {
    if simulation.noise > 0.0 || simulation.failures > 0.0 {
        for task in &mut tasks.all {
            *task = Arc::new(disturbed(task, simulation, seed)?);
        }
    }
    Ok(tasks)
}

fn disturbed(task: &Task, simulation: &SimulationConfig, seed: u64) -> Result<Task, TaskError> {
    // A stream for each layer: the noise is the same with and without failures.
    let mut failures = Streams::new("failures", task.name(), seed);
    let mut noise = Streams::new("noise", task.name(), seed);
    let deviation = simulation.noise * f64::from(task.best() - task.median());
    let shorter = task.shorter().iter().map(|shorter| {
        let task = Arc::new(disturbed(&shorter.task, simulation, seed)?);
        Ok(Shorter { task, cost: shorter.cost })
    });
    let shorter: Vec<Shorter> = shorter.collect::<Result<_, TaskError>>()?;
    let disturbed = task.map_values(|key, value| {
        if simulation.failures > 0.0 && failures.of(key).random_bool(simulation.failures) {
            return None;
        }
        if deviation == 0.0 {
            return Some(value);
        }
        let error: f64 = StandardNormal.sample(noise.of(key));
        Some((f64::from(value) + deviation * error) as f32)
    })?;
    disturbed.with_shorter(shorter)
}

/// A random stream for each canonical key of a task, the same in whatever order keys are asked for.
struct Streams(ChaCha8Rng);

impl Streams {
    fn new(layer: &str, task: &str, seed: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed.to_le_bytes());
        hash.update(layer);
        hash.update([0]);
        hash.update(task);
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    fn of(&mut self, key: u64) -> &mut ChaCha8Rng {
        self.0.set_stream(key);
        self.0.set_word_pos(0);
        &mut self.0
    }
}

/// How long measurements take, one after the other.
#[derive(Clone, Debug)]
pub struct Delays(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Constant(Duration),
    LogNormal(LogNormal<f64>, Box<ChaCha8Rng>),
    /// By rank.
    Column(Arc<HashMap<u64, Duration>>),
}

impl Delays {
    /// The delays that a run's configuration asks for, if it does; random ones come from `seed`.
    ///
    /// # Errors
    /// As [`Delays::new`].
    pub fn resolve(config: &Config, catalog: &Catalog, seed: u64) -> Result<Option<Self>, SimulationError> {
        let Some(latency) = &config.simulation.latency else { return Ok(None) };
        // Only a column asks what is searched.
        let tasks = match latency {
            Latency::Column { .. } => config.train_tasks()?,
            _ => Vec::new(),
        };
        let benchmarks: Vec<&str> = tasks.iter().map(|task| task.benchmark.as_str()).collect();
        Ok(Some(Self::new(latency, &benchmarks, catalog, seed)?))
    }

    /// The delays that a latency names; `benchmarks` are those of the tasks, of which a column is one's.
    ///
    /// # Errors
    /// Refuses a column that its benchmark has not, that is not in seconds or not known everywhere, and one where the
    /// tasks are on several benchmarks.
    pub fn new(
        latency: &Latency,
        benchmarks: &[&str],
        catalog: &Catalog,
        seed: u64,
    ) -> Result<Self, DelayError> {
        match latency {
            Latency::Constant(latency) => Ok(Self(Kind::Constant(*latency))),
            Latency::LogNormal { median, sigma } => {
                let logarithm = median.as_secs_f64().ln();
                let distribution = LogNormal::new(logarithm, *sigma).expect("a sigma of 0 or more");
                Ok(Self(Kind::LogNormal(distribution, Box::new(ChaCha8Rng::seed_from_u64(seed)))))
            }
            Latency::Column { metric, scale } => {
                let benchmark = benchmarks[0];
                if let Some(other) = benchmarks.iter().find(|other| **other != benchmark) {
                    let reason = format!(
                        "is of one benchmark, and the tasks are on `{benchmark}` and `{other}`; use a constant or \
                         log-normal latency"
                    );
                    return Err(DelayError::Column { metric: metric.clone(), reason });
                }
                Self::of_column(&*catalog.open(benchmark)?, metric, *scale)
            }
        }
    }

    /// As a benchmark's metric says, scaled.
    ///
    /// # Errors
    /// Refuses a metric that is not there, not in seconds, or no time somewhere.
    pub fn of_column(benchmark: &Benchmark, metric: &str, scale: f64) -> Result<Self, DelayError> {
        Ok(Self(Kind::Column(Arc::new(column(benchmark, metric, scale)?))))
    }

    /// The same with random ones from another seed.
    pub fn seeded(&self, seed: u64) -> Self {
        match &self.0 {
            Kind::LogNormal(distribution, _) => {
                Self(Kind::LogNormal(*distribution, Box::new(ChaCha8Rng::seed_from_u64(seed))))
            }
            _ => self.clone(),
        }
    }

    /// Whether it is known how long the architecture of this rank takes.
    pub fn knows(&self, rank: u64) -> bool {
        match &self.0 {
            Kind::Column(column) => column.contains_key(&rank),
            _ => true,
        }
    }

    /// How long the next measurement takes, of the architecture of this rank.
    pub fn draw(&mut self, rank: u64) -> Duration {
        match &mut self.0 {
            Kind::Constant(latency) => *latency,
            Kind::LogNormal(distribution, rng) => {
                Duration::try_from_secs_f64(distribution.sample(rng.as_mut())).unwrap_or(Duration::MAX)
            }
            Kind::Column(column) => column[&rank],
        }
    }
}

/// Times by rank.
fn column(benchmark: &Benchmark, metric: &str, scale: f64) -> Result<HashMap<u64, Duration>, DelayError> {
    let refused = |reason: String| DelayError::Column { metric: metric.into(), reason };
    let (space, view) = (benchmark.space(), benchmark.metric(metric)?);
    let unit = &view.info().unit;
    if unit != SECONDS {
        let known: Vec<&str> =
            benchmark.metrics().filter(|m| m.info().unit == SECONDS).map(|m| m.name()).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        return Err(refused(format!("is in `{unit}`, not in seconds; metrics in seconds: {known}")));
    }
    let time = |row: usize| {
        let seconds = view.mean(row);
        Duration::try_from_secs_f64(scale * seconds).map_err(|_| {
            let architecture = space.format(benchmark.choices(row));
            let said =
                if seconds.is_nan() { "not known".into() } else { format!("{seconds}, which is no time,") };
            refused(format!(
                "is {said} for {architecture}; use another metric, or a constant or log-normal latency"
            ))
        })
    };
    (0..benchmark.rows()).map(|row| Ok((space.rank(benchmark.choices(row)), time(row)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{BenchmarkWriter, Direction, MetricInfo};
    use srnas_space::SearchSpace;
    use srnas_task::Count;
    use tempfile::TempDir;

    fn space() -> Arc<SearchSpace> {
        SearchSpace::named("nb201").unwrap()
    }

    /// Best 15,624, median 7,812 where strings count.
    fn tasks(count: Count) -> RunTasks {
        let values: Arc<[f32]> = (0..15_625).map(|r| r as f32).collect();
        let task = |name: &str| Arc::new(Task::new(name, "f", space(), values.clone(), count).unwrap());
        RunTasks { all: vec![task("a"), task("b")], learned: vec![0], validation: vec![1], teachers: None }
    }

    fn with(noise: f64, failures: f64) -> SimulationConfig {
        SimulationConfig { latency: None, noise, failures }
    }

    fn values(task: &Task) -> Vec<Option<f32>> {
        (0..15_625).map(|rank| task.value_of_rank(rank)).collect()
    }

    #[test]
    fn noise_repeats_by_key_task_and_seed_and_has_its_deviation() {
        let (before, noisy) =
            (tasks(Count::Strings), disturb(tasks(Count::Strings), &with(0.1, 0.0), 1).unwrap());
        let again = disturb(tasks(Count::Strings), &with(0.1, 0.0), 1).unwrap();
        let other = disturb(tasks(Count::Strings), &with(0.1, 0.0), 2).unwrap();
        assert_eq!(values(&noisy.all[0]), values(&again.all[0]));
        assert_ne!(values(&noisy.all[0]), values(&other.all[0]));
        assert_ne!(values(&noisy.all[0]), values(&noisy.all[1]));
        let gap = f64::from(before.all[0].best() - before.all[0].median());
        let errors: Vec<f64> = (0..15_625)
            .map(|rank| f64::from(noisy.all[0].value_of_rank(rank).unwrap() - rank as f32) / gap)
            .collect();
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let deviation = (errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / errors.len() as f64).sqrt();
        assert!(mean.abs() < 0.004 && (deviation - 0.1).abs() < 0.004, "{mean} {deviation}");
        // Best is what can be measured.
        let best = values(&noisy.all[0]).into_iter().flatten().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(noisy.all[0].best(), best);
    }

    #[test]
    fn encodings_of_a_class_share_noise_and_failure() {
        let noisy = disturb(tasks(Count::Classes), &with(0.1, 0.3), 1).unwrap();
        let space = space();
        let mut seen: HashMap<u64, Option<f32>> = HashMap::new();
        let mut choices = [0; 6];
        for rank in 0..15_625 {
            space.unrank(rank, &mut choices);
            let value = noisy.all[0].value_of_rank(rank);
            assert_eq!(*seen.entry(space.canonical_key(&choices)).or_insert(value), value);
        }
        assert_eq!(seen.len(), 6_466);
        let failed = seen.values().filter(|v| v.is_none()).count() as f64 / seen.len() as f64;
        assert!((failed - 0.3).abs() < 0.03, "{failed}");
    }

    #[test]
    fn the_failing_share_is_met_and_leaves_the_noise_as_it_is() {
        let failing = disturb(tasks(Count::Strings), &with(0.0, 0.05), 7).unwrap();
        let failed = values(&failing.all[0]).iter().filter(|v| v.is_none()).count();
        // Five standard deviations around 781.
        assert!((645..917).contains(&failed), "{failed}");
        let noisy = disturb(tasks(Count::Strings), &with(0.1, 0.0), 7).unwrap();
        let both = disturb(tasks(Count::Strings), &with(0.1, 0.05), 7).unwrap();
        for rank in 0..15_625 {
            let expected = failing.all[1].value_of_rank(rank).and(noisy.all[1].value_of_rank(rank));
            assert_eq!(both.all[1].value_of_rank(rank), expected);
        }
    }

    #[test]
    fn nothing_simulated_changes_nothing_and_too_many_failures_are_refused() {
        let (before, after) =
            (tasks(Count::Strings), disturb(tasks(Count::Strings), &with(0.0, 0.0), 1).unwrap());
        assert_eq!(values(&before.all[0]), values(&after.all[0]));
        let error = disturb(tasks(Count::Strings), &with(0.0, 0.999_999), 1).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("simulation.failures"), "{error}");
    }

    fn config(latency: &str) -> Config {
        let mut config = Config::default();
        config.tasks.train = vec!["toy/d/val".into()];
        config.simulation.latency = Some(latency.parse().unwrap());
        config
    }

    /// A benchmark of three cells that take 1, 2 and 4 s.
    fn toy(times: &[f32]) -> (TempDir, Catalog) {
        let folder = TempDir::new().unwrap();
        let cells = [0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 0, 0];
        let mut writer = BenchmarkWriter::new("toy", &space(), cells.to_vec(), "made up", "none");
        for (name, unit, values) in [("d/val", "%", &[1.0, 2.0, 3.0][..]), ("d/time", "s", times)] {
            let info =
                MetricInfo { unit: unit.into(), direction: Direction::Maximise, description: String::new() };
            writer.metric(name, info, 1, values);
        }
        writer.write(&folder.path().join("toy.safetensors")).unwrap();
        let catalog = Catalog::new(Some(folder.path().into()));
        (folder, catalog)
    }

    #[test]
    fn draws_repeat_by_seed_and_the_median_of_a_log_normal_is_right() {
        let (_folder, catalog) = toy(&[1.0, 2.0, 4.0]);
        let draws = |latency: &str, seed| -> Vec<Duration> {
            let mut delays = Delays::resolve(&config(latency), &catalog, seed).unwrap().unwrap();
            (0..10_001).map(|_| delays.draw(0)).collect()
        };
        assert!(draws("20ms", 1).iter().all(|d| *d == Duration::from_millis(20)));
        let mut drawn = draws("lognormal:20ms:0.5", 1);
        assert_eq!(drawn, draws("lognormal:20ms:0.5", 1));
        assert_ne!(drawn, draws("lognormal:20ms:0.5", 2));
        drawn.sort();
        let at = |share: f64| 1e3 * drawn[(share * 10_000.0) as usize].as_secs_f64();
        assert!((at(0.5) - 20.0).abs() < 0.7, "{}", at(0.5));
        // One deviation of the logarithm above the median.
        assert!((at(0.8413) - 20.0 * 0.5f64.exp()).abs() < 1.5, "{}", at(0.8413));
        assert!(draws("lognormal:0s:0.5", 1).iter().all(Duration::is_zero));
        assert!(Delays::resolve(&Config::default(), &catalog, 1).unwrap().is_none());
    }

    #[test]
    fn a_column_takes_its_times_from_the_benchmark_and_is_refused_where_it_is_none() {
        let (_folder, catalog) = toy(&[1.0, 2.0, 4.0]);
        let mut delays = Delays::resolve(&config("column:d/time*0.01"), &catalog, 1).unwrap().unwrap();
        for (cell, ms) in [([0, 0, 0, 1, 0, 0], 10), ([0, 0, 0, 3, 0, 0], 40)] {
            let rank = space().rank(&cell);
            assert!((delays.draw(rank).as_secs_f64() * 1e3 - f64::from(ms)).abs() < 1e-3);
        }
        let refused = |latency: &str, catalog: &Catalog| {
            let error = Delays::resolve(&config(latency), catalog, 1).unwrap_err();
            assert!(error.is_usage());
            format!("{error}: {}", std::error::Error::source(&error).map_or(String::new(), |s| s.to_string()))
        };
        let error = refused("column:d/val*1", &catalog);
        assert!(error.contains("in `%`, not in seconds; metrics in seconds: d/time"), "{error}");
        let error = refused("column:d/tiem*1", &catalog);
        assert!(error.contains("d/tiem") && error.contains("did you mean `d/time`"), "{error}");
        let (_folder, sparse) = toy(&[1.0, f32::NAN, 4.0]);
        let error = refused("column:d/time*1", &sparse);
        assert!(error.contains("metric `d/time` is not known for |none~0|"), "{error}");
    }
}
