//! Measurements as a ledger has them.

use super::Measured;
use crate::goal::{Goal, Values};
use srnas_ledger::AnswerRecord;
use srnas_oracle::costly::Answer;
use srnas_task::{Fidelities, Training};
use std::collections::BTreeMap;

impl Measured {
    /// As a ledger has it; `values` are how it stands to what is searched for, or why there are none.
    pub fn to_record(&self, values: &Result<Values, String>, fidelities: &Fidelities) -> AnswerRecord {
        let metrics = match &self.answer {
            Answer::Metrics(metrics) => metrics.clone(),
            Answer::Infeasible(_) => BTreeMap::new(),
        };
        AnswerRecord {
            key: self.key,
            choices: self.training.choices.clone(),
            fidelity: fidelities.cost(self.training.fidelity),
            cost: self.cost,
            said: values.clone().map(|values| (values.maximised[0], metrics)),
        }
    }

    /// What a search's ledger has, as it was measured.
    pub fn of_records(answers: Vec<AnswerRecord>, goal: &Goal, fidelities: &Fidelities) -> Vec<Self> {
        let objective = goal.first();
        let of = |record: AnswerRecord| {
            // A search that goes on has the fidelities that it began with.
            let fidelity = fidelities.of_share(record.fidelity)?;
            let training = Training { choices: record.choices, fidelity };
            let answer = match record.said {
                Ok((value, mut metrics)) => {
                    metrics.entry(objective.metric.clone()).or_insert(objective.maximised(value));
                    Answer::Metrics(metrics)
                }
                Err(reason) => Answer::Infeasible(reason),
            };
            Some(Self { training, key: record.key, cost: record.cost, answer })
        };
        answers.into_iter().filter_map(of).collect()
    }
}
