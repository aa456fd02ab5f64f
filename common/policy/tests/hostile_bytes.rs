//! What comes over the wire and what is read from policy files may be anything: nothing panics, nothing allocates more
//! than a small multiple of what came, and what is taken in is sound.

mod fixtures;
mod hostile;

use bytes::Bytes;
use hostile::{bounded, damaged, noise, with_odd_numbers};
use proptest::{collection::vec, prelude::*};
use prost::Message;
use srnas_environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES};
use srnas_network::ObservationBatch;
use srnas_policy::Policy;
use srnas_proto::v1;
use srnas_wire::{
    Assembler, CHUNK_BYTES, EpisodeEnds, Experience, MAX_SNAPSHOT_BYTES, Measurements, Shape, Snapshot,
};
use std::sync::LazyLock;

const SHAPE: Shape =
    Shape { candidate_features: 3, context_features: 2, decisions: 2, tasks: 4, identities: true };

/// Two segments, two measurements, one ended episode.
fn batch() -> v1::ExperienceBatch {
    let half = |n: usize| (0..n).map(|i| half::f16::from_f32(i as f32 * 0.5)).collect::<Vec<_>>();
    let counts = vec![2, 3, 1, 4, 2];
    let (candidates, observations, steps) = (12, counts.len(), 3);
    let experience = Experience {
        policy_version: 7,
        lengths: vec![2, 1],
        tasks: vec![0, 3],
        counts,
        candidates: half(candidates * SHAPE.candidate_features),
        contexts: half(observations * SHAPE.context_features),
        actions: vec![1, 2, 3],
        log_probabilities: vec![-0.5; steps],
        rewards: vec![0.25; steps],
        ends: vec![0, 0, 2],
        chosen_values: vec![0.5; observations],
        best_values: vec![0.75; observations],
        identities: vec![1; candidates * SHAPE.decisions],
        measurements: Measurements {
            tasks: vec![0, 3],
            keys: vec![u64::MAX, 1],
            architectures: vec![0, 1, 2, 3],
            fidelities: vec![1.0, 0.06],
            values: vec![0.5, 0.9],
        },
        episodes: EpisodeEnds { tasks: vec![1], normalised_regrets: vec![0.25], returns: vec![1.5] },
        environment_steps: 9,
        elapsed_us: 3,
        credit_us: 2,
        oracle_us: 1,
    };
    experience.encode(1)
}

/// What the learner does with a batch's bytes: the message, then its arrays.
fn take_in(bytes: Vec<u8>) {
    let length = bytes.len();
    let bytes = Bytes::from(bytes);
    // Arrays share the bytes of the message; unpacked they are as large again.
    bounded(length, 3, || {
        let Ok(batch) = v1::ExperienceBatch::decode(bytes) else { return };
        let Ok((_, experience)) = Experience::decode(&batch, &SHAPE) else { return };
        assert_eq!(experience.counts.len(), experience.steps() + experience.lengths.len());
        assert!(experience.rewards.iter().all(|r| r.is_finite()));
        assert!(experience.environment_steps <= u64::from(u32::MAX));
    });
}

fn any_chunk() -> impl Strategy<Value = v1::PolicyChunk> {
    let lengths = prop_oneof![
        0..64u64,
        0..2 * CHUNK_BYTES as u64,
        Just(MAX_SNAPSHOT_BYTES),
        Just(MAX_SNAPSHOT_BYTES + 1),
        Just(u64::MAX)
    ];
    let offsets = prop_oneof![0..64u64, Just(CHUNK_BYTES as u64), Just(u64::MAX)];
    (0..2u64, lengths, offsets, any::<u64>(), prop_oneof![noise(64), Just(vec![0; CHUNK_BYTES])]).prop_map(
        |(version, total_bytes, offset, hash, data)| v1::PolicyChunk {
            version,
            total_bytes,
            offset,
            hash,
            data: data.into(),
        },
    )
}

/// As a policy travels.
/// Without its checksum, as older releases wrote it: else nothing but the checksum would be tried.
static POLICY: LazyLock<Vec<u8>> = LazyLock::new(|| fixtures::unchecked(&fixtures::policy()));

/// Reads a policy as an actor does, and acts with it if it is one. (The parser of its header holds 36 bytes for each of
/// some headers.)
fn adopt(bytes: &[u8]) -> bool {
    let Ok(policy) = bounded(bytes.len(), 40, || Policy::from_bytes(bytes)) else { return false };
    let batch = ObservationBatch {
        offsets: vec![0, 2],
        candidates: vec![0.5; 2 * CANDIDATE_FEATURES],
        contexts: vec![0.25; CONTEXT_FEATURES],
        identities: None,
    };
    // It may refuse them, as a network with identities does.
    let _ = policy.network.q_values(&batch);
    assert!(policy.environment.max_candidates() < 1000);
    assert!(policy.prior.is_none_or(|p| p.values().iter().all(|v| v.is_finite())));
    true
}

/// The header of a safetensors file as text, and the tensors after it.
fn parts(file: &[u8]) -> (String, &[u8]) {
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    (String::from_utf8(file[8..8 + length].to_vec()).unwrap(), &file[8 + length..])
}

fn assembled(header: &str, tensors: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), tensors].concat()
}

proptest! {
    #[test]
    fn any_bytes_are_no_batch_or_a_sound_one(bytes in noise(2000)) {
        take_in(bytes);
    }

    #[test]
    fn a_damaged_batch_is_refused_or_sound(bytes in damaged(batch().encode_to_vec())) {
        take_in(bytes);
    }

    #[test]
    fn requests_decode_within_a_multiple_of_their_size(bytes in noise(2000)) {
        let (length, bytes) = (bytes.len(), Bytes::from(bytes));
        bounded(length, 4, || v1::ExperienceRequest::decode(bytes.clone()).is_ok());
        bounded(length, 4, || v1::PolicyRequest::decode(bytes.clone()).is_ok());
        bounded(length, 4, || v1::PolicyChunk::decode(bytes.clone()).is_ok());
        bounded(length, 4, || v1::JoinResponse::decode(bytes.clone()).is_ok());
        bounded(length, 128, || v1::ExperienceResponse::decode(bytes.clone()).is_ok());
        bounded(length, 128, || v1::JoinRequest::decode(bytes).is_ok());
    }

    /// However much is announced, memory grows with what arrives.
    #[test]
    fn any_chunks_make_no_more_than_they_bring(chunks in vec(any_chunk(), 1..6)) {
        let sent = chunks.iter().map(|chunk| chunk.data.len()).sum();
        bounded(sent, 3, || {
            let mut assembler = Assembler::default();
            for chunk in chunks {
                if let Ok(Some(snapshot)) = assembler.push(chunk) {
                    assert!(snapshot.bytes.len() <= sent);
                }
            }
        });
    }

    #[test]
    fn any_bytes_are_no_policy(bytes in noise(2000)) {
        prop_assert!(!adopt(&bytes));
    }

    #[test]
    fn any_header_is_no_policy(header in "[\\[\\]{}\",:a-z0-9_]{0,400}", tensors in noise(64)) {
        prop_assert!(!adopt(&assembled(&header, &tensors)));
    }

    #[test]
    fn a_damaged_policy_is_refused_or_works(bytes in damaged(POLICY.clone())) {
        adopt(&bytes);
    }

    /// Sizes, offsets, versions and settings that nobody writes.
    #[test]
    fn a_policy_with_odd_numbers_is_refused_or_works(header in with_odd_numbers(parts(&POLICY).0)) {
        adopt(&assembled(&header, parts(&POLICY).1));
    }

    /// Most of the numbers above are offsets of tensors, which cannot change: those of the description alone.
    #[test]
    fn a_policy_with_an_odd_description_is_refused_or_works(description in with_odd_numbers(description())) {
        let (header, tensors) = parts(&POLICY);
        let mut header: serde_json::Value = serde_json::from_str(&header).unwrap();
        header["__metadata__"]["srnas_policy"] = description.into();
        adopt(&assembled(&header.to_string(), tensors));
    }
}

fn description() -> String {
    let header: serde_json::Value = serde_json::from_str(&parts(&POLICY).0).unwrap();
    header["__metadata__"]["srnas_policy"].as_str().unwrap().into()
}

/// Without this the tests above could pass on a fixture that is refused for another reason.
#[test]
fn the_good_ones_are_taken() {
    let bytes = batch().encode_to_vec();
    assert!(Experience::decode(&v1::ExperienceBatch::decode(&bytes[..]).unwrap(), &SHAPE).is_ok());
    assert!(adopt(&POLICY));
    let (header, tensors) = parts(&POLICY);
    assert_eq!(assembled(&header, tensors), *POLICY);
    let snapshot = Snapshot::new(1, POLICY.clone().into());
    let mut assembler = Assembler::default();
    let last = snapshot.chunks().map(|chunk| assembler.push(chunk).unwrap()).last().flatten();
    assert_eq!(last, Some(snapshot));
}

/// The worst that a small message can do: each of its elements takes many bytes in memory.
#[test]
fn a_message_full_of_empty_elements_stays_within_its_multiple() {
    let join: Vec<u8> = [0x4a, 0].repeat(32 << 10);
    let decoded = bounded(join.len(), 128, || v1::JoinRequest::decode(&join[..]).unwrap());
    assert_eq!(decoded.benchmarks.len(), 32 << 10);
    let header = format!(
        "{{{}}}",
        vec!["\"t\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}"; 5000].join(",")
    );
    assert!(!adopt(&assembled(&header, &[])));
    let shapes = format!(
        "{{\"t\":{{\"dtype\":\"F32\",\"shape\":[{}0],\"data_offsets\":[0,0]}}}}",
        "1,".repeat(100_000)
    );
    assert!(!adopt(&assembled(&shapes, &[])));
    let long = assembled(&" ".repeat(2 << 20), &[]);
    let refused = bounded(0, 1, || Policy::from_bytes(&long).unwrap_err());
    assert!(refused.to_string().contains("header has 2097152 bytes"), "{refused}");
    let nested = format!("{{\"__metadata__\":{{\"srnas_policy\":\"{}\"}}}}", "[".repeat(100_000));
    assert!(!adopt(&assembled(&nested, &[])));
    let listed = format!(
        "{{\"__metadata__\":{{\"srnas_policy\":\"{{\\\"format\\\":1,\\\"x\\\":[{}0]}}\"}}}}",
        "0,".repeat(100_000)
    );
    assert!(!adopt(&assembled(&listed, &[])));
}

/// Tasks times encodings that overflow to the number of values there are.
#[test]
fn a_prior_whose_size_overflows_is_refused() {
    let mut description: serde_json::Value = serde_json::from_str(&description()).unwrap();
    let names = vec!["a"; 4];
    description["prior"] = serde_json::json!({ "tasks": names, "families": names, "encodings": 1u64 << 62 });
    let (header, tensors) = parts(&POLICY);
    let mut header: serde_json::Value = serde_json::from_str(&header).unwrap();
    header["__metadata__"]["srnas_policy"] = description.to_string().into();
    // An empty tensor where the prior was: what lies behind it moves up.
    let offset = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
    let offsets = header["prior"]["data_offsets"].clone();
    let (from, to) = (offset(&offsets[0]), offset(&offsets[1]));
    header["prior"]["shape"] = serde_json::json!([4, 0]);
    header["prior"]["data_offsets"] = serde_json::json!([from, from]);
    for (_, tensor) in header.as_object_mut().unwrap().iter_mut().filter(|(name, _)| *name != "__metadata__")
    {
        let own = tensor["data_offsets"].clone();
        if offset(&own[0]) >= to {
            tensor["data_offsets"] =
                serde_json::json!([offset(&own[0]) - (to - from), offset(&own[1]) - (to - from)]);
        }
    }
    let file = assembled(&header.to_string(), &[&tensors[..from], &tensors[to..]].concat());
    let refused = Policy::from_bytes(&file).unwrap_err().to_string();
    assert!(refused.contains("a prior of 4 tasks"), "{refused}");
}
