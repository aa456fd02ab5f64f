//! The ledger: every distinct measurement of a run, by task, canonical key and fidelity.
//!
//! [`Ledger`] is what a learner works with, in memory; [`Database`] is the file that outlives it. [`leases`] say who measures what
//! where measurements cost much, and a [shared](shared::SharedLedger) one is what several searches have measured.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod asked;
mod audit;
mod care;
mod database;
#[cfg(test)]
mod database_tests;
mod file;
mod incumbents;
pub mod leases;
mod records;
mod rows;
mod salvage;
mod schema;
pub mod shared;

pub use asked::AskedRecord;
pub use care::{Findings, Fits, Repaired, backup, repair, verify};
pub use database::Database;
pub use incumbents::{Incumbent, Incumbents};
pub use records::{ActorRecord, AnswerRecord, LedgerError, Record, RunRecord};
pub use rows::{Known, Tally};

use hashbrown::HashSet;
use srnas_basics::statistics;
use srnas_predictor::Prior;
use srnas_space::SearchSpace;
use srnas_task::{Count, Task};
use srnas_wire::Measurements;
use std::sync::Arc;

/// The fidelity of a full training.
pub const FULL: f32 = 1.0;

/// What is wrong with an architecture that a ledger has under a key.
///
/// # Errors
/// Choices that the space does not have, and another key than the architecture's.
pub fn fits(space: &SearchSpace, count: Count, key: u64, choices: &[u8]) -> Result<(), String> {
    if choices.len() != space.len() {
        return Err(format!("it has {} choices, and the space has {} decisions", choices.len(), space.len()));
    }
    let beyond = space.decisions().iter().zip(choices).find(|(d, c)| usize::from(**c) >= d.choices.len());
    if let Some((decision, choice)) = beyond {
        return Err(format!("`{}` has no choice {choice}", decision.name));
    }
    let expected = match count {
        Count::Classes => space.canonical_key(choices),
        Count::Strings => space.rank(choices),
    };
    match key == expected {
        true => Ok(()),
        false => Err("its key is that of another architecture".into()),
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Index of the task.
    pub task: u16,
    /// How much of a full training it took; 1 is all of it.
    pub fidelity: f32,
    /// Value of the objective.
    pub value: f32,
    /// Start of its choices among all.
    architecture: usize,
}

/// Distinct measurements, in the order in which they came.
#[derive(Debug)]
pub struct Ledger {
    decisions: usize,
    known: HashSet<(u16, u64, u32)>,
    entries: Vec<Entry>,
    architectures: Vec<u8>,
    /// Values of full trainings by task, for best and median.
    values: Vec<Vec<f32>>,
    incumbents: Arc<Incumbents>,
}

impl Ledger {
    /// An empty ledger of `tasks` tasks over a space of `decisions` decisions.
    pub fn new(tasks: usize, decisions: usize) -> Self {
        Self {
            decisions,
            known: HashSet::new(),
            entries: Vec::new(),
            architectures: Vec::new(),
            values: vec![Vec::new(); tasks],
            incumbents: Arc::default(),
        }
    }

    /// Enters measurements and returns those that were new; what is known already changes nothing.
    pub fn enter(&mut self, measurements: &Measurements) -> Measurements {
        let mut new = Measurements::default();
        for i in 0..measurements.tasks.len() {
            let (task, key, fidelity, value) = (
                measurements.tasks[i],
                measurements.keys[i],
                measurements.fidelities[i],
                measurements.values[i],
            );
            let Some(values) = self.values.get_mut(usize::from(task)) else { continue };
            if !self.known.insert((task, key, fidelity.to_bits())) {
                continue;
            }
            let choices = &measurements.architectures[i * self.decisions..][..self.decisions];
            // What a shorter training says is not compared with what a full one says.
            if fidelity == FULL {
                values.push(value);
                self.incumbents.see(task, value, choices);
            }
            self.entries.push(Entry { task, fidelity, value, architecture: self.architectures.len() });
            self.architectures.extend_from_slice(choices);
            new.tasks.push(task);
            new.keys.push(key);
            new.architectures.extend_from_slice(choices);
            new.fidelities.push(fidelity);
            new.values.push(value);
        }
        new
    }

    /// Number of distinct measurements.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A measurement by its place, with its choices.
    pub fn get(&self, place: usize) -> (Entry, &[u8]) {
        let entry = self.entries[place];
        (entry, &self.architectures[entry.architecture..][..self.decisions])
    }

    /// Best and median of what was measured of a task; `None` while they are the same or there is nothing.
    pub fn best_and_median(&self, task: usize) -> Option<(f32, f32)> {
        let mut values = self.values[task].clone();
        let best = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let median = statistics::median(&mut values);
        (best > median).then_some((best, median))
    }

    /// What is known of a task by its measurements alone; `None` while nothing can be found among them, and in spaces too large to
    /// be tabulated.
    pub fn measured(&self, index: usize, task: &Task) -> Option<Task> {
        let space = task.space();
        let size = space.size().filter(|&size| size <= Prior::LARGEST)? as usize;
        let mut values = vec![f32::NAN; size];
        let full = |entry: &&Entry| usize::from(entry.task) == index && entry.fidelity == FULL;
        for entry in self.entries.iter().filter(full) {
            let choices = &self.architectures[entry.architecture..][..self.decisions];
            values[space.rank(choices) as usize] = entry.value;
        }
        let values = values;
        Task::new(task.name(), task.family(), space.clone(), values, task.count()).ok()
    }

    /// The best of each task so far, for readers on other threads.
    pub fn incumbents(&self) -> Arc<Incumbents> {
        self.incumbents.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

    pub(super) fn measurements(rows: &[(u16, u64, f32, f32)]) -> Measurements {
        let mut m = Measurements::default();
        for &(task, key, fidelity, value) in rows {
            m.tasks.push(task);
            m.keys.push(key);
            m.architectures.extend([task as u8, key as u8]);
            m.fidelities.push(fidelity);
            m.values.push(value);
        }
        m
    }

    #[test]
    fn each_task_key_and_fidelity_counts_once() {
        let mut ledger = Ledger::new(2, 2);
        let new = ledger.enter(&measurements(&[(0, 7, 1.0, 0.5), (0, 7, 1.0, 0.9), (1, 7, 1.0, 0.2)]));
        assert_eq!(new, measurements(&[(0, 7, 1.0, 0.5), (1, 7, 1.0, 0.2)]));
        assert_eq!(
            ledger.enter(&measurements(&[(0, 7, 0.5, 0.3), (0, 7, 1.0, 0.1)])),
            measurements(&[(0, 7, 0.5, 0.3)])
        );
        assert_eq!(ledger.len(), 3);
        assert_eq!(ledger.get(1).1, [1, 7]);
        assert_eq!(ledger.get(0).0.value, 0.5);
        let best = ledger.incumbents().get(0).unwrap();
        assert_eq!((best.value, best.measurements, &best.architecture[..]), (0.5, 1, &[0, 7][..]));
        assert!(ledger.incumbents().get(2).is_none());
    }

    #[test]
    fn what_was_measured_of_a_task_is_a_task_with_the_rest_missing() {
        let space = Conditional::space(
            "made-up",
            vec![Decision::new("a", &["0", "1", "2"]), Decision::new("b", &["0", "1"])],
            vec![],
        )
        .unwrap();
        let table: Vec<f32> = (0..6).map(|rank| rank as f32).collect();
        let task = Task::new("t", "f", space.into(), table, Count::Strings).unwrap();
        let mut ledger = Ledger::new(2, 2);
        // Choices 0,1 of the other task, then 1,0 and 1,1 of this one.
        let rows = [(0, 1, 1.0, 9.0), (1, 0, 1.0, 0.25), (1, 1, 1.0, 0.75)];
        ledger.enter(&measurements(&rows[..2]));
        assert!(ledger.measured(1, &task).is_none(), "one value has no best beside its median");
        ledger.enter(&measurements(&rows[2..]));
        let known = ledger.measured(1, &task).unwrap();
        let values: Vec<Option<f32>> = (0..6).map(|rank| known.value_of_rank(rank)).collect();
        assert_eq!(values, [None, None, Some(0.25), Some(0.75), None, None]);
        assert_eq!((known.name(), known.family(), known.best()), ("t", "f", 0.75));
    }

    #[test]
    fn best_and_median_need_a_difference() {
        let mut ledger = Ledger::new(2, 2);
        assert_eq!(ledger.best_and_median(0), None);
        ledger.enter(&measurements(&[(0, 1, 1.0, 0.5)]));
        assert_eq!(ledger.best_and_median(0), None);
        ledger.enter(&measurements(&[(0, 2, 1.0, 0.9), (0, 3, 1.0, 0.1)]));
        assert_eq!(ledger.best_and_median(0), Some((0.9, 0.5)));
    }
}
