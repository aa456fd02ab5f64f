//! The network: ports to listen on, and the learner to reach.

use super::{Check, machine::same_time};
use srnas_actor::client::encounter::Meant;
use srnas_basics::text::with_causes;
use srnas_proto::v1::{self, admin_client::AdminClient};
use srnas_security::{Bearer, ClientSecurity, certificate_problem};
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant, SystemTime},
};
use tokio::{net::TcpStream, time::timeout};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long a learner may take for each of: connecting, answering.
const DEADLINE: Duration = Duration::from_secs(3);
/// The service by which a learner is known.
const SERVICE: &str = "srnas.v1.Learner";

/// Whether these addresses can be listened on, all at the same time; each with the flag that names it.
pub fn ports(addresses: &[(&str, SocketAddr)]) -> Vec<Check> {
    let mut held = Vec::new();
    let check = |(flag, address): &(&str, SocketAddr)| match TcpListener::bind(address) {
        Ok(listener) => {
            held.push(listener);
            Check::ok("port", format!("{address} is free"))
        }
        Err(e) => {
            let text = match e.kind() {
                ErrorKind::AddrInUse => format!(
                    "{address} is in use: stop the other program (`ss -ltnp` shows it) or choose another with {flag}"
                ),
                ErrorKind::PermissionDenied => {
                    format!("{address} is not allowed: choose a port from 1024 on with {flag}")
                }
                _ => format!(
                    "{address} cannot be listened on: {e}; choose an address of this machine with {flag}"
                ),
            };
            Check::failed("port", text)
        }
    };
    addresses.iter().map(check).collect()
}

/// Whether a learner answers there, lets this machine in, and has the same time.
pub async fn learner(url: &str, security: &ClientSecurity) -> Vec<Check> {
    let began = Instant::now();
    match ask(url, security).await {
        Ok(date) => {
            let ms = began.elapsed().as_secs_f64() * 1e3;
            let reached = Check::ok("learner", format!("{url} is reached and serves ({ms:.0} ms)"));
            let clock = date.map(|date| same_time(SystemTime::now(), date, "the learner's"));
            std::iter::once(reached).chain(clock).collect()
        }
        Err(text) => vec![Check::failed("learner", text)],
    }
}

/// What time the learner has, if it says so.
async fn ask(url: &str, security: &ClientSecurity) -> Result<Option<SystemTime>, String> {
    let whole = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
    let mut endpoint = Endpoint::from_shared(whole)
        .map_err(|e| format!("`{url}` is no address: {}; expected http://HOST:PORT", with_causes(&e)))?;
    let uri = endpoint.uri().clone();
    let (Some(scheme @ ("http" | "https")), Some(host), Some(port)) =
        (uri.scheme_str(), uri.host(), uri.port_u16())
    else {
        return Err(format!("`{url}` is not the address of a learner; expected http://HOST:PORT"));
    };
    if scheme == "https" {
        endpoint = endpoint.tls_config(security.tls.config()).map_err(|e| with_causes(&e))?;
    }
    let advice = "is the learner up, and does its --listen name an address that this machine reaches?";
    let slow = |_| format!("{url} does not answer within {} s; {advice}", DEADLINE.as_secs());
    timeout(DEADLINE, TcpStream::connect(format!("{host}:{port}")))
        .await
        .map_err(slow)?
        .map_err(|e| format!("cannot connect to {url}: {e}; {advice}"))?;
    if let Some(reason) = Meant::Learner.misdirected(&uri).await {
        return Err(format!("{url} takes connections, but no learner answers there: {reason}"));
    }
    let other = format!("{url} takes connections, but no learner answers there");
    let late = |_| format!("{other} within {} s; {advice}", DEADLINE.as_secs());
    let connected = timeout(DEADLINE, endpoint.connect()).await.map_err(late)?;
    let channel = connected.map_err(|e| match certificate_problem(&e) {
        Some(problem) => format!("no secure connection to {url}: {problem}"),
        None => format!("{other}: {}", with_causes(&e)),
    })?;
    let request = HealthCheckRequest { service: SERVICE.into() };
    let answer = timeout(DEADLINE, HealthClient::new(channel.clone()).check(request)).await.map_err(late)?;
    let response = match answer {
        Ok(response) => response,
        Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
            return Err(format!("{other}: {}", Meant::Learner.instead(channel).await));
        }
        Err(status) => return Err(format!("{other}: {}", with_causes(&status))),
    };
    if response.get_ref().status() != ServingStatus::Serving {
        return Err(format!("{url} does not serve: the learner is starting or ending; ask again"));
    }
    let date = response.metadata().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let mut admin = AdminClient::with_interceptor(channel, Bearer::from(security.token.as_ref()));
    match timeout(DEADLINE, admin.status(v1::StatusRequest {})).await.map_err(late)? {
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => {
            Err(format!("{url} answers and lets this machine not in: {}", status.message()))
        }
        _ => Ok(date),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Status, *};

    #[test]
    fn ports_are_held_while_the_others_are_tried() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let checks =
            ports(&[("--listen", taken.local_addr().unwrap()), ("--http", "127.0.0.1:0".parse().unwrap())]);
        assert_eq!(checks[0].status, Status::Failed);
        assert!(
            checks[0].message.contains("in use") && checks[0].message.contains("--listen"),
            "{}",
            checks[0]
        );
        assert_eq!(checks[1].status, Status::Ok);

        let free = taken.local_addr().unwrap();
        drop(taken);
        let twice = ports(&[("--listen", free), ("--http", free)]);
        assert_eq!((twice[0].status, twice[1].status), (Status::Ok, Status::Failed), "{twice:?}");
        assert!(twice[1].message.contains("--http"), "{}", twice[1]);
        // An address of a network that no machine is in (RFC 5737).
        let foreign = ports(&[("--listen", "192.0.2.1:7777".parse().unwrap())]);
        assert!(foreign[0].message.contains("address of this machine"), "{}", foreign[0]);
    }

    #[tokio::test]
    async fn a_learner_is_told_from_nobody_from_a_mute_and_from_another_server() {
        let learner = async |url: &str| {
            let mut checks = super::learner(url, &ClientSecurity::default()).await;
            checks.remove(0)
        };
        for url in ["", "http://", "ftp://a:1", "a b"] {
            let check = learner(url).await;
            assert!(
                check.status == Status::Failed && check.message.contains("http://HOST:PORT"),
                "{url}: {check}"
            );
        }

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let serve = |listener| {
            let incoming = tonic::transport::server::TcpIncoming::from(listener);
            tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming)
        };
        let server = tokio::spawn(serve(listener));
        let url = format!("http://{address}");
        let other = learner(&url).await;
        assert!(other.message.contains("none of srnas"), "{other}");
        reporter.set_service_status(SERVICE, tonic_health::ServingStatus::Serving).await;
        assert_eq!(learner(&url).await.status, Status::Ok);
        assert_eq!(learner(&address.to_string()).await.status, Status::Ok, "the scheme may be left out");
        reporter.set_service_status(SERVICE, tonic_health::ServingStatus::NotServing).await;
        let ending = learner(&url).await;
        assert!(ending.message.contains("does not serve"), "{ending}");
        server.abort();
        let _ = server.await;

        let nobody = learner(&url).await;
        assert!(nobody.status == Status::Failed && nobody.message.contains("cannot connect"), "{nobody}");
        // Takes connections and says nothing.
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = learner(&mute.local_addr().unwrap().to_string()).await;
        assert!(check.message.contains("within 3 s"), "{check}");
    }
}
