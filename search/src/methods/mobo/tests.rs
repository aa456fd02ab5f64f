use super::*;
use crate::{
    clock::Durations,
    method::Whole,
    methods::{Preparation, Priors},
    pareto::Front,
    table::{Trace, search},
};
use srnas_space::{Conditional, Decision};
use srnas_task::Count;
use std::sync::Arc;

const ALL: [&str; 4] =
    ["mobo", "mobo:acquisition=ehvi", "mobo:acquisition=chebyshev", "mobo:acquisition=thompson"];

fn begin(decisions: usize, objectives: usize, budget: usize, seed: u64) -> Begin {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let space = Arc::new(Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap());
    Begin {
        count: Count::Strings,
        objectives,
        limits: 0,
        budget,
        shorter: Arc::from([]),
        start: vec![(seed % 3) as u8; decisions],
        seed,
        start_seed: seed,
        whole: Whole::new(&space, Count::Strings).map(Arc::new),
        past: Past::default(),
        space,
    }
}

fn run(text: &str, begin: &Begin, workers: usize, values: impl Fn(&Choices) -> Vec<f32>) -> Trace {
    let priors = Priors::default();
    let preparation = Preparation {
        space: &begin.space,
        table: &begin.space,
        tasks: &[],
        objectives: begin.objectives,
        limits: begin.limits,
        shorter: 0,
        budget: begin.budget,
        past: &[],
        known: &Past::default(),
        students: None,
        priors: &priors,
    };
    let spec: MethodSpec = text.parse().unwrap();
    let mut method = (spec.prepare(&preparation).unwrap().start)(begin).unwrap();
    search(method.as_mut(), begin, workers, Durations::default(), |t| Some(values(&t.choices))).unwrap()
}

/// Much of everything is good and costs, and equal neighbours are good for nothing.
fn trade_off(choices: &Choices) -> Vec<f32> {
    let much: f32 = choices.iter().zip(1..).map(|(&c, i)| f32::from(c) / i as f32).sum();
    let alike = choices.windows(2).filter(|pair| pair[0] == pair[1]).count() as f32;
    let cost: f32 = choices.iter().map(|&c| f32::from(c).powi(2)).sum();
    vec![much.sqrt() + 0.2 * alike, -cost - 0.5 * alike]
}

#[test]
fn it_finds_more_of_the_front_than_random_search() {
    let whole = begin(6, 2, 30, 0).whole.unwrap();
    let front = Front::new(&whole.choices.chunks_exact(6).map(trade_off).collect::<Vec<_>>()).unwrap();
    let mean = |method: &str| {
        let found = |seed| {
            let trace = run(method, &begin(6, 2, 30, seed), 1, trade_off);
            front.hypervolume(&trace.into_iter().map(|query| query.values).collect::<Vec<_>>())
        };
        (0..6).map(found).sum::<f64>() / 6.0
    };
    let random = mean("random");
    for method in ALL {
        let found = mean(method);
        assert!(found > random, "{method} {found} random {random}");
    }
}

#[test]
fn within_limits_it_finds_the_best_that_keeps_them_sooner_than_random_search() {
    // Much is good, and not more than 7 may be spent, so that the best lies at the limit.
    let values = |choices: &Choices| {
        let told = trade_off(choices);
        vec![told[0], 7.0 + told[1]]
    };
    let best = |method: &str| {
        let found = |seed| {
            let begin = Begin { limits: 1, ..begin(6, 1, 25, seed) };
            let trace = run(method, &begin, 1, values);
            let kept = trace.into_iter().filter(|query| query.values[1] >= 0.0);
            kept.map(|query| query.values[0]).fold(0.0, f32::max)
        };
        (0..8).map(found).sum::<f32>() / 8.0
    };
    let random = best("random");
    for method in ALL {
        let found = best(method);
        assert!(found > random + 0.05, "{method} {found} random {random}");
    }
    // With two objectives what breaks a limit adds nothing; a limit that nothing keeps does not stop the search.
    for (limit, kept) in [(8.0, true), (-1.0, false)] {
        let values = |choices: &Choices| [trade_off(choices), vec![limit + trade_off(choices)[1]]].concat();
        let trace = run("mobo", &Begin { limits: 1, ..begin(6, 2, 25, 1) }, 2, values);
        assert_eq!(trace.len(), 25);
        let within = trace.iter().filter(|query| query.values[2] >= 0.0).count();
        assert!(if kept { within > 12 } else { within == 0 }, "{within} of 25 within");
    }
}

#[test]
fn a_past_of_the_same_metrics_helps_also_where_only_one_is_known_and_one_that_says_nothing_does_no_harm() {
    let whole = begin(6, 2, 20, 0).whole.unwrap();
    let all: Vec<Vec<f32>> = whole.choices.chunks_exact(6).map(trade_off).collect();
    let front = Front::new(&all).unwrap();
    // Another task: the same in other units and a little otherwise; and one that has nothing to do with it.
    let prior = |of: &dyn Fn(usize, &[f32]) -> f32| {
        let values = all.iter().enumerate().map(|(rank, values)| of(rank, values)).collect();
        let values = Prior::scaled(values, |_| true);
        Some(Arc::new(Prior::new(vec!["past".into()], vec!["past".into()], 729, values).unwrap()))
    };
    let noise = |rank: usize| (rank as f32 * 12.9898).sin();
    let first = prior(&|rank, values| 3.0 * values[0] + 0.3 * noise(rank));
    let second = prior(&|rank, values| 0.1 * values[1] + 0.1 * noise(rank));
    let unrelated = prior(&|rank, _| noise(rank));
    let mean = |past: Past| {
        let found = |seed| {
            let begin = Begin { past: past.clone(), ..begin(6, 2, 20, seed) };
            let trace = run("mobo", &begin, 1, trade_off);
            front.hypervolume(&trace.into_iter().map(|query| query.values).collect::<Vec<_>>())
        };
        (0..8).map(found).sum::<f64>() / 8.0
    };
    let without = mean(Past::default());
    let both = mean(Past::several(vec![first.clone(), second], Vec::new()));
    let one = mean(Past::several(vec![first, None], Vec::new()));
    let nothing = mean(Past::several(vec![unrelated, None], Vec::new()));
    assert!(both > without + 0.02 && one > without, "{both} {one} {without}");
    assert!(nothing > without - 0.03, "{nothing} {without}");
}

#[test]
fn with_one_objective_it_is_the_upper_bound() {
    let value = |choices: &Choices| vec![trade_off(choices)[0]];
    for seed in 0..3 {
        let begin = begin(5, 1, 25, seed);
        assert_eq!(run("mobo", &begin, 1, value), run("universal", &begin, 1, value));
    }
}

#[test]
fn constant_and_equal_values_many_objectives_large_spaces_and_workers_are_searched() {
    let constant = |_: &Choices| vec![1.0, 1.0];
    let half = |choices: &Choices| vec![1.0, f32::from(choices[0])];
    let twice = |choices: &Choices| vec![f32::from(choices[1]); 2];
    let many = |choices: &Choices| choices[..5].iter().map(|&c| f32::from(c)).collect();
    for method in ALL {
        for decisions in [5, 30] {
            for workers in [1, 4] {
                let length = |objectives, values: &dyn Fn(&Choices) -> Vec<f32>| {
                    let begin = begin(decisions, objectives, 20, 4);
                    let trace = run(method, &begin, workers, values);
                    assert_eq!(trace, run(method, &begin, workers, values), "{method} repeats");
                    let keys: HashSet<u64> = trace.iter().map(|q| begin.key(&q.choices)).collect();
                    keys.len()
                };
                assert_eq!(length(2, &constant), 20, "{method} {decisions} {workers}");
                assert_eq!(length(2, &half), 20, "{method} {decisions} {workers}");
                assert_eq!(length(2, &twice), 20, "{method} {decisions} {workers}");
                assert_eq!(length(5, &many), 20, "{method} {decisions} {workers}");
            }
        }
    }
    let all = begin(3, 2, 27, 1);
    assert_eq!(run("mobo", &all, 3, trade_off).len(), 27);
}
