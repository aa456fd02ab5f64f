//! What is exported must have earned it: rule and trained policy search the validation tasks, which neither the learning
//! nor the prior has seen, from paired starts.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::{bootstrap_mean_of_others, mean, mean_of_few};
use srnas_config::Config;
use srnas_environment::{CandidateMode, Environment, EnvironmentConfig, Reach, shaped_quality};
use srnas_network::{self as network, FrozenQNetwork};
use srnas_oracle::run_tasks::RunTasks;
use srnas_policy::{
    Caution, ValidationReport,
    evaluation::{Search, Searcher, search},
};
use srnas_predictor::{PosteriorSettings, Prior};
use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// What was paid when regrets are reported and the gain is measured: as far as the horizon goes, and the horizon where it is
/// shorter than all of it.
fn points(wanted: &[usize], horizon: usize) -> Vec<usize> {
    let at: Vec<usize> = wanted.iter().copied().filter(|&n| n <= horizon).collect();
    if at.is_empty() { vec![horizon] } else { at }
}

/// Searches the validation tasks.
#[derive(Clone)]
pub(crate) struct Validator {
    tasks: RunTasks,
    environment: EnvironmentConfig,
    points: Vec<usize>,
    threads: usize,
    /// A check is given up when this is cancelled.
    stop: CancellationToken,
}

/// What is to be checked.
#[derive(Clone)]
pub(crate) struct Check {
    pub network: FrozenQNetwork,
    pub settings: PosteriorSettings,
    pub prior: Option<Arc<Prior>>,
    /// How far the network is followed: those to try.
    pub cautions: Vec<Caution>,
    pub starts: usize,
    pub seed: u64,
}

impl Validator {
    pub fn new(tasks: RunTasks, config: &Config, threads: usize) -> Self {
        let environment = config.environment.clone();
        let points = points(&config.validation.points, environment.horizon);
        Self { tasks, environment, points, threads, stop: CancellationToken::new() }
    }

    /// Gives a check up when `stop` is cancelled.
    pub fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    /// Whether there is anything to search.
    pub fn has_tasks(&self) -> bool {
        !self.tasks.validation.is_empty()
    }

    /// Searches every validation task from the same starts by the rule and by the network with each caution; reports the
    /// one that gains most. `None` if it was given up.
    pub fn check(&self, check: &Check) -> network::Result<Option<ValidationReport>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|i| format!("validation-{i}"))
            .build()
            .map_err(|e| network::Error::Config(format!("no threads for the validation: {e}")))?;
        pool.install(|| self.compare(check))
    }

    fn compare(&self, check: &Check) -> network::Result<Option<ValidationReport>> {
        let environment = |config: EnvironmentConfig| {
            let (space, prior) = (self.tasks.space().clone(), check.prior.clone());
            Arc::new(Environment::new(space, config, check.settings, prior, Reach::Whole))
        };
        let env = environment(self.environment.clone());
        // An agent that is trained without posteriors has to beat the rule that has them.
        let rule_env = match self.environment.posteriors {
            true => env.clone(),
            false => environment(EnvironmentConfig {
                posteriors: true,
                candidates: CandidateMode::Proposals,
                ..self.environment.clone()
            }),
        };
        let weights = check.prior.as_ref().map_or_else(Vec::new, |p| self.tasks.weights(p, |_| false));
        let at = &self.points;
        let run = |env: &Arc<Environment>, searcher: &Searcher| -> network::Result<Vec<Vec<Search>>> {
            let tasks = self.tasks.validation.iter().map(|&i| &self.tasks.all[i]);
            tasks
                .take_while(|_| !self.stop.is_cancelled())
                .map(|task| search(env, task, &weights, searcher, check.starts, check.seed))
                .collect()
        };
        let rule = run(&rule_env, &Searcher::Rule)?;
        let mut best: Option<ValidationReport> = None;
        for &caution in &check.cautions {
            // Without posteriors there is no rule that could take over.
            if caution.until.is_some() && !self.environment.posteriors {
                continue;
            }
            let trained = run(&env, &Searcher::Network(check.network.clone(), caution))?;
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            let gains: Vec<Vec<f64>> = rule
                .iter()
                .zip(&trained)
                .map(|(r, t)| r.iter().zip(t).map(|(r, t)| quality(t, at) - quality(r, at)).collect())
                .collect();
            let families = self.tasks.validation.iter().map(|&i| self.tasks.all[i].family());
            let (gain, interval) = gain_over_families(families, &gains);
            if best.as_ref().is_none_or(|b| gain > b.gain) {
                best = Some(ValidationReport {
                    tasks: self.tasks.validation.iter().map(|&i| self.tasks.all[i].name().into()).collect(),
                    starts: check.starts,
                    margin: caution.margin,
                    until: caution.until,
                    rule: regrets(&rule, at),
                    trained: regrets(&trained, at),
                    gain,
                    interval,
                });
            }
        }
        Ok(best)
    }
}

/// Mean gain over the families, with its 95 % interval. What is exported is for families that nobody has seen, so they are what is
/// counted: tasks of one family agree with each other, however many there are. One family alone is judged by its tasks, one task by
/// its starts.
pub(crate) fn gain_over_families<'a>(
    families: impl Iterator<Item = &'a str>,
    gains: &[Vec<f64>],
) -> (f64, [f64; 2]) {
    let mut by_family: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (family, gains) in families.zip(gains) {
        by_family.entry(family).or_default().push(mean(gains));
    }
    let means: Vec<f64> = by_family.values().map(|tasks| mean(tasks)).collect();
    match (by_family.len(), gains) {
        (1, [starts]) => bootstrap_mean_of_others(std::slice::from_ref(starts)),
        (1, _) => mean_of_few(&by_family.into_values().flatten().collect::<Vec<_>>()),
        _ => mean_of_few(&means),
    }
}

/// Gain in shaped quality of the base rule with `fitted` in place of `start`, with its 95 % interval: searches of some
/// learned tasks, each without its family and a random half of the others in the prior, from paired starts. `None` if `stop`
/// came first.
pub(crate) fn gain_of_settings(
    config: &Config,
    tasks: &RunTasks,
    prior: &Arc<Prior>,
    start: PosteriorSettings,
    fitted: PosteriorSettings,
    stop: &CancellationToken,
) -> network::Result<Option<(f64, [f64; 2])>> {
    const TASKS: usize = 24;
    const STARTS: usize = 4;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ 0xf17);
    let environment = |settings| {
        let (space, config) = (tasks.space().clone(), config.environment.clone());
        Arc::new(Environment::new(space, config, settings, Some(prior.clone()), Reach::Whole))
    };
    let (before, after) = (environment(start), environment(fitted));
    let at = points(&config.validation.points, config.environment.horizon);
    let mut chosen = tasks.learned.clone();
    chosen.shuffle(&mut rng);
    chosen.truncate(TASKS);
    let gains: network::Result<Vec<Vec<f64>>> = chosen
        .iter()
        .take_while(|_| !stop.is_cancelled())
        .map(|&index| {
            let task = &tasks.all[index];
            let weights =
                tasks.weights(prior, |other| other.family() == task.family() || rng.random_bool(0.5));
            let run = |env| search(env, task, &weights, &Searcher::Rule, STARTS, config.seed);
            let (before, after) = (run(&before)?, run(&after)?);
            Ok(before.iter().zip(&after).map(|(b, a)| quality(a, &at) - quality(b, &at)).collect())
        })
        .collect();
    let gains = gains?;
    Ok((!stop.is_cancelled()).then(|| bootstrap_mean_of_others(&gains)))
}

/// Mean shaped quality of a search over the points of report.
fn quality(search: &Search, at: &[usize]) -> f64 {
    mean(&at.iter().map(|&n| f64::from(shaped_quality(search.regrets[n - 1]))).collect::<Vec<_>>())
}

fn regrets(searches: &[Vec<Search>], at: &[usize]) -> BTreeMap<usize, f64> {
    at.iter()
        .map(|&n| {
            let per_task: Vec<f64> = searches
                .iter()
                .map(|s| mean(&s.iter().map(|s| f64::from(s.regrets[n - 1])).collect::<Vec<_>>()))
                .collect();
            (n, mean(&per_task))
        })
        .collect()
}

/// Checks on a thread of their own while the training goes on; one at a time.
pub(crate) struct BackgroundCheck {
    requests: Option<mpsc::SyncSender<Check>>,
    reports: mpsc::Receiver<(Check, network::Result<Option<ValidationReport>>)>,
    busy: bool,
    thread: Option<thread::JoinHandle<()>>,
}

impl BackgroundCheck {
    pub fn start(validator: Validator) -> std::io::Result<Self> {
        let (requests, incoming) = mpsc::sync_channel::<Check>(1);
        let (outgoing, reports) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("validation".into()).spawn(move || {
            for check in incoming {
                let report = validator.check(&check);
                if outgoing.send((check, report)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { requests: Some(requests), reports, busy: false, thread: Some(thread) })
    }

    /// Starts a check unless one is going on.
    pub fn request(&mut self, check: Check) {
        if let Some(requests) = self.requests.as_ref().filter(|_| !self.busy) {
            self.busy = requests.try_send(check).is_ok();
        }
    }

    /// A check that is done.
    pub fn poll(&mut self) -> Option<(Check, ValidationReport)> {
        let done = self.reports.try_recv().ok()?;
        self.busy = false;
        succeeded(done)
    }

    /// Waits for the check that is going on, if there is one.
    pub fn finish(mut self) -> Option<(Check, ValidationReport)> {
        self.requests = None;
        let last = self.busy.then(|| self.reports.recv().ok()).flatten();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        last.and_then(succeeded)
    }
}

fn succeeded(
    (check, report): (Check, network::Result<Option<ValidationReport>>),
) -> Option<(Check, ValidationReport)> {
    match report {
        Ok(report) => report.map(|report| (check, report)),
        Err(error) => {
            warn!(%error, "a check of the policy failed");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tasks_of_two_families_are_two_witnesses() {
        let gains: Vec<Vec<f64>> =
            [0.01, 0.012, 0.011, 0.03, 0.031, 0.029].iter().map(|&g| vec![g; 48]).collect();
        let two = ["a", "a", "a", "b", "b", "b"];
        let (gain, [low, high]) = gain_over_families(two.into_iter(), &gains);
        assert!((gain - 0.0205).abs() < 1e-9);
        assert!(low < 0.0 && high > 0.1, "[{low}, {high}]");
        // The same gains in six families are six.
        let (_, [low, _]) = gain_over_families(["a", "b", "c", "d", "e", "f"].into_iter(), &gains);
        assert!(low > 0.0, "{low}");
        // One family is judged by its tasks, one task by its starts.
        let (_, [low, high]) = gain_over_families(["a"; 6].into_iter(), &gains);
        assert!(low > 0.0 && high < 0.04, "[{low}, {high}]");
        let starts = [vec![0.1, 0.2, 0.3, 0.2]];
        let (gain, [low, high]) = gain_over_families(["a"].into_iter(), &starts);
        assert!((gain - 0.2).abs() < 1e-9 && low > 0.1 && high < 0.3);
    }
}
