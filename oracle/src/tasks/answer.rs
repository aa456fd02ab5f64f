//! An objective that a benchmark's network answers for any architecture of its space.

use super::Scaling;
use crate::{benchmark::Benchmark, climb::climb};
use srnas_space::{Choices, SearchSpace};
use srnas_task::{Factor, Function, LARGEST_VALUE, TaskName, traded};
use std::{fmt, sync::Arc};

/// Whether a benchmark's network gives everything that a task asks for. One run of several is a thing of tables.
pub(super) fn answers(benchmark: &Benchmark, name: &TaskName) -> bool {
    let Some(network) = benchmark.network().filter(|_| benchmark.name() == name.benchmark) else {
        return false;
    };
    name.terms.iter().all(|term| term.seed.is_none())
        && name.metrics().all(|metric| network.output(metric).is_some())
}

/// The sum of some metrics, or a product, each as the benchmark's row has it where there is one, else as the network says.
pub(super) struct Answer {
    benchmark: Arc<Benchmark>,
    terms: Vec<Part>,
    /// What the only term is multiplied by, each after its metric's place among the network's outputs.
    factors: Vec<(usize, Factor)>,
    /// The worst of what is known.
    worst: f32,
}

struct Part {
    metric: String,
    /// Place among the network's outputs.
    output: usize,
    weight: f64,
    scaling: Scaling,
}

impl Answer {
    /// Of a task that the benchmark [`answers`]; `scalings` are weight and scaling of each of its terms, `worst` the worst of its known values.
    pub fn new(
        benchmark: Arc<Benchmark>,
        name: &TaskName,
        scalings: Vec<(f64, Scaling)>,
        worst: f32,
    ) -> Self {
        let network = benchmark.network().expect("it answers").clone();
        let part = |(term, (weight, scaling)): (&srnas_task::Term, (f64, Scaling))| Part {
            metric: term.metric.clone(),
            output: network.output(&term.metric).expect("it answers"),
            weight,
            scaling,
        };
        let terms = name.terms.iter().zip(scalings).map(part).collect();
        let factor = |factor: &Factor| (network.output(&factor.metric).expect("it answers"), factor.clone());
        let factors = name.factors.iter().map(factor).collect();
        Self { benchmark, terms, factors, worst }
    }

    /// The values of the best that lie near the best rows, of which `known` are the values.
    pub fn best_near(&self, known: &[f32]) -> Vec<f32> {
        const STARTS: usize = 4;
        let space = self.benchmark.space();
        let mut rows: Vec<usize> = (0..known.len()).filter(|&row| !known[row].is_nan()).collect();
        rows.sort_by(|&a, &b| known[b].total_cmp(&known[a]).then(a.cmp(&b)));
        let values = |all: &[u8]| self.values(all, space.len());
        let climbed =
            rows.into_iter().take(STARTS).map(|row| climb(space, self.benchmark.choices(row), values));
        climbed.flat_map(|best| values(&best)).collect()
    }

    /// The values of every encoding of a small space; NaN of what is not valid.
    pub fn everywhere(&self, space: &SearchSpace) -> Vec<f32> {
        let (d, size) = (space.len(), space.size().unwrap_or(0));
        let (mut all, mut ranks) = (Vec::new(), Vec::new());
        let mut choices = vec![0; d];
        for rank in 0..size {
            space.unrank(rank, &mut choices);
            if space.is_valid(&choices) {
                all.extend_from_slice(&choices);
                ranks.push(rank as usize);
            }
        }
        let mut values = vec![f32::NAN; size as usize];
        ranks.into_iter().zip(self.values(&all, d)).for_each(|(rank, value)| values[rank] = value);
        values
    }
}

impl Function for Answer {
    fn value(&self, choices: &Choices) -> f32 {
        self.values(choices, choices.len())[0]
    }

    fn values(&self, architectures: &[u8], decisions: usize) -> Vec<f32> {
        let network = self.benchmark.network().expect("it answers");
        let mut sums = vec![0.0; architectures.len() / decisions];
        let rows: Vec<Option<usize>> =
            architectures.chunks_exact(decisions).map(|choices| self.benchmark.row_of(choices)).collect();
        let values = |metric: &str, output: usize| {
            let metric = self.benchmark.metric(metric).expect("a metric of it");
            let predicted = network.values(output, architectures).into_iter().map(f64::from);
            let known = |(predicted, row): (f64, &Option<usize>)| {
                row.map(|row| metric.mean(row)).filter(|known| !known.is_nan()).unwrap_or(predicted)
            };
            predicted.zip(&rows).map(known).collect::<Vec<f64>>()
        };
        for Part { metric, output, weight, scaling } in &self.terms {
            let values = values(metric, *output);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * scaling.apply(value));
        }
        if !self.factors.is_empty() {
            sums.iter_mut().for_each(|value| *value = traded(*value).unwrap_or(f64::NAN));
        }
        for (output, factor) in &self.factors {
            let values = values(&factor.metric, *output);
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum *= factor.of(value).unwrap_or(f64::NAN));
        }
        // A network of a file may say what is no number, or what a search cannot hold: that is as bad as the worst known.
        let sound = |sum: f64| if sum.abs() <= LARGEST_VALUE { sum as f32 } else { self.worst };
        sums.into_iter().map(sound).collect()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metrics: Vec<&str> = self.terms.iter().map(|part| part.metric.as_str()).collect();
        write!(f, "Answer({}, {}", self.benchmark.name(), metrics.join(" + "))?;
        self.factors.iter().try_for_each(|(_, factor)| write!(f, "*{factor}"))?;
        f.write_str(")")
    }
}
