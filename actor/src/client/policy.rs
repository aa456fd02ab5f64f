//! Policy: follows the learner's broadcast and publishes each snapshot that arrives whole.

use super::{
    connection::{Backoff, CALL, Link, client, describe},
    counters::{ClientCounters, add},
};
use srnas_proto::v1::{self, learner_client::LearnerClient};
use srnas_wire::{Assembler, Snapshot};
use std::{convert::Infallible, sync::Arc};
use tokio::sync::watch;
use tracing::debug;

/// Follows until it is dropped. It never ends a session: that the incarnation is gone shows on the experience stream
/// too, which is where its end is dealt with.
pub(super) async fn follow(
    link: Link,
    request: v1::PolicyRequest,
    policy: &watch::Sender<Option<Arc<Snapshot>>>,
    counters: &ClientCounters,
) -> Infallible {
    let mut learner = client(link);
    let mut backoff = Backoff::default();
    loop {
        let reason = match subscribe(&mut learner, request.clone(), policy, counters, &mut backoff).await {
            Ok(()) => "the stream ended".into(),
            Err(reason) => reason,
        };
        debug!(%reason, "policy stream broke; it is opened again");
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn subscribe(
    learner: &mut LearnerClient<Link>,
    request: v1::PolicyRequest,
    policy: &watch::Sender<Option<Arc<Snapshot>>>,
    counters: &ClientCounters,
    backoff: &mut Backoff,
) -> Result<(), String> {
    let call = tokio::time::timeout(CALL, learner.policy(request)).await;
    let mut chunks =
        call.map_err(|_| "no answer in time".to_string())?.map_err(|s| describe(&s))?.into_inner();
    let mut assembler = Assembler::default();
    // No deadline: a learner may train for long between two broadcasts, and keep-alive notices a dead one.
    while let Some(chunk) = chunks.message().await.map_err(|status| describe(&status))? {
        if let Some(snapshot) = assembler.push(chunk).map_err(|broken| broken.to_string())? {
            debug!(version = snapshot.version, bytes = snapshot.bytes.len(), "policy arrived");
            add(&counters.policies, 1);
            policy.send_replace(Some(Arc::new(snapshot)));
            *backoff = Backoff::default();
        }
    }
    Ok(())
}
