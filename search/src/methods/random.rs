//! Random search, and a random walk.

use super::{Begin, Method, MethodError, MethodSpec, SpecError, Starter};
use crate::method::Training;
use hashbrown::HashSet;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use srnas_space::Choices;

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    spec.options()?.end()?;
    Ok(Box::new(|begin| {
        Ok(Box::new(Random { rng: begin.rng(), begin: begin.clone(), measured: HashSet::new() }))
    }))
}

pub fn prepare_walk(spec: &MethodSpec) -> Result<Starter, SpecError> {
    spec.options()?.end()?;
    Ok(Box::new(|begin| {
        let (current, measured) = (begin.start.clone(), HashSet::new());
        Ok(Box::new(Walk { rng: begin.rng(), current, begin: begin.clone(), measured }))
    }))
}

/// Uniform over the valid encodings that were not measured.
struct Random {
    begin: Begin,
    rng: ChaCha8Rng,
    /// Also what is being measured.
    measured: HashSet<u64>,
}

impl Method for Random {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        Ok(unmeasured(&self.begin, &self.measured, &mut self.rng))
    }

    fn tell(&mut self, choices: &Choices, _values: &[f32]) -> Result<(), MethodError> {
        self.measured.insert(self.begin.key(choices));
        Ok(())
    }

    fn begun(&mut self, training: &Training) {
        self.measured.insert(self.begin.key(&training.choices));
    }

    fn concurrent(&self) -> bool {
        true
    }
}

/// At most so many random architectures that were not measured, each once.
pub(super) fn several_unmeasured(
    begin: &Begin,
    measured: &HashSet<u64>,
    most: usize,
    rng: &mut impl Rng,
) -> Vec<Vec<u8>> {
    let (mut several, mut taken) = (Vec::new(), measured.clone());
    while several.len() < most {
        let Some(choices) = unmeasured(begin, &taken, rng) else { break };
        taken.insert(begin.key(&choices));
        several.push(choices);
    }
    several
}

/// A random architecture that was not measured; `None` where there is none left (or none is found in a space too large to
/// be listed).
pub(crate) fn unmeasured(begin: &Begin, measured: &HashSet<u64>, rng: &mut impl Rng) -> Option<Vec<u8>> {
    let mut choices = vec![0; begin.space.len()];
    for _ in 0..1000 {
        begin.space.sample(rng, &mut choices);
        if !measured.contains(&begin.key(&choices)) {
            return Some(choices);
        }
    }
    // Nearly everything is measured: look at what is left.
    let whole = begin.whole.as_ref()?;
    let left: Vec<usize> = (0..whole.keys.len())
        .filter(|&rank| whole.valid[rank] && !measured.contains(&whole.keys[rank]))
        .collect();
    let d = begin.space.len();
    left.choose(rng).map(|&rank| whole.choices[rank * d..][..d].to_vec())
}

/// Valid neighbours of an architecture, in order of decision and choice.
pub(super) fn neighbours(begin: &Begin, of: &Choices) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut scratch = of.to_vec();
    begin.space.for_each_edit(&mut scratch, |edited, _, _| all.push(edited.to_vec()));
    all
}

/// One edit, drawn uniformly among those that lead to a valid neighbour. Where there is none, as in a table that is a sample of a large
/// space, a random architecture.
pub(super) fn mutate(begin: &Begin, of: &Choices, rng: &mut impl Rng) -> Vec<u8> {
    let (mut mutant, mut edits) = (of.to_vec(), Vec::new());
    begin.space.for_each_edit(&mut mutant, |_, decision, to| edits.push((decision, to)));
    match edits.choose(rng) {
        Some(&(decision, to)) => mutant[decision] = to,
        None => begin.space.sample(rng, &mut mutant),
    }
    mutant
}

/// A child as it is; but in a table that is a sample of a large space, where hardly any child is listed and a method would be told its
/// parents again and again, a random architecture in the place of one that was measured.
pub(super) fn child_or_random(
    begin: &Begin,
    measured: &HashSet<u64>,
    child: Vec<u8>,
    rng: &mut impl Rng,
) -> Vec<u8> {
    let known = begin.space.whole().is_some() && measured.contains(&begin.key(&child));
    known.then(|| unmeasured(begin, measured, rng)).flatten().unwrap_or(child)
}

struct Walk {
    begin: Begin,
    rng: ChaCha8Rng,
    current: Vec<u8>,
    measured: HashSet<u64>,
}

impl Method for Walk {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        let next = mutate(&self.begin, &self.current, &mut self.rng);
        self.current = child_or_random(&self.begin, &self.measured, next, &mut self.rng);
        Ok(Some(self.current.clone()))
    }

    fn tell(&mut self, choices: &Choices, _values: &[f32]) -> Result<(), MethodError> {
        self.measured.insert(self.begin.key(choices));
        Ok(())
    }
}
