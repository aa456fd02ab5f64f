//! The environment in which a trained policy, or a rule that it carries, searches a task.

use srnas_environment::{CandidateMode, Environment, EnvironmentConfig, Reach};
use srnas_policy::{Acts, Policy, evaluation::Searcher};
use srnas_predictor::{Kind, LearnedPriorError, Observed, Prior};
use srnas_space::SearchSpace;
use std::{borrow::Cow, str::FromStr, sync::Arc};

/// Who searches with a policy file, by its name: `exported`, `rule`, `trained`, `plain` or `random`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting {
    /// What the run exported: the trained policy if it earned it, else the rule.
    Exported,
    /// The base rule: the best upper bound of the transfer posterior.
    Rule,
    /// The trained policy, exported or not.
    Trained,
    /// The best upper bound of the plain posterior: no training tasks at all.
    Plain,
    /// Random search.
    Random,
}

/// Why a policy cannot search a space.
#[derive(Debug, thiserror::Error)]
pub enum PolicySearchError {
    /// Its predictor network fails.
    #[error("the policy's predictor network: {0}")]
    Network(#[from] LearnedPriorError),
    /// Its network does not fit what it sees.
    #[error("the policy's network: {0}")]
    Scores(#[from] srnas_network::Error),
    /// It knows another space, and its network has not earned to be asked.
    #[error(
        "the policy knows the space {policy} and exported its base rule, which says nothing of {space}: search without it, or \
         train one for this space (srnas run --space)"
    )]
    NothingKnown {
        /// The policy's space.
        policy: String,
        /// The space.
        space: String,
    },
    /// Its prior is over something else.
    #[error(
        "the policy's prior is over {found} architectures, and {space} has others here: train it on these"
    )]
    OtherSpace {
        /// Encodings of the prior.
        found: usize,
        /// The space.
        space: String,
    },
}

/// Why a text does not say who searches.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
#[error("it is exported, rule, trained, plain or random")]
pub struct ActingError;

impl FromStr for Acting {
    type Err = ActingError;

    fn from_str(text: &str) -> Result<Self, ActingError> {
        Ok(match text {
            "exported" => Self::Exported,
            "rule" => Self::Rule,
            "trained" => Self::Trained,
            "plain" => Self::Plain,
            "random" => Self::Random,
            _ => return Err(ActingError),
        })
    }
}

impl Acting {
    /// In words, of a policy.
    pub fn in_words(self, policy: &Policy) -> &'static str {
        match (self, policy.acts) {
            (Self::Exported, Acts::Rule) => "the base rule (the trained part did not earn its export)",
            (Self::Exported, Acts::Trained) => "the trained policy (it earned its export)",
            (Self::Rule, _) => "the base rule",
            (Self::Trained, _) => "the trained policy",
            (Self::Plain, _) => "the plain posterior's best upper bound, no training tasks",
            (Self::Random, _) => "random search",
        }
    }

    fn by_network(self, policy: &Policy) -> bool {
        match self {
            Self::Trained => true,
            Self::Exported => policy.acts == Acts::Trained,
            Self::Rule | Self::Plain | Self::Random => false,
        }
    }

    /// Who decides where to move.
    pub fn searcher(self, policy: &Policy) -> Searcher {
        match self {
            Self::Plain => Searcher::Bound(Kind::Plain, policy.environment.rule_beta),
            Self::Random => Searcher::Random,
            _ if self.by_network(policy) => Searcher::Network(policy.network.clone(), policy.caution),
            _ => Searcher::Rule,
        }
    }
}

/// The policy, with what it observed of its training tasks made into a prior over this space, if it is its own.
///
/// # Errors
/// Refuses observations of something else.
pub(crate) fn knowing<'p>(
    policy: &'p Policy,
    space: &Arc<SearchSpace>,
) -> Result<Cow<'p, Policy>, PolicySearchError> {
    if policy.prior.is_some() || policy.observed.is_empty() || policy.space != space.name() {
        return Ok(Cow::Borrowed(policy));
    }
    let own = |choices: &[u8]| space.whole().unwrap_or(space).is_valid(choices);
    let fits = |o: &Observed| o.choices.len() == o.values.len() * space.len();
    if !policy.observed.iter().all(|o| fits(o) && o.choices.chunks(space.len()).all(own)) {
        let (found, space) = (policy.observed[0].values.len(), space.name().into());
        return Err(PolicySearchError::OtherSpace { found, space });
    }
    let prior = Prior::of_observed(space, &policy.settings.plain, policy.observed.clone());
    Ok(Cow::Owned(Policy { prior: Some(prior), ..policy.clone() }))
}

/// The environment in which a policy searches a space for `budget` paid queries.
///
/// # Errors
/// Refuses a policy whose prior is not over this space, and a rule that knows nothing of it.
pub fn policy_environment(
    policy: &Policy,
    space: &Arc<SearchSpace>,
    budget: usize,
    acting: Acting,
) -> Result<Environment, PolicySearchError> {
    let (by_network, policy) = (acting.by_network(policy), &knowing(policy, space)?);
    if policy.space != space.name() && !by_network && matches!(acting, Acting::Exported | Acting::Rule) {
        return Err(PolicySearchError::NothingKnown {
            policy: policy.space.clone(),
            space: space.name().into(),
        });
    }
    let config = EnvironmentConfig {
        horizon: budget,
        // The rules are bounds of the posteriors, also where the policy was trained without them.
        posteriors: acting != Acting::Random && (policy.environment.posteriors || !by_network),
        candidates: if by_network { policy.environment.candidates } else { CandidateMode::Proposals },
        ..policy.environment.clone()
    };
    // A prior is about one space; elsewhere the plain posterior searches.
    let mut prior = None;
    if policy.space == space.name() && matches!(acting, Acting::Exported | Acting::Rule | Acting::Trained) {
        prior = policy.prior.clone();
        if let Some(learned) = policy.learned_prior.as_ref().filter(|_| prior.is_none()) {
            let (tasks, families) = (learned.tasks.clone(), learned.families.clone());
            let estimated = Prior::from_network(space, &learned.network, tasks, families)?;
            prior = Some(estimated.of_list(space.list_hash()));
        }
    }
    if let (Some(known), Some(whole)) = (&prior, space.whole())
        && known.is_tabulated()
        && known.is_over(whole)
    {
        prior = Some(known.within(whole, space));
    }
    if let Some(known) = prior.as_ref().filter(|known| known.is_tabulated())
        && !known.is_over(space)
    {
        let (found, space) = (known.encodings(), space.name().into());
        return Err(PolicySearchError::OtherSpace { found, space });
    }
    Ok(Environment::new(space.clone(), config, policy.settings, prior.map(Arc::new), Reach::Whole))
}
