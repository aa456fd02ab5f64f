//! `srnas run --space`: a policy for a space of one's own, trained without any benchmark.
//!
//! Surrogate tasks take the place of tables: random functions on the space, and random functions that agree with what earlier
//! searches measured. They are written as a benchmark into the run directory, and from there on the run is as any other.

use super::{
    Usage,
    live::{LiveArguments, OracleArguments, SharedPlace, past},
    space::GivenSpace,
};
use anyhow::Context;
use clap::Args;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_basics::text::shell;
use srnas_config::Config;
use srnas_environment::synthetic;
use srnas_oracle::{
    OracleSpec,
    benchmark::{BenchmarkWriter, Direction, EXTENSION, MetricInfo, SpaceDefinition, SpaceFormat},
    catalog::{Catalog, SURROGATES},
};
use srnas_search::{PastSearch, random_surrogate, surrogates_of};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::info;

/// Name of the benchmark that is made.
const BENCHMARK: &str = SURROGATES;
/// The folder of the search that is made first.
const MEASURED: &str = "measured";
/// The method that searches where no policy is given, and against which hers is judged.
pub const SHIPPED: &str = "universal";

/// Functions that are random alone: to learn, to check what was learned, and to compare on.
const RANDOM: Split = Split { learned: 16, validation: 6, held_out: 8 };
/// Functions that agree with one earlier search.
const OF_A_SEARCH: Split = Split { learned: 6, validation: 2, held_out: 3 };

/// Measurements of an episode, and those after which is compared, where a space has as many architectures.
const HORIZON: usize = 50;
const BUDGETS: [usize; 3] = [10, 25, HORIZON];

#[derive(Clone, Copy)]
struct Split {
    learned: usize,
    validation: usize,
    held_out: usize,
}

/// A space of one's own, and what is known of it.
#[derive(Debug, Args)]
#[command(next_help_heading = "A space of your own")]
pub struct OwnArguments {
    /// Train a policy for this space, a file or a name: on random functions, and on such as agree with what was measured
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["config", "task", "resume"])]
    space: Option<String>,
    /// An earlier task on the space, as for `srnas search`; may be given several times
    #[arg(long, alias = "prior", value_name = "DIR|T", requires = "space")]
    past: Vec<String>,
    /// Search by this oracle first, and learn from what it measured: `train` or `cmd:PROGRAM`
    #[arg(long, value_name = "train|cmd:PROGRAM", requires = "space")]
    oracle: Option<OracleSpec>,
    /// With --oracle, the metric to search for
    #[arg(long, value_name = "METRIC", requires = "oracle", conflicts_with = "minimise")]
    maximise: Option<String>,
    /// With --oracle, a metric of which less is better
    #[arg(long, value_name = "METRIC", requires = "oracle")]
    minimise: Option<String>,
    /// With --oracle, measurements to make
    #[arg(long, value_name = "B", default_value_t = 25, requires = "oracle", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    budget: u32,
    /// With --oracle, measurements at a time
    #[arg(long, value_name = "N", requires = "oracle", value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: Option<u16>,
    /// With --oracle, share measurements with other searches by a PostgreSQL database, as `srnas search --ledger` does
    #[arg(long, value_name = "postgres://…", requires = "oracle")]
    ledger: Option<SharedPlace>,
    /// With --oracle train, the images, as for `srnas search`
    #[arg(long, value_name = "DATA", requires = "oracle")]
    data: Option<String>,
}

/// The catalog of a run; what the run made itself comes first.
pub fn catalog_of(run_dir: &Path, catalog: Catalog) -> Catalog {
    match surrogates_in(run_dir).is_file() {
        true => catalog.with_file(surrogates_in(run_dir)),
        false => catalog,
    }
}

/// Whether a run is on surrogates of a space of one's own.
pub fn is_own(config: &Config) -> bool {
    let of_train = config.tasks.train.iter().filter_map(|name| config.task_sets.get(name)).flatten();
    of_train.into_iter().any(|task| task.starts_with(BENCHMARK))
}

fn surrogates_in(run_dir: &Path) -> PathBuf {
    run_dir.join(format!("{BENCHMARK}.{EXTENSION}"))
}

impl OwnArguments {
    /// Whether a policy for a space of one's own is to be trained.
    pub fn wanted(&self) -> bool {
        self.space.is_some()
    }

    /// Measures if there is an oracle, makes the surrogates, and returns the run's configuration, TOML.
    pub fn prepare(&self, run_dir: &Path, seed: u64, catalog: &Catalog) -> anyhow::Result<String> {
        let given = GivenSpace::load(self.space.as_deref().unwrap_or_default())?;
        let space = &given.space;
        // A search says it itself.
        if self.oracle.is_none() {
            given.say_notice();
        }
        let mut past = past::searches(&self.past, space, catalog)?;
        if run_dir.join("ledger.sqlite").exists() {
            let text = format!(
                "{} holds a run already: give another --run-dir, or go on with `srnas run --resume --run-dir {}`",
                run_dir.display(),
                shell(run_dir)
            );
            return Err(Usage(text).into());
        }
        if let Some(folder) = self.measure(run_dir, seed, catalog)? {
            past.extend(past::searches(&[folder.display().to_string()], space, catalog)?);
        }
        let path = surrogates_in(run_dir);
        let (names, architectures) = write_surrogates(&given, &past, seed, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        info!(
            functions = names.len(),
            searches = past.len(),
            benchmark = %path.display(),
            "surrogate tasks are made"
        );
        Ok(configuration(&names, architectures, seed))
    }

    /// The search by the oracle: made, gone on with, or done already.
    fn measure(&self, run_dir: &Path, seed: u64, catalog: &Catalog) -> anyhow::Result<Option<PathBuf>> {
        let Some(oracle) = &self.oracle else { return Ok(None) };
        if *oracle == OracleSpec::Remote {
            let text = "--oracle remote goes with `srnas search`; give its run directory here as --past";
            return Err(Usage(text.into()).into());
        }
        let folder = run_dir.join(MEASURED);
        let search = LiveArguments {
            by: OracleArguments {
                oracle: Some(oracle.clone()),
                space: self.space.clone(),
                maximise: self.maximise.iter().cloned().collect(),
                minimise: self.minimise.iter().cloned().collect(),
                parallel: self.parallel,
                data: self.data.clone(),
                ..OracleArguments::default()
            },
            past: self.past.clone(),
            ledger: self.ledger.clone(),
            resume: folder.join("ledger.sqlite").is_file(),
            run_dir: Some(folder.clone()),
            ..LiveArguments::default()
        };
        let budget = self.budget as usize;
        let found = search.run(None, catalog, budget, (!search.resume).then_some(seed), false);
        // What was refused before anything was measured is to be mended, not gone on with.
        match folder.join("ledger.sqlite").is_file() {
            true => found.with_context(|| {
                let again = shell(run_dir);
                format!("no policy is trained yet; the same command with --run-dir {again} goes on")
            })?,
            false => found?,
        }
        println!();
        Ok(Some(folder))
    }
}

/// Of each earlier search so many of the best are in the part of a large space over which functions are made up.
const MEASURED_IN_PART: usize = 1000;

/// A metric's name within the benchmark, and its values by rank.
type Named = (String, Vec<f32>);

/// Every surrogate under its name. The last part of a name says what it is for: t to learn, v for the check, h held out.
fn surrogates(space: &Arc<SearchSpace>, past: &[PastSearch], seed: u64) -> anyhow::Result<Vec<Named>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5075);
    let mut made = Vec::new();
    let mut name = |dataset: &str, split: Split, functions: Vec<Vec<f32>>| {
        let kinds = [("t", split.learned), ("v", split.validation), ("h", split.held_out)];
        let names = kinds.into_iter().flat_map(|(kind, n)| (0..n).map(move |i| format!("{kind}{i}")));
        made.extend(names.zip(functions).map(|(name, values)| (format!("{dataset}/{name}"), values)));
    };
    let all = |split: Split| split.learned + split.validation + split.held_out;
    let random = (0..all(RANDOM)).map(|_| random_surrogate(space, &mut rng)).collect::<Result<_, _>>()?;
    name("random", RANDOM, random);
    for (i, search) in past.iter().enumerate() {
        let functions = surrogates_of(space, search, all(OF_A_SEARCH), &mut rng)?;
        name(&format!("search{}", i + 1), OF_A_SEARCH, functions);
    }
    Ok(made)
}

/// Writes the benchmark. Returns the names of its metrics, and how many architectures there are.
fn write_surrogates(
    given: &GivenSpace,
    past: &[PastSearch],
    seed: u64,
    path: &Path,
) -> anyhow::Result<(Vec<String>, usize)> {
    let space = &given.space;
    // In a large space functions are made up over a part of it: a policy trained there searches all of it.
    let measured = past.iter().flat_map(|search| search.best(MEASURED_IN_PART)).collect::<Vec<_>>();
    let part = synthetic::part(space, &measured, &mut ChaCha8Rng::seed_from_u64(seed ^ 0x9a27));
    let made = surrogates(&part, past, seed)?;
    let (mut choices, mut valid, mut one) = (Vec::new(), Vec::new(), vec![0; space.len()]);
    let mut keys = HashSet::new();
    for rank in 0..part.size().unwrap_or(0) {
        part.unrank(rank, &mut one);
        if part.is_valid(&one) {
            choices.extend_from_slice(&one);
            valid.push(rank as usize);
            keys.insert(space.canonical_key(&one));
        }
    }
    let searches: Vec<&str> = past.iter().map(|search| search.name.as_str()).collect();
    let provenance = match searches.is_empty() {
        true => "random functions; nothing was measured".to_string(),
        false => format!("random functions, and such that agree with {}", searches.join(", ")),
    };
    let mut writer = BenchmarkWriter::new(BENCHMARK, space, choices, provenance, "none");
    if !given.definition.is_empty() {
        let format = if given.place.ends_with("json") { SpaceFormat::Json } else { SpaceFormat::Toml };
        writer.define_space(SpaceDefinition { format, text: given.definition.clone() });
    }
    let info = MetricInfo {
        unit: String::new(),
        direction: Direction::Maximise,
        description: "a surrogate, never a measurement".into(),
    };
    let mut names = Vec::new();
    for (name, values) in made {
        let values: Vec<f32> = valid.iter().map(|&rank| values[rank]).collect();
        // A function whose best is its median has nothing to find.
        if values.iter().any(|v| *v != values[0]) {
            writer.metric(name.clone(), info.clone(), 1, &values);
            names.push(name);
        }
    }
    writer.write(path)?;
    Ok((names, keys.len()))
}

/// The configuration of a run on the surrogates.
fn configuration(names: &[String], architectures: usize, seed: u64) -> String {
    // Sets, so that a run reports one number for the random ones and one for each search.
    let mut sets: BTreeMap<String, Vec<toml::Value>> = BTreeMap::new();
    for name in names {
        let (dataset, last) = name.split_once('/').unwrap_or(("", name));
        let held_out = if last.starts_with('h') { "held-out-" } else { "" };
        let set = sets.entry(format!("{held_out}{dataset}")).or_default();
        set.push(format!("{BENCHMARK}/{name}").into());
    }
    let (held_out, train): (Vec<&String>, Vec<&String>) =
        sets.keys().partition(|name| name.starts_with("held-out-"));
    let list = |names: Vec<&String>| -> toml::Value {
        names.into_iter().cloned().map(toml::Value::from).collect::<Vec<_>>().into()
    };
    let families: Vec<toml::Value> = (0..RANDOM.validation).map(|i| format!("v{i}").into()).collect();
    let text = toml::toml! {
        // What is known of a space beforehand is the plain posterior; the past of a real task comes by --past.
        prior = "none"
        [run]
        minutes = 3.0
        actors = 1
        [acting]
        synthetic = 0.5
        made_up_spaces = 0.0
        [posterior.settings.plain]
        cut = 1.0
        [validation]
        minutes = 0.5
        [comparison]
        seeds = 16
    };
    let mut text = text;
    text.insert("seed".into(), toml::Value::Integer(seed as i64));
    let mut set = |table: &str, key: &str, value: toml::Value| {
        let table = text.entry(table).or_insert_with(|| toml::Table::new().into());
        if let Some(table) = table.as_table_mut() {
            table.insert(key.into(), value);
        }
    };
    set("tasks", "train", list(train));
    set("tasks", "held_out", list(held_out));
    for (name, tasks) in &sets {
        set("task_sets", name, tasks.clone().into());
    }
    set("validation", "families", families.into());
    // A small space is known before a long search is over.
    let horizon = architectures.clamp(2, HORIZON);
    let budgets: BTreeSet<usize> = BUDGETS.into_iter().map(|budget| budget.min(architectures)).collect();
    set("environment", "horizon", (horizon as i64).into());
    set(
        "comparison",
        "budgets",
        budgets.into_iter().map(|b| toml::Value::from(b as i64)).collect::<Vec<_>>().into(),
    );
    set("comparison", "methods", ["random", "local", SHIPPED].map(toml::Value::from).to_vec().into());
    text.to_string()
}
