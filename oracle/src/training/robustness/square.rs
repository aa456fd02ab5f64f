//! Square Attack (Andriushchenko et al., arXiv 1912.00049): squares of pixels at random places go to the border of the ball, and stay
//! where the label's lead shrinks. It asks for no gradient.

use super::{
    crowd::{Crowd, Victim, columns, entries, held, room},
    losses::{Loss, is_fooled},
};
use candle_core::Result;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

/// Share of the image that the first squares cover.
const FIRST: f32 = 0.8;

/// How far, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// The radius of the ball, as a share of the range.
    pub epsilon: f32,
    /// How often the network is asked about an image, the beginning counted.
    pub queries: usize,
    /// Of the draws.
    pub seed: u64,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
}

/// Share of the image that a square covers after so many of all queries: halved at the published times.
fn share(query: usize, queries: usize) -> f32 {
    let scaled = query * 10_000 / queries.max(1);
    let halvings =
        [10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000].iter().filter(|&&time| scaled > time).count();
    FIRST / (1u32 << halvings) as f32
}

impl Square {
    /// Attacks; gives the places of the images that it fooled.
    ///
    /// # Errors
    /// Images of another size.
    pub fn on(self, victim: &mut dyn Victim, mut crowd: Crowd) -> Result<Vec<usize>> {
        let Self { epsilon, queries, seed, shape: [channels, height, width] } = self;
        let mut fooled = Vec::new();
        let mut draws = crowd.draws(seed);
        let mut best = crowd.clean.clone();
        let mut highest = vec![f32::NEG_INFINITY; crowd.labels.len()];
        for query in 0..queries {
            if crowd.labels.is_empty() {
                break;
            }
            let mut tried = best.clone();
            let side = ((share(query, queries) * (height * width) as f32).sqrt().round() as usize)
                .clamp(1, height.min(width));
            for (n, rng) in draws.iter_mut().enumerate() {
                let mut set = |channel: usize, row: usize, column: usize, to: f32| {
                    let at = ((channel * height + row) * width + column) * crowd.width + n;
                    tried[at] = held(crowd.clean[at] + to, crowd.clean[at], epsilon);
                };
                let sign = |rng: &mut ChaCha8Rng| *[-epsilon, epsilon].choose(rng).expect("two signs");
                if query == 0 {
                    // Stripes from top to bottom.
                    for channel in 0..channels {
                        for column in 0..width {
                            let to = sign(rng);
                            (0..height).for_each(|row| set(channel, row, column, to));
                        }
                    }
                    continue;
                }
                let (top, left) = (rng.random_range(0..=height - side), rng.random_range(0..=width - side));
                for channel in 0..channels {
                    let to = sign(rng);
                    for row in top..top + side {
                        (left..left + side).for_each(|column| set(channel, row, column, to));
                    }
                }
            }
            let logits = victim.logits(&tried, crowd.width)?;
            let lead = Loss::Margin.of(&logits, crowd.width, &crowd.labels).values;
            let mut kept = Vec::with_capacity(crowd.labels.len());
            for (n, &label) in crowd.labels.iter().enumerate() {
                if lead[n] > highest[n] {
                    highest[n] = lead[n];
                    (n..best.len()).step_by(crowd.width).for_each(|at| best[at] = tried[at]);
                }
                match is_fooled(&logits, crowd.width, n, usize::from(label)) {
                    true => fooled.push(crowd.places[n]),
                    false => kept.push(n),
                }
            }
            if kept.len() < crowd.labels.len() {
                best = columns(&best, crowd.width, &kept, room(kept.len()));
                (highest, draws) = (entries(&highest, &kept), entries(&draws, &kept));
                crowd = crowd.only(&kept);
            }
        }
        Ok(fooled)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::crowd::linear::Linear, *};
    use std::collections::BTreeSet;

    #[test]
    fn squares_shrink_as_published() {
        assert_eq!(
            [0, 10, 11, 51, 201, 9_999].map(|query| share(query, 10_000)),
            [0.8, 0.8, 0.4, 0.2, 0.1, 0.8 / 512.0]
        );
        assert_eq!(share(51, 100), share(5_100, 10_000));
    }

    #[test]
    fn on_a_linear_map_only_what_is_near_enough_falls_and_more_queries_fool_more() {
        let mut victim = Linear::new(2, 36, 3);
        let crowd = victim.crowd(100, 4);
        let distances: Vec<f32> = (0..100).map(|n| victim.distance(&crowd, n)).collect();
        let mut sorted = distances.clone();
        sorted.sort_by(f32::total_cmp);
        let epsilon = sorted[70];
        let reached: BTreeSet<usize> = (0..100).filter(|&n| distances[n] < 1.0001 * epsilon).collect();
        let mut square = Square { epsilon, queries: 20, seed: 5, shape: [1, 6, 6] };
        let few: BTreeSet<usize> = square.on(&mut victim, crowd.clone()).unwrap().into_iter().collect();
        square.queries = 2_000;
        let many: BTreeSet<usize> = square.on(&mut victim, crowd.clone()).unwrap().into_iter().collect();
        assert!(few.is_subset(&reached) && many.is_subset(&reached) && few.len() < many.len());
        // Single pixels at the border are all that is needed, and found in so many queries.
        let near = distances.iter().filter(|&&distance| distance < 0.8 * epsilon).count();
        assert!(many.len() >= near, "{} of {near}", many.len());
        assert!(square.on(&mut victim, crowd.only(&[])).unwrap().is_empty());
    }
}
