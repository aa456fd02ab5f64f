//! The policy file goes both ways, and what is damaged or foreign is refused.

mod fixtures;

use fixtures::{policy, unchecked};
use srnas_environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES};
use srnas_network::ObservationBatch;
use srnas_policy::{Acts, Policy};

#[test]
fn it_goes_both_ways() {
    let before = policy();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("policy.safetensors");
    before.save(&path).unwrap();
    for after in [Policy::load(&path).unwrap(), Policy::load(folder.path()).unwrap()] {
        assert_eq!((after.version, after.acts, &after.space), (7, Acts::Trained, &before.space));
        assert_eq!(after.validation, before.validation);
        assert_eq!(after.prior.unwrap().values(), before.prior.as_ref().unwrap().values());
        let batch = ObservationBatch {
            offsets: vec![0, 2],
            candidates: vec![0.5; 2 * CANDIDATE_FEATURES],
            contexts: vec![0.25; CONTEXT_FEATURES],
            identities: None,
        };
        assert_eq!(after.network.q_values(&batch).unwrap(), before.network.q_values(&batch).unwrap());
        let inputs = vec![0.5; 35];
        let (a, b) = (after.learned_prior.unwrap(), before.learned_prior.as_ref().unwrap());
        assert_eq!(a.network.predict(&inputs).unwrap(), b.network.predict(&inputs).unwrap());
    }
    // Nothing temporary stays.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_same_policy_is_the_same_bytes() {
    let policy = policy();
    let bytes = policy.to_bytes().unwrap();
    for _ in 0..20 {
        assert!(policy.to_bytes().unwrap() == bytes);
    }
    assert_eq!(Policy::from_bytes(&bytes).unwrap().to_bytes().unwrap(), bytes);
}

#[test]
fn every_truncation_is_refused() {
    let bytes = policy().to_bytes().unwrap();
    for cut in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        assert!(Policy::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let bytes = policy().to_bytes().unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // All of the header, and places all over the numbers.
    for at in (0..header).chain((header..bytes.len()).step_by(101)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Policy::from_bytes(&damaged).is_err(), "byte {at}");
    }
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let refused = Policy::from_bytes(&damaged).unwrap_err().to_string();
    assert!(refused.contains("damaged") && refused.contains("whole"), "{refused}");
}

#[test]
fn foreign_and_altered_files_are_refused_with_what_is_wrong() {
    // Older files have no checksum: what is in them is looked at all the same.
    let bytes = unchecked(&policy());
    assert!(Policy::from_bytes(&bytes).is_ok());
    let altered = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        Policy::from_bytes(&bytes).unwrap_err().to_string()
    };
    let layout = format!("{:016x}", srnas_environment::Layout::new(false).hash());
    assert!(altered(&layout, "0123456789abcdef").contains("observation features"));
    assert!(altered("\\\"format\\\":1", "\\\"format\\\":9").contains("format is 9"));
    assert!(altered("srnas_policy", "other_policy").contains("not a policy of srnas"));
    assert!(altered("\\\"encodings\\\":5", "\\\"encodings\\\":6").contains("12 values"));
    assert!(Policy::from_bytes(b"x,y\n1,2\n").unwrap_err().to_string().contains("safetensors"));
}
