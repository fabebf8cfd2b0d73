//! Who is at the other end of a TLS connection: the one URI in its certificate.
//!
//! `kennet://<cluster id>/broker/<id>`, `.../operator` or `.../cli`. "Signed by our CA" alone allows nothing.

use std::fmt;
use std::str::FromStr;

use crate::cluster_id::ClusterId;

const SCHEME: &str = "kennet://";

/// A peer, as its certificate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerIdentity {
    /// A broker of the cluster.
    Broker {
        /// The cluster.
        cluster: ClusterId,
        /// The broker's id.
        id: i32,
    },
    /// The operator.
    Operator {
        /// The cluster.
        cluster: ClusterId,
    },
    /// The command line.
    Cli {
        /// The cluster.
        cluster: ClusterId,
    },
}

/// Why a URI names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{uri}' does not name a peer: expected kennet://<cluster id>/broker/<id>, /operator or /cli")]
pub struct PeerIdentityError {
    uri: String,
}

impl PeerIdentity {
    /// The cluster that the certificate was issued for.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        match self {
            Self::Broker { cluster, .. } | Self::Operator { cluster } | Self::Cli { cluster } => *cluster,
        }
    }
}

impl fmt::Display for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker { cluster, id } => write!(f, "{SCHEME}{cluster}/broker/{id}"),
            Self::Operator { cluster } => write!(f, "{SCHEME}{cluster}/operator"),
            Self::Cli { cluster } => write!(f, "{SCHEME}{cluster}/cli"),
        }
    }
}

impl FromStr for PeerIdentity {
    type Err = PeerIdentityError;

    fn from_str(uri: &str) -> Result<Self, PeerIdentityError> {
        let wrong = || PeerIdentityError { uri: uri.chars().take(100).collect() };
        let (cluster, role) = uri.strip_prefix(SCHEME).and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
        let cluster = cluster.parse().map_err(|_| wrong())?;
        match role.split_once('/') {
            None if role == "operator" => Ok(Self::Operator { cluster }),
            None if role == "cli" => Ok(Self::Cli { cluster }),
            Some(("broker", id)) => {
                let id = id.parse().ok().filter(|number: &i32| *number >= 0 && number.to_string() == id);
                Ok(Self::Broker { cluster, id: id.ok_or_else(wrong)? })
            }
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PeerIdentity;

    #[test]
    fn a_peers_uri_comes_back() {
        for role in ["broker/0", "broker/99", "operator", "cli"] {
            let uri = format!("kennet://5L6g3nShT-eMCtK--X86sw/{role}");
            assert_eq!(uri.parse::<PeerIdentity>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_is_nearly_a_peer_is_none() {
        for uri in [
            "kennet://5L6g3nShT-eMCtK--X86sw",
            "kennet://5L6g3nShT-eMCtK--X86sw/",
            "kennet://5L6g3nShT-eMCtK--X86sw/broker",
            "kennet://5L6g3nShT-eMCtK--X86sw/broker/-1",
            "kennet://5L6g3nShT-eMCtK--X86sw/broker/01",
            "kennet://5L6g3nShT-eMCtK--X86sw/operator/x",
            "https://5L6g3nShT-eMCtK--X86sw/operator",
            "kennet://nobody/operator",
        ] {
            assert!(uri.parse::<PeerIdentity>().is_err(), "{uri}");
        }
    }
}
