//! `srnas search retry`: infeasible measurements of a search are asked for again.

use super::{Usage, config::LiveConfig, part, shared, start};
use anyhow::Context;
use clap::Args;
use serde_json::json;
use srnas_basics::text::shell;
use srnas_learner::{RunDir, Start};
use srnas_ledger::{AnswerRecord, Database};
use srnas_search::First;
use srnas_task::Training;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The file of a run directory that keeps what was taken out of the ledger.
const RETRIED: &str = "retried.jsonl";
/// So many reasons are told where none fits.
const TOLD: usize = 10;

/// Ask again for measurements without a value, first of all when the search goes on; what they cost is given back
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  srnas search retry --run-dir runs/search-1                        all of them
  srnas search retry --run-dir runs/search-1 --reason 'out of memory'
  srnas search --resume --run-dir runs/search-1 --budget 60         then measures them again, before anything else")]
pub struct RetryCommand {
    /// The run directory of a search by --oracle that is not running
    #[arg(long, value_name = "D")]
    run_dir: PathBuf,
    /// Only those whose reason contains this, in whatever case
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

impl RetryCommand {
    /// Runs the command.
    pub fn run(&self) -> anyhow::Result<()> {
        let (config, given) = LiveConfig::looked_at(&self.run_dir)?;
        let (held, _) = RunDir::open(&self.run_dir, Start::Resume)?;
        let (mut ledger, run) = Database::open_any(&held.ledger())?;
        let answers = ledger.answers(0)?;
        let wanted = self.reason.as_deref().unwrap_or_default().to_lowercase();
        let fits = |reason: &str| reason.to_lowercase().contains(&wanted);
        let fidelities = config.fidelities();
        let again: Vec<(&AnswerRecord, &String)> = answers
            .iter()
            .filter_map(|answer| Some((answer, answer.said.as_ref().err()?)))
            .filter(|(_, reason)| fits(reason))
            .collect();
        if again.is_empty() {
            return Err(self.none(&answers).into());
        }
        let first = |(answer, _): &(&AnswerRecord, &String)| {
            let fidelity = fidelities.of_share(answer.fidelity)?;
            Some(First { training: Training { choices: answer.choices.clone(), fidelity }, answer: None })
        };
        // Where they are shared they would come back from there.
        if let Some(address) = config.shared_ledger()? {
            let (training, teacher) = (config.training.as_ref(), config.teacher.as_deref());
            let part = part::of(given.clone(), &config.oracle, training, &config.within, teacher)?;
            let again: Vec<&AnswerRecord> = again.iter().map(|(answer, _)| *answer).collect();
            shared::forget(&address, &run, &part.space, &self.run_dir, &again)
                .context("nothing was changed")?;
        }
        // Before they are taken out: whatever happens in between, each is in the ledger or asked for.
        start::add(&self.run_dir, again.iter().filter_map(first).collect(), &given.space, &fidelities)?;
        let lines: Vec<serde_json::Value> = again
            .iter()
            .map(|(answer, reason)| {
                json!({
                    "architecture": given.space.format(&answer.choices), "fidelity": answer.fidelity, "cost": answer.cost,
                    "infeasible": reason,
                })
            })
            .collect();
        note(&self.run_dir, &lines).with_context(|| format!("cannot write {RETRIED}"))?;
        let gone = ledger.forget_infeasible(0, fits)?;
        if self.json {
            lines.iter().for_each(|line| println!("{line}"));
            return Ok(());
        }
        let cost: f64 = gone.iter().map(|answer| answer.cost).sum();
        println!(
            "{} infeasible {} asked for again, first of all, when the search goes on ({cost} of the budget given back):",
            gone.len(),
            if gone.len() == 1 { "measurement is" } else { "measurements are" }
        );
        println!("srnas search --resume --run-dir {} --budget N", shell(&self.run_dir));
        Ok(())
    }

    /// Why there is nothing to ask for again.
    fn none(&self, answers: &[AnswerRecord]) -> Usage {
        let place = self.run_dir.display();
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in answers.iter().filter_map(|answer| answer.said.as_ref().err()) {
            *reasons.entry(reason.split(" (kept: ").next().unwrap_or(reason)).or_default() += 1;
        }
        let (Some(wanted), false) = (&self.reason, reasons.is_empty()) else {
            return Usage(format!("no measurement in {place} is infeasible"));
        };
        let mut told: Vec<(&str, usize)> = reasons.into_iter().collect();
        told.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let more = if told.len() > TOLD { ", …" } else { "" };
        let told: Vec<String> =
            told.iter().take(TOLD).map(|(reason, n)| format!("`{reason}` ({n})")).collect();
        let told = told.join(", ");
        Usage(format!(
            "no infeasible measurement in {place} has `{wanted}` in its reason; there is {told}{more}"
        ))
    }
}

/// Keeps what is taken out, with the time.
fn note(run_dir: &Path, lines: &[serde_json::Value]) -> io::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut text = String::new();
    for line in lines {
        let mut line = line.clone();
        line["retried_at"] = now.into();
        text += &format!("{line}\n");
    }
    let mut file = File::options().append(true).create(true).open(run_dir.join(RETRIED))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
