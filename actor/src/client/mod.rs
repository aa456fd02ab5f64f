//! The actor's client: joins the learner, streams experience to it, follows its policy, and outlives its restarts.
//!
//! The environment thread hands batches to an [`ExperienceSender`] and reads the newest policy from a watch. What the
//! learner did not acknowledge is kept and sent again, so a restarted learner or a broken network loses nothing.

pub(crate) mod connection;
mod counters;
pub mod encounter;
mod experience;
mod policy;
mod sender;
mod unacknowledged;

pub use counters::ClientCounters;
use counters::add;
pub use sender::{ExperienceSender, Stopped};

use connection::{Backoff, Connection, JoinError, Link};
use encounter::Meant;
use experience::{End, Uplink};
use srnas_proto::v1;
use srnas_security::ClientSecurity;
use srnas_wire::Snapshot;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};
use unacknowledged::Unacknowledged;

/// A session that lasted so long was a good one: the next attempt follows it quickly.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// What the client says of itself and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address of the learner, such as `http://learner:7777`; without a scheme it is http.
    pub learner: String,
    /// Name of the actor; the same over restarts, and nobody else's.
    pub actor: String,
    /// Version of the program, for the learner's log.
    pub software: String,
    /// Hash of the observation layout.
    pub layout_hash: u64,
    /// Features of a candidate row.
    pub candidate_features: u32,
    /// Features of a context row.
    pub context_features: u32,
    /// The benchmarks that were found.
    pub benchmarks: Vec<v1::Benchmark>,
    /// Episodes that are walked at the same time; 0: as many as the run's configuration says.
    pub episodes: u32,
    /// How long to look for a learner that is not there, or not any more; `None`: for ever, with a log line now and then.
    pub connect_timeout: Option<Duration>,
    /// Batches that may wait for credit before the environment thread has to.
    pub queue: usize,
    /// How long the end waits for the last acknowledgements.
    pub drain: Duration,
    /// What the learner is shown, and which learner is trusted.
    pub security: ClientSecurity,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            learner: "http://127.0.0.1:7777".into(),
            actor: String::new(),
            software: concat!("srnas ", env!("CARGO_PKG_VERSION")).into(),
            layout_hash: 0,
            candidate_features: 0,
            context_features: 0,
            benchmarks: Vec::new(),
            episodes: 1,
            connect_timeout: None,
            queue: 2,
            drain: Duration::from_secs(3),
            security: ClientSecurity::default(),
        }
    }
}

/// What the learner answered to Join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The incarnation that joined.
    pub incarnation: u64,
    /// Name of the run.
    pub run_id: String,
    /// The resolved configuration of the run, TOML.
    pub config: String,
    /// An idle stream says that it lives this often.
    pub heartbeat: Duration,
    /// Who is silent for so long is dropped.
    pub lease: Duration,
    /// Batches in flight at first.
    pub credits: u32,
    /// Bytes in flight at first.
    pub credit_bytes: u64,
    /// Larger batches would be refused.
    pub max_batch_bytes: usize,
    /// Transitions of policies older than so many versions are refused.
    pub max_policy_lag: u32,
    /// Place of this actor's first episode among those of the run, for the exploration rates.
    pub first_episode: u32,
    /// Episodes of the run.
    pub total_episodes: u32,
    /// Episodes that this actor is to walk at the same time.
    pub episodes: u32,
    /// Seed of this actor's random draws.
    pub seed: u64,
    /// What the learner took in of the incarnation before.
    previous_acknowledged: u64,
}

impl Joined {
    fn new(incarnation: u64, response: v1::JoinResponse) -> Joined {
        Joined {
            incarnation,
            run_id: response.run_id,
            config: response.config,
            heartbeat: Duration::from_millis(response.heartbeat_ms.max(10).into()),
            lease: Duration::from_millis(response.lease_ms.into()),
            credits: response.credits,
            credit_bytes: response.credit_bytes,
            max_batch_bytes: response.max_batch_bytes as usize,
            max_policy_lag: response.max_policy_lag,
            first_episode: response.first_episode,
            total_episodes: response.total_episodes,
            episodes: response.episodes,
            seed: response.seed,
            previous_acknowledged: response.previous_acknowledged,
        }
    }
}

/// Why the client gave up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address cannot be one of a learner.
    #[error(
        "`{learner}` is not the address of a learner: {reason}; expected http://HOST:PORT or https://HOST:PORT"
    )]
    Address {
        /// What was given.
        learner: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The learner does not want this actor; asking again would not help.
    #[error("{learner} refused: {reason}")]
    Refused {
        /// Address of the learner.
        learner: String,
        /// The learner's sentence.
        reason: String,
        /// Its status code.
        code: Code,
    },
    /// The certificates do not do; asking again would not help.
    #[error("no secure connection to learner {learner}: {reason}")]
    Untrusted {
        /// Address of the learner.
        learner: String,
        /// What is wrong with whose certificate, and what to do.
        reason: String,
    },
    /// No learner answered in the time given.
    #[error(
        "no {} at {learner} after {:.0} s ({reason}); start one, or correct the address",
        meant.noun(),
        waited.as_secs_f64()
    )]
    Unreachable {
        /// Address of the learner.
        learner: String,
        /// What was looked for.
        meant: Meant,
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt met.
        reason: String,
    },
    /// Somebody else answers there; asking again would not help.
    #[error("no {} at {learner}: {reason}", meant.noun())]
    Misdirected {
        /// What was asked.
        learner: String,
        /// What was looked for.
        meant: Meant,
        /// Who answers, and what to do.
        reason: String,
    },
    /// Another process has this actor's name.
    #[error("actor `{actor}` was put out by learner {learner}: {reason}")]
    Replaced {
        /// Name of the actor.
        actor: String,
        /// Address of the learner.
        learner: String,
        /// The learner's sentence.
        reason: String,
    },
    /// The learner came back with another run, whose tasks are not those of this actor.
    #[error(
        "learner {learner} now serves run `{now}` instead of `{before}`; start the actor again to work for it"
    )]
    OtherRun {
        /// Address of the learner.
        learner: String,
        /// Run that was joined first.
        before: String,
        /// Run that is served now.
        now: String,
    },
    /// Stopped before it had joined.
    #[error("stopped while joining learner {learner}")]
    Stopped {
        /// Address of the learner.
        learner: String,
    },
    /// The learner's run is over: nothing is needed of this actor.
    #[error("the run of learner {learner} is over; start the actor again when there is another")]
    Over {
        /// Address of the learner.
        learner: String,
    },
    /// The client's task panicked.
    #[error("the client of learner {learner} broke down: {reason}; this is a bug in srnas")]
    Broken {
        /// Address of the learner.
        learner: String,
        /// What the runtime says.
        reason: String,
    },
}

/// The environment's side of a running client.
#[derive(Debug)]
pub struct ClientHandle {
    /// Takes batches; may be cloned. When the last clone is dropped, the client sends what is left and ends.
    pub experience: ExperienceSender,
    /// The newest policy that arrived whole.
    pub policy: watch::Receiver<Option<Arc<Snapshot>>>,
    /// The newest answer to Join: it changes when the client had to join again.
    pub joined: watch::Receiver<Joined>,
    /// What happened so far.
    pub counters: Arc<ClientCounters>,
    learner: String,
    task: JoinHandle<Result<(), ClientError>>,
}

impl ClientHandle {
    /// Waits until the client ended: after its `stop`, after the last [`ExperienceSender`] was dropped (this handle's
    /// own goes here), or because it failed.
    ///
    /// # Errors
    /// Why it gave up: [`ClientError::Replaced`], [`ClientError::OtherRun`], or [`ClientError::Refused`],
    /// [`ClientError::Misdirected`], [`ClientError::Untrusted`] and [`ClientError::Unreachable`] when it connected or joined
    /// again.
    pub async fn finished(self) -> Result<(), ClientError> {
        drop(self.experience);
        let reason =
            |e: tokio::task::JoinError| ClientError::Broken { learner: self.learner, reason: e.to_string() };
        self.task.await.map_err(reason)?
    }
}

/// Starts clients.
#[derive(Debug)]
pub struct Client;

impl Client {
    /// Joins the learner and starts to stream on the current tokio runtime. After `stop` the client sends what it
    /// holds for [`ClientConfig::drain`] at most, leaves, and ends.
    ///
    /// # Errors
    /// [`ClientError::Address`], [`ClientError::Refused`], [`ClientError::Untrusted`], [`ClientError::Unreachable`]
    /// after [`ClientConfig::connect_timeout`], [`ClientError::Stopped`].
    pub async fn start(
        config: ClientConfig,
        stop: CancellationToken,
    ) -> Result<(Joined, ClientHandle), ClientError> {
        let connection = Connection::new(&config)?;
        let since = Instant::now();
        let (link, joined) = tokio::select! {
            result = connection.join(0, give_up(&config, since)) => result,
            () = stop.cancelled() => Err(JoinError::Stopped),
        }
        .map_err(|e| e.explain(&config, since))?;
        let counters = Arc::new(ClientCounters::default());
        let ended = CancellationToken::new();
        let (queue, experiences) = mpsc::channel(config.queue.max(1));
        let (policy, newest_policy) = watch::channel(None);
        let (joins, newest_join) = watch::channel(joined.clone());
        let worker = Worker {
            uplink: Uplink {
                queue: experiences,
                unacknowledged: Unacknowledged::new(joined.max_batch_bytes),
                counters: counters.clone(),
                stop: stop.clone(),
                actor: config.actor.clone(),
            },
            connection,
            policy,
            joins,
            counters: counters.clone(),
            stop,
            ended: ended.clone(),
        };
        let handle = ClientHandle {
            experience: ExperienceSender::new(queue, counters.clone(), ended),
            policy: newest_policy,
            joined: newest_join,
            counters,
            learner: config.learner.clone(),
            task: tokio::spawn(worker.run(config, link)),
        };
        Ok((joined, handle))
    }
}

/// When whoever looks for a learner since then gives up.
fn give_up(config: &ClientConfig, since: Instant) -> Option<Instant> {
    config.connect_timeout.and_then(|patience| since.checked_add(patience))
}

/// The client's task.
struct Worker {
    uplink: Uplink,
    connection: Connection,
    policy: watch::Sender<Option<Arc<Snapshot>>>,
    joins: watch::Sender<Joined>,
    counters: Arc<ClientCounters>,
    stop: CancellationToken,
    /// Fires when the environment thread dropped its side.
    ended: CancellationToken,
}

impl Worker {
    async fn run(mut self, config: ClientConfig, link: Link) -> Result<(), ClientError> {
        let (stop, ended) = (self.stop.clone(), self.ended.clone());
        let overdue = async {
            tokio::select! { () = stop.cancelled() => (), () = ended.cancelled() => () }
            tokio::time::sleep(config.drain).await;
        };
        tokio::select! {
            result = self.sessions(&config, link) => result,
            () = overdue => {
                let (actor, lost) = (&config.actor, self.uplink.unacknowledged.len());
                warn!(%actor, lost, "the learner did not acknowledge everything before the end");
                Ok(())
            }
        }
    }

    /// One session after the other: each is a connection with its two streams.
    async fn sessions(&mut self, config: &ClientConfig, mut link: Link) -> Result<(), ClientError> {
        // Against sessions that break as soon as they begin.
        let mut backoff = Backoff::default();
        let (actor, learner) = (&config.actor, &config.learner);
        loop {
            let joined = self.joins.borrow().clone();
            let request = v1::PolicyRequest { actor_id: actor.clone(), incarnation: joined.incarnation };
            let began = Instant::now();
            let end = tokio::select! {
                end = self.uplink.session(link.clone(), &joined) => end,
                never = policy::follow(link, request, &self.policy, &self.counters) => match never {},
            };
            if began.elapsed() > GOOD_SESSION {
                backoff = Backoff::default();
            }
            link = match end {
                End::Finished => return Ok(()),
                End::Over => {
                    info!(%actor, %learner, "the run is over");
                    return Ok(());
                }
                End::Replaced(reason) => {
                    return Err(ClientError::Replaced {
                        actor: actor.clone(),
                        learner: learner.clone(),
                        reason,
                    });
                }
                End::Lost(reason) => {
                    add(&self.counters.disconnects, 1);
                    warn!(%actor, %learner, %reason, "connection lost: connecting again");
                    tokio::time::sleep(backoff.next()).await;
                    let since = Instant::now();
                    let connecting = self.connection.connect(give_up(config, since));
                    connecting.await.map_err(|error| error.explain(config, since))?
                }
                End::Refused(refusal) => return Err(refusal.explain(config, began)),
                End::Forgotten(reason) => {
                    info!(%actor, %learner, %reason, "joining again");
                    tokio::time::sleep(backoff.next()).await;
                    self.rejoin(config, &joined).await?
                }
            };
        }
    }

    /// Joins as a new incarnation and takes over what the learner does not have yet.
    async fn rejoin(&mut self, config: &ClientConfig, before: &Joined) -> Result<Link, ClientError> {
        let since = Instant::now();
        let (link, joined) = self
            .connection
            .join(before.incarnation, give_up(config, since))
            .await
            .map_err(|error| error.explain(config, since))?;
        if joined.run_id != before.run_id {
            let (learner, before, now) = (config.learner.clone(), before.run_id.clone(), joined.run_id);
            return Err(ClientError::OtherRun { learner, before, now });
        }
        let settled =
            self.uplink.unacknowledged.renumber(joined.previous_acknowledged, joined.max_batch_bytes);
        add(&self.counters.acknowledged, settled);
        add(&self.counters.rejoins, 1);
        let (actor, resend) = (&config.actor, self.uplink.unacknowledged.len());
        info!(%actor, learner = %config.learner, resend, first_episode = joined.first_episode, "joined again");
        self.joins.send_replace(joined);
        Ok(link)
    }
}
