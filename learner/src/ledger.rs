//! The ledger: every distinct measurement of a run, by task, canonical key and fidelity. In memory for now; a measurement
//! is entered before its batch is acknowledged.

use hashbrown::HashMap;
use srnas_common::{statistics, wire::Measurements};

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
    by_key: HashMap<(u16, u64, u32), usize>,
    entries: Vec<Entry>,
    architectures: Vec<u8>,
    /// Values by task, for best and median.
    values: Vec<Vec<f32>>,
}

impl Ledger {
    /// An empty ledger of `tasks` tasks over a space of `decisions` decisions.
    pub fn new(tasks: usize, decisions: usize) -> Self {
        Self {
            decisions,
            by_key: HashMap::new(),
            entries: Vec::new(),
            architectures: Vec::new(),
            values: vec![Vec::new(); tasks],
        }
    }

    /// Enters measurements; those that are known already change nothing. Returns how many were new.
    pub fn enter(&mut self, measurements: &Measurements) -> usize {
        let before = self.entries.len();
        for i in 0..measurements.tasks.len() {
            let (task, fidelity, value) =
                (measurements.tasks[i], measurements.fidelities[i], measurements.values[i]);
            let key = (task, measurements.keys[i], fidelity.to_bits());
            if self.by_key.contains_key(&key) {
                continue;
            }
            self.by_key.insert(key, self.entries.len());
            self.entries.push(Entry { task, fidelity, value, architecture: self.architectures.len() });
            self.architectures
                .extend_from_slice(&measurements.architectures[i * self.decisions..][..self.decisions]);
            if let Some(values) = self.values.get_mut(usize::from(task)) {
                values.push(value);
            }
        }
        self.entries.len() - before
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurements(rows: &[(u16, u64, f32, f32)]) -> Measurements {
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
        assert_eq!(ledger.enter(&measurements(&[(0, 7, 1.0, 0.5), (0, 7, 1.0, 0.9), (1, 7, 1.0, 0.2)])), 2);
        assert_eq!(ledger.enter(&measurements(&[(0, 7, 0.5, 0.3), (0, 7, 1.0, 0.1)])), 1);
        assert_eq!(ledger.len(), 3);
        assert_eq!(ledger.get(1).1, [1, 7]);
        assert_eq!(ledger.get(0).0.value, 0.5);
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
