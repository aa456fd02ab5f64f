//! `srnas space shared`: what architectures are worth on shared weights.

use super::{
    architectures::{ArchitectureArguments, print_csv},
    training::TrainingArguments,
};
use crate::commands::{Usage, stop_flag};
use clap::Args;
use rayon::prelude::*;
use serde_json::json;
use srnas_basics::{
    statistics::{bootstrap_rank_correlation, kendall},
    text::number,
};
use srnas_oracle::{
    catalog::Catalog,
    tasks::resolve_tasks,
    training::{OnSharedWeights, SharedFileError, SharedOracle, TrainingError},
};
use srnas_space::SearchSpace;
use srnas_task::{Count, Task, TaskName};
use std::{path::PathBuf, time::Instant};

/// The share of the best among which it is told apart again how far two agree.
const BEST: usize = 10;

/// Print what architectures are worth on shared weights, which are trained first, and how far that agrees with a task
#[derive(Debug, Args)]
pub struct SharedCommand {
    #[command(flatten)]
    of: TrainingArguments,
    #[command(flatten)]
    which: ArchitectureArguments,
    /// The shared weights; trained, and gone on with, where they are not there or not to their end
    #[arg(long, value_name = "FILE", default_value = "shared-weights.safetensors")]
    weights: PathBuf,
    /// Also print the rank correlations with this task on the space, such as digits/val/clean
    #[arg(long, value_name = "T", conflicts_with = "csv")]
    against: Option<TaskName>,
    /// Folder of benchmark files, for --against
    #[arg(long, value_name = "DIR", requires = "against")]
    bench_dir: Option<PathBuf>,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Print CSV that `srnas bench import table` reads
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// An architecture and what it is worth.
type Asked = (Vec<u8>, OnSharedWeights);

/// How far what shared weights say agrees with a task.
struct Agreement {
    architectures: usize,
    spearman: (f64, [f64; 2]),
    kendall: f64,
}

impl SharedCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let (space, images, training) = self.of.load()?;
        let task = self.task(&space)?;
        let settings = training.shared.unwrap_or_default();
        let oracle =
            SharedOracle::new(space.clone(), images, training.recipe, settings, self.weights.clone());
        let oracle = oracle.map_err(Usage)?;
        let architectures = self.which.of(&space, self.seed)?;
        let began = Instant::now();
        let stop = stop_flag()?;
        let weights = match oracle.weights(&stop) {
            Err(SharedFileError::Training(TrainingError::Stopped)) => {
                anyhow::bail!("stopped; what was trained is kept, and the same command goes on")
            }
            found => found?,
        };
        let trained = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let ask = |choices: Vec<u8>| weights.ask(&choices).map(|found| (choices, found));
        let asked = architectures.into_par_iter().map(ask).collect::<Result<Vec<Asked>, _>>()?;
        let seconds = began.elapsed().as_secs_f64();
        if self.csv {
            let names = ["accuracy", "loss"].map(|name| format!("shared_weights_{name}"));
            let row = |(_, found): &Asked| vec![100.0 * found.score.accuracy, found.score.loss];
            print_csv(&space, names.into_iter(), asked.iter().map(|asked| (&asked.0, row(asked))));
            return Ok(());
        }
        for (choices, found) in asked.iter().filter(|_| task.is_none() || self.json) {
            let (architecture, accuracy) = (space.format(choices), 100.0 * found.score.accuracy);
            match self.json {
                true => println!(
                    "{}",
                    json!({ "architecture": architecture, "shared_weights": { "accuracy": accuracy, "loss": found.score.loss } })
                ),
                false => println!("{architecture}  accuracy on shared weights {}", number(accuracy)),
            }
        }
        if !self.json {
            let each = 1e3 * seconds / asked.len().max(1) as f64;
            println!(
                "\nShared weights: {trained:.1} s until they were trained or read, {each:.1} ms an architecture."
            );
        }
        task.map_or(Ok(()), |task| self.agree(&task, &asked))
    }

    fn task(&self, space: &SearchSpace) -> anyhow::Result<Option<Task>> {
        let Some(name) = &self.against else { return Ok(None) };
        let catalog = Catalog::new(self.bench_dir.clone());
        let task = resolve_tasks(&catalog, std::slice::from_ref(name), Count::Classes)?.remove(0);
        match task.space().decisions() == space.decisions() {
            true => Ok(Some(Task::clone(&task))),
            false => {
                Err(Usage(format!("--against {name} is on {}, not on {}", task.space().name(), space.name()))
                    .into())
            }
        }
    }

    fn agree(&self, task: &Task, asked: &[Asked]) -> anyhow::Result<()> {
        let both = |(choices, found): &Asked| Some((found.score.accuracy, f64::from(task.value(choices)?)));
        let mut pairs: Vec<(f64, f64)> = asked.iter().filter_map(both).collect();
        // The best of the task first.
        pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
        let whole = Agreement::of(&pairs);
        let best = Agreement::of(&pairs[..pairs.len().div_ceil(BEST)]);
        // Of those that are equal on shared weights, the mean of what they are worth.
        let most = pairs.iter().map(|pair| pair.0).fold(f64::NEG_INFINITY, f64::max);
        let winners: Vec<f64> = pairs.iter().filter(|pair| pair.0 == most).map(|pair| pair.1).collect();
        let won = srnas_basics::statistics::mean(&winners);
        let rank = pairs.iter().filter(|pair| pair.1 > won).count() + 1;
        let (task_best, won) = (task.shown(pairs.first().map_or(f64::NAN, |pair| pair.1)), task.shown(won));
        if self.json {
            let said = |a: &Agreement| json!({ "architectures": a.architectures, "spearman": a.spearman.0, "ci95": a.spearman.1, "kendall": a.kendall });
            println!(
                "{}",
                json!({ "against": task.name(), "all": said(&whole), "best_tenth": said(&best), "winner": won, "rank": rank, "best": task_best })
            );
            return Ok(());
        }
        println!("Shared weights against {}:", task.name());
        for (what, a) in [("all", &whole), ("its best tenth", &best)] {
            let [low, high] = a.spearman.1;
            println!(
                "  {what}: {} architectures, Spearman {:.3} [{low:.3}, {high:.3}], Kendall {:.3}",
                a.architectures, a.spearman.0, a.kendall
            );
        }
        println!(
            "  the best on shared weights ({}): {} there, rank {rank} of {}; the best there: {}",
            winners.len(),
            number(won),
            pairs.len(),
            number(task_best)
        );
        Ok(())
    }
}

impl Agreement {
    fn of(pairs: &[(f64, f64)]) -> Self {
        let (shared, alone): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Self {
            architectures: pairs.len(),
            spearman: bootstrap_rank_correlation(&shared, &alone),
            kendall: kendall(&shared, &alone),
        }
    }
}
