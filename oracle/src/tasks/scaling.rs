//! How the metrics of an objective are made comparable before they are summed up.

use crate::benchmark::Direction;
use srnas_basics::statistics;

/// What becomes of a metric's value in an objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scaling {
    /// As it is.
    AsItIs,
    /// Nothing: it is the same everywhere.
    Nothing,
    /// (sign · value − middle)/scale.
    Gap { sign: f64, middle: f64, scale: f64 },
    /// (ln value − mean)/deviation; what is below `least`, the least that is known, counts as that.
    Logarithm { mean: f64, deviation: f64, least: f64 },
}

impl Scaling {
    /// (value − median)/(best − median). Where the best is the median, as where most architectures have all the points there are,
    /// (value − median)/(best − worst). NaN is a value that is missing.
    pub fn of_gap(direction: Direction, values: &[f64]) -> Self {
        let sign = direction.sign();
        let mut known: Vec<f32> = values.iter().filter(|v| !v.is_nan()).map(|&v| (sign * v) as f32).collect();
        let middle = f64::from(statistics::median(&mut known));
        let best = known.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
        let worst = known.iter().copied().map(f64::from).fold(f64::INFINITY, f64::min);
        match best - middle {
            gap if gap > 0.0 => Self::Gap { sign, middle, scale: gap },
            // Of one value, 0 over anything.
            _ if best > worst => Self::Gap { sign, middle, scale: best - worst },
            _ => Self::Nothing,
        }
    }

    /// (ln v − mean)/sd over the values; nothing where it is the same everywhere.
    ///
    /// # Errors
    /// The place of a value that has no logarithm.
    pub fn of_logarithms(values: &[f64]) -> Result<Self, usize> {
        if let Some(row) = values.iter().position(|&v| v <= 0.0) {
            return Err(row);
        }
        let known: Vec<f64> = values.iter().filter(|v| !v.is_nan()).map(|v| v.ln()).collect();
        let mean = statistics::mean(&known);
        let deviation =
            statistics::mean(&known.iter().map(|v| (v - mean).powi(2)).collect::<Vec<_>>()).sqrt();
        // Rounding leaves a trace of deviation in equal values.
        if deviation.is_nan() || deviation < 1e-9 {
            return Ok(Self::Nothing);
        }
        let least = values.iter().copied().filter(|v| !v.is_nan()).fold(f64::INFINITY, f64::min);
        Ok(Self::Logarithm { mean, deviation, least })
    }

    /// The scaled value; NaN of NaN.
    pub fn apply(self, value: f64) -> f64 {
        match self {
            Self::AsItIs => value,
            Self::Nothing => value * 0.0,
            Self::Gap { sign, middle, scale } => (sign * value - middle) / scale,
            Self::Logarithm { mean, deviation, least } => {
                // Not max: it makes a number of NaN.
                let value = if value < least { least } else { value };
                (value.ln() - mean) / deviation
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_one_from_median_to_best_and_what_is_missing_stays_missing() {
        let values = [1.0, 2.0, 6.0, f64::NAN];
        let more = Scaling::of_gap(Direction::Maximise, &values);
        assert_eq!((more.apply(6.0), more.apply(2.0), more.apply(1.0)), (1.0, 0.0, -0.25));
        assert!(more.apply(f64::NAN).is_nan());
        let less = Scaling::of_gap(Direction::Minimise, &values);
        assert_eq!((less.apply(1.0), less.apply(2.0)), (1.0, 0.0));
        assert_eq!(Scaling::of_gap(Direction::Maximise, &[3.0, 3.0, 1.0]).apply(1.0), -1.0);
        assert_eq!(Scaling::of_gap(Direction::Maximise, &[3.0, 3.0]), Scaling::Nothing);
    }

    #[test]
    fn logarithms_are_standardised_and_never_of_less_than_is_known() {
        let e = std::f64::consts::E;
        let scaling = Scaling::of_logarithms(&[1.0, e * e, f64::NAN]).unwrap();
        assert_eq!((scaling.apply(e).abs() < 1e-12, scaling.apply(1.0)), (true, -1.0));
        assert_eq!(scaling.apply(-5.0), -1.0);
        assert!(scaling.apply(f64::NAN).is_nan());
        assert_eq!(Scaling::of_logarithms(&[1.0, 0.0]), Err(1));
        assert_eq!(Scaling::of_logarithms(&[2.0, 2.0]), Ok(Scaling::Nothing));
    }
}
