//! Checks the benchmark by training some of it again.

use super::{SEEDS, classes, measure, space};
use crate::{benchmark::Benchmark, training::TrainingError, verify::Check};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Trains `trainings` random classes again on all tasks, each with a random one of its seeds, and compares every score: to the bit,
/// for no arithmetic here depends on the machine.
///
/// # Errors
/// None: it is other benchmarks whose trainings fail.
pub fn retrain(benchmark: &Benchmark, trainings: usize, draw: u64) -> Result<Vec<Check>, TrainingError> {
    let (space, classes) = (space(), classes());
    let mut rng = ChaCha8Rng::seed_from_u64(draw);
    let checks = (0..trainings).map(|_| {
        let choices = &classes[rng.random_range(0..classes.len())];
        let seed = rng.random_range(0..SEEDS);
        let scores = measure(choices, seed);
        let row = benchmark.row_of(choices);
        let equal = scores.iter().filter(|(name, score)| {
            row.and_then(|row| Some(benchmark.metric(name).ok()?.value(row, seed as usize))) == Some(**score)
        });
        let (total, equal) = (scores.len(), equal.count());
        Check {
            what: format!("{} trained again, seed {seed}", space.format(choices)),
            expected: format!("{total} equal scores"),
            found: format!("{equal} equal scores"),
            ok: equal == total,
        }
    });
    Ok(checks.collect())
}
