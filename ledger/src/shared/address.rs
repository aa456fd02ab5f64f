//! Where a shared ledger is, and how it is reached.

use crate::LedgerError;
use postgres::{
    Client, Config, NoTls,
    config::{Host, SslMode},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{env, fmt, str::FromStr, sync::Arc, time::Duration};
use tokio_postgres_rustls::MakeRustlsConnect;

/// What an address begins with.
const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// Nobody waits longer for a server to answer a call.
const CONNECT: Duration = Duration::from_secs(5);
/// Nor for what was sent to arrive.
const SILENCE: Duration = Duration::from_secs(15);
/// Set for each connection: names of tables without a schema are srnas', and no statement, lock or forgotten transaction lasts.
const SESSION: &str = "-c search_path=srnas -c client_min_messages=warning -c statement_timeout=15s -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s";

/// The address of a database on a PostgreSQL server. What is shown of it has no password.
#[derive(Clone)]
pub struct Address {
    config: Config,
    trust: Trust,
    shown: String,
}

/// Which certificates of servers are believed.
#[derive(Clone, Debug, PartialEq)]
enum Trust {
    /// Any, as PostgreSQL's own programs do where nothing is said: nobody listens, but who answers is not proven.
    Any,
    /// Those that the system trusts, for the name that was called.
    System,
    /// Those that a file vouches for, for the name that was called.
    File(String),
}

impl Address {
    /// Whether a text is meant as one.
    pub fn is_meant(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }

    /// Connects.
    ///
    /// # Errors
    /// [`LedgerError::Server`] says what the server or the way to it says.
    pub(super) fn connect(&self) -> Result<Client, LedgerError> {
        let connected = match self.config.get_ssl_mode() {
            SslMode::Disable => self.config.connect(NoTls),
            _ => self.config.connect(MakeRustlsConnect::new(self.tls().map_err(|e| self.failed(e))?)),
        };
        connected.map_err(|error| {
            let said = super::in_words(&error);
            self.failed(match self.config.get_password() {
                // The server asks for one.
                None if said.ends_with("password missing") => {
                    "it wants a password: set PGPASSWORD, or write it into the address".into()
                }
                _ => said,
            })
        })
    }

    /// An error of the ledger that is there.
    pub(super) fn failed(&self, reason: impl fmt::Display) -> LedgerError {
        LedgerError::Server { place: self.to_string(), reason: reason.to_string() }
    }

    fn tls(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?;
        let roots = match &self.trust {
            Trust::Any => {
                let any = Arc::new(AnyCertificate(provider));
                return Ok(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth());
            }
            Trust::System => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                roots
            }
            Trust::File(path) => {
                let wrong = |e: &dyn fmt::Display| format!("sslrootcert={path}: {e}");
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(&e))? {
                    let certificate = certificate.map_err(|e| wrong(&e))?;
                    roots.add(certificate).map_err(|e| wrong(&e))?;
                }
                roots
            }
        };
        match roots.is_empty() {
            true => Err("there are no certificates to trust: name a file with sslrootcert=FILE".into()),
            false => Ok(builder.with_root_certificates(roots).with_no_client_auth()),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = without_password(text);
        if !Self::is_meant(text) {
            return Err(format!(
                "`{text}` is no address of a PostgreSQL database, such as postgres://ada@host/measurements"
            ));
        }
        // Which certificates are believed the library leaves to us.
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let (mut trust, mut rest, mut file) = (Trust::Any, Vec::new(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", "verify-full" | "verify-ca")) => {
                    trust = Trust::System;
                    rest.push("sslmode=require");
                }
                Some(("sslrootcert", path)) => file = Some(path.to_string()),
                _ => rest.push(pair),
            }
        }
        trust = match (file, trust) {
            (None, trust) => trust,
            (Some(system), _) if system == "system" => Trust::System,
            (Some(path), _) => Trust::File(path),
        };
        let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
        let mut config: Config = format!("{before}{query}")
            .parse()
            .map_err(|e: postgres::Error| format!("{shown}: {}", super::in_words(&e)))?;
        if trust != Trust::Any && config.get_ssl_mode() != SslMode::Require {
            config.ssl_mode(SslMode::Require);
        }
        if config.get_hosts().is_empty() {
            config.host("localhost");
        }
        if config.get_password().is_none()
            && let Ok(password) = env::var("PGPASSWORD")
        {
            config.password(password);
        }
        let options = [config.get_options().unwrap_or_default(), SESSION].join(" ");
        config.options(options.trim());
        config.connect_timeout(*config.get_connect_timeout().unwrap_or(&CONNECT));
        config.tcp_user_timeout(*config.get_tcp_user_timeout().unwrap_or(&SILENCE));
        config.keepalives_idle(SILENCE);
        config.application_name("srnas");
        Ok(Self { config, trust, shown })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl PartialEq for Address {
    /// The same database, whoever asks it.
    fn eq(&self, other: &Self) -> bool {
        let hosts = |config: &Config| -> Vec<Host> { config.get_hosts().to_vec() };
        hosts(&self.config) == hosts(&other.config)
            && self.config.get_ports() == other.config.get_ports()
            && self.config.get_dbname() == other.config.get_dbname()
    }
}

/// An address without what is secret in it.
fn without_password(text: &str) -> String {
    let (before, query) = text.split_once('?').map_or((text, None), |(before, query)| (before, Some(query)));
    let start = before.find("://").map_or(0, |at| at + 3);
    let end = before[start..].find('/').map_or(before.len(), |at| start + at);
    let mut shown = match before[start..end].rfind('@') {
        Some(at) => {
            let user = before[start..start + at].split(':').next().unwrap_or_default();
            format!("{}{user}{}", &before[..start], &before[start + at..])
        }
        None => before.to_string(),
    };
    let rest =
        query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.starts_with("password="));
    for (i, pair) in rest.enumerate() {
        shown.push(if i == 0 { '?' } else { '&' });
        shown.push_str(pair);
    }
    shown
}

/// Believes whatever certificate it is shown.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_has_no_password() {
        for (text, shown) in [
            ("postgres://ada:se:cret@host:5433/db", "postgres://ada@host:5433/db"),
            (
                "postgresql://ada@host/db?password=x&sslmode=require",
                "postgresql://ada@host/db?sslmode=require",
            ),
            ("postgres://host", "postgres://host"),
            ("postgres:///db?host=/run/postgresql", "postgres:///db?host=/run/postgresql"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(
                (address.to_string(), format!("{address:?}")),
                (shown.into(), format!("Address({shown})"))
            );
        }
    }

    #[test]
    fn certificates_are_looked_at_where_that_is_asked_for() {
        let of = |text: &str| -> (Trust, SslMode) {
            let address: Address = text.parse().unwrap();
            (address.trust.clone(), address.config.get_ssl_mode())
        };
        assert_eq!(of("postgres://host/db"), (Trust::Any, SslMode::Prefer));
        assert_eq!(of("postgres://host/db?sslmode=disable"), (Trust::Any, SslMode::Disable));
        assert_eq!(of("postgres://host/db?sslmode=verify-full"), (Trust::System, SslMode::Require));
        let file = Trust::File("ca.pem".into());
        assert_eq!(of("postgres://host/db?sslrootcert=ca.pem"), (file, SslMode::Require));
        assert_eq!(
            of("postgres://h/db?sslrootcert=system&sslmode=require"),
            (Trust::System, SslMode::Require)
        );
    }

    #[test]
    fn what_is_no_address_is_said() {
        for (text, says) in [
            ("run.sqlite", "is no address of a PostgreSQL database"),
            ("postgres://host/db?colour=red", "colour"),
            ("postgres://ada:secret@host:many/db", "port"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
    }
}
