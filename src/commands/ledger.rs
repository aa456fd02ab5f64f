//! `srnas ledger`: is what was measured still there, a copy of it, and what can be kept of a damaged one.

use super::{Usage, own, space::GivenSpace};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use srnas_config::Config;
use srnas_learner::{RunDir, known_by_checkpoint};
use srnas_ledger::{self as ledger, Database, Findings, fits};
use srnas_oracle::catalog::Catalog;
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing::warn;

/// So much of what was lost is told line by line.
const TOLD: usize = 100;

const EXAMPLES: &str = "Examples:
  srnas ledger verify runs/latest                      is everything there, and as it was written?
  srnas ledger backup runs/latest --to backup.sqlite   a copy, also while the learner runs
  srnas ledger repair runs/latest                      keep what is whole of a damaged one, and go on with that";

/// Look after the ledger of a run or search: what was measured
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LedgerCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Compare every page and every answer with what was written, and all with the newest checkpoint; changes nothing
    Verify {
        #[command(flatten)]
        place: Place,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Copy it into a file that is whole or not there, also while the learner or search runs
    Backup {
        #[command(flatten)]
        place: Place,
        /// The copy; nothing may be there
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a new one in its place, with all that is whole in the damaged one, and say what was lost. The damaged one is kept as
    /// ledger.damaged-1.sqlite; what was lost of a search is measured again if it wants that
    Repair {
        #[command(flatten)]
        place: Place,
    },
}

/// Which ledger.
#[derive(Debug, Args)]
struct Place {
    /// The run directory of a run or search, or a ledger's file
    #[arg(value_name = "DIR|FILE")]
    place: PathBuf,
}

impl Place {
    /// The file, and the run directory if it is that of one.
    fn resolve(&self) -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
        let place = self.place.display();
        if self.place.is_dir() {
            let file = self.place.join(RunDir::LEDGER);
            return match file.is_file() {
                true => Ok((file, Some(self.place.clone()))),
                false => Err(Usage(format!(
                    "{place} has no {}: is it the directory of a run or search?",
                    RunDir::LEDGER
                ))
                .into()),
            };
        }
        if !self.place.is_file() {
            return Err(Usage(format!(
                "there is no {place}: give the directory of a run or search, or a ledger's file"
            ))
            .into());
        }
        let folder = match self.place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let of_run = self.place.file_name().is_some_and(|name| name == RunDir::LEDGER)
            && folder.join(RunDir::CONFIG).is_file();
        Ok((self.place.clone(), of_run.then_some(folder)))
    }
}

/// What is needed to tell whether an architecture fits its key.
struct Judge {
    space: Option<Arc<SearchSpace>>,
    count: Count,
}

impl Judge {
    /// What a run directory, or the ledger's file itself, says of the space.
    fn of(file: &Path, run_dir: Option<&Path>) -> Judge {
        let config = run_dir.and_then(|dir| fs::read_to_string(dir.join(RunDir::CONFIG)).ok());
        let table: Option<toml::Table> = config.as_deref().and_then(|text| text.parse().ok());
        let searched = table.as_ref().and_then(|table| table.get("space")?.as_str().map(String::from));
        let run = Database::whose(file).ok();
        let space = match (&searched, run_dir, run) {
            (Some(name), _, _) if srnas_space::is_known(name) => SearchSpace::named(name).ok(),
            (Some(name), Some(dir), run) => {
                let named = run.map_or(String::new(), |run| run.space);
                GivenSpace::of_copy(&dir.join(name), &named).ok().map(|given| given.space)
            }
            (_, dir, Some(run)) => SearchSpace::named(&run.space).ok().or_else(|| {
                let catalog = own::catalog_of(dir.unwrap_or(Path::new(".")), Catalog::new(None));
                let (benchmark, _) = run.benchmarks.first()?;
                catalog.open(benchmark).ok().map(|benchmark| benchmark.space().clone())
            }),
            (_, _, None) => None,
        };
        let count = match (&searched, run_dir) {
            (None, Some(dir)) => {
                Config::load(&dir.join(RunDir::CONFIG)).ok().map(|config| config.tasks.count)
            }
            _ => None,
        };
        // Without a configuration nobody knows by what architectures were counted.
        let known = searched.is_some() || count.is_some();
        Judge { space: space.filter(|_| known), count: count.unwrap_or(Count::Classes) }
    }

    fn fits(&self, key: u64, choices: &[u8]) -> Result<(), String> {
        self.space.as_ref().map_or(Ok(()), |space| fits(space, self.count, key, choices))
    }
}

impl LedgerCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Verify { place, json } => {
                let (file, run_dir) = place.resolve()?;
                let (judge, findings) = look(&file, run_dir.as_deref())?;
                let keys = judge.space.is_some();
                if json {
                    let run = findings.run.as_ref();
                    let line = json!({
                        "ledger": file.display().to_string(), "run": run.map(|run| &run.name), "schema": findings.schema,
                        "space": run.map(|run| &run.space), "whole": findings.whole,
                        "without_value": findings.without_value, "keys_checked": keys, "faults": findings.faults,
                    });
                    println!("{line}");
                } else {
                    tell(&file, &findings, keys);
                }
                match findings.faults.len() {
                    0 => Ok(()),
                    _ => bail!(
                        "{} is damaged; `srnas ledger repair {}` keeps what is whole, or put a backup in its place",
                        file.display(),
                        place.place.display()
                    ),
                }
            }
            What::Backup { place, to } => {
                let (file, run_dir) = place.resolve()?;
                if to.exists() {
                    return Err(Usage(format!("--to {}: there is a file of that name", to.display())).into());
                }
                let judge = Judge::of(&file, run_dir.as_deref());
                let findings = ledger::backup(&file, &to, &|_, key, choices| judge.fits(key, choices))?;
                println!("{}: {} answers", to.display(), findings.whole);
                Ok(())
            }
            What::Repair { place } => {
                let (file, run_dir) = place.resolve()?;
                let _held = run_dir.as_deref().map(RunDir::hold).transpose()?;
                let (judge, findings) = look(&file, run_dir.as_deref())?;
                if findings.faults.is_empty() {
                    println!("{} is whole: {} answers, nothing to repair", file.display(), findings.whole);
                    return Ok(());
                }
                let repaired = ledger::repair(&file, &|_, key, choices| judge.fits(key, choices))
                    .context("nothing was changed")?;
                println!("{}: {} answers are kept", file.display(), repaired.kept);
                for line in repaired.lost.iter().take(TOLD) {
                    println!("lost: {line}");
                }
                if repaired.lost.len() > TOLD {
                    println!("lost: and {} more", repaired.lost.len() - TOLD);
                }
                println!("The damaged one is {}.", repaired.damaged.display());
                Ok(())
            }
        }
    }
}

/// Looks at a ledger, and beside the newest checkpoint at what it should have.
fn look(file: &Path, run_dir: Option<&Path>) -> anyhow::Result<(Judge, Findings)> {
    let judge = Judge::of(file, run_dir);
    let known = run_dir.map(known_by_checkpoint).transpose().unwrap_or_else(|error| {
        warn!(%error, "the ledger is not compared with a checkpoint");
        None
    });
    let findings = ledger::verify(file, &|_, key, choices| judge.fits(key, choices), known.flatten())?;
    Ok((judge, findings))
}

fn tell(file: &Path, findings: &Findings, keys: bool) {
    let of =
        findings.run.as_ref().map_or(String::new(), |run| format!(" of {} over {}", run.name, run.space));
    println!(
        "{}{of}, schema {}: {} answers are whole, {} of them without a value",
        file.display(),
        findings.schema,
        findings.whole,
        findings.without_value
    );
    if !keys {
        println!("The space is not at hand: whether keys fit their architectures was not looked at.");
    }
    for fault in &findings.faults {
        println!("damaged: {fault}");
    }
}
