//! Makes the benchmark.

use std::{collections::BTreeMap, path::Path, sync::atomic::AtomicBool};

use serde::{Deserialize, Serialize};

use super::{BENCHMARK, SEEDS, classes, fidelities, metric_info, questions, recipe, space};
use crate::{
    benchmark::{BenchmarkWriter, Rows},
    built_in::{GenerateError, Generated, Progress, trained},
    training::{
        Recipe,
        data::digits,
        measure::{Questions, Times, measure, time},
    },
};

/// What the trainings depend on.
#[derive(PartialEq, Serialize, Deserialize)]
struct Header {
    recipe: Recipe,
    questions: Questions,
}

/// Trains and measures all classes, then measures the times one by one, so that nothing else runs meanwhile.
///
/// # Errors
/// Says why it stopped; the journal then holds what was trained.
pub fn generate(
    journal: &Path,
    stop: &AtomicBool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Generated, GenerateError> {
    let (space, classes, data) = (space(), classes(), digits());
    let header = Header { recipe: recipe(), questions: questions() };
    let trained = trained(journal, &header, classes.len(), SEEDS, stop, progress, |class, seed| {
        let (recipe, questions) = (&header.recipe, &header.questions);
        measure(&space, &classes[class], &data, recipe, questions, seed, stop).map(|m| m.scores(questions))
    })?;
    let times: Vec<Times> = classes
        .iter()
        .map(|choices| time(&space, choices, &data, &header.recipe))
        .collect::<Result<_, _>>()?;

    let licence = "CC BY 4.0, as the images: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI \
                   Machine Learning Repository, 1998, doi:10.24432/C50P49";
    let provenance = format!(
        "trained by srnas {} from the UCI handwritten digits, {SEEDS} seeds: {}",
        env!("CARGO_PKG_VERSION"),
        serde_json::to_string(&header).expect("plain data")
    );
    let mut benchmark = BenchmarkWriter::new(BENCHMARK, &space, classes.concat(), provenance, licence);
    benchmark.rows_are(Rows::Classes);
    for name in trained.metrics() {
        let values = trained.values(name, classes.len(), SEEDS);
        benchmark.half_metric(name, metric_info(name), SEEDS as usize, &values);
    }
    let costs: Vec<BTreeMap<String, f64>> = times.iter().map(Times::costs).collect();
    for name in costs[0].keys() {
        // Not as half floats, which end at 65,504.
        let values: Vec<f32> = costs.iter().map(|costs| costs[name] as f32).collect();
        benchmark.metric(name, metric_info(name), 1, &values);
    }
    fidelities().into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
    Ok(Generated { benchmark, diverged: trained.diverged() })
}
