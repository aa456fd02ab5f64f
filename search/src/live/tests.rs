use super::*;
use crate::methods::PastSearch;
use hashbrown::HashSet;
use rand::SeedableRng;
use srnas_space::{Conditional, Decision, SearchSpace};
use std::{collections::BTreeMap, sync::atomic::AtomicUsize};

/// Counts how often it is asked; some architectures are infeasible.
struct Toy {
    space: Arc<SearchSpace>,
    asked: Mutex<Vec<Vec<u8>>>,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

fn toy(decisions: usize) -> Toy {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
    Toy { space: Arc::new(space), asked: Mutex::default(), at_once: 0.into(), most: 0.into() }
}

impl CostlyOracle for Toy {
    fn space(&self) -> &Arc<SearchSpace> {
        &self.space
    }

    fn identity(&self) -> (String, String) {
        ("toy".into(), String::new())
    }

    fn metric_names(&self) -> Vec<String> {
        vec!["loss".into()]
    }

    fn measure(&self, training: &Training, _stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let choices = &training.choices;
        let at_once = 1 + self.at_once.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(at_once, Ordering::SeqCst);
        self.asked.lock().unwrap().push(choices.to_vec());
        std::thread::sleep(Duration::from_millis(2));
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if choices[0] == 2 {
            return Ok(Answer::Infeasible("it diverged".into()));
        }
        let loss = choices.iter().map(|&c| 2.0 - f64::from(c)).sum::<f64>();
        Ok(Answer::Metrics(BTreeMap::from([(
            "loss".into(),
            if loss > 1.4 * choices.len() as f64 { f64::NAN } else { loss },
        )])))
    }
}

#[derive(Default)]
struct Kept(Vec<(Measured, Result<f64, String>)>);

impl Journal for Kept {
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
        self.0.push((measured.clone(), values.clone().map(|values| values.maximised[0])));
        Ok(())
    }
}

fn search(oracle: &Toy, budget: usize, parallel: usize) -> LiveSearch<'_> {
    LiveSearch {
        oracle,
        goal: Goal::single("loss", true),
        guide: Guide::default(),
        method: None,
        past: Past::default(),
        budget,
        parallel,
        most_failures: None,
        seed: 7,
    }
}

fn distinct(measured: &[Measured]) -> usize {
    measured.iter().map(|m| m.key).collect::<HashSet<_>>().len()
}

#[test]
fn slots_work_at_once_and_nothing_is_measured_twice() {
    let (oracle, mut journal) = (toy(5), Kept::default());
    let found = search(&oracle, 30, 4).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
    assert_eq!((found.len(), distinct(&found), oracle.asked.lock().unwrap().len()), (30, 30, 30));
    assert!(oracle.most.load(Ordering::SeqCst) > 1, "one at a time");
    let best = journal.0.iter().filter_map(|(_, v)| v.clone().ok()).fold(f64::MIN, f64::max);
    // The best that is feasible is 1, 2, 2, 2, 2 with -1; which of its neighbours come first depends on the slots.
    assert!(best >= -2.0, "{best}");
    let infeasible: Vec<&String> = journal.0.iter().filter_map(|(_, v)| v.as_ref().err()).collect();
    assert!(!infeasible.is_empty() && infeasible.len() < 15, "{infeasible:?}");
}

#[test]
fn a_search_that_is_stopped_goes_on_with_what_it_has() {
    let (oracle, mut journal) = (toy(5), Kept::default());
    let stop = AtomicBool::new(false);
    let after = |event: Event| {
        if matches!(event, Event::Ended { done: 9, .. }) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = search(&oracle, 20, 1).run(vec![], &mut journal, &stop, &after).unwrap_err();
    assert!(matches!(error, LiveError::Stopped { done: 9, budget: 20, .. }), "{error}");
    let known: Vec<Measured> = journal.0.iter().map(|(m, _)| m.clone()).collect();
    let go = AtomicBool::new(false);
    let resumed = search(&oracle, 20, 1).run(known, &mut journal, &go, &|_| ()).unwrap();
    assert_eq!((distinct(&resumed), journal.0.len()), (20, 20));
    // One at a time, what was stopped in between is the search that was not.
    let straight = search(&toy(5), 20, 1).run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
    let order = |found: &[Measured]| found.iter().map(|m| m.training.choices.clone()).collect::<Vec<_>>();
    assert_eq!(order(&resumed), order(&straight));
}

#[test]
fn a_past_guides_from_the_first_measurement_on_also_where_the_space_cannot_be_listed() {
    for decisions in [5, 14] {
        let (oracle, go) = (toy(decisions), AtomicBool::new(false));
        let value = |choices: &[u8]| choices.iter().map(|&c| f32::from(c)).sum::<f32>();
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let mut choices = vec![0; decisions];
        let draws = (0..80).map(|_| {
            oracle.space.sample(&mut rng, &mut choices);
            (choices.clone(), Some(value(&choices) - if choices[0] == 2 { 9.0 } else { 0.0 }))
        });
        let past = PastSearch { name: "before".into(), measured: draws.collect() };
        let guide = Guide::of_past(&oracle.space, std::slice::from_ref(&past)).unwrap();
        assert!(guide.knows_a_past());
        let search = LiveSearch { guide, ..search(&oracle, 10, 1) };
        let found = search.run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap();
        let best_before = past.measured.iter().filter_map(|(_, v)| *v).fold(f32::MIN, f32::max);
        assert!(value(&found[0].training.choices) >= best_before - 2.0, "{:?}", found[0].training.choices);
        let best = found
            .iter()
            .filter(|m| m.training.choices[0] < 2)
            .map(|m| value(&m.training.choices))
            .fold(0.0, f32::max);
        assert!(best > best_before, "{decisions} decisions: {best} after {best_before}");
    }
}

#[test]
fn a_budget_beyond_the_space_measures_all_of_it() {
    let (oracle, mut journal) = (toy(2), Kept::default());
    let found = search(&oracle, 100, 3).run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
    assert_eq!((found.len(), distinct(&found)), (9, 9));
    assert_eq!(search(&oracle, 100, 3).used_up(&found), Some(9));
    assert_eq!(search(&oracle, 100, 3).used_up(&found[1..]), None);
    // Going on with all of it asks for nothing, also where the oracle is not there.
    let asked = oracle.asked.lock().unwrap().len();
    search(&oracle, 100, 3).run(found, &mut journal, &AtomicBool::new(false), &|_| ()).unwrap();
    assert_eq!(oracle.asked.lock().unwrap().len(), asked);
}

#[test]
fn a_search_ends_after_as_many_failures_as_are_allowed() {
    let (oracle, mut journal) = (toy(5), Kept::default());
    let search = LiveSearch { most_failures: Some(3), ..search(&oracle, 200, 1) };
    let error = search.run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap_err();
    assert!(matches!(&error, LiveError::Failures { failures: 3, .. }), "{error}");
    let failed = journal.0.iter().filter(|(_, value)| value.is_err()).count();
    assert_eq!((failed, journal.0.last().unwrap().1.is_err()), (3, true));
}
