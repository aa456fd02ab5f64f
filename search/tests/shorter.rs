//! Searches that may pay for shorter trainings.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use srnas_search::{Comparison, MethodSpec, Outcome, Plan, Problem, random_surrogate, report};
use srnas_space::SearchSpace;
use srnas_task::{Count, Shorter, Task};
use std::{collections::BTreeMap, sync::Arc};
use tokio_util::sync::CancellationToken;

/// A shorter training costs 1/16 of a full one.
const COST: f64 = 1.0 / 16.0;

#[derive(Clone, Copy, PartialEq)]
enum Says {
    /// A warped and noisy relative of what the full training says.
    Much,
    /// The same values of other architectures.
    Nothing,
}

fn problem(seed: u64, says: Says) -> Problem {
    let space = SearchSpace::named("nb201").unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let full = random_surrogate(&space, &mut rng).unwrap();
    let mut short: Vec<f32> = full.clone();
    let spread = {
        let mean = full.iter().sum::<f32>() / full.len() as f32;
        (full.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / full.len() as f32).sqrt()
    };
    match says {
        Says::Much => short.iter_mut().for_each(|v| {
            let noise: f32 = (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            *v = 3.0 + 0.5 * *v + 0.2 * spread * noise;
        }),
        Says::Nothing => short.shuffle(&mut rng),
    }
    let task = |name: &str, values: Vec<f32>| {
        Arc::new(Task::new(format!("b/d{seed}/{name}"), name, space.clone(), values, Count::Classes).unwrap())
    };
    let full = Task::clone(&task("val", full));
    let shorter = Shorter { task: task("val_12", short), cost: COST };
    let signal = Arc::new(full.with_shorter(vec![shorter]).unwrap());
    Problem::on(signal.name(), "", vec![signal.clone()])
}

fn compared(methods: &[&str], problems: Vec<Problem>, seeds: usize) -> (Vec<Vec<Outcome>>, Vec<Vec<f64>>) {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan {
        software: "test".into(),
        methods: methods.iter().map(|m| (*m).to_string()).collect(),
        problems: problems.iter().map(|p| vec![p.name.clone()]).collect(),
        limits: vec![],
        report: problems.iter().map(|p| p.name.clone()).collect(),
        count: Count::Classes,
        budgets: vec![10, 40],
        seeds,
        seed: 1,
        past: vec![],
        clock: Default::default(),
        content: BTreeMap::new(),
    };
    let specs: Vec<MethodSpec> = methods.iter().map(|m| m.parse().unwrap()).collect();
    let comparison = Comparison::new(plan, specs, problems, vec![], folder.path()).unwrap();
    let stop = CancellationToken::new();
    let outcomes = comparison.run(&stop, &|_| {}).unwrap();
    // What the journal keeps is what was searched.
    assert!(outcomes == comparison.run(&stop, &|_| {}).unwrap());
    let summary =
        report::write(folder.path(), comparison.plan(), comparison.problems(), &outcomes, 0).unwrap();
    let regrets = summary.overall.iter().map(|o| o.normalised_regret.values().map(|e| e.mean).collect());
    (outcomes, regrets.collect())
}

const ALL: [&str; 7] = ["two-phase", "screen", "halving", "hyperband", "asha", "bohb", "blockqnn"];

#[test]
fn every_method_pays_its_budget_and_nothing_twice() {
    let (outcomes, _) = compared(&ALL, vec![problem(1, Says::Much)], 2);
    for (outcome, method) in outcomes[0].iter().zip(ALL) {
        for trace in outcome {
            let trace = trace.as_ref().unwrap();
            let mut seen = std::collections::HashSet::new();
            assert!(trace.iter().all(|q| seen.insert((q.choices.clone(), q.fidelity))), "{method}");
            let short = trace.iter().filter(|q| !q.fidelity.is_full()).count();
            let full = trace.len() - short;
            let spent = full as f64 + COST * short as f64;
            let last = trace.last().unwrap().spent;
            assert!((spent - last).abs() < 1e-6 && (39.0..=40.0 + 1e-6).contains(&last), "{method}: {spent}");
            assert!(short > 20 && full > 8, "{method}: {short} short ones, {full} full ones");
            assert!(trace[0].fidelity.is_full(), "{method} begins where the others do");
        }
    }
}

#[test]
fn what_short_trainings_say_is_worth_far_more_than_it_costs() {
    let problems = (1..7).map(|seed| problem(seed, Says::Much)).collect();
    let (_, regrets) = compared(&["universal", "two-phase", "screen"], problems, 4);
    for (method, regret) in [("two-phase", &regrets[1]), ("screen", &regrets[2])] {
        assert!(regret[0] < 0.6 * regrets[0][0], "{method}: {regret:?} against {:?}", regrets[0]);
    }
}

#[test]
fn short_trainings_that_say_nothing_are_left_alone() {
    let problems = (1..7).map(|seed| problem(seed, Says::Nothing)).collect();
    let (outcomes, regrets) = compared(&["universal", "two-phase", "screen"], problems, 6);
    for (method, regret) in [("two-phase", &regrets[1]), ("screen", &regrets[2])] {
        assert!(regret[1] < 1.2 * regrets[0][1], "{method}: {regret:?} against {:?}", regrets[0]);
    }
    // Screening stops within a few full trainings, mostly.
    let of_screen = outcomes.iter().flat_map(|problem| &problem[2]).map(|trace| trace.as_ref().unwrap());
    let late: Vec<usize> = of_screen
        .map(|trace| trace.iter().filter(|q| !q.fidelity.is_full() && q.spent > 20.0).count())
        .collect();
    let none = late.iter().filter(|&&n| n == 0).count();
    assert!(3 * none > 2 * late.len(), "{late:?}");
}
