//! `srnas run --deterministic`: actors and learner take turns on one thread, so that a run repeats to the last bit.

use srnas_actor::Walker;
use srnas_config::Config;
use srnas_learner::{Interleaved, LearnerError, Progress, Start, Summary, Turn};
use srnas_oracle::{catalog::Catalog, run_tasks::RunTasks};
use std::path::Path;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs until the configured steps are made, or until `stop`.
///
/// # Errors
/// The learner's and the actors'.
pub fn run(
    config: Config,
    run_dir: &Path,
    start: Start,
    catalog: &Catalog,
    progress: &watch::Sender<Progress>,
    ready: &CancellationToken,
    stop: &CancellationToken,
) -> anyhow::Result<Summary> {
    let mut learner = Interleaved::open(config.clone(), run_dir, start, catalog)?;
    ready.cancel();
    let tasks = RunTasks::resolve(&config, catalog).map_err(LearnerError::from)?;
    let (actors, episodes) = (config.run.actors, config.acting.episodes);
    loop {
        let mut walkers = Vec::with_capacity(actors);
        for i in 0..actors {
            let place = (i * episodes, actors * episodes);
            let mut walker = Walker::new(config.clone(), tasks.clone(), episodes, place, learner.seed(i))?;
            walker.adopt(&learner.policy().bytes)?;
            walkers.push(walker);
        }
        let end = take_turns(&mut learner, &mut walkers, progress, stop)?;
        match end {
            Turn::Restart => {}
            _ => return Ok(learner.finish(stop)?),
        }
    }
}

/// Until the actors have to begin anew, or the run is over or stopped.
fn take_turns(
    learner: &mut Interleaved,
    walkers: &mut [Walker],
    progress: &watch::Sender<Progress>,
    stop: &CancellationToken,
) -> anyhow::Result<Turn> {
    while !stop.is_cancelled() {
        for (i, walker) in walkers.iter_mut().enumerate() {
            for batch in walker.step()? {
                learner.take(i, &batch)?;
            }
        }
        match learner.turn()? {
            Turn::GoOn => {}
            Turn::Broadcast => {
                walkers.iter_mut().try_for_each(|walker| walker.adopt(&learner.policy().bytes))?;
            }
            end => return Ok(end),
        }
        if let Some(report) = learner.report() {
            progress.send_replace(report);
        }
    }
    Ok(Turn::GoOn)
}
