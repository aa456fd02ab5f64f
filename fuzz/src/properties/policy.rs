//! Policy files, which are also what a broadcast carries.

use super::sections::safetensors;
use srnas_environment::{CANDIDATE_FEATURES, CONTEXT_FEATURES};
use srnas_network::ObservationBatch;
use srnas_policy::Policy;

/// A file is refused, or it acts, and is the same when it is written and read again.
pub fn policy(bytes: &[u8]) {
    let bytes = safetensors(bytes, "srnas_policy");
    let Ok(policy) = Policy::from_bytes(&bytes) else { return };
    let batch = ObservationBatch {
        offsets: vec![0, 2],
        candidates: vec![0.5; 2 * CANDIDATE_FEATURES],
        contexts: vec![0.25; CONTEXT_FEATURES],
        identities: None,
    };
    // It may refuse them, as a network with identities does.
    let _ = policy.network.q_values(&batch);
    assert!(policy.environment.max_candidates() < 1000 && policy.caution.margin.is_finite());
    assert!(policy.prior.as_ref().is_none_or(|p| p.values().iter().all(|v| v.is_finite())));
    let written = policy.to_bytes().expect("a policy can be written");
    let again = Policy::from_bytes(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes().expect("a policy can be written"), written);
}
