//! What guides a live search: nothing but the plain posterior, the past, or a trained policy.

use crate::{
    guided::CONDITIONED,
    method::{MethodError, Training, Whole},
    methods::{PastSearch, prior_of, universal},
    policy::{Acting, PolicySearchError, policy_environment},
};
use srnas_environment::Episode;
use srnas_policy::{Acts, Policy, evaluation::choose};
use srnas_predictor::{PosteriorSettings, Prior, PriorError};
use srnas_space::SearchSpace;
use srnas_task::{Count, Shorter, Task, TaskError, Values};
use std::sync::Arc;

/// Deviation of the past's slope where earlier tasks are known in part: what is filled in is flatter than what would have
/// been measured, so the past's mean must be free to grow. On nb201's training tasks, families left out, it is better than
/// the default with 50 and with 200 measurements a task (docs/results.md).
const SLOPE_OF_PART: f32 = 2.0;

/// So many of the best of each earlier search are looked at again where a space is too large to be listed.
const FAVOURITES: usize = 5;

/// What guides the search.
#[derive(Clone)]
pub struct Guide {
    prior: Option<Arc<Prior>>,
    settings: PosteriorSettings,
    beta: f32,
    /// The best of earlier searches.
    favourites: Vec<Vec<u8>>,
    /// A trained policy that earned its export; it chooses among the candidates instead of the upper bound alone.
    trained: Option<(Arc<Policy>, Arc<SearchSpace>)>,
}

impl Default for Guide {
    /// No past at all: the plain posterior, as the method `universal` has it.
    fn default() -> Self {
        Self { prior: None, settings: universal(), beta: 3.0, favourites: Vec::new(), trained: None }
    }
}

impl Guide {
    /// What a trained policy knows: its prior and the numbers of its posteriors, and its network where it earned its export.
    ///
    /// # Errors
    /// A prior that is not over this space, and a policy that would say nothing here.
    pub fn of_policy(policy: &Policy, space: &Arc<SearchSpace>) -> Result<Self, PolicySearchError> {
        let environment = policy_environment(policy, space, 1, Acting::Exported)?;
        Ok(Self {
            prior: environment.prior().cloned(),
            settings: *environment.settings(),
            beta: policy.environment.rule_beta,
            favourites: Vec::new(),
            trained: (policy.acts == Acts::Trained).then(|| (Arc::new(policy.clone()), space.clone())),
        })
    }

    /// What earlier searches of the same space say; nothing where they say nothing.
    ///
    /// # Errors
    /// A value that is not a number.
    pub fn of_past(space: &Arc<SearchSpace>, past: &[PastSearch]) -> Result<Self, PriorError> {
        let prior = prior_of(space, past)?;
        let mut settings = universal();
        let whole = space.size().unwrap_or(u64::MAX) as usize;
        if past.iter().any(|search| search.measured.len() < whole / 2) {
            settings.transfer.slope = SLOPE_OF_PART;
        }
        let prior = (!prior.tasks().is_empty()).then(|| Arc::new(prior));
        let favourites = past.iter().flat_map(|search| search.best(FAVOURITES)).collect();
        Ok(Self { prior, settings, favourites, ..Self::default() })
    }

    /// Whether it knows past tasks.
    pub fn knows_a_past(&self) -> bool {
        self.prior.is_some()
    }

    /// The past tasks.
    pub(crate) fn prior(&self) -> Option<&Arc<Prior>> {
        self.prior.as_ref()
    }

    /// The best of earlier searches.
    pub(crate) fn favourites(&self) -> &[Vec<u8>] {
        &self.favourites
    }

    /// Numbers of the posteriors.
    pub(crate) fn settings(&self) -> &PosteriorSettings {
        &self.settings
    }

    /// How many deviations an upper bound lies above the mean.
    pub(crate) fn beta(&self) -> f32 {
        self.beta
    }

    /// Whether a trained network chooses.
    pub fn is_trained(&self) -> bool {
        self.trained.is_some()
    }

    /// Whether it was trained to choose how long to train, too.
    pub fn knows_shorter(&self) -> bool {
        self.trained.as_ref().is_some_and(|(policy, _)| policy.environment.shorter > 0)
    }

    /// What the trained policy moves to after what is `known`; `expected` are the values, by rank, that the whole space is
    /// believed to have. Nothing where no policy was trained, and where its episode has no place for what was measured: after
    /// very many measurements, or where all is equal.
    pub(crate) fn policy_choice(
        &self,
        whole: &Whole,
        known: &Known,
        mut expected: Vec<f32>,
        budget: usize,
        seed: u64,
    ) -> Result<Option<Training>, MethodError> {
        let failed = |error: &dyn std::error::Error| MethodError(error.to_string());
        let horizon = budget.min(CONDITIONED);
        let Some((policy, space)) = self.trained.as_ref().filter(|_| known.full.len() < horizon) else {
            return Ok(None);
        };
        // An episode walks a task; of what nobody measured it must only know that there is a value.
        expected.iter_mut().zip(&whole.valid).filter(|(_, valid)| !**valid).for_each(|(v, _)| *v = f32::NAN);
        let task = |name: &str, values: Vec<f32>| {
            Task::new(name, "live", space.clone(), Values::Dense(values.into()), Count::Classes)
        };
        let shorter = known
            .costs
            .iter()
            .map(|&cost| Ok(Shorter { task: Arc::new(task("live, shorter", expected.clone())?), cost }));
        let shorter: Result<Vec<Shorter>, TaskError> = shorter.collect();
        let task = shorter.and_then(|shorter| task("live", expected.clone())?.with_shorter(shorter));
        let Ok(task) = task else { return Ok(None) };
        let environment =
            policy_environment(policy, space, horizon, Acting::Trained).map_err(|e| failed(&e))?;
        let weights = environment.prior().map_or_else(Vec::new, |prior| prior.all());
        let mut episode = Episode::new(Arc::new(environment), Arc::new(task), &weights, seed);
        episode.recall(&weights, &known.full, &known.shorter);
        let searcher = Acting::Trained.searcher(policy);
        let mut choices = vec![0; space.len()];
        // It may walk over what was measured before it comes to something new.
        for _ in 0..2 * horizon {
            if episode.candidates().is_empty() {
                break;
            }
            let choice = choose(&searcher, &mut episode).map_err(|e| failed(&e))?;
            episode.choices_of(choice, &mut choices);
            let candidate = episode.candidates()[choice];
            if !candidate.measured {
                return Ok(Some(Training { choices, shorter: candidate.shorter }));
            }
            episode.step(choice);
        }
        Ok(None)
    }
}

/// What a live search knows, in units of what is maximised.
#[derive(Default)]
pub(crate) struct Known {
    /// Full trainings, in their order.
    pub full: Vec<(Vec<u8>, f32)>,
    /// Shorter ones, each with its place.
    pub shorter: Vec<(usize, Vec<u8>, f32)>,
    /// What the shorter trainings cost, the cheapest first.
    pub costs: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_environment::{BASE, EnvironmentConfig};
    use srnas_network::{QNetwork, QNetworkConfig};
    use srnas_space::{Conditional, Decision};

    /// A policy whose network is as it was drawn, so that it ranks as the base scores do.
    fn policy(environment: EnvironmentConfig) -> (Policy, Arc<SearchSpace>) {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Arc::new(Conditional::space("made-up", (0..4).map(decision).collect(), vec![]).unwrap());
        let layout = environment.layout();
        let config = QNetworkConfig {
            base_feature: Some(BASE),
            ..QNetworkConfig::new(layout.candidate_features(), layout.context_features())
        };
        let network = QNetwork::new(config, &mut ChaCha8Rng::seed_from_u64(1));
        let policy = Policy {
            version: 1,
            space: "made-up".into(),
            acts: Acts::Trained,
            settings: PosteriorSettings::default(),
            environment,
            network: network.unwrap().frozen().unwrap(),
            margin: 0.0,
            learned_prior: None,
            prior: None,
            validation: None,
        };
        (policy, space)
    }

    #[test]
    fn a_trained_policy_moves_to_what_is_new_and_gives_way_where_it_cannot() {
        let (policy, space) = policy(EnvironmentConfig::default());
        let whole = Whole::new(&space, Count::Classes).unwrap();
        let guide = Guide::of_policy(&policy, &space).unwrap();
        let expected: Vec<f32> = (0..81).map(|rank| rank as f32).collect();
        let mut measured = vec![(vec![0; 4], 3.0), (vec![1; 4], 4.0)];
        let known = |measured: &[(Vec<u8>, f32)]| Known { full: measured.to_vec(), ..Known::default() };
        let next = |measured: &[(Vec<u8>, f32)], expected: &[f32]| {
            let moved = guide.policy_choice(&whole, &known(measured), expected.to_vec(), 20, 7).unwrap();
            moved.map(|training| training.choices)
        };
        for _ in 0..10 {
            let choices = next(&measured, &expected).unwrap();
            assert!(measured.iter().all(|(known, _)| *known != choices));
            assert_eq!(next(&measured, &expected), Some(choices.clone()), "the same seed, the same move");
            measured.push((choices, 1.0));
        }
        // Nothing to find, nothing left to spend, nothing trained.
        assert_eq!(next(&measured, &[1.0; 81]), None);
        assert_eq!(
            guide.policy_choice(&whole, &known(&measured), expected.clone(), measured.len(), 7).unwrap(),
            None
        );
        let rule = Guide::of_policy(&Policy { acts: Acts::Rule, ..policy }, &space).unwrap();
        assert_eq!(rule.policy_choice(&whole, &known(&measured), expected, 20, 7).unwrap(), None);
    }

    #[test]
    fn a_policy_that_knows_shorter_trainings_chooses_them_and_makes_none_twice() {
        let (policy, space) = policy(EnvironmentConfig { shorter: 40, ..EnvironmentConfig::default() });
        let whole = Whole::new(&space, Count::Classes).unwrap();
        let guide = Guide::of_policy(&policy, &space).unwrap();
        assert!(guide.knows_shorter() && guide.is_trained());
        let expected: Vec<f32> = (0..81).map(|rank| rank as f32).collect();
        let mut known = Known { full: vec![(vec![0; 4], 3.0)], costs: vec![0.1], ..Known::default() };
        let mut made: Vec<Training> = vec![Training::full(vec![0; 4])];
        // Six full trainings pay for 25 short ones among five full ones.
        while let Some(next) = guide.policy_choice(&whole, &known, expected.clone(), 6, 7).unwrap() {
            assert!(!made.contains(&next), "{next:?} twice");
            let value = next.choices.iter().map(|&c| f32::from(c)).sum();
            match next.shorter {
                Some(place) => known.shorter.push((place, next.choices.clone(), value)),
                None => known.full.push((next.choices.clone(), value)),
            }
            made.push(next);
        }
        assert!(made.iter().any(|training| training.shorter == Some(0)) && known.full.len() > 1);
        let spent = known.full.len() as f64 + 0.1 * known.shorter.len() as f64;
        assert!(spent > 5.0, "{spent}");
        // A search that has no shorter trainings is guided by it too.
        let known = Known { full: known.full[..2].to_vec(), ..Known::default() };
        let next = guide.policy_choice(&whole, &known, expected, 6, 7).unwrap();
        assert_eq!(next.unwrap().shorter, None);
    }
}
