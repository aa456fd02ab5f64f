//! Past tasks of which some measurements are known, as a prior.

use super::{
    Begin, Past, Whole,
    gp::{Acquisition, Gp, universal},
};
use hashbrown::{HashMap, HashSet};
use srnas_predictor::{Expectation, Kind, PosteriorSettings, Prior, PriorError};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::sync::Arc;

/// Measurements that a posterior is conditioned on at most: its cost grows with their cube.
const CONDITIONED: usize = 320;

/// Deviation of the past's slope where earlier tasks are known in part: what is filled in is flatter than what would have
/// been measured, so the past's mean must be free to grow. On nb201's training tasks, families left out, it is better than
/// the default with 50 and with 200 measurements a task (docs/results.md).
pub(crate) const SLOPE_OF_PART: f32 = 2.0;

/// So many of the best of each earlier search are looked at again where a space is too large to be listed.
pub(crate) const FAVOURITES: usize = 5;

/// An earlier search of another task on the same space.
#[derive(Clone, Debug, PartialEq)]
pub struct PastSearch {
    /// By what it is known.
    pub name: String,
    /// What was measured: choices, and the value that is maximised; none for what is infeasible.
    pub measured: Vec<(Vec<u8>, Option<f32>)>,
}

impl PastSearch {
    /// The best `most` of what it measured.
    pub fn best(&self, most: usize) -> Vec<Vec<u8>> {
        let mut good: Vec<(&Vec<u8>, f32)> =
            self.measured.iter().filter_map(|(choices, value)| Some((choices, (*value)?))).collect();
        good.sort_by(|a, b| b.1.total_cmp(&a.1));
        good.into_iter().take(most).map(|(choices, _)| choices.clone()).collect()
    }
}

/// What earlier searches say about a space: the values of each, what it did not measure filled by its own plain posterior.
/// What was infeasible counts as the worst. Searches without a value say nothing and are left out. In a space too large to be
/// tabulated what each search expects is computed where it is asked for.
///
/// # Errors
/// A value that is not a number.
pub fn prior_of(space: &Arc<SearchSpace>, past: &[PastSearch]) -> Result<Prior, PriorError> {
    let Ok(whole) = listed(space) else {
        let expected = past.iter().filter_map(|search| {
            let told = conditioned(distinct(space, search)?);
            Some((search.name.clone(), Expectation::new(space, &universal().plain, &told)))
        });
        return Ok(Prior::expected(expected.collect()));
    };
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for search in past {
        let Some(distinct) = distinct(space, search) else { continue };
        let mut gp = expectation(&whole, space, &distinct, universal());
        let known: HashMap<u64, f32> =
            distinct.iter().map(|(choices, value)| (space.canonical_key(choices), *value)).collect();
        names.push(search.name.clone());
        values.extend(gp.completed(&whole, &known));
    }
    Prior::new(names.clone(), names, whole.keys.len(), values)
}

/// What earlier searches say of several objectives and limits: of each by what they measured of it.
///
/// # Errors
/// A value that is not a number.
pub fn past_of(space: &Arc<SearchSpace>, of_each: &[Vec<PastSearch>]) -> Result<Past, PriorError> {
    let prior = |past: &Vec<PastSearch>| {
        let prior = prior_of(space, past)?;
        Ok((!prior.tasks().is_empty()).then(|| Arc::new(prior)))
    };
    let priors = of_each.iter().map(prior).collect::<Result<_, PriorError>>()?;
    let favourites = of_each.iter().flatten().flat_map(|search| search.best(FAVOURITES)).collect();
    Ok(Past::several(priors, favourites))
}

/// All of a space.
pub(super) fn listed(space: &Arc<SearchSpace>) -> Result<Arc<Whole>, PriorError> {
    let whole = Whole::new(space, Count::Classes).ok_or_else(|| PriorError::TooLarge(space.name().into()))?;
    Ok(Arc::new(whole))
}

/// What a search measured, each architecture once; infeasible ones with the worst value. Nothing where there is no value.
pub(super) fn distinct<'a>(space: &SearchSpace, search: &'a PastSearch) -> Option<Vec<(&'a [u8], f32)>> {
    let worst = search.measured.iter().filter_map(|(_, value)| *value).reduce(f32::min)?;
    let mut seen = HashSet::new();
    let measured = search.measured.iter().filter(|(choices, _)| seen.insert(space.canonical_key(choices)));
    Some(measured.map(|(choices, value)| (&choices[..], value.unwrap_or(worst))).collect())
}

/// The plain posterior of what was measured.
pub(super) fn expectation(
    whole: &Arc<Whole>,
    space: &Arc<SearchSpace>,
    measured: &[(&[u8], f32)],
    settings: PosteriorSettings,
) -> Gp {
    let begin = Begin {
        space: space.clone(),
        count: Count::Classes,
        objectives: 1,
        limits: 0,
        budget: measured.len().min(CONDITIONED),
        shorter: Arc::from([]),
        start: vec![0; space.len()],
        seed: 0,
        start_seed: 0,
        whole: Some(whole.clone()),
        past: Past::default(),
    };
    let mut gp = Gp::new(&begin, settings, Kind::Plain, Acquisition::Bound(0.0));
    for (choices, value) in conditioned(measured.to_vec()) {
        gp.learn(choices, value);
    }
    gp
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

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Decision};

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
        // Too large for a table: the same, computed where it is asked for.
        let large = Conditional::space("large", (0..12).map(decision).collect(), vec![]).unwrap();
        let measured = (0..3).map(|c| (vec![c; 12], Some(f32::from(c)))).chain([(vec![1; 12], Some(9.0))]);
        let search = PastSearch { name: "large".into(), measured: measured.collect() };
        let prior = prior_of(&Arc::new(large), &[search]).unwrap();
        assert!((prior.tasks().len(), prior.is_tabulated()) == (1, false));
    }
}
