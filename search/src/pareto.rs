//! Several objectives, each to be maximised: dominance, fronts, hypervolume.

/// Whether `a` is at least as good as `b` in every objective, and better in one.
pub fn dominates<T: PartialOrd>(a: &[T], b: &[T]) -> bool {
    a.iter().zip(b).all(|(x, y)| x >= y) && a.iter().zip(b).any(|(x, y)| x > y)
}

/// Points that no other dominates, without repeats.
pub fn non_dominated(points: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut sorted: Vec<&Vec<f32>> = points.iter().filter(|p| p.iter().all(|v| v.is_finite())).collect();
    // The best in the first objective come first: nothing later dominates something earlier.
    sorted.sort_by(|a, b| compare(b, a));
    sorted.dedup();
    let mut front: Vec<Vec<f32>> = Vec::new();
    for point in sorted {
        if !front.iter().any(|kept| dominates(kept, point)) {
            front.push(point.clone());
        }
    }
    front
}

fn compare(a: &[f32], b: &[f32]) -> std::cmp::Ordering {
    let differing = a.iter().zip(b).map(|(x, y)| x.total_cmp(y)).find(|o| o.is_ne());
    differing.unwrap_or(std::cmp::Ordering::Equal)
}

/// The front of a whole table, and the scale that it gives to each objective: 1 is the best, 0 the worst on the front.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its points, the best in the first objective first.
    pub points: Vec<Vec<f32>>,
    nadir: Vec<f32>,
    span: Vec<f32>,
    volume: f64,
}

/// The reference point of the hypervolume lies so far below the worst of the front, as usual.
const MARGIN: f64 = 0.1;

impl Front {
    /// The front of some points, of which at least one must be finite.
    pub fn new(points: &[Vec<f32>]) -> Option<Self> {
        let front = non_dominated(points);
        let d = front.first()?.len();
        let over = |f: fn(f32, f32) -> f32, start: f32, d: usize| front.iter().map(|p| p[d]).fold(start, f);
        let nadir: Vec<f32> = (0..d).map(|d| over(f32::min, f32::INFINITY, d)).collect();
        let span = (0..d)
            .map(|d| {
                let span = over(f32::max, f32::NEG_INFINITY, d) - nadir[d];
                // An objective in which the whole front is equal.
                if span > 0.0 { span } else { nadir[d].abs().max(1e-6) }
            })
            .collect();
        let mut all = Self { points: front, nadir, span, volume: 1.0 };
        all.volume = all.measure(&all.points);
        Some(all)
    }

    /// Hypervolume of some points as a share of the front's own: 1 is the whole front.
    pub fn hypervolume(&self, points: &[Vec<f32>]) -> f64 {
        self.measure(points) / self.volume
    }

    fn measure(&self, points: &[Vec<f32>]) -> f64 {
        let scaled: Vec<Vec<f64>> = non_dominated(points)
            .iter()
            .map(|p| {
                let scale = |d: usize| f64::from((p[d] - self.nadir[d]) / self.span[d]) + MARGIN;
                (0..p.len()).map(scale).collect::<Vec<f64>>()
            })
            .filter(|p: &Vec<f64>| p.iter().all(|&v| v > 0.0))
            .collect();
        volume(scaled)
    }
}

/// Volume between the origin and some points, by slicing along the last objective.
fn volume(mut points: Vec<Vec<f64>>) -> f64 {
    let Some(d) = points.first().map(Vec::len) else { return 0.0 };
    if d == 1 {
        return points.iter().map(|p| p[0]).fold(0.0, f64::max);
    }
    points.sort_by(|a, b| b[d - 1].total_cmp(&a[d - 1]));
    let mut sum = 0.0;
    let mut slice: Vec<Vec<f64>> = Vec::new();
    for i in 0..points.len() {
        slice.push(points[i][..d - 1].to_vec());
        let below = points.get(i + 1).map_or(0.0, |p| p[d - 1]);
        let thickness = points[i][d - 1] - below;
        if thickness > 0.0 {
            sum += thickness * volume(slice.clone());
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_leaves_out_what_is_dominated_equal_or_unknown() {
        let points = [
            vec![1.0, 3.0],
            vec![2.0, 2.0],
            vec![3.0, 1.0],
            vec![1.0, 2.0],
            vec![2.0, 2.0],
            vec![f32::NAN, 9.0],
        ];
        assert_eq!(non_dominated(&points), [vec![3.0, 1.0], vec![2.0, 2.0], vec![1.0, 3.0]]);
        assert!(non_dominated(&[]).is_empty());
    }

    #[test]
    fn hypervolumes_of_two_and_three_objectives() {
        assert_eq!(volume(vec![vec![1.0, 3.0], vec![2.0, 2.0], vec![3.0, 1.0]]), 6.0);
        // A unit cube, and another that adds half of itself.
        assert_eq!(volume(vec![vec![1.0, 1.0, 1.0], vec![0.5, 1.0, 2.0]]), 1.5);
        assert_eq!(volume(Vec::new()), 0.0);
    }

    #[test]
    fn the_front_itself_has_a_hypervolume_of_one() {
        let table: Vec<Vec<f32>> = (0..20).map(|i| vec![i as f32, 400.0 - (i * i) as f32]).collect();
        let front = Front::new(&table).unwrap();
        assert_eq!(front.hypervolume(&table), 1.0);
        assert_eq!(front.hypervolume(&[]), 0.0);
        let some = front.hypervolume(&table[5..12]);
        assert!(some > 0.3 && some < 1.0, "{some}");
        assert!(Front::new(&[]).is_none());
        assert_eq!(Front::new(&[vec![2.0, 2.0]]).unwrap().hypervolume(&[vec![2.0, 2.0]]), 1.0);
    }
}
