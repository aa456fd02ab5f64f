//! The functions that physics and networks need, in arithmetic alone: no processor and no system library has a say in
//! their bits, and none has a branch, so that they vectorise.

use srnas_network::ops::simd::exp_of_negative;
use std::f32::consts::FRAC_2_PI;

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let e = exp_of_negative(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// The logistic function, 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn logistic(x: f32) -> f32 {
    let e = exp_of_negative(-x.abs());
    let above = 1.0 / (1.0 + e);
    if x < 0.0 { e * above } else { above }
}

/// Sine and cosine of an angle below a thousand turns.
#[inline(always)]
pub fn sin_cos(x: f32) -> (f32, f32) {
    // x = n π/2 + r with |r| ≤ π/4. Adding 1.5 · 2²³ rounds to a whole number, whose last two bits are the quadrant;
    // π/2 is taken off in three parts, the first two of which are exact.
    const ROUND: f32 = 12_582_912.0;
    const PARTS: [f32; 3] = [1.570_312_5, 4.837_513e-4, 7.549_79e-8];
    let shifted = x * FRAC_2_PI + ROUND;
    let whole = shifted - ROUND;
    let r = ((x - whole * PARTS[0]) - whole * PARTS[1]) - whole * PARTS[2];
    let square = r * r;
    // The polynomials of Cephes' sinf and cosf.
    let sine = ((-1.951_529_6e-4 * square + 8.332_161e-3) * square - 1.666_665_5e-1) * square * r + r;
    let cosine = ((2.443_315_7e-5 * square - 1.388_731_6e-3) * square + 4.166_664_6e-2) * square * square
        - 0.5 * square
        + 1.0;
    let quadrant = shifted.to_bits();
    let (a, b) = if quadrant & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let sign = |bits: u32, value: f32| f32::from_bits(value.to_bits() ^ ((bits & 2) << 30));
    (sign(quadrant, a), sign(quadrant.wrapping_add(1), b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_close_to_the_exact_ones() {
        for step in -200_000..200_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x);
            let (sine, cosine) = sin_cos(x);
            for (name, found, expected) in [
                ("sine", sine, exact.sin()),
                ("cosine", cosine, exact.cos()),
                ("tanh", tanh(x), exact.tanh()),
                ("logistic", logistic(x), 1.0 / (1.0 + (-exact).exp())),
            ] {
                let error = (f64::from(found) - expected).abs();
                assert!(error < 3e-7, "{name}({x}) is off by {error}");
            }
        }
    }
}
