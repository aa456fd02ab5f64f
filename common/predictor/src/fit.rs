//! Fits the few numbers of the posteriors by evidence on the training tasks, families left out in turn.
//!
//! How foreign a new task will be to the past is not known, and the training tasks are relatives of each other: each set of
//! measurements meets a past of a random number of the other families.

use super::{PosteriorSettings, Predictor, Prior};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use srnas_space::SearchSpace;
use srnas_task::Task;
use std::sync::Arc;

/// Measured sets per task, and their sizes: a search is in need of good numbers when it has measured little.
const SETS: [usize; 3] = [5, 12, 25];
/// The numbers were chosen once for tasks that are *foreign* to their prior, which the relatives in a training set
/// cannot tell about. A log-normal prior of this deviation (a factor of two) keeps the fit near them unless the evidence
/// is strong.
const PRIOR_DEVIATION: f64 = 0.7;

type Number = fn(&mut PosteriorSettings) -> &mut f32;

const NUMBERS: [Number; 7] = [
    |s| &mut s.transfer.slope,
    |s| &mut s.transfer.residual,
    |s| &mut s.transfer.noise,
    |s| &mut s.plain.count_share,
    |s| &mut s.plain.count_length,
    |s| &mut s.plain.hamming_length,
    |s| &mut s.plain.noise,
];

/// A set of measurements of one task.
struct Set {
    task: Arc<Task>,
    weights: Vec<f32>,
    /// Rank and choices of each architecture.
    points: Vec<(u64, Vec<u8>)>,
}

/// Settings near `start` under which `tasks`, each without its family in the prior, are most likely. Only tasks of the
/// prior with a weight in `visible` are used. The same seed gives the same numbers.
pub fn fit(
    space: &Arc<SearchSpace>,
    tasks: &[Arc<Task>],
    prior: &Arc<Prior>,
    visible: &[f32],
    start: PosteriorSettings,
    seed: u64,
) -> PosteriorSettings {
    let sets = draw_sets(space, tasks, prior, visible, seed);
    if sets.is_empty() {
        return start;
    }
    // A number that is 0 is switched off.
    let numbers: Vec<Number> = NUMBERS.into_iter().filter(|n| *n(&mut start.clone()) > 0.0).collect();
    let score = |settings: &PosteriorSettings| {
        let mut candidate = *settings;
        let mut reference = start;
        let penalty: f64 = numbers
            .iter()
            .map(|number| {
                let distance =
                    f64::from(*number(&mut candidate)).ln() - f64::from(*number(&mut reference)).ln();
                0.5 * (distance / PRIOR_DEVIATION).powi(2)
            })
            .sum();
        mean_evidence(space, prior, settings, &sets) - penalty
    };
    let mut best = (score(&start), start);
    for factor in [2.0f32, 1.4] {
        for number in numbers.iter().copied() {
            for step in [factor, 1.0 / factor] {
                // On in the same direction for as long as it helps.
                loop {
                    let mut next = best.1;
                    *number(&mut next) *= step;
                    if next.plain.count_share >= 1.0 {
                        break;
                    }
                    let s = score(&next);
                    // Also where the score is not a number.
                    if s.partial_cmp(&best.0) != Some(std::cmp::Ordering::Greater) {
                        break;
                    }
                    best = (s, next);
                }
            }
        }
    }
    best.1
}

fn draw_sets(
    space: &SearchSpace,
    tasks: &[Arc<Task>],
    prior: &Prior,
    visible: &[f32],
    seed: u64,
) -> Vec<Set> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut choices = vec![0; space.len()];
    let mut sets = Vec::new();
    for task in tasks {
        let seen = prior.families().iter().zip(visible).filter(|(_, w)| **w > 0.0).map(|(f, _)| f);
        let mut others: Vec<&String> = seen.filter(|f| *f != task.family()).collect();
        others.sort_unstable();
        others.dedup();
        if others.is_empty() {
            continue;
        }
        for size in SETS {
            others.shuffle(&mut rng);
            let past = &others[..rng.random_range(1..=others.len())];
            let weights = prior.weights(|t| past.contains(&&prior.families()[t]));
            // Half uniform, half near the better of them, as a search visits.
            let mut points: Vec<(u64, Vec<u8>)> = Vec::with_capacity(size);
            let mut tries = 0;
            while points.len() < size && tries < 100 * size {
                tries += 1;
                if points.len() < size.div_ceil(2) {
                    space.sample(&mut rng, &mut choices);
                } else {
                    let value = |point: &(u64, Vec<u8>)| task.value(&point.1).unwrap_or(f32::NEG_INFINITY);
                    let best = points.iter().max_by(|a, b| value(a).total_cmp(&value(b)));
                    choices.copy_from_slice(&best.expect("the uniform half came first").1);
                    for _ in 0..2 {
                        let d = rng.random_range(0..space.len());
                        choices[d] = rng.random_range(0..space.arity(d));
                    }
                }
                let rank = space.rank(&choices);
                let new = points.iter().all(|(known, _)| *known != rank);
                if space.is_valid(&choices) && task.value(&choices).is_some() && new {
                    points.push((rank, choices.clone()));
                }
            }
            sets.push(Set { task: task.clone(), weights, points });
        }
    }
    sets
}

/// Log evidence, summed over the sets and divided by the number of tasks: relatives are not independent witnesses.
fn mean_evidence(
    space: &Arc<SearchSpace>,
    prior: &Arc<Prior>,
    settings: &PosteriorSettings,
    sets: &[Set],
) -> f64 {
    let points = SETS.iter().copied().max().unwrap_or(1);
    // The numbers are those of the tables as they are.
    let mut own = *settings;
    own.transfer.smoothing = 0.0;
    let mut predictor = Predictor::sampled(space.clone(), own, Some(prior.clone()), points, 0);
    let total: f64 = sets
        .iter()
        .map(|set| {
            predictor.restart(&set.weights);
            for (rank, choices) in &set.points {
                predictor.observe(choices, *rank, set.task.value(choices).expect("drawn with a value"));
            }
            predictor.log_evidence()
        })
        .sum();
    total * SETS.len() as f64 / sets.len() as f64
}
