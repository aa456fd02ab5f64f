//! Incumbents: the best architecture measured of each task, written by the learner's thread and read by everybody.

use dashmap::DashMap;

/// The best of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Incumbent {
    /// Its value.
    pub value: f32,
    /// Choice indices.
    pub architecture: Vec<u8>,
    /// Distinct full measurements of the task.
    pub measurements: u64,
}

/// Incumbents by the index of their task.
#[derive(Debug, Default)]
pub struct Incumbents {
    by_task: DashMap<u16, Incumbent>,
}

impl Incumbents {
    /// Looks at a new measurement. Of equal values the first stays.
    pub(super) fn see(&self, task: u16, value: f32, choices: &[u8]) {
        let mut best = self.by_task.entry(task).or_insert_with(|| Incumbent {
            value,
            architecture: choices.to_vec(),
            measurements: 0,
        });
        best.measurements += 1;
        if value > best.value {
            best.value = value;
            best.architecture.clear();
            best.architecture.extend_from_slice(choices);
        }
    }

    /// The best of a task; `None` while nothing was measured.
    pub fn get(&self, task: u16) -> Option<Incumbent> {
        self.by_task.get(&task).map(|best| best.clone())
    }
}
