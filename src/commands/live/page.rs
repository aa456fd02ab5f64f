//! A search as a source of pages: by its run directory, whoever runs it.

use super::{config::LiveConfig, look::Look, start, status};
use anyhow::{Context, bail};
use serde_json::json;
use srnas_basics::text::with_causes;
use srnas_learner::RunDir;
use srnas_oracle::costly::CostlyOracle;
use srnas_page::{Added, Deed, Source, View};
use srnas_search::Importance;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Which decisions mattered is found anew when there is so much more than there was then.
const MORE: f64 = 1.1;

/// A search that is watched.
pub struct SearchSource {
    run_dir: PathBuf,
    /// Which decisions mattered, and after how many measurements that was found.
    importance: Mutex<(Importance, usize)>,
    /// Whether it can be asked for anything.
    is_steered: bool,
    /// Stops it, where it runs in this process.
    stop: Option<Arc<AtomicBool>>,
    /// Who measures, where it runs in this process.
    oracle: Option<Arc<dyn CostlyOracle>>,
}

impl SearchSource {
    /// That in a run directory.
    pub fn of(run_dir: &Path, stop: Option<Arc<AtomicBool>>) -> Self {
        let importance = Mutex::default();
        Self { run_dir: run_dir.into(), importance, is_steered: true, stop, oracle: None }
    }

    /// The same, and who measures for it.
    pub fn measured_by(self, oracle: Arc<dyn CostlyOracle>) -> Self {
        Self { oracle: Some(oracle), ..self }
    }

    /// The measurements in a directory, of which nothing can be asked.
    pub fn only_shown(run_dir: &Path) -> Self {
        Self { is_steered: false, ..Self::of(run_dir, None) }
    }

    fn view(&self) -> anyhow::Result<View> {
        let look = Look::at(&self.run_dir)?;
        let mut known = self.importance.lock().unwrap_or_else(PoisonError::into_inner);
        let found = look.report.rows.len();
        if found < known.1 || found as f64 >= MORE * known.1 as f64 && found != known.1 {
            // A posterior that cannot be made says nothing; the rest of the page does.
            *known = (look.importance().unwrap_or_default(), found);
        }
        let mut view = look.page((&known.0, known.1)).view();
        if let Some(oracle) = &self.oracle {
            view.head["workers"] = json!(oracle.workers());
        }
        Ok(view)
    }

    /// Keeps a measurement of somebody's own among the first points.
    fn add(&self, added: &Added) -> anyhow::Result<String> {
        let (config, given) = LiveConfig::looked_at(&self.run_dir)?;
        let space = &given.space;
        let fits = added.choices.len() == space.len()
            && added.choices.iter().zip(space.decisions()).all(|(c, d)| usize::from(*c) < d.choices.len());
        if !fits {
            bail!("these are not choices of {}", space.name());
        }
        let metrics: serde_json::Map<String, serde_json::Value> =
            added.metrics.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut row = json!({ "decisions": space.to_json(&added.choices) });
        let measured = !metrics.is_empty();
        if measured {
            row["metrics"] = metrics.into();
        }
        // Read as a file of --start is: what is wrong with it is said in the same words.
        let mut file = tempfile::Builder::new().suffix(".jsonl").tempfile()?;
        writeln!(file, "{row}")?;
        file.flush()?;
        let (goal, fidelities) = (config.goal()?, config.fidelities());
        let first = start::read(file.path(), space, &goal, &fidelities)?;
        start::add(&self.run_dir, first, space, &fidelities)?;
        let what = if measured { "it informs the search and costs nothing" } else { "it is measured next" };
        let when = match RunDir::holder(&self.run_dir) {
            Some(_) => "",
            None => ", when the search goes on by --resume",
        };
        Ok(format!("kept in {}: {what}{when}", start::FILE))
    }

    fn done(&self, deed: &Deed) -> anyhow::Result<String> {
        match deed {
            Deed::Drain => {
                let holder = RunDir::holder(&self.run_dir).context("the search does not run")?;
                status::drain(&self.run_dir)
                    .with_context(|| format!("cannot write in {}", self.run_dir.display()))?;
                Ok(format!("the search ({holder}) begins nothing more and ends when what runs has ended"))
            }
            Deed::Stop => {
                self.stop
                    .as_ref()
                    .context("only the process that runs it can stop it")?
                    .store(true, Ordering::Relaxed);
                Ok("stopping; what was measured is kept, and --resume goes on".into())
            }
            Deed::Add(added) => self.add(added),
            Deed::Dismiss(worker) => {
                let oracle = self.oracle.as_ref().context("only the process that runs it can do that")?;
                oracle.dismiss(worker).map_err(anyhow::Error::msg)?;
                Ok(format!(
                    "{worker} gets nothing more to do and ends when it has answered; the search goes on"
                ))
            }
            Deed::Checkpoint => bail!("a search keeps each measurement at once"),
        }
    }
}

impl Source for SearchSource {
    fn look(&self) -> Result<View, String> {
        self.view().map_err(|error| with_causes(error.as_ref()))
    }

    fn deeds(&self) -> Vec<&'static str> {
        let stop = self.stop.as_ref().map(|_| "stop");
        let dismiss = self.oracle.as_ref().map(|_| "dismiss");
        ["drain", "add"].into_iter().chain(stop).chain(dismiss).filter(|_| self.is_steered).collect()
    }

    fn act(&self, deed: &Deed) -> Result<String, String> {
        self.done(deed).map_err(|error| with_causes(error.as_ref()))
    }
}
