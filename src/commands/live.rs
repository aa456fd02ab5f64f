//! `srnas search --oracle`: a search whose measurements are made on the spot.

use super::{Usage, run::default_run_dir, stop_flag};
use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use srnas_common::{policy::Policy, space::SearchSpace, text::hex};
use srnas_learner::{AnswerRecord, Database, LedgerError, RunDir, RunRecord, Start};
use srnas_oracle::{
    costly::{Answer, CostlyOracle},
    digits,
    training::{Recipe, TrainingOracle, data, measure::Questions},
};
use srnas_search::{Event, Guide, Journal, LiveSearch, Measured, Objective};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tracing::info;

/// Who the ledger says has measured.
const ACTOR: &str = "search";

/// How the measurements of a search are made.
#[derive(Debug, Args)]
pub struct LiveArguments {
    /// Make the measurements instead of looking them up: `train` trains each network
    #[arg(long, value_name = "train", value_parser = ["train"])]
    oracle: Option<String>,
    /// With --oracle train, the images: digits (built in), mnist:DIR, idx:DIR, cifar10:DIR or cifar100:DIR
    #[arg(long, value_name = "DATA", requires = "oracle")]
    data: Option<String>,
    /// With --oracle train, how to train and what to measure: a TOML file with [recipe] and [questions], such as the
    /// config.toml of an earlier search
    #[arg(long, value_name = "F", requires = "oracle")]
    recipe: Option<PathBuf>,
    /// With --oracle, the metric to search for [default: val/clean]
    #[arg(long, value_name = "METRIC", requires = "oracle", conflicts_with = "minimise")]
    maximise: Option<String>,
    /// With --oracle, a metric of which less is better
    #[arg(long, value_name = "METRIC", requires = "oracle")]
    minimise: Option<String>,
    /// With --oracle, measurements at a time [default: all cores]
    #[arg(long, value_name = "N", requires = "oracle", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// With --oracle, where the search is kept [default: a new folder in runs/]
    #[arg(long, value_name = "D", requires = "oracle")]
    run_dir: Option<PathBuf>,
    /// Go on with the search by --oracle that --run-dir holds
    #[arg(long, requires = "run_dir")]
    resume: bool,
}

/// What a search was begun with: its config.toml.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LiveConfig {
    oracle: String,
    data: String,
    metric: String,
    minimise: bool,
    seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<PathBuf>,
    recipe: Recipe,
    questions: Questions,
}

/// The part of a file that `--recipe` reads.
#[derive(Deserialize)]
struct RecipeFile {
    recipe: Option<Recipe>,
    questions: Option<Questions>,
}

impl LiveArguments {
    /// Whether measurements are to be made.
    pub fn wanted(&self) -> bool {
        self.oracle.is_some()
    }

    /// Searches until `budget` architectures are measured.
    pub fn run(&self, policy: Option<&Path>, budget: usize, seed: u64, as_json: bool) -> anyhow::Result<()> {
        let run_dir = self.run_dir.clone().unwrap_or_else(|| default_run_dir("search"));
        let config = match self.resume {
            true => self.resumed(&run_dir, policy)?,
            false => self.begun(policy, seed)?,
        };
        let images = data::load(&config.data, &mut |path| info!("reading {}", path.display()))
            .map_err(|e| Usage(e.to_string()))?;
        let space = SearchSpace::named("nb201")?;
        let oracle = TrainingOracle::new(
            space.clone(),
            images,
            config.recipe.clone(),
            config.questions.clone(),
            config.seed,
        );
        let oracle = oracle.map_err(Usage)?;
        let known = oracle.metric_names();
        if !known.contains(&config.metric) {
            let hint = srnas_common::names::did_you_mean(&config.metric, known.iter().map(String::as_str));
            return Err(Usage(format!("the oracle has no metric `{}`{hint}", config.metric)).into());
        }
        let guide = match &config.policy {
            Some(file) => Guide::of_policy(&Policy::load(file)?, &space)?,
            None => Guide::default(),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let search = LiveSearch {
            oracle: &oracle,
            objective: Objective { metric: config.metric.clone(), minimise: config.minimise },
            guide,
            budget,
            parallel: self.parallel.map_or(cores, usize::from).min(budget),
            seed: config.seed,
        };
        let (held, resumed) = RunDir::open(&run_dir, if self.resume { Start::Resume } else { Start::New })?;
        let mut ledger = SearchLedger::open(&held, resumed, &oracle, &config)?;
        let known = ledger.known(&search.objective)?;
        let shown = Display::new(&search, known.len(), as_json);
        let stop = stop_flag()?;
        let found = search.run(known, &mut ledger, &stop, &|event| shown.event(event));
        shown.bar.finish_and_clear();
        match found {
            Ok(found) => shown.summary(&found, &run_dir),
            Err(error) => {
                let resume = format!(
                    "srnas search --oracle {} --resume --run-dir {}",
                    config.oracle,
                    run_dir.display()
                );
                return Err(
                    anyhow::Error::from(error).context(format!("what was measured is kept; go on: {resume}"))
                );
            }
        }
        Ok(())
    }

    fn begun(&self, policy: Option<&Path>, seed: u64) -> anyhow::Result<LiveConfig> {
        let oracle = self.oracle.clone().unwrap_or_default();
        let data = self.data.clone().ok_or_else(|| {
            Usage(
                "--oracle train needs images: --data digits, mnist:DIR, idx:DIR, cifar10:DIR or cifar100:DIR"
                    .into(),
            )
        })?;
        let (mut recipe, mut questions) = match data.as_str() {
            "digits" => (digits::recipe(), digits::questions()),
            _ => (Recipe::default(), Questions::default()),
        };
        if let Some(path) = &self.recipe {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let file: RecipeFile =
                toml::from_str(&text).map_err(|e| Usage(format!("{}: {e}", path.display())))?;
            recipe = file.recipe.unwrap_or(recipe);
            questions = file.questions.unwrap_or(questions);
        }
        let (metric, minimise) = match (&self.maximise, &self.minimise) {
            (_, Some(metric)) => (metric.clone(), true),
            (Some(metric), None) => (metric.clone(), false),
            (None, None) => ("val/clean".into(), false),
        };
        let policy = policy.map(|path| Policy::file(path).to_path_buf());
        Ok(LiveConfig { oracle, data, metric, minimise, seed, policy, recipe, questions })
    }

    /// The configuration in the run directory; what the command line says besides must not contradict it.
    fn resumed(&self, run_dir: &Path, policy: Option<&Path>) -> anyhow::Result<LiveConfig> {
        let path = run_dir.join("config.toml");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{} holds no search to resume: cannot read its config.toml", run_dir.display())
        })?;
        let config: LiveConfig = toml::from_str(&text)
            .with_context(|| format!("{} is not of a search by --oracle", path.display()))?;
        let metric = self.maximise.as_ref().map(|m| (m, false)).or(self.minimise.as_ref().map(|m| (m, true)));
        let contradicted = [
            ("--data", self.data.as_ref().is_some_and(|data| *data != config.data)),
            ("--recipe", self.recipe.is_some()),
            (
                "--policy",
                policy.is_some_and(|p| Some(&Policy::file(p).to_path_buf()) != config.policy.as_ref()),
            ),
            ("--maximise or --minimise", metric.is_some_and(|m| m != (&config.metric, config.minimise))),
        ];
        match contradicted.iter().find(|(_, contradicted)| *contradicted) {
            Some((option, _)) => {
                let place = path.display();
                Err(Usage(format!("{option} cannot change when a search goes on; {place} says what it is"))
                    .into())
            }
            None => Ok(config),
        }
    }
}

/// The ledger of a search.
struct SearchLedger {
    database: Database,
}

impl SearchLedger {
    fn open(
        held: &RunDir,
        resumed: bool,
        oracle: &dyn CostlyOracle,
        config: &LiveConfig,
    ) -> anyhow::Result<Self> {
        let (name, identity) = oracle.identity();
        let sign = if config.minimise { "-" } else { "" };
        let run = RunRecord {
            name: held.name(),
            space: oracle.space().name().into(),
            seed: config.seed,
            tasks: vec![(format!("{name}/{sign}{}", config.metric), config.metric.clone())],
            benchmarks: vec![(name, hex(&Sha256::digest(identity)))],
        };
        let database = match resumed {
            true => Database::open(&held.ledger(), &run)?,
            false => {
                held.write_config(&toml::to_string(config)?)?;
                Database::create(&held.ledger(), &run)?
            }
        };
        Ok(Self { database })
    }

    fn known(&self, objective: &Objective) -> Result<Vec<Measured>, LedgerError> {
        let of = |record: AnswerRecord| {
            let answer = match record.said {
                Ok((value, mut metrics)) => {
                    let value = if objective.minimise { -value } else { value };
                    metrics.entry(objective.metric.clone()).or_insert(value);
                    Answer::Metrics(metrics)
                }
                Err(reason) => Answer::Infeasible(reason),
            };
            Measured { choices: record.choices, key: record.key, answer }
        };
        Ok(self.database.answers(0)?.into_iter().map(of).collect())
    }
}

impl Journal for SearchLedger {
    fn keep(&mut self, measured: &Measured, value: &Result<f32, String>) -> Result<(), String> {
        let metrics = match &measured.answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        let said = value.clone().map(|value| (f64::from(value), metrics));
        let record = AnswerRecord { key: measured.key, choices: measured.choices.clone(), said };
        self.database.record_answer(0, &record, ACTOR).map_err(|e| e.to_string())
    }
}

/// What is shown meanwhile and at the end.
struct Display {
    space: Arc<SearchSpace>,
    objective: Objective,
    guided: bool,
    began: Instant,
    known: usize,
    bar: ProgressBar,
    json: bool,
}

impl Display {
    fn new(search: &LiveSearch, known: usize, json: bool) -> Self {
        let style = ProgressStyle::with_template(
            "{elapsed_precise} {bar:30} {pos}/{len} measured, {eta} left  {msg}",
        );
        let bar = ProgressBar::new(search.budget as u64).with_style(style.expect("a valid template"));
        bar.set_position(known as u64);
        bar.reset_eta();
        if known > 0 {
            info!("going on with {known} measurements");
        }
        Self {
            space: search.oracle.space().clone(),
            objective: search.objective.clone(),
            guided: search.guide.knows_a_past(),
            began: Instant::now(),
            known,
            bar,
            json,
        }
    }

    /// A value as the metric has it.
    fn of_metric(&self, value: f32) -> f32 {
        if self.objective.minimise { -value } else { value }
    }

    fn event(&self, event: Event) {
        let Event::Ended { measured, value, seconds, done, running } = event else { return };
        self.bar.set_position(done as u64);
        let architecture = self.space.format(&measured.choices);
        let said = match value {
            Ok(value) => format!("{} {:.4}", self.objective.metric, self.of_metric(*value)),
            Err(reason) => format!("infeasible: {reason}"),
        };
        self.bar.set_message(format!("{running} running, last {said}"));
        if self.bar.is_hidden() {
            info!("{done} measured · {said} · {architecture} · {seconds:.1} s");
        }
        if self.json {
            let (metrics, infeasible) = match &measured.answer {
                Answer::Metrics(metrics) => (Some(metrics), value.as_ref().err()),
                Answer::Infeasible(reason) => (None, Some(reason)),
            };
            println!(
                "{}",
                json!({ "architecture": architecture, "metrics": metrics, "infeasible": infeasible, "seconds": seconds })
            );
        }
    }

    fn summary(&self, found: &[Measured], run_dir: &Path) {
        let values: Vec<Result<f32, String>> =
            found.iter().map(|m| self.objective.value(&m.answer)).collect();
        let best = |upto: usize| {
            let feasible =
                values.iter().enumerate().take(upto).filter_map(|(i, v)| Some((i, *v.as_ref().ok()?)));
            feasible.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
        };
        let infeasible = values.iter().filter(|v| v.is_err()).count();
        let seconds = self.began.elapsed().as_secs_f64();
        let top = best(found.len());
        if self.json {
            let best = top.map(|(i, v)| {
                json!({ "architecture": self.space.format(&found[i].choices), self.objective.metric.clone(): self.of_metric(v) })
            });
            let summary = json!({
                "measured": found.len(), "before": self.known, "infeasible": infeasible, "seconds": seconds,
                "best": best, "run_dir": run_dir,
            });
            println!("{}", json!({ "summary": summary }));
            return;
        }
        let by = if self.guided { "the policy's transfer posterior" } else { "the plain posterior" };
        println!(
            "{} networks measured ({} before), {infeasible} infeasible, in {seconds:.0} s, chosen by {by}.",
            found.len(),
            self.known
        );
        let Some((place, _)) = top else {
            println!("None has a value.");
            return;
        };
        println!("\nBest {} after", self.objective.metric);
        let marks = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().filter(|&n| n < found.len());
        for n in marks.chain([found.len()]) {
            if let Some((_, value)) = best(n) {
                println!("  {n:>4} networks  {:.4}", self.of_metric(value));
            }
        }
        println!("\nBest found: {}", self.space.format(&found[place].choices));
        if let Answer::Metrics(metrics) = &found[place].answer {
            let cells: Vec<String> =
                metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            for line in cells.chunks(5) {
                println!("  {}", line.join("  "));
            }
        }
        println!(
            "\nLedger: {} (SQLite; docs/run-directory.md tells its tables)",
            run_dir.join("ledger.sqlite").display()
        );
        println!(
            "More:   srnas search --oracle train --resume --run-dir {} --budget {}",
            run_dir.display(),
            2 * found.len()
        );
    }
}
