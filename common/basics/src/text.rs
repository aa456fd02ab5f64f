//! Pieces of text that several crates print.

use std::{error::Error, path::Path};

/// An error with its causes, on one line. What a cause repeats is said once.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    followed_by_causes(error.to_string(), error.source())
}

/// What an error says, in other words than its own, and its causes. What is repeated is said once.
pub fn followed_by_causes(said: String, cause: Option<&(dyn Error + 'static)>) -> String {
    let mut pieces = vec![said];
    for cause in std::iter::successors(cause, |&e| e.source()).map(ToString::to_string) {
        if cause.is_empty() || pieces.iter().any(|said| said.contains(&cause)) {
            continue;
        }
        match pieces.last_mut() {
            // It says what was said, and more.
            Some(last) if cause.contains(last.as_str()) => *last = cause,
            _ => pieces.push(cause),
        }
    }
    pieces.join(": ")
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

/// A path as a shell takes it, for commands that people copy.
pub fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map(|quoted| quoted.into_owned()).unwrap_or(text)
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
    use super::*;

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
    fn a_path_is_one_word_for_a_shell() {
        for (path, quoted) in [("runs/a-1", "runs/a-1"), ("my runs/a", "'my runs/a'"), ("a$b;c", "'a$b;c'")] {
            assert_eq!(shell(Path::new(path)), quoted);
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

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn a_cause_is_said_once() {
        for (chain, expected) in [
            (&["cannot read x: gone", "gone"][..], "cannot read x: gone"),
            (&["no connection", "error", "error: refused"], "no connection: error: refused"),
            (&["no connection", "refused"], "no connection: refused"),
            (&["a", "", "b", "a"], "a: b"),
        ] {
            let error =
                chain.iter().rev().fold(None, |cause, said| Some(Box::new(Said(said, cause)))).unwrap();
            assert_eq!(with_causes(error.as_ref()), expected);
        }
    }
}
