//! Tables in which an architecture may be there more than once: each time is a training of it, with a seed of its own.

use super::{
    Folders, ImportError, Imported,
    csv::{CsvError, CsvTable},
};
use crate::benchmark::BenchmarkWriter;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Reads the one table of a benchmark, the file `stem` in the folders.
pub(super) fn import(
    folders: &[PathBuf],
    stem: &'static str,
    progress: &mut dyn FnMut(usize, usize, &Path),
    read: fn(&CsvTable) -> Result<BenchmarkWriter, CsvError>,
) -> Result<Imported, ImportError> {
    let path = Folders::new(folders)?.require(stem)?;
    progress(0, 1, &path);
    let benchmark = read(&CsvTable::read(&path)?.with_rows()?)?;
    Ok(Imported { benchmarks: vec![benchmark], files: vec![path], absent: Vec::new() })
}

/// The rows of a table by architecture.
pub(super) struct Trainings {
    /// Each architecture once, in the order in which they first come: u8 [architectures, decisions].
    pub choices: Vec<u8>,
    rows: Vec<Vec<usize>>,
}

impl Trainings {
    /// Of so many rows, each with the architecture that it is of.
    pub fn new(
        rows: usize,
        architecture: impl Fn(usize) -> Result<Vec<u8>, CsvError>,
    ) -> Result<Self, CsvError> {
        let mut all = Self { choices: Vec::new(), rows: Vec::new() };
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        for row in 0..rows {
            let own = architecture(row)?;
            let place = *known.entry(own.clone()).or_insert(all.rows.len());
            if place == all.rows.len() {
                all.choices.extend(own);
                all.rows.push(Vec::new());
            }
            all.rows[place].push(row);
        }
        Ok(all)
    }

    /// Trainings of the architecture that has most.
    pub fn seeds(&self) -> usize {
        self.rows.iter().map(Vec::len).max().unwrap_or(1)
    }

    /// A value of each training, NaN where there is none: f64 [architectures, seeds].
    pub fn values(&self, value: impl Fn(usize) -> Result<f64, CsvError>) -> Result<Vec<f64>, CsvError> {
        let seeds = self.seeds();
        let mut values = Vec::with_capacity(self.rows.len() * seeds);
        for rows in &self.rows {
            let own = rows.iter().map(|&row| value(row)).collect::<Result<Vec<_>, _>>()?;
            values.extend(own.into_iter().chain(std::iter::repeat(f64::NAN)).take(seeds));
        }
        Ok(values)
    }
}
