//! Searching without learning: a policy or a fixed rule on a task, from paired random starts.

use rayon::prelude::*;
use srnas_environment::{BASE, CandidateKind, Environment, Episode, ROUNDING, Walk};
use srnas_network::{self as network, FrozenQNetwork, ObservationBatch};
use srnas_predictor::Kind;
use srnas_task::Task;
use std::sync::Arc;

/// Who decides where to move.
#[derive(Clone, Debug)]
pub enum Searcher {
    /// The base rule: the best upper bound of the transfer posterior (of the plain one where there is no past).
    Rule,
    /// The best upper bound of one posterior.
    Bound(Kind, f32),
    /// A random architecture each time.
    Random,
    /// The candidate with the highest value, where it is above the value of the rule's choice as far as caution asks; else the rule's
    /// choice.
    Network(FrozenQNetwork, Caution),
}

/// How far a trained network is followed where it would deviate from the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Caution {
    /// By how much a candidate's value must be above that of the rule's choice to be chosen.
    pub margin: f32,
    /// Once so many full trainings are paid the rule alone chooses; never, where there is no such number. The first few are where
    /// learning has most to say, and the rule is hard to beat later.
    pub until: Option<u32>,
}

impl Caution {
    /// By a margin alone.
    pub fn by(margin: f32) -> Self {
        Self { margin, until: None }
    }

    /// Whether the network is asked where a walk stands.
    pub fn asks(&self, walk: &Walk) -> bool {
        self.until.is_none_or(|until| walk.spent() + ROUNDING < f64::from(until))
    }
}

/// One search.
#[derive(Clone, Debug)]
pub struct Search {
    /// Normalised regret when 1, 2, … full trainings' worth was paid: f32 [budget].
    pub regrets: Vec<f32>,
    /// Value of the incumbent by then: f32 [budget].
    pub incumbents: Vec<f32>,
    /// The best architecture found.
    pub best: Vec<u8>,
}

/// Episodes that share a network call; as many predictors over the whole space are in memory for each thread.
const GROUP: usize = 4;

/// Searches a task from `starts` random starts with the environment's horizon as budget. Start `i` of a task is the same
/// architecture for every searcher with the same seed. Runs on the current rayon pool.
///
/// `weights` are the weights of the prior's tasks.
///
/// # Errors
/// The network's, if it does not fit the observations.
pub fn search(
    env: &Arc<Environment>,
    task: &Arc<Task>,
    weights: &[f32],
    searcher: &Searcher,
    starts: usize,
    seed: u64,
) -> network::Result<Vec<Search>> {
    let groups: Vec<std::ops::Range<usize>> =
        (0..starts).step_by(GROUP).map(|s| s..starts.min(s + GROUP)).collect();
    let searches: network::Result<Vec<Vec<Search>>> = groups
        .into_par_iter()
        .map(|group| {
            let episodes = group
                .map(|start| {
                    Episode::new(env.clone(), task.clone(), weights, start_seed(seed, task.name(), start))
                })
                .collect();
            search_group(env, episodes, searcher)
        })
        .collect();
    Ok(searches?.into_iter().flatten().collect())
}

/// Seed of a start: depends on the task's name, so that tasks do not share their starts.
pub fn start_seed(seed: u64, task: &str, start: usize) -> u64 {
    let hash = task
        .bytes()
        .chain(start.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325u64 ^ seed, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^ (hash >> 31)
}

fn search_group(
    env: &Arc<Environment>,
    mut episodes: Vec<Episode>,
    searcher: &Searcher,
) -> network::Result<Vec<Search>> {
    let budget = env.config().horizon;
    let mut searches: Vec<Search> = episodes
        .iter()
        .map(|_| Search { regrets: Vec::new(), incumbents: Vec::new(), best: Vec::new() })
        .collect();
    // A budget of one is spent on the start, and a table may know nothing that can be moved to.
    let mut going: Vec<usize> =
        (0..episodes.len()).filter(|&i| budget > 1 && !episodes[i].walk().candidates().is_empty()).collect();
    while !going.is_empty() {
        let choices: Vec<usize> = match searcher {
            Searcher::Network(network, caution) => {
                let mut batch = ObservationBatch::new(network.config().identity.is_some());
                let asked: Vec<bool> = going.iter().map(|&i| caution.asks(episodes[i].walk())).collect();
                let asks = going.iter().zip(&asked).filter(|(_, asked)| **asked);
                asks.for_each(|(&i, _)| observe(episodes[i].walk_mut(), &mut batch));
                let values = if batch.batch() == 0 { Vec::new() } else { network.q_values(&batch)? };
                let mut by_network = cautious_best_of(&values, &batch, caution.margin).into_iter();
                let each = going.iter().zip(asked).map(|(&i, asked)| match asked {
                    true => by_network.next().expect("as many as were asked"),
                    false => episodes[i].walk_mut().rule_choice(),
                });
                each.collect()
            }
            other => {
                let each = going.iter().map(|&i| choose(other, episodes[i].walk_mut()));
                each.collect::<network::Result<_>>()?
            }
        };
        going = going
            .into_iter()
            .zip(choices)
            .filter_map(|(i, choice)| {
                let (episode, search) = (&mut episodes[i], &mut searches[i]);
                let before = (episode.normalised_regret(), episode.walk().incumbent_value());
                let outcome = episode.step(choice);
                // What was paid before this query: entry n is what there was when n full trainings' worth was paid.
                while episode.walk().spent() > (search.regrets.len() + 1) as f64 + ROUNDING {
                    search.regrets.push(before.0);
                    search.incumbents.push(before.1);
                }
                (!outcome.terminated && !outcome.truncated).then_some(i)
            })
            .collect();
    }
    for (search, episode) in searches.iter_mut().zip(&episodes) {
        // A walk that ended early keeps its incumbent for the queries it did not use.
        search.regrets.resize(budget, episode.normalised_regret());
        search.incumbents.resize(budget, episode.walk().incumbent_value());
        search.best = episode.walk().incumbent().to_vec();
    }
    Ok(searches)
}

/// The candidate that a searcher moves to next.
///
/// # Errors
/// The network's, if it does not fit the observation.
pub fn choose(searcher: &Searcher, walk: &mut Walk) -> network::Result<usize> {
    Ok(match searcher {
        Searcher::Rule => walk.rule_choice(),
        Searcher::Bound(kind, beta) => walk.bound_choice(Some(*kind), *beta),
        Searcher::Random => random_choice(walk),
        Searcher::Network(_, caution) if !caution.asks(walk) => walk.rule_choice(),
        Searcher::Network(network, caution) => {
            let mut batch = ObservationBatch::new(network.config().identity.is_some());
            observe(walk, &mut batch);
            cautious_best_of(&network.q_values(&batch)?, &batch, caution.margin)[0]
        }
    })
}

fn random_choice(walk: &Walk) -> usize {
    let candidates = walk.candidates();
    let new = |kind| candidates.iter().position(|c| c.kind == kind && !c.measured && c.fidelity.is_full());
    new(CandidateKind::Random).or_else(|| new(CandidateKind::Edit)).unwrap_or(0)
}

/// Adds what a walk sees to a batch.
pub fn observe(walk: &mut Walk, batch: &mut ObservationBatch) {
    let (layout, d) = (walk.environment().config().layout(), walk.environment().space().len());
    let (features, context) = (layout.candidate_features(), layout.context_features());
    let (rows, context, choices) = batch.push(walk.candidates().len(), features, context, d);
    walk.observation(rows, context);
    for (c, choices) in choices.chunks_exact_mut(d).enumerate() {
        walk.choices_of(c, choices);
    }
}

/// As [`best_of`], but the candidate of the highest base score stays the choice unless another's value is higher by more
/// than `margin`: small differences between estimated values are noise, and the highest of many is the noisiest.
pub fn cautious_best_of(values: &[f32], batch: &ObservationBatch, margin: f32) -> Vec<usize> {
    let mut choices = best_of(values, batch);
    let features = batch.candidates.len() / values.len().max(1);
    for (i, choice) in choices.iter_mut().enumerate() {
        let rows = batch.rows(i);
        let base = |c: usize| batch.candidates[(rows.start + c) * features + BASE];
        let value = |c: usize| values[rows.start + c];
        let by_rule = (1..rows.len()).fold(0, |best, c| if base(c) > base(best) { c } else { best });
        if value(*choice) - value(by_rule) <= margin {
            *choice = by_rule;
        }
    }
    choices
}

/// Index of the highest value among the candidates of each observation; the first of equals.
pub fn best_of(values: &[f32], batch: &ObservationBatch) -> Vec<usize> {
    let best =
        |values: &[f32]| (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best });
    (0..batch.batch()).map(|i| best(&values[batch.rows(i)])).collect()
}
