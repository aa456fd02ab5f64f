//! Trajectory segments under construction, and the batch that collects finished ones.

use half::{f16, slice::HalfFloatSliceExt};
use srnas_wire::{Experience, TERMINATED, TRUNCATED};

/// An observation as the network saw it.
pub(crate) struct Seen<'a> {
    /// Candidates.
    pub count: usize,
    /// f32 [count, candidate features]
    pub candidates: &'a [f32],
    /// f32 [context features]
    pub context: &'a [f32],
    /// u8 [count, decisions]; empty without identity embeddings.
    pub identities: &'a [u8],
    /// Value of the action taken (in the last observation: of the best), and of the best.
    pub chosen_value: f32,
    /// See `chosen_value`.
    pub best_value: f32,
    /// Version of the policy that acts.
    pub version: u64,
}

/// What was done at an observation and what came of it.
pub(crate) struct Done {
    pub action: u16,
    pub log_probability: f32,
    pub reward: f32,
    pub terminated: bool,
    pub truncated: bool,
}

/// Steps of one episode since its last segment was finished.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    steps: Experience,
}

impl Segment {
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.actions.len()
    }

    /// Adds the observation that the next step starts from, or the last one.
    pub fn see(&mut self, seen: &Seen) {
        let s = &mut self.steps;
        if s.counts.is_empty() {
            s.policy_version = seen.version;
        }
        s.counts.push(seen.count as u16);
        extend_halves(&mut s.candidates, seen.candidates);
        extend_halves(&mut s.contexts, seen.context);
        s.identities.extend_from_slice(seen.identities);
        s.chosen_values.push(seen.chosen_value);
        s.best_values.push(seen.best_value);
    }

    /// Adds the step from the observation seen last.
    pub fn act(&mut self, done: &Done) {
        let s = &mut self.steps;
        s.actions.push(done.action);
        s.log_probabilities.push(done.log_probability);
        s.rewards.push(done.reward);
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        s.ends.push(flag(done.terminated, TERMINATED) | flag(done.truncated, TRUNCATED));
    }

    /// Moves the segment, whose last observation was seen, into a batch.
    pub fn finish(&mut self, task: u16, batch: &mut Experience) {
        let s = &mut self.steps;
        debug_assert_eq!(s.counts.len(), s.actions.len() + 1);
        // The batch carries the oldest version in it.
        let oldest = if batch.lengths.is_empty() { u64::MAX } else { batch.policy_version };
        batch.policy_version = oldest.min(s.policy_version);
        batch.lengths.push(s.actions.len() as u16);
        batch.tasks.push(task);
        batch.counts.append(&mut s.counts);
        batch.candidates.append(&mut s.candidates);
        batch.contexts.append(&mut s.contexts);
        batch.actions.append(&mut s.actions);
        batch.log_probabilities.append(&mut s.log_probabilities);
        batch.rewards.append(&mut s.rewards);
        batch.ends.append(&mut s.ends);
        batch.chosen_values.append(&mut s.chosen_values);
        batch.best_values.append(&mut s.best_values);
        batch.identities.append(&mut s.identities);
    }
}

/// Appends values as half floats, with the processor's own conversion where it has one.
fn extend_halves(halves: &mut Vec<f16>, values: &[f32]) {
    let start = halves.len();
    halves.resize(start + values.len(), f16::ZERO);
    halves[start..].convert_from_f32_slice(values);
    // Half floats end at 65504; anything beyond is as good as that, and the wire takes finite numbers only.
    for (half, &value) in halves[start..].iter_mut().zip(values) {
        if value.abs() > 65_504.0 {
            *half = if value > 0.0 { f16::MAX } else { f16::MIN };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_stay_finite() {
        let mut halves = vec![f16::ONE];
        extend_halves(&mut halves, &[0.5, 1e6, -1e6]);
        assert_eq!(halves, [f16::ONE, f16::from_f32(0.5), f16::MAX, f16::MIN]);
    }
}
