//! The cluster CA and its leaves, for control and management connections only.
//!
//! Who a certificate is for stands in its one URI (`kennet://<cluster id>/...`); "signed by the CA" alone allows nothing.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::tz::TimeZone;
use kennet_contract::PeerIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use x509_parser::pem::parse_x509_pem;

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

/// Whether a leaf is too old to rely on, or of another CA.
pub(crate) fn needs_renewal(leaf: &str, ca: &str, now: Timestamp) -> Result<bool, PkiError> {
    let read = |what: String| PkiError::Read { what };
    let (_, leaf_pem) = parse_x509_pem(leaf.as_bytes()).map_err(|error| read(error.to_string()))?;
    let (_, ca_pem) = parse_x509_pem(ca.as_bytes()).map_err(|error| read(error.to_string()))?;
    let leaf = leaf_pem.parse_x509().map_err(|error| read(error.to_string()))?;
    let ca = ca_pem.parse_x509().map_err(|error| read(error.to_string()))?;
    let soon = leaf.validity().not_after.timestamp() - now.as_second() < RENEW_DAYS * DAY_S;
    Ok(soon || leaf.issuer() != ca.subject())
}

/// From an hour ago, so that clocks may differ a little.
fn valid_for(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let at = |second: i64| {
        let date = Timestamp::from_second(second).unwrap_or(now).to_zoned(TimeZone::UTC);
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        let clock = i64::from(date.hour()) * 3600 + i64::from(date.minute()) * 60 + i64::from(date.second());
        date_time_ymd(i32::from(date.year()), month, day) + std::time::Duration::from_secs(clock.unsigned_abs())
    };
    params.not_before = at(now.as_second() - 3600);
    params.not_after = at(now.as_second() + days * DAY_S);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use kennet_contract::{ClusterId, PeerIdentity};

    use super::{needs_renewal, new_ca, new_leaf};

    #[test]
    fn a_leaf_is_renewed_in_its_last_month_or_under_another_ca() {
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let day = |days: i64| Timestamp::from_second(1_800_000_000 + days * 86_400).unwrap();
        let ca = new_ca("orders", start).unwrap();
        let peer = PeerIdentity::Broker { cluster: ClusterId::from_bytes([1; 16]), id: 0 };
        let leaf = new_leaf(&ca, peer, &["a.b.c.svc".to_owned()], start).unwrap();
        assert!(!needs_renewal(&leaf.certificate, &ca.certificate, day(59)).unwrap());
        assert!(needs_renewal(&leaf.certificate, &ca.certificate, day(61)).unwrap());
        let other = new_ca("other", start).unwrap();
        assert!(needs_renewal(&leaf.certificate, &other.certificate, start).unwrap());
    }
}
