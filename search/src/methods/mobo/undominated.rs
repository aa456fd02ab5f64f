//! The volume that a point adds to what a front dominates: known of a point, expected of independent Gaussians.

use statrs::function::erf::erfc;
use std::f64::consts::{PI, SQRT_2};

/// What lies above a reference point and no point of a front dominates, in boxes.
pub(super) struct Undominated {
    /// Where boxes begin and end, by objective, ascending; the last ones have no end.
    levels: Vec<Vec<f32>>,
    /// Places among the levels where each box begins and ends, objective after objective.
    boxes: Vec<[usize; 2]>,
}

impl Undominated {
    pub fn new(front: &[Vec<f32>], reference: &[f32]) -> Self {
        let above = |point: &&Vec<f32>| point.iter().zip(reference).all(|(value, least)| value > least);
        let points: Vec<&Vec<f32>> = front.iter().filter(above).collect();
        let of_objective = |(m, &least): (usize, &f32)| {
            let mut levels: Vec<f32> = points.iter().map(|point| point[m]).chain([least]).collect();
            levels.sort_by(f32::total_cmp);
            levels.dedup();
            levels
        };
        let levels: Vec<Vec<f32>> = reference.iter().enumerate().map(of_objective).collect();
        let place = |(value, levels): (&f32, &Vec<f32>)| levels.partition_point(|level| level < value);
        let places = points.iter().map(|point| point.iter().zip(&levels).map(place).collect()).collect();
        let mut boxes = Vec::new();
        split(&levels, places, &mut Vec::new(), &mut boxes);
        Self { levels, boxes }
    }

    /// Number of boxes; there is always one.
    pub fn len(&self) -> usize {
        self.boxes.len() / self.levels.len()
    }

    /// Volume that a point adds, expected of independent Gaussians; `gains` is room to work in.
    pub fn gain(&self, mean: &[f32], deviation: &[f32], gains: &mut Vec<f64>) -> f64 {
        let stride = self.levels.iter().map(Vec::len).max().unwrap_or(0) + 1;
        gains.clear();
        // Above a box without end nothing is left.
        gains.resize(self.levels.len() * stride, 0.0);
        for (m, levels) in self.levels.iter().enumerate() {
            for (gain, &level) in gains[m * stride..].iter_mut().zip(levels) {
                *gain = excess(mean[m].into(), deviation[m].into(), level.into());
            }
        }
        let mut sum = 0.0;
        for sides in self.boxes.chunks_exact(self.levels.len()) {
            let side =
                |(m, [low, high]): (usize, &[usize; 2])| gains[m * stride + low] - gains[m * stride + high];
            sum += sides.iter().enumerate().map(side).product::<f64>();
        }
        sum
    }
}

/// Cuts what the points leave into slices along the last objective, and each slice along those before it. `after` is where the slice
/// is in the objectives that are done, the last first.
fn split(
    levels: &[Vec<f32>],
    mut points: Vec<Vec<usize>>,
    after: &mut Vec<[usize; 2]>,
    boxes: &mut Vec<[usize; 2]>,
) {
    let last = levels.len() - after.len() - 1;
    let mut high = levels[last].len();
    if last == 0 {
        let low = points.iter().map(|point| point[0]).max().unwrap_or(0);
        boxes.push([low, high]);
        boxes.extend(after.iter().rev());
        return;
    }
    points.sort_by(|a, b| b[last].cmp(&a[last]));
    for n in 0..=points.len() {
        let low = points.get(n).map_or(0, |point| point[last]);
        if low == high {
            continue;
        }
        // In this slice the first n hide something; who is hidden by others there hides nothing more.
        let mut hiding: Vec<Vec<usize>> = points[..n].iter().map(|point| point[..last].to_vec()).collect();
        hiding.sort_unstable();
        hiding.dedup();
        let all = hiding.clone();
        hiding.retain(|a| !all.iter().any(|b| a != b && a.iter().zip(b).all(|(a, b)| a <= b)));
        after.push([low, high]);
        split(levels, hiding, after, boxes);
        after.pop();
        high = low;
    }
}

/// E[(Y − level)⁺] of a Gaussian: the ordinary expected improvement.
fn excess(mean: f64, deviation: f64, level: f64) -> f64 {
    let over = mean - level;
    // Beyond eight deviations nothing is uncertain.
    if over.abs() >= 8.0 * deviation {
        return over.max(0.0);
    }
    let u = over / deviation;
    deviation * ((-0.5 * u * u).exp() / (2.0 * PI).sqrt() + 0.5 * u * erfc(-u / SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    fn drawn(objectives: usize, n: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<f32>> {
        (0..n).map(|_| (0..objectives).map(|_| rng.random_range(-1.0..1.0)).collect()).collect()
    }

    /// What a point adds.
    fn volume(front: &[Vec<f32>], point: &[f32], reference: &[f32]) -> f64 {
        let mut all: Vec<Vec<f32>> = front.to_vec();
        let before = absolute(&all, reference);
        all.push(point.to_vec());
        absolute(&all, reference) - before
    }

    /// Volume that some points dominate above the reference, by inclusion and exclusion.
    fn absolute(points: &[Vec<f32>], reference: &[f32]) -> f64 {
        (1u32..1 << points.len())
            .map(|some| {
                let chosen = (0..points.len()).filter(|i| some >> i & 1 == 1);
                let lowest = chosen.fold(vec![f32::INFINITY; reference.len()], |low, i| {
                    low.iter().zip(&points[i]).map(|(a, b)| a.min(*b)).collect()
                });
                let sides = lowest.iter().zip(reference).map(|(l, r)| f64::from((l - r).max(0.0)));
                let sign = if some.count_ones() % 2 == 1 { 1.0 } else { -1.0 };
                sign * sides.product::<f64>()
            })
            .sum()
    }

    #[test]
    fn what_a_point_adds_is_the_difference_of_volumes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for objectives in 1..=4 {
            for n in 0..6 {
                let (front, reference) = (drawn(objectives, n, &mut rng), vec![-0.8; objectives]);
                let region = Undominated::new(&front, &reference);
                for point in drawn(objectives, 20, &mut rng) {
                    let gain = region.gain(&point, &vec![0.0; objectives], &mut Vec::new());
                    let expected = volume(&front, &point, &reference);
                    assert!((gain - expected).abs() < 1e-5, "{objectives} {front:?} {point:?}");
                }
            }
        }
    }

    #[test]
    fn the_expected_volume_is_the_mean_over_draws() {
        const DRAWS: usize = 40_000;
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for objectives in [2, 3] {
            let (front, reference) = (drawn(objectives, 5, &mut rng), vec![-1.1; objectives]);
            let region = Undominated::new(&front, &reference);
            for mean in drawn(objectives, 3, &mut rng) {
                let deviation: Vec<f32> = (0..objectives).map(|_| rng.random_range(0.1..0.8)).collect();
                let exact = region.gain(&mean, &deviation, &mut Vec::new());
                let (mut sum, mut squares) = (0.0, 0.0);
                for _ in 0..DRAWS {
                    let normal = |(m, d): (&f32, &f32)| m + d * rng.sample::<f32, _>(StandardNormal);
                    let point: Vec<f32> = mean.iter().zip(&deviation).map(normal).collect();
                    let added = volume(&front, &point, &reference);
                    (sum, squares) = (sum + added, squares + added * added);
                }
                let found = sum / DRAWS as f64;
                let error = ((squares / DRAWS as f64 - found * found) / DRAWS as f64).sqrt();
                assert!((found - exact).abs() < 4.0 * error + 1e-6, "{found} ± {error}, not {exact}");
            }
        }
    }
}
