//! Numbers as `srnas bench` prints them.

/// Whether a cell of a table is a number as printed here, or stands for one.
pub(super) fn is_number(cell: &str) -> bool {
    let digits = cell.trim_end_matches([' ', '%', 'M', 'B']).replace(',', "");
    matches!(cell, "-" | "missing") || digits.parse::<f64>().is_ok()
}

/// Four digits after the point, more where a small number needs them to show four of its own; `missing` for NaN.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v.is_nan() => "missing".into(),
        v if v == 0.0 || (0.1..1e15).contains(&v) => format!("{value:.4}"),
        v if (1e-6..0.1).contains(&v) => format!("{value:.*}", (3 - v.log10().floor() as i32) as usize),
        _ => format!("{value:.3e}"),
    }
}

/// 15625 as 15,625.
pub(super) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub(super) fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_four_digits_however_small_or_large_they_are() {
        for (value, text) in [
            (91.606_67, "91.6067"),
            (39_974_282.0, "39974282.0000"),
            (-2.9, "-2.9000"),
            (0.0, "0.0000"),
            (0.012_346, "0.01235"),
            (3.1e-6, "0.000003100"),
            (3.1e-7, "3.100e-7"),
            (-1e20, "-1.000e20"),
            (f64::NAN, "missing"),
        ] {
            assert_eq!(number(value), text);
            assert!(is_number(text), "{text} stands on the right");
        }
    }
}
