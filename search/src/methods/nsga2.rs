//! NSGA-II for several objectives: Deb et al. 2002, with the operators and rates that LINAS uses (arXiv 2205.10358): simulated
//! binary crossover 0.9 with index 15, polynomial mutation 0.02 with index 20, rounded to whole choices, population 50.
//! Within limits by constrained domination (the same paper); of two that break some, the one that breaks none of them by more and
//! one by less is better (Oyama et al. 2007), so that limits in different units need no scale.

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    random::{child_or_random, unmeasured},
};
use crate::pareto::dominates;
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_space::{Choices, SearchSpace};

const CROSSOVER: (f64, f64) = (0.9, 15.0);
const MUTATION: (f64, f64) = (0.02, 20.0);
/// Tries to make a child that the generation does not have already.
const TRIES: usize = 100;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let population = options.whole("population", 50, 2)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Nsga2 {
            rng: begin.rng(),
            begin: begin.clone(),
            population,
            parents: Vec::new(),
            children: Vec::new(),
            measured: HashSet::new(),
        }))
    }))
}

/// An architecture with its objectives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Individual {
    pub choices: Vec<u8>,
    pub values: Vec<f32>,
    /// How far it keeps each limit; below 0 it breaks it.
    pub slacks: Vec<f32>,
}

impl Individual {
    /// What a method is told: the objectives, and then how far each limit is kept.
    pub fn told(begin: &Begin, choices: &Choices, told: &[f32]) -> Self {
        let (values, slacks) = told.split_at(begin.objectives.min(told.len()));
        Self { choices: choices.to_vec(), values: values.to_vec(), slacks: slacks.to_vec() }
    }

    /// Whether it keeps every limit.
    pub fn is_within(&self) -> bool {
        self.slacks.iter().all(|slack| *slack >= 0.0)
    }

    /// Whether it is to be preferred to another.
    fn dominates(&self, other: &Self) -> bool {
        let broken = |one: &Self| -> Vec<f32> { one.slacks.iter().map(|slack| slack.min(0.0)).collect() };
        match (self.is_within(), other.is_within()) {
            (true, true) => dominates(&self.values, &other.values),
            (false, false) => dominates(&broken(self), &broken(other)),
            (within, _) => within,
        }
    }
}

struct Nsga2 {
    begin: Begin,
    rng: ChaCha8Rng,
    population: usize,
    parents: Vec<Individual>,
    children: Vec<Individual>,
    measured: HashSet<u64>,
}

impl Method for Nsga2 {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.parents.is_empty() {
            // The first generation is random.
            if self.children.len() < self.population
                && let Some(random) = unmeasured(&self.begin, &self.measured, &mut self.rng)
            {
                return Ok(Some(random));
            }
        }
        if self.parents.is_empty() || self.children.len() >= self.population {
            let mut all = std::mem::take(&mut self.parents);
            all.append(&mut self.children);
            self.parents = survivors(all, self.population);
        }
        let next = child(&self.begin.space, &self.parents, &self.children, &mut self.rng);
        Ok(Some(child_or_random(&self.begin, &self.measured, next, &mut self.rng)))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.measured.insert(self.begin.key(choices));
        self.children.push(Individual::told(&self.begin, choices, values));
        Ok(())
    }
}

/// A child of two parents chosen by tournaments, other than everything in either generation if that is possible.
pub(super) fn child(
    space: &SearchSpace,
    parents: &[Individual],
    children: &[Individual],
    rng: &mut impl Rng,
) -> Vec<u8> {
    let mut made = Vec::new();
    for _ in 0..TRIES {
        let (a, b) = (tournament(parents, rng), tournament(parents, rng));
        made = crossed(space, &parents[a].choices, &parents[b].choices, rng);
        mutate(space, &mut made, rng);
        let known = |others: &[Individual]| others.iter().any(|other| other.choices == made);
        if space.is_valid(&made) && !known(parents) && !known(children) {
            return made;
        }
    }
    if !space.is_valid(&made) {
        made.clone_from(&parents[tournament(parents, rng)].choices);
        // In a table that is a sample of a large space hardly any child is listed.
        if space.whole().is_some() {
            space.sample(rng, &mut made);
        }
    }
    made
}

/// Survivors are sorted by rank and crowding, so the better of two is the one that comes first.
fn tournament(parents: &[Individual], rng: &mut impl Rng) -> usize {
    rng.random_range(0..parents.len()).min(rng.random_range(0..parents.len()))
}

/// Simulated binary crossover (Deb and Agrawal 1995), rounded.
fn crossed(space: &SearchSpace, a: &Choices, b: &Choices, rng: &mut impl Rng) -> Vec<u8> {
    let (rate, index) = CROSSOVER;
    if !rng.random_bool(rate) {
        return a.to_vec();
    }
    (0..a.len())
        .map(|d| {
            if a[d] == b[d] || rng.random_bool(0.5) {
                return a[d];
            }
            let u: f64 = rng.random();
            let spread = match u <= 0.5 {
                true => (2.0 * u).powf(1.0 / (index + 1.0)),
                false => (1.0 / (2.0 * (1.0 - u))).powf(1.0 / (index + 1.0)),
            };
            let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
            let (x, y) = (f64::from(a[d]), f64::from(b[d]));
            rounded(space, d, 0.5 * ((x + y) + side * spread * (x - y)))
        })
        .collect()
}

/// Polynomial mutation (Deb and Goyal 1996), rounded; a mutation that rounds to nothing moves by one.
fn mutate(space: &SearchSpace, choices: &mut Choices, rng: &mut impl Rng) {
    let (rate, index) = MUTATION;
    // At least one decision in expectation, where there are few.
    let rate = rate.max(1.0 / choices.len() as f64);
    for (d, choice) in choices.iter_mut().enumerate() {
        if space.arity(d) < 2 || !rng.random_bool(rate) {
            continue;
        }
        let u: f64 = rng.random();
        let delta = match u < 0.5 {
            true => (2.0 * u).powf(1.0 / (index + 1.0)) - 1.0,
            false => 1.0 - (2.0 * (1.0 - u)).powf(1.0 / (index + 1.0)),
        };
        let range = f64::from(space.arity(d) - 1);
        let moved = rounded(space, d, f64::from(*choice) + delta * range);
        *choice = match moved == *choice {
            false => moved,
            true if delta > 0.0 && *choice + 1 < space.arity(d) => *choice + 1,
            true => choice.checked_sub(1).unwrap_or(1),
        };
    }
}

fn rounded(space: &SearchSpace, decision: usize, value: f64) -> u8 {
    value.round().clamp(0.0, f64::from(space.arity(decision) - 1)) as u8
}

/// The best `n` by non-dominated rank, within a rank by crowding distance, in this order; of equal architectures one.
pub(super) fn survivors(mut all: Vec<Individual>, n: usize) -> Vec<Individual> {
    let mut seen = HashSet::new();
    all.retain(|individual| seen.insert(individual.choices.clone()));
    let mut kept = Vec::new();
    while kept.len() < n && !all.is_empty() {
        let (mut front, rest): (Vec<Individual>, Vec<Individual>) = {
            let first: Vec<bool> = all.iter().map(|a| !all.iter().any(|b| b.dominates(a))).collect();
            let mut first = first.into_iter();
            all.into_iter().partition(|_| first.next().unwrap_or(false))
        };
        let crowding = crowding(&front);
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|&a, &b| crowding[b].total_cmp(&crowding[a]).then(a.cmp(&b)));
        let mut sorted: Vec<Option<Individual>> = front.drain(..).map(Some).collect();
        kept.extend(order.into_iter().filter_map(|i| sorted[i].take()));
        all = rest;
    }
    kept.truncate(n);
    kept
}

/// Crowding distance of each of a front; the ends of each objective are infinitely far from others.
fn crowding(front: &[Individual]) -> Vec<f64> {
    let mut distance = vec![0.0; front.len()];
    let objectives = front.first().map_or(0, |i| i.values.len());
    for m in 0..objectives {
        let value = |i: usize| f64::from(front[i].values[m]);
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let span = value(last) - value(first);
        distance[first] = f64::INFINITY;
        distance[last] = f64::INFINITY;
        if span > 0.0 {
            for w in order.windows(3) {
                distance[w[1]] += (value(w[2]) - value(w[0])) / span;
            }
        }
    }
    distance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_are_the_front_then_what_it_hides_the_ends_first() {
        let individual = |c: u8, values: [f32; 2]| Individual {
            choices: vec![c],
            values: values.to_vec(),
            slacks: Vec::new(),
        };
        let all = vec![
            individual(0, [1.0, 1.0]),
            individual(1, [3.0, 0.0]),
            individual(2, [0.0, 3.0]),
            individual(3, [2.0, 2.0]),
            individual(3, [2.0, 2.0]),
        ];
        let order: Vec<u8> = survivors(all.clone(), 4).iter().map(|i| i.choices[0]).collect();
        assert_eq!(order, [1, 2, 3, 0]);
        assert_eq!(survivors(all, 2).len(), 2);
        assert!(survivors(Vec::new(), 3).is_empty());
    }

    #[test]
    fn what_keeps_the_limits_comes_first_then_what_breaks_them_less() {
        let individual = |c: u8, value: f32, slacks: [f32; 2]| Individual {
            choices: vec![c],
            values: vec![value],
            slacks: slacks.to_vec(),
        };
        // The last two break different limits, in different units: neither is better.
        let all = vec![
            individual(0, 9.0, [-0.1, -500.0]),
            individual(1, 1.0, [0.0, 3.0]),
            individual(2, 8.0, [-0.2, -500.0]),
            individual(3, 2.0, [0.4, 0.0]),
            individual(4, 7.0, [-0.1, 20.0]),
        ];
        let order: Vec<u8> = survivors(all.clone(), 5).iter().map(|i| i.choices[0]).collect();
        assert_eq!(order, [3, 1, 4, 0, 2]);
        assert!(!all[1].dominates(&all[1]) && !all[4].dominates(&all[4]));
    }
}
