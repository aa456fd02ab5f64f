//! The ledger of a search by a costly oracle.

use super::config::LiveConfig;
use sha2::{Digest, Sha256};
use srnas_common::{space::SearchSpace, task::Count, text::hex};
use srnas_learner::{AnswerRecord, Database, LedgerError, RunDir, RunRecord, fits};
use srnas_oracle::{
    costly::{Answer, CostlyOracle, Training},
    fidelities::Fidelities,
};
use srnas_search::{Journal, Measured, Objective};
use std::{collections::BTreeMap, sync::Arc};

/// Who the ledger says has measured.
const ACTOR: &str = "search";

/// The ledger of a search.
pub struct SearchLedger {
    database: Database,
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
}

impl SearchLedger {
    /// The ledger in a run directory, new or as it was left.
    pub fn open(
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
        Ok(Self { database, space: oracle.space().clone(), fidelities: oracle.fidelities().clone() })
    }

    /// What was measured.
    pub fn known(&self, objective: &Objective) -> Result<Vec<Measured>, LedgerError> {
        let of = |record: AnswerRecord| {
            // A resumed search has the fidelities that it began with.
            let shorter = self.fidelities.of_share(record.fidelity)?;
            let training = Training { choices: record.choices, shorter };
            let answer = match record.said {
                Ok((value, mut metrics)) => {
                    let value = if objective.minimise { 0.0 - value } else { value };
                    metrics.entry(objective.metric.clone()).or_insert(value);
                    Answer::Metrics(metrics)
                }
                Err(reason) => Answer::Infeasible(reason),
            };
            Some(Measured { training, key: record.key, cost: record.cost, answer })
        };
        let answers = self.database.answers(0)?;
        for answer in &answers {
            self.database.expect(fits(&self.space, Count::Classes, answer.key, &answer.choices))?;
        }
        Ok(answers.into_iter().filter_map(of).collect())
    }
}

impl Journal for SearchLedger {
    fn keep(&mut self, measured: &Measured, value: &Result<f64, String>) -> Result<(), String> {
        let metrics = match &measured.answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        let said = value.clone().map(|value| (value, metrics));
        let record = AnswerRecord {
            key: measured.key,
            choices: measured.training.choices.clone(),
            fidelity: self.fidelities.cost(measured.training.shorter),
            cost: measured.cost,
            said,
        };
        self.database.record_answer(0, &record, ACTOR).map_err(|e| e.to_string())
    }
}
