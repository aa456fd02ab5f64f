//! The numbers of the posteriors that a training begins with. Fitting them takes a while, so they are kept in the run directory
//! for starts that find no checkpoint yet.

use super::TrainerError;
use crate::validation::gain_of_settings;
use serde::{Deserialize, Serialize};
use srnas_basics::files::write_whole;
use srnas_config::Config;
use srnas_oracle::run_tasks::RunTasks;
use srnas_predictor::{PosteriorSettings, Prior, fit};
use srnas_task::Task;
use std::{path::PathBuf, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Where fitted numbers are kept, and who hears that they are being fitted.
pub(crate) struct Fitting<'a> {
    /// The file.
    pub kept: PathBuf,
    /// What they are fitted to, in one word: another has others.
    pub basis: String,
    /// Hears what goes on.
    pub say: &'a dyn Fn(&str),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    basis: String,
    settings: PosteriorSettings,
}

impl Fitting<'_> {
    /// Name of the file in a run directory.
    pub const FILE: &'static str = "posterior.json";

    /// The numbers as they were fitted before, or are now.
    pub(super) fn settings(
        &self,
        config: &Config,
        tasks: &RunTasks,
        table: &Arc<Prior>,
    ) -> Result<PosteriorSettings, TrainerError> {
        let kept = std::fs::read(&self.kept).ok();
        let kept: Option<Kept> = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.basis == self.basis) {
            info!(file = %self.kept.display(), "the posteriors were fitted before");
            return Ok(kept.settings);
        }
        let learned: Vec<Arc<Task>> = tasks.learned.iter().map(|&i| tasks.all[i].clone()).collect();
        (self.say)("fits the posteriors to the training tasks");
        info!(
            tasks = learned.len(),
            "fitting the posteriors to the training tasks; actors wait until that is done"
        );
        let (began, never) = (Instant::now(), CancellationToken::new());
        let settings = fitted_settings(config, tasks, &learned, table, config.posterior_settings(), &never)?;
        info!(seconds = began.elapsed().as_secs(), "the posteriors are fitted");
        let kept = serde_json::to_vec(&Kept { basis: self.basis.clone(), settings })
            .expect("numbers are plain data");
        if let Err(error) = write_whole(&self.kept, &kept) {
            warn!(file = %self.kept.display(), %error, "what was fitted cannot be kept; a start without a checkpoint fits anew");
        }
        Ok(settings)
    }
}

/// Numbers of the posteriors: fitted by evidence on what is known of the training tasks, if the rule searches these better
/// so; else those it had `before`.
pub(super) fn fitted_settings(
    config: &Config,
    tasks: &RunTasks,
    known: &[Arc<Task>],
    prior: &Arc<Prior>,
    before: PosteriorSettings,
    stop: &CancellationToken,
) -> Result<PosteriorSettings, TrainerError> {
    let visible = tasks.weights(prior, |_| false);
    let fitted = fit(tasks.space(), known, prior, &visible, before, config.seed);
    let Some((gain, [low, high])) = gain_of_settings(config, tasks, prior, before, fitted, stop)? else {
        return Ok(before);
    };
    let earned = low > 0.0;
    info!(
        ?fitted,
        gain = %format!("{gain:+.4} [{low:+.4}, {high:+.4}]"),
        used = earned,
        "posteriors fitted by evidence on the training tasks; used if the rule searches them better so"
    );
    Ok(if earned { fitted } else { before })
}
