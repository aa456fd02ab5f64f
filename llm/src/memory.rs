//! What a model and its training take of the memory, foreseen: a process that takes more than there is is ended without a word.

use crate::{
    LlmError,
    config::Config,
    training::{Settings, TOGETHER},
};
use std::fs;

/// Bytes that the system could give now; none where it does not tell.
fn free() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(1024 * line.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
}

/// Says what is too much; `advice` is what takes less.
pub fn foresee(what: &str, bytes: u64, advice: &str) -> Result<(), String> {
    within(what, bytes, free().unwrap_or(u64::MAX), advice)
}

fn within(what: &str, bytes: u64, free: u64, advice: &str) -> Result<(), String> {
    let [needed, there] = [bytes, free].map(|bytes| bytes / 1_000_000);
    match bytes > free {
        true => Err(format!("{what} {needed} MB of memory and {there} MB are free; {advice}")),
        false => Ok(()),
    }
}

impl Settings {
    /// Bytes that a training takes at its peak, about: the weights as they were loaded and as they are trained, the optimiser's two moments,
    /// the gradients of all pieces of a batch; and of as many pieces as there are threads what each layer hands on, forwards and
    /// backwards, and four times the logits. An original, to learn from, is twice the weights. Peaks that were measured were up to a fifth
    /// less.
    pub fn memory(&self, model: &Config, original: Option<&Config>, threads: usize) -> u64 {
        let bytes = |floats: usize| 4.0 * floats as f64;
        let weights = bytes(model.parameters());
        let pieces = self.sequences.div_ceil(TOGETHER);
        let at_once = pieces.min(threads.max(1)) as f64;
        let teacher = original.map_or(0.0, |original| 2.0 * bytes(original.parameters()));
        let tokens = (self.sequences.min(TOGETHER) * self.length) as f64;
        let layer = |width: &usize| 8 * model.dim + 2 * model.kv_dim() + 3 * width;
        let layers: usize = model.widths.iter().map(layer).sum();
        let piece = tokens * bytes(2 * layers + 4 * model.vocabulary);
        (weights * (5.0 + pieces as f64 + at_once) + teacher + piece * at_once) as u64
    }

    /// Refuses a training that the memory cannot hold.
    ///
    /// # Errors
    /// With both numbers, and what takes less.
    pub fn foresee(&self, model: &Config, original: Option<&Config>) -> Result<(), LlmError> {
        let bytes = self.memory(model, original, rayon::current_num_threads());
        let advice = "fewer --sequences, a shorter --length and fewer threads (RAYON_NUM_THREADS) take less";
        foresee("this training takes about", bytes, advice).map_err(LlmError::Asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_said_with_its_numbers() {
        assert!(within("it takes", 5_000_000, 5_000_000, "less").is_ok());
        let said = within("it takes", 7_500_000_000, 5_000_000_000, "give less").unwrap_err();
        assert_eq!(said, "it takes 7500 MB of memory and 5000 MB are free; give less");
        assert!(foresee("it takes", u64::MAX, "less").is_err() || free().is_none());
    }
}
