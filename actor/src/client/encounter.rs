//! Encounters: who answers at an address where somebody else was looked for, or in another way. A port too many, `http` for
//! `https`: what comes of it in the words of HTTP/2 helps nobody.

use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{
    Status,
    transport::{Channel, Uri},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What HTTP/2 begins with, and settings that change nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Who is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// A learner, by actors and operators.
    Learner,
    /// A search that asks evaluators.
    Search,
}

impl Meant {
    /// In a word.
    pub fn noun(self) -> &'static str {
        match self {
            Meant::Learner => "learner",
            Meant::Search => "search",
        }
    }

    /// How it is started, and where it listens.
    fn usual(self) -> &'static str {
        match self {
            Meant::Learner => "`srnas learner` listens on port 7777 unless --listen says otherwise",
            Meant::Search => {
                "`srnas search --oracle remote` listens on port 7778 unless --listen says otherwise"
            }
        }
    }

    fn web_server(self) -> String {
        format!("a web server answers there, such as that of --http with the metrics; {}", self.usual())
    }

    fn service(self) -> &'static str {
        match self {
            Meant::Learner => "srnas.v1.Learner",
            Meant::Search => "srnas.v1.Evaluate",
        }
    }

    /// Who answers a channel on which nobody knows the calls that were meant, and what to do.
    pub async fn instead(self, channel: Channel) -> String {
        let other = match self {
            Meant::Learner => Meant::Search,
            Meant::Search => Meant::Learner,
        };
        match health(channel, other.service()).await {
            Ok(ServingStatus::Serving) => format!("a {} answers there; {}", other.noun(), self.usual()),
            // So tonic says that there was an answer, and none of gRPC.
            Err(status) if status.message().contains("mapped from HTTP status code") => self.web_server(),
            _ => format!("a gRPC server answers there that is none of srnas; {}", self.usual()),
        }
    }

    /// What is wrong with how an address is called, as far as its first words tell: nothing where nobody answers.
    pub async fn misdirected(self, uri: &Uri) -> Option<String> {
        let (host, port) = (uri.host()?, uri.port_u16()?);
        let secure = uri.scheme_str() == Some("https");
        let address = format!("{host}:{port}");
        match (speaks(&address).await?, secure) {
            (Speaks::Tls, false) => Some(format!(
                "it speaks TLS: say https://{address}, and --tls-ca F if its certificate is of a CA of your own"
            )),
            (Speaks::Http2, true) => Some(format!("it speaks without TLS: say http://{address}")),
            (Speaks::Http1, _) => Some(self.web_server()),
            (Speaks::Other, _) => Some(format!("another program answers there; {}", self.usual())),
            (Speaks::Tls, true) | (Speaks::Http2, false) => None,
        }
    }
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Tls,
    Http1,
    Http2,
    Other,
}

/// Greets a server and listens to its first words; none where it says nothing.
async fn speaks(address: &str) -> Option<Speaks> {
    let conversation = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(GREETING).await.ok()?;
        let mut words = [0; 9];
        let mut heard = 0;
        while heard < words.len() {
            match stream.read(&mut words[heard..]).await {
                Ok(n @ 1..) => heard += n,
                Ok(0) | Err(_) => break,
            }
        }
        understand(&words[..heard])
    };
    tokio::time::timeout(PATIENCE, conversation).await.ok()?
}

fn understand(words: &[u8]) -> Option<Speaks> {
    match words {
        [] => None,
        // An alert or a handshake, of TLS 1.x.
        [0x15 | 0x16, 0x03, ..] => Some(Speaks::Tls),
        // Settings come first, on the connection as a whole; or what ends it.
        [_, _, _, 0x04 | 0x07, _, 0, 0, 0, 0] => Some(Speaks::Http2),
        words if words.starts_with(b"HTTP/1.") => Some(Speaks::Http1),
        words if words.len() < 9 => None,
        _ => Some(Speaks::Other),
    }
}

async fn health(channel: Channel, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = tokio::time::timeout(PATIENCE, HealthClient::new(channel).check(request)).await;
    let late = |_| Err(Status::deadline_exceeded("no answer in time"));
    answer.unwrap_or_else(late).map(|response| response.get_ref().status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn first_words_tell_what_is_spoken() {
        for (words, spoken) in [
            (&b""[..], None),
            (b"\x15\x03\x03\x00\x02\x02\x32", Some(Speaks::Tls)),
            (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Some(Speaks::Http2)),
            (b"HTTP/1.1 ", Some(Speaks::Http1)),
            (b"SSH-2.0-O", Some(Speaks::Other)),
            (b"220", None),
        ] {
            assert_eq!(understand(words), spoken, "{words:?}");
        }
    }

    /// What is said of a server that answers this.
    async fn met(answer: &'static [u8], scheme: &str, meant: Meant) -> Option<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
        });
        meant.misdirected(&format!("{scheme}://{address}").parse().unwrap()).await
    }

    #[tokio::test]
    async fn schemes_and_web_servers_are_named_and_what_fits_is_not() {
        let (tls, http2) = (b"\x15\x03\x03\x00\x02\x02\x32\x00\x00", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00");
        for (answer, scheme, meant, part) in [
            (&tls[..], "http", Meant::Learner, "say https://127.0.0.1:"),
            (http2, "https", Meant::Learner, "say http://127.0.0.1:"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http", Meant::Learner, "port 7777"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "https", Meant::Search, "port 7778"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "http", Meant::Learner, "another program"),
        ] {
            let said = met(answer, scheme, meant).await.unwrap();
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(met(tls, "https", Meant::Learner).await, None);
        assert_eq!(met(http2, "http", Meant::Search).await, None);
        // Nobody, and somebody who says nothing.
        assert_eq!(Meant::Learner.misdirected(&"http://127.0.0.1:1".parse().unwrap()).await, None);
        assert_eq!(met(b"", "http", Meant::Learner).await, None);
    }
}
