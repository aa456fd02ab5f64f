//! What the pages answer over HTTP: the page, its events, and what is asked of it.

use crate::{Deed, Pages, html};
use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;

/// A stream of events ends after so long; the page takes it up again by its last id. So a connection is never a long one.
const STREAM: Duration = Duration::from_secs(8);
/// Most bytes of what is asked.
const ASKED: usize = 64 << 10;
/// What is done is done by then, or said to be under way.
const DONE: Duration = Duration::from_secs(8);

/// The routes of pages: `/` is the page, `/events` its stream, `/do/SOURCE/DEED` what is asked with the token.
pub fn routes(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/events", get(events))
        .route("/do/{source}/{deed}", post(act))
        .layer(DefaultBodyLimit::max(ASKED))
        .with_state(pages)
}

/// Nothing is in the page itself, so nobody needs the token for it.
async fn page() -> Response {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, policy()),
    ];
    (headers, html::live()).into_response()
}

/// That of the page, and that nobody shows it in a frame.
fn policy() -> HeaderValue {
    let text = format!("{}; frame-ancestors 'none'", *html::POLICY);
    HeaderValue::from_str(&text).expect("hashes are ASCII")
}

/// Whoever has no token is let in where there is none; then only by an address, not by a name that somebody else's page has
/// made to lead here.
fn may_look(pages: &Pages, headers: &HeaderMap) -> Result<(), Box<Response>> {
    match pages.token() {
        Some(_) => has_token(pages, headers),
        None => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            if is_address(host) {
                return Ok(());
            }
            let why = "without a token this is served by its address alone, such as http://127.0.0.1:PORT\n";
            Err(Box::new((StatusCode::FORBIDDEN, why).into_response()))
        }
    }
}

fn has_token(pages: &Pages, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let shown = headers.get(header::AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
    if pages.token().is_some_and(|token| token.is_in(shown)) {
        return Ok(());
    }
    let why = "this asks for its token: send it as `Authorization: Bearer TOKEN`\n";
    Err(Box::new((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], why).into_response()))
}

/// Whether a host is an address, or this machine, and not a name.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || [name, host].iter().any(|text| text.parse::<IpAddr>().is_ok())
}

async fn events(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    if let Err(refused) = may_look(&pages, &headers) {
        return *refused;
    }
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let mut reader = pages.reader(last);
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Infallible>>(2);
    tokio::spawn(async move {
        let end = Instant::now() + STREAM;
        loop {
            // Serialising a large view is not for the threads that serve.
            let made = tokio::task::spawn_blocking(move || {
                let events = reader.events();
                (reader, events)
            });
            let Ok((back, text)) = made.await else { return };
            reader = back;
            // Whoever does not read is not waited for.
            if !text.is_empty() {
                match tokio::time::timeout_at(end, sender.send(Ok(text.into()))).await {
                    Ok(Ok(())) => {}
                    _ => return,
                }
            }
            tokio::select! {
                () = reader.changed() => {}
                () = tokio::time::sleep_until(end) => return,
                () = sender.closed() => return,
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

async fn act(
    State(pages): State<Arc<Pages>>,
    Path((source, name)): Path<(usize, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if pages.token().is_none() {
        let why = "nothing can be done from here without a token: start it with --token-file F\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    if let Err(refused) = has_token(&pages, &headers) {
        return *refused;
    }
    let deed = match Deed::parse(&name, &body) {
        Ok(deed) => deed,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    };
    tracing::info!(deed = deed.name(), source, "asked by the page");
    let done = tokio::task::spawn_blocking(move || pages.act(source, &deed));
    match tokio::time::timeout(DONE, done).await {
        Ok(Ok(Ok(said))) => (StatusCode::OK, said + "\n").into_response(),
        Ok(Ok(Err(reason))) => (StatusCode::CONFLICT, reason + "\n").into_response(),
        Ok(Err(_)) => (StatusCode::INTERNAL_SERVER_ERROR, "it broke off\n").into_response(),
        Err(_) => (StatusCode::GATEWAY_TIMEOUT, "it is still under way\n").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_address() {
        for host in ["127.0.0.1", "127.0.0.1:80", "[::1]:8080", "localhost:1", "10.0.0.7:9090"] {
            assert!(is_address(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:80", "", "localhost.evil.example", "127.0.0.1.evil.example:80"]
        {
            assert!(!is_address(host), "{host}");
        }
    }
}
