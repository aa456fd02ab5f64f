//! `srnas bench`: what benchmarks there are, what is in them, where they come from.

use super::Usage;
use anyhow::{Context, bail};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use srnas_common::text::with_causes;
use srnas_oracle::{
    benchmark::{Benchmark, EXTENSION, MetricView},
    catalog::Catalog,
    importers::KINDS,
    verify::verify,
};
use std::{
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

const EXAMPLES: &str = "Examples:
  srnas bench import nasbench201 tables/nasbench201 tables/robustness tables/hw
  srnas bench list
  srnas bench info nb201
  srnas bench verify nb201 --json
  srnas bench query nb201 --metric cifar10/val --metric cifar10/edgegpu_latency \\
      '|none~0|+|none~0|skip_connect~1|+|nor_conv_3x3~0|none~1|none~2|'";

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
    /// Make a benchmark file from published tables
    Import {
        /// Kind of the tables
        #[arg(value_parser = PossibleValuesParser::new(KINDS.iter().map(|k| k.name)))]
        kind: String,
        /// Folders with the tables, as CSV files (.csv or .csv.gz) in them or right below them
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
    },
    /// Check a benchmark against its content hash and the published facts
    Verify {
        /// Name of the benchmark, such as nb201
        benchmark: String,
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
        let out = &mut Output { json: self.json, to: io::stdout().lock() };
        let done = match self.action {
            Action::List => list(&catalog, out),
            Action::Info { benchmark } => info(&*catalog.open(&benchmark)?, out),
            Action::Import { kind, folders } => import(&catalog, &kind, &folders, out),
            Action::Verify { benchmark } => check(&*catalog.open(&benchmark)?, out),
            Action::Query { benchmark, architecture, metrics } => {
                query(&*catalog.open(&benchmark)?, &architecture, &metrics, out)
            }
        };
        match done {
            // Whoever reads our output has seen enough, as in `srnas bench info nb201 | head`.
            Err(e)
                if e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

/// Standard output, for people or for programs.
struct Output {
    json: bool,
    to: io::StdoutLock<'static>,
}

impl Output {
    fn line(&mut self, text: impl std::fmt::Display) -> anyhow::Result<()> {
        Ok(writeln!(self.to, "{text}")?)
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
    if rows.is_empty() {
        let folders: Vec<String> = catalog.folders().iter().map(|f| f.display().to_string()).collect();
        out.line(format!("There are no benchmarks in {}.", folders.join(" or ")))?;
        return out
            .line("`srnas bench import nasbench201 DIR…` makes one; `srnas bench import --help` says more.");
    }
    out.table(&["benchmark", "space", "rows", "metrics", "size", "file"], &rows)
}

fn info(benchmark: &Benchmark, out: &mut Output) -> anyhow::Result<()> {
    let space = benchmark.space();
    if out.json {
        out.line(json!({
            "benchmark": benchmark.name(), "space": space.name(), "rows": benchmark.rows(),
            "covers_space": benchmark.covers_space(), "provenance": benchmark.provenance(),
            "licence": benchmark.licence(), "bytes": benchmark.file_size(),
            "content_sha256": benchmark.content_hash_hex(), "path": benchmark.path(),
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

fn check(benchmark: &Benchmark, out: &mut Output) -> anyhow::Result<()> {
    let checks = verify(benchmark);
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
            "{failed} of {} checks of {} failed: import it again from the published tables",
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
