//! `srnas bench`: what benchmarks there are, what is in them, where they come from.

mod table;

use super::Usage;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_common::text::with_causes;
use srnas_oracle::{
    agreement::agreement,
    benchmark::{Benchmark, EXTENSION, MetricView},
    catalog::Catalog,
    digits,
    importers::KINDS,
    verify::verify,
};
use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

const EXAMPLES: &str = "Examples:
  srnas bench import nasbench201 tables/nasbench201 tables/robustness tables/hw
  srnas bench import table results.csv.gz --suggest --descriptor results.toml
  srnas bench import table results.csv.gz --descriptor results.toml
  srnas bench list
  srnas bench info nb201
  srnas bench verify nb201 --json
  srnas bench verify digits                              trains some of it again
  srnas bench generate digits --out digits.safetensors   trains all of it again
  srnas bench query nb201 --metric cifar10/val --metric cifar10/edgegpu_latency \\
      '|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|'";

/// The kind of a table that a descriptor tells.
const TABLE: &str = "table";

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
    },
    /// Make a benchmark file from published tables, or from a table of yours
    Import {
        /// Kind of the tables; `table` is one of yours, told by a descriptor (docs/your-own-table.md)
        #[arg(value_parser = PossibleValuesParser::new(KINDS.iter().map(|k| k.name).chain([TABLE])))]
        kind: String,
        /// Folders with the published tables, as CSV files (.csv or .csv.gz) in them or right below them; or the file of your
        /// table: CSV, TSV (plain or gzip) or Parquet
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// With `table`, the TOML file that says what its columns are
        #[arg(long, value_name = "D.toml")]
        descriptor: Option<PathBuf>,
        /// With `table`, write a first descriptor to --descriptor, and a space beside it, instead of importing; without
        /// --descriptor, show them
        #[arg(long)]
        suggest: bool,
    },
    /// Make a benchmark by training all of it on this machine; interrupted, the same command goes on
    Generate {
        /// The benchmark
        #[arg(value_parser = [digits::BENCHMARK])]
        benchmark: String,
        /// Where to write it [default: the folder of imports]; the trainings so far are kept beside it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Trainings at a time [default: all cores]
        #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
        threads: usize,
    },
    /// Check a benchmark against its content hash and the published facts; digits also by training some of it again
    Verify {
        /// Name of the benchmark, such as nb201
        benchmark: String,
        /// For digits: how many random trainings to repeat
        #[arg(long, default_value_t = 5, value_name = "N")]
        retrain: usize,
        /// For digits: seed of the draw of those trainings
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Show what a benchmark has measured of one architecture
    Query {
        /// Name of the benchmark, such as nb201
        benchmark: String,
        /// The architecture, in the notation of its space or as decision=choice,…
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
            Action::Info { benchmark } => info(&*catalog.open(&benchmark)?, out),
            Action::Agreement { benchmark, metrics } => {
                show_agreement(&*catalog.open(&benchmark)?, &metrics, out)
            }
            Action::Import { kind, paths, descriptor, suggest } => match (kind == TABLE, suggest) {
                (true, true) => table::suggest(&paths, descriptor.as_deref(), out),
                (true, false) => table::import(&catalog, &paths, descriptor.as_deref(), out),
                (false, false) if descriptor.is_none() => import(&catalog, &kind, &paths, out),
                (false, _) => Err(Usage("--descriptor and --suggest go with `import table`".into()).into()),
            },
            Action::Generate { out: file, threads, .. } => generate(&catalog, file, threads, out),
            Action::Verify { benchmark, retrain, seed } => {
                check(&*catalog.open(&benchmark)?, retrain, seed, out)
            }
            Action::Query { benchmark, architecture, metrics } => {
                query(&*catalog.open(&benchmark)?, &architecture, &metrics, out)
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
    if out.json {
        return Ok(());
    }
    let only_built_in = rows.len() == 1 && rows[0][0] == digits::BENCHMARK;
    out.table(&["benchmark", "space", "rows", "metrics", "size", "file"], &rows)?;
    if only_built_in {
        let folders: Vec<String> = catalog.folders().iter().map(|f| f.display().to_string()).collect();
        out.line(format!("\nThere are no others in {}.", folders.join(" or ")))?;
        out.line("`srnas bench import nasbench201 DIR…` makes one; `srnas bench import --help` says more.")?;
    }
    Ok(())
}

fn info(benchmark: &Benchmark, out: &mut Output) -> anyhow::Result<()> {
    let space = benchmark.space();
    if out.json {
        out.line(json!({
            "benchmark": benchmark.name(), "space": space.name(), "rows": benchmark.rows(),
            "covers_space": benchmark.covers_space(), "provenance": benchmark.provenance(),
            "licence": benchmark.licence(), "bytes": benchmark.file_size(),
            "content_sha256": benchmark.content_hash_hex(), "path": benchmark.path(),
            "shorter": benchmark.metrics().flat_map(|m| benchmark.fidelities(m.name())).collect::<Vec<_>>(),
        }))?;
    } else {
        let covered = match (benchmark.covers_space(), space.size()) {
            (true, _) => "the whole space".to_string(),
            (false, Some(size)) => {
                format!("{:.3} % of the space", 100.0 * benchmark.rows() as f64 / size as f64)
            }
            (false, None) => "a small part of the space".to_string(),
        };
        for (what, is) in [
            ("benchmark", benchmark.name().to_string()),
            ("space", format!("{}, {} decisions", space.name(), space.len())),
            ("rows", format!("{}, {covered}", thousands(benchmark.rows()))),
            ("provenance", benchmark.provenance().to_string()),
            ("licence", benchmark.licence().to_string()),
            ("content", format!("SHA-256 {}", benchmark.content_hash_hex())),
            ("file", format!("{}, {}", benchmark.path().display(), megabytes(benchmark.file_size()))),
        ] {
            out.line(format!("{what:<12}{is}"))?;
        }
        for metric in benchmark.metrics() {
            for shorter in benchmark.fidelities(metric.name()) {
                let (amount, full, unit, cost) =
                    (shorter.amount, shorter.full, &shorter.unit, shorter.cost());
                out.line(format!(
                    "{:<12}{} says {} after {amount} of {full} {unit}, at a cost of {cost:.3}",
                    "shorter", shorter.metric, shorter.of
                ))?;
            }
        }
        out.line("")?;
    }
    let mut rows = Vec::new();
    for metric in benchmark.metrics() {
        let s = Summary::of(&metric);
        let info = metric.info();
        if out.json {
            out.line(json!({
                "metric": metric.name(), "unit": info.unit, "direction": info.direction, "seeds": metric.seeds(),
                "known": s.known, "min": exact(s.min), "median": exact(s.median), "max": exact(s.max),
                "description": info.description,
            }))?;
        } else {
            rows.push(vec![
                metric.name().into(),
                info.unit.clone(),
                info.direction.to_string(),
                metric.seeds().to_string(),
                format!("{:.0} %", 100.0 * s.known as f64 / metric.values().len() as f64),
                number(s.min),
                number(s.median),
                number(s.max),
                info.description.clone(),
            ]);
        }
    }
    if out.json {
        return Ok(());
    }
    out.table(&["metric", "unit", "direction", "seeds", "known", "min", "median", "max", "what"], &rows)
}

/// The distribution of a metric's values, over rows and seeds.
struct Summary {
    known: usize,
    min: f32,
    median: f32,
    max: f32,
}

impl Summary {
    fn of(metric: &MetricView) -> Self {
        let mut known: Vec<f32> = metric.values().filter(|v| !v.is_nan()).collect();
        let median = srnas_common::statistics::median(&mut known);
        let min = known.iter().copied().fold(f32::NAN, f32::min);
        let max = known.iter().copied().fold(f32::NAN, f32::max);
        Self { known: known.len(), min, median, max }
    }
}

fn show_agreement(benchmark: &Benchmark, names: &[String], out: &mut Output) -> anyhow::Result<()> {
    let metrics: Vec<MetricView> = match names {
        [] => benchmark.metrics().collect(),
        names => {
            let metric = |name: &String| benchmark.metric(name).map_err(|e| Usage(e.to_string()));
            names.iter().map(metric).collect::<Result<_, _>>()?
        }
    };
    let all = agreement(benchmark, &metrics);
    if out.json {
        for of in &all {
            let with: serde_json::Map<_, _> =
                metrics.iter().zip(&of.with).map(|(m, r)| (m.name().to_string(), json!(r))).collect();
            out.line(json!({
                "metric": of.metric, "spread": of.spread, "noise": of.noise, "between_seeds": of.between_seeds,
                "within_noise_of_best": of.within_noise_of_best, "rank_correlation": with,
            }))?;
        }
        return Ok(());
    }
    let shown = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| {
            let share = a.within_noise_of_best.map(|share| 100.0 * share);
            let unit = benchmark.metric(&a.metric).map_or("", |m| &m.info().unit).to_string();
            vec![
                a.metric.clone(),
                unit,
                format!("{:.4}", a.spread),
                shown(a.noise, 4),
                shown(a.between_seeds, 2),
                share.map_or("-".into(), |s| format!("{s:.2} %")),
            ]
        })
        .collect();
    out.line("Classes count once. Spread: standard deviation over classes; noise: of one seed around its class's mean;")?;
    out.line("seeds: rank correlation between them; near best: share of the classes within two standard errors of the best.\n")?;
    out.table(&["metric", "unit", "spread", "noise", "seeds", "near best"], &rows)?;
    // A matrix of many columns is no table for people.
    if !(2..=12).contains(&metrics.len()) {
        return out
            .line("\nWith --metric given 2 to 12 times, also their rank correlations with each other.");
    }
    out.line("\nRank correlations of the means:\n")?;
    let columns: Vec<&str> = std::iter::once("").chain(metrics.iter().map(MetricView::name)).collect();
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|a| std::iter::once(a.metric.clone()).chain(a.with.iter().map(|r| format!("{r:.2}"))).collect())
        .collect();
    out.table(&columns, &rows)
}

fn import(catalog: &Catalog, kind: &str, folders: &[PathBuf], out: &mut Output) -> anyhow::Result<()> {
    let began = Instant::now();
    let kind = KINDS.iter().find(|k| k.name == kind).context("no such kind of tables")?;
    let path = catalog.import_dir()?.join(format!("{}.{EXTENSION}", kind.benchmark));
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

    let (rows, metrics) = (imported.benchmark.rows(), imported.benchmark.metrics());
    let bytes = imported.benchmark.write(&path)?;
    let seconds = began.elapsed().as_secs_f64();
    if out.json {
        return out.line(json!({
            "benchmark": kind.benchmark, "path": path, "rows": rows, "metrics": metrics, "bytes": bytes,
            "seconds": seconds, "files": imported.files, "absent": imported.absent,
        }));
    }
    for file in &imported.files {
        out.line(format!("read   {}", file.display()))?;
    }
    for file in &imported.absent {
        out.line(format!("absent {file} (its metrics are left out)"))?;
    }
    let (rows, size) = (thousands(rows), megabytes(bytes as usize));
    out.line(format!("wrote  {}: {rows} rows, {metrics} metrics, {size}, in {seconds:.1} s", path.display()))
}

fn generate(
    catalog: &Catalog,
    file: Option<PathBuf>,
    threads: usize,
    out: &mut Output,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let path = match file {
        Some(path) => path,
        None => catalog.import_dir()?.join(format!("{}.{EXTENSION}", digits::BENCHMARK)),
    };
    let journal = path.with_extension("trainings.jsonl");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} trainings, {eta} left");
    let bar = ProgressBar::new(0).with_style(style.expect("a template"));
    let stop = super::stop_flag()?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let (first, line) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
    let generated = pool.install(|| {
        digits::generate(&journal, &stop, |progress| {
            if first.fetch_min(progress.done, Ordering::Relaxed) == usize::MAX {
                bar.set_length(progress.total as u64);
                bar.set_position(progress.done as u64);
                bar.reset_eta();
            }
            bar.set_position(progress.done as u64);
            // A log line a minute where there is no terminal.
            let minute = (began.elapsed().as_secs() / 60) as usize;
            if bar.is_hidden() && line.fetch_max(minute, Ordering::Relaxed) < minute {
                let new = progress.done - first.load(Ordering::Relaxed).min(progress.done);
                let left = (progress.total - progress.done) as f64 * began.elapsed().as_secs_f64()
                    / new.max(1) as f64;
                tracing::info!(
                    "{} of {} trainings, {:.0} minutes left",
                    progress.done,
                    progress.total,
                    left / 60.0
                );
            }
        })
    });
    bar.finish_and_clear();
    let digits::Generated { benchmark, diverged } = generated?;
    let (rows, metrics) = (benchmark.rows(), benchmark.metrics());
    let bytes = benchmark.write(&path)?;
    std::fs::remove_file(&journal).with_context(|| format!("cannot remove {}", journal.display()))?;
    let seconds = began.elapsed().as_secs_f64();
    if out.json {
        return out.line(json!({
            "benchmark": digits::BENCHMARK, "path": path, "classes": rows, "metrics": metrics, "bytes": bytes,
            "diverged": diverged, "seconds": seconds,
        }));
    }
    let (rows, size, place) = (thousands(rows), megabytes(bytes as usize), path.display());
    out.line(format!(
        "wrote  {place}: {rows} classes, {metrics} metrics, {size}, in {seconds:.0} s; {diverged} diverged"
    ))
}

fn check(benchmark: &Benchmark, retrain: usize, draw: u64, out: &mut Output) -> anyhow::Result<()> {
    let mut checks = verify(benchmark);
    if benchmark.name() == digits::BENCHMARK {
        checks.extend(digits::retrain(benchmark, retrain, draw)?);
    }
    if out.json {
        for check in &checks {
            out.line(json!(check))?;
        }
    } else {
        let rows: Vec<Vec<String>> = checks
            .iter()
            .map(|c| {
                let verdict = if c.ok { "ok" } else { "FAILED" };
                vec![verdict.into(), c.what.clone(), c.expected.clone(), c.found.clone()]
            })
            .collect();
        out.table(&["", "what", "expected", "found"], &rows)?;
    }
    match checks.iter().filter(|c| !c.ok).count() {
        0 => Ok(()),
        failed => bail!(
            "{failed} of {} checks of {} failed: make it again, from the published tables or by training",
            checks.len(),
            benchmark.path().display()
        ),
    }
}

fn query(
    benchmark: &Benchmark,
    architecture: &str,
    metrics: &[String],
    out: &mut Output,
) -> anyhow::Result<()> {
    let space = benchmark.space();
    let choices = space.parse(architecture).map_err(|e| Usage(e.to_string()))?;
    let architecture = space.format(&choices);
    let row = benchmark
        .row_of(&choices)
        .with_context(|| format!("{architecture} is not in the table of {}", benchmark.name()))?;
    let asked: Vec<MetricView> = match metrics {
        [] => benchmark.metrics().collect(),
        names => {
            let metric = |name: &String| benchmark.metric(name).map_err(|e| Usage(e.to_string()));
            names.iter().map(metric).collect::<Result<_, _>>()?
        }
    };
    let mut rows = Vec::new();
    for metric in asked {
        let seeds: Vec<f32> = (0..metric.seeds()).map(|seed| metric.value(row, seed)).collect();
        let (mean, info) = (metric.mean(row), metric.info());
        if out.json {
            out.line(json!({
                "benchmark": benchmark.name(), "architecture": architecture, "metric": metric.name(),
                "value": exact(mean),
                "seeds": seeds.iter().map(|&v| exact(v)).collect::<Vec<_>>(),
                "unit": info.unit, "direction": info.direction,
            }))?;
        } else {
            let apart: Vec<String> = seeds.iter().map(|&v| number(v)).collect();
            let apart = if seeds.len() > 1 { format!("mean of {}", apart.join(", ")) } else { String::new() };
            rows.push(vec![metric.name().into(), number(mean), info.unit.clone(), apart]);
        }
    }
    if out.json {
        return Ok(());
    }
    out.line(format!("{architecture}\n"))?;
    out.table(&["metric", "value", "unit", ""], &rows)
}

/// Whether a cell of a table is a number as printed here, or stands for one.
fn is_number(cell: &str) -> bool {
    let digits = cell.trim_end_matches([' ', '%', 'M', 'B']).replace(',', "");
    matches!(cell, "-" | "missing") || digits.parse::<f64>().is_ok()
}

/// The number with the digits that it needs as f32; none for NaN.
fn exact(value: f32) -> Option<f64> {
    value.to_string().parse().ok().filter(|v: &f64| !v.is_nan())
}

/// Four digits after the point, `missing` for NaN.
fn number(value: f32) -> String {
    if value.is_nan() { "missing".into() } else { format!("{value:.4}") }
}

/// 15625 as 15,625.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
