//! `[compress]`: an agent that compresses networks, trained in place of the Q-network.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use srnas_basics::check::{WrongValue, positive, require, share, within};
use srnas_environment::compress::{Earns, STAGE_FEATURES, WHOLE_FEATURES, choices_of_heads};
use srnas_space::{SearchSpace, wrn::WideResNet};

/// The agent of RC-NAS (arXiv 2406.06792), and what it is trained on: tasks are attacks, and an episode compresses a teacher within a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CompressConfig {
    /// Whether it is trained, in place of the Q-network.
    pub train: bool,
    /// What a network costs: a metric of the tasks' benchmark that needs no training, as `cost/multiply_adds`.
    pub cost: String,
    /// Budgets, each a share of the teacher's cost.
    pub budgets: Vec<f32>,
    /// Teachers, as the space writes its architectures. None: every network of two blocks and twice the width or more in each stage, but
    /// those that are held out.
    pub teachers: Vec<String>,
    /// Teachers that are never trained on.
    pub held_out: Vec<String>,
    /// Students of an episode.
    pub students: usize,
    /// What a student earns.
    pub reward: Earns,
    /// Width of each LSTM.
    pub lstm: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Episodes of an update.
    pub batch: usize,
    /// Learning rate at the start; it falls as `learning.final_learning_rate` says.
    pub learning_rate: f64,
    /// Weight of the entropy.
    pub entropy: f32,
    /// Evaluations of each search of the check.
    pub check: usize,
    /// Learning rates at which searches fine-tune it: the check at the end keeps the best.
    pub fine_tuning: Vec<f32>,
}

impl Default for CompressConfig {
    fn default() -> Self {
        Self {
            train: false,
            cost: "cost/multiply_adds".into(),
            budgets: vec![0.25, 0.5, 1.0, 1.5],
            teachers: Vec::new(),
            held_out: Vec::new(),
            students: 16,
            reward: Earns::default(),
            lstm: 32,
            hidden: 64,
            batch: 32,
            learning_rate: 1e-3,
            entropy: 0.3,
            check: 25,
            fine_tuning: vec![3e-4, 1e-3, 3e-3],
        }
    }
}

impl CompressConfig {
    /// Checks the values.
    pub(super) fn check(&self) -> Result<(), WrongValue> {
        let budgets = !self.budgets.is_empty() && self.budgets.iter().all(|b| *b > 0.0 && *b <= 10.0);
        let reason = "must be shares of the teacher's cost, above 0 and at most 10: 0.5 is half of it";
        require(budgets, "compress.budgets", reason)?;
        require(
            self.cost.contains('/'),
            "compress.cost",
            "must be a data set and a metric, as cost/multiply_adds",
        )?;
        within("compress.students", self.students, 2..=64)?;
        within("compress.lstm", self.lstm, 1..=1024)?;
        within("compress.hidden", self.hidden, 1..=1024)?;
        within("compress.batch", self.batch, 1..=4096)?;
        positive("compress.learning_rate", self.learning_rate)?;
        let rates = !self.fine_tuning.is_empty() && self.fine_tuning.iter().all(|r| (0.0..=1.0).contains(r));
        require(rates, "compress.fine_tuning", "must be one or more learning rates from 0 to 1")?;
        within("compress.check", self.check, 1..=1000)?;
        share("compress.entropy", self.entropy.into())
    }

    /// Features of a candidate on the wire: which choice of its head it is.
    pub const CANDIDATE_FEATURES: usize = 1;
    /// Features of a context on the wire: what is seen of the network, and then the head.
    pub const CONTEXT_FEATURES: usize = WideResNet::STAGES * STAGE_FEATURES + WHOLE_FEATURES + 1;

    /// Steps of an episode.
    pub fn steps(&self) -> usize {
        self.students * WideResNet::STAGES
    }

    /// Most candidates of a step; 0 in a space that has no stages.
    pub fn max_candidates(space: &SearchSpace) -> usize {
        choices_of_heads(space).and_then(|heads| heads.into_iter().max()).unwrap_or(0)
    }
}
