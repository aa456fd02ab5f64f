//! The search methods, one file each.

mod alphax;
mod bananas;
mod climb;
mod command;
mod controller;
mod density;
mod edits;
mod evolution;
mod gp;
mod halving;
mod linas;
mod local;
mod measured;
mod mlp;
mod mobo;
mod nsga2;
mod past;
mod policy_gradient;
mod pool;
mod portfolio;
mod prefixes;
mod q_learning;
mod random;
mod rc_nas;
mod reader;
mod reinforce;
mod renas;
mod ridge;
mod scaling;
mod screening;
mod surrogates;
mod trained;
mod transfer;

pub(crate) use gp::{Acquisition, FIRST, Gp, universal};
pub(crate) use past::{FAVOURITES, SLOPE_OF_PART, prior_of};
pub use past::{PastSearch, past_of};
pub(crate) use random::unmeasured;
pub use screening::HOPELESS;
pub(crate) use screening::{Rule, Screening, ScreeningSettings};
pub use surrogates::{random_surrogate, surrogates_of};
pub(crate) use trained::Trained;

use crate::method::{Begin, Method, MethodError, MethodSpec, Past, SpecError, Whole};
use srnas_environment::compress::Students;
use srnas_predictor::Prior;
use srnas_space::SearchSpace;
use srnas_task::Task;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// The methods: name, and what it is in one line.
pub const METHODS: &[(&str, &str)] = &[
    ("random", "a random architecture each time"),
    ("random-walk", "to a random neighbour each time"),
    ("local", "local search: first improvement, random restarts"),
    ("local-full", "local search: the best of all neighbours, random restarts"),
    ("evolution", "regularised evolution; population=100, tournament=10"),
    ("reinforce", "independent categoricals; rate=0.05, baseline=0.95"),
    (
        "nas-rl",
        "an LSTM controller by REINFORCE; layers=2, hidden=35, init=0.08, rate=budget|0.0006, entropy=0.0001, baseline=0.95, batch=1",
    ),
    (
        "nasnet-ppo",
        "an LSTM controller by clipped PPO; layers=1, hidden=100, init=0.1, rate=budget|0.00035, entropy=0.0001, baseline=0.95, batch=10, epochs=10, minibatch=5, clip=0.2",
    ),
    (
        "metaqnn",
        "tabular Q-learning, decision by decision, by all that was decided; rate=0.01, replay=100, initial=0.5",
    ),
    (
        "blockqnn",
        "tabular Q-learning by the code chosen last, of early-stopped trainings where there are shorter ones; rate=0.01, replay=64, initial=0.5, full=0.5 (share of full trainings)",
    ),
    (
        "alphax",
        "Monte Carlo tree search with a network that expects accuracies; c=0.5, rollouts=10, layers=2, width=64, every=10",
    ),
    (
        "renas",
        "evolution whose mutations a controller learns; population=20, tournament=5, hidden=35, init=0.08, rate=budget|0.00035, entropy=0.0001, baseline=0.95, reward=child|gain",
    ),
    (
        "eas",
        "edits of the best by a bidirectional LSTM: ordered decisions one step up, any number at once and then one; edits=2, first=0.25 (share of the budget that begins from the start), hidden=50, init=0.08, rate=0.002, entropy=0.00001, baseline=0.95, reward=share|percent|value",
    ),
    (
        "path-level",
        "edits of the best by a bidirectional LSTM: which decision without an order, and to what; edits=2, first=0.25, hidden=50, init=0.08, rate=0.002, entropy=0.00001, baseline=0.95, reward=value|share|percent",
    ),
    (
        "rc-nas",
        "compresses a wide residual network: an agent decides stage after stage by two LSTMs; policy=FILE (one that was trained, else from scratch), rate (as its run found best; from scratch 0.03), entropy=0.001, batch=5, lstm=32, hidden=64, reward=accuracy|compression",
    ),
    ("uniform-scaling", "a teacher's depths and widths scaled alike, the nearest to the budget first"),
    (
        "robust-wrn",
        "the published rule for robust networks: early stages keep depth and width, the last one loses them first",
    ),
    ("ridge", "greedy ridge regression on choices and their pairs; initial=20, batch=10, alpha=1"),
    (
        "gp",
        "Gaussian process, GP-UCB or Thompson sampling; acquisition=ucb|thompson, beta=3, kernel=counts|hamming, pool=0|climb|N (all of a space that can be listed, as in one that cannot, among N drawn)",
    ),
    (
        "universal",
        "GP-UCB as srnas search does it where it knows no past; beta=3, cut=1, first=4, pool=0|climb|N",
    ),
    (
        "transfer-gp",
        "transfer Bayesian optimisation: a Gaussian process that knows the past tasks; beta=3, slope=0.5|fixed, residual=0.06, smoothing=0.5, n=all|N, cut=1, untrained=0.6 (share of the kernel), first=2 (where nothing else is known), pool=0|climb|N",
    ),
    ("portfolio", "a greedy portfolio of the past tasks, then the transfer posterior; n=10, beta=3"),
    (
        "two-phase",
        "multi-fidelity Bayesian optimisation: short trainings first, then full ones by what they say; short=100, pace=none|3, beta=evidence|2, residual=evidence|1, slope=0.5, past=none|all, share=evidence|0.5",
    ),
    (
        "screen",
        "multi-fidelity screening, good at any time: a full training only after a short one; first=100, pace=3|none, beta=evidence|2, residual=evidence|1, slope=0.5, past=none|all, share=evidence|0.5",
    ),
    ("halving", "successive halving of shorter trainings, round after round"),
    ("hyperband", "successive halving, the rounds beginning at each level in turn"),
    ("asha", "asynchronous successive halving: never waits for other trainings"),
    ("bohb", "Hyperband with kernel densities of the good and the others; random=0.333"),
    (
        "bananas",
        "ensemble of networks, Thompson sampling, mutations of the best; networks=5, initial=10, batch=10",
    ),
    ("nsga2", "several objectives: NSGA-II; population=50"),
    ("linas", "several objectives: NSGA-II on predictors; population=50"),
    (
        "mobo",
        "several objectives: Bayesian optimisation with a Gaussian process for each, with past=all after what past tasks of the same metric say; acquisition=bound|ehvi|chebyshev|thompson, beta=3, cut=1, past=none|all",
    ),
    ("policy", "policy:FILE, a trained srnas policy; policy:FILE,by=exported|rule|trained|plain"),
    ("cmd", "cmd:PROGRAM, anybody's method, asked and told by JSON lines"),
];

/// Those that can search several objectives.
const SEVERAL: &[&str] = &["random", "random-walk", "nsga2", "linas", "mobo", "cmd"];
/// Those that can search within limits.
const LIMITED: &[&str] = &["random", "random-walk", "nsga2", "linas", "mobo", "rc-nas", "cmd"];

/// What a method that pays for shorter trainings says where there are none.
const NO_SHORTER: &str = "needs shorter trainings: a task that has some, such as nb201/cifar10/val (a benchmark that was imported by \
     an older version names none: import it again), or --fidelity where measurements are made";

/// What a method is prepared for: one problem, many seeds.
pub struct Preparation<'a> {
    /// The space.
    pub space: &'a Arc<SearchSpace>,
    /// Everything that the benchmark lists, of which the space may be a part; the space itself where there is no list.
    pub table: &'a Arc<SearchSpace>,
    /// The objectives that are searched and the metrics of the limits, where they are on a table; none for a limit that is the other
    /// way round than its metric is searched.
    pub tasks: &'a [Option<Arc<Task>>],
    /// Number of objectives.
    pub objectives: usize,
    /// Number of limits.
    pub limits: usize,
    /// Number of shorter trainings.
    pub shorter: usize,
    /// Full trainings at most.
    pub budget: usize,
    /// Past tasks on the same space, for methods that learn from them.
    pub past: &'a [Arc<Task>],
    /// What is known of earlier tasks where they are no tables.
    pub known: &'a Past,
    /// What a teacher may become, where that was said.
    pub students: Option<&'a Students>,
    /// Priors that other problems of the comparison made already.
    pub priors: &'a Priors,
}

/// Priors by the method and the past tasks that they are made of: they cost seconds, and problems share them.
pub type Priors = Mutex<BTreeMap<String, Arc<Prior>>>;

/// Begins searches of one problem.
pub type Starter = Box<dyn Fn(&Begin) -> Result<Box<dyn Method>, MethodError> + Send + Sync>;

/// A method that is ready for a problem.
pub struct Prepared {
    /// Begins a search.
    pub start: Starter,
    /// What its searches know of past tasks.
    pub past: Past,
}

impl MethodSpec {
    /// Reads the options and makes everything that the seeds share.
    ///
    /// # Errors
    /// Refuses unknown options and values, and problems that the method is not for.
    pub(crate) fn prepare(&self, p: &Preparation) -> Result<Prepared, SpecError> {
        if p.objectives > 1 && !SEVERAL.contains(&self.name()) {
            return Err(
                self.unfit(format!("searches one objective; for several there are {}", SEVERAL.join(", ")))
            );
        }
        if p.limits > 0 && !LIMITED.contains(&self.name()) {
            return Err(self.unfit(format!("knows no limits; within limits search {}. A limit on what is known without training is --within, for every method", LIMITED.join(", "))));
        }
        let mut past = Past::default();
        let start = match self.name() {
            "random" => random::prepare(self)?,
            "random-walk" => random::prepare_walk(self)?,
            "local" => local::prepare(self, local::Improvement::First)?,
            "local-full" => local::prepare(self, local::Improvement::Best)?,
            "evolution" => evolution::prepare(self)?,
            "reinforce" => reinforce::prepare(self)?,
            "nas-rl" => policy_gradient::prepare(self, policy_gradient::Gradient::Reinforce)?,
            "nasnet-ppo" => policy_gradient::prepare(self, policy_gradient::Gradient::Ppo)?,
            "metaqnn" => q_learning::prepare(self, p, q_learning::Learner::MetaQnn)?,
            "blockqnn" => q_learning::prepare(self, p, q_learning::Learner::BlockQnn)?,
            "alphax" => alphax::prepare(self)?,
            "renas" => renas::prepare(self)?,
            "eas" => edits::prepare(self, edits::Edits::Growth)?,
            "path-level" => edits::prepare(self, edits::Edits::Paths)?,
            "ridge" => ridge::prepare(self)?,
            "gp" => gp::prepare(self)?,
            "universal" => gp::prepare_universal(self)?,
            "transfer-gp" => {
                let (start, known) = transfer::prepare(self, p)?;
                past = known;
                start
            }
            "portfolio" => {
                let (start, prior) = portfolio::prepare(self, p)?;
                past = Past::one(Some(prior));
                start
            }
            "two-phase" | "screen" => {
                let rule = match self.name() {
                    "screen" => screening::Rule::ScreenFirst,
                    _ => screening::Rule::TwoPhase,
                };
                let (start, prior) = screening::prepare(self, p, rule)?;
                past = Past::one(prior);
                start
            }
            "halving" => halving::prepare(self, p, halving::Bandit::SuccessiveHalving)?,
            "hyperband" => halving::prepare(self, p, halving::Bandit::Hyperband)?,
            "asha" => halving::prepare(self, p, halving::Bandit::Asha)?,
            "bohb" => halving::prepare(self, p, halving::Bandit::Bohb)?,
            "bananas" => bananas::prepare(self)?,
            "nsga2" => nsga2::prepare(self)?,
            "linas" => linas::prepare(self)?,
            "mobo" => {
                let (start, known) = mobo::prepare(self, p)?;
                past = known;
                start
            }
            "rc-nas" => rc_nas::prepare(self, p)?,
            "uniform-scaling" => scaling::prepare(self, p, scaling::Rule::Uniform)?,
            "robust-wrn" => scaling::prepare(self, p, scaling::Rule::RobustWrn)?,
            "policy" => trained::prepare(self, p)?,
            "cmd" => command::prepare(self, p)?,
            other => unreachable!("{other} is listed and not made"),
        };
        Ok(Prepared { start, past })
    }
}

#[cfg(test)]
pub(crate) mod tests;
