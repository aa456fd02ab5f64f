//! `srnas bench`: what benchmarks there are, what is in them, where they come from.

mod fit;
mod generate;
mod info;
mod nni;
mod numbers;
mod rows;
mod table;
mod trust;

use super::Usage;
use anyhow::Context;
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};
use numbers::{is_number, megabytes, thousands};
use serde_json::json;
use srnas_basics::text::with_causes;
use srnas_oracle::{
    benchmark::{BenchmarkWriter, EXTENSION},
    built_in::BuiltIn,
    catalog::{Catalog, Hidden},
    importers::{KINDS, study},
};
use std::{path::PathBuf, time::Instant};

const EXAMPLES: &str = "Examples:
  srnas bench import nasbench201 tables/nasbench201 tables/robustness tables/hw
  srnas bench import hwgpt tables/hw-gpt-bench
  srnas bench import table results.csv.gz --suggest --descriptor results.toml
  srnas bench import table results.csv.gz --descriptor results.toml
  srnas bench import optuna study.db --suggest --descriptor study.toml
  srnas bench import nni search_space.json --space space.toml
  srnas bench fit nb101 --metric cifar10/val --out nb101-surrogate
  srnas bench list
  srnas bench info nb201
  srnas bench agreement fashion-wrn --with digits-wrn
  srnas bench verify nb201 --json
  srnas bench verify digits                              trains some of it again
  srnas bench generate digits --out digits.safetensors   trains all of it again
  srnas bench generate fashion-wrn                       trains wide residual networks on Fashion-MNIST, which the Debian package
                                                         dataset-fashion-mnist has
  srnas bench generate cifar10-wrn --images ~/cifar      the same on CIFAR-10, in hours to days of CPU cores
  srnas bench best nb201 cifar10/val --limit 5
  srnas bench query nb201 --metric cifar10/val --metric cifar10/edgegpu_latency \\
      '|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|'";

/// The kind of a table that a descriptor tells.
const TABLE: &str = "table";
/// The kind of a space without results.
const NNI: &str = "nni";

/// Every kind that can be imported.
fn kinds() -> PossibleValuesParser {
    let published = KINDS.iter().map(|kind| kind.name);
    PossibleValuesParser::new(published.chain([TABLE]).chain(study::KINDS.iter().copied()).chain([NNI]))
}

/// Benchmark files: list, import, verify and query them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchCommand {
    /// Folder of benchmark files, searched before $SRNAS_BENCH_DIR and the user's data directory; imports go there
    #[arg(long, value_name = "DIR", global = true)]
    bench_dir: Option<PathBuf>,

    /// Print one JSON object per line
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the benchmarks there are
    List,
    /// Show what a benchmark holds: its space, sources, licence and metrics
    Info {
        /// Name of the benchmark, such as nb201
        benchmark: String,
    },
    /// Show what seeds, and metrics, agree on: how much of a metric is the architecture, and how much is chance
    Agreement {
        /// Name of the benchmark, such as digits
        benchmark: String,
        /// Only this metric, such as val/clean; may be given several times, and each is correlated with the others
        #[arg(long = "metric", value_name = "METRIC")]
        metrics: Vec<String>,
        /// Instead, what another benchmark of the same space says alike, such as digits-wrn beside fashion-wrn: the rank correlation of each
        /// metric that both have, over the architectures that both have
        #[arg(long, value_name = "BENCHMARK", conflicts_with = "metrics")]
        with: Option<String>,
    },
    /// Make a benchmark file from published tables, from a table of yours, or from what another program measured
    Import {
        /// Kind of the files: `table` is a table of yours, told by a descriptor (docs/your-own-table.md); `optuna`, `ax`, `smac`,
        /// `wandb`, `mlflow`, `tensorboard` and `json` are files of other programs, told by one too, and `nni` is a
        /// search_space.json, of which a space is made (docs/bringing-results.md); the others are published tables
        #[arg(value_parser = kinds())]
        kind: String,
        /// Folders with the published tables, as CSV files (.csv or .csv.gz) in them or right below them; or the file of your
        /// table: CSV, TSV (plain or gzip) or Parquet; or the files of another program
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// With a table or files of another program, the TOML file that says what the columns are
        #[arg(long, value_name = "D.toml")]
        descriptor: Option<PathBuf>,
        /// With a table or files of another program, write a first descriptor to --descriptor, and a space beside it, instead of
        /// importing; without --descriptor, show them
        #[arg(long)]
        suggest: bool,
        /// With `optuna`, the study in a storage that has several
        #[arg(long, value_name = "NAME")]
        study: Option<String>,
        /// With `nni`, the file of the space to write; without it, the space is shown
        #[arg(long, value_name = "S.toml")]
        space: Option<PathBuf>,
        /// Overwrite the benchmark of this name that is there already
        #[arg(long, conflicts_with = "suggest")]
        replace: bool,
    },
    /// Make a benchmark by training all of it on this machine; interrupted, the same command goes on
    Generate(generate::Generate),
    /// Fit a surrogate of a benchmark that has a part of its space, so that all of it can be searched
    ///
    /// It is a benchmark of its own: what was measured keeps its values, what was not is predicted, and answers, logs and reports say which.
    /// It answers in microseconds, and never passes for a measurement.
    Fit(fit::Fit),
    /// Check a benchmark against its content hash and the published facts; what is built in also by training some of it again
    Verify {
        /// Name of the benchmark, such as nb201
        benchmark: String,
        /// Of what is built in: how many random trainings to repeat
        #[arg(long, default_value_t = 5, value_name = "N")]
        retrain: usize,
        /// Of what is built in: seed of the draw of those trainings
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Of cifar10-wrn, cifar100-wrn and fashion-wrn: the folder with the images, as for `generate`; without images nothing is trained again
        #[arg(long, value_name = "DIR")]
        images: Option<PathBuf>,
    },
    /// Show the architectures that are best in a metric, in its own sign and unit
    ///
    /// Of equally good architectures the one comes first that comes first in its space, by its choices from the first decision
    /// on, each in the order of its list; they share a rank.
    Best {
        /// Name of the benchmark, such as nb201
        benchmark: String,
        /// The metric, such as cifar10/val; its mean over seeds counts
        metric: String,
        /// How many to show
        #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show what a benchmark has measured of one architecture
    Query {
        /// Name of the benchmark, such as nb201
        benchmark: String,
        /// The architecture: in the notation of its space, as decision=choice,…, or in JSON, as {"decision": choice, …}
        #[arg(value_name = "ARCH")]
        architecture: String,
        /// Only this metric, such as cifar10/val; may be given several times
        #[arg(long = "metric", value_name = "METRIC")]
        metrics: Vec<String>,
    },
}

impl BenchCommand {
    /// Does what the command line says, printing to stdout.
    ///
    /// # Errors
    /// What was wrong, where, and what to do.
    pub fn run(self) -> anyhow::Result<()> {
        let catalog = Catalog::new(self.bench_dir);
        let out = &mut Output { json: self.json };
        match self.action {
            Action::List => list(&catalog, out),
            Action::Info { benchmark } => info::info(&*catalog.open(&benchmark)?, out),
            Action::Agreement { benchmark, metrics, with } => {
                let benchmark = catalog.open(&benchmark)?;
                match with {
                    Some(other) => trust::show_alike(&benchmark, &*catalog.open(&other)?, out),
                    None => trust::show_agreement(&benchmark, &metrics, out),
                }
            }
            Action::Import { kind, paths, descriptor, suggest, study, space, replace } => {
                let table = kind == TABLE || study::KINDS.contains(&kind.as_str());
                let usage = |text: &str| Err(Usage(text.into()).into());
                if study.is_some() && kind != "optuna" {
                    return usage("--study goes with `import optuna`");
                }
                if space.is_some() && kind != NNI {
                    return usage("--space goes with `import nni`");
                }
                if !table && (suggest || descriptor.is_some()) {
                    return usage(
                        "--descriptor and --suggest go with `import table` and with the files of other programs",
                    );
                }
                let files = table::Files { kind: &kind, paths: &paths, study: study.as_deref() };
                match (table, suggest) {
                    (true, true) => files.suggest(descriptor.as_deref(), out),
                    (true, false) => files.import(&catalog, descriptor.as_deref(), replace, out),
                    (false, _) if kind == NNI => nni::import(&paths, space.as_deref(), out),
                    (false, _) => import(&catalog, &kind, &paths, replace, out),
                }
            }
            Action::Fit(fit) => fit.run(&catalog, out),
            Action::Generate(generate) => generate.run(&catalog, out),
            Action::Verify { benchmark, retrain, seed, images } => {
                trust::check(&*catalog.open(&benchmark)?, retrain, seed, images.as_deref(), out)
            }
            Action::Best { benchmark, metric, limit } => {
                rows::best(&*catalog.open(&benchmark)?, &metric, limit as usize, out)
            }
            Action::Query { benchmark, architecture, metrics } => {
                rows::query(&*catalog.open(&benchmark)?, &architecture, &metrics, out)
            }
        }
    }
}

/// Standard output, for people or for programs.
struct Output {
    json: bool,
}

impl Output {
    fn line(&mut self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        println!("{text}");
        Ok(())
    }

    /// Rows under a header; columns of numbers are aligned to the right.
    fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
        let header = header.iter().map(ToString::to_string).collect::<Vec<_>>();
        let width = |c: usize| rows.iter().chain([&header]).map(|r| r[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let numeric = |c: usize| rows.iter().all(|row| is_number(&row[c]));
        let numeric: Vec<bool> = (0..header.len()).map(numeric).collect();
        for row in [&header].into_iter().chain(rows) {
            let mut line = String::new();
            for (c, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[c] - cell.chars().count());
                line += &if numeric[c] { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }
}

fn list(catalog: &Catalog, out: &mut Output) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for entry in catalog.list()? {
        let path = entry.path.display().to_string();
        let opened = catalog.open(&entry.name);
        match (&opened, out.json) {
            (Ok(b), true) => out.line(json!({
                "benchmark": b.name(), "space": b.space().name(), "rows": b.rows(), "metrics": b.metrics().len(),
                "bytes": b.file_size(), "content_sha256": b.content_hash_hex(), "path": path,
            }))?,
            (Err(e), true) => {
                out.line(json!({ "benchmark": entry.name, "path": path, "error": with_causes(e) }))?;
            }
            (Ok(b), false) => rows.push(vec![
                entry.name,
                b.space().name().into(),
                thousands(b.rows()),
                b.metrics().len().to_string(),
                megabytes(b.file_size()),
                path,
            ]),
            (Err(e), false) => {
                let dash = || "-".to_string();
                let problem = format!("cannot be used: {}", with_causes(e));
                rows.push(vec![entry.name, dash(), dash(), dash(), dash(), problem]);
            }
        }
    }
    let hidden = catalog.hidden()?;
    if out.json {
        for Hidden { name, path, by } in hidden {
            out.line(json!({ "benchmark": name, "path": path, "hidden_by": by }))?;
        }
        return Ok(());
    }
    let only_built_in = rows.iter().all(|row| BuiltIn::of(&row[0]).is_some());
    out.table(&["benchmark", "space", "rows", "metrics", "size", "file"], &rows)?;
    if only_built_in {
        let folders: Vec<String> = catalog.folders().iter().map(|f| f.display().to_string()).collect();
        out.line(format!("\nThere are no others in {}.", folders.join(" or ")))?;
        out.line("`srnas bench import nasbench201 DIR…` makes one; `srnas bench import --help` says more.")?;
    }
    for Hidden { name, path, by } in hidden {
        out.line(format!("\n{} is not used: `{name}` is {}", path.display(), by.display()))?;
    }
    Ok(())
}

/// Where a benchmark of this name is imported to.
fn place(catalog: &Catalog, name: &str) -> anyhow::Result<PathBuf> {
    Ok(catalog.import_dir()?.join(format!("{name}.{EXTENSION}")))
}

/// Writes a benchmark where imports go, over another of its name only where that is wanted. Returns its file and size.
fn write(catalog: &Catalog, benchmark: BenchmarkWriter, replace: bool) -> anyhow::Result<(PathBuf, u64)> {
    let name = benchmark.name().to_string();
    let path = place(catalog, &name)?;
    let bytes = if replace { benchmark.write(&path)? } else { benchmark.write_new(&path)? };
    for hidden in catalog.hidden()?.iter().filter(|hidden| hidden.by == path) {
        tracing::warn!("{} has the same name, `{name}`, and is hidden by it", hidden.path.display());
    }
    Ok((path, bytes))
}

fn import(
    catalog: &Catalog,
    kind: &str,
    folders: &[PathBuf],
    replace: bool,
    out: &mut Output,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let kind = KINDS.iter().find(|k| k.name == kind).context("no such kind of tables")?;
    // Draws nothing where stderr is not a terminal.
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("a template");
    let bar = ProgressBar::new(0).with_style(style);
    let imported = (kind.import)(folders, &mut |done, total, path| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    });
    bar.finish_and_clear();
    let imported = imported?;
    if !out.json {
        for file in &imported.files {
            out.line(format!("read   {}", file.display()))?;
        }
        for file in &imported.absent {
            out.line(format!("absent {file} (what it has is left out)"))?;
        }
    }
    // All of them or none.
    for benchmark in &imported.benchmarks {
        match replace {
            true => benchmark.check()?,
            false => benchmark.check_new(&place(catalog, benchmark.name())?)?,
        }
    }
    for benchmark in imported.benchmarks {
        let (name, rows, metrics) = (benchmark.name().to_string(), benchmark.rows(), benchmark.metrics());
        let (path, bytes) = write(catalog, benchmark, replace)?;
        let seconds = began.elapsed().as_secs_f64();
        if out.json {
            out.line(json!({
                "benchmark": name, "path": path, "rows": rows, "metrics": metrics, "bytes": bytes,
                "seconds": seconds, "files": imported.files, "absent": imported.absent,
            }))?;
            continue;
        }
        let (rows, size) = (thousands(rows), megabytes(bytes as usize));
        let what = format!("{rows} rows, {metrics} metrics, {size}, in {seconds:.1} s");
        out.line(format!("wrote  {}: {what}", path.display()))?;
    }
    Ok(())
}
