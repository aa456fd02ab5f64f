//! The learner's gRPC service: who may join, what is taken in, and the newest policy for everybody.
//!
//! Nothing here learns. Batches that pass leave through one bounded channel as [`Delivery`]s to the learner's ingest
//! thread, which says when each is [`done`](Delivery::done): only then is it acknowledged to its actor. If the ingest
//! thread stalls, credits run out and the actors wait.

mod admin;
mod delivery;
mod experience;
pub(crate) mod guard;
mod join;
pub(crate) mod listening;
mod member;
mod members;
pub(crate) mod opening;
mod policy;
pub(crate) mod refusals;
mod strangers;
mod window;

pub use admin::Admin;
pub use delivery::{Acknowledgement, Delivery};
pub use member::{Counters, Lags, MemberReport};
pub use members::{Members, MembersReport, Recovered};

use guard::{BySize, Guard};
use listening::{Doors, Peer};
use refusals::Refusals;
use srnas_proto::{
    DESCRIPTORS,
    v1::{
        self,
        admin_server::AdminServer,
        learner_server::{Learner, LearnerServer},
    },
};
use srnas_security::ServerSecurity;
use srnas_space::SearchSpace;
use srnas_wire::{Shape, Snapshot};
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, service::interceptor::InterceptedService};
use tonic_health::ServingStatus;
use tracing::{info, warn};

/// Flow-control windows: with the defaults of HTTP/2 one connection carries a quarter of this.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A peer that does not answer a ping for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// How long the last message of a stream may take: a peer that reads nothing is not waited for.
const FAREWELL: Duration = Duration::from_secs(1);
/// Messages that carry no batch stay below this, and a batch's message is this much larger than its arrays at most.
const SMALL_MESSAGE: usize = 64 << 10;
/// Calls on one connection at a time: an actor has three.
const STREAMS: u32 = 32;
/// Bytes of a request's headers.
const HEADERS: u32 = 16 << 10;
/// Connections that are no actor's.
const SPARE_CONNECTIONS: usize = 512;

/// What the service needs to know of the run. [`Default`] has the limits; the run's own fields are empty.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Name of the run.
    pub run_id: String,
    /// The resolved configuration, as TOML, for the actors.
    pub config_toml: String,
    /// Sizes of the arrays.
    pub shape: Shape,
    /// Space of the run: what is no architecture of it is malformed. `None`: nobody looks.
    pub space: Option<Arc<SearchSpace>>,
    /// Candidates of an observation at most, looked at with `space`.
    pub max_candidates: usize,
    /// Hash of everything that this release can observe.
    pub layout_hash: u64,
    /// Its candidate and context features. A run may look at some of them only: what it does look at is its `shape`.
    pub features: [usize; 2],
    /// The benchmarks that the run's tasks need; an actor must have the same.
    pub benchmarks: Vec<BenchmarkDigest>,
    /// An idle actor says so this often.
    pub heartbeat: Duration,
    /// An actor that is silent for so long is dropped.
    pub lease: Duration,
    /// Batches that an actor may have in flight.
    pub credits: u32,
    /// Bytes that all actors together may have in flight; each has an equal share, and one batch may always be.
    pub in_flight_bytes: usize,
    /// Largest message with a batch, in bytes.
    pub max_batch_bytes: usize,
    /// Transitions of policies older than so many versions are refused.
    pub max_policy_lag: u32,
    /// Seed of the run, from which each actor's is derived.
    pub seed: u64,
    /// Episodes of an actor that leaves their number to the run.
    pub episodes_per_actor: u32,
    /// Episodes that the run is planned with, over all actors, for the exploration rates. When more join, the later
    /// ones hear of more.
    pub total_episodes: u32,
    /// No more actors than this at a time.
    pub max_actors: usize,
    /// How long the shutdown waits for batches that the ingest thread holds.
    pub shutdown_grace: Duration,
    /// What peers must show.
    pub security: ServerSecurity,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        ServiceConfig {
            run_id: String::new(),
            config_toml: String::new(),
            shape: Shape::default(),
            space: None,
            max_candidates: 0,
            layout_hash: 0,
            features: [0; 2],
            benchmarks: Vec::new(),
            heartbeat: Duration::from_secs(2),
            lease: Duration::from_secs(8),
            credits: 8,
            in_flight_bytes: 64 << 20,
            max_batch_bytes: 8 << 20,
            max_policy_lag: 20,
            seed: 0,
            episodes_per_actor: 0,
            total_episodes: 0,
            max_actors: 1024,
            shutdown_grace: Duration::from_secs(3),
            security: ServerSecurity::default(),
        }
    }
}

impl ServiceConfig {
    /// Bytes that each of `live` actors may have in flight.
    fn credit_bytes(&self, live: usize) -> usize {
        self.in_flight_bytes / live.max(1)
    }
}

/// A benchmark, known by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchmarkDigest {
    /// Name, as in tasks.
    pub name: String,
    /// Name of its search space.
    pub space: String,
    /// SHA-256 of its tensors.
    pub content_hash: Vec<u8>,
}

/// Why there is no service (any more).
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// Another program listens there.
    #[error(
        "cannot listen on {address}: the address is in use; stop the other program (`ss -ltnp` shows it) or choose \
         another port with --listen"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address}: {source}; choose an address of this machine with --listen")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The socket cannot be handed over.
    #[error("cannot go on listening: {0}")]
    Handle(io::Error),
    /// The server failed.
    #[error("the gRPC server on {address} failed: {source}")]
    Serve {
        /// Where it listened.
        address: String,
        /// What tonic says.
        source: tonic::transport::Error,
    },
    /// The generated descriptors cannot be served.
    #[error("gRPC reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Listens on `address` (port 0: any free one).
///
/// # Errors
/// [`ServiceError::InUse`] and [`ServiceError::Listen`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServiceError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServiceError::InUse { address },
        _ => ServiceError::Listen { address, source },
    })
}

/// Serves until `shutdown`: then streams end when the ingest thread has done what it holds, or after
/// [`ServiceConfig::shutdown_grace`].
///
/// # Errors
/// [`ServiceError::Serve`] when the server fails before.
pub async fn serve(
    listener: TcpListener,
    config: ServiceConfig,
    deliveries: mpsc::Sender<Delivery>,
    policy: watch::Receiver<Option<Arc<Snapshot>>>,
    members: Arc<Members>,
    admin: Option<Arc<Admin>>,
    shutdown: CancellationToken,
) -> Result<(), ServiceError> {
    let address = listener.local_addr().map_or_else(|_| "an unknown address".into(), |a| a.to_string());
    let message_limit = config.max_batch_bytes.saturating_add(SMALL_MESSAGE);
    let (lease, grace) = (config.lease, config.shutdown_grace);
    // An actor that joins again has its old connection still.
    let (doors, guard) = doors(&config.security, 2 * config.max_actors + SPARE_CONNECTIONS);
    let service = Arc::new(Service {
        config: Arc::new(config),
        deliveries,
        policy,
        members: members.clone(),
        shutdown: shutdown.clone(),
    });
    let limited = |limit| LearnerServer::from_arc(service.clone()).max_decoding_message_size(limit);
    let learner = BySize { batches: limited(message_limit), others: limited(SMALL_MESSAGE) };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LearnerServer<Service>>().await;
    let server = server()
        .add_service(InterceptedService::new(health_service, guard.open()))
        .add_service(InterceptedService::new(reflection().build_v1()?, guard.clone()))
        .add_service(InterceptedService::new(reflection().build_v1alpha()?, guard.clone()))
        .add_optional_service(
            admin.map(|admin| InterceptedService::new(AdminServer::from_arc(admin), guard.clone())),
        )
        .add_service(InterceptedService::new(learner, guard))
        .serve_with_incoming_shutdown(
            listening::connections(listener, doors, shutdown.clone()),
            shutdown.clone().cancelled_owned(),
        );
    // Streams end by themselves within `grace`; what outlives them (a health watch, a dead peer) is not waited for.
    let overdue = async {
        shutdown.cancelled().await;
        health.set_service_status("", ServingStatus::NotServing).await;
        health.set_not_serving::<LearnerServer<Service>>().await;
        tokio::time::sleep(grace + 2 * FAREWELL).await;
    };
    info!(%address, "learner listens for actors");
    tokio::select! {
        served = server => served.map_err(|source| ServiceError::Serve { address, source }),
        () = overdue => {
            warn!(%address, "some connections did not end in time: they are cut");
            Ok(())
        }
        never = sweep(&members, lease) => match never {},
    }
}

/// How connections are taken in, `places` at a time, and what their requests must show.
pub(crate) fn doors(security: &ServerSecurity, places: usize) -> (Doors, Guard) {
    let refusals = Arc::new(Refusals::default());
    let guard = Guard::new(security, refusals.clone());
    let tls = security.tls.as_ref().map(|tls| tls.config().into());
    (Doors::new(tls, places, refusals), guard)
}

/// A gRPC server with the limits that hold here.
pub(crate) fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .max_concurrent_streams(STREAMS)
        .http2_max_header_list_size(HEADERS)
}

/// What tells clients which services there are.
pub(crate) fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Drops silent actors, for ever.
async fn sweep(members: &Members, lease: Duration) -> Infallible {
    let mut ticks = tokio::time::interval((lease / 8).max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        for member in members.sweep(Instant::now(), lease) {
            let (actor, incarnation, live) = (&member.id, member.incarnation, members.live());
            warn!(%actor, incarnation, lease_s = lease.as_secs_f64(), live, "actor was silent for its whole lease: dropped");
        }
    }
}

/// Implements the wire's `Learner`.
struct Service {
    config: Arc<ServiceConfig>,
    deliveries: mpsc::Sender<Delivery>,
    policy: watch::Receiver<Option<Arc<Snapshot>>>,
    members: Arc<Members>,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Learner for Service {
    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        let peer = request.extensions().get().map(|peer: &Peer| peer.address);
        let response = join::join(self, request.into_inner(), peer).await?;
        Ok(Response::new(response))
    }

    type ExperienceStream = ReceiverStream<Result<v1::ExperienceResponse, Status>>;

    async fn experience(
        &self,
        request: Request<Streaming<v1::ExperienceRequest>>,
    ) -> Result<Response<Self::ExperienceStream>, Status> {
        experience::open(self, request.into_inner()).await.map(Response::new)
    }

    type PolicyStream = ReceiverStream<Result<v1::PolicyChunk, Status>>;

    async fn policy(
        &self,
        request: Request<v1::PolicyRequest>,
    ) -> Result<Response<Self::PolicyStream>, Status> {
        policy::subscribe(self, request.into_inner()).map(Response::new)
    }
}

/// What a stream ends with at shutdown.
fn shutting_down() -> Status {
    Status::unavailable("the learner is shutting down; it will be asked again until it is back")
}
