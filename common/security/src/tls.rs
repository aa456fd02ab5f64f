//! TLS by rustls: certificates are read and checked when the program starts.

use super::SecurityError;
use rustls::{
    AlertDescription, CertificateError, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
    sign::CertifiedKey,
};
use std::{error::Error, fmt, fs::File, io::Read, path::Path, sync::Arc};
use tonic::transport::{Certificate, ClientTlsConfig, Identity as PemIdentity};
use x509_parser::{
    certificate::X509Certificate,
    prelude::FromDer,
    time::ASN1Time,
    x509::{X509Name, X509Version},
};

/// A file of certificates is never larger.
const LARGEST: u64 = 1 << 20;

/// A certificate with those that vouch for it, and its private key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
    path: String,
}

impl Identity {
    /// Reads both from PEM files.
    ///
    /// # Errors
    /// Names the file that cannot be read or parsed, has expired, or does not fit the other.
    pub fn load(certificate: &Path, key: &Path) -> Result<Identity, SecurityError> {
        let (path, key_path) = (certificate.display().to_string(), key.display().to_string());
        let certificate_pem = read("the certificate", certificate)?;
        let chain = certificates(&certificate_pem, &path)?;
        let key_pem = read("the private key", key)?;
        let what = "a private key in PEM";
        let unusable = |reason: String| SecurityError::Pem { what, path: key_path.clone(), reason };
        let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|e| unusable(e.to_string()))?;
        let fit = CertifiedKey::from_der(chain.clone(), key.clone_key(), &ring::default_provider());
        fit.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                SecurityError::OtherKey { certificate: path.clone(), key: key_path.clone() }
            }
            other => unusable(other.to_string()),
        })?;
        Ok(Identity { chain, key, certificate_pem, key_pem, path })
    }
}

/// Certificates of those who may sign: a certificate signed by one of them is trusted.
#[derive(Debug)]
pub struct Authority {
    roots: RootCertStore,
    pem: Vec<u8>,
    path: String,
}

impl Authority {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// Names the file when it cannot be read or parsed, or a certificate in it has expired.
    pub fn load(path: &Path) -> Result<Authority, SecurityError> {
        let pem = read("the certificates to trust", path)?;
        let path = path.display().to_string();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&pem, &path)? {
            let reason = |e: rustls::Error| e.to_string();
            roots.add(certificate).map_err(reason).map_err(|reason| SecurityError::Pem {
                what: CERTIFICATES,
                path: path.clone(),
                reason,
            })?;
        }
        Ok(Authority { roots, pem, path })
    }
}

/// TLS of a listener.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    mutual: bool,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("mutual", &self.mutual).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// TLS for HTTP/2. With `clients` it is mutual: see [`Self::is_mutual`].
    ///
    /// # Errors
    /// When rustls refuses what was read.
    pub fn new(identity: Identity, clients: Option<Authority>) -> Result<ServerTls, SecurityError> {
        let refused = |path: &str, reason: String| SecurityError::Tls { path: path.to_string(), reason };
        let provider = Arc::new(ring::default_provider());
        let mutual = clients.is_some();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| refused(&identity.path, e.to_string()))?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(clients.roots.into(), provider);
                // Who shows none gets through the handshake, to be told so in words and to be asked for its health.
                let verifier = verifier.allow_unauthenticated().build();
                builder
                    .with_client_cert_verifier(verifier.map_err(|e| refused(&clients.path, e.to_string()))?)
            }
        };
        let mut config = builder
            .with_single_cert(identity.chain, identity.key)
            .map_err(|e| refused(&identity.path, e.to_string()))?;
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(ServerTls { config: Arc::new(config), mutual })
    }

    /// What rustls needs.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Whether peers must have a certificate. A handshake refuses one that is not good; that there is one, is for the
    /// service to check.
    pub fn is_mutual(&self) -> bool {
        self.mutual
    }
}

/// TLS of a client.
#[derive(Clone, Debug)]
pub struct ClientTls(ClientTlsConfig);

impl Default for ClientTls {
    fn default() -> ClientTls {
        ClientTls::new(None, None)
    }
}

impl ClientTls {
    /// Trusts `servers`, or the system's roots, and shows `identity` to who asks for it.
    pub fn new(servers: Option<Authority>, identity: Option<Identity>) -> ClientTls {
        let config = match servers {
            Some(servers) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(servers.pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        ClientTls(match identity {
            Some(i) => config.identity(PemIdentity::from_pem(i.certificate_pem, i.key_pem)),
            None => config,
        })
    }

    /// What tonic needs.
    pub fn config(&self) -> ClientTlsConfig {
        self.0.clone()
    }
}

const CERTIFICATES: &str = "a file of certificates in PEM";

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, SecurityError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_end(&mut bytes))
        .map_err(|source| SecurityError::unreadable(what, path, source))?;
    Ok(bytes)
}

/// All certificates of a file, at least one, each within its time.
fn certificates(pem: &[u8], path: &str) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let broken = |reason: String| SecurityError::Pem { what: CERTIFICATES, path: path.into(), reason };
    let found: Vec<CertificateDer> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| broken(e.to_string()))?;
    if found.is_empty() {
        return Err(broken("there is none in it".into()));
    }
    let now = ASN1Time::now();
    for certificate in &found {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| broken(e.to_string()))?;
        // What `openssl x509 -req` makes without extensions; every peer would refuse it.
        if parsed.version() != X509Version::V3 {
            return Err(broken(format!(
                "it is an X.509 certificate of version {}, without extensions; TLS wants version 3, \
                 as one with a subjectAltName has",
                parsed.version().0 + 1
            )));
        }
        let (validity, whose) = (parsed.validity(), name(parsed.subject()));
        let state = if now > validity.not_after {
            format!("({whose}) expired on {}", validity.not_after)
        } else if now < validity.not_before {
            format!("({whose}) is not valid before {}", validity.not_before)
        } else {
            continue;
        };
        return Err(SecurityError::NotValidNow { path: path.into(), state });
    }
    Ok(found)
}

fn name(subject: &X509Name) -> String {
    let text = subject.to_string();
    if text.is_empty() { "without a name".into() } else { text }
}

/// If a connection failed for its certificates, or for having none: what is wrong, and what to do. Asking again would
/// not help then.
pub fn certificate_problem(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = tls_error(error)
            && let rustls::Error::InvalidCertificate(problem) = tls
        {
            return Some(explain(problem));
        }
        // HTTP/2 keeps no more than the text of an error that ends a connection.
        let text = error.to_string();
        let refused =
            |alert: &&AlertDescription| text.contains(&rustls::Error::AlertReceived(**alert).to_string());
        if let Some(alert) = ALERTS.iter().find(refused) {
            return Some(format!(
                "the learner does not accept this actor's certificate ({alert:?}): give one that its CA signed with \
                 --tls-cert and --tls-key"
            ));
        }
        cause = error.source();
    }
    None
}

/// What a peer says when it refuses a certificate.
const ALERTS: [AlertDescription; 8] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::DecryptError,
    AlertDescription::CertificateRequired,
];

/// rustls's error itself, or inside an I/O error (whose `source` passes over it).
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<std::io::Error>() {
        Some(io) => tls_error(io.get_ref()?),
        None => error.downcast_ref(),
    }
}

fn explain(problem: &CertificateError) -> String {
    let date = |seconds: u64| {
        i64::try_from(seconds)
            .ok()
            .and_then(|s| ASN1Time::from_timestamp(s).ok())
            .map_or("?".into(), |t| t.to_string())
    };
    match problem {
        CertificateError::Expired => "the learner's certificate has expired: renew it and start the learner again".into(),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the learner's certificate expired on {}: renew it and start the learner again, or set this machine's clock \
             right",
            date(not_after.as_secs())
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the learner's certificate is not valid before {}: set this machine's clock right, or make it anew",
            date(not_before.as_secs())
        ),
        CertificateError::UnknownIssuer => {
            "the learner's certificate is signed by nobody whom this actor trusts: give the file of the CA that signed it \
             with --tls-ca"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("{problem}: connect by a name that is in the learner's certificate, or make it anew with this name")
        }
        other => format!("the learner's certificate is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// Made by `openssl x509 -req` without extensions.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHTCBxAIUfJLe+pB5HzmsSZUxXGXZKlnaxxQwCgYIKoZIzj0EAwIwEzERMA8G
A1UEAwwIc3JuYXMgQ0EwHhcNMjYxMTI1MTgwMDIyWhcNMjcxMTI1MTgwMDIyWjAQ
MQ4wDAYDVQQDDAVhY3RvcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN6D1rqV
7F42GnBtf4qhap1TGRv5OxLq9/+JQ58bA96DQAinworzvUOOk2Fj8Yf27uv8bgyG
HaIhgTLRqPdwwoAwCgYIKoZIzj0EAwIDSAAwRQIgfZ8yxYHPClvMDAnHzpyzoYMy
c/LZ+kbLu9TsceeiebsCIQCGIlXxYUptTjXGdh+NZTjjaZyy1AdNsxL/bNslBIXA
tg==
-----END CERTIFICATE-----";

    /// Writes a certificate that signs itself, valid in these years, and its key.
    fn make(folder: &TempDir, file: &str, years: (i32, i32)) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let write = |ending: &str, text: String| {
            let path = folder.path().join(format!("{file}.{ending}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        (write("crt", certificate.pem()), write("key", key.serialize_pem()))
    }

    fn refused<T: fmt::Debug>(result: Result<T, SecurityError>, parts: &[&str]) {
        let said = result.unwrap_err().to_string();
        assert!(parts.iter().all(|p| said.contains(p)), "{said} does not say {parts:?}");
    }

    #[test]
    fn good_files_make_both_ends() {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = make(&folder, "good", (2020, 2100));
        let identity = || Identity::load(&certificate, &key).unwrap();
        let authority = || Authority::load(&certificate).unwrap();
        assert!(ServerTls::new(identity(), Some(authority())).unwrap().is_mutual());
        assert!(!ServerTls::new(identity(), None).unwrap().is_mutual());
        let client = ClientTls::new(Some(authority()), Some(identity()));
        let endpoint = tonic::transport::Endpoint::from_static("https://localhost:1");
        assert!(endpoint.tls_config(client.config()).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let folder = TempDir::new().unwrap();
        let (certificate, key) = make(&folder, "good", (2020, 2100));
        let (other, other_key) = make(&folder, "other", (2020, 2100));
        let (expired, expired_key) = make(&folder, "expired", (2020, 2021));
        let (early, _) = make(&folder, "early", (2090, 2100));
        let absent = folder.path().join("absent.crt");
        refused(Identity::load(&absent, &key), &["absent.crt", "certificate"]);
        refused(Identity::load(&certificate, &absent), &["absent.crt", "private key"]);
        refused(Identity::load(&key, &key), &["good.key", "certificates in PEM"]);
        refused(Identity::load(&certificate, &certificate), &["good.crt", "private key in PEM"]);
        refused(Identity::load(&certificate, &other_key), &["other.key", "good.crt", "does not belong"]);
        refused(Identity::load(&other, &key), &["good.key", "other.crt", "does not belong"]);
        refused(Identity::load(&expired, &expired_key), &["expired.crt", "expired on Jan  1 00:00:00 2021"]);
        refused(Authority::load(&expired), &["expired.crt", "expired on"]);
        refused(Authority::load(&early), &["early.crt", "not valid before", "2090"]);
        let version_1 = folder.path().join("version1.crt");
        std::fs::write(&version_1, VERSION_1).unwrap();
        refused(Authority::load(&version_1), &["version1.crt", "version 1", "subjectAltName"]);
        let pem = std::fs::read_to_string(&certificate).unwrap();
        for (name, text) in [
            ("cut.crt", pem[..pem.len() / 2].to_string()),
            ("noise.crt", "x".repeat(3 << 20)),
            ("empty.crt", String::new()),
            (
                "hollow.crt",
                pem.lines().take(1).chain(["AAAA"]).chain(pem.lines().last()).collect::<Vec<_>>().join("\n"),
            ),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            refused(Authority::load(&path), &[name]);
            refused(Identity::load(&path, &key), &[name]);
        }
    }

    #[test]
    fn certificate_errors_are_told_from_others_however_deep() {
        let inner = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let io = std::io::Error::other(std::io::Error::new(std::io::ErrorKind::InvalidData, inner));
        assert!(certificate_problem(&io).unwrap().contains("--tls-ca"));
        let alert =
            std::io::Error::other(rustls::Error::AlertReceived(AlertDescription::UnknownCA).to_string());
        assert!(certificate_problem(&alert).unwrap().contains("--tls-cert"));
        let other =
            std::io::Error::other(rustls::Error::AlertReceived(AlertDescription::InternalError).to_string());
        assert_eq!(certificate_problem(&other), None);
        assert_eq!(certificate_problem(&std::io::Error::other(rustls::Error::HandshakeNotComplete)), None);
    }
}
