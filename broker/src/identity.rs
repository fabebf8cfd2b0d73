//! identity.json: to which cluster and broker a data directory belongs, and the id that it was given when it was formatted.
//!
//! Written once and never overwritten. A directory that belongs to somebody else, or has another format, is refused.

use std::path::{Path, PathBuf};

use kennet_contract::{ClusterId, paths};
use kennet_log::fs::{FileSystem, read_file, replace_file};
use kennet_protocol::Uuid;
use serde::{Deserialize, Serialize};

use crate::start_error::StartError;

/// The format of everything in the data directory. Formats may change without migration before version 0.1.0. 2: a group's records are in the
/// partition in which Kafka has them, also where the hash of its name is negative. 3: what is durable lies in a journal first.
pub(crate) const FORMAT_VERSION: u32 = 3;
/// The file has four short fields.
const BYTES_MAX: usize = 4096;

/// Whose data directory it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster_id: ClusterId,
    /// The broker.
    pub(crate) broker_id: i32,
    /// Made when the directory was formatted.
    pub(crate) directory_id: String,
    /// [`FORMAT_VERSION`] of the writer.
    pub(crate) format_version: u32,
}

/// Every log directory of Apache Kafka has it.
const KAFKAS_IDENTITY: &str = "meta.properties";

/// Refuses a directory that Apache Kafka has formatted, before anything is written there: its records would stay unread beside ours.
///
/// # Errors
/// When it is one, or can't be listed.
pub(crate) fn refuse_kafkas(fs: &dyn FileSystem, directory: &Path) -> Result<(), StartError> {
    let entries = fs.list(directory).map_err(|source| StartError::Io { path: directory.to_owned(), source })?;
    let is_kafkas = entries.iter().any(|entry| entry.name == KAFKAS_IDENTITY);
    if is_kafkas { Err(StartError::KafkasDirectory { path: directory.to_owned() }) } else { Ok(()) }
}

impl Identity {
    /// Reads the identity, or writes one into a directory that has none.
    ///
    /// # Errors
    /// When the directory belongs to somebody else, or can't be used.
    pub(crate) fn open(
        fs: &dyn FileSystem,
        directory: &Path,
        cluster_id: ClusterId,
        broker_id: i32,
    ) -> Result<Self, StartError> {
        let path = directory.join(paths::IDENTITY_FILE);
        let refused = |source| StartError::Io { path: directory.to_owned(), source };
        match read_file(fs, &path, BYTES_MAX).map_err(refused)? {
            Some(bytes) => Self::check(&bytes, directory, path, cluster_id, broker_id),
            None => {
                let directory_id = Uuid::new_v4().to_string();
                let identity = Self { cluster_id, broker_id, directory_id, format_version: FORMAT_VERSION };
                let text = serde_json::to_vec_pretty(&identity).map_err(|error| refused(error.into()))?;
                replace_file(fs, &path, &text).map_err(refused)?;
                Ok(identity)
            }
        }
    }

    /// Refuses a directory that belongs to somebody else or has another format. Writes nothing.
    ///
    /// # Errors
    /// When it does, or can't be read.
    pub(crate) fn refuse_others(
        fs: &dyn FileSystem,
        directory: &Path,
        cluster_id: ClusterId,
        broker_id: i32,
    ) -> Result<(), StartError> {
        let path = directory.join(paths::IDENTITY_FILE);
        let refused = |source| StartError::Io { path: directory.to_owned(), source };
        match read_file(fs, &path, BYTES_MAX).map_err(refused)? {
            Some(bytes) => Self::check(&bytes, directory, path, cluster_id, broker_id).map(drop),
            None => Ok(()),
        }
    }

    /// The directory's id as metadata has it.
    #[must_use]
    pub(crate) fn directory_uuid(&self) -> Uuid {
        Uuid::parse_str(&self.directory_id).unwrap_or_default()
    }

    /// Reads the identity of a directory, whose ever it is, and checks that this version reads what is in there. Writes nothing.
    ///
    /// # Errors
    /// When there is none, it is damaged, or of another format.
    pub(crate) fn read(fs: &dyn FileSystem, directory: &Path) -> Result<Self, StartError> {
        let path = directory.join(paths::IDENTITY_FILE);
        let refused = |source| StartError::Io { path: path.clone(), source };
        let bytes = read_file(fs, &path, BYTES_MAX).map_err(refused)?;
        let bytes = bytes.ok_or_else(|| refused(std::io::ErrorKind::NotFound.into()))?;
        Self::parse(&bytes, directory, path)
    }

    fn check(bytes: &[u8], directory: &Path, file: PathBuf, expected: ClusterId, id: i32) -> Result<Self, StartError> {
        let identity = Self::parse(bytes, directory, file)?;
        let path = directory.to_owned();
        if identity.cluster_id != expected {
            return Err(StartError::ForeignCluster { path, found: identity.cluster_id, expected });
        }
        if identity.broker_id != id {
            return Err(StartError::ForeignBroker { path, found: identity.broker_id, expected: id });
        }
        Ok(identity)
    }

    fn parse(bytes: &[u8], directory: &Path, file: PathBuf) -> Result<Self, StartError> {
        // the version first: a newer format may have other fields
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            format_version: u32,
        }
        let damaged = |what: String| StartError::Identity { path: file.clone(), what };
        let version: Version = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        let path = directory.to_owned();
        if version.format_version != FORMAT_VERSION {
            let found = version.format_version;
            return Err(StartError::FormatVersion { path, found, expected: FORMAT_VERSION });
        }
        let identity: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if Uuid::parse_str(&identity.directory_id).is_err() {
            return Err(damaged(format!("directoryId '{}' is no id", identity.directory_id)));
        }
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use kennet_contract::ClusterId;
    use kennet_log::fs::RealFileSystem;

    use super::Identity;
    use crate::start_error::StartError;

    const CLUSTER: [u8; 16] = [7; 16];

    fn open(folder: &std::path::Path, cluster: [u8; 16], broker: i32) -> Result<Identity, StartError> {
        Identity::open(&RealFileSystem::new(folder), folder, ClusterId::from_bytes(cluster), broker)
    }

    #[test]
    fn an_identity_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path(), CLUSTER, 3).unwrap();
        assert_eq!(open(folder.path(), CLUSTER, 3).unwrap(), first);
    }

    #[test]
    fn somebody_elses_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), CLUSTER, 3).unwrap();
        assert!(matches!(open(folder.path(), [8; 16], 3), Err(StartError::ForeignCluster { .. })));
        assert!(matches!(open(folder.path(), CLUSTER, 4), Err(StartError::ForeignBroker { .. })));
    }

    #[test]
    fn another_format_is_refused_before_its_fields_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("identity.json"), br#"{"formatVersion": 9, "new": true}"#).unwrap();
        assert!(matches!(open(folder.path(), CLUSTER, 3), Err(StartError::FormatVersion { found: 9, .. })));
        std::fs::write(folder.path().join("identity.json"), b"{").unwrap();
        assert!(matches!(open(folder.path(), CLUSTER, 3), Err(StartError::Identity { .. })));
    }
}
