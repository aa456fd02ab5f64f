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

/// A share in percent, with the digits that it takes to tell it from none and from all: 99.97 % is not 100 %.
pub fn percent(share: f64) -> String {
    let (whole, rest) = (100.0 * share, 100.0 * (1.0 - share));
    let digits = |of: f64, more: i32| (more - of.log10().floor() as i32).clamp(0, 12) as usize;
    match () {
        () if whole <= 0.0 || rest <= 0.0 || !share.is_finite() => format!("{whole:.0} %"),
        () if whole < rest => format!("{whole:.*} %", digits(whole, 1)),
        () => format!("{whole:.*} %", digits(rest, 0)),
    }
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
    use super::{number, percent};

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

    #[test]
    fn a_share_is_neither_none_nor_all_unless_it_is() {
        for (share, text) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.5, "50 %"),
            (2.0 / 15_625.0, "0.013 %"),
            (3_255.0 / 3_256.0, "99.97 %"),
            (0.996, "99.6 %"),
            (1.0 - 2e-9, "99.9999998 %"),
            (3e-12, "0.00000000030 %"),
            (0.049, "4.9 %"),
            (1.0 / 3.0, "33 %"),
        ] {
            assert_eq!(percent(share), text);
        }
        // No count of parts but all of them is all.
        for of in [3u32, 7, 64, 999, 3_256, 15_625, 1_000_003] {
            assert!(!percent(f64::from(of - 1) / f64::from(of)).starts_with("100"), "{of}");
            assert_ne!(percent(1.0 / f64::from(of)), "0 %", "{of}");
        }
    }
}
