//! Broken connections, lapsed leases and restarted learners: nothing unacknowledged is lost, nothing counts twice.

use crate::harness::*;
use srnas_actor::client::ClientError;
use srnas_learner::service::ServiceConfig;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_learner_gets_what_was_not_acknowledged_and_no_more() {
    let mut learner = Learner::start(service_config()).await;
    let mut actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let incarnation = actor.joined.incarnation;
    actor.handle.joined.mark_unchanged();
    let sending = actor.send(1..=20);
    assert_eq!(learner.take_in(5).await, [1, 2, 3, 4, 5]);
    let counters = actor.handle.counters.clone();
    eventually("acknowledgement", || counters.acknowledged.load(Relaxed) == 5).await;
    // Delivered and not done: the first learner dies with them.
    let _lost = (learner.next().await, learner.next().await);
    let address = learner.address;
    learner.kill().await;

    let mut learner = Learner::start_at(address, service_config()).await;
    soon("joining again", actor.handle.joined.changed()).await.unwrap();
    assert_ne!(actor.handle.joined.borrow().incarnation, incarnation);
    assert_eq!(learner.take_in(15).await, (6..=20).collect::<Vec<_>>());
    assert_eq!(sending.await.unwrap(), 20);
    soon("leaving", actor.handle.finished()).await.unwrap();
    assert_eq!((counters.acknowledged.load(Relaxed), counters.rejoins.load(Relaxed)), (20, 1));
    assert!(counters.resent.load(Relaxed) >= 2);
    assert!(learner.deliveries.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_resumes_and_delivers_nothing_twice() {
    let mut learner = Learner::start(service_config()).await;
    let wire = Wire::to(learner.address).await;
    let actor = Actor::start(client_config(&wire.url, "a")).await.unwrap();
    let counters = actor.handle.counters.clone();
    let sending = actor.send(1..=200);
    let mut seen = Vec::new();
    for round in 1..=5 {
        seen.extend(learner.take_in(20).await);
        // Two are in the ingest thread's hands while the connection breaks.
        let held = [learner.next().await, learner.next().await];
        wire.cut();
        eventually("noticing", || counters.disconnects.load(Relaxed) >= round).await;
        for delivery in held {
            seen.push(delivery.experience.environment_steps);
            delivery.done();
        }
        wire.mend();
    }
    seen.extend(learner.take_in(200 - seen.len()).await);
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
    assert_eq!(sending.await.unwrap(), 200);
    soon("leaving", actor.handle.finished()).await.unwrap();
    assert_eq!((counters.acknowledged.load(Relaxed), counters.rejoins.load(Relaxed)), (200, 0));
    assert_eq!(learner.members.report().total.batches, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lapsed_lease_the_learner_waits_for_what_it_has_before_the_actor_sends_the_rest() {
    let lease = Duration::from_millis(400);
    let mut learner = Learner::start(ServiceConfig { lease, credits: 3, ..service_config() }).await;
    let wire = Wire::to(learner.address).await;
    let mut actor = Actor::start(client_config(&wire.url, "a")).await.unwrap();
    actor.handle.joined.mark_unchanged();
    let sending = actor.send(1..=8);
    let held = [learner.next().await, learner.next().await, learner.next().await];
    wire.cut();
    eventually("dropping", || learner.members.live() == 0).await;
    wire.mend();
    // Its Join is under way: it is a member again, and its answer waits for the three.
    eventually("joining again", || learner.members.live() == 1).await;
    assert!(!actor.handle.joined.has_changed().unwrap());
    for delivery in held {
        delivery.done();
    }
    soon("joining again", actor.handle.joined.changed()).await.unwrap();
    assert_eq!(learner.take_in(5).await, [4, 5, 6, 7, 8]);
    assert_eq!(sending.await.unwrap(), 8);
    let counters = actor.handle.counters.clone();
    soon("leaving", actor.handle.finished()).await.unwrap();
    assert_eq!((counters.acknowledged.load(Relaxed), counters.resent.load(Relaxed)), (8, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_of_an_incarnation_takes_over() {
    let mut learner = Learner::start(service_config()).await;
    let mut raw = Raw::connect(&learner.url, "a", 3).await;
    raw.join().await;
    let old = raw.hello().await;
    old.batch(&experience(1), 1).await;
    let first = learner.next().await;
    let mut new = raw.hello().await;
    assert_eq!(old.end().await, tonic::Code::Aborted);
    first.done();
    new.acknowledged(1).await;
    new.batch(&experience(2), 2).await;
    assert_eq!(learner.take_in(1).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_with_another_run_ends_the_client() {
    let learner = Learner::start(service_config()).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let address = learner.address;
    learner.kill().await;
    let _learner =
        Learner::start_at(address, ServiceConfig { run_id: "other".into(), ..service_config() }).await;
    // The environment's side is alive: `finished` would drop it, and the client would leave instead.
    let _environment = actor.handle.experience.clone();
    let error = soon("ending", actor.handle.finished()).await.unwrap_err();
    assert!(matches!(&error, ClientError::OtherRun { now, .. } if now == "other"), "{error}");
}
