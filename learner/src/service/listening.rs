//! Listening: connections as they come, no more than there is room for, each through its TLS handshake in time.

use super::refusals::Refusals;
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
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
use tracing::warn;

/// A peer that does not finish its handshake by then is cut.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a peer whose handshake failed may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// Until there may be a free file descriptor again.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections between here and the server.
const AHEAD: usize = 16;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub address: SocketAddr,
    /// Whether it showed a certificate; the handshake has checked it.
    pub certified: bool,
}

/// How connections are taken in.
#[derive(Clone)]
pub(crate) struct Doors {
    pub tls: Option<TlsAcceptor>,
    /// As many connections as this at a time.
    pub places: Arc<Semaphore>,
    pub refusals: Arc<Refusals>,
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
        let (tcp, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection cannot be taken in");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(place) = doors.places.clone().try_acquire_owned() else {
            doors.refusals.tell(address, "there are as many connections as this learner takes");
            continue;
        };
        let _ = tcp.set_nodelay(true);
        let (doors, ready) = (doors.clone(), ready.clone());
        tokio::spawn(async move {
            let stream = match doors.tls {
                None => Either::Left(tcp),
                Some(tls) => match tokio::time::timeout(HANDSHAKE, shake_hands(tls, tcp)).await {
                    Ok(Ok(stream)) => Either::Right(stream),
                    Ok(Err(error)) => return doors.refusals.tell(address, &error.to_string()),
                    Err(_) => return doors.refusals.tell(address, "its TLS handshake took too long"),
                },
            };
            let certified = match &stream {
                Either::Left(_) => false,
                Either::Right(tls) => tls.get_ref().1.peer_certificates().is_some(),
            };
            let peer = Peer { address, certified };
            // Refused only when the server has ended.
            let _ = ready.send(Ok(Connection { stream, peer, _place: place })).await;
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
            Err(io::Error::new(error.kind(), format!("its TLS handshake failed: {error}")))
        }
    }
}

/// A connection with its place among those that there is room for.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
