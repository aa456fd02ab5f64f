//! Replay on disk: safetensors with the segments in blocks, and which transition lies at which place.

use super::{Replay, ReplayConfig, Segment};
use bytes::Bytes;
use half::f16;
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use serde::{Deserialize, Serialize};
use srnas_proto::v1::ExperienceBatch;
use srnas_wire::{Experience, Malformed, Shape};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

/// Segments of a block: a block is what is in memory twice while it is written or read.
const BLOCK: usize = 1024;

/// Key of the metadata.
const KEY: &str = "srnas_replay";

/// Where the ring of places stands.
#[derive(Serialize, Deserialize)]
struct Ring {
    capacity: usize,
    next: usize,
    inserted: u64,
}

/// What a snapshot file refuses.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not safetensors, or cannot be written.
    #[error(transparent)]
    File(#[from] SafeTensorError),
    /// Its arrays do not fit.
    #[error("block {block} of the replay: {source}")]
    Block {
        /// Number of the block.
        block: usize,
        /// What does not fit.
        source: Malformed,
    },
    /// Something else is wrong.
    #[error("{0}")]
    Damaged(String),
}

/// What replay held at a moment. Segments are shared with it, so taking one is cheap.
#[derive(Debug)]
pub(crate) struct ReplaySnapshot {
    places: Vec<Option<(Arc<Segment>, u16)>>,
    priorities: Vec<f64>,
    next: usize,
    inserted: u64,
}

/// One array of a file, made when it is written.
enum Array<'a> {
    Plain(Dtype, Vec<u8>),
    Block { segments: &'a [Arc<Segment>], field: Field },
}

#[derive(Clone, Copy)]
enum Field {
    Lengths,
    Counts,
    Candidates,
    Contexts,
    Identities,
    Actions,
    Rewards,
    Ends,
}

const FIELDS: [(&str, Field, Dtype); 8] = [
    ("lengths", Field::Lengths, Dtype::U16),
    ("counts", Field::Counts, Dtype::U16),
    ("candidates", Field::Candidates, Dtype::F16),
    ("contexts", Field::Contexts, Dtype::F16),
    ("identities", Field::Identities, Dtype::U8),
    ("actions", Field::Actions, Dtype::U16),
    ("rewards", Field::Rewards, Dtype::F32),
    ("ends", Field::Ends, Dtype::U8),
];

impl Field {
    /// Elements of a segment.
    fn len(self, segment: &Segment) -> usize {
        match self {
            Field::Lengths => 1,
            Field::Counts => segment.offsets.len() - 1,
            Field::Candidates => segment.candidates.len(),
            Field::Contexts => segment.contexts.len(),
            Field::Identities => segment.identities.len(),
            Field::Actions | Field::Ends => segment.actions.len(),
            Field::Rewards => segment.rewards.len(),
        }
    }

    fn write(self, segment: &Segment, bytes: &mut Vec<u8>) {
        let halves = |values: &[f16], bytes: &mut Vec<u8>| {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        };
        match self {
            Field::Lengths => bytes.extend((segment.actions.len() as u16).to_le_bytes()),
            Field::Counts => {
                let counts = segment.offsets.windows(2).map(|w| (w[1] - w[0]) as u16);
                bytes.extend(counts.flat_map(u16::to_le_bytes));
            }
            Field::Candidates => halves(&segment.candidates, bytes),
            Field::Contexts => halves(&segment.contexts, bytes),
            Field::Identities => bytes.extend(&segment.identities),
            Field::Actions => bytes.extend(segment.actions.iter().flat_map(|a| a.to_le_bytes())),
            Field::Rewards => bytes.extend(segment.rewards.iter().flat_map(|r| r.to_le_bytes())),
            Field::Ends => {
                bytes.resize(bytes.len() + segment.actions.len(), 0);
                if let Some(last) = bytes.last_mut() {
                    *last = segment.end;
                }
            }
        }
    }
}

impl Array<'_> {
    fn len(&self) -> usize {
        match self {
            Array::Plain(dtype, bytes) => bytes.len() * 8 / dtype.bitsize(),
            Array::Block { segments, field } => segments.iter().map(|s| field.len(s)).sum(),
        }
    }
}

/// An array with its shape, as safetensors wants it.
struct Shaped<'a> {
    array: Array<'a>,
    dtype: Dtype,
    shape: [usize; 1],
}

impl View for Shaped<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.array {
            Array::Plain(_, bytes) => bytes.into(),
            Array::Block { segments, field } => {
                let mut bytes = Vec::with_capacity(self.data_len());
                segments.iter().for_each(|s| field.write(s, &mut bytes));
                bytes.into()
            }
        }
    }

    fn data_len(&self) -> usize {
        self.shape[0] * self.dtype.bitsize() / 8
    }
}

impl ReplaySnapshot {
    /// Writes the file; only a block at a time is copied.
    pub fn write(&self, path: &Path) -> Result<(), SnapshotError> {
        let held: Vec<(&Arc<Segment>, u16)> = self.places.iter().flatten().map(|(s, t)| (s, *t)).collect();
        let (mut segments, mut indices) = (Vec::new(), Vec::with_capacity(held.len()));
        // Transitions of a segment lie side by side, but for the one that the ring's end cuts in two.
        let mut known: HashMap<*const Segment, u32> = HashMap::new();
        for (segment, _) in &held {
            let index = *known.entry(Arc::as_ptr(segment)).or_insert_with(|| {
                segments.push(Arc::clone(segment));
                segments.len() as u32 - 1
            });
            indices.push(index);
        }
        let plain = |dtype, bytes| Array::Plain(dtype, bytes);
        let mut arrays = BTreeMap::from([
            (
                "places.segment".to_string(),
                plain(Dtype::U32, indices.iter().flat_map(|i: &u32| i.to_le_bytes()).collect()),
            ),
            (
                "places.step".to_string(),
                plain(Dtype::U16, held.iter().flat_map(|(_, t)| t.to_le_bytes()).collect()),
            ),
            (
                "places.priority".to_string(),
                plain(Dtype::F64, self.priorities.iter().flat_map(|p| p.to_le_bytes()).collect()),
            ),
        ]);
        for (number, block) in segments.chunks(BLOCK).enumerate() {
            for (name, field, _) in FIELDS {
                arrays.insert(format!("{number:05}.{name}"), Array::Block { segments: block, field });
            }
        }
        let views = arrays.into_iter().map(|(name, array)| {
            let dtype = match &array {
                Array::Plain(dtype, _) => *dtype,
                Array::Block { field, .. } => FIELDS[*field as usize].2,
            };
            let shape = [array.len()];
            (name, Shaped { array, dtype, shape })
        });
        // One entry, because several would be written in any order, and a deterministic run's files are compared.
        let ring = Ring { capacity: self.places.len(), next: self.next, inserted: self.inserted };
        let ring = serde_json::to_string(&ring).expect("counts are plain data");
        let metadata = HashMap::from([(KEY.to_string(), ring)]);
        Ok(safetensors::serialize_to_file(views, Some(metadata), path)?)
    }
}

impl Replay {
    /// What is held now.
    pub(crate) fn snapshot(&self) -> ReplaySnapshot {
        ReplaySnapshot {
            places: self.places.clone(),
            priorities: (0..self.held).map(|place| self.priorities.get(place)).collect(),
            next: self.next,
            inserted: self.inserted,
        }
    }

    /// A replay with the content of a snapshot file, which need not have had the same capacity: the newest transitions
    /// stay. Everything in the file is checked.
    ///
    /// # Errors
    /// [`SnapshotError`] says what is damaged or does not fit.
    pub fn from_snapshot(config: ReplayConfig, bytes: &[u8]) -> Result<Replay, SnapshotError> {
        let damaged = |what: &str| SnapshotError::Damaged(format!("the replay's {what}"));
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let file = SafeTensors::deserialize(bytes)?;
        let ring = header.metadata().as_ref().and_then(|m| serde_json::from_str(m.get(KEY)?).ok());
        let Some(Ring { capacity, next, inserted }) = ring else {
            return Err(damaged("counts are missing"));
        };
        let mut replay = Replay::new(config);
        let shape = Shape {
            candidate_features: config.candidate_features,
            context_features: config.context_features,
            decisions: config.decisions,
            tasks: 1,
            identities: config.decisions > 0,
        };
        let mut segments = Vec::new();
        for block in 0.. {
            let prefix = format!("{block:05}");
            if file.tensor(&format!("{prefix}.lengths")).is_err() {
                break;
            }
            let field = |name: &str| -> Result<Bytes, SnapshotError> {
                Ok(Bytes::copy_from_slice(file.tensor(&format!("{prefix}.{name}"))?.data()))
            };
            let (lengths, actions, counts) = (field("lengths")?, field("actions")?, field("counts")?);
            let zeros = |elements: usize, size: usize| Bytes::from(vec![0; elements * size]);
            let batch = ExperienceBatch {
                tasks: zeros(lengths.len() / 2, 2),
                log_probabilities: zeros(actions.len() / 2, 4),
                chosen_values: zeros(counts.len() / 2, 4),
                best_values: zeros(counts.len() / 2, 4),
                lengths,
                actions,
                counts,
                candidates: field("candidates")?,
                contexts: field("contexts")?,
                identities: field("identities")?,
                rewards: field("rewards")?,
                ends: field("ends")?,
                ..ExperienceBatch::default()
            };
            let wrong = |source| SnapshotError::Block { block, source };
            let (_, experience) = Experience::decode(&batch, &shape).map_err(wrong)?;
            if experience.counts.iter().any(|&c| usize::from(c) > config.width) {
                return Err(damaged("observations have more candidates than the configuration allows"));
            }
            segments.extend(replay.segments(&experience));
        }
        let array = |name: &str, size: usize| -> Result<Vec<&[u8]>, SnapshotError> {
            Ok(file.tensor(name)?.data().chunks_exact(size).collect())
        };
        let (indices, steps, priorities) =
            (array("places.segment", 4)?, array("places.step", 2)?, array("places.priority", 8)?);
        let held = indices.len();
        if steps.len() != held || priorities.len() != held || held > capacity || next >= capacity.max(1) {
            return Err(damaged("places do not fit each other"));
        }
        // As it was; or, in a ring of another size, from the oldest to the newest.
        let oldest = if held == capacity { next } else { 0 };
        let same = capacity == config.capacity;
        let skipped = held.saturating_sub(config.capacity);
        for i in skipped..held {
            let from = if same { i } else { (oldest + i) % held };
            let index = u32::from_le_bytes(indices[from].try_into().expect("four bytes")) as usize;
            let step = u16::from_le_bytes(steps[from].try_into().expect("two bytes"));
            let priority = f64::from_le_bytes(priorities[from].try_into().expect("eight bytes"));
            let Some(segment) = segments.get(index).filter(|s| usize::from(step) < s.actions.len()) else {
                return Err(damaged("places lead to no transition"));
            };
            if !(priority.is_finite() && priority > 0.0) {
                return Err(damaged("priorities are not all above 0"));
            }
            replay.places[i - skipped] = Some((segment.clone(), step));
            replay.priorities.set(i - skipped, priority);
        }
        replay.held = held - skipped;
        replay.next = if same { next } else { replay.held % config.capacity };
        replay.inserted = inserted;
        Ok(replay)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{config, segment},
        *,
    };
    use crate::Draw;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use srnas_config::TimeLimit;
    use srnas_wire::TRUNCATED;

    fn filled(capacity: usize) -> Replay {
        let mut replay = Replay::new(config(capacity, TimeLimit::Terminal));
        for steps in [5, 3, 7, 2] {
            replay.insert(&segment(steps, TRUNCATED));
        }
        replay
    }

    fn bytes(replay: &Replay) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        replay.snapshot().write(file.path()).unwrap();
        std::fs::read(file.path()).unwrap()
    }

    fn draws(replay: &Replay, seed: u64) -> Draw {
        let mut draw = Draw::default();
        replay.draw(16, 0.5, &mut ChaCha8Rng::seed_from_u64(seed), &mut draw);
        draw
    }

    #[test]
    fn a_restored_replay_draws_and_takes_in_as_the_one_before() {
        for capacity in [8, 17, 40] {
            let mut replay = filled(capacity);
            let mut restored =
                Replay::from_snapshot(config(capacity, TimeLimit::Terminal), &bytes(&replay)).unwrap();
            for seed in 0..4 {
                let (mut a, b) = (draws(&replay, seed), draws(&restored, seed));
                assert_eq!(a.batch, b.batch);
                assert_eq!(a.places, b.places);
                let errors: Vec<f32> = (0..16).map(|i| i as f32).collect();
                replay.reprioritise(&a, &errors);
                restored.reprioritise(&b, &errors);
                replay.insert(&segment(4, 0));
                restored.insert(&segment(4, 0));
                a.places.clear();
            }
            assert_eq!((replay.len(), replay.inserted()), (restored.len(), restored.inserted()));
        }
    }

    #[test]
    fn a_replay_of_another_size_keeps_the_newest() {
        let replay = filled(10);
        let smaller = Replay::from_snapshot(config(4, TimeLimit::Terminal), &bytes(&replay)).unwrap();
        assert_eq!((smaller.len(), smaller.next), (4, 0));
        let newest = smaller.places[3].as_ref().unwrap();
        assert_eq!((newest.0.actions.len(), newest.1), (2, 1), "the last step of the last segment");
        let larger = Replay::from_snapshot(config(64, TimeLimit::Terminal), &bytes(&replay)).unwrap();
        assert_eq!((larger.len(), larger.next), (10, 10));
        draws(&larger, 1);
        let empty = Replay::new(config(4, TimeLimit::Terminal));
        let restored = Replay::from_snapshot(config(4, TimeLimit::Terminal), &bytes(&empty)).unwrap();
        assert!(restored.is_empty());
    }

    proptest! {
        #[test]
        fn damage_is_refused_or_harmless(at in 0usize..4000, with in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = bytes(&filled(17));
            let at = at % bytes.len();
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = with;
            }
            if let Ok(replay) = Replay::from_snapshot(config(17, TimeLimit::Terminal), &bytes)
                && !replay.is_empty()
            {
                draws(&replay, 0);
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Replay::from_snapshot(config(17, TimeLimit::Terminal), &bytes).is_err());
        }
    }
}
