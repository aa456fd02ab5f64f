//! Packed little-endian arrays in `bytes` fields.

use bytes::Bytes;
use half::f16;

/// What is wrong with the arrays of a batch.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// An array's bytes are not a whole number of elements.
    #[error("`{array}` has {bytes} bytes, which is no whole number of elements of {size} bytes")]
    Ragged {
        /// Field of the message.
        array: &'static str,
        /// Bytes that came.
        bytes: usize,
        /// Bytes of one element.
        size: usize,
    },
    /// An array has not the length that follows from the other arrays.
    #[error("`{array}` has {found} elements, not {expected} ({rule})")]
    Length {
        /// Field of the message.
        array: &'static str,
        /// Elements that came.
        found: usize,
        /// Elements that the other arrays ask for.
        expected: usize,
        /// Where the expected number comes from.
        rule: &'static str,
    },
    /// An element is out of its range.
    #[error("`{array}`[{index}] is {value}, not {rule}")]
    Value {
        /// Field of the message.
        array: &'static str,
        /// Index of the first offending element.
        index: usize,
        /// The offending element.
        value: f64,
        /// What is allowed.
        rule: &'static str,
    },
}

/// A number that travels in packed arrays.
pub(super) trait Element: Copy {
    /// Little-endian bytes of all values.
    fn pack(values: &[Self]) -> Bytes;
    /// The values, from bytes of any alignment; fails when the last element is cut.
    fn unpack(array: &'static str, bytes: &[u8]) -> Result<Vec<Self>, Malformed>;
    /// For error messages.
    fn value(self) -> f64;
}

macro_rules! elements {
    ($($number:ty, $value:expr;)*) => {$(
        impl Element for $number {
            // Whole arrays of constant size: both loops compile to plain copies on a little-endian machine.
            fn pack(values: &[Self]) -> Bytes {
                let mut bytes = vec![0; size_of_val(values)];
                let (slots, _) = bytes.as_chunks_mut::<{ size_of::<$number>() }>();
                for (slot, value) in slots.iter_mut().zip(values) {
                    *slot = value.to_le_bytes();
                }
                bytes.into()
            }

            fn unpack(array: &'static str, bytes: &[u8]) -> Result<Vec<Self>, Malformed> {
                let size = size_of::<$number>();
                match bytes.as_chunks::<{ size_of::<$number>() }>() {
                    (elements, []) => Ok(elements.iter().map(|e| <$number>::from_le_bytes(*e)).collect()),
                    _ => Err(Malformed::Ragged { array, bytes: bytes.len(), size }),
                }
            }

            fn value(self) -> f64 {
                let value: fn(Self) -> f64 = $value;
                value(self)
            }
        }
    )*};
}

elements! {
    u8, f64::from;
    u16, f64::from;
    u64, |x| x as f64;
    f32, f64::from;
    f16, f16::to_f64;
}

/// Fails unless `found` elements are what the other arrays ask for.
pub(super) fn check_length(
    array: &'static str,
    found: usize,
    expected: usize,
    rule: &'static str,
) -> Result<(), Malformed> {
    if found == expected { Ok(()) } else { Err(Malformed::Length { array, found, expected, rule }) }
}

/// Fails at the first element that is not allowed.
pub(super) fn check_values<T: Element>(
    array: &'static str,
    values: &[T],
    rule: &'static str,
    allowed: impl Fn(T) -> bool,
) -> Result<(), Malformed> {
    // No early exit: the loop over good values vectorises, and bad ones are rare.
    if values.iter().fold(true, |good, &v| good & allowed(v)) {
        return Ok(());
    }
    let index = values.iter().position(|&v| !allowed(v)).unwrap_or(0);
    Err(Malformed::Value { array, index, value: values[index].value(), rule })
}

/// Fails at the first number that is infinite or not a number.
pub(super) fn check_finite(array: &'static str, values: &[f32]) -> Result<(), Malformed> {
    check_values(array, values, "a finite number", f32::is_finite)
}

/// [`check_finite`] for half precision.
pub(super) fn check_finite_halves(array: &'static str, values: &[f16]) -> Result<(), Malformed> {
    // All exponent bits set: infinite or not a number.
    check_values(array, values, "a finite number", |x| x.to_bits() & 0x7c00 != 0x7c00)
}
