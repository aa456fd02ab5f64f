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

#[cfg(test)]
mod tests {
    use super::percent;

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
