//! The oracle that a search by measurements asks: what trains, shares weights, asks a program, or asks evaluators.

use super::{
    CURVES, FOLDERS, LiveArguments, TRAININGS, Usage,
    config::{LiveConfig, RemoteConfig, TrainingConfig},
};
use crate::commands::space::GivenSpace;
use srnas_basics::text::number;
use srnas_learner::{
    RunDir, Start,
    evaluate::{RemoteOptions, RemoteOracle, Terms},
};
use srnas_oracle::{
    OracleSpec,
    command::{CommandOptions, CommandOracle},
    costly::CostlyOracle,
    curves::CurveOptions,
    rewarded::Rewarded,
    training::{SharedOracle, TrainingOracle, data},
};
use srnas_search::Goal;
use srnas_task::Fidelities;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tracing::info;

/// The file of a run directory with the weights that all networks share.
const SHARED_WEIGHTS: &str = "shared-weights.safetensors";
/// Evaluators could not keep a shorter one.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

impl LiveArguments {
    /// The oracle that a configuration asks for, and its run directory. What is wrong with images or addresses is said before there is
    /// one; a program gets its folders in it.
    pub fn oracle(
        &self,
        given: &GivenSpace,
        config: &LiveConfig,
        run_dir: &Path,
        start: Start,
    ) -> anyhow::Result<(Box<dyn CostlyOracle>, RunDir, bool)> {
        let metrics = config.metrics()?;
        let is_shared = config.oracle == OracleSpec::Shared;
        let trains = match &config.training {
            Some(training) if !is_shared => {
                let mut oracle = trained(given, training, &metrics, config.seed, config.fidelities())?;
                if let Some(epochs) = config.inherit {
                    oracle = oracle.with_heirs(epochs as usize).map_err(Usage)?;
                }
                check_limits(given, &oracle, &config.goal()?)?;
                Some(oracle)
            }
            _ => None,
        };
        let shares = match &config.training {
            Some(training) if is_shared => {
                let in_run_dir = || run_dir.join(SHARED_WEIGHTS);
                let path = config.shared_weights.clone().unwrap_or_else(in_run_dir);
                Some(shared(given, training, &metrics, path)?)
            }
            _ => None,
        };
        let asks = match &config.remote {
            Some(remote) => Some(self.evaluators(given, remote, config, run_dir)?),
            None => None,
        };
        let of_parts = match (&config.llm, &config.oracle) {
            (Some(llm), OracleSpec::Llm) => {
                let oracle = llm.oracle(given.space.clone(), &config.metrics()?, config.fidelities())?;
                check_metrics(&oracle, &config.metrics()?)?;
                Some(oracle)
            }
            _ => None,
        };
        let (held, resumed) = RunDir::open(run_dir, start)?;
        let oracle: Box<dyn CostlyOracle> = match (trains, shares, asks, of_parts) {
            (Some(mut oracle), ..) => {
                oracle.keep_in(run_dir.join(TRAININGS))?;
                Box::new(oracle)
            }
            (_, Some(oracle), ..) => Box::new(oracle),
            (_, _, Some(oracle), _) => Box::new(oracle),
            (.., Some(oracle)) => Box::new(oracle),
            (None, None, None, None) => match &config.oracle {
                OracleSpec::Program(command) => Box::new(program(command, given, config, run_dir)?),
                other => return Err(Usage(format!("{other}: its configuration is not whole")).into()),
            },
        };
        let rewards = config.goal()?.rewards();
        let oracle = match rewards.is_empty() {
            true => oracle,
            false => Box::new(Rewarded::over(oracle, rewards)),
        };
        Ok((oracle, held, resumed))
    }

    /// The oracle that asks evaluators; it listens.
    fn evaluators(
        &self,
        given: &GivenSpace,
        remote: &RemoteConfig,
        config: &LiveConfig,
        run_dir: &Path,
    ) -> anyhow::Result<RemoteOracle> {
        let lease = duration("lease", Some(&remote.lease))?.unwrap_or_default();
        if lease < SHORTEST_LEASE {
            let text = format!("--lease {}: evaluators need a second at least to renew it", remote.lease);
            return Err(Usage(text).into());
        }
        let options = RemoteOptions {
            search_id: remote.id.clone(),
            metrics: config.metrics()?,
            minimise: config.minimise,
            space: given.place.clone(),
            definition: given.definition.clone(),
            seed: config.seed,
            fidelities: config.fidelities(),
            curves: curves(config, run_dir),
            terms: Terms {
                lease,
                timeout: duration("timeout", config.timeout.as_ref())?,
                retries: config.retries,
            },
            listen: remote.listen,
            security: self.security.load(remote.listen, None)?,
        };
        let oracle = RemoteOracle::start(given.space.clone(), options)?;
        info!(address = %oracle.address(), "listening for evaluators");
        Ok(oracle)
    }
}

/// A time, as it is written in a configuration.
fn duration(what: &str, text: Option<&String>) -> anyhow::Result<Option<Duration>> {
    let parse =
        |text: &String| humantime::parse_duration(text).map_err(|e| Usage(format!("{what}: {e}")).into());
    text.map(parse).transpose()
}

/// Refuses a limit on costs that no network keeps, before any is trained.
fn check_limits(given: &GivenSpace, oracle: &TrainingOracle, goal: &Goal) -> anyhow::Result<()> {
    for limit in goal.limits().iter().filter(|limit| limit.at_most) {
        if let Some((smallest, least)) = oracle.least(&limit.metric).filter(|(_, least)| *least > limit.bound)
        {
            return Err(Usage(format!(
                "--require '{limit}': the smallest network of {} ({smallest}) has {}; give at least that",
                given.space.name(),
                // Upwards: what is said is to be enough.
                number((least * 1e4).ceil() / 1e4)
            ))
            .into());
        }
    }
    Ok(())
}

/// The oracle that trains.
pub fn trained(
    given: &GivenSpace,
    training: &TrainingConfig,
    wanted: &[String],
    seed: u64,
    fidelities: Fidelities,
) -> anyhow::Result<TrainingOracle> {
    let images = data::load(&training.data, &mut |path| info!("reading {}", path.display()))
        .map_err(|e| Usage(e.to_string()))?;
    let (recipe, questions) = (training.recipe.clone(), training.questions.clone());
    let mut oracle =
        TrainingOracle::new(given.space.clone(), images, recipe, questions, seed).map_err(Usage)?;
    if fidelities.vary() {
        oracle = oracle.with(fidelities).map_err(Usage)?;
    }
    check_metrics(&oracle, wanted)?;
    Ok(oracle)
}

/// Refuses metrics that an oracle does not have.
fn check_metrics(oracle: &dyn CostlyOracle, wanted: &[String]) -> Result<(), Usage> {
    let known = oracle.metric_names();
    match wanted.iter().find(|metric| !known.contains(metric)) {
        None => Ok(()),
        Some(metric) => {
            let hint = srnas_basics::names::did_you_mean(metric, known.iter().map(String::as_str));
            Err(Usage(format!("the oracle has no metric `{metric}`{hint}")))
        }
    }
}

/// The oracle that asks networks on weights that they share.
fn shared(
    given: &GivenSpace,
    training: &TrainingConfig,
    wanted: &[String],
    path: PathBuf,
) -> anyhow::Result<SharedOracle> {
    let images = data::load(&training.data, &mut |path| info!("reading {}", path.display()))
        .map_err(|e| Usage(e.to_string()))?;
    let (recipe, settings) = (training.recipe.clone(), training.shared.clone().unwrap_or_default());
    let oracle = SharedOracle::new(given.space.clone(), images, recipe, settings, path).map_err(Usage)?;
    check_metrics(&oracle, wanted)?;
    Ok(oracle)
}

/// What becomes of what trainings report as they go.
fn curves(config: &LiveConfig, run_dir: &Path) -> CurveOptions {
    CurveOptions { folder: Some(run_dir.join(CURVES)), minimise: config.minimise, rule: config.stop_early }
}

/// The oracle that asks a program.
fn program(
    command: &str,
    given: &GivenSpace,
    config: &LiveConfig,
    run_dir: &Path,
) -> anyhow::Result<CommandOracle> {
    let options = CommandOptions {
        command: command.into(),
        metrics: config.metrics()?,
        timeout: duration("timeout", config.timeout.as_ref())?,
        retries: config.retries,
        seed: config.seed,
        folder: run_dir.join(FOLDERS),
        keep: config.keep,
        fidelities: config.fidelities(),
        slots: config.slots_env.clone(),
        curves: Some(curves(config, run_dir)),
    };
    Ok(CommandOracle::new(given.space.clone(), given.definition.clone(), options)?)
}
