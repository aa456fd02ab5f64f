//! What scores highest in a space that cannot be listed, as far as it is found: the best measured architectures and the highest of a
//! [pool] climb by edits, side by side, until they are at their tops or enough was looked at.
//!
//! A score is what a posterior promises ([`super::gp`]). It costs more than all else here, so architectures are scored in
//! batches, and each key once.

use super::{Begin, pool};
use hashbrown::HashSet;
use rand::{Rng, seq::SliceRandom};

/// Where the next architecture is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookout {
    /// In all of a space that can be listed, by climbs in others.
    Everywhere,
    /// By climbs in every space.
    Climbs,
    /// In a pool of so many and no further: what climbs are compared with.
    Pool(usize),
}

/// Architectures of the pool that climbs begin in.
const POOL: usize = 500;
/// Climbs that begin at the best measured, and as many at the highest of the pool.
const STARTS: usize = 3;
/// Architectures that are looked at beyond the pool, about.
const LOOKS: usize = 2000;
/// So many are looked at before climbers move, all of them together.
const BATCH: usize = 256;

/// What is known where a climb begins.
pub(crate) struct Ground<'a> {
    pub begin: &'a Begin,
    /// Keys of what is not to be found.
    pub measured: &'a HashSet<u64>,
    /// What has a value.
    pub told: &'a [(Vec<u8>, f32)],
    /// Good for earlier tasks.
    pub favourites: &'a [Vec<u8>],
}

struct Climber {
    choices: Vec<u8>,
    score: f32,
    /// Whether all around it was looked at, and nothing is higher.
    at_top: bool,
}

/// The highest that was found and up to `most` − 1 after it, none an edit away from another: neighbours say the same.
pub(crate) fn highest<R: Rng>(
    ground: &Ground,
    most: usize,
    rng: &mut R,
    mut score: impl FnMut(&[Vec<u8>], &mut R) -> Vec<f32>,
) -> Vec<Vec<u8>> {
    let Ground { begin, measured, told, favourites } = *ground;
    let mut scored = |pool: Vec<Vec<u8>>, rng: &mut R| -> Vec<(f32, Vec<u8>)> {
        score(&pool, rng).into_iter().zip(pool).collect()
    };
    let pool = pool::unmeasured(begin, measured, told, favourites, POOL, rng);
    let mut seen: HashSet<u64> = pool.iter().map(|choices| begin.key(choices)).collect();
    let mut found = scored(pool, rng);
    sort(&mut found);
    let best = scored(pool::best(told, STARTS).into_iter().cloned().collect(), rng);
    let starts = best.into_iter().chain(found.iter().take(STARTS).cloned());
    let climber = |(score, choices)| Climber { choices, score, at_top: false };
    let mut climbers: Vec<Climber> = starts.map(climber).collect();
    let mut looked = 0;
    while looked < LOOKS {
        let climbing = climbers.iter().filter(|climber| !climber.at_top).count();
        if climbing == 0 {
            break;
        }
        let (mut around, mut of) = (Vec::new(), Vec::new());
        for (at, climber) in climbers.iter_mut().enumerate().filter(|(_, climber)| !climber.at_top) {
            let (mut choices, mut edits) = (climber.choices.clone(), Vec::new());
            begin.space.for_each_edit(&mut choices, |_, decision, to| edits.push((decision, to)));
            edits.shuffle(rng);
            let new = edits.into_iter().filter_map(|(decision, to)| {
                let mut edited = climber.choices.clone();
                edited[decision] = to;
                seen.insert(begin.key(&edited)).then_some(edited)
            });
            let before = around.len();
            around.extend(new.take(BATCH / climbing));
            of.resize(around.len(), at);
            climber.at_top = around.len() - before < BATCH / climbing;
        }
        looked += around.len();
        for (at, (score, choices)) in of.into_iter().zip(scored(around, rng)) {
            if score > climbers[at].score {
                climbers[at] = climber((score, choices.clone()));
            }
            found.push((score, choices));
        }
    }
    found.retain(|(_, choices)| !measured.contains(&begin.key(choices)));
    sort(&mut found);
    let mut apart: Vec<Vec<u8>> = Vec::new();
    for (_, choices) in found {
        if apart.len() == most {
            break;
        }
        let edits = |other: &Vec<u8>| other.iter().zip(&choices).filter(|(a, b)| a != b).count();
        if apart.iter().all(|other| edits(other) > 1) {
            apart.push(choices);
        }
    }
    apart
}

/// The highest first, the first of equals first.
fn sort(found: &mut [(f32, Vec<u8>)]) {
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Past;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_space::{Conditional, Decision};
    use srnas_task::Count;
    use std::sync::Arc;

    /// A hill for each choice that all decisions may share, the last the highest, and a valley between them.
    fn height(choices: &[u8]) -> f32 {
        let of = |choice: u8| choices.iter().filter(|&&c| c == choice).count() as f32;
        (0..3).map(|choice| of(choice).powi(2) * (1.0 + 0.1 * f32::from(choice))).fold(0.0, f32::max)
    }

    #[test]
    fn climbs_find_the_top_that_a_pool_does_not_and_nothing_that_was_measured() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Arc::new(Conditional::space("hills", (0..16).map(decision).collect(), vec![]).unwrap());
        let begin = Begin {
            space,
            count: Count::Classes,
            objectives: 1,
            limits: 0,
            budget: 1,
            shorter: Arc::from([]),
            start: vec![0; 16],
            seed: 1,
            start_seed: 1,
            whole: None,
            past: Past::default(),
        };
        let mut measured = HashSet::new();
        let find = |measured: &HashSet<u64>, most, seed| {
            let ground = Ground { begin: &begin, measured, told: &[], favourites: &[] };
            let mut looked = 0;
            let found = highest(&ground, most, &mut ChaCha8Rng::seed_from_u64(seed), |pool, _| {
                looked += pool.len();
                pool.iter().map(|choices| height(choices)).collect()
            });
            assert!(looked <= POOL + LOOKS + BATCH, "{looked}");
            found
        };
        let reached = |found: &[Vec<u8>]| height(&found[0]) / 256.0;
        for seed in 0..5 {
            let pool =
                pool::unmeasured(&begin, &measured, &[], &[], 1000, &mut ChaCha8Rng::seed_from_u64(seed));
            let of_pool = pool.iter().map(|choices| height(choices)).fold(0.0, f32::max) / 256.0;
            let found = find(&measured, 1, seed);
            assert_eq!(found, find(&measured, 1, seed));
            assert!(reached(&found) >= 1.0 && of_pool < 0.9, "{} and {of_pool} of a pool", reached(&found));
        }
        let top = find(&measured, 1, 1).remove(0);
        measured.insert(begin.key(&top));
        let second = find(&measured, 3, 1);
        assert!(second[0] != top && reached(&second) < 1.2);
        let edits = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        assert!(second.len() == 3 && edits(&second[0], &second[1]) > 1 && edits(&second[1], &second[2]) > 1);
    }
}
