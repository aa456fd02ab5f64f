//! Experience: what actors saw, as flat arrays.

use super::arrays::{Element, Malformed, check_finite, check_finite_halves, check_length, check_values};
use bytes::Bytes;
use half::f16;
use srnas_proto::v1;

/// Index that stands for a synthetic task, in place of an index into the run's training tasks.
pub const SYNTHETIC_TASK: u16 = u16::MAX;
/// Bit of [`Experience::ends`]: the episode came to its natural end.
pub const TERMINATED: u8 = 1;
/// Bit of [`Experience::ends`]: the episode was cut (horizon).
pub const TRUNCATED: u8 = 2;

/// Flat arrays of one batch of trajectory segments. A segment of T steps has T + 1 observations: each observation
/// once, and the last one is what the learner bootstraps from.
///
/// Notation of the shapes: S segments, Σ T steps, O = Σ (T + 1) observations, C = Σ counts candidates, CF candidate
/// features, XF context features, D decisions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Experience {
    /// Version of the policy that acted (the oldest one in the batch).
    pub policy_version: u64,
    /// Steps of each segment, at least 1: [S].
    pub lengths: Vec<u16>,
    /// Index into the run's training tasks or [`SYNTHETIC_TASK`]: [S].
    pub tasks: Vec<u16>,
    /// Candidates of each observation, at least 1: [O].
    pub counts: Vec<u16>,
    /// Candidate rows: [C, CF].
    pub candidates: Vec<f16>,
    /// Context rows: [O, XF].
    pub contexts: Vec<f16>,
    /// Candidate chosen in each step: [Σ T].
    pub actions: Vec<u16>,
    /// Logarithm of the probability with which the action was drawn: [Σ T].
    pub log_probabilities: Vec<f32>,
    /// Rise of the incumbent's shaped quality: [Σ T].
    pub rewards: Vec<f32>,
    /// [`TERMINATED`] and [`TRUNCATED`], only in the last step of a segment: [Σ T].
    pub ends: Vec<u8>,
    /// Value of the action taken (in the last observation: of the best), for the first priority: [O].
    pub chosen_values: Vec<f32>,
    /// Highest value among the candidates: [O].
    pub best_values: Vec<f32>,
    /// The candidates' architectures [C, D]; empty unless the network has identity embeddings.
    pub identities: Vec<u8>,
    /// New distinct measurements since the last batch.
    pub measurements: Measurements,
    /// Episodes that ended since the last batch.
    pub episodes: EpisodeEnds,
    /// Environment steps made since the last batch, also those that are not in it.
    pub environment_steps: u64,
    /// Microseconds of the environment thread since the last batch: in all.
    pub elapsed_us: u64,
    /// Of these, spent waiting for credit.
    pub credit_us: u64,
    /// Of these, spent waiting for the oracle.
    pub oracle_us: u64,
}

/// Measurements of local oracles, one per canonical key and fidelity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurements {
    /// Index into the run's training tasks, never [`SYNTHETIC_TASK`]: [n].
    pub tasks: Vec<u16>,
    /// Canonical keys: [n].
    pub keys: Vec<u64>,
    /// Choice indices: [n, D].
    pub architectures: Vec<u8>,
    /// In (0, 1]; 1 is a full training: [n].
    pub fidelities: Vec<f32>,
    /// Value of the task's objective: [n].
    pub values: Vec<f32>,
}

/// Results of ended episodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpisodeEnds {
    /// Index into the run's training tasks or [`SYNTHETIC_TASK`]: [n].
    pub tasks: Vec<u16>,
    /// Normalised regret of the incumbent at the end: [n].
    pub normalised_regrets: Vec<f32>,
    /// Sums of rewards: [n].
    pub returns: Vec<f32>,
}

/// What the arrays' sizes must fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Features of a candidate row.
    pub candidate_features: usize,
    /// Features of a context row.
    pub context_features: usize,
    /// Choices of an architecture.
    pub decisions: usize,
    /// Training tasks of the run.
    pub tasks: usize,
    /// Whether candidates carry their architectures.
    pub identities: bool,
}

impl Shape {
    /// Bytes of the arrays of the largest batch: so many segments of so many steps, with so many candidates each.
    pub fn largest_batch(&self, segments: usize, steps: usize, candidates: usize) -> usize {
        let identity = if self.identities { self.decisions } else { 0 };
        let candidate = size_of::<f16>() * self.candidate_features + identity;
        let counts_and_values = size_of::<u16>() + 2 * size_of::<f32>();
        let observation =
            candidates * candidate + size_of::<f16>() * self.context_features + counts_and_values;
        let step = size_of::<u16>() + 2 * size_of::<f32>() + size_of::<u8>();
        let measurement = size_of::<u16>() + size_of::<u64>() + self.decisions + 2 * size_of::<f32>();
        let segment = 2 * size_of::<u16>() + (steps + 1) * observation + steps * (step + measurement);
        segments * segment
    }
}

impl Experience {
    /// Steps in all segments.
    pub fn steps(&self) -> usize {
        self.actions.len()
    }

    /// Whether there is nothing in it to learn from or to count.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
            && self.measurements.tasks.is_empty()
            && self.episodes.tasks.is_empty()
            && self.environment_steps == 0
    }

    /// The facts alone: measurements, episode ends, step count and times hold however old the policy was that acted.
    pub fn without_transitions(self) -> Experience {
        Experience {
            policy_version: self.policy_version,
            measurements: self.measurements,
            episodes: self.episodes,
            environment_steps: self.environment_steps,
            elapsed_us: self.elapsed_us,
            credit_us: self.credit_us,
            oracle_us: self.oracle_us,
            ..Experience::default()
        }
    }

    /// The message that carries this batch as number `sequence` of the actor's incarnation.
    pub fn encode(&self, sequence: u64) -> v1::ExperienceBatch {
        let (measurements, episodes) = (&self.measurements, &self.episodes);
        v1::ExperienceBatch {
            sequence,
            policy_version: self.policy_version,
            lengths: Element::pack(&self.lengths),
            tasks: Element::pack(&self.tasks),
            counts: Element::pack(&self.counts),
            candidates: Element::pack(&self.candidates),
            contexts: Element::pack(&self.contexts),
            actions: Element::pack(&self.actions),
            log_probabilities: Element::pack(&self.log_probabilities),
            rewards: Element::pack(&self.rewards),
            ends: Bytes::copy_from_slice(&self.ends),
            chosen_values: Element::pack(&self.chosen_values),
            best_values: Element::pack(&self.best_values),
            identities: Bytes::copy_from_slice(&self.identities),
            measurements: (!measurements.tasks.is_empty()).then(|| v1::Measurements {
                tasks: Element::pack(&measurements.tasks),
                keys: Element::pack(&measurements.keys),
                architectures: Bytes::copy_from_slice(&measurements.architectures),
                fidelities: Element::pack(&measurements.fidelities),
                values: Element::pack(&measurements.values),
            }),
            episodes: (!episodes.tasks.is_empty()).then(|| v1::EpisodeEnds {
                tasks: Element::pack(&episodes.tasks),
                normalised_regrets: Element::pack(&episodes.normalised_regrets),
                returns: Element::pack(&episodes.returns),
            }),
            environment_steps: self.environment_steps,
            elapsed_us: self.elapsed_us,
            credit_us: self.credit_us,
            oracle_us: self.oracle_us,
        }
    }

    /// The sequence number and the batch of a message.
    ///
    /// # Errors
    /// [`Malformed`] names the first array whose length, bytes or elements do not fit `shape` and the other arrays.
    pub fn decode(batch: &v1::ExperienceBatch, shape: &Shape) -> Result<(u64, Experience), Malformed> {
        let experience = Experience {
            policy_version: batch.policy_version,
            lengths: Element::unpack("lengths", &batch.lengths)?,
            tasks: Element::unpack("tasks", &batch.tasks)?,
            counts: Element::unpack("counts", &batch.counts)?,
            candidates: Element::unpack("candidates", &batch.candidates)?,
            contexts: Element::unpack("contexts", &batch.contexts)?,
            actions: Element::unpack("actions", &batch.actions)?,
            log_probabilities: Element::unpack("log_probabilities", &batch.log_probabilities)?,
            rewards: Element::unpack("rewards", &batch.rewards)?,
            ends: batch.ends.to_vec(),
            chosen_values: Element::unpack("chosen_values", &batch.chosen_values)?,
            best_values: Element::unpack("best_values", &batch.best_values)?,
            identities: batch.identities.to_vec(),
            measurements: match &batch.measurements {
                Some(measurements) => Measurements::decode(measurements, shape)?,
                None => Measurements::default(),
            },
            episodes: match &batch.episodes {
                Some(episodes) => EpisodeEnds::decode(episodes, shape)?,
                None => EpisodeEnds::default(),
            },
            environment_steps: batch.environment_steps,
            elapsed_us: batch.elapsed_us,
            credit_us: batch.credit_us,
            oracle_us: batch.oracle_us,
        };
        // Counts are added up over batches.
        let steps = [experience.environment_steps];
        check_values("environment_steps", &steps, "below 2^32", |n| n <= u64::from(u32::MAX))?;
        experience.check_lengths(shape)?;
        experience.check_elements(shape)?;
        Ok((batch.sequence, experience))
    }

    fn check_lengths(&self, shape: &Shape) -> Result<(), Malformed> {
        let segments = self.lengths.len();
        // u16 summed over arrays that fit in memory cannot overflow 64 bits; products saturate, and fit no array then.
        let steps: usize = self.lengths.iter().map(|&t| usize::from(t)).sum();
        let observations = steps + segments;
        check_length("tasks", self.tasks.len(), segments, "one for each segment")?;
        for (array, found) in [
            ("actions", self.actions.len()),
            ("log_probabilities", self.log_probabilities.len()),
            ("rewards", self.rewards.len()),
            ("ends", self.ends.len()),
        ] {
            check_length(array, found, steps, "one for each step")?;
        }
        for (array, found) in [
            ("counts", self.counts.len()),
            ("chosen_values", self.chosen_values.len()),
            ("best_values", self.best_values.len()),
        ] {
            check_length(
                array,
                found,
                observations,
                "one for each observation, and a segment has one more than steps",
            )?;
        }
        let candidates: usize = self.counts.iter().map(|&c| usize::from(c)).sum();
        let rows = candidates.saturating_mul(shape.candidate_features);
        check_length("candidates", self.candidates.len(), rows, "sum of `counts` times candidate features")?;
        let rows = observations.saturating_mul(shape.context_features);
        check_length("contexts", self.contexts.len(), rows, "observations times context features")?;
        let (identities, rule) = match shape.identities {
            true => (candidates.saturating_mul(shape.decisions), "sum of `counts` times decisions"),
            false => (0, "this run's network has no identity embeddings"),
        };
        check_length("identities", self.identities.len(), identities, rule)
    }

    /// Relies on [`Self::check_lengths`].
    fn check_elements(&self, shape: &Shape) -> Result<(), Malformed> {
        check_values("lengths", &self.lengths, "at least one step", |t| t > 0)?;
        check_values("counts", &self.counts, "at least one candidate", |c| c > 0)?;
        check_tasks("tasks", &self.tasks, shape)?;
        check_finite_halves("candidates", &self.candidates)?;
        check_finite_halves("contexts", &self.contexts)?;
        check_finite("log_probabilities", &self.log_probabilities)?;
        check_finite("rewards", &self.rewards)?;
        check_finite("chosen_values", &self.chosen_values)?;
        check_finite("best_values", &self.best_values)?;
        let flags = TERMINATED | TRUNCATED;
        check_values("ends", &self.ends, "bit 0 (terminated), bit 1 (truncated) or both", |e| e <= flags)?;
        let mut step = 0;
        for (segment, &length) in self.lengths.iter().enumerate() {
            for left in (0..length).rev() {
                // One observation more than steps in every segment before this one.
                let (action, count) = (self.actions[step], self.counts[step + segment]);
                if action >= count {
                    let (array, rule) = ("actions", "below the number of candidates of its observation");
                    return Err(Malformed::Value { array, index: step, value: action.into(), rule });
                }
                if self.ends[step] != 0 && left > 0 {
                    let (array, rule) = ("ends", "0 before the last step of a segment");
                    return Err(Malformed::Value { array, index: step, value: self.ends[step].into(), rule });
                }
                step += 1;
            }
        }
        Ok(())
    }
}

impl Measurements {
    fn decode(message: &v1::Measurements, shape: &Shape) -> Result<Measurements, Malformed> {
        let decoded = Measurements {
            tasks: Element::unpack("measurements.tasks", &message.tasks)?,
            keys: Element::unpack("measurements.keys", &message.keys)?,
            architectures: message.architectures.to_vec(),
            fidelities: Element::unpack("measurements.fidelities", &message.fidelities)?,
            values: Element::unpack("measurements.values", &message.values)?,
        };
        let n = decoded.tasks.len();
        let rule = "one for each of `measurements.tasks`";
        check_length("measurements.keys", decoded.keys.len(), n, rule)?;
        check_length("measurements.fidelities", decoded.fidelities.len(), n, rule)?;
        check_length("measurements.values", decoded.values.len(), n, rule)?;
        let choices = n.saturating_mul(shape.decisions);
        let rule = "`measurements.tasks` times decisions";
        check_length("measurements.architectures", decoded.architectures.len(), choices, rule)?;
        let known = |task| usize::from(task) < shape.tasks && task != SYNTHETIC_TASK;
        check_values("measurements.tasks", &decoded.tasks, "a training task of this run", known)?;
        let allowed = |f| f > 0.0 && f <= 1.0;
        check_values("measurements.fidelities", &decoded.fidelities, "above 0 and at most 1", allowed)?;
        check_finite("measurements.values", &decoded.values)?;
        Ok(decoded)
    }
}

impl EpisodeEnds {
    fn decode(message: &v1::EpisodeEnds, shape: &Shape) -> Result<EpisodeEnds, Malformed> {
        let decoded = EpisodeEnds {
            tasks: Element::unpack("episodes.tasks", &message.tasks)?,
            normalised_regrets: Element::unpack("episodes.normalised_regrets", &message.normalised_regrets)?,
            returns: Element::unpack("episodes.returns", &message.returns)?,
        };
        let n = decoded.tasks.len();
        let rule = "one for each of `episodes.tasks`";
        check_length("episodes.normalised_regrets", decoded.normalised_regrets.len(), n, rule)?;
        check_length("episodes.returns", decoded.returns.len(), n, rule)?;
        check_tasks("episodes.tasks", &decoded.tasks, shape)?;
        check_finite("episodes.normalised_regrets", &decoded.normalised_regrets)?;
        check_finite("episodes.returns", &decoded.returns)?;
        Ok(decoded)
    }
}

fn check_tasks(array: &'static str, tasks: &[u16], shape: &Shape) -> Result<(), Malformed> {
    let known = |task| usize::from(task) < shape.tasks || task == SYNTHETIC_TASK;
    check_values(array, tasks, "a training task of this run or 65535 (synthetic)", known)
}
