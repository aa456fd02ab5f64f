//! Who may join, who is dropped, and who takes whose place.

use crate::harness::*;
use srnas_actor::client::{ClientConfig, ClientError};
use srnas_learner::service::{BenchmarkDigest, ServiceConfig};
use srnas_proto::v1::{self, RejectReason};
use std::time::{Duration, Instant};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tonic::Code;
use tonic_types::StatusExt;

/// The refusal that a client gets; the learner's operator must find the same sentence under the actor's name.
async fn refused(config: ClientConfig) -> (Code, String) {
    let actor = config.actor.clone();
    let Err(ClientError::Refused { reason, code, .. }) = Actor::start(config).await else {
        panic!("{actor} is not refused");
    };
    let told = |line: &str| {
        line.contains("WARN") && line.contains(&format!("actor={actor:?}")) && line.contains(&reason)
    };
    assert!(logs().lines().any(told), "not in the learner's log: {reason}");
    (code, reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_do_not_fit_are_refused_with_a_sentence() {
    let learner = Learner::start(service_config()).await;
    let config = |actor: &str| client_config(&learner.url, actor);

    let (code, reason) = refused(ClientConfig { layout_hash: 0xdef, ..config("layout") }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        reason.contains("layout 0000000000000def") && reason.contains("layout 0000000000000abc"),
        "{reason}"
    );
    let (code, reason) = refused(ClientConfig { candidate_features: 3, ..config("features") }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(reason.contains("of 3 candidate and 1 context features"), "{reason}");
    let (code, reason) = refused(ClientConfig { benchmarks: vec![], ..config("missing") }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(reason.contains("has no benchmark `toy`"), "{reason}");
    let other = v1::Benchmark { content_hash: vec![2; 32].into(), ..benchmark() };
    let (code, reason) = refused(ClientConfig { benchmarks: vec![other], ..config("content") }).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(reason.contains("content 020202020202") && reason.contains("content 010101010101"), "{reason}");
    for (code, reason) in [
        refused(ClientConfig { episodes: 0, ..config("no episodes") }).await,
        refused(ClientConfig { episodes: u32::MAX, ..config("many episodes") }).await,
        refused(config("")).await,
        refused(config("two\nlines")).await,
        refused(config(&"x".repeat(129))).await,
    ] {
        assert_eq!(code, Code::InvalidArgument, "{reason}");
    }
    assert_eq!(learner.members.live(), 0);
    assert!(Actor::start(config("fits")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_major_version_is_refused() {
    let learner = Learner::start(service_config()).await;
    let mut raw = Raw::connect(&learner.url, "old", 1).await;
    let request = v1::JoinRequest {
        protocol_major: 9,
        protocol_minor: 4,
        software: "srnas 9.4".into(),
        actor_id: "old".into(),
        incarnation: 1,
        episodes: 1,
        ..v1::JoinRequest::default()
    };
    let status = raw.learner.join(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let ours = format!("{}.{}", srnas_wire::PROTOCOL_MAJOR, srnas_wire::PROTOCOL_MINOR);
    let reason = format!(
        "actor `old` (srnas 9.4) speaks protocol 9.4, this learner {ours}: run the same release of srnas on both sides"
    );
    assert_eq!(status.message(), reason);
    assert!(logs().contains(&reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_without_a_wish_walks_as_many_episodes_as_the_run_says() {
    let learner = Learner::start(ServiceConfig { episodes_per_actor: 6, ..service_config() }).await;
    let config = |actor, episodes| ClientConfig { episodes, ..client_config(&learner.url, actor) };
    // Both stay: one that leaves frees its place.
    let obliging = Actor::start(config("obliging", 0)).await.unwrap();
    let wishful = Actor::start(config("wishful", 2)).await.unwrap();
    assert_eq!((obliging.joined.first_episode, obliging.joined.episodes), (0, 6));
    let joined = &wishful.joined;
    assert_eq!((joined.first_episode, joined.episodes, joined.total_episodes), (6, 2, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_has_room_for_so_many() {
    let benchmarks: Vec<BenchmarkDigest> = Vec::new();
    let learner = Learner::start(ServiceConfig { max_actors: 1, benchmarks, ..service_config() }).await;
    let first = Actor::start(client_config(&learner.url, "first")).await.unwrap();
    let mut raw = Raw::connect(&learner.url, "second", 1).await;
    let request = v1::JoinRequest {
        protocol_major: 1,
        actor_id: "second".into(),
        incarnation: 1,
        layout_hash: 0xabc,
        candidate_features: 2,
        context_features: 1,
        episodes: 1,
        ..v1::JoinRequest::default()
    };
    let status = raw.learner.join(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(asked, Some(Duration::from_secs(5)));
    // Who must wait longer than it has patience for gives up when that is at its end, and says what it met.
    let since = Instant::now();
    let impatient = ClientConfig {
        connect_timeout: Some(Duration::from_secs(4)),
        ..client_config(&learner.url, "impatient")
    };
    let error = Actor::start(impatient).await.err().expect("there is no room");
    assert!(
        matches!(&error, ClientError::Unreachable { reason, .. } if reason.contains("serves 1 actors")),
        "{error}"
    );
    assert!(since.elapsed() >= Duration::from_secs(4), "{:?}", since.elapsed());
    // The client takes that for a no of the moment, and gets in when there is room.
    let url = learner.url.clone();
    let waiting = tokio::spawn(async move { Actor::start(client_config(&url, "second")).await });
    soon("leaving", first.handle.finished()).await.unwrap();
    assert!(soon("joining", waiting).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_silent_are_dropped_at_their_lease() {
    let lease = Duration::from_millis(400);
    let learner = Learner::start(ServiceConfig { lease, ..service_config() }).await;
    let lively = Actor::start(client_config(&learner.url, "lively")).await.unwrap();
    let mut raw = Raw::connect(&learner.url, "silent", 1).await;
    let answer = raw.join().await;
    assert_eq!((answer.first_episode, answer.total_episodes, answer.lease_ms), (4, 8, 400));
    let mut stream = raw.hello().await;
    stream.acknowledged(0).await;
    let since = Instant::now();
    let (_, reject) = stream.reject().await;
    assert_eq!(reject.reason(), RejectReason::UnknownIncarnation);
    assert_eq!(reject.detail, "the lease ran out: join again");
    assert!(since.elapsed() >= lease - Duration::from_millis(50), "{:?} is too early", since.elapsed());
    assert!(since.elapsed() < lease * 2, "{:?} is too late", since.elapsed());
    let report = learner.members.report();
    assert_eq!(report.live.iter().map(|m| &*m.id).collect::<Vec<_>>(), ["lively"]);
    assert_eq!((report.live[0].first_episode, report.live[0].episodes), (0, 4));
    drop(lively);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_actor_is_dropped_and_its_place_is_free() {
    let lease = Duration::from_millis(400);
    let learner = Learner::start(ServiceConfig { lease, total_episodes: 20, ..service_config() }).await;
    let doomed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = client_config(&learner.url, "doomed");
    let victim = doomed.spawn(Actor::start(config));
    let victim = soon("joining", victim).await.unwrap().unwrap();
    assert_eq!((victim.joined.first_episode, victim.joined.total_episodes), (0, 20));
    let other = Actor::start(client_config(&learner.url, "other")).await.unwrap();
    assert_eq!(other.joined.first_episode, 4);
    doomed.shutdown_background();
    eventually("dropping", || learner.members.live() == 1).await;
    let heir = Actor::start(client_config(&learner.url, "heir")).await.unwrap();
    assert_eq!((heir.joined.first_episode, heir.joined.total_episodes), (0, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_actor_of_the_same_name_puts_the_first_one_out() {
    let mut learner = Learner::start(service_config()).await;
    let first = Actor::start(client_config(&learner.url, "twin")).await.unwrap();
    first.send(1..=1).await.unwrap();
    learner.take_in(1).await;
    let second = Actor::start(client_config(&learner.url, "twin")).await.unwrap();
    assert_ne!(first.joined.seed, second.joined.seed, "a restarted actor does not walk the same walks again");
    assert_eq!(first.joined.first_episode, second.joined.first_episode);
    let error = soon("being put out", first.handle.finished()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Replaced { actor, .. } if actor == "twin"), "{error}");
    assert!(error.to_string().contains("give every actor an id of its own"), "{error}");
    second.send(5..=6).await.unwrap();
    assert_eq!(learner.take_in(2).await, [5, 6]);
    assert_eq!(learner.members.live(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_keep_nobody_out() {
    let mut learner = Learner::start(ServiceConfig { max_actors: 1, ..service_config() }).await;
    let actor = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(learner.address).await.unwrap());
    }
    // The oldest made room for the others, and whoever speaks is heard at once.
    let _ = soon("being closed", silent[0].read_to_end(&mut Vec::new())).await;
    assert!(logs().contains("others came while it said nothing"));
    let twin = Actor::start(client_config(&learner.url, "a")).await.unwrap();
    assert!(soon("being put out", actor.handle.finished()).await.is_err());
    twin.send(1..=1).await.unwrap();
    assert_eq!(learner.take_in(1).await, [1]);
    // Whoever stays silent is cut, also where nobody comes.
    let last = silent.last_mut().unwrap();
    let _ = soon("being cut", last.read_to_end(&mut Vec::new())).await;
    twin.send(2..=2).await.unwrap();
    assert_eq!(learner.take_in(1).await, [2]);
}
