//! Regularised evolution: Real et al., "Regularized Evolution for Image Classifier Architecture Search" (arXiv 1802.01548),
//! with population 100 and tournament 10 as in NAS-Bench-101 (arXiv 1902.09635). Asynchronous, as published: parents are among
//! what has ended.

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    random::{child_or_random, mutate, unmeasured},
};
use crate::method::Training;
use hashbrown::HashSet;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;
use std::collections::VecDeque;

/// Children in a row that were measured before, until a random architecture takes the next one's place.
const SETTLED: usize = 200;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let population = options.whole("population", 100, 1)?;
    let tournament = options.whole("tournament", 10, 1)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Evolution {
            rng: begin.rng(),
            begin: begin.clone(),
            population,
            tournament,
            alive: VecDeque::new(),
            measured: HashSet::new(),
            known: 0,
        }))
    }))
}

struct Evolution {
    begin: Begin,
    rng: ChaCha8Rng,
    population: usize,
    tournament: usize,
    /// The oldest first.
    alive: VecDeque<(Vec<u8>, f32)>,
    /// Also what is being measured.
    measured: HashSet<u64>,
    /// Children in a row that were measured before.
    known: usize,
}

impl Method for Evolution {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.alive.len() < self.population
            && let Some(random) = unmeasured(&self.begin, &self.measured, &mut self.rng)
        {
            return Ok(Some(random));
        }
        // Nothing has a value, and there is nothing else.
        if self.alive.is_empty() {
            return Ok(None);
        }
        // The tournament is drawn with replacement, as in the published algorithm.
        let mut parent = self.rng.random_range(0..self.alive.len());
        for _ in 1..self.tournament {
            let other = self.rng.random_range(0..self.alive.len());
            if self.alive[other].1 > self.alive[parent].1 {
                parent = other;
            }
        }
        let child = mutate(&self.begin, &self.alive[parent].0, &mut self.rng);
        let child = child_or_random(&self.begin, &self.measured, child, &mut self.rng);
        self.known = if self.measured.contains(&self.begin.key(&child)) { self.known + 1 } else { 0 };
        // All alive are one another's children, as where most edits change nothing that counts, or where nothing is left.
        if self.known >= SETTLED {
            return Ok(unmeasured(&self.begin, &self.measured, &mut self.rng));
        }
        Ok(Some(child))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.measured.insert(self.begin.key(choices));
        self.alive.push_back((choices.to_vec(), values[0]));
        if self.alive.len() > self.population {
            self.alive.pop_front();
        }
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.measured.insert(self.begin.key(&training.choices));
    }

    fn concurrent(&self) -> bool {
        true
    }
}
