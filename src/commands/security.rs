//! Flags of who may speak, shared by the commands that listen and those that call.

use super::Usage;
use clap::{
    Args,
    builder::{OsStringValueParser, TypedValueParser},
};
use srnas_security::{
    Authority, ClientSecurity, ClientTls, Identity, SecurityError, ServerSecurity, ServerTls, Token,
    may_listen,
};
use std::{net::SocketAddr, path::PathBuf};
use tracing::{info, warn};

/// The token, where nothing else of security is to be said.
#[derive(Debug, Default, Args)]
pub struct TokenArgs {
    /// File with the token that learner and actors share
    // Of itself clap refuses an empty path.
    #[arg(long, value_name = "F", env = "SRNAS_TOKEN_FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token of the file, if one is named.
    pub fn load(&self) -> Result<Option<Token>, SecurityError> {
        // A variable that is set and empty names none.
        let file = self.token_file.as_deref().filter(|file| !file.as_os_str().is_empty());
        file.map(Token::load).transpose()
    }
}

/// What a command that listens asks of its peers.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Security")]
pub struct ListenerSecurity {
    #[command(flatten)]
    token: TokenArgs,
    /// Listen beyond this machine without a token
    #[arg(long)]
    insecure: bool,
    /// Certificate to show, PEM: actors connect to https://
    #[arg(long, value_name = "F", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "F", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// CA that signs the actors' certificates, PEM: without one of them nobody may join
    #[arg(long, value_name = "F", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
}

impl ListenerSecurity {
    /// Reads the files, and refuses to listen on an address if anybody could come; `http` is that of the metrics.
    ///
    /// # Errors
    /// [`SecurityError`].
    pub fn load(&self, address: SocketAddr, http: Option<SocketAddr>) -> anyhow::Result<ServerSecurity> {
        let token = self.token.load()?;
        for address in [Some(address), http].into_iter().flatten() {
            may_listen(address, token.as_ref(), self.insecure)?;
        }
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                let clients = self.tls_ca.as_deref().map(Authority::load).transpose()?;
                Some(ServerTls::new(Identity::load(certificate, key)?, clients)?)
            }
            _ => None,
        };
        if may_listen(address, None, false).is_err() {
            match (&token, &tls) {
                (None, _) => warn!(%address, "--insecure: whoever reaches this address may join"),
                (Some(_), None) => {
                    info!(%address, "without TLS: who can read the network can read the token")
                }
                (Some(_), Some(_)) => {}
            }
        }
        Ok(ServerSecurity { token, tls })
    }
}

/// What a command that calls a learner shows, and which learner it trusts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub struct CallerSecurity {
    #[command(flatten)]
    token: TokenArgs,
    /// CA that signed the learner's certificate, PEM [default: those that the system trusts]
    #[arg(long, value_name = "F")]
    tls_ca: Option<PathBuf>,
    /// Certificate to show to a learner that asks for one, PEM
    #[arg(long, value_name = "F", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, value_name = "F", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl CallerSecurity {
    /// Reads the files, for calls to `learner`.
    ///
    /// # Errors
    /// [`SecurityError`], and TLS files without a use.
    pub fn load(&self, learner: &str) -> anyhow::Result<ClientSecurity> {
        let tls_wanted = self.tls_ca.is_some() || self.tls_cert.is_some();
        if tls_wanted && !learner.starts_with("https://") {
            let bare = learner.trim_start_matches("http://");
            return Err(Usage(format!(
                "--tls-ca and --tls-cert are of no use with `{learner}`: did you mean https://{bare}?"
            ))
            .into());
        }
        let authority = self.tls_ca.as_deref().map(Authority::load).transpose()?;
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Identity::load(certificate, key)?),
            _ => None,
        };
        Ok(ClientSecurity { token: self.token.load()?, tls: ClientTls::new(authority, identity) })
    }
}
