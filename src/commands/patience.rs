//! `--connect-timeout`: how long a process waits for the other that it works for.

use std::time::Duration;

/// How long nobody may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

/// Seconds, a time such as 90s or 10m, or `never`: for ever.
pub fn patience(text: &str) -> Result<Patience, String> {
    let wrong =
        || format!("`{text}` is neither a number of seconds nor a time such as 90s or 10m, nor `never`");
    match text.parse::<f64>() {
        _ if text == "never" => Ok(Patience(None)),
        Ok(seconds) => {
            Duration::try_from_secs_f64(seconds).map(|time| Patience(Some(time))).map_err(|_| wrong())
        }
        Err(_) => humantime::parse_duration(text).map(|time| Patience(Some(time))).map_err(|_| wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_times_and_never() {
        for (text, milliseconds) in [
            ("5", Some(5000)),
            ("0.5", Some(500)),
            ("90s", Some(90_000)),
            ("10m", Some(600_000)),
            ("never", None),
        ] {
            assert_eq!(patience(text), Ok(Patience(milliseconds.map(Duration::from_millis))), "{text}");
        }
        for text in ["-1", "NaN", "soon", "", "1e300", "5 parsecs"] {
            assert!(patience(text).unwrap_err().contains("never"), "{text}");
        }
    }
}
