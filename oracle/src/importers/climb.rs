//! The best that a network knows of nearby: what a regret is measured against where nobody knows the best of a space.

use crate::benchmark::{Direction, Network};
use srnas_space::SearchSpace;

/// Local search from an architecture: to the best of all its neighbours, until none is better.
pub(super) fn climb(
    network: &Network,
    output: usize,
    direction: Direction,
    space: &SearchSpace,
    start: &[u8],
) -> Vec<u8> {
    let (d, sign) = (space.len(), direction.sign() as f32);
    let (mut best, mut value) = (start.to_vec(), sign * network.value(output, start));
    loop {
        let mut neighbours = Vec::new();
        space.for_each_edit(&mut best.clone(), |edited, _, _| neighbours.extend_from_slice(edited));
        let found = network.values(output, &neighbours).into_iter().map(|v| sign * v);
        let found = found.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((place, found)) = found.filter(|(_, found)| *found > value) else { return best };
        (best, value) = (neighbours[place * d..][..d].to_vec(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark::{Activation, Branch, NetworkInfo, Output, Weights};
    use std::sync::Arc;

    #[test]
    fn a_sum_is_climbed_to_its_top_and_to_its_bottom() {
        let space = SearchSpace::named("nb201").unwrap();
        let output = Output { metric: "d/m".into(), column: 0, sigmoid: false, scale: 1.0, offset: 0.0 };
        let info = NetworkInfo {
            rows_are_measured: false,
            slots: (0..6).map(|d| vec![d]).collect(),
            branches: vec![Branch { hidden: vec![], activation: Activation::Relu }],
            outputs: vec![output],
            held_out: None,
        };
        let first = (0..30).map(|row| [0.0, 3.0, 1.0, 2.0, -1.0][row % 5]).collect();
        let weights = Weights { first, bias: vec![0.0], layers: vec![vec![]] };
        let network = Network::new(info, Arc::clone(&space), weights).unwrap();
        let from = |direction| climb(&network, 0, direction, &space, &[3; 6]);
        assert_eq!(network.value(0, &from(Direction::Maximise)), 18.0);
        assert!(network.value(0, &from(Direction::Minimise)) <= 0.0);
    }
}
