//! The environment: a *walk* goes from a random architecture, each step to one of a set of *candidates*, and is told what was
//! measured; an *episode* is a walk on a task whose values are known, up to a number of paid queries, with a reward. What actors
//! train on is what a search uses.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod candidates;
pub mod compress;
mod episode;
mod observation;
mod predictors;
mod reward;
pub mod synthetic;
mod walk;

pub use candidates::{Candidate, CandidateKind};
pub use episode::{Episode, Measurement, Outcome};
pub use observation::{
    BASE, CANDIDATE_FEATURES, CONTEXT_FEATURES, COST, Context, Feature, Layout, ShorterContext,
    ShorterFeature,
};
pub use reward::{Reward, shaped_quality};
pub use walk::Walk;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{WrongValue, require, within};
use srnas_predictor::{PosteriorSettings, Prior, WholeSpace};
use srnas_space::SearchSpace;
use srnas_task::Count;
use std::sync::Arc;

/// Which architectures a policy may move to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CandidateMode {
    /// Edits, the return to the incumbent, proposals of the predictor, one random architecture.
    #[default]
    Proposals,
    /// Edits and the return alone, as the published agent.
    Edits,
}

/// Lengths of shorter trainings that an episode looks at, the cheapest first.
pub const SHORTER_LEVELS: usize = 3;
/// Costs are added up many times.
pub const ROUNDING: f64 = 1e-6;
/// Candidates of each of them.
const SHORTER_CANDIDATES: usize = 4;
/// Shorter trainings that the rule makes before anything else, if the budget pays for them.
const FIRST_SHORTER: usize = 100;

/// Settings of the environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentConfig {
    /// Paid queries of an episode.
    pub horizon: usize,
    /// Which candidates there are.
    pub candidates: CandidateMode,
    /// Whether the two posteriors run. Without them there are no proposals and the observation has no predictions.
    pub posteriors: bool,
    /// At most so many edits are candidates: half of them those that the predictor ranks first, the rest random.
    pub max_edits: usize,
    /// Exploration weights β of the proposals: for each the best mean + β·deviation of both posteriors and their mixture.
    pub betas: Vec<f32>,
    /// β of the base rule.
    pub rule_beta: f32,
    /// Architectures among which a training episode looks for proposals; a space that has no more is looked at whole, as a search
    /// does. What is learned among few may not hold among many.
    pub pool: usize,
    /// What a step earns.
    pub reward: Reward,
    /// Shorter trainings that an episode takes in at each length, on tasks that have some: a candidate is then an architecture and
    /// how long to train it, and the horizon a cost in full trainings. 0: full trainings alone.
    pub shorter: usize,
    /// Trainings that are under way at the same time in an episode: a move is then chosen before what the others find is known. What
    /// began first ends first.
    pub slots: usize,
}

impl Default for EnvironmentConfig {
    fn default() -> Self {
        Self {
            horizon: 50,
            candidates: CandidateMode::Proposals,
            posteriors: true,
            max_edits: 24,
            betas: vec![1.0, 3.0, 5.0],
            rule_beta: 3.0,
            pool: 250,
            reward: Reward::Shaped,
            shorter: 0,
            slots: 1,
        }
    }
}

impl EnvironmentConfig {
    /// Checks the values.
    ///
    /// # Errors
    /// Names the first key that makes no sense.
    pub fn check(&self) -> Result<(), WrongValue> {
        within("environment.horizon", self.horizon, 2..=1_000)?;
        within("environment.max_edits", self.max_edits, 1..=512)?;
        let few = self.betas.len() <= 16 && self.betas.iter().all(|b| b.is_finite());
        require(few, "environment.betas", "must be at most 16 finite numbers")?;
        require(self.rule_beta.is_finite(), "environment.rule_beta", "must be finite")?;
        within("environment.pool", self.pool, 16..=65_536)?;
        within("environment.shorter", self.shorter, 0..=1_000)?;
        within("environment.slots", self.slots, 1..=64)?;
        let possible = self.shorter == 0 || self.posteriors && self.candidates == CandidateMode::Proposals;
        let reason = "needs environment.posteriors and environment.candidates = \"proposals\": without a posterior nothing says \
                      what a shorter training is worth";
        require(possible, "environment.shorter", reason)
    }

    /// What a policy sees in this environment.
    pub fn layout(&self) -> Layout {
        Layout::new(self.shorter > 0)
    }

    /// Most candidates that a step can have.
    pub fn max_candidates(&self) -> usize {
        let proposals = match self.candidates {
            CandidateMode::Proposals if self.posteriors => 3 * self.betas.len() + 1,
            CandidateMode::Proposals => 1,
            CandidateMode::Edits => 0,
        };
        // The rule's own bound moves with the evidence.
        let shorter = if self.shorter > 0 { 1 + SHORTER_LEVELS * SHORTER_CANDIDATES } else { 0 };
        self.max_edits + 1 + proposals + shorter
    }
}

/// Where an episode looks for proposals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A pool of [`EnvironmentConfig::pool`] architectures, or every one if there are no more: training.
    Pool,
    /// Every architecture, where the space is small enough to enumerate, else a pool: searching.
    Whole,
}

/// What every episode over one space shares.
#[derive(Debug)]
pub struct Environment {
    space: Arc<SearchSpace>,
    config: EnvironmentConfig,
    settings: PosteriorSettings,
    prior: Option<Arc<Prior>>,
    /// Present if episodes maximise over the whole space.
    whole: Option<Arc<WholeSpace>>,
    /// Keys by rank for [`Reach::Whole`].
    class_keys: Option<Arc<[u64]>>,
    /// Which ranks are valid, for [`Reach::Whole`] in a space where some are not.
    valid: Option<Arc<[bool]>>,
    /// The training tasks' best, interleaved over tasks: the pool takes the first of them.
    prior_best: Vec<(usize, Vec<u8>)>,
}

impl Environment {
    /// An environment over a space. Reach [`Reach::Whole`] falls back to a pool where the space is too large.
    pub fn new(
        space: Arc<SearchSpace>,
        config: EnvironmentConfig,
        settings: PosteriorSettings,
        prior: Option<Arc<Prior>>,
        reach: Reach,
    ) -> Self {
        let small = space.size().is_some_and(|size| size <= config.pool as u64);
        let whole = (config.posteriors && (small || reach == Reach::Whole))
            .then(|| WholeSpace::new(&space).ok().map(Arc::new))
            .flatten();
        let class_keys = whole.as_ref().map(|_| {
            let mut choices = vec![0; space.len()];
            (0..space.size().expect("enumerable"))
                .map(|rank| {
                    space.unrank(rank, &mut choices);
                    space.canonical_key(&choices)
                })
                .collect()
        });
        let valid = whole.as_ref().and_then(|_| {
            let mut choices = vec![0; space.len()];
            let of_rank = |rank| {
                space.unrank(rank, &mut choices);
                space.is_valid(&choices)
            };
            let valid: Vec<bool> = (0..space.size().expect("enumerable")).map(of_rank).collect();
            valid.contains(&false).then(|| valid.into())
        });
        let prior_best = prior.as_ref().map_or_else(Vec::new, |p| interleaved_best(&space, p, 8));
        Self { space, config, settings, prior, whole, class_keys, valid, prior_best }
    }

    /// The same environment with another prior, such as newer predictions of the network.
    pub fn with_prior(&self, settings: PosteriorSettings, prior: Option<Arc<Prior>>) -> Self {
        let prior_best = prior.as_ref().map_or_else(Vec::new, |p| interleaved_best(&self.space, p, 8));
        Self {
            space: self.space.clone(),
            config: self.config.clone(),
            settings,
            prior,
            whole: self.whole.clone(),
            class_keys: self.class_keys.clone(),
            valid: self.valid.clone(),
            prior_best,
        }
    }

    /// The space walked.
    pub fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    /// Settings.
    pub fn config(&self) -> &EnvironmentConfig {
        &self.config
    }

    /// Numbers of the posteriors.
    pub fn settings(&self) -> &PosteriorSettings {
        &self.settings
    }

    /// The prior of the training tasks, if there is one.
    pub fn prior(&self) -> Option<&Arc<Prior>> {
        self.prior.as_ref()
    }

    /// Whether the architecture of a rank is valid, where it comes from a whole space; what is drawn or edited is.
    fn is_valid(&self, rank: u64) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid[rank as usize])
    }

    /// Key of the architecture in a slot of a whole space.
    fn whole_key(&self, count: Count, rank: u64) -> u64 {
        match (count, &self.class_keys) {
            (Count::Classes, Some(keys)) => keys[rank as usize],
            _ => rank,
        }
    }
}

/// The `depth` best architectures of each task: first every task's best, then every task's second, …
fn interleaved_best(space: &SearchSpace, prior: &Prior, depth: usize) -> Vec<(usize, Vec<u8>)> {
    let best: Vec<Vec<Vec<u8>>> =
        (0..prior.tasks().len()).map(|task| prior.best(space, task, depth)).collect();
    let of_place =
        |k: usize| best.iter().enumerate().filter_map(move |(t, own)| Some((t, own.get(k)?.clone())));
    (0..depth).flat_map(of_place).collect()
}
