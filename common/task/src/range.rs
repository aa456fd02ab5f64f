//! Which numbers a search can hold.

/// Nothing that is searched may be further from 0. Inside a search values are f32, and so are their differences, scales and
/// standardised forms, which must not overflow.
pub const LARGEST_VALUE: f64 = 1e30;
/// Nothing that is searched may be nearer to 0 without being 0, see [`LARGEST_VALUE`].
pub const SMALLEST_VALUE: f64 = 1e-30;

/// Why a number is none that a search can hold; none where it can, or is missing.
pub fn beyond_search(value: f64) -> Option<String> {
    match value.abs() {
        far if far > LARGEST_VALUE => Some(format!("is more than a search can hold ({LARGEST_VALUE:e})")),
        near if near > 0.0 && near < SMALLEST_VALUE => {
            Some(format!("is nearer to 0 than a search can hold ({SMALLEST_VALUE:e})"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_too_near_to_0_is_said() {
        for fine in [0.0, -0.0, 1.0, -1e30, 1e-30, f64::NAN] {
            assert_eq!(beyond_search(fine), None, "{fine}");
        }
        for (value, says) in [
            (3e38, "is more than a search can hold (1e30)"),
            (-1.1e30, "more than"),
            (f64::INFINITY, "more than"),
            (1e-50, "is nearer to 0 than a search can hold (1e-30)"),
            (-9e-31, "nearer to 0"),
        ] {
            assert!(beyond_search(value).unwrap().contains(says), "{value}");
        }
    }
}
