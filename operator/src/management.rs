//! The client of a broker's management endpoint: HTTP over mutual TLS, one connection per call, every call with a deadline.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennet_contract::management::{
    AppliedGenerationChange, BootstrapRecord, Changes, LastApplied, Problem, Status, TopicCreation, TopicOwnerChange,
    TopicOwners, TopicOwnership,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::Pair;

const DEADLINE: Duration = Duration::from_secs(10);
/// A long poll is answered within half a minute.
const LONG_DEADLINE: Duration = Duration::from_secs(45);
/// 100 000 topics with their owners.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    /// Our certificates can't be used.
    #[error("the operator's certificates can't be used: {what}")]
    Certificates {
        /// What is wrong.
        what: String,
    },
    /// No connection or a broken one.
    #[error("{host} can't be reached: {what}")]
    Unreachable {
        /// The broker.
        host: String,
        /// What happened.
        what: String,
    },
    /// The broker refused.
    #[error("{host} refused: {} ({})", problem.message, problem.reason)]
    Refused {
        /// The broker.
        host: String,
        /// Its reason.
        problem: Problem,
    },
}

/// A broker's endpoint.
#[derive(Clone)]
pub(crate) struct Management {
    address: String,
    host: String,
    tls: Arc<ClientConfig>,
}

impl Management {
    /// The endpoint at `address` (host or IP and port) of the broker whose certificate names `host`.
    pub(crate) fn new(address: String, host: String, ca: &str, own: &Pair) -> Result<Self, ManagementError> {
        let wrong = |what: &dyn std::fmt::Display| ManagementError::Certificates { what: what.to_string() };
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|error| wrong(&error))?;
        roots.add(ca).map_err(|error| wrong(&error))?;
        let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).map_err(|error| wrong(&error))?;
        let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).map_err(|error| wrong(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)
            .map_err(|error| wrong(&error))?;
        Ok(Self { address, host, tls: Arc::new(tls) })
    }

    pub(crate) async fn status(&self) -> Result<Status, ManagementError> {
        self.call(Method::GET, "/status", None::<&()>, DEADLINE).await
    }

    pub(crate) async fn bootstrap(&self, record: &BootstrapRecord) -> Result<(), ManagementError> {
        self.ask(Method::PUT, "/v1/bootstrap", Some(record), DEADLINE).await.map(drop)
    }

    /// Waits for metadata beyond an offset, for half a minute at most.
    pub(crate) async fn changes(&self, after: i64) -> Result<Changes, ManagementError> {
        self.call(Method::GET, &format!("/v1/changes?after={after}"), None::<&()>, LONG_DEADLINE).await
    }

    pub(crate) async fn topic_owners(&self) -> Result<TopicOwners, ManagementError> {
        self.call(Method::GET, "/v1/topic-owners", None::<&()>, DEADLINE).await
    }

    pub(crate) async fn change_topic_owner(
        &self,
        change: &TopicOwnerChange,
    ) -> Result<TopicOwnership, ManagementError> {
        self.call(Method::POST, "/v1/topic-owners", Some(change), DEADLINE).await
    }

    /// Makes a topic with its owner.
    pub(crate) async fn create_topic(&self, wanted: &TopicCreation) -> Result<TopicOwnership, ManagementError> {
        self.call(Method::PUT, "/v1/topic-owners", Some(wanted), DEADLINE).await
    }

    /// Which spec of the KafkaCluster was applied last.
    pub(crate) async fn last_applied(&self) -> Result<LastApplied, ManagementError> {
        self.call(Method::GET, "/v1/applied-generation", None::<&()>, DEADLINE).await
    }

    /// Writes down which spec is applied.
    pub(crate) async fn set_applied(&self, change: &AppliedGenerationChange) -> Result<LastApplied, ManagementError> {
        self.call(Method::PUT, "/v1/applied-generation", Some(change), DEADLINE).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        deadline: Duration,
    ) -> Result<T, ManagementError> {
        let answer = self.ask(method, path, body, deadline).await?;
        serde_json::from_slice(&answer).map_err(|error| self.unreachable(&error))
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        deadline: Duration,
    ) -> Result<Bytes, ManagementError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.unreachable(&error))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| self.unreachable(&error))?;
        match tokio::time::timeout(deadline, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(&format!("no answer within {} s", deadline.as_secs()))),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Bytes, ManagementError> {
        let socket = TcpStream::connect(&self.address).await.map_err(|error| self.unreachable(&error))?;
        let name = ServerName::try_from(self.host.clone()).map_err(|error| self.unreachable(&error))?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, socket).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| self.unreachable(&error))?.to_bytes();
            self.judge(status, body)
        };
        tokio::pin!(connection, exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // the connection ends only after its last answer was handed over, unless it broke
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(self.unreachable(&error)),
            }
        }
    }

    fn judge(&self, status: StatusCode, body: Bytes) -> Result<Bytes, ManagementError> {
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ManagementError::Refused { host: self.host.clone(), problem }),
            Err(_) => Err(self.unreachable(&format!("HTTP status {status}"))),
        }
    }

    fn unreachable(&self, what: &dyn std::fmt::Display) -> ManagementError {
        ManagementError::Unreachable { host: self.host.clone(), what: what.to_string() }
    }
}
