//! Greedy ridge regression on the choices and their pairs: some random architectures, then batches of those predicted best.
//!
//! With one feature for each choice and one for each pair of choices, two architectures with m equal decisions have the
//! inner product m + m(m − 1)/2, so the regression is solved in its dual form, n × n, whatever the size of the space.

use super::{Begin, Method, MethodError, MethodSpec, SpecError, Starter, pool, random::unmeasured};
use hashbrown::HashSet;
use rand_chacha::ChaCha8Rng;
use srnas_space::{Choices, edit_distance};

pub fn prepare(spec: &MethodSpec) -> Result<Starter, SpecError> {
    let mut options = spec.options()?;
    let initial = options.whole("initial", 20, 1)?;
    let batch = options.whole("batch", 10, 1)?;
    let alpha = options.number("alpha", 1.0, 1e-9)?;
    options.end()?;
    Ok(Box::new(move |begin| {
        Ok(Box::new(Greedy {
            rng: begin.rng(),
            begin: begin.clone(),
            initial,
            batch,
            alpha,
            told: Vec::new(),
            measured: HashSet::new(),
            queue: Vec::new(),
        }))
    }))
}

struct Greedy {
    begin: Begin,
    rng: ChaCha8Rng,
    initial: usize,
    batch: usize,
    alpha: f64,
    told: Vec<(Vec<u8>, f32)>,
    measured: HashSet<u64>,
    /// The next ones to ask for, the best last.
    queue: Vec<Vec<u8>>,
}

impl Method for Greedy {
    fn ask(&mut self) -> Result<Option<Vec<u8>>, MethodError> {
        if self.told.len() < self.initial {
            return Ok(unmeasured(&self.begin, &self.measured, &mut self.rng));
        }
        if self.queue.is_empty() {
            let architectures: Vec<&[u8]> = self.told.iter().map(|(choices, _)| choices.as_slice()).collect();
            let values: Vec<f64> = self.told.iter().map(|(_, value)| f64::from(*value)).collect();
            let model = Ridge::fit(&self.begin, &architectures, &values, self.alpha);
            let candidates =
                pool::unmeasured(&self.begin, &self.measured, &self.told, &[], pool::POOL, &mut self.rng);
            let mut ranked: Vec<(f64, Vec<u8>)> =
                candidates.into_iter().map(|choices| (model.predict(&choices), choices)).collect();
            let by_value = |a: &(f64, Vec<u8>), b: &(f64, Vec<u8>)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            let batch = self.batch.min(ranked.len());
            if batch > 0 && batch < ranked.len() {
                ranked.select_nth_unstable_by(batch - 1, by_value);
            }
            ranked.truncate(batch);
            ranked.sort_by(by_value);
            self.queue = ranked.into_iter().rev().map(|(_, choices)| choices).collect();
        }
        Ok(self.queue.pop())
    }

    fn tell(&mut self, choices: &Choices, values: &[f32]) -> Result<(), MethodError> {
        if self.measured.insert(self.begin.key(choices)) {
            self.told.push((choices.to_vec(), values[0]));
        }
        Ok(())
    }
}

/// A ridge regression with an intercept.
pub(super) struct Ridge {
    mean: f64,
    /// First feature of each decision's choices.
    offsets: Vec<usize>,
    /// One for each choice.
    single: Vec<f64>,
    /// One for each pair of choices: f64 [choices, choices], of which the upper half is used.
    pairs: Vec<f64>,
}

impl Ridge {
    /// Fits values to architectures with the penalty `alpha`.
    pub fn fit(begin: &Begin, architectures: &[&[u8]], values: &[f64], alpha: f64) -> Self {
        let space = &begin.space;
        let (n, d) = (architectures.len(), space.len());
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        let mut gram = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let equal = (d - edit_distance(architectures[i], architectures[j])) as f64;
                gram[i * n + j] = equal + equal * (equal - 1.0) / 2.0;
            }
            gram[i * n + i] += alpha;
        }
        let mut dual: Vec<f64> = values.iter().map(|v| v - mean).collect();
        solve(&mut gram, &mut dual);
        let mut offsets = Vec::with_capacity(d);
        let mut choices = 0;
        for decision in 0..d {
            offsets.push(choices);
            choices += space.arity(decision) as usize;
        }
        let (mut single, mut pairs) = (vec![0.0; choices], vec![0.0; choices * choices]);
        for (architecture, a) in architectures.iter().zip(&dual) {
            for i in 0..d {
                let first = offsets[i] + architecture[i] as usize;
                single[first] += a;
                for j in i + 1..d {
                    pairs[first * choices + offsets[j] + architecture[j] as usize] += a;
                }
            }
        }
        Self { mean, offsets, single, pairs }
    }

    /// The value predicted for an architecture.
    pub fn predict(&self, choices: &Choices) -> f64 {
        let mut sum = self.mean;
        for (i, &choice) in choices.iter().enumerate() {
            let first = self.offsets[i] + choice as usize;
            sum += self.single[first];
            let row = &self.pairs[first * self.single.len()..][..self.single.len()];
            for (&offset, &other) in self.offsets[i + 1..].iter().zip(&choices[i + 1..]) {
                sum += row[offset + other as usize];
            }
        }
        sum
    }
}

/// Solves A·x = b in place for a positive definite A: f64 [n, n], of which the lower half is read, by Cholesky.
fn solve(a: &mut [f64], b: &mut [f64]) {
    let n = b.len();
    for i in 0..n {
        for j in 0..=i {
            let (head, tail) = a.split_at(i * n);
            let row_j = if j < i { &head[j * n..j * n + j] } else { &tail[..j] };
            let dot: f64 = tail[..j].iter().zip(row_j).map(|(x, y)| x * y).sum();
            let rest = a[i * n + j] - dot;
            a[i * n + j] = if i == j { rest.max(1e-12).sqrt() } else { rest / a[j * n + j] };
        }
        let dot: f64 = a[i * n..i * n + i].iter().zip(b.iter()).map(|(x, y)| x * y).sum();
        b[i] = (b[i] - dot) / a[i * n + i];
    }
    for i in (0..n).rev() {
        b[i] /= a[i * n + i];
        let x = b[i];
        for j in 0..i {
            b[j] -= a[i * n + j] * x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_system_is_solved() {
        // Lower halves of [[4, 2, 0], [2, 5, 1], [0, 1, 3]] and its product with [1, -2, 3].
        let mut a = [4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 0.0, 1.0, 3.0];
        let mut b = [0.0, -5.0, 7.0];
        solve(&mut a, &mut b);
        for (x, expected) in b.iter().zip([1.0, -2.0, 3.0]) {
            assert!((x - expected).abs() < 1e-9, "{b:?}");
        }
    }
}
