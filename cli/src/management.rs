//! Calls to a broker's management endpoint over mutual TLS: status, the bootstrap record, who looks after which topic. One connection a call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennet_contract::ClusterId;
use kennet_contract::management::{BootstrapRecord, Status, TopicOwners};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::error::CliError;

const LIMIT: Duration = Duration::from_secs(5);
/// 100 000 topics with their owners, as the operator takes them.
const BODY_BYTES_MAX: usize = 64 << 20;
/// The CA in a folder of certificates.
const CA: &str = "ca.crt";

/// Where a broker's endpoint is, and the certificates for it.
#[derive(Debug)]
pub(crate) struct Management {
    host: String,
    port: u16,
    ca: PathBuf,
    certificate: PathBuf,
}

impl Management {
    /// The endpoint at `host:port`, which is what the broker's certificate must name, with `ca.crt` and one pair `<name>.crt`, `<name>.key` of the
    /// folder: `cli` if it is there, as `kennet dev` makes it, otherwise the first, such as a broker's own in its pod.
    pub(crate) fn new(address: &str, folder: &Path) -> Result<Self, CliError> {
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let parts = parts.filter(|(host, _)| !host.is_empty());
        let (host, port) =
            parts.ok_or_else(|| CliError::Usage(format!("'{address}' is not an address: expected host:port")))?;
        let failed = |source| CliError::failed(&format!("reading {}", folder.display()), source);
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let mut pairs: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "crt") && !path.ends_with(CA))
            .filter(|path| path.with_extension("key").is_file())
            .collect();
        pairs.sort_by_key(|path| (!path.ends_with("cli.crt"), path.clone()));
        let none = || CliError::Failed(format!("{} has no <name>.crt with its <name>.key", folder.display()));
        let certificate = pairs.into_iter().next().ok_or_else(none)?;
        Ok(Self { host: host.to_owned(), port, ca: folder.join(CA), certificate })
    }

    /// What the broker says of itself.
    pub(crate) async fn status(&self) -> Result<Status, CliError> {
        self.get("/status").await
    }

    /// Who looks after which topic.
    pub(crate) async fn topic_owners(&self) -> Result<TopicOwners, CliError> {
        self.get("/v1/topic-owners").await
    }

    /// Makes this broker the cluster's first.
    pub(crate) async fn bootstrap(&self, cluster_id: ClusterId, directory_id: &str) -> Result<(), CliError> {
        let record = BootstrapRecord { cluster_id, voters: vec![directory_id.to_owned()] };
        let body = serde_json::to_vec(&record).map_err(|error| CliError::Failed(error.to_string()))?;
        let (code, body) = self.call(Method::PUT, "/v1/bootstrap", body.into()).await?;
        if code.is_success() { Ok(()) } else { Err(refused("/v1/bootstrap", code, &body)) }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        let (code, body) = self.call(Method::GET, path, Bytes::new()).await?;
        if code != StatusCode::OK {
            return Err(refused(path, code, &body));
        }
        serde_json::from_slice(&body)
            .map_err(|error| CliError::Failed(format!("the broker's answer to {path}: {error}")))
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), CliError> {
        let Self { host, port, .. } = self;
        match tokio::time::timeout(LIMIT, self.exchange(method, path, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(why)) => {
                Err(CliError::Failed(format!("the broker's management endpoint at {host}:{port}, {path}: {why}")))
            }
            Err(_) => {
                let limit = LIMIT.as_secs();
                Err(CliError::Failed(format!("the broker did not answer {path} at {host}:{port} within {limit} s")))
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
        let tls = self.connector()?;
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let socket = tls.connect(ServerName::try_from(self.host.clone())?, socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes();
        driver.abort();
        Ok((code, body))
    }

    fn connector(&self) -> Result<TlsConnector, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca)?)?;
        let certificate = CertificateDer::from_pem_file(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(self.certificate.with_extension("key"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn refused(path: &str, code: StatusCode, body: &[u8]) -> CliError {
    CliError::Failed(format!("the broker answered {path} with {code}: {}", String::from_utf8_lossy(body)))
}
