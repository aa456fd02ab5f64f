//! Listening: connections as they come, no more than there is room for, each through its TLS handshake in time; those that
//! say nothing are cut.

use super::{
    refusals::Refusals,
    strangers::{Stranger, Strangers},
};
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{either::Either, sync::CancellationToken};
use tonic::transport::server::Connected;

/// A peer that does not finish its handshake, or has not begun to speak HTTP/2, by then is cut.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A peer that has made no request that it may make by then is cut.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Why a silent peer goes before its time.
const CROWDED: &str = "others came while it said nothing";
/// What HTTP/2 begins with, in bytes.
const PREFACE: usize = 24;
/// How long a peer whose handshake failed may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// Until there may be a free file descriptor again, or a place.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections between here and the server.
const AHEAD: usize = 16;
/// File descriptors that connections leave to files, in any case.
const KEPT: u64 = 32;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    /// Whether it showed a certificate; the handshake has checked it.
    pub certified: bool,
    entry: Arc<Entry>,
}

impl Peer {
    /// It may be here: its connection stays for as long as it lasts.
    pub fn admit(&self) {
        if !self.entry.admitted.swap(true, Ordering::Relaxed) {
            self.entry.stranger.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }
}

/// Whether a connection has shown that it may be here.
#[derive(Debug)]
struct Entry {
    admitted: AtomicBool,
    out: CancellationToken,
    stranger: Mutex<Option<Stranger>>,
}

impl Entry {
    fn of(stranger: Stranger) -> Arc<Self> {
        let out = stranger.out.clone();
        Arc::new(Self { admitted: AtomicBool::new(false), out, stranger: Mutex::new(Some(stranger)) })
    }

    /// Rings after a time, or when the place is another's.
    fn alarm(&self, after: Duration) -> Alarm {
        let out = self.out.clone();
        Box::pin(async move { tokio::time::timeout(after, out.cancelled()).await.is_err() })
    }
}

/// Says whether the time is up; else the place is another's.
type Alarm = Pin<Box<dyn Future<Output = bool> + Send>>;

/// How connections are taken in.
#[derive(Clone)]
pub(crate) struct Doors {
    tls: Option<TlsAcceptor>,
    /// As many connections as this at a time.
    places: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    refusals: Arc<Refusals>,
}

impl Doors {
    /// For `wanted` connections at a time, or as many as file descriptors allow.
    pub fn new(tls: Option<TlsAcceptor>, wanted: usize, refusals: Arc<Refusals>) -> Self {
        let places = most_connections(wanted);
        Self { tls, places: Arc::new(Semaphore::new(places)), strangers: Strangers::new(places), refusals }
    }

    /// The next connection that there is room for.
    pub async fn accept(&self, listener: &TcpListener) -> Accepted {
        loop {
            let (tcp, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.refusals.explain("unknown", "a connection cannot be taken in", error);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Whoever was put out for others takes a moment to go.
            let place = tokio::time::timeout(PAUSE, self.places.clone().acquire_owned()).await;
            let Ok(Ok(place)) = place else {
                self.refusals.tell(address, "there are as many connections as this learner takes");
                continue;
            };
            let stranger = self.strangers.enter(address.ip());
            let _ = tcp.set_nodelay(true);
            return Accepted { tcp, address, place, stranger };
        }
    }

    /// A connection whose peer says what it wants, and no more, in the time of an introduction.
    pub fn visit(&self, accepted: Accepted) -> Connection {
        let Accepted { tcp, address, place, stranger } = accepted;
        let peer = Peer { address, certified: false, entry: Entry::of(stranger) };
        self.connection(Either::Left(tcp), peer, place, Time::Visit)
    }

    fn connection(
        &self,
        stream: Either<TcpStream, TlsStream<TcpStream>>,
        peer: Peer,
        place: OwnedSemaphorePermit,
        time: Time,
    ) -> Connection {
        let first = if matches!(time, Time::Preface(_)) { HANDSHAKE } else { INTRODUCTION };
        let alarm = peer.entry.alarm(first);
        Connection { stream, peer, time, alarm, refusals: self.refusals.clone(), _place: place }
    }
}

/// A connection that has a place, before its handshake.
pub(crate) struct Accepted {
    tcp: TcpStream,
    pub address: SocketAddr,
    place: OwnedSemaphorePermit,
    stranger: Stranger,
}

/// How many of `wanted` connections the file descriptors of this process allow: files need some too.
fn most_connections(wanted: usize) -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    descriptors.map_or(wanted, |most| wanted.min((most.saturating_sub(KEPT) / 2) as usize)).max(4)
}

/// Takes connections in until `shutdown`; the socket is closed then.
pub(crate) fn connections(
    listener: TcpListener,
    doors: Doors,
    shutdown: CancellationToken,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, connections) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => (),
            () = ready.closed() => (),
            () = accept(&listener, &doors, &ready) => (),
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(listener: &TcpListener, doors: &Doors, ready: &mpsc::Sender<io::Result<Connection>>) {
    loop {
        let accepted = doors.accept(listener).await;
        let (doors, ready) = (doors.clone(), ready.clone());
        tokio::spawn(async move {
            let Accepted { tcp, address, place, stranger } = accepted;
            let refusals = &doors.refusals;
            let stream = match doors.tls.clone() {
                None => Either::Left(tcp),
                Some(tls) => {
                    let in_time = tokio::time::timeout(HANDSHAKE, shake_hands(tls, tcp));
                    match stranger.out.clone().run_until_cancelled(in_time).await {
                        Some(Ok(Ok(stream))) => Either::Right(stream),
                        // What rustls calls a peer whose first words are no TLS.
                        Some(Ok(Err(error))) if error.to_string().contains("InvalidContentType") => {
                            return refusals.tell(address, "it speaks without TLS: here it is https://");
                        }
                        Some(Ok(Err(error))) => {
                            return refusals.explain(address, "its TLS handshake failed", error);
                        }
                        Some(Err(_)) => return refusals.tell(address, "its TLS handshake took too long"),
                        None => return refusals.tell(address, CROWDED),
                    }
                }
            };
            let certified = match &stream {
                Either::Left(_) => false,
                Either::Right(tls) => tls.get_ref().1.peer_certificates().is_some(),
            };
            let peer = Peer { address, certified, entry: Entry::of(stranger) };
            let connection = doors.connection(stream, peer, place, Time::Preface(0));
            // Refused only when the server has ended.
            let _ = ready.send(Ok(connection)).await;
        });
    }
}

async fn shake_hands(tls: TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    match tls.accept(tcp).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, mut tcp)) => {
            // Closed with bytes unread, the connection would be reset, and the peer not learn what it did wrong.
            let lingering = async {
                tcp.shutdown().await?;
                let mut rest = [0; 1024];
                while tcp.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = tokio::time::timeout(LINGER, lingering).await;
            Err(error)
        }
    }
}

/// What a connection's time is for.
#[derive(Clone, Copy, Debug)]
enum Time {
    /// To begin with HTTP/2; so many bytes of it are there.
    Preface(usize),
    /// To make a first request that it may make.
    Introduction,
    /// For everything.
    Visit,
    /// It is over, and this is why.
    Over(&'static str),
}

/// A connection with its place among those that there is room for.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    peer: Peer,
    time: Time,
    alarm: Alarm,
    refusals: Arc<Refusals>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// Whether the peer may take its time still.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Time::Over(reason) = self.time {
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        while !self.peer.entry.admitted.load(Ordering::Relaxed) {
            let Poll::Ready(time_is_up) = self.alarm.as_mut().poll(context) else { return Ok(()) };
            let reason = match self.time {
                _ if !time_is_up => CROWDED,
                Time::Preface(PREFACE..) => {
                    self.time = Time::Introduction;
                    self.alarm = self.peer.entry.alarm(INTRODUCTION - HANDSHAKE);
                    continue;
                }
                Time::Preface(_) => "it said nothing",
                Time::Introduction => "it made no request that it may make",
                Time::Visit => "its request took too long",
                Time::Over(reason) => reason,
            };
            self.refusals.tell(self.peer.address, reason);
            self.time = Time::Over(reason);
            return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Time::Preface(heard) = &mut self.time {
            *heard += buffer.filled().len() - before;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn connections_beyond_the_places_are_closed_and_counted_again_when_others_end() {
        let (listener, address) = listener().await;
        let doors = Doors::new(None, 4, Arc::default());
        let mut held = Vec::new();
        for _ in 0..4 {
            let client = TcpStream::connect(address).await.unwrap();
            held.push((client, doors.accept(&listener).await));
        }
        let (mut surplus, mut byte) = (TcpStream::connect(address).await.unwrap(), [0]);
        tokio::select! {
            _ = doors.accept(&listener) => panic!("taken in"),
            closed = surplus.read(&mut byte) => assert_eq!(closed.unwrap_or(0), 0),
        }
        held.pop();
        let _next = TcpStream::connect(address).await.unwrap();
        doors.accept(&listener).await;
    }

    /// Seconds until a connection of which `said` is said is cut, if it is within a minute.
    async fn cut(said: &[u8], admit: bool, visit: bool) -> Option<u64> {
        let (listener, address) = listener().await;
        let doors = Doors::new(None, 64, Arc::default());
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said).await.unwrap();
        let mut connection = match visit {
            true => doors.visit(doors.accept(&listener).await),
            false => {
                let connections = connections(listener, doors, CancellationToken::new());
                tokio::pin!(connections);
                tokio_stream::StreamExt::next(&mut connections).await.unwrap().unwrap()
            }
        };
        connection.read_exact(&mut vec![0; said.len()]).await.unwrap();
        if admit {
            connection.connect_info().admit();
        }
        tokio::time::pause();
        let began = tokio::time::Instant::now();
        let mut rest = [0; 8];
        let read = tokio::time::timeout(Duration::from_secs(60), connection.read(&mut rest)).await;
        let elapsed = began.elapsed().as_secs();
        tokio::time::resume();
        let error = read.ok()?.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(connection.write_all(b"x").await.is_err(), "it is not cut");
        Some(elapsed)
    }

    #[tokio::test]
    async fn whoever_says_nothing_is_cut_and_whoever_may_be_here_is_not() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(cut(b"", false, false).await, Some(5));
        assert_eq!(cut(&preface[..20], false, false).await, Some(5));
        assert_eq!(cut(preface, false, false).await, Some(10));
        assert_eq!(cut(preface, true, false).await, None);
        assert_eq!(cut(b"GET", false, true).await, Some(10));
    }
}
