//! The ledger of a search by a costly oracle.

use super::config::LiveConfig;
use crate::commands::{
    resume::{self, Kind},
    space::GivenSpace,
};
use anyhow::Context;
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_learner::RunDir;
use srnas_ledger::{AnswerRecord, Database, LedgerError, RunRecord, fits};
use srnas_oracle::costly::{Answer, CostlyOracle};
use srnas_search::{Goal, Journal, Measured, Values};
use srnas_space::{SPACES, SearchSpace};
use srnas_task::{Count, Fidelities, Training};
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// Who the ledger says has measured where it was nobody else.
const ACTOR: &str = "search";

/// What the search in a run directory was begun with, its space, and what it has measured.
///
/// # Errors
/// A folder that holds no search by an oracle, and a ledger that does not fit its space.
pub fn kept(run_dir: &Path) -> anyhow::Result<(LiveConfig, Arc<SearchSpace>, Vec<Measured>)> {
    resume::check(run_dir, Kind::Search)?;
    let path = run_dir.join(RunDir::CONFIG);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config: LiveConfig = toml::from_str(&text)
        .with_context(|| format!("{} is not of a search by --oracle", path.display()))?;
    let (database, run) = Database::open_any(&run_dir.join(RunDir::LEDGER))?;
    let space = match SPACES.contains(&config.space.as_str()) {
        true => GivenSpace::load(&config.space)?.space,
        false => GivenSpace::of_copy(&run_dir.join(&config.space), &run.space)?.space,
    };
    let measured = measured(&database, &space, &config.fidelities(), &config.goal()?)?;
    Ok((config, space, measured))
}

/// What a ledger has, in the order in which it ended.
fn measured(
    database: &Database,
    space: &SearchSpace,
    fidelities: &Fidelities,
    goal: &Goal,
) -> Result<Vec<Measured>, LedgerError> {
    let objective = goal.first();
    let of = |record: AnswerRecord| {
        // A resumed search has the fidelities that it began with.
        let fidelity = fidelities.of_share(record.fidelity)?;
        let training = Training { choices: record.choices, fidelity };
        let answer = match record.said {
            Ok((value, mut metrics)) => {
                metrics.entry(objective.metric.clone()).or_insert(objective.maximised(value));
                Answer::Metrics(metrics)
            }
            Err(reason) => Answer::Infeasible(reason),
        };
        Some(Measured { training, key: record.key, cost: record.cost, answer })
    };
    let answers = database.answers(0)?;
    for answer in &answers {
        database.expect(fits(space, Count::Classes, answer.key, &answer.choices))?;
    }
    Ok(answers.into_iter().filter_map(of).collect())
}

/// The ledger of a search.
pub struct SearchLedger<'o> {
    oracle: &'o dyn CostlyOracle,
    database: Database,
    fidelities: Fidelities,
}

impl<'o> SearchLedger<'o> {
    /// The ledger in a run directory, new or as it was left.
    pub fn open(
        held: &RunDir,
        resumed: bool,
        oracle: &'o dyn CostlyOracle,
        config: &LiveConfig,
    ) -> anyhow::Result<Self> {
        let (name, identity) = oracle.identity();
        let goal = config.goal()?;
        let run = RunRecord {
            name: held.name(),
            space: oracle.space().name().into(),
            seed: config.seed,
            // By its first objective; the others are among the metrics.
            tasks: vec![(format!("{name}/{goal}"), goal.first().metric.clone())],
            benchmarks: vec![(name, hex(&Sha256::digest(identity)))],
        };
        let database = match resumed {
            true => Database::open(&held.ledger(), &run)?,
            false => {
                held.write_config(&toml::to_string(config)?)?;
                Database::create(&held.ledger(), &run)?
            }
        };
        Ok(Self { oracle, database, fidelities: oracle.fidelities().clone() })
    }

    /// What was measured.
    pub fn known(&self, goal: &Goal) -> Result<Vec<Measured>, LedgerError> {
        measured(&self.database, self.oracle.space(), &self.fidelities, goal)
    }
}

impl Journal for SearchLedger<'_> {
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
        let metrics = match &measured.answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        let said = values.clone().map(|values| (values.maximised[0], metrics));
        let record = AnswerRecord {
            key: measured.key,
            choices: measured.training.choices.clone(),
            fidelity: self.fidelities.cost(measured.training.fidelity),
            cost: measured.cost,
            said,
        };
        let by = self.oracle.measured_by(&measured.training);
        self.database.record_answer(0, &record, by.as_deref().unwrap_or(ACTOR)).map_err(|e| e.to_string())
    }
}
