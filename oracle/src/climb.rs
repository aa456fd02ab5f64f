//! Local search on what answers in microseconds: the best that is near an architecture. A regret needs something good to be measured
//! against where nobody knows the best of a space.

use srnas_space::SearchSpace;

/// The architecture that steps to the best of all neighbours lead to, until none is better. `values` are of several architectures,
/// u8 [architectures, decisions], more is better.
pub(crate) fn climb(space: &SearchSpace, start: &[u8], values: impl Fn(&[u8]) -> Vec<f32>) -> Vec<u8> {
    let (d, mut best) = (space.len(), start.to_vec());
    let mut value = values(start)[0];
    loop {
        let mut neighbours = Vec::new();
        space.for_each_edit(&mut best.clone(), |edited, _, _| neighbours.extend_from_slice(edited));
        let found = values(&neighbours).into_iter().enumerate().filter(|(_, value)| !value.is_nan());
        let found = found.max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((place, found)) = found.filter(|(_, found)| *found > value) else { return best };
        (best, value) = (neighbours[place * d..][..d].to_vec(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_climbed_to_its_top_and_a_plain_is_left_as_it_is() {
        let space = SearchSpace::named("nb201").unwrap();
        let sums = |all: &[u8]| all.chunks_exact(6).map(|c| c.iter().map(|&c| f32::from(c)).sum()).collect();
        assert_eq!(climb(&space, &[1; 6], sums), [4; 6]);
        assert_eq!(climb(&space, &[1; 6], |all| vec![f32::NAN; all.len() / 6]), [1; 6]);
        assert_eq!(climb(&space, &[2; 6], |all| vec![7.0; all.len() / 6]), [2; 6]);
    }
}
