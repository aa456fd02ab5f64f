//! Tables of networks that are trained on images: what they are made by, and how that is done and checked.

use super::{GenerateError, Generated, Progress, classes, trained};
use crate::{
    benchmark::{Benchmark, BenchmarkWriter, Fidelity, MetricInfo, Rows},
    training::{
        Recipe, TrainingError,
        data::ImageSet,
        measure::{Questions, measure, time},
        model::wide::of_teacher,
    },
    verify::Check,
};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_space::SearchSpace;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// What a table is made by.
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// All of its classes are trained.
    pub space: Arc<SearchSpace>,
    /// The images.
    pub data: ImageSet,
    /// How each network is trained.
    pub recipe: Recipe,
    /// What is asked of it.
    pub questions: Questions,
    /// Trainings of each class, with seeds counted from 0.
    pub seeds: u64,
    /// What metrics say early.
    pub fidelities: Vec<Fidelity>,
    /// What a metric means.
    pub metric_info: fn(&str) -> MetricInfo,
    /// Where the images are from, in a few words.
    pub source: &'static str,
    /// Under which terms.
    pub licence: &'static str,
}

/// What the trainings depend on.
#[derive(PartialEq, Serialize, Deserialize)]
struct Header {
    recipe: Recipe,
    questions: Questions,
}

impl Plan {
    /// Trains and measures all classes, then measures the times one by one, so that nothing else runs meanwhile.
    ///
    /// # Errors
    /// Says why it stopped; the journal then holds what was trained.
    pub fn generate(
        self,
        journal: &Path,
        stop: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Generated, GenerateError> {
        let Self { space, data, seeds, .. } = &self;
        let classes = classes(space);
        let header = Header { recipe: self.recipe.clone(), questions: self.questions.clone() };
        let trained = trained(journal, &header, classes.len(), *seeds, stop, progress, |class, seed| {
            let (recipe, questions) = (&header.recipe, &header.questions);
            measure(space, &classes[class], data, recipe, questions, seed, stop).map(|m| m.scores(questions))
        })?;
        let mut costs: Vec<BTreeMap<String, f64>> = Vec::with_capacity(classes.len());
        for choices in &classes {
            let mut of = time(space, choices, data, &header.recipe)?.costs();
            of.extend(of_teacher(space, choices, data.shape, header.recipe.scale).unwrap_or_default());
            costs.push(of);
        }

        let provenance = format!(
            "trained by srnas {} from {}, {seeds} seeds: {}",
            env!("CARGO_PKG_VERSION"),
            self.source,
            serde_json::to_string(&header).expect("plain data")
        );
        let mut benchmark =
            BenchmarkWriter::new(self.name, space, classes.concat(), provenance, self.licence);
        benchmark.rows_are(Rows::Classes);
        for name in trained.metrics() {
            let values = trained.values(name, classes.len(), *seeds);
            benchmark.half_metric(name, (self.metric_info)(name), *seeds as usize, &values);
        }
        for name in costs[0].keys() {
            // Not as half floats, which end at 65,504.
            let values: Vec<f32> = costs.iter().map(|costs| costs[name] as f32).collect();
            benchmark.metric(name, (self.metric_info)(name), 1, &values);
        }
        self.fidelities.into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
        Ok(Generated { benchmark, diverged: trained.diverged() })
    }

    /// Trains `trainings` random classes again, each with a random one of its seeds, and compares every score.
    ///
    /// # Errors
    /// A network that fails.
    pub fn retrain(
        self,
        benchmark: &Benchmark,
        trainings: usize,
        draw: u64,
    ) -> Result<Vec<Check>, TrainingError> {
        let Self { space, data, recipe, questions, seeds, .. } = &self;
        let classes = classes(space);
        let mut rng = ChaCha8Rng::seed_from_u64(draw);
        let mut checks = Vec::with_capacity(trainings);
        for _ in 0..trainings {
            let choices = &classes[rng.random_range(0..classes.len())];
            let seed = rng.random_range(0..*seeds);
            let scores = match measure(space, choices, data, recipe, questions, seed, &AtomicBool::new(false))
            {
                Ok(measurement) => measurement.scores(questions),
                Err(TrainingError::Diverged { .. } | TrainingError::NoNumber { .. }) => Default::default(),
                Err(e) => return Err(e),
            };
            let row = benchmark.row_of(choices);
            if scores.is_empty() {
                // It diverges: then it has no value in the table, either.
                let stored =
                    row.and_then(|row| Some(benchmark.metric("val/clean").ok()?.value(row, seed as usize)));
                checks.push(Check {
                    what: format!("{} trained again, seed {seed}", space.format(choices)),
                    expected: "no value, since it diverges".into(),
                    found: stored.map_or("no row".into(), |stored| format!("{stored}")),
                    ok: stored.is_some_and(f64::is_nan),
                });
                continue;
            }
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
}
