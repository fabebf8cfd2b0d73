//! A CA and two certificates for the management endpoint: the broker's, and ours.
//!
//! They are made anew with every start and their keys are readable by this user only, so nothing has to be renewed or kept.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kennet_contract::{ClusterId, PeerIdentity};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

use crate::error::CliError;

/// Writes `ca.crt`, `broker.crt`, `broker.key`, `cli.crt`, `cli.key` into `<folder>/tls`.
pub(super) fn write(folder: &Path, cluster: ClusterId) -> Result<(), CliError> {
    let tls = folder.join("tls");
    let failed = |source| CliError::failed(&format!("writing certificates into {}", tls.display()), source);
    std::fs::create_dir_all(&tls).map_err(failed)?;
    for (file, text) in make(cluster).map_err(|error| failed(io::Error::other(error)))? {
        let path = tls.join(file);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    }
    Ok(())
}

fn make(cluster: ClusterId) -> Result<Vec<(&'static str, String)>, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "kennet dev");
    let mut files = vec![("ca.crt", ca.self_signed(&ca_key)?.pem())];
    let issuer = Issuer::new(ca, ca_key);
    let leaves = [
        ("broker.crt", "broker.key", PeerIdentity::Broker { cluster, id: 0 }),
        ("cli.crt", "cli.key", PeerIdentity::Cli { cluster }),
    ];
    for (certificate, key_file, identity) in leaves {
        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        leaf.subject_alt_names.push(SanType::URI(identity.to_string().try_into()?));
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        files.push((certificate, leaf.signed_by(&key, &issuer)?.pem()));
        files.push((key_file, key.serialize_pem()));
    }
    Ok(files)
}
