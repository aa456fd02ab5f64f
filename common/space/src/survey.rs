//! What there is in a space: all of it, or as far as draws show it.

use super::SearchSpace;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Decisions and choices that no valid architecture has, by name. Of a large space, as far as draws show it.
pub fn unreachable_choices(space: &SearchSpace, seen: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let mut reached: Vec<Vec<bool>> =
        space.decisions().iter().map(|d| vec![false; d.choices.len()]).collect();
    for choices in seen {
        for (d, &c) in choices.iter().enumerate().filter(|(d, _)| !space.is_inactive(&choices, *d)) {
            reached[d][usize::from(c)] = true;
        }
    }
    let name =
        |d: usize, c: usize| format!("{} = {}", space.decisions()[d].name, space.decisions()[d].choices[c]);
    let missing = reached.iter().enumerate().flat_map(|(d, choices)| {
        choices.iter().enumerate().filter(|(_, reached)| !**reached).map(move |(c, _)| (d, c))
    });
    missing.map(|(d, c)| name(d, c)).collect()
}

/// Every valid combination of a space of at most `limit` combinations, else `limit` draws with a fixed seed.
pub fn listed_or_drawn(space: &SearchSpace, limit: u64) -> (Vec<Vec<u8>>, bool) {
    let blank = vec![0; space.len()];
    if let Some(size) = space.size().filter(|&size| size <= limit) {
        let unrank = |rank| {
            let mut choices = blank.clone();
            space.unrank(rank, &mut choices);
            choices
        };
        return ((0..size).map(unrank).filter(|c: &Vec<u8>| space.is_valid(c)).collect(), true);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let draw = |_| {
        let mut choices = blank.clone();
        space.sample(&mut rng, &mut choices);
        choices
    };
    ((0..limit).map(draw).collect(), false)
}
