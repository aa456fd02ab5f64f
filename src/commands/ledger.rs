//! `srnas ledger`: is what was measured still there, a copy of it, and what can be kept of a damaged one.

use super::{Usage, own, space::GivenSpace};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use srnas_config::Config;
use srnas_learner::{RunDir, known_by_checkpoint};
use srnas_ledger::{
    self as ledger, Database, Findings, fits,
    shared::{self, Address, SharedFindings},
};
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
  srnas ledger repair runs/latest                      keep what is whole of a damaged one, and go on with that
  srnas ledger verify postgres://ada@host/nas          the same of one that searches share (docs/sharing-measurements.md)";

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
    /// The run directory of a run or search, a ledger's file, or the address of a database that searches share
    #[arg(value_name = "DIR|FILE|postgres://…")]
    place: PathBuf,
}

impl Place {
    /// The address of a database, if it is one.
    fn address(&self) -> anyhow::Result<Option<Address>> {
        let text = self.place.to_string_lossy();
        let address = Address::is_meant(&text).then(|| text.parse().map_err(Usage)).transpose()?;
        Ok(address)
    }

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
                if let Some(address) = place.address()? {
                    return verify_shared(&address, json);
                }
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
                if place.address()?.is_some() {
                    let text = "of a database that searches share PostgreSQL's own pg_dump makes a copy";
                    return Err(Usage(text.into()).into());
                }
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
                if let Some(address) = place.address()? {
                    let lost = shared::repair(&address)?;
                    match lost.len() {
                        0 => println!("{address} is whole: nothing to repair"),
                        _ => tell_lost(&lost),
                    }
                    return Ok(());
                }
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
                tell_lost(&repaired.lost);
                println!("The damaged one is {}.", repaired.damaged.display());
                Ok(())
            }
        }
    }
}

fn tell_lost(lost: &[String]) {
    for line in lost.iter().take(TOLD) {
        println!("lost: {line}");
    }
    if lost.len() > TOLD {
        println!("lost: and {} more", lost.len() - TOLD);
    }
}

/// Looks at every task of a database that searches share.
fn verify_shared(address: &Address, as_json: bool) -> anyhow::Result<()> {
    let found = shared::verify(address)?;
    for SharedFindings { subject, whole, without_value, faults } in &found {
        if as_json {
            let line = json!({
                "ledger": address.to_string(), "task": subject.name, "space": subject.space, "whole": whole,
                "without_value": without_value, "faults": faults,
            });
            println!("{line}");
            continue;
        }
        println!(
            "{} over {}: {whole} answers are whole, {without_value} of them without a value",
            subject.name, subject.space
        );
        faults.iter().for_each(|fault| println!("damaged: {fault}"));
    }
    if found.is_empty() && !as_json {
        println!("{address}: nothing was shared there yet");
    }
    match found.iter().all(|task| task.faults.is_empty()) {
        true => Ok(()),
        false => bail!(
            "{address} is damaged; `srnas ledger repair {address}` takes out what is not what was written"
        ),
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
