//! HTTP for operators: the page for people, `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever starts and stops
//! processes.

use crate::{
    failures::Failures,
    metrics::{self, Reading},
    progress::Progress,
    service::{
        Members,
        listening::{Connection, Doors},
        refusals::Refusals,
    },
};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use srnas_page::{Pages, routes};
use srnas_security::Token;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Connections at a time.
const CONNECTIONS: usize = 256;
/// How long the end waits for answers under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why there is no HTTP.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another program listens there.
    #[error(
        "cannot serve HTTP on {address}: the address is in use; stop the other program (`ss -ltnp` shows it) or \
         choose another port with --http"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot serve HTTP on {address}: {source}; choose an address of this machine with --http")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// Listens for HTTP on `address` (port 0: any free one).
///
/// # Errors
/// A port in use is said so.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, HttpError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::InUse { address },
        _ => HttpError::Listen { address, source },
    })
}

/// What the answers are read from.
pub(crate) struct Outlook {
    /// Its other end is the learner's thread, and gone with it.
    pub progress: watch::Receiver<Progress>,
    pub members: Arc<Members>,
    pub failures: Arc<Failures>,
    /// What `/metrics` asks of whoever comes; health and readiness are open.
    pub token: Option<Token>,
    /// What is done until then.
    pub doing: watch::Receiver<String>,
    /// Cancelled when the tasks are built and actors may join.
    pub open: CancellationToken,
    /// Cancelled when no more experience is taken in.
    pub over: CancellationToken,
}

impl Outlook {
    /// Whether the learner's thread is there, or still to come; else the process is of no use any more.
    fn alive(&self) -> Result<(), &'static str> {
        match self.progress.has_changed() {
            Ok(_) => Ok(()),
            Err(_) => Err("the learner's thread has ended"),
        }
    }

    /// Whether actors may join and the learner trains; else why not.
    fn ready(&self) -> Result<(), String> {
        self.alive()?;
        if self.over.is_cancelled() {
            return Err("training is over: the policy is being checked and exported".into());
        }
        if !self.open.is_cancelled() {
            return Err(format!("the learner is not ready yet: it {}", *self.doing.borrow()));
        }
        match self.failures.unwritten() {
            None => Ok(()),
            Some(reason) => Err(format!("nothing is acknowledged until the disk has room: {reason}")),
        }
    }
}

/// Serves until `shutdown`: what is said of the learner, and its page. A failure is logged: training does not depend on it.
pub(crate) async fn serve(
    listener: TcpListener,
    outlook: Arc<Outlook>,
    pages: Arc<Pages>,
    shutdown: CancellationToken,
) {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(outlook);
    let what = "a page, /metrics, /healthz and /readyz";
    serve_routes(listener, router.merge(routes(pages)), what, shutdown).await;
}

/// Serves pages alone until `shutdown`, and `/healthz`, by which whoever starts and stops processes sees that they are served. A
/// failure is logged.
pub async fn serve_pages(listener: TcpListener, pages: Arc<Pages>, shutdown: CancellationToken) {
    let router = Router::new().route("/healthz", get(async || "ok\n"));
    serve_routes(listener, router.merge(routes(pages)), "a page", shutdown).await;
}

async fn serve_routes(listener: TcpListener, router: Router, what: &str, shutdown: CancellationToken) {
    let address = listener.local_addr().map_or_else(|_| "an unknown address".into(), |a| a.to_string());
    let router = router.layer(map_response(closing));
    let doors = Doors::new(None, CONNECTIONS, Arc::new(Refusals::default()));
    let server = axum::serve(Visits { listener, doors }, router)
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    // Whoever does not read its answer is not waited for.
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    info!(%address, "HTTP serves {what}");
    tokio::select! {
        served = server => if let Err(error) = served {
            warn!(%address, %error, "HTTP is not served any more");
        },
        () = overdue => {}
    }
}

/// A connection for each request: whoever stays has nothing more to say.
async fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Connections of visitors, who have little time.
struct Visits {
    listener: TcpListener,
    doors: Doors,
}

impl axum::serve::Listener for Visits {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let accepted = self.doors.accept(&self.listener).await;
        let address = accepted.address;
        (self.doors.visit(accepted), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn scrape(State(outlook): State<Arc<Outlook>>, headers: HeaderMap) -> Response {
    let shown = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if outlook.token.as_ref().is_some_and(|token| !token.is_in(shown)) {
        let reason = "this learner asks for its token: send it as `Authorization: Bearer TOKEN`\n";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], reason).into_response();
    }
    let (progress, members) = (outlook.progress.borrow().clone(), outlook.members.report());
    let ready = outlook.ready().is_ok();
    let text = metrics::render(&Reading {
        progress: &progress,
        members: &members,
        failures: &outlook.failures,
        ready,
        over: outlook.over.is_cancelled(),
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn health(State(outlook): State<Arc<Outlook>>) -> (StatusCode, String) {
    answer(outlook.alive(), "ok\n")
}

async fn readiness(State(outlook): State<Arc<Outlook>>) -> (StatusCode, String) {
    answer(outlook.ready(), "ready\n")
}

fn answer(state: Result<(), impl std::fmt::Display>, well: &str) -> (StatusCode, String) {
    match state {
        Ok(()) => (StatusCode::OK, well.into()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    struct Server {
        address: SocketAddr,
        progress: watch::Sender<Progress>,
        outlook: Arc<Outlook>,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (progress, reports) = watch::channel(Progress::default());
        let outlook = Arc::new(Outlook {
            progress: reports,
            members: Arc::new(Members::new()),
            failures: Arc::default(),
            token: None,
            doing: watch::channel("builds the run's tasks".into()).1,
            open: CancellationToken::new(),
            over: CancellationToken::new(),
        });
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, outlook.clone(), no_pages(), shutdown.clone()));
        Server { address, progress, outlook, shutdown, task }
    }

    fn no_pages() -> Arc<Pages> {
        Arc::new(Pages::start(Vec::new(), None).unwrap())
    }

    impl Server {
        /// Status and body.
        async fn get(&self, path: &str) -> (u16, String) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: srnas\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.split(' ').nth(1).unwrap().parse().unwrap(), body.into())
        }
    }

    #[tokio::test]
    async fn readiness_follows_the_run_and_health_the_thread() {
        let mut server = start().await;
        assert_eq!(server.get("/healthz").await, (200, "ok\n".into()));
        assert_eq!(
            server.get("/readyz").await,
            (503, "the learner is not ready yet: it builds the run's tasks\n".into())
        );
        server.outlook.open.cancel();
        server.progress.send_replace(Progress { updates: 41, ..Progress::default() });
        assert_eq!(server.get("/readyz").await, (200, "ready\n".into()));
        let (status, metrics) = server.get("/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains("\nsrnas_updates_total 41\n") && metrics.contains("\nsrnas_ready 1\n"));
        server.outlook.failures.ledger_fails("the ledger out/ledger.sqlite: database or disk is full".into());
        let (status, why) = server.get("/readyz").await;
        assert!(status == 503 && why.contains("disk is full"), "{status} {why}");
        assert!(server.get("/metrics").await.1.contains("\nsrnas_ready 0\n"));
        server.outlook.failures.ledger_works();
        assert_eq!(server.get("/readyz").await.0, 200);
        server.outlook.over.cancel();
        assert_eq!(server.get("/readyz").await.0, 503);
        let metrics = server.get("/metrics").await.1;
        assert!(metrics.contains("\nsrnas_ready 0\n") && metrics.contains("\nsrnas_over 1\n"));
        assert_eq!(server.get("/healthz").await.0, 200);
        let (sender, _) = watch::channel(Progress::default());
        drop(std::mem::replace(&mut server.progress, sender));
        for path in ["/healthz", "/readyz"] {
            assert_eq!(server.get(path).await, (503, "the learner's thread has ended\n".into()));
        }
        let Server { address, shutdown, task, .. } = server;
        // A connection that says nothing does not keep it.
        let _silent = TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("it ends").unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_said_so() {
        let server = start().await;
        let error = bind(server.address).await.unwrap_err();
        assert!(matches!(error, HttpError::InUse { .. }));
        assert!(error.to_string().contains("--http"), "{error}");
    }
}
