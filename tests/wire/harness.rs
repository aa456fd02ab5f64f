//! A learner's service without a learner, raw and real clients for it, and a wire that can be cut.

use half::f16;
use srnas_actor::client::{Client, ClientConfig, ClientError, ClientHandle, Joined};
use srnas_learner::service::{self, BenchmarkDigest, Delivery, Members, ServiceConfig, ServiceError};
use srnas_proto::v1::{self, experience_request::Kind, learner_client::LearnerClient};
use srnas_wire::{EpisodeEnds, Experience, Measurements, PROTOCOL_MAJOR, Shape, Snapshot};
use std::{
    io::Write,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Streaming, transport::Channel};

/// Far beyond what anything here takes, and short enough for a person to wait.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const SHAPE: Shape =
    Shape { candidate_features: 2, context_features: 1, decisions: 2, tasks: 1, identities: false };

/// Fails the test when the future takes too long.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Waits for a state that no event announces.
pub async fn eventually(what: &str, mut reached: impl FnMut() -> bool) {
    let polling = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, polling).await;
}

/// One segment of one step, marked by its number of environment steps.
pub fn experience(mark: u64) -> Experience {
    Experience {
        policy_version: 0,
        lengths: vec![1],
        tasks: vec![0],
        counts: vec![2, 1],
        candidates: vec![f16::ONE; 6],
        contexts: vec![f16::ONE; 2],
        actions: vec![1],
        log_probabilities: vec![-0.1],
        rewards: vec![0.5],
        ends: vec![2],
        chosen_values: vec![0.0; 2],
        best_values: vec![0.0; 2],
        identities: Vec::new(),
        measurements: Measurements::default(),
        episodes: EpisodeEnds::default(),
        environment_steps: mark,
        elapsed_us: 10,
        credit_us: 2,
        oracle_us: 3,
    }
}

pub fn measurements() -> Measurements {
    Measurements {
        tasks: vec![0],
        keys: vec![77],
        architectures: vec![1, 2],
        fidelities: vec![1.0],
        values: vec![0.9],
    }
}

pub fn service_config() -> ServiceConfig {
    ServiceConfig {
        run_id: "run".into(),
        config_toml: "seed = 1".into(),
        shape: SHAPE,
        layout_hash: 0xabc,
        features: [2, 1],
        benchmarks: vec![BenchmarkDigest {
            name: "toy".into(),
            space: "nb201".into(),
            content_hash: vec![1; 32],
        }],
        heartbeat: Duration::from_millis(50),
        lease: Duration::from_secs(30),
        credits: 4,
        ..ServiceConfig::default()
    }
}

pub fn benchmark() -> v1::Benchmark {
    v1::Benchmark { name: "toy".into(), space: "nb201".into(), content_hash: vec![1; 32].into() }
}

pub fn client_config(learner: &str, actor: &str) -> ClientConfig {
    ClientConfig {
        learner: learner.into(),
        actor: actor.into(),
        layout_hash: 0xabc,
        candidate_features: 2,
        context_features: 1,
        benchmarks: vec![benchmark()],
        episodes: 4,
        connect_timeout: Some(PATIENCE),
        queue: 1,
        ..ClientConfig::default()
    }
}

/// The service on a runtime of its own, so that it can be killed with all its connections.
pub struct Learner {
    pub url: String,
    pub address: SocketAddr,
    pub members: Arc<Members>,
    pub deliveries: mpsc::Receiver<Delivery>,
    pub policy: watch::Sender<Option<Arc<Snapshot>>>,
    pub shutdown: CancellationToken,
    served: oneshot::Receiver<Result<(), ServiceError>>,
    runtime: Option<Runtime>,
}

impl Learner {
    pub async fn start(config: ServiceConfig) -> Learner {
        Learner::start_at("127.0.0.1:0".parse().unwrap(), config).await
    }

    pub async fn start_at(address: SocketAddr, config: ServiceConfig) -> Learner {
        logs();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let members = Arc::new(Members::new());
        let (delivering, deliveries) = mpsc::channel(64);
        let (policy, newest) = watch::channel(None);
        let shutdown = CancellationToken::new();
        let (bound, address_bound) = oneshot::channel();
        let (ended, served) = oneshot::channel();
        let serving = (members.clone(), shutdown.clone());
        runtime.spawn(async move {
            let listener = service::bind(address).await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            let _ = ended
                .send(service::serve(listener, config, delivering, newest, serving.0, None, serving.1).await);
        });
        let address = soon("listening", address_bound).await.unwrap();
        let url = format!("http://{address}");
        Learner { url, address, members, deliveries, policy, shutdown, served, runtime: Some(runtime) }
    }

    /// A plain connection.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// The next delivery.
    pub async fn next(&mut self) -> Delivery {
        soon("a delivery", self.deliveries.recv()).await.expect("the service runs")
    }

    /// Takes batches in until `n` arrived; their marks.
    pub async fn take_in(&mut self, n: usize) -> Vec<u64> {
        let mut marks = Vec::new();
        for _ in 0..n {
            let delivery = self.next().await;
            marks.push(delivery.experience.environment_steps);
            delivery.done();
        }
        marks
    }

    /// As SIGKILL: every socket is closed when this returns, nothing is said.
    pub async fn kill(mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
    }

    /// Waits for the end of `serve`.
    pub async fn served(&mut self) -> Result<(), ServiceError> {
        soon("the end of the service", &mut self.served).await.unwrap()
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A real client that is stopped when the test ends.
pub struct Actor {
    pub joined: Joined,
    pub handle: ClientHandle,
    pub stop: CancellationToken,
    _guard: DropGuard,
}

impl Actor {
    pub async fn start(config: ClientConfig) -> Result<Actor, ClientError> {
        logs();
        let stop = CancellationToken::new();
        let (joined, handle) = soon("joining", Client::start(config, stop.clone())).await?;
        Ok(Actor { joined, handle, _guard: stop.clone().drop_guard(), stop })
    }

    /// Sends marked batches from a plain thread; ends with the number that were handed over.
    pub fn send(&self, marks: RangeInclusive<u64>) -> JoinHandle<u64> {
        self.send_counted(marks).1
    }

    /// [`Self::send`], with the number handed over so far.
    pub fn send_counted(&self, marks: RangeInclusive<u64>) -> (Arc<AtomicU64>, JoinHandle<u64>) {
        let sender = self.handle.experience.clone();
        let handed = Arc::new(AtomicU64::new(0));
        let counted = handed.clone();
        let sending = tokio::task::spawn_blocking(move || {
            for mark in marks {
                if sender.send(experience(mark)).is_err() {
                    break;
                }
                counted.fetch_add(1, Relaxed);
            }
            counted.load(Relaxed)
        });
        (handed, sending)
    }
}

/// A client that says what it is told to say.
pub struct Raw {
    pub learner: LearnerClient<Channel>,
    pub actor: String,
    pub incarnation: u64,
}

impl Raw {
    pub async fn connect(learner: &str, actor: &str, incarnation: u64) -> Raw {
        let learner = soon("connecting", LearnerClient::connect(learner.to_string())).await.unwrap();
        Raw { learner, actor: actor.into(), incarnation }
    }

    pub async fn join(&mut self) -> v1::JoinResponse {
        let request = v1::JoinRequest {
            protocol_major: PROTOCOL_MAJOR,
            actor_id: self.actor.clone(),
            incarnation: self.incarnation,
            layout_hash: 0xabc,
            candidate_features: 2,
            context_features: 1,
            benchmarks: vec![benchmark()],
            episodes: 4,
            ..v1::JoinRequest::default()
        };
        soon("joining", self.learner.join(request)).await.unwrap().into_inner()
    }

    /// Opens the experience stream with a Hello.
    pub async fn hello(&mut self) -> RawStream {
        let hello = v1::Hello { actor_id: self.actor.clone(), incarnation: self.incarnation };
        self.open(Kind::Hello(hello)).await.unwrap()
    }

    pub async fn open(&mut self, first: Kind) -> Result<RawStream, tonic::Status> {
        let (outbox, requests) = mpsc::channel(64);
        outbox.send(v1::ExperienceRequest { kind: Some(first) }).await.unwrap();
        let call = self.learner.experience(ReceiverStream::new(requests));
        let responses = soon("an answer", call).await?.into_inner();
        Ok(RawStream { outbox, responses })
    }
}

pub struct RawStream {
    pub outbox: mpsc::Sender<v1::ExperienceRequest>,
    pub responses: Streaming<v1::ExperienceResponse>,
}

impl RawStream {
    pub async fn say(&self, kind: Kind) {
        self.outbox.send(v1::ExperienceRequest { kind: Some(kind) }).await.unwrap();
    }

    pub async fn batch(&self, experience: &Experience, sequence: u64) {
        self.say(Kind::Batch(experience.encode(sequence))).await;
    }

    /// The next response.
    pub async fn response(&mut self) -> v1::ExperienceResponse {
        soon("a response", self.responses.message()).await.unwrap().expect("the stream goes on")
    }

    /// The next reject, and what is acknowledged with it.
    pub async fn reject(&mut self) -> (u64, v1::Reject) {
        loop {
            let mut response = self.response().await;
            if let Some(reject) = response.rejects.pop() {
                assert!(response.rejects.is_empty(), "more than one reject");
                return (response.acknowledged, reject);
            }
        }
    }

    /// Waits for this acknowledgement.
    pub async fn acknowledged(&mut self, sequence: u64) {
        loop {
            let response = self.response().await;
            assert!(response.acknowledged <= sequence && response.rejects.is_empty(), "{response:?}");
            if response.acknowledged == sequence {
                return;
            }
        }
    }

    /// The code that the stream ends with.
    pub async fn end(mut self) -> Code {
        let ending = async {
            loop {
                match self.responses.message().await {
                    Ok(Some(_)) => (),
                    Ok(None) => return Code::Ok,
                    Err(status) => return status.code(),
                }
            }
        };
        soon("the end of the stream", ending).await
    }
}

/// A wire between client and learner that can be cut.
pub struct Wire {
    pub url: String,
    whole: watch::Sender<bool>,
}

impl Wire {
    pub async fn to(learner: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    let carry = async {
                        let mut far = TcpStream::connect(learner).await?;
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    };
                    tokio::select! {
                        _ = carry => (),
                        _ = state.wait_for(|whole| !whole) => (),
                    }
                });
            }
        });
        Wire { url, whole }
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// The process's log, for what the learner tells its operator.
pub fn logs() -> String {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = LOG.get_or_init(|| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || Writer(writer.clone())).init();
        log
    });
    String::from_utf8_lossy(&log.lock().unwrap()).into_owned()
}
