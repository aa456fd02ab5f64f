//! Every method where measurements are made: it is killed and goes on, asks for nothing twice, and finds what there is.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_oracle::{
    costly::{Answer, CostlyError, CostlyOracle},
    training::{
        Counts,
        model::{Scale, Shape},
    },
};
use srnas_search::{
    Ends, Event, Goal, Guide, Inbox, Journal, LiveError, LivePart, LiveSearch, METHODS, Measured, MethodSpec,
    Objective, Past, PastSearch, Values, check_method, past_of, report::SearchReport,
};
use srnas_space::{Conditional, Decision, SearchSpace};
use srnas_task::{Fidelities, Training};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Accuracy and latency of a made-up network; a corner of the space has neither.
struct Toy {
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    asked: Mutex<Vec<Training>>,
}

fn toy(decisions: usize) -> Toy {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
    Toy { space: Arc::new(space), fidelities: Fidelities::FULL, asked: Mutex::default() }
}

fn metrics(choices: &[u8]) -> BTreeMap<String, f64> {
    let high: f64 =
        choices.iter().zip([1.0, 0.8, 0.5, 1.2].iter().cycle()).map(|(&c, w)| w * f64::from(c)).sum();
    let ms: f64 = choices.iter().map(|&c| f64::from(c * c)).sum();
    BTreeMap::from([("accuracy".into(), high), ("ms".into(), ms)])
}

fn is_feasible(choices: &[u8]) -> bool {
    choices[0] != 2 || choices[1] != 0
}

impl CostlyOracle for Toy {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        ("toy".into(), String::new())
    }

    fn metric_names(&self) -> Vec<String> {
        vec!["accuracy".into(), "ms".into()]
    }

    fn fidelities(&self) -> &Fidelities {
        &self.fidelities
    }

    fn measure(&self, training: &Training, _: &AtomicBool) -> Result<Answer, CostlyError> {
        self.asked.lock().unwrap().push(training.clone());
        if !is_feasible(&training.choices) {
            return Ok(Answer::Infeasible("it burnt".into()));
        }
        Ok(Answer::Metrics(metrics(&training.choices)))
    }
}

#[derive(Default)]
struct Kept(Vec<Measured>);

impl Journal for Kept {
    fn keep(&mut self, measured: &Measured, _: &Result<Values, String>) -> Result<(), String> {
        self.0.push(measured.clone());
        Ok(())
    }
}

fn accuracy() -> Goal {
    Goal::single("accuracy", false)
}

fn both(limits: &[&str]) -> Goal {
    let objective = |metric: &str, minimise| Objective { metric: metric.into(), minimise };
    let limits = limits.iter().map(|text| text.parse().unwrap()).collect();
    Goal::new(vec![objective("accuracy", false), objective("ms", true)], limits).unwrap()
}

fn search<'a>(oracle: &'a Toy, method: &str, goal: Goal, budget: usize, parallel: usize) -> LiveSearch<'a> {
    let method: MethodSpec = method.parse().unwrap();
    LiveSearch {
        oracle,
        goal,
        guide: Guide::default(),
        method: Some(method),
        students: None,
        past: Past::default(),
        budget,
        parallel,
        first: Vec::new(),
        added: Inbox::default(),
        sharing: None,
        ends: Ends::default(),
        seed: 3,
    }
}

/// Searches, is stopped on the way, goes on, and has asked for nothing twice.
fn stopped_and_resumed(
    oracle: &Toy,
    method: &str,
    goal: Goal,
    budget: usize,
    parallel: usize,
) -> Vec<Measured> {
    let search = search(oracle, method, goal, budget, parallel);
    is_stopped_and_resumed(oracle, &search)
}

fn is_stopped_and_resumed(oracle: &Toy, search: &LiveSearch) -> Vec<Measured> {
    let method = search.method.as_ref().map_or("its own", MethodSpec::as_str);
    let budget = search.budget;
    let (mut journal, stop) = (Kept::default(), AtomicBool::new(false));
    let after = |event: Event| {
        if matches!(event, Event::Ended { done, .. } if done == budget / 2) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let ended = search.run(vec![], &mut journal, &stop, &after);
    assert!(matches!(ended, Err(LiveError::Stopped { .. })), "{method}: {ended:?}");
    let known = journal.0.clone();
    let go = AtomicBool::new(false);
    let found = search.run(known, &mut journal, &go, &|_| ()).unwrap_or_else(|e| panic!("{method}: {e}"));
    let asked = oracle.asked.lock().unwrap();
    let distinct: HashSet<&Training> = asked.iter().collect();
    assert_eq!(
        (asked.len(), distinct.len()),
        (found.len(), found.len()),
        "{method} asked for something twice"
    );
    found
}

const OPTIONS: &[(&str, &str)] = &[
    ("evolution", ":population=10,tournament=3"),
    ("ridge", ":initial=8,batch=4"),
    ("bananas", ":networks=2,initial=8,batch=4"),
    ("renas", ":population=10"),
    ("nsga2", ":population=10"),
    ("linas", ":population=10"),
    ("two-phase", ":short=10"),
    ("screen", ":first=10"),
];

/// Those that a search which makes its measurements knows in another way, or that need a program.
const ELSEWHERE: &[&str] = &["policy", "transfer-gp", "portfolio", "cmd"];

/// Those that compress networks, in the space of which their stages are.
const COMPRESSING: &[&str] = &["rc-nas", "uniform-scaling", "robust-wrn"];

#[test]
fn every_method_is_stopped_and_goes_on_and_asks_for_nothing_twice() {
    for (name, _) in METHODS.iter().filter(|(name, _)| !ELSEWHERE.contains(name)) {
        let options = OPTIONS.iter().find(|(of, _)| of == name).map_or("", |(_, options)| options);
        let method = format!("{name}{options}");
        let short =
            matches!(*name, "two-phase" | "screen" | "halving" | "hyperband" | "asha" | "bohb" | "blockqnn");
        for parallel in [1, 3] {
            let mut oracle = toy(4);
            if COMPRESSING.contains(name) {
                oracle.space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
            }
            if short {
                oracle.fidelities = "epochs=1,4".parse().unwrap();
            }
            let found = stopped_and_resumed(&oracle, &method, accuracy(), 24, parallel);
            let spent: f64 = found.iter().map(|measured| measured.cost).sum();
            assert!(spent <= 24.0 + 1e-6 && spent > 22.9, "{method}: {spent}");
            assert_eq!(short, found.iter().any(|m| !m.training.fidelity.is_full()), "{method}");
        }
    }
}

#[test]
fn a_search_by_its_own_method_is_stopped_and_goes_on_whether_its_space_can_be_listed_or_not() {
    for (decisions, budget) in [(4, 24), (24, 40)] {
        for parallel in [1, 3] {
            let oracle = toy(decisions);
            let search = LiveSearch { method: None, ..search(&oracle, "gp", accuracy(), budget, parallel) };
            let found = is_stopped_and_resumed(&oracle, &search);
            assert_eq!(found.len(), budget);
            // Without a stop it is the same to the last: what is kept from proposal to proposal changes none of them.
            if parallel == 1 {
                let go = AtomicBool::new(false);
                let straight = search.run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
                let trainings = |of: &[Measured]| of.iter().map(|m| m.training.clone()).collect::<Vec<_>>();
                assert_eq!(trainings(&straight), trainings(&found));
            }
        }
    }
}

#[test]
fn a_method_that_knows_earlier_tasks_begins_where_they_were_good() {
    // Earlier tasks: the same, with another choice best in the first decision, and partly measured.
    let earlier = |space: &Arc<SearchSpace>| {
        let search = |seed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut draw = || {
                let mut choices = vec![0; space.len()];
                space.sample(&mut rng, &mut choices);
                let value = metrics(&choices)["accuracy"] - 0.3 * f64::from(choices[0]);
                (choices, Some(value as f32))
            };
            PastSearch { name: format!("before {seed}"), measured: (0..40).map(|_| draw()).collect() }
        };
        past_of(space, &[vec![search(1), search(2)]]).unwrap()
    };
    let best = |found: Vec<Measured>| {
        let feasible = found.iter().filter(|m| is_feasible(&m.training.choices));
        feasible.map(|m| metrics(&m.training.choices)["accuracy"]).fold(f64::MIN, f64::max)
    };
    // Few enough that a search without a past has not found the best.
    for (decisions, budget) in [(4, 3), (24, 6)] {
        for method in
            ["transfer-gp", "two-phase:short=10,past=all", "screen:first=10,past=all", "mobo:past=all"]
        {
            let mean = |method: &str, knows: bool| {
                let one = |seed| {
                    let mut oracle = toy(decisions);
                    if method.contains("10") {
                        oracle.fidelities = "epochs=1,4".parse().unwrap();
                    }
                    let past = if knows { earlier(&oracle.space) } else { Past::default() };
                    let search = LiveSearch { past, seed, ..search(&oracle, method, accuracy(), budget, 1) };
                    best(is_stopped_and_resumed(&oracle, &search))
                };
                (0..5).map(one).sum::<f64>() / 5.0
            };
            // In a small space the same without a past (what learns from nothing else has one beside it), in a large one chance.
            let without = match method {
                _ if decisions > 4 => "random",
                "transfer-gp" => "universal",
                _ => method.trim_end_matches("past=all").trim_end_matches([',', ':']),
            };
            let (knowing, blank) = (mean(method, true), mean(without, false));
            assert!(knowing > blank, "{method} in {decisions}: {knowing}, and {blank} of {without}");
        }
    }
}

#[test]
fn a_method_searches_a_small_space_to_its_end_whatever_fails() {
    for method in ["random", "local", "gp", "universal", "ridge:initial=4,batch=2"] {
        let oracle = toy(3);
        let found = stopped_and_resumed(&oracle, method, accuracy(), 27, 1);
        assert_eq!(found.len(), 27, "{method}");
    }
}

#[test]
fn the_front_of_a_search_is_the_front_of_what_it_measured() {
    let mut searched = Vec::new();
    for method in METHODS.iter().map(|(name, _)| *name).filter(|name| *name != "cmd") {
        let goal = both(&[]);
        let spec: MethodSpec = method.parse().unwrap();
        let oracle = toy(5);
        if check_method(&spec, &oracle.space, &goal, 0, false).is_err() {
            continue;
        }
        searched.push(method);
        let options = OPTIONS.iter().find(|(of, _)| *of == method).map_or("", |(_, options)| options);
        let found = stopped_and_resumed(&oracle, &format!("{method}{options}"), goal.clone(), 40, 2);
        let report = SearchReport::new(&oracle.space, &Fidelities::FULL, &goal, &found, &[]);
        let told = |name: &str, m: &BTreeMap<String, f64>| m[name];
        let feasible = || {
            found.iter().filter(|m| is_feasible(&m.training.choices)).map(|m| metrics(&m.training.choices))
        };
        let beats = |a: &BTreeMap<String, f64>, b: &BTreeMap<String, f64>| {
            let (more, less) = (told("accuracy", a) - told("accuracy", b), told("ms", b) - told("ms", a));
            more >= 0.0 && less >= 0.0 && more + less > 0.0
        };
        let mut brute: Vec<(f64, f64)> = feasible()
            .filter(|own| !feasible().any(|other| beats(&other, own)))
            .map(|m| (told("accuracy", &m), told("ms", &m)))
            .collect();
        brute.sort_by(|a, b| b.0.total_cmp(&a.0));
        brute.dedup();
        let front: Vec<(f64, f64)> =
            report.front.unwrap().iter().map(|p| (p.metrics["accuracy"], p.metrics["ms"])).collect();
        assert_eq!(front, brute, "{method}");
    }
    assert_eq!(searched, ["random", "random-walk", "nsga2", "linas", "mobo"]);
}

#[test]
fn limits_decide_what_is_best_and_where_nothing_keeps_them_the_nearest_is_named() {
    let oracle = toy(4);
    let goal = Goal::new(accuracy().objectives().to_vec(), vec!["ms <= 4".parse().unwrap()]).unwrap();
    let found = stopped_and_resumed(&oracle, "random", goal.clone(), 81, 2);
    let report = SearchReport::new(&oracle.space, &Fidelities::FULL, &goal, &found, &[]);
    let kept = |m: &&Measured| is_feasible(&m.training.choices) && metrics(&m.training.choices)["ms"] <= 4.0;
    let best =
        found.iter().filter(kept).map(|m| metrics(&m.training.choices)["accuracy"]).fold(f64::MIN, f64::max);
    assert_eq!(report.best.as_ref().unwrap().value(), Some(best));
    assert!(report.least_violating.is_none() && report.beyond_limits.unwrap() > 0);
    let hard = Goal::new(goal.objectives().to_vec(), vec!["ms <= -1".parse().unwrap()]).unwrap();
    let report = SearchReport::new(&oracle.space, &Fidelities::FULL, &hard, &found, &[]);
    assert!(report.best.is_none());
    assert_eq!(report.least_violating.unwrap().metrics["ms"], 0.0);
}

#[test]
fn what_a_method_cannot_search_is_refused_with_those_that_can() {
    let oracle = toy(3);
    let refused = |method: &str, goal: &Goal, shorter| {
        check_method(&method.parse().unwrap(), &oracle.space, goal, shorter, false).unwrap_err().to_string()
    };
    let past = check_method(&"evolution".parse().unwrap(), &oracle.space, &accuracy(), 0, true);
    let limited_alone =
        Goal::new(accuracy().objectives().to_vec(), vec!["ms <= 4".parse().unwrap()]).unwrap();
    for (said, expected) in [
        (refused("gp", &both(&[]), 0), "for several there are random"),
        (refused("local", &limited_alone, 0), "within limits search random"),
        (past.unwrap_err().to_string(), "transfer-gp, two-phase, screen, mobo do"),
        (refused("halving", &accuracy(), 0), "--fidelity"),
        (refused("transfer-gp", &accuracy(), 0), "--past"),
        (refused("screen:past=all", &accuracy(), 1), "--past"),
        (refused("policy:runs/none", &accuracy(), 0), "cannot read the policy runs/none"),
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

/// Accuracy under attack, and the Lipschitz term beside it, of a made-up wide residual network.
struct Students {
    part: LivePart,
    says_the_term: bool,
    asked: Mutex<Vec<Vec<u8>>>,
}

fn students(says_the_term: bool) -> Students {
    let space = SearchSpace::named("wrn-compress-22-3-basic").unwrap();
    let (shape, scale) =
        (Shape { channels: 1, size: [8, 8], classes: 10 }, Scale { width: 2, stages: 3, cells: 1 });
    let counts = Counts::of(&space, shape, scale).unwrap().unwrap();
    let limit = "cost/multiply_adds <= 50%".parse().unwrap();
    let part = LivePart::new(&space, counts, &[limit], Some("WRN-16-3")).unwrap();
    Students { part, says_the_term, asked: Mutex::default() }
}

impl CostlyOracle for Students {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.part.space
    }

    fn identity(&self) -> (String, String) {
        ("students".into(), String::new())
    }

    fn metric_names(&self) -> Vec<String> {
        vec!["val/worst@32".into(), "val/lipschitz@32".into()]
    }

    fn measure(&self, training: &Training, _: &AtomicBool) -> Result<Answer, CostlyError> {
        let choices = &training.choices;
        self.asked.lock().unwrap().push(choices.clone());
        let sum = |of: &[u8]| of.iter().map(|&c| f64::from(c)).sum::<f64>();
        let mut metrics = BTreeMap::from([("val/worst@32".to_string(), 20.0 + sum(&choices[1..4]))]);
        if self.says_the_term {
            metrics.insert("val/lipschitz@32".into(), 0.01 + 40.0 * sum(&choices[4..]));
        }
        Ok(Answer::Metrics(metrics))
    }
}

#[test]
fn an_agent_that_compresses_keeps_the_budget_and_sees_the_lipschitz_term() {
    let asked = |says_the_term: bool, parallel: usize, budgets: &[usize]| {
        let oracle = students(says_the_term);
        let mut known = Vec::new();
        for &budget in budgets {
            let search = LiveSearch {
                oracle: &oracle,
                goal: Goal::single("val/worst@32", false),
                guide: Guide::default(),
                method: Some("rc-nas:rate=0.1".parse().unwrap()),
                past: Past::default(),
                students: Some(oracle.part.students.clone()),
                budget,
                parallel,
                first: Vec::new(),
                added: Inbox::default(),
                sharing: None,
                ends: Ends::default(),
                seed: 3,
            };
            let go = AtomicBool::new(false);
            known = search.run(known, &mut Kept::default(), &go, &|_| ()).unwrap();
        }
        let asked = oracle.asked.into_inner().unwrap();
        let students = oracle.part.students.compression.students();
        assert!(asked.iter().all(|choices| students.contains(choices)), "beyond the budget");
        assert_eq!(asked.iter().collect::<HashSet<_>>().len(), *budgets.last().unwrap());
        asked
    };
    let seen = asked(true, 1, &[40]);
    assert_eq!(seen, asked(true, 1, &[40]), "the same again");
    let blind = asked(false, 1, &[40]);
    // Until something is measured there is nothing to be seen.
    assert_eq!(seen[..2], blind[..2]);
    assert_ne!(seen, blind, "the term changes what is drawn");
    asked(true, 3, &[20, 30]);
}
