//! Loops compiled for the vector instructions this processor has, chosen when they run.

use pulp::{Simd, WithSimd};

/// Values that fill the widest vector register; sums kept this many at a time vectorise.
pub const LANES: usize = 16;

/// Runs a block with the widest vector instructions there are; functions it calls must be inlined to profit.
///
/// A macro, because the closure it makes must be inlined as well, and leaving that out would go unnoticed.
#[macro_export]
macro_rules! vectorised {
    ($work:expr) => {
        $crate::ops::simd::run($crate::ops::simd::Vectorised(
            #[inline(always)]
            || $work,
        ))
    };
}
pub use vectorised;

/// Runs the work of [`vectorised`].
#[inline(always)]
pub fn run<T, F: FnMut() -> T>(work: Vectorised<F>) -> T {
    pulp::Arch::new().dispatch(work)
}

/// What [`vectorised`] runs. pulp takes closures as they are, but as `FnOnce`, which puts a function that is not
/// inlined in between.
pub struct Vectorised<F>(pub F);

impl<T, F: FnMut() -> T> WithSimd for Vectorised<F> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _simd: S) -> T {
        (self.0)()
    }
}

/// Adds `row` to `sum`, value by value.
#[inline(always)]
pub fn add_to(sum: &mut [f32], row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

/// The inner product of two equally long slices.
#[inline(always)]
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    total(sums) + rest
}

/// The sum of a slice.
#[inline(always)]
pub fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    total(sums) + rest.iter().sum::<f32>()
}

/// The sum of all lanes, in halves so that it vectorises.
#[inline(always)]
pub fn total(sums: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|lane| sums[lane] + sums[lane + 8]);
    let four: [f32; 4] = std::array::from_fn(|lane| eight[lane] + eight[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

/// eˣ for x ≤ 0 to about 2 units in the last place, without a branch; 0 below −87.
#[inline(always)]
pub fn exp_of_negative(x: f32) -> f32 {
    // x = n ln 2 + r with |r| ≤ ln 2 / 2. Adding 1.5 · 2²³ rounds to a whole number, which then stands in the
    // low bits; ln 2 is taken off in two parts, the first of which is exact.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Below this the power of two would leave the range of f32.
    const LEAST: f32 = -87.0;
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let r = clamped - whole * LN2_HIGH - whole * LN2_LOW;
    // The polynomial of Cephes' expf.
    let mut series = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = series * r + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = (series * r * r + r + 1.0) * power;
    if x > LEAST { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_close() {
        for step in 0..87_000 {
            let x = step as f32 * -1e-3;
            let exact = (x as f64).exp();
            let error = (vectorised!(exp_of_negative(x)) as f64 - exact).abs() / exact;
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_of_negative(-1000.0), 0.0);
        assert!(exp_of_negative(0.0) == 1.0);
    }

    #[test]
    fn sums_take_every_value() {
        let values: Vec<f32> = (1..=37).map(|value| value as f32).collect();
        assert_eq!(sum(&values), 37.0 * 38.0 / 2.0);
        assert_eq!(dot(&values, &values), 37.0 * 38.0 * 75.0 / 6.0);
    }
}
