//! Checks the benchmark by training some of it again.

use std::sync::atomic::AtomicBool;

use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{SEEDS, classes, questions, recipe, space};
use crate::{
    benchmark::Benchmark,
    training::{TrainingError, data::digits, measure::measure},
    verify::Check,
};

/// Trains `trainings` random classes again, each with a random one of its seeds, and compares every score.
///
/// # Errors
/// A network that fails.
pub fn retrain(benchmark: &Benchmark, trainings: usize, draw: u64) -> Result<Vec<Check>, TrainingError> {
    let (space, data, classes) = (space(), digits(), classes());
    let mut rng = ChaCha8Rng::seed_from_u64(draw);
    let mut checks = Vec::with_capacity(trainings);
    for _ in 0..trainings {
        let choices = &classes[rng.random_range(0..classes.len())];
        let seed = rng.random_range(0..SEEDS);
        let scores =
            match measure(&space, choices, &data, &recipe(), &questions(), seed, &AtomicBool::new(false)) {
                Ok(measurement) => measurement.scores(&questions()),
                Err(TrainingError::Diverged { .. }) => Default::default(),
                Err(e) => return Err(e),
            };
        let row = benchmark.row_of(choices);
        let equal = |(name, &score): (&String, &f64)| {
            let stored = row.and_then(|row| Some(benchmark.metric(name).ok()?.value(row, seed as usize)));
            stored == Some(f16::from_f64(f64::from(score as f32)).to_f64())
        };
        let (total, equal) = (scores.len(), scores.iter().filter(|score| equal(*score)).count());
        checks.push(Check {
            what: format!("{} trained again, seed {seed}", space.format(choices)),
            expected: format!("{total} equal scores"),
            found: format!("{equal} equal scores"),
            ok: equal == total,
        });
    }
    Ok(checks)
}
