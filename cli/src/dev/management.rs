//! Calls to the broker's management endpoint: status, and the bootstrap record. One connection a call.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennet_contract::management::{BootstrapRecord, Status};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dev::state::State;
use crate::error::CliError;

const HOST: &str = "localhost";
const LIMIT: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 1 << 20;
/// See `place`.
const PORT: u16 = 7;

/// What the broker says of itself.
pub(super) async fn status(state: &State) -> Result<Status, CliError> {
    let (code, body) = call(state, Method::GET, "/status", Bytes::new()).await?;
    if code != StatusCode::OK {
        return Err(refused("/status", code, &body));
    }
    serde_json::from_slice(&body).map_err(|error| CliError::Failed(format!("the broker's status: {error}")))
}

/// Makes this broker the cluster's first.
pub(super) async fn bootstrap(state: &State, directory_id: &str) -> Result<(), CliError> {
    let record = BootstrapRecord { cluster_id: state.cluster_id, voters: vec![directory_id.to_owned()] };
    let body = serde_json::to_vec(&record).map_err(|error| CliError::Failed(error.to_string()))?;
    let (code, body) = call(state, Method::PUT, "/v1/bootstrap", body.into()).await?;
    if code.is_success() { Ok(()) } else { Err(refused("/v1/bootstrap", code, &body)) }
}

fn refused(path: &str, code: StatusCode, body: &[u8]) -> CliError {
    CliError::Failed(format!("the broker answered {path} with {code}: {}", String::from_utf8_lossy(body)))
}

async fn call(state: &State, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), CliError> {
    match tokio::time::timeout(LIMIT, exchange(state, method, path, body)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(CliError::Failed(format!("the broker's management endpoint, {path}: {why}"))),
        Err(_) => Err(CliError::Failed(format!("the broker did not answer {path} within {} s", LIMIT.as_secs()))),
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn exchange(state: &State, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Failure> {
    let tls = connector(&state.folder.join("tls"))?;
    let socket = TcpStream::connect(("127.0.0.1", state.base_port + PORT)).await?;
    let socket = tls.connect(ServerName::try_from(HOST)?, socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST)
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    let answer = sender.send_request(request).await?;
    let code = answer.status();
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes();
    driver.abort();
    Ok((code, body))
}

fn connector(folder: &Path) -> Result<TlsConnector, Failure> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.crt"))?)?;
    let certificate = CertificateDer::from_pem_file(folder.join("cli.crt"))?;
    let key = PrivateKeyDer::from_pem_file(folder.join("cli.key"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}
