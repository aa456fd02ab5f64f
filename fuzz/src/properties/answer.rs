//! What a user's program says.

use srnas_oracle::command::read_answer;

/// The last line is metrics with the one that is searched, a number, or there is a reason.
pub fn answer(bytes: &[u8]) {
    let said = String::from_utf8_lossy(bytes);
    match read_answer(&said, &["loss".into()]) {
        Ok(metrics) => assert!(metrics["loss"].is_finite(), "{said}"),
        Err(reason) => assert!(!reason.is_empty() && reason.len() < 4000, "{reason}"),
    }
}
