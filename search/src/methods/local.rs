//! Local search with random restarts: to the first better one of a shuffled neighbourhood (`local`, the baseline of SRNAS, arXiv
//! 2410.01431), or to the best of all neighbours (`local-full`; White, Nolen and Savani, arXiv 2005.02960).

use super::{
    Begin, Method, MethodError, MethodSpec, SpecError, Starter,
    random::{neighbours, unmeasured},
};
use hashbrown::HashSet;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;

/// When a better neighbour is moved to.
#[derive(Clone, Copy, PartialEq)]
pub enum Improvement {
    /// As soon as it is met.
    First,
    /// When all neighbours are known and it is the best of them.
    Best,
}

pub fn prepare(spec: &MethodSpec, improvement: Improvement) -> Result<Starter, SpecError> {
    spec.options()?.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Local {
            rng: begin.rng(),
            begin: begin.clone(),
            improvement,
            at: Vec::new(),
            value: f32::NEG_INFINITY,
            queue: Vec::new(),
            best_neighbour: None,
            measured: HashSet::new(),
        }))
    }))
}

struct Local {
    begin: Begin,
    rng: ChaCha8Rng,
    improvement: Improvement,
    /// Where the search stands; empty before the first measurement and after a restart.
    at: Vec<u8>,
    value: f32,
    /// Neighbours still to be looked at.
    queue: Vec<Vec<u8>>,
    best_neighbour: Option<(Vec<u8>, f32)>,
    measured: HashSet<u64>,
}

impl Local {
    fn move_to(&mut self, choices: &Choices, value: f32) {
        self.at = choices.to_vec();
        self.value = value;
        self.queue = neighbours(&self.begin, choices);
        self.queue.shuffle(&mut self.rng);
        self.best_neighbour = None;
    }
}

impl Method for Local {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        loop {
            if let Some(next) = self.queue.pop() {
                return Ok(Some(next));
            }
            match self.best_neighbour.take().filter(|(_, value)| *value > self.value) {
                Some((choices, value)) => self.move_to(&choices, value),
                None => {
                    // A minimum: on from somewhere else.
                    self.at.clear();
                    return Ok(unmeasured(&self.begin, &self.measured, &mut self.rng));
                }
            }
        }
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.measured.insert(self.begin.key(choices));
        let value = values[0];
        if self.at.is_empty() || (self.improvement == Improvement::First && value > self.value) {
            self.move_to(choices, value);
        } else if self.best_neighbour.as_ref().is_none_or(|(_, best)| value > *best) {
            self.best_neighbour = Some((choices.to_vec(), value));
        }
        Ok(())
    }
}
