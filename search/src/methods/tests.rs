//! What holds of every method: its budget, its seeds, small spaces and large ones.

use super::*;
use crate::{
    clock::Durations,
    method::Whole,
    table::{Trace, search},
};
use srnas_space::{Choices, Condition, Conditional, Decision};
use srnas_task::Count;
use std::collections::HashSet;

/// A method that needs no file and no program, and whether it can have several trainings under way.
type Ours = (&'static str, bool);

/// All that need no shorter trainings.
pub const OURS: [Ours; 27] = [
    ("random", true),
    ("random-walk", false),
    ("local", false),
    ("local-full", false),
    ("evolution:population=10,tournament=3", true),
    ("reinforce", false),
    ("nas-rl", true),
    ("nasnet-ppo", true),
    ("metaqnn", true),
    ("blockqnn", true),
    ("alphax", true),
    ("renas:population=10", true),
    ("eas", true),
    ("path-level", true),
    ("ridge", false),
    ("gp", true),
    ("gp:acquisition=thompson,kernel=hamming", true),
    ("gp:pool=climb", true),
    ("gp:pool=100", true),
    ("universal", true),
    ("bananas:networks=2", false),
    ("nsga2:population=10", false),
    ("linas:population=10", false),
    ("mobo", true),
    ("mobo:acquisition=ehvi", true),
    ("mobo:acquisition=chebyshev", true),
    ("mobo:acquisition=thompson", true),
];

/// Bandits over shorter trainings.
pub const BANDITS: [&str; 4] = ["halving", "hyperband", "bohb", "asha"];

/// All of them that can have several trainings under way, where there are shorter ones.
pub fn concurrent() -> impl Iterator<Item = &'static str> {
    let ours = OURS.into_iter().filter_map(|(method, concurrent)| concurrent.then_some(method));
    ours.chain(BANDITS).chain(["two-phase", "screen"])
}

/// Decisions of three choices; the last ones are inactive where the first has its first choice.
fn space(decisions: usize) -> Arc<SearchSpace> {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let condition = |d| Condition { decision: d, depends_on: 0, active_if: vec![1, 2] };
    let conditions = (decisions - 2..decisions).map(condition).collect();
    Arc::new(Conditional::space("made-up", (0..decisions).map(named).collect(), conditions).unwrap())
}

/// Good is a high choice, and equal choices next to each other.
fn value(choices: &Choices) -> f32 {
    let high: f32 = choices.iter().zip([1.0, 0.8, 0.5].iter().cycle()).map(|(&c, w)| w * f32::from(c)).sum();
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
        students: None,
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
    for (method, _) in OURS {
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
    for (method, _) in OURS {
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
        "eas",
        "path-level",
    ] {
        assert_eq!(run(method, &all).len(), 27, "{method}");
    }
}

#[test]
fn a_space_with_one_choice_and_another_is_searched_to_its_end() {
    let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b"][..1 + d]);
    let tiny = Arc::new(Conditional::space("tiny", (0..2).map(decision).collect(), vec![]).unwrap());
    let tiny = begin(&tiny, 9, 1);
    for method in
        ["evolution", "nas-rl", "nasnet-ppo", "metaqnn", "blockqnn", "alphax", "renas", "eas", "path-level"]
    {
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
        let decision =
            |d: usize| Decision { ordered, ..Decision::new(format!("d{d}"), &sizes.map(|s| s)[..8 - d % 2]) };
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
                students: None,
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
            students: None,
            priors: &priors,
        })
        .map(|p| p.past.of(0).unwrap().clone())
    };
    let known = |past: &[Arc<Task>]| prepare("transfer-gp", past).map(|p| p.tasks().to_vec());
    assert_eq!(known(&[own.clone(), relative.clone(), other.clone()]).unwrap(), ["b/d/y"]);
    assert_eq!(known(&[relative.clone(), other.clone()]).unwrap(), ["b/d/x@2", "b/d/y"]);
    assert!(known(&[own.clone(), relative.clone()]).unwrap_err().to_string().contains("needs past tasks"));
    // From few measurements the past is an estimate, near the truth and not it.
    let few = prepare("transfer-gp:n=60", std::slice::from_ref(&other)).unwrap();
    let whole = Prior::from_tables(&space, std::slice::from_ref(&other)).unwrap();
    let error: f32 = few.values().iter().zip(whole.values()).map(|(a, b)| (a - b).abs()).sum::<f32>() / 243.0;
    assert!(error > 1e-4 && error < 0.35, "{error}");
}
