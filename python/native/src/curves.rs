//! What trainings report as they go, in a search in a Python process.

use crate::errors::input;
use pyo3::PyErr;
use srnas_oracle::curves::{CurveOptions, Curves, Followed, Hear, MedianRule, Report, file_name};
use srnas_search::Goal;
use srnas_space::SearchSpace;
use srnas_task::{Fidelities, Training};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The curves of a search, and which trainings report now.
pub struct Following {
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    curves: Arc<Curves>,
    now: Mutex<HashMap<String, Arc<Followed>>>,
}

impl Following {
    /// With curves in a folder beside the ledger, or nowhere.
    pub fn new(
        ledger: Option<&Path>,
        space: &Arc<SearchSpace>,
        goal: &Goal,
        fidelities: &Fidelities,
        rule: Option<MedianRule>,
    ) -> Result<Self, PyErr> {
        let folder = ledger.map(|ledger| {
            let mut name = ledger.as_os_str().to_owned();
            name.push(".curves");
            PathBuf::from(name)
        });
        let options = CurveOptions { folder: folder.clone(), minimise: goal.first().minimise, rule };
        let curves =
            Curves::open(options, goal.metrics(), fidelities.unit().into(), |_| false).map_err(|e| {
                let place = folder.unwrap_or_default();
                input(format!("cannot keep what trainings report in {}: {e}", place.display()))
            })?;
        let (space, fidelities) = (space.clone(), fidelities.clone());
        Ok(Self { space, fidelities, curves: Arc::new(curves), now: Mutex::default() })
    }

    fn now(&self) -> MutexGuard<'_, HashMap<String, Arc<Followed>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, training: &Training) -> String {
        file_name(&self.fidelities, self.space.canonical_key(&training.choices), training.fidelity)
    }

    /// A training reports. Whether it is to be stopped.
    pub fn heard(&self, training: &Training, again: bool, report: Report) -> bool {
        let name = self.name(training);
        let known = self.now().get(&name).cloned();
        let followed = known.unwrap_or_else(|| {
            let followed = Arc::new(self.curves.follow(&name));
            // What was interrupted may go on where it was, or begin anew: how far it is tells which.
            followed.begins(again);
            if followed.last().is_some_and(|last| report.at <= last) {
                followed.begins(false);
            }
            self.now().insert(name, followed.clone());
            followed
        });
        followed.hears(report);
        followed.stops()
    }

    /// A training has ended, with a value or without one.
    pub fn ended(&self, training: &Training, has_value: bool) {
        let name = self.name(training);
        let followed = self.now().remove(&name);
        match followed {
            Some(followed) => followed.end(has_value),
            // All that it reported it reported to an earlier process.
            None if has_value => self.curves.has_ended(&name),
            None => self.curves.forget(&name),
        }
    }

    /// Nobody measures it any more; what it reported is kept for whoever takes it up, if anybody is to.
    pub fn left(&self, training: &Training, take_up: bool) {
        match take_up {
            true => drop(self.now().remove(&self.name(training))),
            false => self.ended(training, false),
        }
    }

    /// It ended before this process began.
    pub fn has_ended(&self, training: &Training) {
        self.curves.has_ended(&self.name(training));
    }

    /// How far a training was and the first metric there, once it has ended with a value.
    pub fn curve(&self, training: &Training) -> Vec<(f64, f64)> {
        self.curves.of(&self.name(training))
    }
}
