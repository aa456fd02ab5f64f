//! The search methods, one file each.

mod alphax;
mod bananas;
mod baseline;
mod climb;
mod command;
mod controller;
mod density;
mod evolution;
mod gp;
mod halving;
mod linas;
mod local;
mod lstm;
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
mod reinforce;
mod renas;
mod ridge;
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
const LIMITED: &[&str] = SEVERAL;

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
            return Err(self.unfit(format!("knows no limits; within limits search {}", LIMITED.join(", "))));
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
            "policy" => trained::prepare(self, p)?,
            "cmd" => command::prepare(self, p)?,
            other => unreachable!("{other} is listed and not made"),
        };
        Ok(Prepared { start, past })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Durations,
        method::Whole,
        table::{Trace, search},
    };
    use srnas_space::{Choices, Condition, Conditional, Decision};
    use srnas_task::Count;
    use std::collections::HashSet;

    /// Every method that needs no file and no program.
    const OURS: [&str; 25] = [
        "random",
        "random-walk",
        "local",
        "local-full",
        "evolution:population=10,tournament=3",
        "reinforce",
        "nas-rl",
        "nasnet-ppo",
        "metaqnn",
        "blockqnn",
        "alphax",
        "renas:population=10",
        "ridge",
        "gp",
        "gp:acquisition=thompson,kernel=hamming",
        "gp:pool=climb",
        "gp:pool=100",
        "universal",
        "bananas:networks=2",
        "nsga2:population=10",
        "linas:population=10",
        "mobo",
        "mobo:acquisition=ehvi",
        "mobo:acquisition=chebyshev",
        "mobo:acquisition=thompson",
    ];

    /// Decisions of three choices; the last ones are inactive where the first has its first choice.
    fn space(decisions: usize) -> Arc<SearchSpace> {
        let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let condition = |d| Condition { decision: d, depends_on: 0, active_if: vec![1, 2] };
        let conditions = (decisions - 2..decisions).map(condition).collect();
        Arc::new(Conditional::space("made-up", (0..decisions).map(named).collect(), conditions).unwrap())
    }

    /// Good is a high choice, and equal choices next to each other.
    fn value(choices: &Choices) -> f32 {
        let high: f32 =
            choices.iter().zip([1.0, 0.8, 0.5].iter().cycle()).map(|(&c, w)| w * f32::from(c)).sum();
        let alike = choices.windows(2).filter(|w| w[0] == w[1]).count();
        high + 0.3 * alike as f32
    }

    fn begin(space: &Arc<SearchSpace>, budget: usize, seed: u64) -> Begin {
        Begin {
            space: space.clone(),
            count: Count::Strings,
            objectives: 1,
            limits: 0,
            budget,
            shorter: Arc::from([]),
            start: vec![0; space.len()],
            seed,
            start_seed: seed,
            whole: Whole::new(space, Count::Strings).map(Arc::new),
            past: Past::default(),
        }
    }

    fn run(text: &str, begin: &Begin) -> Trace {
        run_by(1, text, begin)
    }

    fn run_by(workers: usize, text: &str, begin: &Begin) -> Trace {
        let spec: MethodSpec = text.parse().unwrap();
        let priors = Priors::default();
        let preparation = Preparation {
            space: &begin.space,
            table: &begin.space,
            tasks: &[],
            objectives: begin.objectives,
            limits: 0,
            shorter: 0,
            budget: begin.budget,
            past: &[],
            known: &Past::default(),
            priors: &priors,
        };
        let mut method = (spec.prepare(&preparation).unwrap().start)(begin).unwrap();
        search(method.as_mut(), begin, workers, Durations::default(), |training| {
            Some(vec![value(&training.choices); begin.objectives])
        })
        .unwrap()
    }

    #[test]
    fn every_method_spends_its_budget_on_distinct_architectures_and_repeats_by_seed() {
        let small = begin(&space(5), 40, 7);
        for method in OURS {
            let trace = run(method, &small);
            assert_eq!(trace.len(), 40, "{method}");
            assert_eq!(trace[0].choices, small.start, "{method}");
            let keys: HashSet<u64> = trace.iter().map(|q| small.key(&q.choices)).collect();
            assert_eq!(keys.len(), 40, "{method}");
            assert_eq!(trace, run(method, &small), "{method}");
            // A Gaussian process that maximises its bound draws nothing at random.
            let same = trace == run(method, &begin(&space(5), 40, 8));
            assert_eq!(same, method == "gp", "{method}");
        }
    }

    #[test]
    fn every_method_searches_a_space_too_large_to_be_listed() {
        let large = begin(&space(30), 30, 3);
        assert!(large.whole.is_none());
        for method in OURS {
            for workers in [1, 3] {
                let trace = run_by(workers, method, &large);
                assert_eq!(trace.len(), 30, "{method}");
                assert!(trace.iter().all(|q| large.space.is_valid(&q.choices)), "{method}");
            }
        }
    }

    #[test]
    fn a_whole_space_is_searched_to_its_end() {
        let all = begin(&space(3), 27, 1);
        for method in [
            "random",
            "local",
            "local-full",
            "evolution:population=5,tournament=2",
            "ridge",
            "gp",
            "bananas:networks=1",
            "linas:population=5",
            "nas-rl",
            "nasnet-ppo",
            "metaqnn",
            "blockqnn",
            "alphax",
            "renas:population=5",
        ] {
            assert_eq!(run(method, &all).len(), 27, "{method}");
        }
    }

    #[test]
    fn a_space_with_one_choice_and_another_is_searched_to_its_end() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b"][..1 + d]);
        let tiny = Arc::new(Conditional::space("tiny", (0..2).map(decision).collect(), vec![]).unwrap());
        let tiny = begin(&tiny, 9, 1);
        for method in ["evolution", "nas-rl", "nasnet-ppo", "metaqnn", "blockqnn", "alphax", "renas"] {
            assert_eq!(run(method, &tiny).len(), 2, "{method}");
        }
    }

    #[test]
    fn methods_that_learn_find_more_than_random_search() {
        let small = space(6);
        let mean = |method: &str| {
            let best = |seed| {
                let values = run(method, &begin(&small, 40, seed)).into_iter().map(|q| q.values[0]);
                values.fold(f32::NEG_INFINITY, f32::max)
            };
            (0..10).map(best).sum::<f32>() / 10.0
        };
        let random = mean("random");
        for method in [
            "local",
            "ridge",
            "gp",
            "bananas:networks=3",
            "linas:population=10",
            "evolution:population=10",
            "nas-rl",
            "nasnet-ppo",
            "renas:population=10",
            "alphax",
        ] {
            let found = mean(method);
            assert!(found > random, "{method} {found} random {random}");
        }
    }

    #[test]
    fn an_order_of_the_choices_helps_where_there_is_one() {
        let sizes = ["1", "2", "4", "8", "16", "32", "64", "128"];
        let space = |ordered| {
            let decision = |d: usize| Decision {
                ordered,
                ..Decision::new(format!("d{d}"), &sizes.map(|s| s)[..8 - d % 2])
            };
            Arc::new(Conditional::space("sizes", (0..5).map(decision).collect(), vec![]).unwrap())
        };
        // A bowl with its bottom in the middle.
        let bowl = |choices: &Choices| -> f32 {
            -choices
                .iter()
                .zip([5.0, 2.0, 4.0, 3.0, 1.0])
                .map(|(&c, best)| (f32::from(c) - best).powi(2))
                .sum::<f32>()
        };
        let mean = |ordered| {
            let best = |seed| {
                let mut begin = begin(&space(ordered), 25, seed);
                begin.start = vec![(seed % 7) as u8; 5];
                let spec: MethodSpec = "universal".parse().unwrap();
                let priors = Priors::default();
                let p = Preparation {
                    space: &begin.space,
                    table: &begin.space,
                    tasks: &[],
                    objectives: 1,
                    limits: 0,
                    shorter: 0,
                    budget: 25,
                    past: &[],
                    known: &Past::default(),
                    priors: &priors,
                };
                let mut method = (spec.prepare(&p).unwrap().start)(&begin).unwrap();
                let trace = search(method.as_mut(), &begin, 1, Durations::default(), |training| {
                    Some(vec![bowl(&training.choices)])
                })
                .unwrap();
                trace.iter().map(|q| q.values[0]).fold(f32::NEG_INFINITY, f32::max)
            };
            (0..10).map(best).sum::<f32>() / 10.0
        };
        let (ordered, words) = (mean(true), mean(false));
        assert!(ordered > words + 1.0, "{ordered} with an order, {words} without");
    }

    #[test]
    fn the_past_is_known_but_not_of_the_task_itself_or_its_relatives() {
        let space = space(5);
        let task = |name: &str, family: &str| {
            let mut choices = vec![0; 5];
            let values = (0..243).map(|rank| {
                space.unrank(rank, &mut choices);
                value(&choices)
            });
            let values: Vec<f32> = values.collect();
            Arc::new(Task::new(name, family, space.clone(), values, Count::Strings).unwrap())
        };
        let (own, relative, other) = (task("b/d/x@1", "x"), task("b/d/x@2", "x"), task("b/d/y", "y"));
        let prepare = |text: &str, past: &[Arc<Task>]| {
            let spec: MethodSpec = text.parse().unwrap();
            let tasks = [Some(own.clone())];
            let priors = Priors::default();
            spec.prepare(&Preparation {
                space: &space,
                table: &space,
                tasks: &tasks,
                objectives: 1,
                limits: 0,
                shorter: 0,
                budget: 9,
                past,
                known: &Past::default(),
                priors: &priors,
            })
            .map(|p| p.past.of(0).unwrap().clone())
        };
        let known = |past: &[Arc<Task>]| prepare("transfer-gp", past).map(|p| p.tasks().to_vec());
        assert_eq!(known(&[own.clone(), relative.clone(), other.clone()]).unwrap(), ["b/d/y"]);
        assert_eq!(known(&[relative.clone(), other.clone()]).unwrap(), ["b/d/x@2", "b/d/y"]);
        assert!(
            known(&[own.clone(), relative.clone()]).unwrap_err().to_string().contains("needs past tasks")
        );
        // From few measurements the past is an estimate, near the truth and not it.
        let few = prepare("transfer-gp:n=60", std::slice::from_ref(&other)).unwrap();
        let whole = Prior::from_tables(&space, std::slice::from_ref(&other)).unwrap();
        let error: f32 =
            few.values().iter().zip(whole.values()).map(|(a, b)| (a - b).abs()).sum::<f32>() / 243.0;
        assert!(error > 1e-4 && error < 0.35, "{error}");
    }
}
