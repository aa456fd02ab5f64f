//! What the decoders accept and refuse.

use super::*;
use bytes::Bytes;
use half::f16;
use proptest::{collection::vec, prelude::*, sample::Index};
use srnas_proto::v1::{ExperienceBatch, PolicyChunk};

const SHAPE: Shape =
    Shape { candidate_features: 3, context_features: 2, decisions: 4, tasks: 5, identities: true };

/// Deterministic finite numbers: the values do not matter, their places do.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32 * 0.37 - 5.0).collect()
}

fn halves(n: usize) -> Vec<f16> {
    (0..n).map(|i| f16::from_f32((i % 999) as f32 * 0.25 - 60.0)).collect()
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| i as u8).collect()
}

/// A well-formed batch with these segments (task, ends of the last step, candidates of each observation).
fn batch(segments: &[(u16, u8, Vec<u16>)], measured: usize, ended: usize, shape: &Shape) -> Experience {
    let mut experience = Experience {
        policy_version: 7,
        environment_steps: 9,
        elapsed_us: 5000,
        credit_us: 300,
        oracle_us: 2000,
        ..Experience::default()
    };
    for (task, end, counts) in segments {
        let steps = counts.len() - 1;
        experience.lengths.push(steps as u16);
        experience.tasks.push(*task);
        experience.counts.extend(counts);
        experience.actions.extend(counts[..steps].iter().map(|c| c - 1));
        experience.ends.extend((0..steps).map(|i| if i + 1 == steps { *end } else { 0 }));
    }
    let candidates: usize = experience.counts.iter().map(|&c| usize::from(c)).sum();
    let (steps, observations) = (experience.actions.len(), experience.counts.len());
    experience.candidates = halves(candidates * shape.candidate_features);
    experience.contexts = halves(observations * shape.context_features);
    experience.log_probabilities = numbers(steps);
    experience.rewards = numbers(steps);
    experience.chosen_values = numbers(observations);
    experience.best_values = numbers(observations);
    if shape.identities {
        experience.identities = bytes(candidates * shape.decisions);
    }
    experience.measurements = Measurements {
        tasks: (0..measured).map(|i| (i % shape.tasks) as u16).collect(),
        keys: (0..measured as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
        architectures: bytes(measured * shape.decisions),
        fidelities: vec![0.06; measured],
        values: numbers(measured),
    };
    experience.episodes = EpisodeEnds {
        tasks: vec![SYNTHETIC_TASK; ended],
        normalised_regrets: numbers(ended),
        returns: numbers(ended),
    };
    experience
}

fn any_batch() -> impl Strategy<Value = (Shape, Experience)> {
    let shape = (1..5usize, 0..4usize, 1..6usize, 1..9usize, any::<bool>()).prop_map(
        |(candidate_features, context_features, decisions, tasks, identities)| Shape {
            candidate_features,
            context_features,
            decisions,
            tasks,
            identities,
        },
    );
    let segment = (prop_oneof![0..1u16, Just(SYNTHETIC_TASK)], 0..=3u8, vec(1..6u16, 2..6));
    (shape, vec(segment, 0..4), 0..4usize, 0..4usize)
        .prop_map(|(shape, segments, measured, ended)| (shape, batch(&segments, measured, ended, &shape)))
}

/// All packed arrays of a message.
fn arrays(batch: &mut ExperienceBatch) -> Vec<&mut Bytes> {
    let mut arrays = vec![
        &mut batch.lengths,
        &mut batch.tasks,
        &mut batch.counts,
        &mut batch.candidates,
        &mut batch.contexts,
        &mut batch.actions,
        &mut batch.log_probabilities,
        &mut batch.rewards,
        &mut batch.ends,
        &mut batch.chosen_values,
        &mut batch.best_values,
        &mut batch.identities,
    ];
    if let Some(m) = &mut batch.measurements {
        arrays.extend([&mut m.tasks, &mut m.keys, &mut m.architectures, &mut m.fidelities, &mut m.values]);
    }
    if let Some(e) = &mut batch.episodes {
        arrays.extend([&mut e.tasks, &mut e.normalised_regrets, &mut e.returns]);
    }
    arrays
}

/// What the learner may rely on, said in another way than the decoder does.
fn assert_sound(e: &Experience, shape: &Shape) {
    let mut observations = 0;
    let mut steps = 0;
    let mut candidates = 0;
    assert_eq!(e.tasks.len(), e.lengths.len());
    for (&length, &task) in e.lengths.iter().zip(&e.tasks) {
        assert!(length >= 1 && (usize::from(task) < shape.tasks || task == SYNTHETIC_TASK));
        for step in 0..=length {
            let count = e.counts[observations];
            assert!(count >= 1);
            candidates += usize::from(count);
            observations += 1;
            if step < length {
                assert!(e.actions[steps] < count);
                assert!(e.ends[steps] == 0 || (step + 1 == length && e.ends[steps] <= 3));
                steps += 1;
            }
        }
    }
    assert_eq!((e.actions.len(), e.rewards.len(), e.log_probabilities.len()), (steps, steps, steps));
    assert_eq!((e.ends.len(), e.counts.len()), (steps, observations));
    assert_eq!((e.chosen_values.len(), e.best_values.len()), (observations, observations));
    assert_eq!(e.candidates.len(), candidates * shape.candidate_features);
    assert_eq!(e.contexts.len(), observations * shape.context_features);
    assert_eq!(e.identities.len(), if shape.identities { candidates * shape.decisions } else { 0 });
    assert!(e.candidates.iter().chain(&e.contexts).all(|x| x.is_finite()));
    let numbers =
        [&e.log_probabilities, &e.rewards, &e.chosen_values, &e.best_values, &e.measurements.values];
    assert!(numbers.into_iter().flatten().all(|x| x.is_finite()));
    let n = e.measurements.tasks.len();
    assert_eq!((e.measurements.keys.len(), e.measurements.architectures.len()), (n, n * shape.decisions));
    assert!(e.measurements.tasks.iter().all(|&t| usize::from(t) < shape.tasks));
    assert!(e.measurements.fidelities.iter().all(|&f| 0.0 < f && f <= 1.0));
}

proptest! {
    #[test]
    fn experience_survives_the_wire((shape, experience) in any_batch(), sequence: u64) {
        prop_assert_eq!(Experience::decode(&experience.encode(sequence), &shape), Ok((sequence, experience)));
    }

    /// Cut, lengthened, overwritten and misaligned arrays: no panic, and what passes is sound.
    #[test]
    fn a_hostile_batch_is_refused_or_sound(
        (shape, experience) in any_batch(),
        changes in vec((any::<Index>(), any::<Index>(), 0..4u8, any::<[u8; 2]>()), 1..4),
    ) {
        let mut message = experience.encode(1);
        for (array, place, kind, values) in changes {
            let mut arrays = arrays(&mut message);
            let array = array.index(arrays.len());
            let mut bytes = arrays[array].to_vec();
            let place = place.index(bytes.len() + 1);
            match kind {
                0 => bytes.truncate(place),
                1 => bytes.extend(values),
                2 => bytes.clear(),
                _ => for (byte, value) in bytes.iter_mut().skip(place).zip(values) { *byte = value },
            }
            bytes.insert(0, 0);
            *arrays[array] = Bytes::from(bytes).slice(1..);
        }
        if let Ok((_, decoded)) = Experience::decode(&message, &shape) {
            assert_sound(&decoded, &shape);
        }
    }

    /// Whatever happens to the chunks, only the snapshot that was sent comes out.
    #[test]
    fn chunks_make_the_snapshot_or_nothing(
        length in 0..3 * CHUNK_BYTES,
        order in vec(0..4usize, 1..6),
        damage in proptest::option::of((any::<Index>(), 1..=255u8)),
    ) {
        let sent = Snapshot::new(3, bytes(length).into());
        let mut chunks: Vec<PolicyChunk> = sent.chunks().collect();
        if let Some((place, flip)) = damage {
            let first = &mut chunks[0];
            let mut data = first.data.to_vec();
            if !data.is_empty() {
                let place = place.index(data.len());
                data[place] ^= flip;
            }
            first.data = data.into();
        }
        let mut assembler = Assembler::default();
        for index in order {
            if let Ok(Some(received)) = assembler.push(chunks[index % chunks.len()].clone()) {
                prop_assert_eq!(&received, &sent);
            }
        }
    }
}

#[test]
fn every_rule_has_its_error() {
    let good = || batch(&[(0, 0, vec![2, 3, 1]), (SYNTHETIC_TASK, 2, vec![4, 2])], 2, 1, &SHAPE);
    assert_sound(&good(), &SHAPE);
    let refused = |change: &dyn Fn(&mut Experience)| {
        let mut experience = good();
        change(&mut experience);
        Experience::decode(&experience.encode(1), &SHAPE).expect_err("a rule is broken").to_string()
    };
    let infinite = f16::INFINITY;
    type Case<'a> = (&'a dyn Fn(&mut Experience), &'a str);
    let cases: &[Case] = &[
        (&|e| e.tasks.truncate(1), "`tasks` has 1 elements, not 2"),
        (&|e| e.tasks[1] = 5, "`tasks`[1] is 5"),
        (&|e| (e.lengths, e.counts) = (vec![0, 3], vec![2, 3, 1, 4, 2]), "`lengths`[0] is 0"),
        (&|e| e.lengths[0] = 3, "`actions` has 3 elements, not 4"),
        (&|e| e.counts[1] = 0, "`candidates` has 36 elements, not 27"),
        (&|e| (e.counts[1], e.counts[2]) = (0, 4), "`counts`[1] is 0"),
        (&|e| e.counts.push(1), "`counts` has 6 elements, not 5"),
        (&|e| e.actions[1] = 3, "`actions`[1] is 3"),
        (&|e| e.actions[2] = 4, "`actions`[2] is 4"),
        (&|e| e.ends[2] = 4, "`ends`[2] is 4"),
        (&|e| e.ends[0] = 1, "`ends`[0] is 1, not 0 before the last step of a segment"),
        (&|e| e.candidates[8] = infinite, "`candidates`[8] is inf"),
        (&|e| e.contexts[9] = f16::NAN, "`contexts`[9] is NaN"),
        (&|e| e.contexts.truncate(9), "`contexts` has 9 elements, not 10"),
        (&|e| e.log_probabilities[0] = f32::NEG_INFINITY, "`log_probabilities`[0] is -inf"),
        (&|e| e.rewards[2] = f32::NAN, "`rewards`[2] is NaN"),
        (&|e| e.chosen_values.push(0.0), "`chosen_values` has 6 elements, not 5"),
        (&|e| e.best_values[4] = f32::INFINITY, "`best_values`[4] is inf"),
        (&|e| e.identities.clear(), "`identities` has 0 elements, not 48"),
        (&|e| e.measurements.tasks[1] = SYNTHETIC_TASK, "`measurements.tasks`[1] is 65535"),
        (&|e| e.measurements.keys.truncate(1), "`measurements.keys` has 1 elements, not 2"),
        (&|e| e.measurements.architectures.push(0), "`measurements.architectures` has 9 elements, not 8"),
        (&|e| e.measurements.fidelities[0] = 0.0, "`measurements.fidelities`[0] is 0"),
        (&|e| e.measurements.fidelities[0] = 1.1, "`measurements.fidelities`[0] is 1.1"),
        (&|e| e.measurements.values[0] = f32::NAN, "`measurements.values`[0] is NaN"),
        (&|e| e.episodes.returns.clear(), "`episodes.returns` has 0 elements, not 1"),
        (&|e| e.episodes.normalised_regrets[0] = f32::INFINITY, "`episodes.normalised_regrets`[0] is inf"),
    ];
    for (change, expected) in cases {
        let message = refused(change);
        assert!(message.starts_with(expected), "{message}\n instead of {expected}");
    }
    let mut cut = good().encode(1);
    cut.rewards = cut.rewards.slice(..11);
    let error = Experience::decode(&cut, &SHAPE).unwrap_err();
    assert_eq!(error, Malformed::Ragged { array: "rewards", bytes: 11, size: 4 });
    let without = Shape { identities: false, ..SHAPE };
    let error = Experience::decode(&good().encode(1), &without).unwrap_err().to_string();
    assert!(error.starts_with("`identities` has 48 elements, not 0"), "{error}");
    let monstrous = Shape { candidate_features: usize::MAX, ..SHAPE };
    assert!(
        Experience::decode(&good().encode(1), &monstrous).is_err(),
        "a product that overflows fits nothing"
    );
}

#[test]
fn facts_outlive_transitions() {
    let experience = batch(&[(0, 0, vec![2, 3, 1])], 2, 1, &SHAPE);
    assert_eq!((experience.steps(), experience.is_empty()), (2, false));
    let facts = experience.clone().without_transitions();
    assert_eq!(facts.steps(), 0);
    assert_eq!((&facts.measurements, &facts.episodes), (&experience.measurements, &experience.episodes));
    assert!(!facts.is_empty());
    assert_eq!(Experience::decode(&facts.encode(2), &SHAPE), Ok((2, facts)));
    assert!(Experience { policy_version: 3, ..Experience::default() }.is_empty());
}

#[test]
fn snapshots_travel_in_chunks_without_copies() {
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
        let snapshot = Snapshot::new(4, bytes(length).into());
        let chunks: Vec<PolicyChunk> = snapshot.chunks().collect();
        assert_eq!(chunks.len(), length.div_ceil(CHUNK_BYTES).max(1));
        let mut assembler = Assembler::default();
        for (i, chunk) in chunks.iter().enumerate() {
            let offset = i * CHUNK_BYTES;
            if length > 0 {
                assert_eq!(chunk.data.as_ptr(), snapshot.bytes[offset..].as_ptr(), "shared, not copied");
            }
            let whole = assembler.push(chunk.clone()).unwrap();
            assert_eq!(whole, (i + 1 == chunks.len()).then(|| snapshot.clone()));
        }
    }
}

#[test]
fn broken_snapshots_are_refused_and_the_next_one_is_taken() {
    let snapshot = Snapshot::new(4, bytes(2 * CHUNK_BYTES + 5).into());
    let chunks: Vec<PolicyChunk> = snapshot.chunks().collect();
    let other: Vec<PolicyChunk> = Snapshot::new(5, bytes(2 * CHUNK_BYTES + 5).into()).chunks().collect();
    let mut assembler = Assembler::default();
    let mut refused = |sequence: &[PolicyChunk]| {
        let (last, before) = sequence.split_last().unwrap();
        for chunk in before {
            assert_eq!(assembler.push(chunk.clone()), Ok(None));
        }
        let error = assembler.push(last.clone()).expect_err("broken");
        let whole = chunks.iter().map(|c| assembler.push(c.clone()).expect("a good snapshot follows"));
        assert_eq!(whole.last().flatten().as_ref(), Some(&snapshot));
        error
    };
    let out_of_order = |e: BrokenSnapshot| assert!(matches!(e, BrokenSnapshot::OutOfOrder { .. }), "{e}");
    out_of_order(refused(&chunks[1..2]));
    out_of_order(refused(&[chunks[0].clone(), chunks[2].clone()]));
    out_of_order(refused(&[chunks[0].clone(), chunks[0].clone()]));
    out_of_order(refused(&[chunks[0].clone(), other[1].clone()]));
    out_of_order(refused(&[chunks[0].clone(), PolicyChunk { data: Bytes::new(), ..chunks[1].clone() }]));
    let swollen = PolicyChunk { data: bytes(2 * CHUNK_BYTES).into(), ..chunks[1].clone() };
    let error = refused(&[chunks[0].clone(), swollen]);
    assert!(matches!(error, BrokenSnapshot::Oversize { limit, .. } if limit == snapshot.bytes.len() as u64));
    let announced = PolicyChunk { total_bytes: MAX_SNAPSHOT_BYTES + 1, ..chunks[0].clone() };
    assert!(matches!(refused(&[announced]), BrokenSnapshot::Oversize { limit: MAX_SNAPSHOT_BYTES, .. }));
    let damaged = PolicyChunk { data: vec![1; chunks[1].data.len()].into(), ..chunks[1].clone() };
    let error = refused(&[chunks[0].clone(), damaged, chunks[2].clone()]);
    assert!(matches!(error, BrokenSnapshot::Damaged { version: 4, .. }), "{error}");
}

#[test]
fn the_hash_is_fnv_1a() {
    let hash = |text: &'static str| Snapshot::new(0, text.into()).chunks().next().map(|chunk| chunk.hash);
    assert_eq!(hash(""), Some(0xcbf2_9ce4_8422_2325));
    assert_eq!(hash("a"), Some(0xaf63_dc4c_8601_ec8c));
    assert_eq!(hash("foobar"), Some(0x8594_4171_f739_67e8));
}
