//! The broadcast: whole, newest, and never queued.

use crate::harness::*;
use bytes::Bytes;
use srnas_proto::{
    DESCRIPTORS,
    v1::{self, learner_server},
};
use srnas_wire::{Assembler, Snapshot};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

fn snapshot(version: u64, bytes: usize) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(
        version,
        Bytes::from((0..bytes).map(|i| (i as u64 ^ version) as u8).collect::<Vec<_>>()),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_gets_the_newest_policy_whole() {
    let learner = Learner::start(service_config()).await;
    let mut early = Actor::start(client_config(&learner.url, "early")).await.unwrap();
    assert!(early.handle.policy.borrow_and_update().is_none());
    let first = snapshot(1, 3_000_000);
    learner.policy.send_replace(Some(first.clone()));
    soon("the policy", early.handle.policy.changed()).await.unwrap();
    assert_eq!(early.handle.policy.borrow_and_update().as_ref(), Some(&first));
    let mut late = Actor::start(client_config(&learner.url, "late")).await.unwrap();
    soon("the policy", late.handle.policy.wait_for(|p| p.as_ref() == Some(&first))).await.unwrap();
    let second = snapshot(2, 10);
    learner.policy.send_replace(Some(second.clone()));
    for actor in [&mut early, &mut late] {
        soon("the policy", actor.handle.policy.wait_for(|p| p.as_ref() == Some(&second))).await.unwrap();
        assert_eq!(actor.handle.counters.policies.load(Relaxed), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_skips_versions() {
    let learner = Learner::start(service_config()).await;
    let mut raw = Raw::connect(&learner.url, "slow", 1).await;
    raw.join().await;
    let request = v1::PolicyRequest { actor_id: "slow".into(), incarnation: 1 };
    let mut chunks = raw.learner.policy(request).await.unwrap().into_inner();
    // Far more than all windows and buffers on the way hold.
    learner.policy.send_replace(Some(snapshot(1, 64 << 20)));
    let mut assembler = Assembler::default();
    let mut versions = Vec::new();
    let first = soon("a chunk", chunks.message()).await.unwrap().unwrap();
    assert_eq!(assembler.push(first), Ok(None));
    for version in 2..=9 {
        learner.policy.send_replace(Some(snapshot(version, 100)));
    }
    while versions.last() != Some(&9) {
        let chunk = soon("a chunk", chunks.message()).await.unwrap().unwrap();
        versions.extend(assembler.push(chunk).unwrap().map(|whole| whole.version));
    }
    assert_eq!(versions, [1, 9]);
}

/// A learner whose first broadcast is damaged on the way.
struct Faulty {
    subscriptions: AtomicUsize,
}

#[tonic::async_trait]
impl learner_server::Learner for Faulty {
    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let (heartbeat_ms, credits) = (1000, 1);
        Ok(Response::new(v1::JoinResponse { heartbeat_ms, credits, ..v1::JoinResponse::default() }))
    }

    type ExperienceStream = ReceiverStream<Result<v1::ExperienceResponse, Status>>;

    async fn experience(
        &self,
        request: Request<Streaming<v1::ExperienceRequest>>,
    ) -> Result<Response<Self::ExperienceStream>, Status> {
        let (outbox, responses) = mpsc::channel(1);
        outbox
            .try_send(Ok(v1::ExperienceResponse { credits: 1, ..v1::ExperienceResponse::default() }))
            .unwrap();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            while let Ok(Some(_)) = requests.message().await {}
            drop(outbox);
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    type PolicyStream = ReceiverStream<Result<v1::PolicyChunk, Status>>;

    async fn policy(&self, _: Request<v1::PolicyRequest>) -> Result<Response<Self::PolicyStream>, Status> {
        let attempt = self.subscriptions.fetch_add(1, Relaxed);
        let (outbox, chunks) = mpsc::channel(1);
        tokio::spawn(async move {
            for mut chunk in snapshot(7, 1_000_000).chunks() {
                if attempt == 0 && chunk.offset > 0 {
                    chunk.data = vec![0; chunk.data.len()].into();
                }
                let _ = outbox.send(Ok(chunk)).await;
            }
            outbox.closed().await;
        });
        Ok(Response::new(ReceiverStream::new(chunks)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_policy_is_not_published_and_is_asked_for_again() {
    let faulty = Arc::new(Faulty { subscriptions: AtomicUsize::new(0) });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = learner_server::LearnerServer::from_arc(faulty.clone());
    let server = tonic::transport::Server::builder().add_service(service);
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut actor = Actor::start(client_config(&url, "a")).await.unwrap();
    soon("the policy", actor.handle.policy.changed()).await.unwrap();
    assert_eq!(actor.handle.policy.borrow().as_ref(), Some(&snapshot(7, 1_000_000)));
    assert_eq!(faulty.subscriptions.load(Relaxed), 2, "the damaged one first");
    assert_eq!(actor.handle.counters.policies.load(Relaxed), 1);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_describes_itself() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    assert!(!DESCRIPTORS.is_empty());
    let learner = Learner::start(service_config()).await;
    let mut reflection = ServerReflectionClient::new(learner.channel().await);
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap();
    let answer = soon("an answer", answers.into_inner().message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services: {answer:?}");
    };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&"srnas.v1.Learner") && names.contains(&"grpc.health.v1.Health"), "{names:?}");
}
