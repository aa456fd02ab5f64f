//! What guides a live search: nothing but the plain posterior, the past, or a trained policy.

use crate::{
    guided::CONDITIONED,
    method::{Begin, Fidelity, Method, MethodError, Past, Training},
    methods::{FAVOURITES, PastSearch, SLOPE_OF_PART, Trained, prior_of, universal},
    policy::{Acting, PolicySearchError, knowing, policy_environment},
};
use srnas_policy::{Acts, Policy};
use srnas_predictor::{PosteriorSettings, Prior, PriorError, Untrained};
use srnas_space::SearchSpace;
use std::sync::Arc;

/// What guides the search.
#[derive(Clone)]
pub struct Guide {
    prior: Option<Arc<Prior>>,
    settings: PosteriorSettings,
    beta: f32,
    /// The best of earlier searches.
    favourites: Vec<Vec<u8>>,
    /// What is known of architectures without training them.
    untrained: Option<Arc<Untrained>>,
    /// A trained policy that earned its export; it chooses among the candidates instead of the upper bound alone.
    trained: Option<(Arc<Policy>, Arc<SearchSpace>)>,
}

impl Default for Guide {
    /// No past at all: the plain posterior, as the method `universal` has it.
    fn default() -> Self {
        let favourites = Vec::new();
        Self { prior: None, settings: universal(), beta: 3.0, favourites, untrained: None, trained: None }
    }
}

impl Guide {
    /// What a trained policy knows: its prior and the numbers of its posteriors, and its network where it earned its export.
    ///
    /// # Errors
    /// A prior that is not over this space, and a policy that would say nothing here.
    pub fn of_policy(policy: &Policy, space: &Arc<SearchSpace>) -> Result<Self, PolicySearchError> {
        // What it observed becomes a prior once, and not for every proposal.
        let policy = &knowing(policy, space)?;
        let environment = policy_environment(policy, space, 1, Acting::Exported)?;
        Ok(Self {
            prior: environment.prior().cloned(),
            settings: *environment.settings(),
            beta: policy.environment.rule_beta,
            favourites: Vec::new(),
            untrained: None,
            trained: (policy.acts == Acts::Trained).then(|| (Arc::new(Policy::clone(policy)), space.clone())),
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

    /// The same, and what is known of architectures without training them.
    pub fn describing(self, untrained: Option<Arc<Untrained>>) -> Self {
        Self { untrained, ..self }
    }

    /// What it knows, as methods know it.
    pub(crate) fn past(&self) -> Past {
        Past::one(self.prior.clone()).describing(self.untrained.clone())
    }

    /// Whether it knows what can be said without training.
    pub fn knows_untrained(&self) -> bool {
        self.untrained.is_some()
    }

    /// Whether it knows past tasks.
    pub fn knows_a_past(&self) -> bool {
        self.prior.is_some()
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

    /// What the trained policy moves to after what is `known`, each with its value if it has one, and while `running` is under
    /// way. Nothing where no policy was trained, and where its walk is over or has nowhere to go: after very many measurements,
    /// and before a full training has a value.
    pub(crate) fn policy_choice<'t>(
        &self,
        begin: &Begin,
        known: impl Iterator<Item = (&'t Training, Option<f32>)> + Clone,
        running: &[Training],
    ) -> Result<Option<Training>, MethodError> {
        let Some((policy, space)) = &self.trained else { return Ok(None) };
        let horizon = begin.budget.min(CONDITIONED);
        // It would be told all of it to find that it is over.
        if known.clone().filter(|(training, _)| training.fidelity.is_full()).count() >= horizon {
            return Ok(None);
        }
        let environment = policy_environment(policy, space, horizon, Acting::Trained)
            .map_err(|error| MethodError(error.to_string()))?;
        let mut walk = Trained::new(Arc::new(environment), Acting::Trained.searcher(policy), begin);
        for (training, value) in known {
            match (value, training.fidelity) {
                (None, _) => walk.tell_infeasible(training, None)?,
                (Some(value), Fidelity::Full) => walk.tell(&training.choices, &[value])?,
                (Some(value), Fidelity::Shorter(_)) => walk.tell_shorter(training, value)?,
            }
        }
        running.iter().for_each(|training| walk.begun(training));
        walk.ask_training()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_environment::{BASE, EnvironmentConfig};
    use srnas_network::{QNetwork, QNetworkConfig};
    use srnas_policy::Caution;
    use srnas_space::{Conditional, Decision};
    use srnas_task::Count;

    /// A policy whose network is as it was drawn, so that it ranks as the base scores do.
    fn policy(environment: EnvironmentConfig, decisions: usize) -> (Policy, Arc<SearchSpace>) {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space =
            Arc::new(Conditional::space("made-up", (0..decisions).map(decision).collect(), vec![]).unwrap());
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
            caution: Caution::default(),
            learned_prior: None,
            prior: None,
            observed: Vec::new(),
            agent: None,
            agent_rate: 0.0,
            validation: None,
        };
        (policy, space)
    }

    fn begin(space: &Arc<SearchSpace>, budget: usize, shorter: &[f64]) -> Begin {
        Begin {
            space: space.clone(),
            count: Count::Classes,
            objectives: 1,
            limits: 0,
            budget,
            shorter: Arc::from(shorter),
            start: Vec::new(),
            seed: 7,
            start_seed: 7,
            whole: None,
            past: Past::default(),
        }
    }

    /// What was measured, with its values.
    #[derive(Default)]
    struct Known(Vec<(Training, Option<f32>)>);

    impl Known {
        fn iter(&self) -> impl Iterator<Item = (&Training, Option<f32>)> + Clone {
            self.0.iter().map(|(training, value)| (training, *value))
        }

        fn has(&self, training: &Training) -> bool {
            self.0.iter().any(|(known, _)| known == training)
        }
    }

    #[test]
    fn a_trained_policy_moves_to_what_is_new_and_gives_way_where_it_cannot() {
        for decisions in [4, 40] {
            let (policy, space) = policy(EnvironmentConfig::default(), decisions);
            let guide = Guide::of_policy(&policy, &space).unwrap();
            let begin = begin(&space, 20, &[]);
            let next = |known: &Known, running: &[Training]| {
                guide.policy_choice(&begin, known.iter(), running).unwrap()
            };
            assert_eq!(next(&Known::default(), &[]), None, "nowhere to move from");
            let mut known = Known(vec![
                (Training::full(vec![0; decisions]), Some(3.0)),
                (Training::full(vec![1; decisions]), Some(3.0)),
            ]);
            for turn in 0..10 {
                let chosen = next(&known, &[]).unwrap();
                assert!(!known.has(&chosen));
                assert_eq!(next(&known, &[]), Some(chosen.clone()), "the same seed, the same move");
                let meanwhile = next(&known, std::slice::from_ref(&chosen)).unwrap();
                assert!(meanwhile != chosen && !known.has(&meanwhile), "not what is under way");
                known.0.push((chosen, (turn % 3 > 0).then_some(1.0)));
            }
            // Nothing left to spend, nothing trained.
            let spent = Begin { budget: known.0.len(), ..begin.clone() };
            assert_eq!(guide.policy_choice(&spent, known.iter(), &[]).unwrap(), None);
            let rule = Policy { acts: Acts::Rule, space: space.name().into(), ..policy };
            let rule = Guide::of_policy(&rule, &space).unwrap();
            assert_eq!(rule.policy_choice(&begin, known.iter(), &[]).unwrap(), None);
        }
    }

    #[test]
    fn a_policy_that_knows_shorter_trainings_chooses_them_and_makes_none_twice() {
        let environment = EnvironmentConfig { shorter: 40, ..EnvironmentConfig::default() };
        let (policy, space) = policy(environment, 4);
        let guide = Guide::of_policy(&policy, &space).unwrap();
        assert!(guide.knows_shorter() && guide.is_trained());
        let mut known = Known(vec![(Training::full(vec![0; 4]), Some(3.0))]);
        // Six full trainings pay for 25 short ones among five full ones.
        let six = begin(&space, 6, &[0.1]);
        while let Some(next) = guide.policy_choice(&six, known.iter(), &[]).unwrap() {
            assert!(!known.has(&next), "{next:?} twice");
            let value = next.choices.iter().map(|&c| f32::from(c)).sum();
            known.0.push((next, Some(value)));
        }
        let full = known.0.iter().filter(|(training, _)| training.fidelity.is_full()).count();
        let spent = full as f64 + 0.1 * (known.0.len() - full) as f64;
        assert!(full > 1 && full < known.0.len() && spent > 5.0, "{spent}");
        // A search that has no shorter trainings is guided by it too.
        known.0.retain(|(training, _)| training.fidelity.is_full());
        known.0.truncate(2);
        let next = guide.policy_choice(&begin(&space, 6, &[]), known.iter(), &[]).unwrap();
        assert_eq!(next.unwrap().fidelity, Fidelity::Full);
    }
}
