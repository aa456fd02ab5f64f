use super::*;
use crate::methods::PastSearch;
use hashbrown::HashSet;
use rand::SeedableRng;
use srnas_space::{Conditional, Decision, SearchSpace};
use std::{collections::BTreeMap, sync::atomic::AtomicUsize};

/// Counts how often it is asked; some architectures are infeasible.
pub struct Toy {
    space: Arc<SearchSpace>,
    asked: Mutex<Vec<Vec<u8>>>,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

pub fn toy(decisions: usize) -> Toy {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
    Toy { space: Arc::new(space), asked: Mutex::default(), at_once: 0.into(), most: 0.into() }
}

impl Toy {
    /// Number of measurements that it was asked for.
    pub fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
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
pub struct Kept(Vec<(Measured, Result<f64, String>)>);

impl Journal for Kept {
    fn keep(&mut self, measured: &Measured, values: &Result<Values, String>) -> Result<(), String> {
        self.0.push((measured.clone(), values.clone().map(|values| values.maximised[0])));
        Ok(())
    }
}

pub fn search(oracle: &Toy, budget: usize, parallel: usize) -> LiveSearch<'_> {
    LiveSearch {
        oracle,
        goal: Goal::single("loss", true),
        guide: Guide::default(),
        method: None,
        students: None,
        past: Past::default(),
        budget,
        parallel,
        first: Vec::new(),
        added: Inbox::default(),
        sharing: None,
        ends: Ends::default(),
        seed: 7,
    }
}

pub fn distinct(measured: &[Measured]) -> usize {
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
    let search =
        LiveSearch { ends: Ends { failures: Some(3), ..Ends::default() }, ..search(&oracle, 200, 1) };
    let error = search.run(vec![], &mut journal, &AtomicBool::new(false), &|_| ()).unwrap_err();
    assert!(matches!(&error, LiveError::Failures { failures: 3, .. }), "{error}");
    let failed = journal.0.iter().filter(|(_, value)| value.is_err()).count();
    assert_eq!((failed, journal.0.last().unwrap().1.is_err()), (3, true));
}

/// Runs a search to its end, and why it ended before its budget if it did.
pub fn ended(search: &LiveSearch, known: Vec<Measured>) -> (Vec<Measured>, Option<Enough>) {
    let enough = Mutex::new(None);
    let tell = |event: Event| {
        if let Event::Enough { why, .. } = event {
            assert!(enough.lock().unwrap().replace(why.clone()).is_none(), "told twice");
        }
    };
    let found = search.run(known, &mut Kept::default(), &AtomicBool::new(false), &tell).unwrap();
    (found, enough.into_inner().unwrap())
}

fn order(found: &[Measured]) -> Vec<Vec<u8>> {
    found.iter().map(|measured| measured.training.choices.clone()).collect()
}

/// What the toy says of an architecture, measured elsewhere.
fn elsewhere(oracle: &Toy, choices: &[u8]) -> Measured {
    let training = Training::full(choices.to_vec());
    let answer = oracle.measure(&training, &AtomicBool::new(false)).unwrap();
    Measured { key: oracle.space.canonical_key(choices), training, cost: 0.0, answer }
}

#[test]
fn a_search_ends_when_what_was_wanted_is_reached_and_not_by_what_breaks_a_limit() {
    let oracle = toy(5);
    let reached = |text: &str| Ends { reached: vec![text.parse().unwrap()], ..Ends::default() };
    let straight = ended(&search(&oracle, 30, 1), vec![]).0;
    let losses: Vec<Option<f64>> = straight
        .iter()
        .map(|measured| match &measured.answer {
            Answer::Metrics(metrics) => Some(metrics["loss"]).filter(|loss| !loss.is_nan()),
            Answer::Infeasible(_) => None,
        })
        .collect();
    let first = losses.iter().position(|loss| loss.is_some_and(|loss| loss <= 3.0)).unwrap();
    let (found, enough) = ended(&LiveSearch { ends: reached("loss <= 3"), ..search(&oracle, 30, 1) }, vec![]);
    assert_eq!((found.len(), enough), (first + 1, Some(Enough::Reached("loss <= 3".into()))));
    assert_eq!(order(&found), order(&straight[..=first]), "what came before is as without it");
    // Told again, it is still reached; nothing more is asked for.
    let asked = oracle.asked.lock().unwrap().len();
    let again = LiveSearch { ends: reached("loss <= 3"), ..search(&oracle, 30, 1) };
    assert_eq!(ended(&again, found).0.len(), first + 1);
    assert_eq!(oracle.asked.lock().unwrap().len(), asked);
    // A limit of the search itself that nothing keeps, and a metric that nobody reports.
    let goal = Goal::new(
        vec![crate::Objective { metric: "loss".into(), minimise: true }],
        vec!["loss >= 100".parse().unwrap()],
    );
    let method = Some("mobo".parse().unwrap());
    let limited =
        LiveSearch { goal: goal.unwrap(), method, ends: reached("loss <= 3"), ..search(&oracle, 12, 1) };
    assert_eq!(ended(&limited, vec![]).1, None);
    assert_eq!(ended(&LiveSearch { ends: reached("los <= 3"), ..search(&oracle, 12, 1) }, vec![]).1, None);
}

#[test]
fn a_search_ends_when_nothing_is_gained() {
    let oracle = toy(3);
    let ends = Ends { no_gain: Some(4), ..Ends::default() };
    let (found, enough) = ended(&LiveSearch { ends, ..search(&oracle, 27, 1) }, vec![]);
    assert_eq!(enough, Some(Enough::NoGain(4)));
    let values: Vec<f64> = found
        .iter()
        .map(|m| Goal::single("loss", true).values(&m.answer).map_or(f64::MIN, |v| v.maximised[0]))
        .collect();
    let best = values.iter().copied().fold(f64::MIN, f64::max);
    let at = values.iter().position(|value| *value == best).unwrap();
    assert_eq!(found.len(), at + 1 + 4, "{values:?}");
    // What has no value from the beginning is no gain that is missing.
    let hopeless = Ends { no_gain: Some(1), failures: Some(3), ..Ends::default() };
    let goal = Goal::single("nothing", true);
    let search = LiveSearch { ends: hopeless, goal, ..search(&oracle, 27, 1) };
    let error = search.run(vec![], &mut Kept::default(), &AtomicBool::new(false), &|_| ()).unwrap_err();
    assert!(matches!(error, LiveError::Failures { failures: 3, .. }), "{error}");
}

#[test]
fn nothing_is_begun_when_the_time_is_over_and_what_runs_is_waited_for_or_given_up() {
    let oracle = toy(5);
    let time = |time, grace| Ends { time: Some(time), grace, ..Ends::default() };
    let now = Duration::ZERO;
    let (found, enough) = ended(&LiveSearch { ends: time(now, None), ..search(&oracle, 30, 2) }, vec![]);
    assert_eq!((found.len(), enough), (0, Some(Enough::Time(now))));
    let drain = Ends::default();
    drain.drain.store(true, Ordering::Relaxed);
    assert_eq!(ended(&LiveSearch { ends: drain, ..search(&oracle, 30, 2) }, vec![]).1, Some(Enough::Drained));

    /// Ends when it is stopped, or is let go.
    struct Slow(Toy, AtomicBool);
    impl CostlyOracle for Slow {
        fn space(&self) -> &Arc<SearchSpace> {
            &self.0.space
        }
        fn identity(&self) -> (String, String) {
            self.0.identity()
        }
        fn metric_names(&self) -> Vec<String> {
            self.0.metric_names()
        }
        fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
            while !self.1.load(Ordering::Relaxed) {
                if stop.load(Ordering::Relaxed) {
                    return Err(CostlyError::Stopped);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            self.0.measure(training, stop)
        }
    }
    for patient in [true, false] {
        let slow = Slow(toy(5), AtomicBool::new(false));
        let grace = (!patient).then_some(Duration::from_millis(10));
        let ends = time(Duration::from_millis(20), grace);
        let parallel = LiveSearch { oracle: &slow, ends, ..search(&oracle, 30, 3) };
        let (given_up, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let tell = |event: Event| match event {
            Event::GaveUp { .. } => {
                given_up.fetch_add(1, Ordering::Relaxed);
            }
            Event::Enough { running, .. } => {
                told.store(running, Ordering::Relaxed);
                slow.1.store(patient, Ordering::Relaxed);
            }
            _ => {}
        };
        let found = parallel.run(vec![], &mut Kept::default(), &AtomicBool::new(false), &tell).unwrap();
        let running = told.into_inner();
        let ended = if patient { (running, 0) } else { (0, running) };
        assert_eq!((found.len(), given_up.into_inner()), ended, "patient: {patient}");
    }
}

#[test]
fn first_points_come_first_and_what_was_measured_elsewhere_costs_nothing() {
    let oracle = toy(5);
    let wanted = [[0u8, 1, 1, 1, 2], [2, 2, 2, 2, 2], [1, 0, 0, 0, 0]];
    let first: Vec<Training> = wanted.iter().map(|choices| Training::full(choices.to_vec())).collect();
    let begun = LiveSearch { first: first.clone(), ..search(&oracle, 8, 1) };
    let straight = ended(&begun, vec![]).0;
    assert_eq!(order(&straight[..3]), wanted);
    assert_eq!((straight.len(), distinct(&straight)), (8, 8));
    // Killed after two, and resumed with the same: the same search.
    let resumed = ended(&begun, straight[..2].to_vec()).0;
    assert_eq!(order(&resumed), order(&straight));
    // More of them than the budget pays for.
    let few = LiveSearch { first: first.clone(), ..search(&oracle, 2, 1) };
    assert_eq!(order(&ended(&few, vec![]).0), wanted[..2]);

    let known: Vec<Measured> =
        [[1u8, 2, 2, 2, 2], [2, 0, 0, 0, 0]].iter().map(|choices| elsewhere(&oracle, choices)).collect();
    let asked = oracle.asked.lock().unwrap().len();
    let (found, _) = ended(&search(&oracle, 8, 1), known.clone());
    assert_eq!((found.len(), oracle.asked.lock().unwrap().len() - asked), (10, 8), "paid for are eight");
    assert_eq!(distinct(&found), 10, "what is known is not measured again");
    // It informs: who knows nothing begins elsewhere.
    let without = ended(&search(&oracle, 1, 1), vec![]).0;
    assert_ne!(found[2].training.choices, without[0].training.choices);
    // Nobody takes it for a training that went on after a shorter one.
    assert_eq!(ended(&search(&oracle, 8, 1), known).0.len(), 10);
}

#[test]
fn what_was_interrupted_is_taken_up_first() {
    /// Has a training that came to no end.
    struct Left(Toy, Vec<Training>);
    impl CostlyOracle for Left {
        fn space(&self) -> &Arc<SearchSpace> {
            &self.0.space
        }
        fn identity(&self) -> (String, String) {
            self.0.identity()
        }
        fn metric_names(&self) -> Vec<String> {
            self.0.metric_names()
        }
        fn measure(&self, training: &Training, stop: &AtomicBool) -> Result<Answer, CostlyError> {
            self.0.measure(training, stop)
        }
        fn interrupted(&self) -> Vec<Training> {
            self.1.clone()
        }
    }
    let straight = ended(&search(&toy(5), 12, 1), vec![]).0;
    // What is not known yet; the last of it is a first point.
    let all = [
        [1u8, 1, 2, 2, 0],
        [0, 0, 0, 0, 0],
        [0, 2, 1, 0, 2],
        [2, 1, 0, 1, 2],
        [0, 0, 0, 0, 1],
        [1, 0, 1, 0, 1],
        [0, 1, 2, 1, 0],
    ];
    let known = order(&straight[..4]);
    let new: Vec<Vec<u8>> =
        all.iter().map(|choices| choices.to_vec()).filter(|new| !known.contains(new)).take(3).collect();
    let mut trainings: Vec<Training> = new.iter().cloned().map(Training::full).collect();
    let first = trainings.split_off(2);
    let left = Left(toy(5), trainings);
    let search = LiveSearch { oracle: &left, first, ..search(&left.0, 12, 1) };
    let found = ended(&search, straight[..4].to_vec()).0;
    assert_eq!(order(&found[..4]), order(&straight[..4]));
    assert_eq!(order(&found[4..7]), new);
}

#[test]
fn what_is_added_while_it_runs_is_known_or_measured_next_and_never_twice() {
    let oracle = toy(5);
    let search = search(&oracle, 40, 1);
    let added = search.added.clone();
    let mine = Answer::Metrics(BTreeMap::from([("loss".to_string(), -5.0)]));
    let left = Mutex::new(false);
    let first = Mutex::new(None);
    let tell = |event: Event| {
        let Event::Ended { measured, .. } = event else { return };
        if std::mem::replace(&mut *left.lock().unwrap(), true) {
            return;
        }
        // What was just measured, with another value; something new with one; something new to be measured.
        let known = measured.training.clone();
        let mut new: Vec<Training> = Vec::new();
        let mut other = known.choices.clone();
        oracle.space.for_each_edit(&mut other, |choices, _, _| new.push(Training::full(choices.to_vec())));
        *first.lock().unwrap() = Some((known.clone(), new[0].clone(), new[1].clone()));
        added.leave([
            First { training: known, answer: Some(mine.clone()) },
            First { training: new[0].clone(), answer: Some(mine.clone()) },
            First { training: new[1].clone(), answer: None },
        ]);
    };
    let found = search.run(vec![], &mut Kept::default(), &AtomicBool::new(false), &tell).unwrap();
    let (known, told, wanted) = first.lock().unwrap().clone().unwrap();
    let of = |training: &Training| -> Vec<&Measured> {
        found.iter().filter(|m| m.training == *training).collect()
    };
    assert!(of(&known).len() == 1 && of(&known)[0].answer != mine && !of(&known)[0].is_elsewhere());
    assert!(of(&told).len() == 1 && of(&told)[0].answer == mine && of(&told)[0].is_elsewhere());
    assert!(of(&wanted).len() == 1 && !of(&wanted)[0].is_elsewhere());
    assert_eq!(found.iter().filter(|m| !m.is_elsewhere()).count(), 40, "what was told costs nothing");
}

/// What a search with this goal and method asks by; who measures is somebody else.
fn asked_and_told(oracle: &Toy, budget: usize, method: Option<&str>) -> AskTell {
    let method = method.map(|method| method.parse().unwrap());
    AskTell::new(LiveSearch { method, ..search(oracle, budget, 1) }.asking()).unwrap()
}

/// Asks and tells until it is over.
fn answered(search: &mut AskTell, oracle: &Toy, journal: &mut Kept) -> Vec<Vec<u8>> {
    let mut asked = Vec::new();
    while let Next::Begin(training) = search.ask().unwrap() {
        asked.push(training.choices.clone());
        let answer = oracle.measure(&training, &AtomicBool::new(false)).unwrap();
        search.tell(training, answer, journal).unwrap();
    }
    asked
}

#[test]
fn whoever_asks_and_tells_makes_the_search_that_measures_itself() {
    let oracle = toy(5);
    for method in [None, Some("evolution:population=4"), Some("gp")] {
        let named = method.map(|method| method.parse().unwrap());
        let straight = ended(&LiveSearch { method: named, ..search(&oracle, 20, 1) }, vec![]).0;
        let (mut told, mut journal) = (asked_and_told(&oracle, 20, method), Kept::default());
        assert_eq!(answered(&mut told, &oracle, &mut journal), order(&straight), "{method:?}");
        assert_eq!((told.paid_for(), told.is_spent(), told.ask().unwrap()), (20, true, Next::Over));
        assert_eq!(journal.0.len(), 20);
        // More budget, and it goes on; without a method that shares it out, as if it had been known.
        told.set_budget(25).unwrap();
        let more = answered(&mut told, &oracle, &mut journal);
        assert_eq!((more.len(), distinct(told.known())), (5, 25));
        if method.is_none() {
            assert_eq!(more, order(&ended(&search(&oracle, 25, 1), vec![]).0)[20..]);
        }
    }
}

#[test]
fn what_is_asked_for_is_under_way_until_it_is_told_or_given_up() {
    /// Has no room.
    struct Full;
    impl Journal for Full {
        fn keep(&mut self, _: &Measured, _: &Result<Values, String>) -> Result<(), String> {
            Err("no room".into())
        }
    }
    let oracle = toy(5);
    let (mut search, mut journal) = (asked_and_told(&oracle, 3, None), Kept::default());
    let next = |search: &mut AskTell| match search.ask().unwrap() {
        Next::Begin(training) => training,
        other => panic!("{other:?}"),
    };
    let asked: Vec<Training> = (0..3).map(|_| next(&mut search)).collect();
    assert!(asked[0] != asked[1] && asked[1] != asked[2] && asked[0] != asked[2]);
    assert_eq!((search.under_way(), search.ask().unwrap()), (3, Next::Wait), "the budget is set aside");
    let answer = Answer::Metrics(BTreeMap::from([("loss".to_string(), 1.0)]));
    let told = search.tell(asked[0].clone(), answer.clone(), &mut Full);
    assert!(matches!(told, Err(LiveError::Journal(_))));
    assert_eq!((search.under_way(), search.known().len()), (3, 0), "what cannot be kept is not known");
    let told = search.tell(asked[0].clone(), answer.clone(), &mut journal).unwrap();
    assert_eq!(told.values.unwrap().maximised, [-1.0]);
    search.give_up(&asked[1]);
    search.want([asked[1].clone()]);
    assert_eq!(next(&mut search), asked[1], "what is wanted comes first");
    assert!(!search.add(asked[1].clone(), answer.clone(), &mut journal).unwrap(), "it is under way");
    search.give_up(&asked[1]);
    assert!(search.add(asked[1].clone(), answer.clone(), &mut journal).unwrap());
    let elsewhere = Training::full(vec![2, 2, 2, 2, 1]);
    search.begun(elsewhere.clone());
    assert_eq!(search.ask().unwrap(), Next::Wait);
    search.tell(elsewhere, answer, &mut journal).unwrap();
    assert_eq!((search.paid_for(), search.spent(), search.known().len(), search.under_way()), (2, 2.0, 3, 1));
    search.set_ends(Ends { reached: vec!["loss <= 1".parse().unwrap()], ..Ends::default() });
    assert_eq!(
        (search.ask().unwrap(), search.enough()),
        (Next::Over, Some(&Enough::Reached("loss <= 1".into())))
    );
    search.set_ends(Ends::default());
    assert_eq!(search.ask().unwrap(), Next::Wait);
}
