//! Join: an actor introduces itself, and is taken in or refused with a sentence for a person.

use super::{
    Service, ServiceConfig,
    member::{Applicant, Member},
};
use srnas_basics::text::hex;
use srnas_proto::v1;
use srnas_wire::{PROTOCOL_MAJOR, PROTOCOL_MINOR};
use std::{net::SocketAddr, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tracing::{info, warn};

/// How long a Join waits for the ingest thread to take in what the actor sent before.
const SETTLE: Duration = Duration::from_secs(2);
/// When an actor may ask again that there is no room for: places become free when actors leave or fall silent.
const RETRY: Duration = Duration::from_secs(5);
/// Longest id of an actor, in bytes.
const MAX_ID: usize = 128;
/// Most episodes of one actor.
const MAX_EPISODES: u32 = 1 << 16;

pub(super) async fn join(
    service: &Service,
    request: v1::JoinRequest,
    peer: Option<SocketAddr>,
) -> Result<v1::JoinResponse, Status> {
    let peer = peer.map_or_else(|| "unknown".into(), |p| p.to_string());
    if service.shutdown.is_cancelled() {
        return Err(super::shutting_down());
    }
    if service.members.over().is_cancelled() {
        // Past the end, in gRPC's words: an actor knows by this code that it may leave in peace.
        return Err(Status::out_of_range("the run is over: start the actor again when there is another"));
    }
    if let Err(refusal) = check(service, &request) {
        // A refused id may be anything; as a value it is escaped.
        let (actor, software) = (request.actor_id.as_str(), request.software.as_str());
        warn!(actor, %peer, software, reason = %refusal.message(), "actor is refused");
        return Err(refusal);
    }
    let config = &service.config;
    let applicant = Applicant {
        episodes: episodes(config, &request),
        id: request.actor_id,
        incarnation: request.incarnation,
        software: request.software,
    };
    let actor = applicant.id.clone();
    let member = service.members.join(applicant, config.max_actors).map_err(|_| {
        warn!(%actor, %peer, limit = config.max_actors, "actor is refused: there is no room");
        let reason =
            format!("this learner serves {} actors already; stop some or raise its limit", config.max_actors);
        let details = ErrorDetails::with_retry_info(Some(RETRY));
        Status::with_error_details(Code::ResourceExhausted, reason, details)
    })?;
    let previous_acknowledged = match service.members.departed(&member.id, request.previous_incarnation) {
        None => service.members.recovered(&member.id, request.previous_incarnation),
        // Only what is settled is known to be taken in, so the answer waits for what is under way.
        Some(previous) if previous.settled(SETTLE).await => previous.acknowledged(),
        Some(_) => {
            return Err(Status::unavailable(
                "the learner is still busy with what this actor sent before it re-joined",
            ));
        }
    };
    let (software, live) = (member.software.as_str(), service.members.live());
    info!(%actor, %peer, software, episodes = member.episodes, first_episode = member.first_episode, live, "actor joined");
    Ok(v1::JoinResponse {
        run_id: config.run_id.clone(),
        config: config.config_toml.clone(),
        heartbeat_ms: milliseconds(config.heartbeat),
        lease_ms: milliseconds(config.lease),
        credits: config.credits,
        credit_bytes: config.credit_bytes(service.members.live()) as u64,
        max_batch_bytes: u32::try_from(config.max_batch_bytes).unwrap_or(u32::MAX),
        max_policy_lag: config.max_policy_lag,
        first_episode: member.first_episode,
        total_episodes: config.total_episodes.max(service.members.episodes()),
        seed: seed(config.seed, &member),
        previous_acknowledged,
        episodes: member.episodes,
    })
}

/// Episodes of an actor: its own number, or the configuration's.
fn episodes(config: &ServiceConfig, request: &v1::JoinRequest) -> u32 {
    if request.episodes == 0 { config.episodes_per_actor } else { request.episodes }
}

fn check(service: &Service, request: &v1::JoinRequest) -> Result<(), Status> {
    let id = &request.actor_id;
    if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "the actor's id {id:?} is not 1 to {MAX_ID} bytes without control characters; choose another with --id"
        )));
    }
    if request.protocol_major != PROTOCOL_MAJOR {
        return Err(Status::failed_precondition(format!(
            "actor `{id}` ({}) speaks protocol {}.{}, this learner {PROTOCOL_MAJOR}.{PROTOCOL_MINOR}: run the same \
             release of srnas on both sides",
            request.software, request.protocol_major, request.protocol_minor
        )));
    }
    if request.incarnation == 0 || !(1..=MAX_EPISODES).contains(&episodes(&service.config, request)) {
        return Err(Status::invalid_argument(format!(
            "actor `{id}` has incarnation {} and {} episodes; the first must not be 0, the second be 1 to \
             {MAX_EPISODES} (--episodes)",
            request.incarnation, request.episodes
        )));
    }
    let config = &service.config;
    let theirs =
        (request.layout_hash, request.candidate_features as usize, request.context_features as usize);
    let ours = (config.layout_hash, config.features[0], config.features[1]);
    if theirs != ours {
        return Err(Status::failed_precondition(format!(
            "actor `{id}` ({}) makes observations of {} candidate and {} context features (layout {:016x}), this \
             learner of {} and {} (layout {:016x}): run the same release of srnas on both sides",
            request.software, theirs.1, theirs.2, theirs.0, ours.1, ours.2, ours.0
        )));
    }
    for needed in &config.benchmarks {
        let name = &needed.name;
        let Some(found) = request.benchmarks.iter().find(|b| b.name == *name) else {
            return Err(Status::failed_precondition(format!(
                "actor `{id}` has no benchmark `{name}`, which this run's tasks need: copy the learner's file into a \
                 benchmark directory of the actor"
            )));
        };
        if found.space != needed.space || found.content_hash != needed.content_hash {
            return Err(Status::failed_precondition(format!(
                "actor `{id}` has another benchmark `{name}` (space {}, content {}) than this learner (space {}, \
                 content {}): copy the learner's file over the actor's",
                found.space,
                short_hash(&found.content_hash),
                needed.space,
                short_hash(&needed.content_hash)
            )));
        }
    }
    Ok(())
}

fn short_hash(hash: &[u8]) -> String {
    hex(&hash[..hash.len().min(6)])
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// Differs between actors and between the incarnations of one, and repeats when the run is repeated.
fn seed(run: u64, member: &Member) -> u64 {
    // FNV-1a over the id; the two other parts are spread over all bits by odd factors.
    let id = member
        .id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut seed = id
        .wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .wrapping_add(member.generation.wrapping_mul(0xd1b5_4a32_d192_ed03));
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    seed ^ (seed >> 31)
}
