//! Who may speak, end to end: tokens and certificates between real processes of the real program.

mod harness;

use harness::{Process, SOON, Setup, text};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use std::{
    fs::{Permissions, set_permissions},
    os::unix::fs::PermissionsExt,
};
use tonic::{
    Code, Request,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};

const TOKEN: &str = "4ca1ab1e-correct-horse-battery-staple";

impl Setup {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// A CA, `NAME.crt`, that signs.
    fn authority(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("test {name}"));
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(&format!("{name}.crt"), &authority.pem());
        authority
    }

    /// `NAME.crt` and `NAME.key` for the name `localhost`, until the first day of `year`.
    fn certificate(&self, authority: &CertifiedIssuer<'static, KeyPair>, name: &str, year: i32) {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        self.write(&format!("{name}.crt"), &params.signed_by(&key, authority).unwrap().pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Starts an actor that must be let in.
    fn joins(&self, learner: &str, id: &str, arguments: &[&str]) -> Process {
        let mut actor = Process::start(self.actor_command(learner, id, arguments));
        actor.wait_for(&["joined the learner"], SOON);
        actor
    }

    /// Starts an actor that must end with this exit code and say these parts.
    fn ends(&self, learner: &str, id: &str, arguments: &[&str], code: i32, parts: &[&str]) {
        let mut actor = Process::start(self.actor_command(learner, id, arguments));
        actor.wait_for(&[&["error: "], parts].concat(), SOON);
        assert_eq!(actor.ends(SOON), Some(code), "{id}");
    }
}

async fn health(channel: Channel) -> Result<(), tonic::Status> {
    let request = Request::new(HealthCheckRequest { service: String::new() });
    HealthClient::new(channel).check(request).await.map(|_| ())
}

async fn reflection(channel: Channel) -> Result<(), tonic::Status> {
    let requests = tokio_stream::iter([ServerReflectionRequest::default()]);
    ServerReflectionClient::new(channel).server_reflection_info(requests).await.map(|_| ())
}

#[test]
fn nothing_listens_beyond_this_machine_without_a_token() {
    let setup = Setup::new();
    setup.write("token", TOKEN);
    setup.write("weak", "1234\n");
    let learner =
        ["learner", "--config", "run.toml", "--resume=auto", "--run-dir", "out", "--listen", "0.0.0.0:0"];
    for (arguments, parts) in [
        (&[][..], &["0.0.0.0:0", "127.0.0.1", "--token-file", "--insecure"][..]),
        (&["--token-file", "weak"], &["weak", "fewer than 16", "openssl rand"]),
        (&["--token-file", "absent"], &["absent"]),
        (&["--insecure", "--tls-cert", "a.crt"], &["--tls-key"]),
        (&["--insecure", "--tls-ca", "a.crt"], &["--tls-cert"]),
        (&["--insecure", "--tls-cert", "a.crt", "--tls-key", "a.key"], &["a.crt"]),
    ] {
        let out = setup.output(&[&learner, arguments].concat());
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{arguments:?} does not say {parts:?}: {said}");
    }
    // A variable that is set and empty names no file.
    let out = setup.command(&learner).env("SRNAS_TOKEN_FILE", "").output().unwrap();
    assert!(out.status.code() == Some(2) && text(&out.stderr).contains("no token is set"), "{out:?}");
    assert!(!setup.path().join("out").exists(), "nothing is written before");
    let everybody = "every user of this machine can read the token file token";
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        set_permissions(setup.path().join("token"), Permissions::from_mode(mode)).unwrap();
        let mut process = Process::start(setup.command(&[&learner[..], &["--token-file", "token"]].concat()));
        process.wait_for(&["learner listens for actors"], SOON);
        assert_eq!(process.seen.iter().any(|line| line.contains(everybody)), warned, "{mode:o}");
    }
    for allowed in [&["--insecure"][..], &["--token-file", "token"]] {
        let mut process = Process::start(setup.command(&[&learner, allowed].concat()));
        process.wait_for(&["learner listens for actors", "0.0.0.0:"], SOON);
    }
}

#[test]
fn only_the_learners_token_opens_the_door() {
    let setup = Setup::new();
    setup.write("token", TOKEN);
    setup.write("other", "5ca1ab1e-correct-horse-battery-staple");
    let (mut learner, address) = setup.start_learner(&["--token-file", "token"]);
    let url = address.to_string();
    setup.ends(&url, "silent", &[], 1, &["refused", "asks for a token", "--token-file"]);
    learner.wait_for(&["turned away", "asks for a token", "127.0.0.1"], SOON);
    setup.ends(
        &url,
        "stranger",
        &["--token-file", "other"],
        1,
        &["refused", "does not match", "--token-file"],
    );
    learner.wait_for(&["turned away", "does not match"], SOON);
    let _friend = setup.joins(&url, "friend", &["--token-file", "token"]);
    let mut by_environment = setup.actor_command(&url, "by environment", &[]);
    by_environment.env("SRNAS_TOKEN_FILE", "token");
    Process::start(by_environment).wait_for(&["joined the learner"], SOON);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        health(channel.clone()).await.expect("container health checks carry no token");
        assert_eq!(reflection(channel).await.unwrap_err().code(), Code::Unauthenticated);
    });
}

#[test]
fn a_learner_that_comes_back_with_another_token_refuses_its_actors() {
    let setup = Setup::new();
    setup.write("token", TOKEN);
    setup.write("other", "5ca1ab1e-correct-horse-battery-staple");
    let (learner, address) = setup.start_learner(&["--token-file", "token"]);
    let mut actor = setup.joins(&address.to_string(), "a", &["--token-file", "token"]);
    drop(learner);
    let listen = address.to_string();
    let _learner = setup.start_learner(&["--token-file", "other", "--listen", &listen]);
    actor.wait_for(&["error: ", "refused", "does not match"], SOON);
    assert_eq!(actor.ends(SOON), Some(1));
}

#[test]
fn tls_with_the_right_ca_joins_and_everything_else_says_why_not() {
    let setup = Setup::new();
    let (authority, other) = (setup.authority("ca"), setup.authority("other"));
    setup.certificate(&authority, "learner", 2100);
    setup.write("token", TOKEN);
    let tls = ["--tls-cert", "learner.crt", "--tls-key", "learner.key", "--token-file", "token"];
    let (mut learner, address) = setup.start_learner(&tls);
    let url = format!("https://localhost:{}", address.rsplit(":").next().unwrap());
    let with = |ca: &'static str| ["--token-file", "token", "--tls-ca", ca];
    let _friend = setup.joins(&url, "friend", &with("ca.crt"));
    learner.wait_for(&["1 actor(s)", "updates/s"], SOON);

    let secure = "no secure connection";
    setup.ends(
        &url,
        "distrustful",
        &with("other.crt"),
        1,
        &[secure, "nobody whom this actor trusts", "--tls-ca"],
    );
    learner.wait_for(&["turned away", "TLS handshake failed", "UnknownCA"], SOON);
    let by_number = format!("https://{address}");
    setup.ends(
        &by_number,
        "by number",
        &with("ca.crt"),
        1,
        &[secure, "127.0.0.1", "localhost", "connect by a name"],
    );
    setup.ends(&url, "no token", &["--tls-ca", "ca.crt"], 1, &["asks for a token"]);
    setup.ends(&format!("http://{address}"), "usage", &with("ca.crt"), 2, &["https://127.0.0.1"]);
    let plain = format!("http://{address}");
    // What does not fit does not come to fit.
    setup.ends(
        &plain,
        "plain",
        &["--token-file", "token"],
        1,
        &["no learner at", "speaks TLS: say https://"],
    );
    learner.wait_for(&["turned away", "it speaks without TLS: here it is https://"], SOON);
    setup.ends(&url, "absent", &with("absent.crt"), 2, &["absent.crt"]);
    drop(other);
}

#[test]
fn mutual_tls_wants_a_certificate_that_the_learners_ca_signed() {
    let setup = Setup::new();
    let (authority, other) = (setup.authority("ca"), setup.authority("other"));
    setup.certificate(&authority, "learner", 2100);
    setup.certificate(&authority, "actor", 2100);
    setup.certificate(&authority, "old", 2021);
    setup.certificate(&other, "foreign", 2100);
    let tls = ["--tls-cert", "learner.crt", "--tls-key", "learner.key", "--tls-ca", "ca.crt"];
    let (mut learner, address) = setup.start_learner(&tls);
    let url = format!("https://localhost:{}", address.rsplit(":").next().unwrap());
    let shows = |certificate: &'static str, key: &'static str| {
        ["--tls-ca", "ca.crt", "--tls-cert", certificate, "--tls-key", key]
    };
    let _friend = setup.joins(&url, "friend", &shows("actor.crt", "actor.key"));
    setup.ends(&url, "nobody", &["--tls-ca", "ca.crt"], 1, &["refused", "certificate", "--tls-cert"]);
    learner.wait_for(&["turned away", "asks its peers for a certificate"], SOON);
    let foreign = shows("foreign.crt", "foreign.key");
    setup.ends(
        &url,
        "foreign",
        &foreign,
        1,
        &["no secure connection", "does not accept this actor's certificate"],
    );
    learner.wait_for(&["turned away", "TLS handshake failed"], SOON);
    setup.ends(&url, "old", &shows("old.crt", "old.key"), 2, &["old.crt", "expired on Jan  1 00:00:00 2021"]);
    setup.ends(
        &url,
        "mixed",
        &shows("actor.crt", "foreign.key"),
        2,
        &["foreign.key", "does not belong", "actor.crt"],
    );

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(setup.read("ca.crt")));
        let endpoint = Endpoint::from_shared(url).unwrap().tls_config(trusting).unwrap();
        let channel = endpoint.connect().await.unwrap();
        health(channel.clone()).await.expect("health checks have no certificate");
        assert_eq!(reflection(channel).await.unwrap_err().code(), Code::Unauthenticated);
    });
}

#[test]
fn an_expired_certificate_is_said_so_on_both_sides() {
    let setup = Setup::new();
    let authority = setup.authority("ca");
    setup.certificate(&authority, "old", 2021);
    let listen = ["learner", "--config", "run.toml", "--run-dir", "out", "--listen", "127.0.0.1:0"];
    let tls = ["--tls-cert", "old.crt", "--tls-key", "old.key"];
    let out = setup.output(&[&listen[..], &tls].concat());
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("old.crt") && said.contains("expired on Jan  1 00:00:00 2021"), "{said}");

    // A learner whose certificate expired while it ran: here, any TLS server with that certificate.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let identity = tonic::transport::Identity::from_pem(setup.read("old.crt"), setup.read("old.key"));
    let server = tonic::transport::Server::builder()
        .tls_config(tonic::transport::ServerTlsConfig::new().identity(identity))
        .unwrap()
        .add_service(tonic_health::server::health_reporter().1);
    runtime.spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
    let parts = ["no secure connection", "certificate expired on Jan  1 00:00:00 2021", "renew it"];
    setup.ends(&url, "late", &["--tls-ca", "ca.crt"], 1, &parts);
}
