//! Tables of networks that are trained on images: what they are made by, and how that is done and checked.

use super::{GenerateError, Generated, Progress, classes, trained};
use crate::{
    benchmark::{Benchmark, BenchmarkWriter, Fidelity, MetricInfo, Rows},
    training::{
        Counts, Recipe, TrainingError,
        data::ImageSet,
        measure::{Questions, measure, time},
    },
    verify::Check,
};
use half::f16;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use srnas_space::SearchSpace;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// What a table is made by.
pub struct Plan {
    /// Its name.
    pub name: &'static str,
    /// The networks.
    pub space: Arc<SearchSpace>,
    /// How many of its classes are trained, drawn from all; every one where none is said.
    pub shapes: Option<usize>,
    /// The images.
    pub data: ImageSet,
    /// How many of the data set's training images these have, where that is for whoever makes the table to say.
    pub train_images: Option<usize>,
    /// How each network is trained.
    pub recipe: Recipe,
    /// What is asked of it.
    pub questions: Questions,
    /// Trainings of each class, with seeds counted from 0.
    pub seeds: u64,
    /// What metrics say early.
    pub fidelities: Vec<Fidelity>,
    /// What a metric means.
    pub metric_info: Box<dyn Fn(&str) -> MetricInfo>,
    /// Where the images are from, in a few words.
    pub source: &'static str,
    /// Under which terms.
    pub licence: &'static str,
}

/// What the trainings depend on: the first line of their journal, and the end of the table's provenance.
#[derive(PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// How each network was trained.
    pub recipe: Recipe,
    /// What was asked of it.
    pub questions: Questions,
    /// On how many images, where that was for whoever made the table to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
}

impl Header {
    /// That of a table; none where its provenance does not end with one.
    pub fn of(benchmark: &Benchmark) -> Option<Self> {
        let provenance = benchmark.provenance();
        serde_json::from_str(&provenance[provenance.find('{')?..]).ok()
    }
}

impl Plan {
    /// The classes that are trained, by their places among so many. Drawn ones are in the order of the draw, so that the first of them tell how
    /// long the others take, and that more of them are more of the same.
    fn chosen(&self, classes: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..classes).collect();
        if let Some(shapes) = self.shapes {
            chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
            chosen.truncate(shapes);
        }
        chosen
    }

    /// Seconds of one core that a training takes, with all that is asked of its network, on average and at most: what so many of the networks take
    /// here for a step and for a look at images, times how often; where multiply-adds are known without a network, times what all of them have on
    /// average over what those have.
    ///
    /// # Errors
    /// A network that fails.
    pub fn seconds(&self, networks: usize) -> Result<f64, TrainingError> {
        let all = classes(&self.space);
        let chosen = self.chosen(all.len());
        let timed = &chosen[..networks.min(chosen.len())];
        let splits = [&self.data.validation, &self.data.test];
        let passes: usize = splits.iter().map(|split| self.questions.passes(split.len())).sum();
        let mut seconds = 0.0;
        for &class in timed {
            let times = time(&self.space, &all[class], &self.data, &self.recipe)?;
            seconds += times.training_seconds + 1e-3 * times.latency_ms * passes as f64;
        }
        let counts = Counts::of(&self.space, self.data.shape, self.recipe.scale).ok().flatten();
        let multiply_adds = |classes: &[usize]| {
            let of = |&class: &usize| counts?.value_of("cost/multiply_adds", &self.space, &all[class]);
            Some(classes.iter().map(of).sum::<Option<f64>>()? / classes.len() as f64)
        };
        let larger = multiply_adds(&chosen).zip(multiply_adds(timed)).map_or(1.0, |(all, timed)| all / timed);
        Ok(larger * seconds / timed.len().max(1) as f64)
    }

    /// Trains and measures the classes, then measures the times one by one, so that nothing else runs meanwhile.
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
        let all = classes(space);
        let chosen = self.chosen(all.len());
        let header = Header {
            recipe: self.recipe.clone(),
            questions: self.questions.clone(),
            train_images: self.train_images,
        };
        let trained = trained(journal, &header, &chosen, *seeds, stop, progress, |class, seed| {
            let (recipe, questions) = (&header.recipe, &header.questions);
            measure(space, &all[class], data, recipe, questions, seed, stop).map(|m| m.scores(questions))
        })?;
        let mut costs: Vec<BTreeMap<String, f64>> = Vec::with_capacity(all.len());
        let counts = Counts::of(space, data.shape, header.recipe.scale).ok().flatten();
        for (class, choices) in all.iter().enumerate() {
            // What was not trained has what takes no training.
            let mut of = match chosen.contains(&class) {
                true => time(space, choices, data, &header.recipe)?.costs(),
                false => BTreeMap::new(),
            };
            for (metric, counts) in Counts::metrics().filter_map(|metric| Some((metric, counts?))) {
                of.extend(counts.value_of(metric, space, choices).map(|value| (metric.to_string(), value)));
            }
            costs.push(of);
        }

        let provenance = format!(
            "trained by srnas {} from {}, {seeds} seeds: {}",
            env!("CARGO_PKG_VERSION"),
            self.source,
            serde_json::to_string(&header).expect("plain data")
        );
        let mut benchmark = BenchmarkWriter::new(self.name, space, all.concat(), provenance, self.licence);
        benchmark.rows_are(Rows::Classes);
        for name in trained.metrics() {
            let values = trained.values(name, all.len(), *seeds);
            benchmark.half_metric(name, (self.metric_info)(name), *seeds as usize, &values);
        }
        for name in costs.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>() {
            // Not as half floats, which end at 65,504.
            let value =
                |costs: &BTreeMap<String, f64>| costs.get(name).map_or(f32::NAN, |&value| value as f32);
            let values: Vec<f32> = costs.iter().map(value).collect();
            benchmark.metric(name, (self.metric_info)(name), 1, &values);
        }
        self.fidelities.into_iter().for_each(|fidelity| benchmark.fidelity(fidelity));
        Ok(Generated { benchmark, trained: chosen.len(), diverged: trained.diverged() })
    }

    /// Trains `trainings` random classes of the table again, each with a random one of its seeds, and compares every score.
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
        let mut classes = classes(space);
        // What was not trained has no time that it took.
        let times = benchmark.metric("cost/training_s").ok();
        let was_trained =
            |choices: &Vec<u8>| Some(times?.mean(benchmark.row_of(choices)?)).filter(|s| !s.is_nan());
        classes.retain(|choices| was_trained(choices).is_some());
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
