//! `srnas export`: the measurements of a search or run in files that other programs read.

mod ledger_file;

use super::{Usage, live::look::Look, own, resume::Kind, space::GivenSpace};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use srnas_basics::files::write_whole_by;
use srnas_learner::RunDir;
use srnas_ledger::Database;
use srnas_oracle::{
    catalog::Catalog,
    exporters::{self, ExportError, Measurement, Study},
};
use srnas_search::report::Said;
use srnas_space::SearchSpace;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Take the measurements of a search or run out, into a file that other programs read
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas export runs/search-1 --to csv > measurements.csv        decisions and metrics, a column each
  srnas export runs/search-1 --to optuna --out study.db         a storage that Optuna loads and goes on with
  srnas export runs/latest --to parquet --out runs.parquet      also of the training of a policy
  srnas export runs/search-1 --to jsonl | head -3               what `srnas search --start` reads, too
  srnas export run.sqlite --to csv > measurements.csv           the ledger of srnas.Search in a Python process")]
pub struct ExportCommand {
    /// The run directory of a search by --oracle or of a run, or the ledger of srnas.Search in a Python process; also while it goes on
    #[arg(value_name = "DIR|FILE")]
    place: PathBuf,
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    to: Format,
    /// The file; nothing may be there [default: stdout for csv and jsonl, else the directory's name with .db or .parquet, here]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Say what was written as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// A study in an SQLite storage of Optuna
    Optuna,
    /// CSV with a header
    Csv,
    /// A Parquet file
    Parquet,
    /// A JSON object on each line
    Jsonl,
}

impl ExportCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let studies = studies(&self.place)?;
        let measurements: usize = studies.iter().map(|study| study.measurements.len()).sum();
        if measurements == 0 {
            return Err(ExportError::Nothing.into());
        }
        let out = match (&self.out, self.to) {
            (Some(out), _) => Some(out.clone()),
            (None, Format::Csv | Format::Jsonl) => None,
            (None, to) => {
                let ending = if to == Format::Optuna { "db" } else { "parquet" };
                Some(format!("{}.{ending}", name_of(&self.place)).into())
            }
        };
        match &out {
            None => {
                let mut text = Vec::new();
                self.write(&studies, &mut text)?;
                print!("{}", String::from_utf8_lossy(&text));
                return Ok(());
            }
            Some(path) if path.exists() => return Err(ExportError::Present { path: path.clone() }.into()),
            Some(path) if self.to == Format::Optuna => exporters::write_optuna(&studies, path)?,
            Some(path) => write_whole_by(path, |file| self.write(&studies, file))
                .with_context(|| format!("cannot write {}", path.display()))?,
        }
        let path = out.unwrap_or_default();
        if self.json {
            let names: Vec<&String> = studies.iter().map(|study| &study.name).collect();
            println!("{}", json!({ "file": path, "measurements": measurements, "studies": names }));
            return Ok(());
        }
        let of = match &studies[..] {
            [_] => String::new(),
            several => format!(" of {} tasks", several.len()),
        };
        println!("wrote  {}: {measurements} measurements{of}", path.display());
        Ok(())
    }

    /// Writes what is a table.
    fn write(&self, studies: &[Study], to: &mut (impl Write + Send)) -> io::Result<()> {
        let columns = exporters::columns(studies);
        match self.to {
            Format::Csv => exporters::csv(&columns, to),
            Format::Jsonl => exporters::json_lines(&columns, to),
            Format::Parquet | Format::Optuna => exporters::write_parquet(&columns, to),
        }
    }
}

/// A directory's name, or a file's without its ending, as files and studies may be called.
fn name_of(place: &Path) -> String {
    let whole = place.canonicalize().unwrap_or_else(|_| place.into());
    let name = if whole.is_file() { whole.file_stem() } else { whole.file_name() };
    name.map_or_else(|| "measurements".into(), |name| name.to_string_lossy().into_owned())
}

/// What a run directory has, or a ledger's file.
fn studies(dir: &Path) -> anyhow::Result<Vec<Study>> {
    if dir.is_file() {
        return Ok(vec![ledger_file::of_ledger(dir)?]);
    }
    match Kind::of(dir) {
        Some(Kind::Search) => Ok(vec![of_search(dir)?]),
        Some(Kind::Training) => of_run(dir),
        None => {
            let place = dir.display();
            Err(Usage(format!(
                "{place} holds neither a search by --oracle nor a run: name its run directory, or the file of a ledger of srnas.Search"
            ))
            .into())
        }
    }
}

fn of_search(dir: &Path) -> anyhow::Result<Study> {
    let look = Look::at(dir)?;
    let objectives = look.goal.objectives().iter().map(|o| (o.metric.clone(), o.minimise)).collect();
    let measurements = look.report.rows.iter().map(|row| {
        let infeasible = match &row.said {
            Said::Infeasible(reason) => Some(reason.clone()),
            Said::Value(_) => None,
        };
        let (decisions, metrics) = (row.decisions.clone(), row.metrics.clone());
        Measurement { decisions, trained: row.trained, full: row.full, cost: row.cost, metrics, infeasible }
    });
    Ok(Study {
        name: name_of(dir),
        space: look.space.clone(),
        definition: definition(dir),
        objectives,
        unit: (look.fidelities.shorter() > 0).then(|| look.fidelities.unit().to_string()),
        measurements: measurements.collect(),
    })
}

/// The text of the space's copy in a run directory, and its ending.
fn definition(dir: &Path) -> Option<(String, String)> {
    let read = |ending: &str| {
        let text = std::fs::read_to_string(dir.join(format!("space.{ending}"))).ok()?;
        Some((text, ending.to_string()))
    };
    read("toml").or_else(|| read("json"))
}

/// What the tasks of a run have; their value is what each maximises.
fn of_run(dir: &Path) -> anyhow::Result<Vec<Study>> {
    let ledger = dir.join(RunDir::LEDGER);
    let run = Database::whose(&ledger)?;
    let (space, definition) = space_of(dir, &run)?;
    let study = |(task, (name, _)): (usize, &(String, String))| {
        let (_, answers) = Database::look(&ledger, u16::try_from(task)?)?;
        let measurements: Vec<Measurement> = answers
            .into_iter()
            .map(|answer| {
                let (metrics, infeasible) = match answer.said {
                    Ok((value, mut metrics)) => {
                        metrics.insert(VALUE.into(), value);
                        (metrics, None)
                    }
                    Err(reason) => (BTreeMap::new(), Some(reason)),
                };
                Measurement {
                    decisions: space.to_json(&answer.choices),
                    trained: answer.fidelity,
                    full: answer.fidelity == 1.0,
                    cost: answer.cost,
                    metrics,
                    infeasible,
                }
            })
            .collect();
        let shorter = measurements.iter().any(|measurement| !measurement.full);
        Ok(Study {
            name: name.clone(),
            space: space.clone(),
            definition: definition.clone(),
            objectives: vec![(VALUE.into(), false)],
            unit: shorter.then(|| "fidelity".into()),
            measurements,
        })
    };
    let mut studies = run.tasks.iter().enumerate().map(study).collect::<anyhow::Result<Vec<_>>>()?;
    studies.retain(|study| !study.measurements.is_empty());
    Ok(studies)
}

/// What is measured of a task.
const VALUE: &str = "value";

/// The space of a run, and its text if it is one of the user's own.
#[expect(clippy::type_complexity, reason = "a space and what defines it")]
fn space_of(
    dir: &Path,
    run: &srnas_ledger::RunRecord,
) -> anyhow::Result<(Arc<SearchSpace>, Option<(String, String)>)> {
    if srnas_space::is_known(&run.space) {
        return Ok((SearchSpace::named(&run.space)?, None));
    }
    for (name, _) in &run.benchmarks {
        let Ok(benchmark) = own::catalog_of(dir, Catalog::new(None)).open(name) else { continue };
        let text = benchmark.space_definition().map(|of| {
            let ending = match of.format {
                srnas_oracle::benchmark::SpaceFormat::Json => "json",
                srnas_oracle::benchmark::SpaceFormat::Toml => "toml",
            };
            (of.text.clone(), ending.to_string())
        });
        return Ok((benchmark.space().clone(), text));
    }
    let copy = ["toml", "json"].map(|ending| dir.join(format!("space.{ending}")));
    if let Some(path) = copy.iter().find(|path| path.is_file()) {
        return Ok((GivenSpace::of_copy(path, &run.space)?.space, definition(dir)));
    }
    let names: Vec<&str> = run.benchmarks.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = format!(
        "the space {} of this run is in its benchmark ({}), which is not found: say where it is with SRNAS_BENCH_DIR",
        run.space,
        names.join(", ")
    );
    Err(Usage(wanted).into())
}
