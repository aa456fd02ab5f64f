//! Measurements that came to no end: what their folders say of them, so that they are taken up again as they were.

use serde::{Deserialize, Serialize};
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// The file in a measurement's folder that says what is trained, in the search's own terms.
pub const FILE: &str = "training.json";

/// What the file has.
#[derive(Serialize, Deserialize)]
struct Begun {
    /// Index of each decision's choice, inactive ones included.
    choices: Vec<u8>,
    /// How much is trained, in the unit of the fidelities.
    amount: f64,
    /// Its number among all that began in this folder.
    number: u64,
}

/// Those that came to no end, by the names of their folders.
#[derive(Debug, Default)]
pub struct Interrupted {
    folders: Mutex<HashMap<String, (u64, Training)>>,
    /// The number of the next that begins.
    next: AtomicU64,
}

impl Interrupted {
    fn folders(&self) -> MutexGuard<'_, HashMap<String, (u64, Training)>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what was begun in a folder; whether it can be gone on with.
    pub fn read(
        &self,
        folder: &Path,
        space: &SearchSpace,
        fidelities: &Fidelities,
        belongs: impl Fn(&Training) -> bool,
    ) -> bool {
        let begun = fs::read(folder.join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let Some(Begun { choices, amount, number }) = begun else { return false };
        let fidelity = match fidelities.amount(Fidelity::Full) == amount {
            true => Some(Fidelity::Full),
            false => fidelities.of_amount(amount).map(Fidelity::Shorter),
        };
        let fits = |choices: &[u8]| {
            let decisions = space.decisions();
            choices.len() == decisions.len()
                && choices.iter().zip(decisions).all(|(c, d)| usize::from(*c) < d.choices.len())
                && space.is_valid(choices)
        };
        let Some(fidelity) = fidelity.filter(|_| fits(&choices)) else { return false };
        let training = Training { choices, fidelity };
        let (Some(name), true) = (folder.file_name(), belongs(&training)) else { return false };
        self.next.fetch_max(number + 1, Ordering::Relaxed);
        self.folders().insert(name.to_string_lossy().into_owned(), (number, training));
        true
    }

    /// Notes in its folder that a training begins; its number.
    ///
    /// # Errors
    /// The system's.
    pub fn begin(&self, folder: &Path, training: &Training, fidelities: &Fidelities) -> io::Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (choices, amount) = (training.choices.clone(), fidelities.amount(training.fidelity));
        let begun = serde_json::to_string(&Begun { choices, amount, number })?;
        fs::write(folder.join(FILE), begun + "\n")?;
        Ok(number)
    }

    /// A training that began under a number has come to no end.
    pub fn add(&self, name: &str, number: u64, training: &Training) {
        self.folders().insert(name.into(), (number, training.clone()));
    }

    /// Whether there is a folder of this name to go on with; it is taken.
    pub fn take(&self, name: &str) -> bool {
        self.folders().remove(name).is_some()
    }

    /// The first try that `of` finds among the names of the folders.
    pub fn attempt(&self, of: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        self.folders().keys().filter_map(|name| of(name)).min()
    }

    /// All of them, in the order in which they began.
    pub fn trainings(&self) -> Vec<Training> {
        let mut all: Vec<(u64, Training)> = self.folders().values().cloned().collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, training)| training).collect()
    }
}
