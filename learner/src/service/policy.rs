//! Policy: the newest snapshot to every subscriber. A slow one skips versions.

use super::{FAREWELL, Service, shutting_down};
use srnas_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Chunks between the snapshot and HTTP/2: 512 KiB keep a connection busy.
const CHUNKS_AHEAD: usize = 2;

pub(super) fn subscribe(
    service: &Service,
    request: v1::PolicyRequest,
) -> Result<ReceiverStream<Result<v1::PolicyChunk, Status>>, Status> {
    let not_found = || Status::not_found("the learner does not know this incarnation: join again");
    let member = service.members.find(&request.actor_id, request.incarnation).map_err(|_| not_found())?;
    let (outbox, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let mut policy = service.policy.clone();
    policy.mark_changed();
    let shutdown = service.shutdown.clone();
    tokio::spawn(async move {
        let broadcast = async {
            while policy.changed().await.is_ok() {
                let newest = policy.borrow_and_update().clone();
                for chunk in newest.iter().flat_map(|snapshot| snapshot.chunks()) {
                    if outbox.send(Ok(chunk)).await.is_err() {
                        return None;
                    }
                }
            }
            Some(shutting_down())
        };
        let end = tokio::select! {
            end = broadcast => end,
            () = outbox.closed() => None,
            () = member.gone.cancelled() => Some(not_found()),
            () = shutdown.cancelled() => Some(shutting_down()),
        };
        if let Some(status) = end {
            // A subscriber that is gone or reads nothing does not need to know.
            let _ = tokio::time::timeout(FAREWELL, outbox.send(Err(status))).await;
        }
    });
    Ok(ReceiverStream::new(chunks))
}
