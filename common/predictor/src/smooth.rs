//! Tables smoothed: what single trainings say by chance is taken out of a past task's values.
//!
//! A ridge regression on the choices of the active form, their pairs and triples, by conjugate gradients. Its penalty is the one with the
//! least error on every tenth architecture, which it is fitted without.

use srnas_space::SearchSpace;
use std::thread;

/// Penalties of which held-out architectures choose one.
const PENALTIES: [f64; 4] = [3.0, 10.0, 30.0, 100.0];
/// One architecture in so many is held out.
const HELD_OUT: u64 = 10;
/// Features of all encodings at most: a table of so many takes some tenths of a second. What has more goes without triples, then without
/// smoothing.
const MOST: usize = 2_000_000;
const ITERATIONS: usize = 40;
/// Residuals at which a fit ends, as a share of where it began: where penalties are compared, and in the end.
const ROUGH: f64 = 1e-2;
const FINE: f64 = 1e-3;

/// What a smooth function of a space is made of: for each encoding its place in each subset of decisions.
#[derive(Clone, Debug)]
pub(super) struct Smoother {
    /// Feature of each subset, u32 [encodings, subsets].
    features: Vec<u32>,
    subsets: usize,
    /// Number of features.
    count: usize,
    /// Encodings that are valid: the others have no value. Those with the same active form are held out together.
    rows: Vec<Row>,
}

/// An encoding that is valid.
#[derive(Clone, Copy, Debug)]
struct Row {
    rank: usize,
    held_out: bool,
}

impl Smoother {
    /// Of every encoding of a space that can be listed; none of a larger one, or of one of too many decisions.
    pub fn new(space: &SearchSpace) -> Option<Self> {
        let size = space.size().filter(|&size| size <= super::Prior::LARGEST)?;
        let d = space.len();
        let mut subsets: Vec<Vec<usize>> = (0..d).map(|i| vec![i]).collect();
        subsets.extend((0..d).flat_map(|i| (i + 1..d).map(move |j| vec![i, j])));
        let triples =
            (0..d).flat_map(|i| (i + 1..d).flat_map(move |j| (j + 1..d).map(move |k| vec![i, j, k])));
        let triples: Vec<Vec<usize>> = triples.collect();
        let fits = |subsets: usize| subsets * size as usize <= MOST;
        if fits(subsets.len() + triples.len()) {
            subsets.extend(triples);
        } else if !fits(subsets.len()) {
            return None;
        }
        let mut offsets = Vec::with_capacity(subsets.len());
        let mut count = 0;
        for subset in &subsets {
            offsets.push(count);
            count += subset.iter().map(|&i| usize::from(space.arity(i))).product::<usize>();
        }
        let mut features = Vec::with_capacity(size as usize * subsets.len());
        let (mut choices, mut rows) = (vec![0; d], Vec::with_capacity(size as usize));
        for rank in 0..size {
            space.unrank(rank, &mut choices);
            let valid = space.is_valid(&choices);
            space.activate(&mut choices);
            for (subset, offset) in subsets.iter().zip(&offsets) {
                let place = subset
                    .iter()
                    .fold(0, |place, &i| place * usize::from(space.arity(i)) + usize::from(choices[i]));
                features.push((offset + place) as u32);
            }
            // FNV-1a: the same everywhere.
            let hash = choices
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |h, &c| (h ^ u64::from(c)).wrapping_mul(0x100_0000_01b3));
            if valid {
                rows.push(Row { rank: rank as usize, held_out: (hash >> 32).is_multiple_of(HELD_OUT) });
            }
        }
        Some(Self { features, subsets: subsets.len(), count, rows })
    }

    /// Tables of values, f32 [encodings] each, smoothed.
    ///
    /// # Panics
    /// If there is not one value for each encoding.
    pub fn smoothed(&self, tables: &[&[f32]]) -> Vec<Vec<f32>> {
        // Threads of its own: whoever waits for it must not be lent to somebody who waits for the same.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let shares = tables.chunks(tables.len().div_ceil(threads).max(1));
        thread::scope(|scope| {
            let smooth = |share: &[&[f32]]| share.iter().map(|values| self.one(values)).collect::<Vec<_>>();
            let running: Vec<_> = shares.map(|share| scope.spawn(move || smooth(share))).collect();
            running.into_iter().flat_map(|share| share.join().expect("smoothing does not fail")).collect()
        })
    }

    fn one(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len() * self.subsets, self.features.len(), "a value for each encoding");
        let known = self.rows.iter().map(|row| f64::from(values[row.rank]));
        let mean = known.sum::<f64>() / self.rows.len().max(1) as f64;
        let error = |penalty: f64| {
            let weights = self.fit(values, mean, penalty, ROUGH, |row| !row.held_out);
            let missed = |row: &Row| f64::from(values[row.rank]) - mean - self.at(&weights, row.rank);
            self.rows.iter().filter(|row| row.held_out).map(|row| missed(row).powi(2)).sum::<f64>()
        };
        let tried = PENALTIES.map(|penalty| (penalty, error(penalty)));
        let (penalty, _) = tried.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are penalties");
        let weights = self.fit(values, mean, penalty, FINE, |_| true);
        (0..values.len()).map(|rank| (mean + self.at(&weights, rank)) as f32).collect()
    }

    fn of(&self, rank: usize) -> &[u32] {
        &self.features[rank * self.subsets..][..self.subsets]
    }

    fn at(&self, weights: &[f64], rank: usize) -> f64 {
        self.of(rank).iter().map(|&f| weights[f as usize]).sum()
    }

    /// Minimises Σ (y − x·w)² + penalty · w·w over the rows that count.
    fn fit(
        &self,
        values: &[f32],
        mean: f64,
        penalty: f64,
        tolerance: f64,
        counts: impl Fn(&Row) -> bool,
    ) -> Vec<f64> {
        let rows: Vec<usize> = self.rows.iter().filter(|row| counts(row)).map(|row| row.rank).collect();
        let add = |to: &mut [f64], row: usize, value: f64| {
            self.of(row).iter().for_each(|&f| to[f as usize] += value)
        };
        let mut residual = vec![0.0; self.count];
        rows.iter().for_each(|&row| add(&mut residual, row, f64::from(values[row]) - mean));
        let mut weights = vec![0.0; self.count];
        let mut direction = residual.clone();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut norm = dot(&residual, &residual);
        let enough = norm * tolerance * tolerance;
        for _ in 0..ITERATIONS {
            if norm <= enough {
                break;
            }
            let mut image: Vec<f64> = direction.iter().map(|v| penalty * v).collect();
            rows.iter().for_each(|&row| add(&mut image, row, self.at(&direction, row)));
            let step = norm / dot(&direction, &image);
            weights.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
            residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= step * i);
            let next = dot(&residual, &residual);
            let along = next / norm;
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + along * *d);
            norm = next;
        }
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_space::{Conditional, Constraint, Custom, Decision};

    #[test]
    fn what_is_smooth_stays_and_noise_goes() {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c"]);
        let space = Conditional::space("made-up", (0..6).map(decision).collect(), vec![]).unwrap();
        let mut choices = vec![0; 6];
        let good: Vec<f32> = (0..729)
            .map(|rank| {
                space.unrank(rank, &mut choices);
                choices.windows(2).map(|pair| f32::from(pair[0] * pair[1])).sum()
            })
            .collect();
        let noise = |rank: usize| (rank * 2_654_435_761 % 1_009) as f32 / 1_009.0 - 0.5;
        let noisy: Vec<f32> = good.iter().enumerate().map(|(rank, v)| v + 4.0 * noise(rank)).collect();
        let smoother = Smoother::new(&space).unwrap();
        let smooth = smoother.smoothed(&[&noisy, &good, &[7.0; 729]]);
        let error = |values: &[f32]| values.iter().zip(&good).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        assert!(error(&smooth[0]) < 0.5 * error(&noisy), "{} {}", error(&smooth[0]), error(&noisy));
        assert!(error(&smooth[1]) < 0.05 * error(&noisy));
        assert!(smooth[2].iter().all(|v| (v - 7.0).abs() < 1e-6), "all equal");
        assert!(smoother.smoothed(&[]).is_empty());
        // One decision of one choice; what cannot be listed.
        let one = Conditional::space("one", vec![Decision::new("d", &["a"])], vec![]).unwrap();
        assert_eq!(Smoother::new(&one).unwrap().smoothed(&[&[3.0]]), [[3.0]]);
        assert!(Smoother::new(&SearchSpace::named("darts").unwrap()).is_none());
        // What is not valid has no value, whatever stands in its place.
        let forbidden = vec![Constraint::Forbid(vec![(0, vec![2])])];
        let some = Custom::space("some", (0..6).map(decision).collect(), vec![], forbidden, vec![]).unwrap();
        let smoother = Smoother::new(&some).unwrap();
        let with = |value: f32| {
            let mut table = good.clone();
            (0..729).filter(|rank| rank / 243 == 2).for_each(|rank| table[rank] = value);
            smoother.smoothed(&[&table]).concat()[..486].to_vec()
        };
        assert_eq!(with(0.0), with(-3.0));
    }
}
