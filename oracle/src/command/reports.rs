//! What a program reports: the lines of its stdout that say how far its training is.

use crate::curves::{Hear, Report};
use std::sync::{Arc, Mutex, PoisonError};

/// A longer line is no report.
const LONGEST: usize = 64 << 10;

/// Finds reports in what a program says, and has them heard.
pub struct Listener {
    heard: Arc<Heard>,
    line: Vec<u8>,
}

/// What was heard of one run of a program.
pub struct Heard {
    hearing: Arc<dyn Hear>,
    /// What the amount of training is called, beside `epoch` and `step`.
    unit: String,
    /// What a report must have to stand for an answer; it must have the first to be one.
    wanted: Vec<String>,
    /// The newest that could stand for an answer.
    last: Mutex<Option<Report>>,
}

impl Heard {
    /// Nothing so far.
    pub fn by(hearing: Arc<dyn Hear>, unit: &str, wanted: &[String]) -> Arc<Self> {
        let (unit, wanted) = (unit.into(), wanted.to_vec());
        Arc::new(Self { hearing, unit, wanted, last: Mutex::default() })
    }

    /// Whether the program is to be stopped.
    pub fn stops(&self) -> bool {
        self.hearing.stops()
    }

    /// The newest report that could stand for an answer.
    pub fn last(&self) -> Option<Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, line: &[u8]) {
        let (Ok(line), Some(metric)) = (std::str::from_utf8(line), self.wanted.first()) else { return };
        // What it says while it is being stopped comes too late.
        let Some(report) = Report::read(line, &self.unit, metric).filter(|_| !self.stops()) else { return };
        if report.is_whole(&self.wanted) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        }
        self.hearing.hears(report);
    }
}

impl Listener {
    /// Of a program that begins.
    pub fn new(heard: Arc<Heard>) -> Self {
        Self { heard, line: Vec::new() }
    }

    /// Takes in what the program says.
    pub fn take(&mut self, block: &[u8]) {
        for &byte in block {
            match byte {
                b'\n' => {
                    self.heard.hear(&self.line);
                    self.line.clear();
                }
                _ if self.line.len() <= LONGEST => self.line.push(byte),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ear(Mutex<Vec<f64>>);

    impl Hear for Ear {
        fn begins(&self, _: bool) {}

        fn hears(&self, report: Report) {
            self.0.lock().unwrap().push(report.at);
        }

        fn stops(&self) -> bool {
            self.0.lock().unwrap().len() == 3
        }
    }

    #[test]
    fn whole_lines_are_reports_until_it_is_stopped() {
        let ear = Arc::new(Ear::default());
        let heard = Heard::by(ear.clone(), "epochs", &["loss".into(), "size".into()]);
        let mut listener = Listener::new(heard.clone());
        listener.take(b"words\n{\"epoch\": 1, \"lo");
        assert_eq!(heard.last(), None);
        listener.take(b"ss\": 0.5, \"size\": 3}\n{\"epoch\": 2, \"loss\": 0.25}\n");
        // One that could stand for an answer.
        assert_eq!(heard.last().unwrap().at, 1.0);
        let long = format!("{{\"epoch\": 3, \"loss\": 0.1, \"size\": 3{}}}\n", " ".repeat(LONGEST));
        listener.take(long.as_bytes());
        listener.take(
            b"{\"epoch\": 4, \"loss\": 0.1, \"size\": 3}\n{\"epoch\": 5, \"loss\": 0.1, \"size\": 3}\n",
        );
        assert_eq!(
            *ear.0.lock().unwrap(),
            [1.0, 2.0, 4.0],
            "too long is no report, and after a stop nothing is"
        );
        assert_eq!(heard.last().unwrap().at, 4.0);
    }
}
