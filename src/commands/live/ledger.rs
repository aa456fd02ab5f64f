//! The ledger of a search by a costly oracle.

use super::{config::LiveConfig, past::UNTRAINED, shared::Pen};
use sha2::{Digest, Sha256};
use srnas_basics::text::hex;
use srnas_learner::RunDir;
use srnas_ledger::{AnswerRecord, Database, LedgerError, RunRecord, fits};
use srnas_oracle::costly::{Answer, CostlyOracle};
use srnas_search::{First, Goal, Journal, Measured, Values};
use srnas_task::{Count, Fidelities, Fidelity};
use std::collections::HashMap;
use tracing::warn;

/// Who the ledger says has measured where it was nobody else.
const ACTOR: &str = "search";
/// And where it was before this search, or beside it.
const ELSEWHERE: &str = "elsewhere";
/// The task whose answers are what was said without training: of fidelity 0, and of no value.
const UNTRAINED_TASK: u16 = 1;

/// The ledger of a search.
pub struct SearchLedger<'o> {
    oracle: &'o dyn CostlyOracle,
    database: Database,
    fidelities: Fidelities,
    /// Writes what is measured here where others read it, too.
    pen: Option<Pen>,
}

/// Whose ledger that of a search is.
///
/// # Errors
/// A configuration that was changed by hand.
pub fn run_record(
    held: &RunDir,
    oracle: &dyn CostlyOracle,
    config: &LiveConfig,
) -> anyhow::Result<RunRecord> {
    let (name, identity) = oracle.identity();
    let (goal, asks) = (config.goal()?, config.asks_a_program());
    Ok(RunRecord {
        name: held.name(),
        space: oracle.space().name().into(),
        seed: config.seed,
        // By its first objective; the others are among the metrics.
        tasks: [(format!("{name}/{goal}"), goal.first().metric.clone())]
            .into_iter()
            .chain(asks.then(|| (format!("{name}/{UNTRAINED}"), UNTRAINED.to_string())))
            .collect(),
        benchmarks: vec![(name, hex(&Sha256::digest(identity)))],
    })
}

impl<'o> SearchLedger<'o> {
    /// The ledger in a run directory, new or as it was left.
    pub fn open(
        held: &RunDir,
        resumed: bool,
        oracle: &'o dyn CostlyOracle,
        config: &LiveConfig,
        run: &RunRecord,
    ) -> anyhow::Result<Self> {
        let database = match resumed {
            true => {
                let database = Database::open(&held.ledger(), run)?;
                // What was said when it went on holds from now on.
                held.write_config(&toml::to_string(config)?)?;
                database
            }
            false => {
                held.write_config(&toml::to_string(config)?)?;
                Database::create(&held.ledger(), run)?
            }
        };
        Ok(Self { oracle, database, fidelities: oracle.fidelities().clone(), pen: None })
    }

    /// From now on what is measured is written elsewhere, too.
    pub fn write_with(&mut self, pen: Pen) {
        self.pen = Some(pen);
    }

    /// What was measured, as it is kept.
    pub fn answers(&self) -> Result<Vec<AnswerRecord>, LedgerError> {
        self.database.answers(0)
    }

    /// What was measured.
    pub fn known(&self, goal: &Goal) -> Result<Vec<Measured>, LedgerError> {
        let answers = self.database.answers(0)?;
        for answer in &answers {
            self.database.expect(fits(self.oracle.space(), Count::Classes, answer.key, &answer.choices))?;
        }
        Ok(Measured::of_records(answers, goal, &self.fidelities))
    }
}

impl SearchLedger<'_> {
    /// What was said without training, by key.
    pub fn untrained(&self) -> Result<HashMap<u64, Answer>, LedgerError> {
        let of = |record: AnswerRecord| {
            let answer = match record.said {
                Ok((_, numbers)) => Answer::Metrics(numbers),
                Err(reason) => Answer::Infeasible(reason),
            };
            (record.key, answer)
        };
        Ok(self.database.answers(UNTRAINED_TASK)?.into_iter().map(of).collect())
    }

    /// Keeps what was said of an architecture without training it.
    pub fn keep_untrained(&mut self, choices: &[u8], answer: &Answer) -> Result<(), LedgerError> {
        let said = match answer {
            Answer::Metrics(numbers) => Ok((0.0, numbers.clone())),
            Answer::Infeasible(reason) => Err(reason.clone()),
        };
        let key = self.oracle.space().canonical_key(choices);
        let record = AnswerRecord { key, choices: choices.to_vec(), fidelity: 0.0, cost: 0.0, said };
        self.database.record_answer(UNTRAINED_TASK, &record, ACTOR)
    }

    /// Keeps what first points say that was measured elsewhere: it costs nothing. What is known already stays.
    pub fn keep_elsewhere(&mut self, first: &[First], goal: &Goal) -> anyhow::Result<()> {
        let known = self.known(goal)?;
        let known: HashMap<(u64, Fidelity), &Answer> =
            known.iter().map(|m| ((m.key, m.training.fidelity), &m.answer)).collect();
        let space = self.oracle.space().clone();
        for first in first {
            let Some(answer) = first.answer.clone() else { continue };
            let (training, (key, _)) = (first.training.clone(), first.key(&space));
            if let Some(before) = known.get(&first.key(&space)) {
                let (said, was) = (goal.values(&answer), goal.values(before));
                if said.map(|values| values.maximised) != was.map(|values| values.maximised) {
                    let what = space.format(&training.choices);
                    warn!("{what}: what the ledger has of it stays, and another value is given");
                }
                continue;
            }
            let measured = Measured { training, key, cost: 0.0, answer };
            self.record(&measured, &goal.values(&measured.answer), ELSEWHERE)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        measured: &Measured,
        values: &Result<Values, String>,
        by: &str,
    ) -> Result<(), LedgerError> {
        let record = measured.to_record(values, &self.fidelities);
        self.database.record_answer(0, &record, by)
    }
}

impl Journal for SearchLedger<'_> {
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
        let by = match measured.is_elsewhere() {
            true => Some(ELSEWHERE.to_string()),
            false => self.oracle.measured_by(&measured.training),
        };
        self.record(measured, values, by.as_deref().unwrap_or(ACTOR)).map_err(|e| e.to_string())?;
        if let Some(pen) = self.pen.as_ref().filter(|_| !measured.is_elsewhere()) {
            pen.write(measured.to_record(values, &self.fidelities), by);
        }
        Ok(())
    }
}
