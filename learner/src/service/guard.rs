//! Guard: what a request must show before anything of it is read, and how large it may be.

use super::{listening::Peer, refusals::Refusals};
use srnas_proto::v1::learner_server::SERVICE_NAME;
use srnas_security::{ServerSecurity, Token};
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Request, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
    service::Interceptor,
};

/// Lets requests pass that carry the learner's token and come from a peer with a certificate, where these are asked for.
/// Every service goes behind it but `grpc.health.v1`, which container health checks ask.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    token: Option<Token>,
    mutual: bool,
    /// Whether it lets pass whoever comes.
    open: bool,
    refusals: Arc<Refusals>,
}

impl Guard {
    pub fn new(security: &ServerSecurity, refusals: Arc<Refusals>) -> Guard {
        let mutual = security.tls.as_ref().is_some_and(|tls| tls.is_mutual());
        Guard { token: security.token.clone(), mutual, open: false, refusals }
    }

    /// For a service that answers whoever asks. Who could not pass the guard stays a stranger.
    pub fn open(&self) -> Guard {
        Guard { open: true, ..self.clone() }
    }

    fn check(&self, request: &Request<()>, peer: Option<&Peer>) -> Result<(), &'static str> {
        if self.mutual && !peer.is_some_and(|peer| peer.certified) {
            return Err(
                "this learner asks its peers for a certificate: give one that its CA signed, with --tls-cert and \
                        --tls-key",
            );
        }
        let Some(token) = &self.token else { return Ok(()) };
        match request.metadata().get("authorization") {
            Some(header) if token.is_in(header.as_bytes()) => Ok(()),
            Some(_) => Err("the token does not match: give the learner's token file with --token-file F or \
                            SRNAS_TOKEN_FILE"),
            None => Err(
                "this learner asks for a token: give its token file with --token-file F or SRNAS_TOKEN_FILE",
            ),
        }
    }
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.extensions().get::<Peer>();
        if let Err(reason) = self.check(&request, peer) {
            if self.open {
                return Ok(request);
            }
            let peer = peer.map_or_else(|| "unknown".into(), |peer| peer.address.to_string());
            self.refusals.tell(peer, reason);
            return Err(Status::unauthenticated(reason));
        }
        if let Some(peer) = peer {
            peer.admit();
        }
        Ok(request)
    }
}

/// The learner's service with two limits on what it reads: only `Experience` carries batches. What a message can make
/// the decoder allocate is a multiple of its size, so all others are kept small.
#[derive(Clone, Debug)]
pub(crate) struct BySize<S> {
    pub batches: S,
    pub others: S,
}

impl<S: NamedService> NamedService for BySize<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for BySize<S>
where
    S: Service<http::Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    // The generated services are always ready.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.batches.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        let path = request.uri().path().strip_prefix('/').and_then(|path| path.strip_prefix(SERVICE_NAME));
        if path == Some("/Experience") { self.batches.call(request) } else { self.others.call(request) }
    }
}
