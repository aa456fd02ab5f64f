//! What the learner does not take in, and what it says then.

use crate::harness::*;
use bytes::Bytes;
use srnas_learner::service::ServiceConfig;
use srnas_proto::v1::{self, RejectReason, experience_request::Kind};
use srnas_space::SearchSpace;
use srnas_wire::{Experience, Measurements, Shape, Snapshot};
use std::sync::Arc;
use tonic::Code;

async fn joined(learner: &Learner, actor: &str) -> (Raw, RawStream) {
    let mut raw = Raw::connect(&learner.url, actor, 11).await;
    raw.join().await;
    let mut stream = raw.hello().await;
    stream.acknowledged(0).await;
    (raw, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_transitions_are_rejected_and_their_measurements_are_taken() {
    let mut learner = Learner::start(ServiceConfig { max_policy_lag: 20, ..service_config() }).await;
    learner.policy.send_replace(Some(Arc::new(Snapshot::new(100, Bytes::new()))));
    let (_raw, mut stream) = joined(&learner, "a").await;

    stream.batch(&Experience { policy_version: 80, ..experience(1) }, 1).await;
    let delivery = learner.next().await;
    assert_eq!((delivery.lag, delivery.experience.steps()), (20, 1), "the limit itself is allowed");
    delivery.done();
    stream.acknowledged(1).await;

    let stale = Experience { policy_version: 79, measurements: measurements(), ..experience(2) };
    stream.batch(&stale, 2).await;
    let (acknowledged, reject) = stream.reject().await;
    assert_eq!((acknowledged, reject.sequence, reject.reason()), (1, 2, RejectReason::Stale));
    assert_eq!(reject.detail, "acted 21 policy versions ago, and 20 are allowed");
    let delivery = learner.next().await;
    assert_eq!(delivery.experience, stale.without_transitions());
    delivery.done();
    stream.acknowledged(2).await;

    let nothing_else = Experience { environment_steps: 0, policy_version: 1, ..experience(0) };
    stream.batch(&nothing_else, 3).await;
    let (acknowledged, reject) = stream.reject().await;
    assert_eq!((acknowledged, reject.sequence, reject.reason()), (3, 3, RejectReason::Stale));
    assert!(learner.deliveries.try_recv().is_err(), "there is nothing in it");

    let total = learner.members.report().total;
    assert_eq!((total.stale, total.batches, total.transitions, total.measurements), (2, 2, 1, 1));
    let lags = learner.members.take_lags();
    assert_eq!((lags.batches, lags.min, lags.max, lags.mean()), (3, 20, 99, 140.0 / 3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_batch_is_rejected_and_the_next_one_is_taken() {
    let mut learner = Learner::start(service_config()).await;
    let (_raw, mut stream) = joined(&learner, "a").await;
    stream.batch(&Experience { actions: vec![2], ..experience(1) }, 1).await;
    let (acknowledged, reject) = stream.reject().await;
    assert_eq!((acknowledged, reject.sequence, reject.reason()), (1, 1, RejectReason::Malformed));
    assert_eq!(reject.detail, "`actions`[0] is 2, not below the number of candidates of its observation");
    stream.batch(&experience(2), 2).await;
    assert_eq!(learner.take_in(1).await, [2]);
    stream.acknowledged(2).await;
    assert_eq!(learner.members.report().total.malformed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_space_has_not_is_malformed() {
    let space = SearchSpace::named("nb201").unwrap();
    let shape = Shape { decisions: space.len(), ..SHAPE };
    let config = ServiceConfig { space: Some(space), max_candidates: 2, shape, ..service_config() };
    let mut learner = Learner::start(config).await;
    let (_raw, mut stream) = joined(&learner, "a").await;
    let architectures = vec![9; 6];
    let foreign =
        Experience { measurements: Measurements { architectures, ..measurements() }, ..experience(1) };
    stream.batch(&foreign, 1).await;
    let (acknowledged, reject) = stream.reject().await;
    assert_eq!((acknowledged, reject.reason()), (1, RejectReason::Malformed));
    assert!(reject.detail.contains("a valid architecture of the run's space"), "{}", reject.detail);
    stream.batch(&experience(2), 2).await;
    assert_eq!(learner.take_in(1).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_batch_does_not_acknowledge_those_before_it() {
    let mut learner = Learner::start(service_config()).await;
    let (_raw, mut stream) = joined(&learner, "a").await;
    stream.batch(&experience(1), 1).await;
    stream.batch(&Experience { rewards: vec![f32::NAN], ..experience(2) }, 2).await;
    let (acknowledged, reject) = stream.reject().await;
    assert_eq!((acknowledged, reject.sequence), (0, 2));
    learner.next().await.done();
    stream.acknowledged(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_came_before_is_acknowledged_again_and_delivered_once() {
    let mut learner = Learner::start(service_config()).await;
    let (_raw, mut stream) = joined(&learner, "a").await;
    stream.batch(&experience(1), 1).await;
    stream.batch(&experience(1), 1).await;
    stream.batch(&experience(2), 2).await;
    assert_eq!(learner.take_in(2).await, [1, 2]);
    stream.acknowledged(2).await;
    stream.batch(&experience(1), 1).await;
    stream.acknowledged(2).await;
    assert_eq!(learner.members.report().total.duplicates, 2);
    assert!(learner.deliveries.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_and_batches_beyond_the_credits_cut_the_stream_and_the_incarnation_may_resume() {
    let mut learner = Learner::start(ServiceConfig { credits: 2, ..service_config() }).await;
    let (mut raw, mut stream) = joined(&learner, "a").await;
    stream.batch(&experience(1), 1).await;
    let first = learner.next().await;
    stream.batch(&experience(3), 3).await;
    let (_, reject) = stream.reject().await;
    assert_eq!((reject.sequence, reject.reason()), (3, RejectReason::Malformed));
    assert!(reject.detail.starts_with("batch 3 came where 2 was due"), "{}", reject.detail);
    assert_eq!(stream.end().await, Code::InvalidArgument);

    let mut stream = raw.hello().await;
    stream.acknowledged(0).await;
    stream.batch(&experience(1), 1).await;
    stream.batch(&experience(2), 2).await;
    stream.batch(&experience(3), 3).await;
    let (_, reject) = stream.reject().await;
    assert!(reject.detail.contains("credits reach to 2"), "{}", reject.detail);
    assert_eq!(stream.end().await, Code::InvalidArgument);
    first.done();

    let mut stream = raw.hello().await;
    stream.batch(&experience(2), 2).await;
    assert_eq!(learner.next().await.experience.environment_steps, 2, "once, on whichever stream");
    drop(stream.response().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_the_impolite_are_turned_away() {
    let learner = Learner::start(service_config()).await;
    let mut raw = Raw::connect(&learner.url, "nobody", 5).await;
    let mut stream = raw.hello().await;
    let (_, reject) = stream.reject().await;
    assert_eq!(reject.reason(), RejectReason::UnknownIncarnation);
    assert_eq!(reject.detail, "the learner does not know this incarnation: join again");
    assert_eq!(stream.end().await, Code::Ok);
    let request = v1::PolicyRequest { actor_id: "nobody".into(), incarnation: 5 };
    assert_eq!(raw.learner.policy(request).await.unwrap_err().code(), Code::NotFound);
    let error = raw.open(Kind::Heartbeat(v1::Heartbeat {})).await.err().unwrap();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "the first message of an experience stream must be a Hello")
    );
    let (_raw, stream) = joined(&learner, "a").await;
    stream.say(Kind::Hello(v1::Hello::default())).await;
    assert_eq!(stream.end().await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_ends_the_stream_and_not_the_learner() {
    let mut learner = Learner::start(ServiceConfig { max_batch_bytes: 1 << 20, ..service_config() }).await;
    let (mut raw, stream) = joined(&learner, "a").await;
    stream.batch(&Experience { identities: vec![0; 2 << 20], ..experience(1) }, 1).await;
    assert_eq!(stream.end().await, Code::OutOfRange);
    let stream = raw.hello().await;
    stream.batch(&experience(1), 1).await;
    assert_eq!(learner.take_in(1).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_batches_may_be_large() {
    let mut learner = Learner::start(service_config()).await;
    let (mut raw, stream) = joined(&learner, "a").await;
    let rows = 40_000;
    let large = Experience {
        counts: vec![rows, 1],
        candidates: vec![half::f16::ONE; 2 * (usize::from(rows) + 1)],
        ..experience(1)
    };
    stream.batch(&large, 1).await;
    assert_eq!(learner.take_in(1).await, [1]);
    let request = v1::JoinRequest { software: "x".repeat(65 << 10), ..v1::JoinRequest::default() };
    let status = raw.learner.join(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}
