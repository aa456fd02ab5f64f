//! Surrogate tasks: functions on a whole space that stand in for what nobody has measured, so that searches can be tried and a
//! policy trained before anything is paid for. They never pass for measurements.

use super::{
    PastSearch,
    gp::universal,
    past::{distinct, expectation, listed},
};
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics::mean;
use srnas_environment::synthetic;
use srnas_predictor::{Prior, PriorError};
use srnas_space::SearchSpace;
use std::sync::Arc;

/// A random function on a space (see [`synthetic`]): f32 by rank, more is better.
///
/// # Errors
/// Refuses a space that is too large to be tabulated.
pub fn random_surrogate(space: &Arc<SearchSpace>, rng: &mut ChaCha8Rng) -> Result<Vec<f32>, PriorError> {
    let size = listed_size(space)?;
    let task = synthetic::draw(space, &[], rng);
    Ok((0..size).map(|rank| task.value_of_rank(rank).unwrap_or(task.median())).collect())
}

/// Random functions that agree with what a search measured, as many as there are generators: f32 by rank, more is better. None
/// where the search has no value in the space.
///
/// Each is a random function plus the plain posterior's mean of what the measurements differ from it by (Matheron's rule, as
/// in arXiv 2002.09309): it goes through the measurements, and is as rough as any random function away from them.
///
/// # Errors
/// Refuses a space that is too large to be tabulated.
pub fn surrogates_of(
    space: &Arc<SearchSpace>,
    search: &PastSearch,
    draws: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Vec<f32>>, PriorError> {
    let whole = listed(space)?;
    let Some(mut measured) = distinct(space, search) else { return Ok(Vec::new()) };
    // A part of a large space may not have all of them.
    measured.retain(|(choices, _)| space.is_valid(choices));
    if measured.is_empty() {
        return Ok(Vec::new());
    }
    let ranks: Vec<usize> = measured.iter().map(|(choices, _)| space.rank(choices) as usize).collect();
    let values: Vec<f64> = measured.iter().map(|(_, value)| f64::from(*value)).collect();
    let mut settings = universal();
    // What they differ by is good and bad alike.
    settings.plain.cut = 0.0;
    (0..draws)
        .map(|_| {
            let mut function = random_surrogate(space, rng)?;
            rescale(&mut function, &values);
            let differences: Vec<(&[u8], f32)> = measured
                .iter()
                .zip(&ranks)
                .map(|((choices, value), &rank)| (*choices, value - function[rank]))
                .collect();
            let mut gp = expectation(&whole, space, &differences, settings);
            function.iter_mut().zip(gp.means()).for_each(|(value, mean)| *value += mean);
            measured.iter().zip(&ranks).for_each(|((_, value), &rank)| function[rank] = *value);
            Ok(function)
        })
        .collect()
}

fn listed_size(space: &SearchSpace) -> Result<u64, PriorError> {
    let size = space.size().filter(|&size| size <= Prior::LARGEST);
    size.ok_or_else(|| PriorError::TooLarge(space.name().into()))
}

fn standard_deviation(values: &[f64]) -> f64 {
    let middle = mean(values);
    mean(&values.iter().map(|v| (v - middle).powi(2)).collect::<Vec<_>>()).sqrt()
}

/// Gives the function the mean and deviation of `values`.
fn rescale(function: &mut [f32], values: &[f64]) {
    let all: Vec<f64> = function.iter().map(|&v| f64::from(v)).collect();
    let (middle, spread) = (mean(&all), standard_deviation(&all).max(1e-9));
    let (wanted, wide) = (mean(values), standard_deviation(values));
    // One value, or all equal: any scale will do.
    let wide = if wide > 0.0 { wide } else { 1.0 };
    function.iter_mut().for_each(|v| *v = (wanted + wide * (f64::from(*v) - middle) / spread) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use srnas_space::{Conditional, Decision};

    fn space(decisions: usize) -> Arc<SearchSpace> {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        Arc::new(Conditional::space("made-up", (0..decisions).map(decision).collect(), vec![]).unwrap())
    }

    #[test]
    fn draws_agree_where_something_was_measured_and_nowhere_else() {
        let space = space(5);
        let mut choices = vec![0; 5];
        let mut measured = Vec::new();
        for rank in (0..243).step_by(20) {
            space.unrank(rank, &mut choices);
            let value = 100.0 + choices.iter().map(|&c| f32::from(c)).sum::<f32>();
            measured.push((choices.clone(), Some(value)));
        }
        let search = PastSearch { name: "mine".into(), measured };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let draws = surrogates_of(&space, &search, 3, &mut rng).unwrap();
        assert_eq!((draws.len(), draws[0].len()), (3, 243));
        for (choices, value) in &search.measured {
            let rank = space.rank(choices) as usize;
            assert!(draws.iter().all(|draw| Some(draw[rank]) == *value));
        }
        assert!(draws.iter().flatten().all(|v| v.is_finite() && (90.0..120.0).contains(v)));
        let differ = (0..243).filter(|&r| (draws[0][r] - draws[1][r]).abs() > 1e-3).count();
        assert!(differ > 150, "{differ}");
    }

    #[test]
    fn nothing_one_thing_and_all_equal_are_no_trouble() {
        let space = space(4);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut draws = |measured: Vec<(Vec<u8>, Option<f32>)>| {
            surrogates_of(&space, &PastSearch { name: "x".into(), measured }, 2, &mut rng).unwrap()
        };
        assert!(draws(vec![]).is_empty());
        assert!(draws(vec![(vec![0; 4], None)]).is_empty());
        for measured in [
            vec![(vec![0; 4], Some(3.0))],
            vec![(vec![0; 4], Some(3.0)), (vec![1; 4], Some(3.0)), (vec![1; 4], Some(3.0))],
        ] {
            assert!(draws(measured).iter().flatten().all(|v| v.is_finite()));
        }
        let large = super::tests::space(12);
        assert!(matches!(random_surrogate(&large, &mut rng), Err(PriorError::TooLarge(_))));
    }
}
