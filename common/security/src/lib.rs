//! Who may speak: a token that actors and learner share, and optionally TLS under it.
//!
//! Nothing listens beyond this machine without a token unless the operator says so ([`may_listen`]). What is wrong with
//! a token or a certificate is found when the program starts, and said with the file's name.

// Printing is for src/print.rs and for logs: the macros of std end the program where stdout or stderr is gone.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod tls;
mod token;

pub use tls::{Authority, ClientTls, Identity, ServerTls, certificate_problem};
pub use token::{Bearer, Token};

use std::{net::SocketAddr, path::Path};

/// What a listener asks of its peers. The default asks nothing.
#[derive(Clone, Debug, Default)]
pub struct ServerSecurity {
    /// The token that every request must carry.
    pub token: Option<Token>,
    /// TLS, with or without certificates of the peers.
    pub tls: Option<ServerTls>,
}

/// What a client shows and trusts. The default shows nothing and trusts the system's roots.
#[derive(Clone, Debug, Default)]
pub struct ClientSecurity {
    /// The token that goes with every request.
    pub token: Option<Token>,
    /// For `https` addresses.
    pub tls: ClientTls,
}

/// A token or a certificate that cannot be used, or a listener that would be open to everybody.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The listener would take in anybody.
    #[error(
        "{address} can be reached from other machines, and no token is set: listen on 127.0.0.1, or set a token with \
         --token-file F (or SRNAS_TOKEN_FILE), or say --insecure to let in whoever comes"
    )]
    Open {
        /// Where it would listen.
        address: SocketAddr,
    },
    /// A file cannot be read.
    #[error("cannot read {what} {path}: {source}{hint}")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
        /// What helps, if anything is known to.
        hint: String,
    },
    /// A token that is too easy to guess or cannot travel.
    #[error("the token in {path} is refused: {reason}; `openssl rand -hex 32 > {path}` makes a good one")]
    Token {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file is not what it should be.
    #[error("{path} is not {what}: {reason}")]
    Pem {
        /// What it should be.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate's time is over, or has not come.
    #[error("the certificate in {path} {state}; renew it, or set this machine's clock right")]
    NotValidNow {
        /// The file.
        path: String,
        /// Since when, or until when.
        state: String,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in {key} does not belong to the certificate in {certificate}: give the two that were made together"
    )]
    OtherKey {
        /// File of the certificate.
        certificate: String,
        /// File of the key.
        key: String,
    },
    /// The parts are fine, but TLS cannot be set up with them.
    #[error("TLS cannot be set up with {path}: {reason}")]
    Tls {
        /// The file.
        path: String,
        /// What rustls says.
        reason: String,
    },
}

impl SecurityError {
    /// A file that cannot be read; where it is another user's, that is said.
    pub(crate) fn unreadable(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        let hint = match source.kind() {
            std::io::ErrorKind::PermissionDenied => ownership(path).unwrap_or_default(),
            _ => String::new(),
        };
        Self::Unreadable { what, path: path.display().to_string(), source, hint }
    }
}

/// Who may read a file, and who would.
fn ownership(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let (file, process) = (std::fs::metadata(path).ok()?, std::fs::metadata("/proc/self").ok()?);
    Some(format!(
        "; it belongs to user {} and group {} with mode {:03o}, and this process is user {} of group {}: let that group read it \
         (`chgrp {} F && chmod 640 F`; docs/containers.md does so for containers)",
        file.uid(),
        file.gid(),
        file.mode() & 0o777,
        process.uid(),
        process.gid(),
        process.gid(),
    ))
}

/// Whether something may listen on `address`: on loopback always, elsewhere with a token or when `insecure` was said.
///
/// # Errors
/// [`SecurityError::Open`] names the ways out.
pub fn may_listen(address: SocketAddr, token: Option<&Token>, insecure: bool) -> Result<(), SecurityError> {
    let loopback = address.ip().to_canonical().is_loopback();
    if loopback || token.is_some() || insecure { Ok(()) } else { Err(SecurityError::Open { address }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_free() {
        let token = Token::new("0123456789abcdef").unwrap();
        for (address, free) in [
            ("127.0.0.1:0", true),
            ("127.3.2.1:7777", true),
            ("[::1]:7777", true),
            ("[::ffff:127.0.0.1]:7777", true),
            ("0.0.0.0:0", false),
            ("[::]:7777", false),
            ("10.0.0.7:7777", false),
            ("[::ffff:10.0.0.7]:7777", false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(may_listen(address, None, false).is_ok(), free, "{address}");
            assert!(may_listen(address, Some(&token), false).is_ok());
            assert!(may_listen(address, None, true).is_ok());
        }
        let said = may_listen("0.0.0.0:80".parse().unwrap(), None, false).unwrap_err().to_string();
        assert!(["0.0.0.0:80", "127.0.0.1", "--token-file", "--insecure"].iter().all(|w| said.contains(w)));
    }

    #[test]
    fn a_file_of_another_user_is_said_to_be_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let said = SecurityError::unreadable("the token file", file.path(), denied).to_string();
        assert!(
            said.contains("permission denied; it belongs to user ") && said.contains("mode 600"),
            "{said}"
        );
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        let said = SecurityError::unreadable("the token file", file.path(), gone).to_string();
        assert!(said.ends_with("entity not found"), "{said}");
    }
}
