//! What peers send.

use bytes::Bytes;
use prost::Message;
use srnas_proto::v1;
use srnas_wire::{Assembler, Experience, SYNTHETIC_TASK, Shape};

const SHAPE: Shape =
    Shape { candidate_features: 3, context_features: 2, decisions: 2, tasks: 4, identities: false };

/// By the first byte: a batch of experience, chunks of a snapshot, or another message.
pub fn wire(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => experience(bytes, &SHAPE),
        1 => experience(bytes, &Shape { identities: true, ..SHAPE }),
        2 => chunks(bytes),
        _ => messages(bytes),
    }
}

/// What is taken in is sound, and the same after another trip.
fn experience(bytes: &[u8], shape: &Shape) {
    let Ok(batch) = v1::ExperienceBatch::decode(bytes) else { return };
    let Ok((sequence, experience)) = Experience::decode(&batch, shape) else { return };
    sound(&experience, shape);
    assert_eq!(Experience::decode(&experience.encode(sequence), shape), Ok((sequence, experience.clone())));
    assert_eq!(experience.without_transitions().steps(), 0);
}

fn sound(e: &Experience, shape: &Shape) {
    let (mut observations, mut steps, mut candidates) = (0, 0, 0);
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
    assert_eq!([e.actions.len(), e.rewards.len(), e.log_probabilities.len(), e.ends.len()], [steps; 4]);
    assert_eq!([e.counts.len(), e.chosen_values.len(), e.best_values.len()], [observations; 3]);
    assert_eq!(e.candidates.len(), candidates * shape.candidate_features);
    assert_eq!(e.contexts.len(), observations * shape.context_features);
    assert_eq!(e.identities.len(), if shape.identities { candidates * shape.decisions } else { 0 });
    assert!(e.candidates.iter().chain(&e.contexts).all(|x| x.is_finite()));
    let m = &e.measurements;
    let numbers = [&e.log_probabilities, &e.rewards, &e.chosen_values, &e.best_values];
    assert!(numbers.into_iter().flatten().all(|x| x.is_finite()));
    assert!(m.values.iter().all(|x| x.is_finite()) && m.fidelities.iter().all(|&f| 0.0 < f && f <= 1.0));
    let n = m.tasks.len();
    assert_eq!([m.keys.len(), m.fidelities.len(), m.values.len()], [n; 3]);
    assert_eq!(m.architectures.len(), n * shape.decisions);
    assert!(m.tasks.iter().all(|&t| usize::from(t) < shape.tasks));
}

/// Chunks of one message after the other, each after its length: no more comes out than went in.
fn chunks(mut bytes: &[u8]) {
    let (mut assembler, mut sent) = (Assembler::default(), 0);
    while !bytes.is_empty() {
        let Ok(chunk) = v1::PolicyChunk::decode_length_delimited(&mut bytes) else { return };
        sent += chunk.data.len();
        if let Ok(Some(snapshot)) = assembler.push(chunk) {
            assert!(snapshot.bytes.len() <= sent);
            let again = snapshot.chunks().map(|chunk| assembler.push(chunk).expect("its own chunks"));
            assert_eq!(again.last().flatten().as_ref(), Some(&snapshot));
        }
    }
}

/// Any message of a peer is refused or the same after another trip.
fn messages(bytes: &[u8]) {
    fn again<M: Message + Default + PartialEq>(bytes: &Bytes) {
        let Ok(message) = M::decode(bytes.clone()) else { return };
        let sent = message.encode_to_vec();
        let back = M::decode(&sent[..]).expect("what was sent can be read");
        // A number that is none is not equal to itself.
        assert!(back == message || back.encode_to_vec() == sent);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    again::<v1::ExperienceRequest>(&bytes);
    again::<v1::ExperienceResponse>(&bytes);
    again::<v1::JoinRequest>(&bytes);
    again::<v1::JoinResponse>(&bytes);
    again::<v1::StatusResponse>(&bytes);
    again::<v1::AttachResponse>(&bytes);
    again::<v1::TakeResponse>(&bytes);
    again::<v1::AnswerRequest>(&bytes);
}
