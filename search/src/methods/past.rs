//! Past tasks of which some measurements are known, as a prior.

use super::{
    Begin, Whole,
    gp::{Acquisition, Gp, universal},
};
use hashbrown::HashMap;
use srnas_common::{
    posterior::{Kind, Prior, PriorError},
    space::SearchSpace,
    task::Count,
};
use std::sync::Arc;

/// Measurements that a posterior is conditioned on at most: its cost grows with their cube.
const CONDITIONED: usize = 320;

/// An earlier search of another task on the same space.
#[derive(Clone, Debug, PartialEq)]
pub struct PastSearch {
    /// By what it is known.
    pub name: String,
    /// What was measured: choices, and the value that is maximised; none for what is infeasible.
    pub measured: Vec<(Vec<u8>, Option<f32>)>,
}

/// What earlier searches say about a space: the values of each, what it did not measure filled by its own plain posterior.
/// What was infeasible counts as the worst. Searches without a value say nothing and are left out.
///
/// # Errors
/// Refuses a space that is too large to be tabulated.
pub fn prior_of(space: &Arc<SearchSpace>, past: &[PastSearch]) -> Result<Prior, PriorError> {
    let whole = Whole::new(space, Count::Classes).ok_or_else(|| PriorError::TooLarge(space.name().into()))?;
    let whole = Arc::new(whole);
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for search in past {
        let Some(worst) = search.measured.iter().filter_map(|(_, value)| *value).reduce(f32::min) else {
            continue;
        };
        let begin = Begin {
            space: space.clone(),
            count: Count::Classes,
            objectives: 1,
            budget: search.measured.len().min(CONDITIONED),
            start: vec![0; space.len()],
            seed: 0,
            start_seed: 0,
            whole: Some(whole.clone()),
            past: None,
            tasks: Arc::from([]),
        };
        let mut gp = Gp::new(&begin, universal(), Kind::Plain, Acquisition::Bound(0.0));
        let mut known = HashMap::new();
        let mut distinct: Vec<(&[u8], f32)> = Vec::new();
        for (choices, value) in &search.measured {
            let value = value.unwrap_or(worst);
            if known.insert(begin.key(choices), value).is_none() {
                distinct.push((choices, value));
            }
        }
        for (choices, value) in conditioned(distinct) {
            gp.learn(choices, value);
        }
        names.push(search.name.clone());
        values.extend(completed(&mut gp, &whole, &known));
    }
    Prior::new(names.clone(), names, whole.keys.len(), values)
}

/// What a posterior is conditioned on of very many measurements: the best half, and others evenly from the rest in their order.
fn conditioned(mut distinct: Vec<(&[u8], f32)>) -> Vec<(&[u8], f32)> {
    if distinct.len() <= CONDITIONED {
        return distinct;
    }
    distinct.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let half = CONDITIONED / 2;
    let rest = distinct.split_off(half);
    distinct.extend((0..half).map(|i| rest[i * rest.len() / half]));
    distinct
}

/// A task's values by rank, scaled as [`srnas_common::task::Task::prior_value`]: 0 is the median of the valid encodings, 1
/// the best. What is not `known` by its key is what the posterior expects.
pub(super) fn completed(gp: &mut Gp, whole: &Whole, known: &HashMap<u64, f32>) -> Vec<f32> {
    let mut values = gp.means();
    for (value, key) in values.iter_mut().zip(&whole.keys) {
        if let Some(measured) = known.get(key) {
            *value = *measured;
        }
    }
    let mut valid: Vec<f32> = values.iter().zip(&whole.valid).filter(|(_, v)| **v).map(|(v, _)| *v).collect();
    let median = srnas_common::statistics::median(&mut valid);
    let best = valid.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let gap = best - median;
    let scale = |v: f32| if gap > 0.0 { ((v - median) / gap).clamp(-3.0, 1.0) } else { 0.0 };
    values.into_iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_common::space::{Conditional, Decision};

    #[test]
    fn a_prior_has_what_was_measured_and_expects_the_rest() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Arc::new(Conditional::space("made-up", (0..4).map(decision).collect(), vec![]).unwrap());
        let value = |choices: &[u8]| choices.iter().map(|&c| f32::from(c)).sum::<f32>();
        let mut choices = vec![0; 4];
        let mut measured = Vec::new();
        for rank in (0..81).step_by(3) {
            space.unrank(rank, &mut choices);
            measured.push((choices.clone(), Some(value(&choices))));
        }
        measured.push((vec![0, 0, 0, 1], None));
        let good = PastSearch { name: "good".into(), measured };
        let nothing = PastSearch { name: "nothing".into(), measured: vec![(vec![0; 4], None)] };
        let prior = prior_of(&space, &[nothing, good.clone()]).unwrap();
        assert_eq!((prior.tasks(), prior.encodings()), (&["good".to_string()][..], 81));
        let values = prior.of_task(0);
        let at = |choices: &[u8]| values[space.rank(choices) as usize];
        assert!(at(&[2, 2, 2, 0]) > at(&[1, 1, 1, 0]) && at(&[1, 1, 1, 0]) > at(&[0, 0, 0, 0]));
        // Never measured, and better than what was.
        assert!(at(&[2, 2, 2, 2]) > at(&[1, 1, 1, 1]));
        // Infeasible is as bad as the worst.
        assert_eq!(at(&[0, 0, 0, 1]), at(&[0, 0, 0, 0]));
        // Nothing, one thing, all equal.
        assert_eq!(prior_of(&space, &[]).unwrap().tasks().len(), 0);
        let one = PastSearch { measured: good.measured[..1].to_vec(), ..good };
        assert!(prior_of(&space, &[one]).unwrap().values().iter().all(|v| v.is_finite()));
        let large = Conditional::space("large", (0..12).map(decision).collect(), vec![]).unwrap();
        assert!(matches!(prior_of(&Arc::new(large), &[]), Err(PriorError::TooLarge(_))));
    }
}
