//! Mutual TLS: every connection shows a certificate of this cluster's CA, and its URI says who is there.
//!
//! The files are read again when they change, so a rotated certificate needs no restart.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use kennet_contract::{CertificatePaths, ClusterId, PeerIdentity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::management::http::{self, Port};
use crate::start_error::StartError;

/// A handshake that takes longer is none.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The server's side of the endpoint's TLS.
#[derive(Clone)]
pub(super) struct Tls {
    paths: CertificatePaths,
    cluster_id: ClusterId,
    loaded: Arc<Mutex<Loaded>>,
}

struct Loaded {
    config: Arc<ServerConfig>,
    /// When the certificate ends, seconds since 1970.
    expires: i64,
    changed_at: [Option<SystemTime>; 3],
}

impl Loaded {
    fn read(paths: &CertificatePaths) -> Result<Self, StartError> {
        // the times first: files that change meanwhile are read again
        let changed_at = changed_at(paths);
        let chain = certificates(&paths.certificate)?;
        let expires = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let expires = expires.map_or(0, |(_, leaf)| leaf.validity().not_after.timestamp());
        Ok(Self { config: Arc::new(server_config(paths, chain)?), expires, changed_at })
    }
}

impl Tls {
    pub(super) fn load(paths: &CertificatePaths, cluster_id: ClusterId) -> Result<Self, StartError> {
        let loaded = Arc::new(Mutex::new(Loaded::read(paths)?));
        Ok(Self { paths: paths.clone(), cluster_id, loaded })
    }

    /// The config of the files as they are now; broken files keep the last good one.
    fn current(&self) -> Arc<ServerConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed_at(&self.paths);
        if now != loaded.changed_at {
            match Loaded::read(&self.paths) {
                Ok(new) => *loaded = new,
                Err(error) => {
                    loaded.changed_at = now;
                    tracing::error!(%error, "new certificates can't be used; the old ones stay");
                }
            }
        }
        Arc::clone(&loaded.config)
    }

    /// When the loaded certificate ends, seconds since 1970.
    pub(super) fn expires(&self) -> i64 {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).expires
    }

    /// Whether the peer may use the endpoint.
    fn authorise(&self, certificate: Option<&CertificateDer<'_>>) -> Result<PeerIdentity, String> {
        let certificate = certificate.ok_or("the peer showed no certificate")?;
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let peers = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => uri.parse::<PeerIdentity>().ok(),
            _ => None,
        });
        peers.into_iter().find(|peer| peer.cluster() == self.cluster_id).ok_or_else(|| {
            format!("the certificate has no URI kennet://{}/operator, /cli or /broker/<id>", self.cluster_id)
        })
    }
}

/// Accepts connections until `stop`.
pub(super) async fn serve(socket: Arc<TcpListener>, tls: Tls, router: Router, stop: CancellationToken) {
    let port = Port::new(socket, "management");
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = port.accept() => accepted,
        };
        let Some((stream, peer, place)) = accepted else { return };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = one(stream, &tls, router, stop).await {
                tracing::warn!(%peer, error, "a management connection was refused");
            }
            drop(place);
        });
    }
}

async fn one(stream: TcpStream, tls: &Tls, router: Router, stop: CancellationToken) -> Result<(), String> {
    let acceptor = TlsAcceptor::from(tls.current());
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream))
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let peer = tls.authorise(certificate.as_ref())?;
    tracing::debug!(%peer, "management connection");
    http::answer(stream, router.layer(axum::Extension(peer)), stop).await;
    Ok(())
}

/// A volume may swap all files for older ones, so every time counts, not the newest alone.
fn changed_at(paths: &CertificatePaths) -> [Option<SystemTime>; 3] {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    [time(&paths.ca), time(&paths.certificate), time(&paths.key)]
}

fn server_config(paths: &CertificatePaths, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, StartError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&paths.ca)? {
        roots.add(certificate).map_err(|error| wrong(&paths.ca, &error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|error| wrong(&paths.ca, &error))?;
    let key = PrivateKeyDer::from_pem_file(&paths.key).map_err(|error| wrong(&paths.key, &error))?;
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&paths.certificate, &error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| wrong(&paths.certificate, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| wrong(path, &error))?.collect();
    let found = found.map_err(|error| wrong(path, &error))?;
    if found.is_empty() { Err(wrong(path, &"it holds no certificate")) } else { Ok(found) }
}

fn wrong(path: &Path, what: &dyn std::fmt::Display) -> StartError {
    StartError::Certificate { path: path.to_owned(), what: what.to_string() }
}
