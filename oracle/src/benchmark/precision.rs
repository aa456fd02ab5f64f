//! How exactly a metric's values are kept.

use half::f16;
use safetensors::Dtype;

/// The kinds of numbers that a metric's tensor may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f16: three digits, up to 65,504.
    Half,
    /// f32: seven digits.
    Single,
    /// f64: fifteen digits.
    Double,
}

impl Precision {
    /// That of a tensor; none where it cannot hold a metric.
    pub(super) fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F16 => Some(Self::Half),
            Dtype::F32 => Some(Self::Single),
            Dtype::F64 => Some(Self::Double),
            _ => None,
        }
    }

    /// The least that keeps these numbers as they are written: a decimal number of few digits needs no more than f32, which is
    /// nearest to it and to no other number of as few.
    pub(super) fn that_keeps(values: &[f64]) -> Self {
        let kept = |v: f64| v.is_nan() || Self::Single.decimal(v) == v;
        if values.iter().all(|&v| kept(v)) { Self::Single } else { Self::Double }
    }

    /// Bytes of a value.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
        }
    }

    /// The value at an index in the bytes of a tensor.
    pub(super) fn value(self, bytes: &[u8], index: usize) -> f64 {
        let at = &bytes[index * self.width()..][..self.width()];
        match self {
            Self::Half => f16::from_le_bytes(at.try_into().expect("two bytes")).to_f64(),
            Self::Single => f32::from_le_bytes(at.try_into().expect("four bytes")).into(),
            Self::Double => f64::from_le_bytes(at.try_into().expect("eight bytes")),
        }
    }

    /// A number that was computed from such values, with no more digits than they have.
    pub(super) fn rounded(self, value: f64) -> f64 {
        match self {
            Self::Half | Self::Single => f64::from(value as f32),
            Self::Double => value,
        }
    }

    /// The number as it was written: 0.1 in single precision is 0.1, not 0.10000000149.
    pub(super) fn decimal(self, value: f64) -> f64 {
        match self {
            Self::Half | Self::Single => (value as f32).to_string().parse().unwrap_or(value),
            Self::Double => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Precision::{self, Double, Single};

    #[test]
    fn decimals_of_few_digits_need_single_precision_and_others_double() {
        let nan = f64::NAN;
        for (values, expected) in [
            (&[90.1, 0.1, -3e-7, 0.0, nan, 1e30][..], Single),
            (&[93.4567], Single),
            (&[90.1, 39_974_282.0], Double),
            (&[39_974_280.0], Single),
            (&[16_777_216.0], Single),
            (&[16_777_217.0], Double),
            (&[0.123_456_789], Double),
            (&[1e-50], Double),
            (&[1e39], Double),
            (&[], Single),
        ] {
            assert_eq!(Precision::that_keeps(values), expected, "{values:?}");
        }
    }

    #[test]
    fn numbers_are_shown_as_they_were_written() {
        assert_eq!(Single.decimal(f64::from(0.1f32)), 0.1);
        assert_eq!(Double.decimal(f64::from(0.1f32)), f64::from(0.1f32));
        assert!(Single.decimal(f64::NAN).is_nan());
        assert_eq!((Single.rounded(0.1), Double.rounded(0.1)), (f64::from(0.1f32), 0.1));
    }
}
