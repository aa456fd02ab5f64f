//! Makes the benchmark.

use super::{
    BENCHMARK, PARAMETERS, SEEDS, classes, definition, fidelities, fit::Recipe, measure, metric_info,
    network::Network, recipe, shape, space,
};
use crate::{
    benchmark::{BenchmarkWriter, Rows},
    built_in::{GenerateError, Generated, Progress, trained},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::atomic::AtomicBool};

/// What the trainings depend on.
#[derive(PartialEq, Serialize, Deserialize)]
struct Header {
    recipe: Recipe,
}

/// Trains all classes on all tasks.
///
/// # Errors
/// Says why it stopped; the journal then holds what was trained.
pub fn generate(
    journal: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Generated, GenerateError> {
    let (classes, header) = (classes(), Header { recipe: recipe() });
    let trained = trained(
        journal,
        &header,
        &(0..classes.len()).collect::<Vec<_>>(),
        SEEDS,
        stop,
        progress,
        |class, seed| Ok(measure(&classes[class], seed)),
    )?;
    let provenance = format!(
        "trained by srnas {} on tasks that it simulates, {SEEDS} seeds: {}",
        env!("CARGO_PKG_VERSION"),
        serde_json::to_string(&header).expect("plain data")
    );
    let licence = "MIT OR Apache-2.0, as srnas";
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space(), classes.concat(), provenance, licence);
    benchmark.define_space(definition());
    benchmark.rows_are(Rows::Classes);
    for name in trained.metrics() {
        let values = trained.values(name, classes.len(), SEEDS);
        benchmark.metric(name, metric_info(name), SEEDS as usize, &values);
    }
    let parameters = classes
        .iter()
        .map(|choices| Network::new(&shape(choices), &mut ChaCha8Rng::seed_from_u64(0)).weights.len() as f32);
    benchmark.metric(PARAMETERS, metric_info(PARAMETERS), 1, &parameters.collect::<Vec<_>>());
    fidelities().into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
    Ok(Generated { benchmark, trained: classes.len(), diverged: trained.diverged() })
}
