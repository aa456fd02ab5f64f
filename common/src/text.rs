//! Pieces of text that several crates print.

use std::error::Error;

/// An error with its causes, on one line. What a cause repeats is said once.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |&e| e.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A measured value for people: four decimals, more digits where those would hide it, all digits of a large whole number.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if !(1e-4..1e15).contains(&size) => format!("{value:.4e}"),
        size if size < 1e-2 => format!("{value:.6}"),
        size if size >= 1e6 => value.to_string(),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_value_is_never_hidden_by_its_rounding() {
        let shown = [
            (93.125, "93.1250"),
            (-0.5, "-0.5000"),
            (0.0, "0"),
            (0.00123, "0.001230"),
            (3.1e-6, "3.1000e-6"),
            (-1e-50, "-1.0000e-50"),
            (39_974_282.0, "39974282"),
            (1.5e20, "1.5000e20"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in shown {
            assert_eq!(number(value), text);
        }
    }
}
