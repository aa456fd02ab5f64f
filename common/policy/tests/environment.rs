//! Episodes: what a walk may do, what it pays, and what it sees.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use srnas_environment::{
    BASE, CANDIDATE_FEATURES, CONTEXT_FEATURES, COST, CandidateKind, CandidateMode, Environment,
    EnvironmentConfig, Episode, Layout, Reach, Walk, shaped_quality, synthetic,
};
use srnas_network::{QNetwork, QNetworkConfig};
use srnas_policy::{
    Caution,
    evaluation::{Searcher, search},
};
use srnas_predictor::{PosteriorSettings, Prior};
use srnas_space::{Condition, Conditional, Constraint, Custom, Decision, ListedBy, SearchSpace};
use srnas_task::{Count, Fidelity, Measurable, Shorter, Task, Training};
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

fn nb201_task(seed: u64, count: Count) -> Arc<Task> {
    let space = SearchSpace::named("nb201").unwrap();
    let task = synthetic::draw(&space, &[], &mut ChaCha8Rng::seed_from_u64(seed));
    let values: Arc<[f32]> = (0..15_625).map(|r| task.value_of_rank(r).unwrap()).collect();
    Arc::new(Task::new(format!("t{seed}"), format!("f{seed}"), space, values, count).unwrap())
}

fn prior() -> Arc<Prior> {
    let tasks: Vec<Arc<Task>> = (100..104).map(|s| nb201_task(s, Count::Strings)).collect();
    Arc::new(Prior::from_tables(&SearchSpace::named("nb201").unwrap(), &tasks).unwrap())
}

fn environment(config: EnvironmentConfig, prior: Option<Arc<Prior>>, reach: Reach) -> Arc<Environment> {
    let space = SearchSpace::named("nb201").unwrap();
    Arc::new(Environment::new(space, config, PosteriorSettings::default(), prior, reach))
}

fn config(mode: CandidateMode, posteriors: bool, horizon: usize) -> EnvironmentConfig {
    EnvironmentConfig { candidates: mode, posteriors, horizon, pool: 120, ..EnvironmentConfig::default() }
}

/// Walks at random to the end and checks everything on the way.
fn walk(env: &Arc<Environment>, task: &Arc<Task>, seed: u64) -> Vec<(u64, f32)> {
    let weights = env.prior().map_or_else(Vec::new, |p| p.all());
    let mut episode = Episode::new(env.clone(), task.clone(), &weights, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
    let width = env.config().max_candidates();
    let mut rows = vec![0.0; width * CANDIDATE_FEATURES];
    let mut context = vec![0.0; CONTEXT_FEATURES];
    // Values of what is under way; with one slot a step ends what it began.
    let (slots, mut under_way) = (env.config().slots, VecDeque::new());
    let first = episode.walk().current_measurement();
    let (mut paid, mut walked) = (HashSet::from([first.key]), vec![(first.key, first.value)]);
    let mut best = first.value;
    let mut choices = vec![0; env.space().len()];
    for step in 1.. {
        let n = episode.walk().candidates().len();
        assert!((1..=width).contains(&n), "{n} candidates");
        episode.walk_mut().observation(&mut rows, &mut context);
        assert!(rows.iter().chain(&context).all(|v| v.is_finite()));
        for (i, candidate) in episode.walk().candidates().iter().enumerate() {
            episode.walk().choices_of(i, &mut choices);
            assert_eq!(env.space().rank(&choices), candidate.rank, "{candidate:?}");
        }
        let action = rng.random_range(0..n);
        let candidate = episode.walk().candidates()[action];
        episode.walk().choices_of(action, &mut choices);
        assert!(env.space().is_valid(&choices));
        assert_eq!(env.space().rank(&choices), candidate.rank);
        assert_eq!(task.key(&choices, candidate.rank), candidate.key);
        assert_eq!(candidate.measured, paid.contains(&candidate.key));
        if candidate.kind == CandidateKind::Edit {
            assert_eq!(srnas_space::edit_distance(episode.walk().current(), &choices), 1);
        }
        let before = episode.quality();
        let outcome = episode.step(action);
        assert_eq!(outcome.measured.is_some(), !candidate.measured);
        let is_over = outcome.truncated || outcome.terminated;
        if let Some(m) = outcome.measured {
            assert!(paid.insert(m.key), "a key is paid for twice");
            assert_eq!(Some(m.value), task.value(&choices));
            walked.push((m.key, m.value));
            under_way.push_back(m.value);
        }
        while under_way.len() >= slots || is_over && !under_way.is_empty() {
            best = best.max(under_way.pop_front().unwrap());
        }
        assert_eq!(episode.walk().incumbent_value(), best);
        assert_eq!(episode.walk().paid() + under_way.len(), paid.len());
        assert!((outcome.reward - (episode.quality() - before)).abs() < 1e-6 && outcome.reward >= 0.0);
        assert_eq!(outcome.truncated, paid.len() >= env.config().horizon || step >= 2 * env.config().horizon);
        if is_over {
            break;
        }
    }
    let earned = episode.quality() - shaped_quality(task.normalised_regret(first.value));
    assert!((episode.returned() - earned).abs() < 1e-4, "{} of {earned}", episode.returned());
    walked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn walks_keep_their_promises(
        seed in 0u64..1000,
        edits in any::<bool>(),
        posteriors in any::<bool>(),
        classes in any::<bool>(),
        past in any::<bool>(),
        whole in any::<bool>(),
        slots in 1usize..5,
    ) {
        let mode = if edits { CandidateMode::Edits } else { CandidateMode::Proposals };
        let count = if classes { Count::Classes } else { Count::Strings };
        let reach = if whole { Reach::Whole } else { Reach::Pool };
        let config = EnvironmentConfig { slots, ..config(mode, posteriors, 10) };
        let env = environment(config, past.then(prior), reach);
        let task = nb201_task(seed, count);
        // The same seed walks the same way.
        prop_assert_eq!(walk(&env, &task, seed), walk(&env, &task, seed));
    }
}

#[test]
fn a_space_with_conditions_can_be_exhausted() {
    let width = ["64", "128", "256"];
    let space = Arc::new(
        Conditional::space(
            "made-up",
            vec![
                Decision::new("depth", &["1", "2"]),
                Decision::new("w1", &width),
                Decision::new("w2", &width),
            ],
            vec![Condition { decision: 2, depends_on: 0, active_if: vec![1] }],
        )
        .unwrap(),
    );
    let values: Vec<f32> = (0..18).map(|r| (r % 7) as f32).collect();
    let task = Task::new("t", "f", space.clone(), values, Count::Classes).unwrap();
    let task = Arc::new(task);
    let config = EnvironmentConfig { horizon: 100, pool: 40, ..EnvironmentConfig::default() };
    let env = Arc::new(Environment::new(space, config, PosteriorSettings::default(), None, Reach::Pool));
    let mut episode = Episode::new(env, task, &[], 5);
    let mut steps = 0;
    while let Some(new) = episode.walk().candidates().iter().position(|c| !c.measured) {
        let outcome = episode.step(new);
        assert!(!outcome.terminated && !outcome.truncated);
        steps += 1;
    }
    // Twelve classes: three of depth 1, nine of depth 2.
    assert_eq!((episode.walk().paid(), steps), (12, 11));
    assert_eq!(episode.normalised_regret(), 0.0);
    // What is left may be walked over again, free.
    assert!(episode.step(0).measured.is_none());
}

#[test]
fn a_table_of_architectures_without_neighbours_is_walked_to_its_end() {
    let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
    let large = Arc::new(Conditional::space("large", (0..40).map(decision).collect(), vec![]).unwrap());
    let rows: Vec<Vec<u8>> = (0..3).map(|c| vec![c; 40]).collect();
    let space = large.listed(rows.iter().map(Vec::as_slice), ListedBy::Class).unwrap();
    let task = |values: Vec<f32>| Task::new("t", "f", space.clone(), values, Count::Classes).unwrap();
    let shorter = Shorter { task: Arc::new(task(vec![0.0, 2.0, 1.0])), cost: 0.1 };
    let task = Arc::new(task(vec![1.0, 2.0, 3.0]).with_shorter(vec![shorter]).unwrap());
    let config = EnvironmentConfig { horizon: 50, shorter: 40, ..EnvironmentConfig::default() };
    let env = Environment::new(space.clone(), config, PosteriorSettings::default(), None, Reach::Whole);
    let env = Arc::new(env);
    let layout = env.config().layout();
    let mut episode = Episode::new(env.clone(), task, &[], 1);
    let mut context = vec![0.0; layout.context_features()];
    loop {
        let mut rows = vec![0.0; episode.walk().candidates().len() * layout.candidate_features()];
        episode.walk_mut().observation(&mut rows, &mut context);
        assert!(rows.iter().chain(&context).all(|v| v.is_finite()));
        let Some(next) = episode.walk().candidates().iter().position(|c| !c.measured) else { break };
        if episode.step(next).terminated {
            let mut none = Vec::new();
            episode.walk_mut().observation(&mut none, &mut context);
            break;
        }
    }
    assert_eq!(episode.normalised_regret(), 0.0);
}

#[test]
fn a_space_no_larger_than_the_pool_is_looked_at_whole() {
    let task = nb201_task(1, Count::Strings);
    let regrets = |pool, reach| {
        let env = environment(EnvironmentConfig { pool, ..shorter_config(12) }, None, reach);
        let task = Arc::new(synthetic::with_shorter(&task, &mut ChaCha8Rng::seed_from_u64(2)));
        search(&env, &task, &[], &Searcher::Rule, 4, 3)
            .unwrap()
            .into_iter()
            .map(|s| s.regrets)
            .collect::<Vec<_>>()
    };
    let whole = regrets(120, Reach::Whole);
    assert_eq!(regrets(15_625, Reach::Pool), whole);
    assert_ne!(regrets(15_624, Reach::Pool), whole);
}

#[test]
fn an_untrained_policy_acts_as_the_rule() {
    let env = environment(config(CandidateMode::Proposals, true, 20), Some(prior()), Reach::Whole);
    let shape = QNetworkConfig {
        base_feature: Some(BASE),
        base_scale: 0.5,
        ..QNetworkConfig::new(CANDIDATE_FEATURES, CONTEXT_FEATURES)
    };
    let network = QNetwork::new(shape, &mut ChaCha8Rng::seed_from_u64(1)).unwrap().frozen().unwrap();
    let weights = env.prior().unwrap().all();
    for seed in 0..3 {
        let task = nb201_task(seed, Count::Strings);
        let run = |s: &Searcher| search(&env, &task, &weights, s, 6, 9).unwrap();
        for (rule, untrained) in
            run(&Searcher::Rule).iter().zip(run(&Searcher::Network(network.clone(), Caution::by(0.0))))
        {
            assert_eq!(rule.regrets, untrained.regrets);
        }
    }
}

#[test]
fn a_cautious_network_is_followed_until_so_much_is_paid_and_then_the_rule() {
    let env = environment(config(CandidateMode::Proposals, true, 20), Some(prior()), Reach::Whole);
    let shape = QNetworkConfig::new(CANDIDATE_FEATURES, CONTEXT_FEATURES);
    let network = QNetwork::new(shape, &mut ChaCha8Rng::seed_from_u64(1)).unwrap().frozen().unwrap();
    let (weights, task) = (env.prior().unwrap().all(), nb201_task(1, Count::Strings));
    let regrets = |searcher: &Searcher| -> Vec<Vec<f32>> {
        search(&env, &task, &weights, searcher, 6, 9).unwrap().into_iter().map(|s| s.regrets).collect()
    };
    // It has learned nothing and deviates all the same.
    let followed = |until| regrets(&Searcher::Network(network.clone(), Caution { margin: -1.0, until }));
    let (rule, to_the_end, at_first) = (regrets(&Searcher::Rule), followed(None), followed(Some(5)));
    assert_ne!(to_the_end, rule);
    assert_eq!(followed(Some(1)), rule, "the start is paid already");
    assert_eq!(followed(Some(20)), to_the_end);
    let first = |regrets: &[Vec<f32>]| regrets.iter().map(|r| r[..5].to_vec()).collect::<Vec<_>>();
    assert_eq!(first(&at_first), first(&to_the_end));
    assert!(at_first != to_the_end && at_first != rule);
}

/// Every encoding of nb201, by rank.
fn all() -> impl Iterator<Item = Vec<u8>> {
    let space = SearchSpace::named("nb201").unwrap();
    (0..15_625).map(move |rank| {
        let mut choices = vec![0; 6];
        space.unrank(rank, &mut choices);
        choices
    })
}

#[test]
fn the_rule_with_a_past_beats_the_one_without_and_both_beat_chance() {
    // Relatives: the same function with another disturbance each.
    let base = nb201_task(7, Count::Strings);
    let relative = |s: u64| {
        let other = nb201_task(50 + s, Count::Strings);
        let values: Vec<f32> = all().map(|c| base.prior_value(&c) + 0.15 * other.prior_value(&c)).collect();
        let space = SearchSpace::named("nb201").unwrap();
        Arc::new(Task::new(format!("r{s}"), "f", space, values, Count::Strings).unwrap())
    };
    let tasks: Vec<Arc<Task>> = (0..6).map(relative).collect();
    let prior = Arc::new(Prior::from_tables(tasks[0].space(), &tasks[1..]).unwrap());
    let regret = |prior: Option<Arc<Prior>>, searcher: Searcher| {
        let env = environment(config(CandidateMode::Proposals, true, 12), prior.clone(), Reach::Whole);
        let weights = prior.map_or_else(Vec::new, |p| p.all());
        let searches = search(&env, &tasks[0], &weights, &searcher, 16, 3).unwrap();
        searches.iter().map(|s| s.regrets[11]).sum::<f32>() / 16.0
    };
    let (with, without) = (regret(Some(prior), Searcher::Rule), regret(None, Searcher::Rule));
    let chance = regret(None, Searcher::Random);
    assert!(with < without && without < chance, "{with} {without} {chance}");
}

/// A task on nb201 with shorter trainings: with how much each costs and how much of the task's own value it says; the rest is
/// what another task says.
fn with_shorter(seed: u64, levels: &[(f64, f32)]) -> Arc<Task> {
    let (task, other) = (nb201_task(seed, Count::Strings), nb201_task(seed + 1_000, Count::Strings));
    let shorter = levels.iter().map(|&(cost, share)| {
        let value = |c: Vec<u8>| share * task.prior_value(&c) + (1.0 - share) * other.prior_value(&c);
        let values: Vec<f32> = all().map(value).collect();
        let space = task.space().clone();
        let name = format!("{} at {cost}", task.name());
        let short = Task::new(name, task.family(), space, values, Count::Strings);
        Shorter { task: Arc::new(short.unwrap()), cost }
    });
    let shorter = shorter.collect();
    Arc::new(Task::clone(&task).with_shorter(shorter).unwrap())
}

fn shorter_config(horizon: usize) -> EnvironmentConfig {
    EnvironmentConfig { shorter: 40, ..config(CandidateMode::Proposals, true, horizon) }
}

/// Walks at random, or by the rule, to the end, checks everything on the way, and returns what was paid for.
fn walk_with_shorter(
    env: &Arc<Environment>,
    task: &Arc<Task>,
    seed: u64,
    by_rule: bool,
) -> Vec<(u64, Fidelity)> {
    let weights = env.prior().map_or_else(Vec::new, |p| p.all());
    let mut episode = Episode::new(env.clone(), task.clone(), &weights, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
    let (layout, width) = (env.config().layout(), env.config().max_candidates());
    let features = layout.candidate_features();
    let mut rows = vec![0.0; width * features];
    let mut context = vec![0.0; layout.context_features()];
    let mut paid = vec![(episode.walk().current_measurement().key, Fidelity::Full)];
    let (mut spent, mut best) = (1.0, episode.walk().incumbent_value());
    let mut choices = vec![0; env.space().len()];
    loop {
        let n = episode.walk().candidates().len();
        assert!((1..=width).contains(&n), "{n} candidates of {width}");
        episode.walk_mut().observation(&mut rows, &mut context);
        assert!(rows.iter().chain(&context).all(|v| v.is_finite()));
        let row = |i: usize| &rows[i * features..(i + 1) * features];
        // The base score ranks the rule's choice first.
        let rule = episode.walk_mut().rule_choice();
        assert!((0..n).all(|i| i == rule || row(i)[BASE] < row(rule)[BASE] + 1e-6));
        let action = if by_rule { rule } else { rng.random_range(0..n) };
        let candidate = episode.walk().candidates()[action];
        episode.walk().choices_of(action, &mut choices);
        assert_eq!(env.space().rank(&choices), candidate.rank);
        assert_eq!(row(action)[COST], candidate.cost as f32);
        let here = episode.walk().current().to_vec();
        let outcome = episode.step(action);
        assert!(outcome.reward >= 0.0);
        if let Some(measured) = outcome.measured {
            assert_eq!((measured.key, measured.fidelity), (candidate.key, candidate.fidelity));
            assert!(!paid.contains(&(measured.key, measured.fidelity)), "paid for twice");
            paid.push((measured.key, measured.fidelity));
            spent += candidate.cost;
            assert_eq!(task.value_after(measured.fidelity, &choices), Some(measured.value));
            match measured.fidelity {
                // What a short training says is no value of the architecture, and the walk stays.
                Fidelity::Shorter(_) => assert!(episode.walk().current() == here && outcome.reward == 0.0),
                Fidelity::Full => best = best.max(measured.value),
            }
        }
        assert_eq!(episode.walk().incumbent_value(), best);
        assert!((episode.walk().spent() - spent).abs() < 1e-6 && spent <= env.config().horizon as f64 + 1e-6);
        if outcome.truncated || outcome.terminated {
            assert!(outcome.terminated || spent + 1.0 > env.config().horizon as f64 || !by_rule);
            return paid;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn walks_with_shorter_trainings_keep_their_promises(
        seed in 0u64..1000,
        by_rule in any::<bool>(),
        past in any::<bool>(),
        whole in any::<bool>(),
        middle in any::<bool>(),
    ) {
        let reach = if whole { Reach::Whole } else { Reach::Pool };
        let env = environment(shorter_config(8), past.then(prior), reach);
        let levels = [(0.1, 0.6), (0.3, 0.9)];
        let task = with_shorter(seed, if middle { &levels } else { &levels[..1] });
        let paid = walk_with_shorter(&env, &task, seed, by_rule);
        prop_assert!(!by_rule || paid.iter().any(|(_, fidelity)| !fidelity.is_full()));
        prop_assert_eq!(&paid, &walk_with_shorter(&env, &task, seed, by_rule));
        // A task without shorter trainings is walked in the same environment.
        let alone = walk_with_shorter(&env, &nb201_task(seed, Count::Strings), seed, by_rule);
        prop_assert!(alone.iter().all(|(_, fidelity)| fidelity.is_full()));
    }
}

/// Mean regret of the rule when so much was paid, over some tasks whose shorter training says this share of the task.
fn rule_with_shorter(share: f32, config: EnvironmentConfig) -> f32 {
    let env = environment(config, None, Reach::Whole);
    let regrets: Vec<f32> = (0..12)
        .flat_map(|seed| {
            let task = with_shorter(seed, &[(0.05, share)]);
            search(&env, &task, &[], &Searcher::Rule, 2, 1).unwrap()
        })
        .map(|search| search.regrets[11])
        .collect();
    regrets.iter().sum::<f32>() / regrets.len() as f32
}

#[test]
fn short_trainings_help_the_rule_where_they_say_something() {
    let with = rule_with_shorter(0.9, EnvironmentConfig { horizon: 12, ..shorter_config(12) });
    let without = rule_with_shorter(0.9, EnvironmentConfig { shorter: 0, ..shorter_config(12) });
    assert!(with < 0.8 * without, "{with} with, {without} without");
}

#[test]
fn what_failed_once_stays_closed_when_another_training_of_it_ends() {
    let env = environment(shorter_config(8), None, Reach::Whole);
    let mut walk = told(&env, &[(vec![0; 6], 1.0), (vec![1; 6], 3.0)], &[]);
    let both = [Training::full(vec![2; 6]), Training::shorter(vec![2; 6], 0)];
    both.iter().for_each(|training| walk.begun(training));
    let closed = |walk: &mut Walk| {
        walk.look();
        walk.candidates().iter().all(|c| c.rank != env.space().rank(&[2; 6]))
    };
    walk.told(&[2; 6], Fidelity::Shorter(0), 9.0);
    assert!(walk.waits() && closed(&mut walk), "the full one is still under way");
    walk.infeasible(&[2; 6], Fidelity::Full);
    assert!(!walk.waits() && closed(&mut walk));
    walk.told(&[2; 6], Fidelity::Shorter(0), 9.0);
    assert!(closed(&mut walk), "it has failed");
}

/// A walk that was told the trainings `full` and `shorter`.
fn told(env: &Arc<Environment>, full: &[(Vec<u8>, f32)], shorter: &[(usize, Vec<u8>, f32)]) -> Walk {
    let what = Measurable::everything(Count::Strings, [0.1]);
    let mut walk = Walk::new(env.clone(), Arc::new(what), &[], 5);
    walk.look();
    assert!(walk.candidates().is_empty(), "nothing is measured, so there is nowhere to move from");
    full.iter().for_each(|(choices, value)| walk.told(choices, Fidelity::Full, *value));
    shorter.iter().for_each(|(place, choices, value)| walk.told(choices, Fidelity::Shorter(*place), *value));
    walk.look();
    walk
}

#[test]
fn a_walk_goes_on_from_trainings_made_elsewhere() {
    let env = environment(shorter_config(8), None, Reach::Whole);
    let full = [(vec![0; 6], 1.0), (vec![1; 6], 3.0)];
    let shorter = [(0, vec![2; 6], 0.5), (0, vec![0; 6], 0.1)];
    let mut walk = told(&env, &full, &shorter);
    assert!((walk.spent() - 2.2).abs() < 1e-9);
    assert_eq!((walk.paid(), walk.incumbent_value()), (4, 3.0));
    let known = env.space().rank(&[2; 6]);
    let mut again = walk.candidates().iter().filter(|c| !c.fidelity.is_full());
    assert!(again.all(|c| c.rank != known), "a training is not made twice");
    // What is seen of the full training of an architecture that was trained short says so.
    let features = Layout::new(true).candidate_features();
    let mut rows = vec![0.0; env.config().max_candidates() * features];
    let mut context = vec![0.0; Layout::new(true).context_features()];
    walk.observation(&mut rows, &mut context);
    for (i, candidate) in walk.candidates().iter().enumerate() {
        let told = [known, env.space().rank(&[0; 6])].contains(&candidate.rank);
        assert_eq!(rows[i * features + COST + 2] == 1.0, told, "{candidate:?}");
    }
    // A length that there is not says nothing.
    assert_eq!(told(&env, &full, &[(7, vec![2; 6], 0.5)]).paid(), 2);
}

#[test]
fn what_is_under_way_or_has_no_value_is_no_candidate() {
    for (shorter, reach) in [(0, Reach::Whole), (40, Reach::Whole), (0, Reach::Pool), (40, Reach::Pool)] {
        let env = environment(EnvironmentConfig { shorter, ..shorter_config(30) }, None, reach);
        let mut walk = told(&env, &[(vec![0; 6], 1.0), (vec![1; 6], 3.0)], &[]);
        let mut asked: HashSet<u64> = HashSet::new();
        for turn in 0..24 {
            let mut imagined = walk.imagined();
            imagined.look();
            let new = imagined.candidates().iter().filter(|c| !c.measured);
            assert!(new.clone().count() > 0 && new.clone().all(|c| !asked.contains(&c.rank)));
            // What is only imagined can be gone back to neither.
            let free = imagined.candidates().iter().filter(|c| c.measured);
            assert!(free.clone().all(|c| !asked.contains(&c.rank)));
            let next = imagined.rule_choice();
            let mut choices = vec![0; 6];
            imagined.choices_of(next, &mut choices);
            let fidelity = imagined.candidates()[next].fidelity;
            asked.insert(env.space().rank(&choices));
            let training = Training { choices, fidelity };
            walk.begun(&training);
            match turn % 3 {
                // It stays under way.
                0 => assert!(walk.waits()),
                1 => walk.infeasible(&training.choices, fidelity),
                _ => {
                    asked.remove(&env.space().rank(&training.choices));
                    walk.told(&training.choices, fidelity, 2.0);
                }
            }
        }
        let before = walk.incumbent_value();
        assert_eq!((before, walk.imagined().incumbent_value()), (3.0, 3.0));
    }
}

#[test]
fn what_breaks_the_space_s_rules_is_no_candidate() {
    // Half of all is forbidden, and the more a choice is like the forbidden ones, the better it is.
    let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c", "d"]);
    let forbidden = Constraint::Forbid(vec![(0, vec![2, 3])]);
    let decisions = (0..3).map(decision).collect();
    let space = Arc::new(Custom::space("half", decisions, vec![], vec![forbidden], vec![]).unwrap());
    let settings = PosteriorSettings::default();
    let env = Arc::new(Environment::new(
        space.clone(),
        config(CandidateMode::Proposals, true, 40),
        settings,
        None,
        Reach::Whole,
    ));
    let what = Arc::new(Measurable::everything(Count::Classes, []));
    let mut walk = Walk::new(env, what, &[], 5);
    for (first, value) in [(0, 1.0), (1, 2.0)] {
        for second in 0..4 {
            walk.told(&[first, second, second], Fidelity::Full, value + f32::from(second));
        }
    }
    let mut choices = vec![0; 3];
    for _ in 0..10 {
        walk.look();
        assert!(walk.candidates().iter().any(|c| c.kind == CandidateKind::Proposal));
        for place in 0..walk.candidates().len() {
            walk.choices_of(place, &mut choices);
            assert!(space.is_valid(&choices), "{choices:?}");
        }
        let place = walk.candidates().iter().position(|c| !c.measured).unwrap();
        walk.choices_of(place, &mut choices);
        walk.told(&choices.clone(), Fidelity::Full, 5.0);
    }
}
