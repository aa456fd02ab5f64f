//! Pieces of text that several crates print.

use std::error::Error;

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

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
