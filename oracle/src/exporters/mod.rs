//! What was measured, in files that other programs read: the way back of [`crate::importers::study`].

mod columns;
mod optuna;
mod parquet;
mod text;

use serde_json::{Map, Value};
use srnas_space::SearchSpace;
use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

pub use columns::{Cells, Column, columns};
pub use optuna::write as write_optuna;
pub use parquet::write as write_parquet;
pub use text::{csv, json_lines};

/// What was measured of one task.
#[derive(Clone, Debug)]
pub struct Study {
    /// Its name: that of the task, or of the search.
    pub name: String,
    /// The space.
    pub space: Arc<SearchSpace>,
    /// The text of its file and that file's ending, where it is not one that srnas knows by its name.
    pub definition: Option<(String, String)>,
    /// The metrics that are searched, each with whether less is better.
    pub objectives: Vec<(String, bool)>,
    /// Where trainings differ in length, what that is counted in.
    pub unit: Option<String>,
    /// In the order in which they ended.
    pub measurements: Vec<Measurement>,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The value of each decision that counts.
    pub decisions: Map<String, Value>,
    /// How long it was trained, in the unit of the study.
    pub trained: f64,
    /// Whether that is a full training.
    pub full: bool,
    /// What it cost, in full trainings; nothing where it was measured elsewhere.
    pub cost: f64,
    /// Everything that was measured.
    pub metrics: BTreeMap<String, f64>,
    /// Why there is no value, if there is none.
    pub infeasible: Option<String>,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Nothing was measured.
    #[error("nothing was measured yet: there is nothing to export")]
    Nothing,
    /// There is one already.
    #[error("{} is there already; it is not overwritten: give another name with --out", path.display())]
    Present {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refuses.
    #[error("cannot write {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl ExportError {
    /// Whether what was said on the command line is to blame.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Present { .. } | Self::Nothing)
    }
}
