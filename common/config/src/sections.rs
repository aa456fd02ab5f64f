//! The sections of a configuration and their defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{
    WrongValue, at_least_one, duration, not_negative, positive, require, share, within,
};
use srnas_environment::{BASE, Layout};
use srnas_network::{IdentityConfig, QNetworkConfig};
use srnas_predictor::PosteriorSettings;
use srnas_space::SearchSpace;
use srnas_task::Count;

/// Where the transfer posterior's prior comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PriorSource {
    /// The whole tables of the training tasks; in a space that is too large for them, some measurements of each.
    #[default]
    Table,
    /// The predictor network, trained on the measurements that arrive.
    Network,
    /// No past: the plain posterior alone.
    None,
}

/// What is trained on. Entries are names of task sets or of tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TasksConfig {
    /// What counts as one architecture.
    pub count: Count,
    /// Training tasks. Where what is held out is on another benchmark, decisions and choices are matched by their names.
    pub train: Vec<String>,
    /// Tasks that the run never sees; named here for `srnas search --task-set`.
    pub held_out: Vec<String>,
}

/// Numbers of the posteriors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PosteriorConfig {
    /// Whether they are fitted by evidence on the training tasks, families left out in turn.
    pub fit: bool,
    /// Where the fit starts, or what is used as it is.
    pub settings: PosteriorSettings,
}

impl Default for PosteriorConfig {
    fn default() -> Self {
        Self { fit: true, settings: PosteriorSettings::default() }
    }
}

impl PosteriorConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        self.settings.check()
    }
}

/// The Q-network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Layers of attention between candidates.
    pub layers: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Embeddings of (decision, choice): an agent of one space, as published.
    pub identity: bool,
    /// Weight of the base rule's score in the advantages; 0 leaves everything to learning.
    pub base_scale: f32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { width: 64, layers: 0, heads: 4, identity: false, base_scale: 0.5 }
    }
}

impl NetworkConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        within("network.width", self.width, 4..=1024)?;
        within("network.layers", self.layers, 0..=16)?;
        let divides = self.heads >= 1 && self.width.is_multiple_of(self.heads);
        require(divides, "network.heads", &format!("must divide network.width, which is {}", self.width))?;
        not_negative("network.base_scale", self.base_scale.into())
    }

    /// The network's shape for a space and what is seen of it.
    pub fn shape(&self, space: &SearchSpace, layout: Layout) -> QNetworkConfig {
        QNetworkConfig {
            width: self.width,
            layers: self.layers,
            heads: self.heads,
            identity: self.identity.then(|| IdentityConfig {
                decisions: space.len(),
                choices: (0..space.len()).map(|d| space.arity(d) as usize).max().unwrap_or(1),
            }),
            base_feature: (self.base_scale > 0.0).then_some(BASE),
            base_scale: self.base_scale,
            ..QNetworkConfig::new(layout.candidate_features(), layout.context_features())
        }
    }
}

/// How the end of an episode counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeLimit {
    /// Nothing is earned after the horizon; the budget is in the observation.
    #[default]
    Terminal,
    /// Partial-episode bootstrapping (arXiv 1712.00378): as if the episode went on.
    Bootstrap,
}

/// Q-learning (Ape-X, arXiv 1803.00933).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LearningConfig {
    /// Transitions of a step.
    pub batch: usize,
    /// Transitions that replay holds.
    pub replay: usize,
    /// Transitions before the first step.
    pub warm_up: usize,
    /// Discount.
    pub gamma: f32,
    /// Steps whose rewards are summed before bootstrapping.
    pub n_step: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Share of it at the end.
    pub final_learning_rate: f64,
    /// Global norm to which gradients are clipped.
    pub clip: f64,
    /// Where the Huber loss turns linear.
    pub huber: f64,
    /// Updates between copies to the target network.
    pub target_copy: u64,
    /// Rate of the averaged weights that act and are exported.
    pub average: f32,
    /// Exponent of the priorities.
    pub alpha: f64,
    /// Exponent of the importance weights at the start; 1 at the end.
    pub beta: f64,
    /// How the end of an episode counts.
    pub time_limit: TimeLimit,
    /// Updates between broadcasts of the policy.
    pub broadcast: u64,
    /// Threads of a step.
    pub threads: usize,
    /// How often each transition that comes in is drawn on average, at least and at most. Below the first the learner
    /// takes nothing more in and the actors wait; above the second it waits for the actors.
    pub samples_per_insert: [f64; 2],
}

impl Default for LearningConfig {
    fn default() -> Self {
        Self {
            batch: 512,
            replay: 200_000,
            warm_up: 5_000,
            gamma: 0.96,
            n_step: 3,
            learning_rate: 5e-4,
            final_learning_rate: 0.05,
            clip: 10.0,
            huber: 1.0,
            target_copy: 400,
            average: 0.0025,
            alpha: 0.6,
            beta: 0.4,
            time_limit: TimeLimit::Terminal,
            broadcast: 50,
            threads: 1,
            samples_per_insert: [0.1, 32.0],
        }
    }
}

impl LearningConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        within("learning.batch", self.batch, 1..=65_536)?;
        let whole = (self.batch..=100_000_000).contains(&self.replay);
        let reason = format!("must be from learning.batch, which is {}, to 100000000", self.batch);
        require(whole, "learning.replay", &reason)?;
        let (least, most) = (self.batch, self.replay);
        let reason = format!("must be from learning.batch to learning.replay, which are {least} and {most}");
        require((least..=most).contains(&self.warm_up), "learning.warm_up", &reason)?;
        require((0.0..1.0).contains(&self.gamma), "learning.gamma", "must be from 0 to below 1")?;
        within("learning.n_step", self.n_step, 1..=64)?;
        positive("learning.learning_rate", self.learning_rate)?;
        share("learning.final_learning_rate", self.final_learning_rate)?;
        positive("learning.clip", self.clip)?;
        positive("learning.huber", self.huber)?;
        at_least_one("learning.target_copy", self.target_copy)?;
        share("learning.average", self.average.into())?;
        not_negative("learning.alpha", self.alpha)?;
        share("learning.beta", self.beta)?;
        at_least_one("learning.broadcast", self.broadcast)?;
        within("learning.threads", self.threads, 1..=64)?;
        let [least, most] = self.samples_per_insert;
        let reason = "must be two numbers of 0 or more, the second above twice the first";
        require(least >= 0.0 && most.is_finite() && most > 2.0 * least, "learning.samples_per_insert", reason)
    }
}

/// Training of the predictor network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PredictorTraining {
    /// Width of the trunk.
    pub width: usize,
    /// Layers of the trunk.
    pub layers: usize,
    /// Measurements of a step.
    pub batch: usize,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Updates of the Q-network for one of the predictor.
    pub every: u64,
    /// Steps between broadcasts of the predictor.
    pub broadcast: u64,
}

impl Default for PredictorTraining {
    fn default() -> Self {
        Self { width: 128, layers: 2, batch: 1024, learning_rate: 2e-3, every: 1, broadcast: 1_000 }
    }
}

impl PredictorTraining {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        within("predictor.width", self.width, 4..=1024)?;
        within("predictor.layers", self.layers, 1..=16)?;
        within("predictor.batch", self.batch, 1..=65_536)?;
        positive("predictor.learning_rate", self.learning_rate)?;
        at_least_one("predictor.every", self.every)?;
        at_least_one("predictor.broadcast", self.broadcast)
    }
}

/// Acting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ActingConfig {
    /// Episodes that an actor walks at the same time.
    pub episodes: usize,
    /// ε of the most careful episode: ε_i = base^(1 + spread·i/(N−1)).
    pub epsilon: f64,
    /// See `epsilon`.
    pub epsilon_spread: f64,
    /// Least ε.
    pub epsilon_floor: f64,
    /// Share of the episodes that walk synthetic tasks. Over a table of more than 65,536 architectures none can be drawn, and all of
    /// these walk made-up spaces.
    pub synthetic: f64,
    /// Share of the synthetic episodes that walk a made-up space.
    pub made_up_spaces: f64,
    /// Episodes that share a synthetic task before another is drawn.
    pub synthetic_reuse: usize,
    /// Chance with which a training task other than the episode's relatives is left out of the prior.
    pub prior_dropout: f64,
    /// Policy improvement by rollouts: of so many states of each walk of the base rule it is told what another candidate is worth, if the
    /// rule is followed afterwards. 0: episodes are walked by the policy.
    pub rollouts: usize,
    /// Walks with rollouts follow what was learned, from the first check on that found it better than the rule: policy iteration, each
    /// check begins a round. What is told is the advantage over the rule's choice still.
    pub improve: bool,
    /// Steps of a segment on the wire.
    pub segment: usize,
    /// Segments of a batch on the wire.
    pub segments_per_batch: usize,
}

impl Default for ActingConfig {
    fn default() -> Self {
        Self {
            episodes: 96,
            epsilon: 0.4,
            epsilon_spread: 7.0,
            epsilon_floor: 0.02,
            synthetic: 0.2,
            made_up_spaces: 0.25,
            synthetic_reuse: 8,
            prior_dropout: 0.3,
            rollouts: 0,
            improve: false,
            segment: 16,
            segments_per_batch: 8,
        }
    }
}

impl ActingConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        within("acting.episodes", self.episodes, 1..=4096)?;
        share("acting.epsilon", self.epsilon)?;
        not_negative("acting.epsilon_spread", self.epsilon_spread)?;
        share("acting.epsilon_floor", self.epsilon_floor)?;
        share("acting.synthetic", self.synthetic)?;
        share("acting.made_up_spaces", self.made_up_spaces)?;
        at_least_one("acting.synthetic_reuse", self.synthetic_reuse as u64)?;
        share("acting.prior_dropout", self.prior_dropout)?;
        within("acting.rollouts", self.rollouts, 0..=1024)?;
        within("acting.segment", self.segment, 1..=1024)?;
        within("acting.segments_per_batch", self.segments_per_batch, 1..=256)
    }

    /// ε of the episode at place `i` of all `n` episodes of a run.
    pub fn epsilon_of(&self, i: usize, n: usize) -> f64 {
        let share = if n > 1 { i.min(n - 1) as f64 / (n - 1) as f64 } else { 0.5 };
        self.epsilon.powf(1.0 + self.epsilon_spread * share).max(self.epsilon_floor)
    }
}

/// The check that the trained part has earned its export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Families of training tasks that are kept out of the learning and of the prior; each counts once in the check's interval, so
    /// two or three earn an export by a large gain alone.
    pub families: Vec<String>,
    /// Minutes between checks.
    pub minutes: f64,
    /// Updates between checks of a deterministic run.
    pub updates: u64,
    /// Starts per task.
    pub starts: usize,
    /// Costs in full trainings after which regrets are reported and the gain is measured, as far as the horizon goes.
    pub points: Vec<usize>,
    /// Margins that are tried: by how much a candidate's value must be above that of the rule's choice to be chosen.
    pub margins: Vec<f32>,
    /// Costs in full trainings until which the trained part alone may deviate, each tried besides to the end: then the rule chooses.
    pub until: Vec<u32>,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self {
            families: Vec::new(),
            minutes: 3.0,
            updates: 5_000,
            starts: 12,
            points: vec![5, 10, 25, 50],
            margins: vec![0.0, 0.03, 0.1],
            until: vec![5],
        }
    }
}

impl ValidationConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        duration("validation.minutes", self.minutes)?;
        at_least_one("validation.updates", self.updates)?;
        at_least_one("validation.starts", self.starts as u64)?;
        let rising = self.points.windows(2).all(|pair| pair[0] < pair[1]);
        let fine = rising && self.points.first().is_some_and(|&first| first > 0);
        require(fine, "validation.points", "must be one or more rising whole numbers from 1 on")?;
        let fine = !self.margins.is_empty() && self.margins.iter().all(|m| m.is_finite() && *m >= 0.0);
        require(fine, "validation.margins", "must be one or more numbers of 0 or more")?;
        let fine = self.until.iter().all(|&until| until > 1);
        require(fine, "validation.until", "must be whole numbers from 2 on; the start is paid already")
    }
}

/// The comparison of what a run exported with other methods on its held-out tasks, at the end of `srnas run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComparisonConfig {
    /// Methods to compare with, as `srnas compare` names them.
    pub methods: Vec<String>,
    /// Paid queries after which is reported.
    pub budgets: Vec<usize>,
    /// Searches of each method on each held-out task; 0 leaves the comparison out.
    pub seeds: usize,
    /// Methods that are compared with the current policy while it trains, as `srnas compare` names them.
    pub baselines: Vec<String>,
    /// Starts on each held-out task of that comparison.
    pub starts: usize,
    /// Share of the machine's cores that it may use.
    pub share: f64,
}

impl Default for ComparisonConfig {
    fn default() -> Self {
        let methods = ["random", "local", "evolution:population=10,tournament=3"];
        Self {
            methods: methods.map(String::from).into(),
            budgets: vec![10, 25, 50],
            seeds: 20,
            baselines: Vec::new(),
            starts: 4,
            share: 0.25,
        }
    }
}

impl ComparisonConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let fine = !self.budgets.is_empty() && self.budgets.iter().all(|&b| (1..=100_000).contains(&b));
        require(fine, "comparison.budgets", "must be one or more whole numbers from 1 to 100000")?;
        within("comparison.seeds", self.seeds, 0..=100_000)?;
        within("comparison.starts", self.starts, 1..=1000)?;
        within("comparison.share", self.share, 0.01..=1.0)
    }
}
