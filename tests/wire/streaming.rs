//! Batches in order, exactly once, within the credits; the end of both sides.

use crate::harness::*;
use srnas_actor::client::{Client, ClientConfig, ClientError};
use srnas_learner::service::{self, ServiceConfig, ServiceError};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

#[tokio::test(flavor = "multi_thread")]
async fn batches_arrive_in_order_and_exactly_once_and_the_actor_leaves() {
    let mut learner = Learner::start(service_config()).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    assert_eq!((actor.joined.run_id.as_str(), actor.joined.config.as_str()), ("run", "seed = 1"));
    let sending = actor.send(1..=300);
    let first = learner.next().await;
    assert_eq!((&*first.actor, first.lag, &first.experience), ("a", 0, &experience(1)));
    first.done();
    assert_eq!(learner.take_in(299).await, (2..=300).collect::<Vec<_>>());
    assert_eq!(sending.await.unwrap(), 300);
    let counters = actor.handle.counters.clone();
    soon("leaving", actor.handle.finished()).await.unwrap();
    assert_eq!(counters.acknowledged.load(Relaxed), 300);
    assert_eq!((counters.sent.load(Relaxed), counters.resent.load(Relaxed)), (300, 0));
    assert_eq!(learner.members.live(), 0, "it left before its lease");
    let total = learner.members.report().total;
    assert_eq!((total.batches, total.transitions, total.environment_steps), (300, 300, 300 * 301 / 2));
    assert_eq!((total.elapsed_us, total.credit_us, total.oracle_us), (3000, 600, 900));
    assert!(total.held_us > 0, "batches were with the learner for some time");
    assert_eq!(learner.members.take_lags().batches, 300);
    assert!(learner.deliveries.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_in_bytes_are_shared_and_one_batch_always_goes() {
    use prost::Message;
    let bytes = experience(1).encode(1).encoded_len();
    let config = ServiceConfig { credits: 100, in_flight_bytes: 2 * bytes, ..service_config() };
    let mut learner = Learner::start(config).await;
    let first = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let (handed, _sending) = first.send_counted(1..=12);
    let (one, two) = (learner.next().await, learner.next().await);
    // Two in flight, one in the queue, and the environment thread waits with the fourth.
    eventually("filling the queue", || handed.load(Relaxed) == 3).await;
    assert_eq!(first.handle.counters.sent.load(Relaxed), 2);

    // Half of it each: less than a batch, so one at a time.
    let second = Actor::start(client_config(&learner.url, "b")).await.unwrap();
    let _sending = second.send_counted(101..=112).1;
    let hers = learner.next().await;
    assert_eq!(hers.experience.environment_steps, 101);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(second.handle.counters.sent.load(Relaxed), 1);
    one.done();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(first.handle.counters.sent.load(Relaxed), 2, "one of its own is still in flight");
    two.done();
    assert_eq!(learner.next().await.experience.environment_steps, 3);
    hers.done();
    assert_eq!(learner.next().await.experience.environment_steps, 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_bound_what_is_in_flight_and_a_stalled_learner_drops_nobody() {
    let lease = Duration::from_millis(600);
    let config = ServiceConfig { credits: 3, lease, ..service_config() };
    let mut learner = Learner::start(config).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let (handed, sending) = actor.send_counted(1..=12);
    let mut held = std::collections::VecDeque::new();
    for _ in 0..3 {
        held.push_back(learner.next().await);
    }
    let counters = &actor.handle.counters;
    // Three in flight, one in the queue, and the environment thread waits with the fifth.
    eventually("filling the queue", || handed.load(Relaxed) == 4).await;
    assert_eq!(counters.sent.load(Relaxed), 3);
    tokio::time::sleep(lease * 2).await;
    assert_eq!(learner.members.live(), 1, "heartbeats keep the lease while the ingest thread stalls");
    assert_eq!((counters.sent.load(Relaxed), handed.load(Relaxed)), (3, 4));
    assert!(counters.waits.load(Relaxed) >= 1);
    for mark in 4..=12 {
        held.pop_front().unwrap().done();
        let delivery = learner.next().await;
        assert_eq!(delivery.experience.environment_steps, mark);
        assert_eq!(counters.sent.load(Relaxed), mark, "one acknowledged, one sent");
        held.push_back(delivery);
    }
    assert_eq!(sending.await.unwrap(), 12);
    assert!(counters.waited_us.load(Relaxed) > lease.as_micros() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_to_the_ingest_thread_is_backpressure_too() {
    // Sixteen actors with four credits fill the channel's 64 places; the seventeenth waits for one.
    let mut learner = Learner::start(service_config()).await;
    let mut actors = Vec::new();
    for i in 0..17 {
        let actor = Actor::start(client_config(&learner.url, &format!("a{i}"))).await.unwrap();
        actor.send(1..=4).await.unwrap();
        actors.push(actor);
    }
    let sent = || actors.iter().map(|a| a.handle.counters.sent.load(Relaxed)).sum::<u64>();
    eventually("sending", || sent() == 68).await;
    eventually("filling the channel", || learner.members.report().total.batches == 64).await;
    learner.take_in(68).await;
    let acknowledged = || actors.iter().map(|a| a.handle.counters.acknowledged.load(Relaxed)).sum::<u64>();
    eventually("acknowledging", || acknowledged() == 68).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sends_what_is_held_and_frees_a_waiting_environment_thread() {
    let mut learner = Learner::start(ServiceConfig { credits: 1, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let (handed, sending) = actor.send_counted(1..=100);
    let first = learner.next().await;
    eventually("filling the queue", || handed.load(Relaxed) == 2).await;
    actor.stop.cancel();
    let handed = soon("the thread's return", sending).await.unwrap();
    assert_eq!(handed, 2, "one in flight, one in the queue; the third was refused");
    first.done();
    assert_eq!(learner.take_in(1).await, [2]);
    soon("leaving", actor.handle.finished()).await.unwrap();
    assert_eq!(learner.members.live(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_ever_on_a_stalled_learner() {
    let mut learner = Learner::start(service_config()).await;
    let config = ClientConfig { drain: Duration::from_millis(100), ..client_config(&learner.url, "a") };
    let actor = Actor::start(config).await.unwrap();
    actor.send(1..=1).await.unwrap();
    let held = learner.next().await;
    actor.stop.cancel();
    soon("giving up", actor.handle.finished()).await.unwrap();
    drop(held);
    assert!(logs().contains("did not acknowledge everything before the end actor=a lost=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_above_the_limit_is_dropped_and_does_not_block_the_stream() {
    let mut learner = Learner::start(ServiceConfig { max_batch_bytes: 4096, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let large = srnas_wire::Experience { identities: vec![0; 5000], ..experience(1) };
    let sender = actor.handle.experience.clone();
    tokio::task::spawn_blocking(move || sender.send(large)).await.unwrap().unwrap();
    actor.send(2..=2).await.unwrap();
    assert_eq!(learner.take_in(1).await, [2]);
    assert_eq!(actor.handle.counters.oversize.load(Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shutdown_waits_for_what_the_ingest_thread_holds() {
    let mut learner = Learner::start(ServiceConfig { shutdown_grace: PATIENCE, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    actor.send(1..=2).await.unwrap();
    let (first, second) = (learner.next().await, learner.next().await);
    let mut idle = Raw::connect(&learner.url, "idle", 1).await;
    idle.join().await;
    let idle = idle.hello().await;
    learner.shutdown.cancel();
    assert_eq!(idle.end().await, tonic::Code::Unavailable, "nothing is held for it: it need not wait");
    second.done();
    first.done();
    learner.served().await.unwrap();
    eventually("the last acknowledgement", || actor.handle.counters.acknowledged.load(Relaxed) == 2).await;
    assert!(!actor.handle.joined.has_changed().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shutdown_does_not_wait_for_what_the_ingest_thread_dropped() {
    let grace = PATIENCE * 10;
    let mut learner = Learner::start(ServiceConfig { shutdown_grace: grace, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    actor.send(1..=2).await.unwrap();
    let (first, second) = (learner.next().await, learner.next().await);
    learner.shutdown.cancel();
    first.done();
    drop(second);
    learner.served().await.unwrap();
    eventually("the last acknowledgement", || actor.handle.counters.acknowledged.load(Relaxed) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shutdown_does_not_wait_for_ever() {
    let grace = Duration::from_millis(100);
    let mut learner = Learner::start(ServiceConfig { shutdown_grace: grace, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    actor.send(1..=1).await.unwrap();
    let _held = learner.next().await;
    let mut health = HealthClient::new(learner.channel().await);
    let mut watching = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let status = soon("health", watching.message()).await.unwrap().unwrap().status;
    assert_eq!(status, i32::from(ServingStatus::Serving));
    learner.shutdown.cancel();
    let status = soon("health", watching.message()).await.unwrap().unwrap().status;
    assert_eq!(status, i32::from(ServingStatus::NotServing));
    learner.served().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_cannot_work_are_named() {
    let learner = Learner::start(service_config()).await;
    let error = service::bind(learner.address).await.unwrap_err();
    assert!(matches!(error, ServiceError::InUse { address } if address == learner.address));
    assert!(error.to_string().contains(&format!("cannot listen on {}", learner.address)), "{error}");
    let foreign = "192.0.2.1:1".parse().unwrap();
    let error = service::bind(foreign).await.unwrap_err();
    assert!(matches!(error, ServiceError::Listen { address, .. } if address == foreign));
    for wrong in [
        "",
        "learner",
        "ftp://learner:7777",
        "https://learner",
        "http://:7777",
        "http://learner",
        "no spaces:1",
    ] {
        let error = Client::start(client_config(wrong, "a"), CancellationToken::new()).await.unwrap_err();
        assert!(matches!(&error, ClientError::Address { learner, .. } if learner == wrong), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_a_learner_ends_at_its_deadline_or_stop() {
    // Bound and dropped: nobody listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let patience = Duration::from_millis(500);
    let config = ClientConfig { connect_timeout: Some(patience), ..client_config(&unused, "a") };
    let error = soon("giving up", Client::start(config.clone(), CancellationToken::new())).await.unwrap_err();
    assert!(
        matches!(&error, ClientError::Unreachable { reason, .. } if reason.contains("refused")),
        "{error}"
    );
    let stop = CancellationToken::new();
    let forever = ClientConfig { connect_timeout: None, ..config };
    let starting = tokio::spawn(Client::start(forever, stop.clone()));
    stop.cancel();
    let error = soon("stopping", starting).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Stopped { .. }), "{error}");
}
