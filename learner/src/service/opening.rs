//! While a learner gets ready: whoever comes is told what it does, instead of waiting for an answer that does not come.

use super::{doors, listening, server};
use srnas_security::ServerSecurity;
use std::{io, time::Duration};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};

/// Who comes just before a learner is ready waits these moments in the queue of connections, and hears nothing of it. It is less
/// than actors wait for the answer to a ping.
const GRACE: Duration = Duration::from_secs(2);
/// Connections at a time.
const PLACES: usize = 256;
/// How long answers under way are waited for at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Answers for a learner that is not ready, until it [ends](Opening::end) or is dropped.
pub(crate) struct Opening {
    until: CancellationToken,
    server: JoinHandle<()>,
}

impl Opening {
    /// Answers what comes to `listener` with what is being done. The listener that is returned is for whoever serves after that:
    /// both are of the same socket.
    pub fn start(
        listener: TcpListener,
        security: &ServerSecurity,
        doing: watch::Receiver<String>,
    ) -> io::Result<(Opening, TcpListener)> {
        let listener = listener.into_std()?;
        let (meanwhile, after) =
            (TcpListener::from_std(listener.try_clone()?)?, TcpListener::from_std(listener)?);
        let (doors, _) = doors(security, PLACES);
        let until = CancellationToken::new();
        let over = until.clone();
        let server = tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => return,
                () = tokio::time::sleep(GRACE) => {}
            }
            let answer = move || {
                let text = format!("the learner is not ready yet: it {}", *doing.borrow());
                async move { Status::unavailable(text).into_http::<Body>() }
            };
            let routes = Routes::from(axum::Router::new().fallback(answer));
            let connections = listening::connections(meanwhile, doors, over.clone());
            // An answer that cannot be given is given by the learner that is ready.
            let _ = server()
                .add_routes(routes)
                .serve_with_incoming_shutdown(connections, over.cancelled_owned())
                .await;
        });
        Ok((Opening { until, server }, after))
    }

    /// Answers no more.
    pub async fn end(mut self) {
        self.until.cancel();
        let _ = tokio::time::timeout(FAREWELL, &mut self.server).await;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.until.cancel();
        self.server.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use srnas_proto::v1::{
        JoinRequest, StatusRequest, admin_client::AdminClient, learner_client::LearnerClient,
    };
    use tonic::{Code, transport::Endpoint};

    #[tokio::test]
    async fn whoever_comes_hears_what_is_being_done_and_the_socket_stays() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, doing) = watch::channel("reads its files".to_string());
        let (opening, after) = Opening::start(listener, &ServerSecurity::default(), doing).unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let told = LearnerClient::new(channel.clone()).join(JoinRequest::default()).await.unwrap_err();
        assert_eq!(
            (told.code(), told.message()),
            (Code::Unavailable, "the learner is not ready yet: it reads its files")
        );
        say.send_replace("fits the posteriors".into());
        let told = AdminClient::new(channel).status(StatusRequest {}).await.unwrap_err();
        assert!(told.message().ends_with("it fits the posteriors"), "{told}");
        opening.end().await;
        let (accepted, _) = tokio::join!(after.accept(), tokio::net::TcpStream::connect(address));
        accepted.unwrap();
    }
}
