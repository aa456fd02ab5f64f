//! What is expected of a past task of which some measurements are known, in a space that is too large for a table.

use super::{Cut, Form, Forms, Kernel, PlainSettings};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use srnas_basics::statistics;
use srnas_space::SearchSpace;
use std::sync::Arc;

/// Random architectures that stand for the whole space when the expectation is scaled.
const SAMPLE: usize = 2_000;

/// The mean of a past task's plain posterior at any architecture, scaled as [`srnas_task::Task::prior_value`]: 0 is the median
/// of the space, 1 the best that is expected or was measured.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Expectations of one basis share their kernel with an architecture.
    basis: Arc<Basis>,
    /// (K + noise)⁻¹ z.
    coefficients: Vec<f64>,
    /// Median and gap of the space, in deviations of the measured values.
    median: f64,
    gap: f64,
}

/// Where something is known, and how alike anything is to it.
#[derive(Debug)]
struct Basis {
    kernel: Kernel,
    points: Forms,
}

impl Basis {
    /// Kernel of an architecture with every point.
    fn row(&self, form: &Form, row: &mut Vec<f32>) {
        row.resize(self.points.capacity(), 0.0);
        self.kernel.row(&self.points, 0, form, row);
    }
}

impl Expectation {
    /// From measurements, of which at least one is needed; an architecture that is there twice counts twice.
    ///
    /// # Panics
    /// Without measurements.
    pub fn new(space: &SearchSpace, settings: &PlainSettings, measured: &[(&[u8], f32)]) -> Self {
        let (choices, values): (Vec<&[u8]>, Vec<f32>) = measured.iter().copied().unzip();
        let mut alone = Self::of_many(space, settings, &choices, &[&values]);
        alone.pop().expect("one for each list of values")
    }

    /// As [`Self::new`], of several tasks that were measured in the same places.
    ///
    /// # Panics
    /// Without measurements, or where values and architectures are of different numbers.
    pub fn of_many(
        space: &SearchSpace,
        settings: &PlainSettings,
        choices: &[&[u8]],
        values: &[&[f32]],
    ) -> Vec<Self> {
        assert!(!choices.is_empty(), "nothing says nothing");
        let (mut points, mut form) = (Forms::new(space, choices.len()), Form::new(space));
        for (i, choices) in choices.iter().enumerate() {
            form.assign(space, choices);
            points.set(i, &form);
        }
        let basis = Arc::new(Basis { kernel: Kernel::new(settings, space), points });
        let factor = factor(&basis, &mut form, f64::from(settings.noise));
        values.iter().map(|values| Self::on(&basis, &factor, space, settings, values)).collect()
    }

    fn on(
        basis: &Arc<Basis>,
        factor: &[f64],
        space: &SearchSpace,
        settings: &PlainSettings,
        values: &[f32],
    ) -> Self {
        assert_eq!(values.len(), basis.points.capacity(), "a value in each place");
        let mut form = Form::new(space);
        let z = Cut::new(values, settings.cut).map_or_else(|| standardised(values), |cut| cut.standardised);
        let coefficients = solve(factor, &z);
        let mut found = Self { basis: basis.clone(), coefficients, median: 0.0, gap: 1.0 };
        let (mut rng, mut choices) = (ChaCha8Rng::seed_from_u64(0), vec![0; space.len()]);
        let mut row = Vec::new();
        let sample: Vec<f32> = (0..SAMPLE)
            .map(|_| {
                space.sample(&mut rng, &mut choices);
                form.assign(space, &choices);
                found.mean(&form, &mut row) as f32
            })
            .collect();
        found.scale(&z, &sample);
        found
    }

    /// From what a posterior has computed already: its coefficients for the measured values `z`, and its `means` where it is to be
    /// scaled by them.
    pub(super) fn known(
        kernel: Kernel,
        points: Forms,
        coefficients: Vec<f64>,
        z: &[f64],
        means: &[f32],
    ) -> Self {
        let basis = Arc::new(Basis { kernel, points });
        let mut known = Self { basis, coefficients, median: 0.0, gap: 1.0 };
        known.scale(z, means);
        known
    }

    fn scale(&mut self, z: &[f64], means: &[f32]) {
        let measured_best = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let best = means.iter().copied().fold(measured_best as f32, f32::max);
        let median = statistics::median(&mut means.to_vec());
        (self.median, self.gap) = (median.into(), f64::from(best - median));
    }

    /// The values of several at an architecture; `row` is room to work in.
    pub(super) fn all_at(all: &[Self], form: &Form, row: &mut Vec<f32>, mut each: impl FnMut(usize, f32)) {
        let mut basis: Option<&Arc<Basis>> = None;
        for (place, expectation) in all.iter().enumerate() {
            if basis.is_none_or(|basis| !Arc::ptr_eq(basis, &expectation.basis)) {
                expectation.basis.row(form, row);
                basis = Some(&expectation.basis);
            }
            each(place, expectation.scaled(expectation.sum(row)));
        }
    }

    /// A mean in units of the gap.
    pub(super) fn scaled(&self, mean: f64) -> f32 {
        if self.gap <= 1e-9 { 0.0 } else { (((mean - self.median) / self.gap) as f32).clamp(-3.0, 1.0) }
    }

    fn mean(&self, form: &Form, row: &mut Vec<f32>) -> f64 {
        self.basis.row(form, row);
        self.sum(row)
    }

    fn sum(&self, row: &[f32]) -> f64 {
        row.iter().zip(&self.coefficients).map(|(k, c)| f64::from(*k) * c).sum()
    }
}

/// Values with mean 0 and deviation 1; all zero where all are equal.
pub(super) fn standardised(values: &[f32]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let spread = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    let spread = if spread > 1e-9 { spread } else { 1.0 };
    values.iter().map(|&v| (f64::from(v) - mean) / spread).collect()
}

/// Cholesky's factor of K + noise, f64 [n, n].
fn factor(basis: &Basis, form: &mut Form, noise: f64) -> Vec<f64> {
    let n = basis.points.capacity();
    let (mut factor, mut row) = (vec![0.0f64; n * n], Vec::new());
    for i in 0..n {
        basis.points.copy_to(i, form);
        basis.row(form, &mut row);
        for j in 0..=i {
            let (at_i, at_j) = (&factor[i * n..][..j], &factor[j * n..][..j]);
            let rest = f64::from(row[j]) - at_i.iter().zip(at_j).map(|(a, b)| a * b).sum::<f64>();
            factor[i * n + j] = match i == j {
                // Rounding may leave less than the noise.
                true => (rest + noise).max(1e-9).sqrt(),
                false => rest / factor[j * n + j],
            };
        }
    }
    factor
}

/// (K + noise)⁻¹ z by Cholesky's factor.
fn solve(factor: &[f64], z: &[f64]) -> Vec<f64> {
    let n = z.len();
    let mut solved = z.to_vec();
    for i in 0..n {
        let known: f64 = factor[i * n..][..i].iter().zip(&solved).map(|(l, a)| l * a).sum();
        solved[i] = (solved[i] - known) / factor[i * n + i];
    }
    for i in (0..n).rev() {
        let later: f64 = (i + 1..n).map(|j| factor[j * n + i] * solved[j]).sum();
        solved[i] = (solved[i] - later) / factor[i * n + i];
    }
    solved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PosteriorSettings, Predictor};
    use srnas_space::{Conditional, Decision};

    fn space(decisions: usize) -> SearchSpace {
        let decision = |d: usize| Decision::new(format!("d{d}"), &["a", "b", "c", "d"]);
        Conditional::space("made-up", (0..decisions).map(decision).collect(), vec![]).unwrap()
    }

    fn at(expectation: &Expectation, form: &Form) -> f32 {
        let mut found = f32::NAN;
        let all = std::slice::from_ref(expectation);
        Expectation::all_at(all, form, &mut Vec::new(), |_, value| found = value);
        found
    }

    #[test]
    fn it_is_the_plain_posteriors_mean() {
        let space = std::sync::Arc::new(space(20));
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut draw = || {
            let mut choices = vec![0; 20];
            space.sample(&mut rng, &mut choices);
            choices
        };
        let value = |choices: &[u8]| choices.iter().map(|&c| f32::from(c)).sum::<f32>();
        let measured: Vec<Vec<u8>> = (0..40).map(|_| draw()).collect();
        let points: Vec<(&[u8], f32)> = measured.iter().map(|c| (&c[..], value(c))).collect();
        let settings = PosteriorSettings::default();
        let expectation = Expectation::new(&space, &settings.plain, &points);
        let others: Vec<Vec<u8>> = (0..8).map(|_| draw()).collect();
        let mut predictor = Predictor::sampled(space.clone(), settings, None, 40, 8);
        let ranks: Vec<u64> = others.iter().map(|c| space.rank(c)).collect();
        predictor.place(0, &others.concat(), &ranks);
        for (choices, value) in &points {
            predictor.observe(choices, space.rank(choices), *value);
        }
        let (mut form, mut row) = (Form::new(&space), Vec::new());
        for (slot, choices) in others.iter().enumerate() {
            form.assign(&space, choices);
            let expected = f64::from(predictor.beliefs().plain_mean[slot]);
            assert!((expectation.mean(&form, &mut row) - expected).abs() < 1e-3);
        }
        // What is good was seen to be good: scaled, the median is 0 and nothing is above 1.
        form.assign(&space, &[3; 20]);
        let best = at(&expectation, &form);
        form.assign(&space, &[0; 20]);
        assert!(best > 0.3 && best <= 1.0 && at(&expectation, &form) < 0.0);
    }

    #[test]
    fn one_measurement_or_equal_ones_say_nothing() {
        let space = space(20);
        let (one, two) = (vec![0; 20], vec![1; 20]);
        let mut form = Form::new(&space);
        form.assign(&space, &[2; 20]);
        for measured in [vec![(&one[..], 5.0)], vec![(&one[..], 5.0), (&two[..], 5.0), (&two[..], 5.0)]] {
            let expectation = Expectation::new(&space, &PlainSettings::default(), &measured);
            assert_eq!(at(&expectation, &form), 0.0);
        }
    }
}
