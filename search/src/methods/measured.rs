//! What a search has asked for: a policy that has settled draws the same again and again. And searches that draw and learn.

use super::{Begin, Method, MethodError, random::unmeasured};
use crate::method::Training;
use hashbrown::{HashMap, HashSet};
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

/// A policy that architectures are drawn from, and that learns what each was worth.
pub trait Policy: Send {
    /// What is kept of a draw until it is measured.
    type Drawn: Send;

    /// An architecture that was not measured, and what is kept of its draw; none where none is left.
    fn draw(&mut self, measured: &Measured, rng: &mut ChaCha8Rng) -> Option<(Vec<u8>, Option<Self::Drawn>)>;

    /// What an architecture is worth (the objectives, and then how far each limit is kept), and what was kept of its draw; nothing of one
    /// that it has not drawn, as the start.
    fn learn(&mut self, choices: &Choices, values: &[f32], drawn: Option<Self::Drawn>, rng: &mut ChaCha8Rng);
}

/// The search by a policy: it may draw more while trainings are under way.
pub struct Drawing<P: Policy> {
    rng: ChaCha8Rng,
    policy: P,
    measured: Measured,
    under_way: HashMap<Vec<u8>, P::Drawn>,
}

impl<P: Policy> Drawing<P> {
    pub fn new(begin: &Begin, rng: ChaCha8Rng, policy: P) -> Self {
        Self { rng, policy, measured: Measured::new(begin), under_way: HashMap::new() }
    }
}

impl<P: Policy> Method for Drawing<P> {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        let Some((choices, drawn)) = self.policy.draw(&self.measured, &mut self.rng) else { return Ok(None) };
        if let Some(drawn) = drawn {
            self.under_way.insert(choices.clone(), drawn);
        }
        Ok(Some(choices))
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        self.measured.add(choices);
        let drawn = self.under_way.remove(choices);
        self.policy.learn(choices, values, drawn, &mut self.rng);
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.measured.add(&training.choices);
    }

    fn concurrent(&self) -> bool {
        true
    }
}
