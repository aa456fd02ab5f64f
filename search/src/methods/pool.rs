//! Architectures that a model ranks: all of a small space, else random ones and what is near the best measured.

use super::{Begin, random::mutate};
use hashbrown::HashSet;
use rand::Rng;

/// Size of the pool in a space that is too large to be listed.
pub const POOL: usize = 1000;
/// How many of the best measured are mutated for it.
const BEST: usize = 10;

/// Distinct architectures that were not measured: all of a small space (one encoding of each key), else a pool. `favourites`
/// were good for earlier tasks: they are in it, and what is near them.
pub fn unmeasured(
    begin: &Begin,
    measured: &HashSet<u64>,
    told: &[(Vec<u8>, f32)],
    favourites: &[Vec<u8>],
    size: usize,
    rng: &mut impl Rng,
) -> Vec<Vec<u8>> {
    let d = begin.space.len();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    if let Some(whole) = &begin.whole {
        for (rank, &key) in whole.keys.iter().enumerate() {
            if whole.valid[rank] && !measured.contains(&key) && seen.insert(key) {
                all.push(whole.choices[rank * d..][..d].to_vec());
            }
        }
        return all;
    }
    let near: Vec<&Vec<u8>> = best(told, BEST).into_iter().chain(favourites).collect();
    let mut choices = vec![0; d];
    for turn in 0..size {
        if let Some(favourite) = favourites.get(turn) {
            choices.copy_from_slice(favourite);
        } else if turn % 2 == 0 || near.is_empty() {
            begin.space.sample(rng, &mut choices);
        } else {
            choices = mutate(begin, near[turn / 2 % near.len()], rng);
            if rng.random_bool(0.5) {
                choices = mutate(begin, &choices, rng);
            }
        }
        let key = begin.key(&choices);
        if !measured.contains(&key) && seen.insert(key) {
            all.push(choices.clone());
        }
    }
    all
}

/// The best `most` of what was measured, the first of equals first.
pub fn best(told: &[(Vec<u8>, f32)], most: usize) -> Vec<&Vec<u8>> {
    let mut best: Vec<&(Vec<u8>, f32)> = told.iter().collect();
    best.sort_by(|a, b| b.1.total_cmp(&a.1));
    best.into_iter().take(most).map(|(choices, _)| choices).collect()
}
