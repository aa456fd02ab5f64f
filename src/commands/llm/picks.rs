//! `srnas llm picks`: the parts that a search found, by name.

use super::LlmConfig;
use crate::commands::{Usage, live::config::LiveConfig};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use srnas_basics::text::number;
use srnas_learner::RunDir;
use srnas_ledger::Database;
use srnas_llm::{
    picks::{Metrics, Pick, Quality, pick},
    space::whole,
    subnetwork::Subnetwork,
};
use srnas_oracle::costly::Answer;
use srnas_search::Measured;
use srnas_space::SearchSpace;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Of the whole model's quality this may be lost.
pub const SHARE: f64 = 0.01;

/// A share of the whole model's quality.
///
/// # Errors
/// What is none, in words.
pub fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share >= 0.0 && share.is_finite());
    share.ok_or_else(|| "it is a share, such as 0.01".into())
}

#[derive(Debug, Args)]
pub struct Picks {
    /// The run directory of `srnas llm search`
    #[arg(long, value_name = "D")]
    run_dir: PathBuf,
    /// How much of the whole model's quality the smallest and the fastest may lose: a share
    #[arg(long, value_name = "SHARE", default_value_t = SHARE, value_parser = share)]
    within: f64,
    /// The best part of at most so many bytes, too
    #[arg(long, value_name = "BYTES")]
    bytes: Option<u64>,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

impl Picks {
    pub fn run(self) -> anyhow::Result<()> {
        if !self.json {
            return print(&self.run_dir, self.within, self.bytes);
        }
        let found = Found::load(&self.run_dir)?;
        for which in picks(self.bytes) {
            let part = found.pick(which, self.within)?.map(|i| {
                json!({ "pick": which.to_string(), "architecture": found.space.to_json(&found.parts[i].choices),
                    "metrics": found.parts[i].metrics })
            });
            println!(
                "{}",
                part.unwrap_or_else(|| json!({ "pick": which.to_string(), "architecture": null }))
            );
        }
        Ok(())
    }
}

/// One measured part.
pub struct Part {
    pub choices: Vec<u8>,
    pub metrics: Metrics,
}

/// What a search found.
pub struct Found {
    pub config: LlmConfig,
    pub space: Arc<SearchSpace>,
    pub parts: Vec<Part>,
    quality: Quality,
    /// The place of the whole model among the parts, where it was measured.
    whole: Option<usize>,
}

impl Found {
    /// Reads a run directory.
    ///
    /// # Errors
    /// One that is not of `srnas llm search`, and one in which nothing has a value.
    pub fn load(run_dir: &Path) -> anyhow::Result<Self> {
        let (config, given) = LiveConfig::looked_at(run_dir)?;
        let (space, goal) = (given.space, config.goal()?);
        let (_, answers) = Database::look(&run_dir.join(RunDir::LEDGER), 0)?;
        let measured = Measured::of_records(answers, &goal, &config.fidelities());
        let config = config.llm.ok_or_else(|| {
            Usage(format!("{} is a search, but not of the parts of a language model", run_dir.display()))
        })?;
        // By the first objective that says how good a part is, not what it takes.
        let of = |metric: &str| ["nats", "perplexity"].contains(&metric) || metric.starts_with("accuracy");
        let good = goal.objectives().iter().find(|o| of(&o.metric));
        let quality = match good {
            Some(objective) => Quality { metric: objective.metric.clone(), minimise: objective.minimise },
            None => Quality { metric: "perplexity".into(), minimise: true },
        };
        let part = |measured: &Measured| match &measured.answer {
            Answer::Metrics(metrics) if measured.training.fidelity.is_full() => {
                Some(Part { choices: measured.training.choices.clone(), metrics: metrics.clone() })
            }
            _ => None,
        };
        let parts: Vec<Part> = measured.iter().filter_map(part).collect();
        if parts.is_empty() {
            return Err(Usage(format!("{}: nothing has a value yet", run_dir.display())).into());
        }
        let all = whole(&space).into_iter().next();
        let whole = parts.iter().position(|part| Some(&part.choices) == all.as_ref());
        Ok(Self { config, space, parts, quality, whole })
    }

    /// The place of a pick.
    ///
    /// # Errors
    /// A pick that is measured by the whole model, which was not.
    pub fn pick(&self, which: Pick, share: f64) -> anyhow::Result<Option<usize>> {
        let metrics: Vec<Metrics> = self.parts.iter().map(|part| part.metrics.clone()).collect();
        let none = Metrics::new();
        let whole = match (self.whole, which) {
            (Some(i), _) => &metrics[i],
            (None, Pick::Smallest | Pick::Fastest) => {
                return Err(Usage(format!(
                    "`{which}` is measured by the whole model, which was not measured: `best` and `best:BYTES` are not"
                ))
                .into());
            }
            (None, _) => &none,
        };
        Ok(pick(which, &metrics, whole, &self.quality, share))
    }

    /// What is kept of the model by a pick, which may lose this share of its quality, or by an architecture in the space's notation.
    ///
    /// # Errors
    /// A name that is neither, and a pick that no part is.
    pub fn named(&self, name: &str, within: f64) -> anyhow::Result<Subnetwork> {
        let (model, _) = self.config.load()?;
        let choices = match name.parse::<Pick>() {
            Ok(which) => {
                let place = self.pick(which, within)?;
                let none = || Usage(format!("no part that was measured is `{which}`: see `srnas llm picks`"));
                self.parts[place.ok_or_else(none)?].choices.clone()
            }
            Err(said) => self
                .space
                .parse(name)
                .map_err(|e| Usage(format!("{said}; nor is it an architecture: {e}")))?,
        };
        Ok(Subnetwork::chosen(model.config(), &self.space, &choices)?)
    }
}

/// Those that are told, and the best of a size where one is asked for.
fn picks(bytes: Option<u64>) -> impl Iterator<Item = Pick> {
    Pick::NAMED.into_iter().chain(bytes.map(Pick::Within))
}

/// Prints the picks of a search as a table.
pub fn print(run_dir: &Path, share: f64, bytes: Option<u64>) -> anyhow::Result<()> {
    let found = Found::load(run_dir).context("there is nothing to pick from")?;
    let shown = |metrics: &Metrics, name: &str| metrics.get(name).map_or("–".into(), |v| number(*v));
    let quality = found.quality.metric.clone();
    let (model, _) = found.config.load()?;
    println!("{:14} {:>12} {:>12} {:>10}  {}", "", quality, "bytes", "tokens/s", "format, MLP widths");
    let row = |name: &str, part: &Part| {
        let [a, b, c] = [&*quality, "bytes", "tokens_per_s"].map(|metric| shown(&part.metrics, metric));
        let kept = Subnetwork::chosen(model.config(), &found.space, &part.choices);
        let kept = kept.map_or_else(|_| found.space.format(&part.choices), |kept| kept.to_string());
        println!("{name:14} {a:>12} {b:>12} {c:>10}  {kept}");
    };
    if let Some(i) = found.whole {
        row("the whole", &found.parts[i]);
    }
    for which in picks(bytes) {
        match found.pick(which, share) {
            Ok(Some(i)) => row(&which.to_string(), &found.parts[i]),
            Ok(None) => println!("{:14} none of {} parts", which.to_string(), found.parts.len()),
            // Without the whole model there is less to say.
            Err(_) => println!("{:14} not known: the whole model was not measured", which.to_string()),
        }
    }
    let lost = srnas_basics::text::percent(share);
    println!("\nThe smallest and the fastest lose at most {lost} of the whole model's {quality}.");
    let within = if share == SHARE { String::new() } else { format!(" --within {share}") };
    println!(
        "Write one: srnas llm export --run-dir {} --pick smallest{within} --to FILE.gguf",
        srnas_basics::text::shell(run_dir)
    );
    Ok(())
}
