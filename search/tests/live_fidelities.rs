//! A live search of an oracle that can train shorter: what it pays, how often, and what it makes of what it hears.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_environment::{BASE, EnvironmentConfig};
use srnas_network::{QNetwork, QNetworkConfig};
use srnas_oracle::costly::{Answer, CostlyError, CostlyOracle, RESUMED_FROM};
use srnas_policy::{Acts, Caution, Policy};
use srnas_predictor::PosteriorSettings;
use srnas_search::{
    Ends, Event, Goal, Guide, Importance, Inbox, Journal, LiveError, LiveSearch, Measured, Past, Values,
    report::{SearchPage, SearchReport},
};
use srnas_space::{Conditional, Decision, SearchSpace};
use srnas_task::{Fidelities, Fidelity, Training};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a short training says.
#[derive(Clone, Copy, PartialEq)]
enum Short {
    /// Nearly what the full one says.
    Alike,
    /// What the full one says of another architecture.
    Shuffled,
    /// The opposite of what the full one says: a metric of another direction.
    Opposite,
    /// Exactly what the full one says.
    Same,
    /// Nothing.
    Nothing,
}

struct Toy {
    space: Arc<SearchSpace>,
    fidelities: Fidelities,
    short: Short,
    resumes: bool,
    asked: Mutex<Vec<Training>>,
}

fn toy(decisions: usize, short: Short) -> Toy {
    let named = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let space = Conditional::space("made-up", (0..decisions).map(named).collect(), vec![]).unwrap();
    Toy {
        space: Arc::new(space),
        fidelities: "epochs=2,20".parse().unwrap(),
        short,
        resumes: false,
        asked: Mutex::default(),
    }
}

impl Toy {
    fn full(&self, choices: &[u8]) -> f64 {
        let weights = [1.0, 0.8, 0.5, 1.2];
        let high: f64 = choices.iter().zip(weights.iter().cycle()).map(|(&c, w)| w * f64::from(c)).sum();
        let alike = choices.windows(2).filter(|pair| pair[0] == pair[1]).count();
        high + 0.4 * alike as f64
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
        vec!["score".into()]
    }

    fn fidelities(&self) -> &Fidelities {
        &self.fidelities
    }

    fn measure(&self, training: &Training, _stop: &AtomicBool) -> Result<Answer, CostlyError> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().any(|t| t.choices == training.choices && !t.fidelity.is_full());
        asked.push(training.clone());
        drop(asked);
        let full = self.full(&training.choices);
        let score = match (training.fidelity, self.short) {
            (Fidelity::Full, _) | (_, Short::Same) => full,
            (_, Short::Nothing) => return Ok(Answer::Infeasible("it has no metric `score`".into())),
            (_, Short::Opposite) => -full,
            (_, Short::Alike) => 0.3 * full + 0.2 * f64::from(training.choices[0]) + 5.0,
            (_, Short::Shuffled) => {
                let hash = training.choices.iter().fold(7u64, |h, &c| {
                    (h ^ u64::from(c)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
                });
                (hash >> 40) as f64 / (1 << 22) as f64
            }
        };
        let mut metrics = BTreeMap::from([("score".to_string(), score)]);
        if self.resumes && before && training.fidelity.is_full() {
            metrics.insert(RESUMED_FROM.into(), 2.0);
        }
        Ok(Answer::Metrics(metrics))
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

fn goal() -> Goal {
    Goal::single("score", false)
}

fn search(oracle: &Toy, budget: usize, parallel: usize, seed: u64) -> LiveSearch<'_> {
    LiveSearch {
        oracle,
        goal: goal(),
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
        seed,
    }
}

fn run(oracle: &Toy, budget: usize, parallel: usize, seed: u64) -> Vec<Measured> {
    let go = AtomicBool::new(false);
    search(oracle, budget, parallel, seed).run(vec![], &mut Kept::default(), &go, &|_| ()).unwrap()
}

fn best(oracle: &Toy, found: &[Measured]) -> f64 {
    let full = found.iter().filter(|m| m.training.fidelity.is_full());
    full.map(|m| oracle.full(&m.training.choices)).fold(f64::NEG_INFINITY, f64::max)
}

fn cost(found: &[Measured]) -> f64 {
    found.iter().map(|m| m.cost).sum()
}

fn full(found: &[Measured]) -> usize {
    found.iter().filter(|m| m.training.fidelity.is_full()).count()
}

#[test]
fn the_budget_is_what_trainings_cost_and_none_is_paid_twice() {
    for (decisions, parallel) in [(6, 1), (6, 3), (14, 2)] {
        for resumes in [false, true] {
            let oracle = Toy { resumes, ..toy(decisions, Short::Alike) };
            let found = run(&oracle, 10, parallel, 1);
            let asked = oracle.asked.lock().unwrap().clone();
            let distinct: HashSet<&Training> = asked.iter().collect();
            assert_eq!((asked.len(), distinct.len()), (found.len(), found.len()));
            let spent = cost(&found);
            assert!(spent <= 10.0 + 1e-6 && spent > 8.9, "{decisions} {parallel} {resumes}: {spent}");
            // Not quite half for short trainings of a tenth each, the rest for full ones.
            let short = found.len() - full(&found);
            assert!((48..64).contains(&short) && full(&found) >= 3, "{short} and {}", full(&found));
            let rest = found.iter().filter(|m| m.training.fidelity.is_full() && m.cost < 1.0).count();
            assert_eq!(rest > 0, resumes, "going on where a short training ended costs the rest");
            assert!(
                found
                    .iter()
                    .all(|m| !m.training.fidelity.is_full() || m.cost == 1.0 || (m.cost - 0.9).abs() < 1e-9)
            );
            assert!(
                found.iter().all(|m| matches!(&m.answer, Answer::Metrics(metrics) if metrics.len() == 1))
            );
        }
    }
}

#[test]
fn a_search_that_is_stopped_in_either_phase_goes_on_as_if_it_had_not_been() {
    let straight = run(&toy(6, Short::Alike), 8, 1, 3);
    for stop_after in [20, 40] {
        let (oracle, mut journal, stop) = (toy(6, Short::Alike), Kept::default(), AtomicBool::new(false));
        let after = |event: Event| {
            if matches!(event, Event::Ended { done, .. } if done == stop_after) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let error = search(&oracle, 8, 1, 3).run(vec![], &mut journal, &stop, &after).unwrap_err();
        assert!(matches!(&error, LiveError::Stopped { done, .. } if *done == stop_after), "{error}");
        assert!(error.to_string().contains("of 8 full trainings"), "{error}");
        let go = AtomicBool::new(false);
        let known = journal.0.clone();
        let resumed = search(&oracle, 8, 1, 3).run(known, &mut journal, &go, &|_| ()).unwrap();
        assert_eq!(resumed, straight);
        assert_eq!(oracle.asked.lock().unwrap().len(), straight.len(), "paid once");
    }
}

#[test]
fn short_trainings_help_where_they_say_something_and_hardly_harm_where_they_do_not() {
    let mean = |short: Short, fidelities: bool, budget: usize| {
        let each = (0..8).map(|seed| {
            let mut oracle = toy(9, short);
            if !fidelities {
                oracle.fidelities = Fidelities::FULL;
            }
            let found = run(&oracle, budget, 1, seed);
            best(&oracle, &found)
        });
        each.sum::<f64>() / 8.0
    };
    let (alike, without) = (mean(Short::Alike, true, 5), mean(Short::Alike, false, 5));
    // The best there is, by 30 short trainings and two full ones.
    assert!(alike > without && alike > 19.1, "{alike} with short trainings, {without} without");
    let without = mean(Short::Alike, false, 12);
    let (shuffled, nothing) = (mean(Short::Shuffled, true, 12), mean(Short::Nothing, true, 12));
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let oracle = toy(9, Short::Alike);
    let mut choices = vec![0; 9];
    let random: f64 = (0..1000)
        .map(|_| {
            oracle.space.sample(&mut rng, &mut choices);
            oracle.full(&choices)
        })
        .sum::<f64>()
        / 1000.0;
    // Of what is found above the mean, most is found with what is left of the budget.
    for (name, found) in [("shuffled", shuffled), ("nothing", nothing)] {
        assert!(
            found - random > 0.8 * (without - random),
            "{name}: {found}, {without} without, {random} at random"
        );
    }
}

#[test]
fn where_no_short_training_has_a_value_they_are_given_up() {
    let oracle = toy(6, Short::Nothing);
    let found = run(&oracle, 10, 1, 5);
    assert_eq!((found.len() - full(&found), full(&found)), (5, 9));
    // What failed short may yet be trained in full: it was the short training that was to blame.
    let everything = run(&toy(2, Short::Nothing), 20, 1, 5);
    assert_eq!(full(&everything), 9);
}

#[test]
fn the_report_says_how_well_they_agreed_and_what_was_saved() {
    let oracle = Toy { resumes: true, ..toy(6, Short::Alike) };
    let found = run(&oracle, 10, 1, 1);
    let of = |oracle: &Toy, found: &[Measured]| {
        SearchReport::new(&oracle.space, &oracle.fidelities, &goal(), found, &[])
    };
    let (report, shown) = (of(&oracle, &found), found.clone());
    let shorter = &report.shorter[0];
    let agreement = shorter.agreement.unwrap();
    assert_eq!((shorter.infeasible, shorter.amount, shorter.cost), (0, 2.0, 0.1));
    assert!((48..60).contains(&shorter.trained), "{}", shorter.trained);
    assert!(agreement.architectures >= 3 && !agreement.identical);
    assert!(shorter.in_words().contains("rank correlation with 20 epochs"), "{}", shorter.in_words());
    assert!(report.saved().contains("architectures were looked at for the cost of"), "{}", report.saved());
    assert!(report.saved().contains("Going on where"), "{}", report.saved());
    let found_best = report.best.as_ref().and_then(|row| row.value()).unwrap();
    assert!((found_best - best(&oracle, &found)).abs() < 1e-9, "a short training is never the best");
    assert_eq!(report.measured, full(&found));

    let same = toy(6, Short::Same);
    let found = run(&same, 10, 1, 1);
    let words = of(&same, &found).shorter[0].in_words();
    assert!(words.contains("exactly the same") && words.contains("SRNAS_FIDELITY"), "{words}");

    let opposite = toy(6, Short::Opposite);
    let words = of(&opposite, &run(&opposite, 20, 1, 1)).shorter[0].in_words();
    assert!(words.contains("the same metric, and the same direction?"), "{words}");

    let folder = tempfile::tempdir().unwrap();
    let goal = goal();
    let page = SearchPage {
        report: &report,
        space: &oracle.space,
        fidelities: &oracle.fidelities,
        goal: &goal,
        found: &shown,
        importance: (&Importance::default(), 0),
        title: "A search".into(),
        how: "How".into(),
        headline: "over".into(),
        state: None,
        times: Vec::new(),
        curves: Vec::new(),
    };
    let view = page.view();
    report.write(folder.path(), &view).unwrap();
    let html = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(html.contains("What the shorter trainings said") && html.contains("2 of 20 epochs"));
    // What it says of pairs is of a short and a full training of the same architecture.
    let pairs = view.head["shorter"][0]["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), agreement.architectures);
    for pair in pairs {
        let [short, full] = [0, 1].map(|i| &shown[pair[i].as_u64().unwrap() as usize]);
        assert!(
            short.key == full.key && full.training.fidelity.is_full() && !short.training.fidelity.is_full()
        );
    }
    let csv = std::fs::read_to_string(folder.path().join("measurements.csv")).unwrap();
    assert!(csv.starts_with("measurement,architecture,infeasible,epochs,cost,score\n"), "{csv}");
}

/// A policy that earned its export with an untrained network, which ranks as the base scores do.
fn policy(shorter: usize, space: &SearchSpace) -> Policy {
    let environment = EnvironmentConfig { shorter, ..EnvironmentConfig::default() };
    let layout = environment.layout();
    let config = QNetworkConfig {
        base_feature: Some(BASE),
        ..QNetworkConfig::new(layout.candidate_features(), layout.context_features())
    };
    let network = QNetwork::new(config, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    Policy {
        version: 1,
        space: space.name().into(),
        acts: Acts::Trained,
        settings: PosteriorSettings::default(),
        environment,
        network: network.frozen().unwrap(),
        caution: Caution::default(),
        learned_prior: None,
        prior: None,
        observed: Vec::new(),
        agent: None,
        agent_rate: 0.0,
        validation: None,
    }
}

#[test]
fn a_policy_that_knows_shorter_trainings_chooses_from_the_first_one_on() {
    let guided = |shorter: usize, parallel: usize| {
        let oracle = toy(6, Short::Alike);
        let guide = Guide::of_policy(&policy(shorter, &oracle.space), &oracle.space).unwrap();
        let search = LiveSearch { guide, ..search(&oracle, 6, parallel, 3) };
        search.run(vec![], &mut Kept::default(), &AtomicBool::new(false), &|_| ()).unwrap()
    };
    let found = guided(40, 1);
    assert_eq!(found[0].training.fidelity, Fidelity::Full, "an episode begins with a full training");
    assert!(
        found[1..].iter().take(20).all(|m| m.training.fidelity == Fidelity::Shorter(0)),
        "then the rule's short ones"
    );
    assert!(cost(&found) <= 6.0 + 1e-6 && cost(&found) > 5.0 && full(&found) > 2);
    assert_eq!(found, guided(40, 1), "the same seed, the same search");
    let side_by_side = guided(40, 3);
    let distinct: HashSet<&Training> = side_by_side.iter().map(|m| &m.training).collect();
    assert!(distinct.len() == side_by_side.len() && cost(&side_by_side) > 5.0);
    // One that knows full trainings only lends its past, and the rule screens.
    assert_eq!(guided(0, 1)[0].training.fidelity, Fidelity::Shorter(0));
}
