//! The winner of a search on shared weights, trained alone: only that says what it is worth.

use super::{LiveConfig, oracle::trained};
use crate::commands::space::GivenSpace;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use srnas_basics::{files::write_whole, text::number};
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle};
use srnas_search::report::SearchReport;
use srnas_task::{Fidelities, Training};
use std::{collections::BTreeMap, fs, path::Path, sync::atomic::AtomicBool};
use tracing::info;

/// Where it is kept in a run directory.
const FILE: &str = "alone.json";

/// What an architecture is worth, measured both ways.
#[derive(Debug, Serialize, Deserialize)]
pub struct Alone {
    /// In the space's notation.
    architecture: String,
    /// What it was found for.
    on_shared_weights: BTreeMap<String, f64>,
    /// The same trained alone, from fresh weights; nothing where that has no value.
    trained_alone: BTreeMap<String, f64>,
    /// Why it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    infeasible: Option<String>,
}

impl Alone {
    /// Trains the best that a search has found, unless that was done before; none where it has found nothing.
    pub fn of(
        report: &SearchReport,
        given: &GivenSpace,
        config: &LiveConfig,
        run_dir: &Path,
        stop: &AtomicBool,
    ) -> anyhow::Result<Option<Self>> {
        let (Some(best), Some(training)) = (&report.best, &config.training) else { return Ok(None) };
        let path = run_dir.join(FILE);
        let kept = fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Self>(&text).ok());
        if let Some(kept) = kept.filter(|kept| kept.architecture == best.architecture) {
            return Ok(Some(kept));
        }
        info!("training the winner alone: {}", best.architecture);
        let oracle = trained(given, training, &[], config.seed, Fidelities::FULL)?;
        let choices = given.space.parse(&best.architecture)?;
        let (trained_alone, infeasible) = match oracle.measure(&Training::full(choices), stop) {
            Ok(Answer::Metrics(metrics)) => (metrics, None),
            Ok(Answer::Infeasible(reason)) => (BTreeMap::new(), Some(reason)),
            Err(CostlyError::Stopped) => bail!("stopped before the winner was trained alone"),
            Err(error) => return Err(error.into()),
        };
        let alone = Self {
            architecture: best.architecture.clone(),
            on_shared_weights: best.metrics.clone(),
            trained_alone,
            infeasible,
        };
        write_whole(&path, (serde_json::to_string_pretty(&alone)? + "\n").as_bytes())?;
        Ok(Some(alone))
    }

    /// For people.
    pub fn lines(&self, run_dir: &Path) -> Vec<String> {
        let mut lines = vec![String::new()];
        match &self.infeasible {
            Some(reason) => lines.push(format!("Trained alone it has no value: {reason}")),
            None => {
                lines.push("The same trained alone, which is what it is worth:".into());
                let of = |(name, value): (&String, &f64)| format!("{name} {}", number(*value));
                let cells: Vec<String> = self.trained_alone.iter().map(of).collect();
                lines.extend(cells.chunks(5).map(|line| format!("  {}", line.join("  "))));
            }
        }
        lines.push(format!("Both: {}", run_dir.join(FILE).display()));
        lines
    }
}
