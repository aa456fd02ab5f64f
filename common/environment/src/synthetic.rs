//! Synthetic tasks: random functions on a space, so that a policy needs no data to begin with and does not believe that
//! every task resembles the ones it was trained on.
//!
//! A draw is a sum of main effects (alike choices share part of theirs), a smooth random function with a random length
//! per decision (random Fourier features on one-hot codes of the active form), and patterns that kill; then, by chance, a
//! monotone warp, a mix with a real task, noise.

use rand::{Rng, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};
use srnas_space::{Conditional, Decision, ListedBy, SearchSpace};
use srnas_task::{Count, Shorter, Task};
use std::sync::Arc;

/// Family of a task that is mixed with no real one; a mix is of the real one's family.
pub const FAMILY: &str = "synthetic";
/// Random features of the smooth part.
const FEATURES: usize = 24;

/// Encodings of a space over which a task can be drawn, at most.
const LARGEST: u64 = 1 << 16;

/// Whether tasks can be drawn over a space.
pub fn fits(space: &SearchSpace) -> bool {
    space.size().is_some_and(|size| size <= LARGEST)
}

/// Encodings of a part of a space, at most.
const PART: usize = 1 << 14;
/// So few would be no search.
const FEW: usize = 300;

/// A part of a space over which tasks can be drawn: the space itself where it [fits](fits), else all that some choices of each
/// decision allow, more of one decision and fewer of another, and `known` architectures, the first of which lies in the middle of it.
/// Its conditions and constraints are the space's own.
pub fn part(space: &Arc<SearchSpace>, known: &[Vec<u8>], rng: &mut impl Rng) -> Arc<SearchSpace> {
    if fits(space) {
        return space.clone();
    }
    let mut best: Vec<Vec<u8>> = Vec::new();
    // Constraints may leave little of a draw.
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let mut middle = known.first().cloned().unwrap_or_else(|| vec![0; space.len()]);
        if known.is_empty() {
            space.sample(rng, &mut middle);
        }
        let part = allowed(space, &some_choices(space, &middle, rng));
        if part.len() > best.len() {
            best = part;
        }
        if best.len() >= FEW {
            break;
        }
    }
    let all = best.iter().chain(known).map(Vec::as_slice);
    space.listed(all, ListedBy::Class).unwrap_or_else(|| space.clone())
}

/// Some choices of each decision, one of them that of `middle`, in as many combinations as a part may have.
fn some_choices(space: &SearchSpace, middle: &[u8], rng: &mut impl Rng) -> Vec<Vec<u8>> {
    let mut some: Vec<Vec<u8>> = middle.iter().map(|&choice| vec![choice]).collect();
    let mut others: Vec<(usize, u8)> = (0..space.len())
        .flat_map(|d| (0..space.arity(d)).filter(move |c| *c != middle[d]).map(move |c| (d, c)))
        .collect();
    others.shuffle(rng);
    let mut size = 1.0;
    for (decision, choice) in others {
        let n = some[decision].len() as f64;
        if size / n * (n + 1.0) <= PART as f64 {
            size *= (n + 1.0) / n;
            some[decision].push(choice);
        }
    }
    some
}

/// The valid combinations of these choices, one for each decision.
fn allowed(space: &SearchSpace, some: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut places = vec![0; some.len()];
    let mut all = Vec::new();
    loop {
        let choices: Vec<u8> = some.iter().zip(&places).map(|(choices, &place)| choices[place]).collect();
        if space.is_valid(&choices) {
            all.push(choices);
        }
        // The next combination, as a counter goes on.
        let Some(next) = (0..some.len()).find(|&d| places[d] + 1 < some[d].len()) else { return all };
        places[next] += 1;
        places[..next].fill(0);
    }
}

/// Draws a task over a space that [fits](fits). `relatives` are real tasks to mix with, by a random share.
///
/// # Panics
/// When the space has more encodings.
pub fn draw(space: &Arc<SearchSpace>, relatives: &[Arc<Task>], rng: &mut impl Rng) -> Arc<Task> {
    loop {
        let mut values = random_function(space, rng);
        let mut family = FAMILY;
        if !relatives.is_empty() && rng.random_bool(0.5) {
            let relative = &relatives[rng.random_range(0..relatives.len())];
            mix(&mut values, relative, rng);
            family = relative.family();
        }
        warp_and_disturb(&mut values, rng);
        // A draw whose best is its median has nothing to find: draw again.
        if let Ok(task) = Task::new("synthetic", family, space.clone(), values, Count::Strings) {
            return Arc::new(task);
        }
    }
}

/// Costs of shorter trainings: from so much of a full one to so much, evenly by their logarithm.
const COSTS: [f64; 2] = [0.01, 0.5];
/// How well a shorter training says what the full one does: the correlation of the two, each made normal.
const AGREEMENT: [f32; 2] = [0.2, 0.98];

/// The same task with one shorter training, or by chance with two: warped, biased and noisy relatives of what it is. What costs more
/// says no less.
///
/// # Panics
/// As [`draw`].
pub fn with_shorter(task: &Arc<Task>, rng: &mut impl Rng) -> Arc<Task> {
    let lengths = if rng.random_bool(0.2) { 2 } else { 1 };
    let mut costs: Vec<f64> =
        (0..lengths).map(|_| rng.random_range(COSTS[0].ln()..COSTS[1].ln()).exp()).collect();
    let mut agreements: Vec<f32> =
        (0..lengths).map(|_| rng.random_range(AGREEMENT[0]..AGREEMENT[1])).collect();
    costs.sort_by(f64::total_cmp);
    agreements.sort_by(f32::total_cmp);
    let full = normal_scores(task);
    // The bias is a function of the architecture: some kinds learn fast and end low.
    let bias = normalised(random_function(task.space(), rng));
    let shorter = costs.iter().zip(&agreements).map(|(&cost, &agreement)| {
        let biased = rng.random_range(0.0..1.0f32);
        let (of_bias, of_noise) = (biased.sqrt(), (1.0 - biased).sqrt());
        let astray = (1.0 - agreement * agreement).sqrt();
        let value = |(f, b): (&f32, &f32)| agreement * f + astray * (of_bias * b + of_noise * normal(rng));
        let mut values: Vec<f32> = full.iter().zip(&bias).map(value).collect();
        warp_and_disturb(&mut values, rng);
        let values = values;
        let name = format!("{} at {cost:.3}", task.name());
        let task = Task::new(name, task.family(), task.space().clone(), values, task.count()).ok()?;
        Some(Shorter { task: Arc::new(task), cost })
    });
    let shorter: Option<Vec<Shorter>> = shorter.collect();
    let task = Task::clone(task);
    // A draw that is the same everywhere says nothing, and two of one cost cannot be told apart: then it has none.
    let alone = task.clone();
    Arc::new(shorter.and_then(|shorter| task.with_shorter(shorter).ok()).unwrap_or(alone))
}

/// Values by rank as a standard normal distribution has them: the lowest the least, and so on. What is missing is in the middle.
fn normal_scores(task: &Task) -> Vec<f32> {
    let size = task.space().size().expect("an enumerable space");
    let mut known: Vec<(f32, u64)> =
        (0..size).filter_map(|rank| Some((task.value_of_rank(rank)?, rank))).collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut scores = vec![0.0; size as usize];
    let n = known.len() as f32;
    for (i, (_, rank)) in known.into_iter().enumerate() {
        scores[rank as usize] = quantile((i as f32 + 0.5) / n);
    }
    normalised(scores)
}

/// The standard normal distribution's quantile, to two digits (Tukey's lambda distribution with λ = 0.135).
fn quantile(p: f32) -> f32 {
    const LAMBDA: f32 = 0.135;
    (p.powf(LAMBDA) - (1.0 - p).powf(LAMBDA)) / 0.1975
}

/// With mean 0 and deviation 1.
fn normalised(mut values: Vec<f32>) -> Vec<f32> {
    let (mean, deviation) = (values.iter().sum::<f32>() / values.len() as f32, standard_deviation(&values));
    values.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
    values
}

/// A made-up space of some hundred to some ten thousand architectures, without conditions.
pub fn random_space(rng: &mut impl Rng) -> Arc<SearchSpace> {
    let shared = rng.random_bool(0.6);
    let mut arity = rng.random_range(2..=6usize);
    let mut size = 1usize;
    let mut decisions = Vec::new();
    while size < 300 || (size * 6 <= 16_000 && rng.random_bool(0.7)) {
        if !shared {
            arity = rng.random_range(2..=6);
        }
        // Decisions with a vocabulary of their own need names of their own.
        let prefix = if shared { String::new() } else { format!("{}.", decisions.len()) };
        let choices = (0..arity).map(|c| format!("{prefix}{c}")).collect();
        decisions.push(Decision {
            name: format!("d{}", decisions.len()),
            choices,
            literal: false,
            ordered: false,
        });
        size *= arity;
    }
    Arc::new(Conditional::space("synthetic", decisions, Vec::new()).expect("a product of choices is a space"))
}

fn normal(rng: &mut impl Rng) -> f32 {
    StandardNormal.sample(rng)
}

fn random_function(space: &SearchSpace, rng: &mut impl Rng) -> Vec<f32> {
    let size = space.size().filter(|_| fits(space)).expect("an enumerable space") as usize;
    let d = space.len();
    let offsets: Vec<usize> = (0..d)
        .scan(0, |at, i| {
            let here = *at;
            *at += space.arity(i) as usize;
            Some(here)
        })
        .collect();
    let codes = offsets[d - 1] + space.arity(d - 1) as usize;

    // Main effects: a share of each choice's effect is common to its vocabulary.
    let alike = rng.random_range(0.0..1.0f32);
    let importance: Vec<f32> = (0..d).map(|_| rng.random_range(0.0..1.0f32).powi(2) + 0.05).collect();
    let mut common = vec![Vec::new(); d];
    let mut main = vec![0.0; codes];
    for i in 0..d {
        let v = space.vocabulary(i);
        if common[v].is_empty() {
            common[v] = (0..space.arity(i)).map(|_| normal(rng)).collect();
        }
        for c in 0..space.arity(i) as usize {
            main[offsets[i] + c] = importance[i] * (alike * common[v][c] + (1.0 - alike) * normal(rng));
        }
    }
    let roughness = rng.random_range(0.0..1.5f32);
    let frequency = rng.random_range(0.5..2.5f32);
    let smooth: Vec<(Vec<f32>, f32, f32)> = (0..FEATURES)
        .map(|_| {
            let w = (0..codes)
                .enumerate()
                .map(|(k, _)| {
                    let i = offsets.partition_point(|&o| o <= k) - 1;
                    frequency * importance[i].sqrt() * normal(rng)
                })
                .collect();
            let amplitude = roughness * normal(rng) / (FEATURES as f32).sqrt();
            (w, rng.random_range(0.0..std::f32::consts::TAU), amplitude)
        })
        .collect();
    // Patterns that kill: architectures with these two choices lose nearly everything.
    let patterns: Vec<[(usize, u8); 2]> = (0..rng.random_range(0..3usize))
        .map(|_| {
            [0; 2].map(|_| {
                let i = rng.random_range(0..d);
                (i, rng.random_range(0..space.arity(i)))
            })
        })
        .collect();
    let depth = rng.random_range(1.0..5.0f32);

    let mut choices = vec![0u8; d];
    let mut active = vec![0u8; d];
    (0..size as u64)
        .map(|rank| {
            space.unrank(rank, &mut choices);
            active.copy_from_slice(&choices);
            space.activate(&mut active);
            let code = |i: usize| offsets[i] + active[i] as usize;
            let mut value: f32 = (0..d).map(|i| main[code(i)]).sum();
            for (w, phase, amplitude) in &smooth {
                value += amplitude * ((0..d).map(|i| w[code(i)]).sum::<f32>() + phase).cos();
            }
            let killed = patterns.iter().any(|p| p.iter().all(|&(i, c)| active[i] == c));
            if killed { value - depth } else { value }
        })
        .collect()
}

/// Replaces values by a random mixture with a real task, both standardised.
fn mix(values: &mut [f32], relative: &Task, rng: &mut impl Rng) {
    let share = rng.random_range(0.1..0.9f32);
    let sign = if rng.random_bool(0.85) { 1.0 } else { -1.0 };
    let deviation = standard_deviation(values);
    let (space, mut choices) = (relative.space(), vec![0; relative.space().len()]);
    let of = |rank| {
        space.unrank(rank, &mut choices);
        sign * relative.prior_value(&choices)
    };
    let other: Vec<f32> = (0..values.len() as u64).map(of).collect();
    let other_deviation = standard_deviation(&other);
    for (v, o) in values.iter_mut().zip(other) {
        *v = (1.0 - share) * *v / deviation + share * o / other_deviation;
    }
}

fn warp_and_disturb(values: &mut [f32], rng: &mut impl Rng) {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    let deviation = standard_deviation(values);
    let kind = rng.random_range(0..3);
    let strength = rng.random_range(0.3..1.5f32);
    let noise = if rng.random_bool(0.5) { rng.random_range(0.0..0.1f32) } else { 0.0 };
    for v in values.iter_mut() {
        let z = (*v - mean) / deviation;
        let warped = match kind {
            // Accuracies saturate: the good ones lie close together …
            0 => -(-strength * z).exp(),
            // … robust accuracies of strong attacks do the opposite.
            1 => (strength * z).exp(),
            _ => z,
        };
        *v = warped.clamp(-1e4, 1e4);
    }
    let deviation = standard_deviation(values);
    for v in values.iter_mut() {
        *v += noise * deviation * normal(rng);
    }
}

/// Standard deviation; 1 where all are equal.
fn standard_deviation(values: &[f32]) -> f32 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    if variance > 1e-12 { variance.sqrt() as f32 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::Condition;

    #[test]
    fn draws_repeat_and_differ_and_respect_inactive_decisions() {
        let space = SearchSpace::named("nb201").unwrap();
        let task = |seed| draw(&space, &[], &mut ChaCha8Rng::seed_from_u64(seed));
        let (a, b, c) = (task(1), task(1), task(2));
        assert_eq!(a.best(), b.best());
        assert_ne!(a.best(), c.best());
        for seed in 0..20 {
            let t = task(seed);
            assert!(t.best().is_finite() && t.best() > t.median());
        }
    }

    #[test]
    fn shorter_trainings_agree_as_they_are_drawn_and_cost_what_they_should() {
        let space = SearchSpace::named("nb201").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut agreements, mut twice) = (Vec::new(), 0);
        for _ in 0..40 {
            let task = with_shorter(&draw(&space, &[], &mut rng), &mut rng);
            twice += usize::from(task.shorter().len() == 2);
            let values = |task: &Task| -> Vec<f64> {
                (0..15_625).map(|rank| f64::from(task.value_of_rank(rank).unwrap())).collect()
            };
            let full = values(&task);
            for shorter in task.shorter().iter() {
                assert!((COSTS[0]..COSTS[1]).contains(&shorter.cost));
                agreements.push(srnas_basics::statistics::rank_correlation(&full, &values(&shorter.task)));
            }
        }
        assert!((1..20).contains(&twice) && agreements.len() == 40 + twice);
        let least = agreements.iter().copied().fold(1.0, f64::min);
        let most = agreements.iter().copied().fold(-1.0, f64::max);
        // A bias that happens to resemble the task, and the noise of the full values, move them a little.
        assert!((0.0..0.5).contains(&least) && (0.8..1.0).contains(&most), "{agreements:?}");
    }

    #[test]
    fn a_part_of_a_large_space_is_drawn_within_its_rules_and_has_what_is_known() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c", "d"]);
        let condition = Condition { decision: 39, depends_on: 0, active_if: vec![1, 2] };
        let decisions = (0..40).map(decision).collect();
        let space = Arc::new(Conditional::space("large", decisions, vec![condition]).unwrap());
        let known = vec![vec![3; 40], vec![2; 40]];
        for _ in 0..5 {
            let part = part(&space, &known, &mut rng);
            let size = part.size().unwrap();
            assert!((1000..=PART as u64 + 2).contains(&size) && part.name() == "large", "{size}");
            assert!(known.iter().all(|choices| part.is_valid(choices)));
            assert!(draw(&part, &[], &mut rng).best().is_finite());
            // It can be walked in: the middle has neighbours.
            let mut neighbours = 0;
            part.for_each_edit(&mut known[0].clone(), |_, _, _| neighbours += 1);
            assert!(neighbours > 5, "{neighbours}");
        }
        let small = SearchSpace::named("nb201").unwrap();
        assert!(Arc::ptr_eq(&part(&small, &known, &mut rng), &small));
    }

    #[test]
    fn random_spaces_can_be_enumerated_and_searched() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for _ in 0..50 {
            let space = random_space(&mut rng);
            assert!((300..=16_000 * 6).contains(&space.size().unwrap()), "{:?}", space.size());
            let task = draw(&space, &[], &mut rng);
            assert!(task.best() > task.median());
        }
    }
}
