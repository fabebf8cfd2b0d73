//! The cluster CA and its leaves, for control and management connections only.
//!
//! Who a certificate is for stands in its one URI (`kennet://<cluster id>/...`); "signed by the CA" alone allows nothing.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use kennet_contract::PeerIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

const DAY_S: i64 = 86_400;
const CA_DAYS: i64 = 3 * 365;
const LEAF_DAYS: i64 = 90;
/// A leaf is renewed when so little is left.
const RENEW_DAYS: i64 = 30;

/// Why certificates can't be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PkiError {
    /// Making one failed.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A stored one is no certificate.
    #[error("a stored certificate can't be read: {what}")]
    Read {
        /// What is wrong.
        what: String,
    },
}

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A new CA.
pub(crate) fn new_ca(cluster: &str, now: Timestamp) -> Result<Pair, PkiError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{cluster} cluster CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, now, CA_DAYS);
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// A leaf for a peer, reachable under these hosts.
pub(crate) fn new_leaf(ca: &Pair, peer: PeerIdentity, hosts: &[String], now: Timestamp) -> Result<Pair, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(hosts.to_vec())?;
    params.subject_alt_names.push(SanType::URI(peer.to_string().as_str().try_into()?));
    params.distinguished_name.push(DnType::CommonName, "kennet");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    valid_for(&mut params, now, LEAF_DAYS);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Whether a stored leaf serves a peer: signed by this CA's key and not just by a CA of that name, for this peer and host, and not near its
/// end. One that can't be read does not.
pub(crate) fn serves(leaf: &str, ca: &str, peer: PeerIdentity, host: &str, now: Timestamp) -> Result<bool, PkiError> {
    let read = |what: String| PkiError::Read { what };
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|error| read(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    roots.add(ca).map_err(|error| read(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let verifier = verifier.map_err(|error| read(error.to_string()))?;
    let host = ServerName::try_from(host.to_owned()).map_err(|error| read(error.to_string()))?;
    let Ok(leaf) = CertificateDer::from_pem_slice(leaf.as_bytes()) else { return Ok(false) };
    // by the time when it would be renewed, so that "near its end" is the verifier's own check
    let then = u64::try_from(now.as_second() + RENEW_DAYS * DAY_S).unwrap_or(0);
    let then = UnixTime::since_unix_epoch(Duration::from_secs(then));
    Ok(verifier.verify_server_cert(&leaf, &[], &host, &[], then).is_ok() && names(&leaf, peer))
}

/// Whether a certificate's URI is this peer's.
fn names(leaf: &CertificateDer<'_>, peer: PeerIdentity) -> bool {
    let Ok((_, leaf)) = parse_x509_certificate(leaf) else { return false };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return false };
    let peer = peer.to_string();
    names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(uri) if **uri == peer))
}

/// From an hour ago, so that clocks may differ a little.
fn valid_for(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let at = |second: i64| {
        let date = Timestamp::from_second(second).unwrap_or(now).to_zoned(TimeZone::UTC);
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        let clock = i64::from(date.hour()) * 3600 + i64::from(date.minute()) * 60 + i64::from(date.second());
        date_time_ymd(i32::from(date.year()), month, day) + Duration::from_secs(clock.unsigned_abs())
    };
    params.not_before = at(now.as_second() - 3600);
    params.not_after = at(now.as_second() + days * DAY_S);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use kennet_contract::{ClusterId, PeerIdentity};

    use super::{new_ca, new_leaf, serves};

    const HOST: &str = "a.b.c.svc";

    #[test]
    fn a_leaf_serves_until_its_last_month_and_only_under_the_ca_that_signed_it() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let day = |days: i64| Timestamp::from_second(1_800_000_000 + days * 86_400).unwrap();
        let ca = new_ca("orders", start).unwrap();
        let peer = |cluster: u8, id| PeerIdentity::Broker { cluster: ClusterId::from_bytes([cluster; 16]), id };
        let leaf = new_leaf(&ca, peer(1, 0), &[HOST.to_owned()], start).unwrap().certificate;
        assert!(serves(&leaf, &ca.certificate, peer(1, 0), HOST, day(59)).unwrap());
        assert!(!serves(&leaf, &ca.certificate, peer(1, 0), HOST, day(61)).unwrap());
        assert!(!serves(&leaf, &ca.certificate, peer(1, 1), HOST, start).unwrap());
        assert!(!serves(&leaf, &ca.certificate, peer(2, 0), HOST, start).unwrap());
        assert!(!serves(&leaf, &ca.certificate, peer(1, 0), "x.b.c.svc", start).unwrap());
        assert!(!serves("", &ca.certificate, peer(1, 0), HOST, start).unwrap());
        let of_the_same_name = new_ca("orders", start).unwrap();
        assert!(!serves(&leaf, &of_the_same_name.certificate, peer(1, 0), HOST, start).unwrap());
    }
}
