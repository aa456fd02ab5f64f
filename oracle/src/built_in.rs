//! The benchmarks that the program can make by itself, by real trainings; all of them are part of it.

pub(crate) mod images;
mod journal;

pub use journal::{GenerateError, Progress, Scores, Trained, trained};

use crate::{
    benchmark::{Benchmark, BenchmarkWriter},
    control, digits, digits_wrn,
    training::TrainingError,
    verify::Check,
};
use srnas_space::SearchSpace;
use std::{
    collections::HashSet,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// Makes a benchmark by training all of it: its journal, a wish to stop, and whom to tell how far it is.
pub type Generate = fn(&Path, &AtomicBool, &(dyn Fn(Progress) + Sync)) -> Result<Generated, GenerateError>;

/// A benchmark that the program can make by itself.
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// The benchmark, as it is in the program.
    pub open: fn() -> Arc<Benchmark>,
    /// Makes it by training all of it on the cores of the rayon pool that this is called in. Trainings that the journal, a file,
    /// already holds are not repeated; each new one is added as it ends.
    pub generate: Generate,
    /// Does so many of its trainings again, drawn at random with this seed, and compares every score.
    pub retrain: fn(&Benchmark, usize, u64) -> Result<Vec<Check>, TrainingError>,
}

/// What [`BuiltIn::generate`] made.
pub struct Generated {
    /// The benchmark, ready to be written.
    pub benchmark: BenchmarkWriter,
    /// Classes that were trained; of others the benchmark has what takes no training.
    pub trained: usize,
    /// Trainings that diverged, whose values are missing.
    pub diverged: usize,
}

/// All of them, by name.
pub static ALL: [BuiltIn; 3] = [
    BuiltIn {
        name: control::BENCHMARK,
        open: control::benchmark,
        generate: control::generate,
        retrain: control::retrain,
    },
    BuiltIn {
        name: digits::BENCHMARK,
        open: digits::benchmark,
        generate: digits::generate,
        retrain: digits::retrain,
    },
    BuiltIn {
        name: digits_wrn::BENCHMARK,
        open: digits_wrn::benchmark,
        generate: digits_wrn::generate,
        retrain: digits_wrn::retrain,
    },
];

impl BuiltIn {
    /// The one of this name.
    pub fn of(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|one| one.name == name)
    }
}

/// The classes of a small space: for each the choices of its first encoding, in order.
pub(crate) fn classes(space: &SearchSpace) -> Vec<Vec<u8>> {
    let mut seen = HashSet::new();
    let mut choices = vec![0; space.len()];
    let all = (0..space.size().expect("a small space")).filter_map(|rank| {
        space.unrank(rank, &mut choices);
        seen.insert(space.canonical_key(&choices)).then(|| choices.clone())
    });
    all.collect()
}
