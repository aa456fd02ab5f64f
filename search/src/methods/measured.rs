//! What a search has asked for: a policy that has settled draws the same again and again.

use super::{Begin, random::unmeasured};
use hashbrown::HashSet;
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;

/// Draws of what was measured before, for one that was not.
const DRAWS: usize = 50;

/// What is measured or under way.
pub struct Measured {
    begin: Begin,
    keys: HashSet<u64>,
}

impl Measured {
    pub fn new(begin: &Begin) -> Self {
        Self { begin: begin.clone(), keys: HashSet::new() }
    }

    pub fn keys(&self) -> &HashSet<u64> {
        &self.keys
    }

    pub fn add(&mut self, choices: &Choices) {
        self.keys.insert(self.begin.key(choices));
    }

    pub fn has(&self, choices: &Choices) -> bool {
        self.keys.contains(&self.begin.key(choices))
    }

    /// The first of several draws that was not measured, and what was drawn with it; a random architecture, drawn with nothing, where there
    /// is none among them; none where none is left.
    pub fn draw<T>(
        &self,
        rng: &mut ChaCha8Rng,
        mut draw: impl FnMut(&mut ChaCha8Rng) -> (Vec<u8>, T),
    ) -> Option<(Vec<u8>, Option<T>)> {
        let new = (0..DRAWS).find_map(|_| Some(draw(rng)).filter(|(choices, _)| !self.has(choices)));
        match new {
            Some((choices, with)) => Some((choices, Some(with))),
            None => Some((unmeasured(&self.begin, &self.keys, rng)?, None)),
        }
    }
}
