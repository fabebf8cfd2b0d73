//! The one table of Kafka's APIs: key, name, and the versions that this release serves, or why it does not.
//!
//! ApiVersions, dispatch, headers and the compatibility page come from it. The versions are those of Kafka 4.1, so that
//! clients which guess a broker's release from them guess a real one.

use std::fmt;

use crate::Versions;

/// Whether an API is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// In these versions.
    Served(Versions),
    /// Not in this release; the reason in a user's words.
    NotServed {
        /// A phrase for the compatibility page.
        reason: &'static str,
    },
}

const fn served(min: i16, max: i16, flexible_from: i16) -> Support {
    Support::Served(Versions { min, max, flexible_from: Some(flexible_from) })
}

const fn served_classic(min: i16, max: i16) -> Support {
    Support::Served(Versions { min, max, flexible_from: None })
}

/// Exists between Kafka's own processes only; Kennet has its own protocol there.
const INTERNAL: Support =
    Support::NotServed { reason: "between Kafka's own brokers; Kennet's brokers speak their own" };
const REMOVED: Support = Support::NotServed { reason: "removed in Kafka 4.0" };
const REPLICATION: Support = Support::NotServed { reason: "more than one broker: a later release" };
const TRANSACTIONS: Support = Support::NotServed { reason: "transactions: a later release" };
const SECURITY: Support = Support::NotServed { reason: "client authentication and authorization: a later release" };
const QUOTAS: Support = Support::NotServed { reason: "quotas: a later release" };
const TOKENS: Support = Support::NotServed { reason: "delegation tokens: not planned, use certificates or SCRAM" };
const LOG_DIRS: Support = Support::NotServed { reason: "a broker has one data directory" };
const CONSUMER: Support = Support::NotServed { reason: "the new consumer group protocol (KIP-848): a later release" };
const SHARE: Support = Support::NotServed { reason: "share groups (KIP-932): later" };
const STREAMS: Support = Support::NotServed { reason: "the Streams group protocol (KIP-1071): later" };
const TELEMETRY: Support = Support::NotServed { reason: "client telemetry (KIP-714): listed only where a receiver is" };
const RESOURCES: Support = Support::NotServed { reason: "settings of groups and of client telemetry: a later release" };
const QUORUM: Support = Support::NotServed { reason: "the operator manages the metadata quorum" };
const FEATURES: Support = Support::NotServed { reason: "feature levels change with the KafkaCluster's version" };

macro_rules! apis {
    ($($key:literal $name:ident $support:expr;)*) => {
        /// An API of Kafka's protocol, served or not.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $(
                #[doc = concat!("API key ", stringify!($key), ".")]
                $name = $key,
            )*
        }

        impl ApiKey {
            /// Every API, by key.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The API of a key in a request's header.
            #[must_use]
            pub const fn from_code(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Whether this release serves it.
            #[must_use]
            pub const fn support(self) -> Support {
                match self {
                    $(Self::$name => $support,)*
                }
            }
        }
    };
}

apis! {
    0 Produce served(3, 13, 9);
    1 Fetch served(4, 18, 12);
    2 ListOffsets served(1, 10, 6);
    3 Metadata served(0, 13, 9);
    4 LeaderAndIsr REMOVED;
    5 StopReplica REMOVED;
    6 UpdateMetadata REMOVED;
    7 ControlledShutdown REMOVED;
    8 OffsetCommit served(2, 9, 8);
    9 OffsetFetch served(1, 9, 6);
    10 FindCoordinator served(0, 6, 3);
    11 JoinGroup served(0, 9, 6);
    12 Heartbeat served(0, 4, 4);
    13 LeaveGroup served(0, 5, 4);
    14 SyncGroup served(0, 5, 4);
    15 DescribeGroups served(0, 6, 5);
    16 ListGroups served(0, 5, 3);
    17 SaslHandshake SECURITY;
    18 ApiVersions served(0, 4, 3);
    19 CreateTopics served(2, 7, 5);
    20 DeleteTopics served(1, 6, 4);
    21 DeleteRecords served(0, 2, 2);
    22 InitProducerId served(0, 5, 2);
    23 OffsetForLeaderEpoch served(2, 4, 4);
    24 AddPartitionsToTxn TRANSACTIONS;
    25 AddOffsetsToTxn TRANSACTIONS;
    26 EndTxn TRANSACTIONS;
    27 WriteTxnMarkers INTERNAL;
    28 TxnOffsetCommit TRANSACTIONS;
    29 DescribeAcls SECURITY;
    30 CreateAcls SECURITY;
    31 DeleteAcls SECURITY;
    32 DescribeConfigs served(1, 4, 4);
    33 AlterConfigs served(0, 2, 2);
    34 AlterReplicaLogDirs LOG_DIRS;
    35 DescribeLogDirs served(1, 4, 2);
    36 SaslAuthenticate SECURITY;
    37 CreatePartitions served(0, 3, 2);
    38 CreateDelegationToken TOKENS;
    39 RenewDelegationToken TOKENS;
    40 ExpireDelegationToken TOKENS;
    41 DescribeDelegationToken TOKENS;
    42 DeleteGroups served(0, 2, 2);
    43 ElectLeaders REPLICATION;
    44 IncrementalAlterConfigs served(0, 1, 1);
    45 AlterPartitionReassignments REPLICATION;
    46 ListPartitionReassignments REPLICATION;
    47 OffsetDelete served_classic(0, 0);
    48 DescribeClientQuotas QUOTAS;
    49 AlterClientQuotas QUOTAS;
    50 DescribeUserScramCredentials SECURITY;
    51 AlterUserScramCredentials SECURITY;
    52 Vote INTERNAL;
    53 BeginQuorumEpoch INTERNAL;
    54 EndQuorumEpoch INTERNAL;
    55 DescribeQuorum REPLICATION;
    56 AlterPartition INTERNAL;
    57 UpdateFeatures FEATURES;
    58 Envelope INTERNAL;
    59 FetchSnapshot INTERNAL;
    60 DescribeCluster served(0, 2, 0);
    61 DescribeProducers TRANSACTIONS;
    62 BrokerRegistration INTERNAL;
    63 BrokerHeartbeat INTERNAL;
    64 UnregisterBroker REPLICATION;
    65 DescribeTransactions TRANSACTIONS;
    66 ListTransactions TRANSACTIONS;
    67 AllocateProducerIds INTERNAL;
    68 ConsumerGroupHeartbeat CONSUMER;
    69 ConsumerGroupDescribe CONSUMER;
    70 ControllerRegistration INTERNAL;
    71 GetTelemetrySubscriptions TELEMETRY;
    72 PushTelemetry TELEMETRY;
    73 AssignReplicasToDirs INTERNAL;
    74 ListConfigResources RESOURCES;
    75 DescribeTopicPartitions served(0, 0, 0);
    76 ShareGroupHeartbeat SHARE;
    77 ShareGroupDescribe SHARE;
    78 ShareFetch SHARE;
    79 ShareAcknowledge SHARE;
    80 AddRaftVoter QUORUM;
    81 RemoveRaftVoter QUORUM;
    82 UpdateRaftVoter INTERNAL;
    83 InitializeShareGroupState INTERNAL;
    84 ReadShareGroupState INTERNAL;
    85 WriteShareGroupState INTERNAL;
    86 DeleteShareGroupState INTERNAL;
    87 ReadShareGroupStateSummary INTERNAL;
    88 StreamsGroupHeartbeat STREAMS;
    89 StreamsGroupDescribe STREAMS;
    90 DescribeShareGroupOffsets SHARE;
    91 AlterShareGroupOffsets SHARE;
    92 DeleteShareGroupOffsets SHARE;
}

impl ApiKey {
    /// The number in a request's header.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The served versions; `None` when the API is not served.
    #[must_use]
    pub const fn versions(self) -> Option<Versions> {
        match self.support() {
            Support::Served(versions) => Some(versions),
            Support::NotServed { .. } => None,
        }
    }

    /// The versions of an API that has messages; used in constants, where an API without any fails to compile.
    #[must_use]
    #[expect(clippy::panic, reason = "evaluated by the compiler in the constants of derived messages")]
    pub const fn message_versions(self) -> Versions {
        match self.versions() {
            Some(versions) => versions,
            None => panic!("a message belongs to an API that is not served"),
        }
    }

    /// Whether a request of this version is answered.
    #[must_use]
    pub const fn serves(self, version: i16) -> bool {
        match self.versions() {
            Some(versions) => versions.contains(version),
            None => false,
        }
    }

    /// Whether messages of this version are flexible; true beyond the last version too.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        match self.versions() {
            Some(versions) => versions.is_flexible(version),
            None => false,
        }
    }

    /// What ApiVersions lists: each served API with its first and last version. Produce is listed from 0, although 0
    /// to 2 are refused, because librdkafka looks for them to learn which compression a broker knows (KAFKA-18659).
    pub fn listed() -> impl Iterator<Item = (Self, i16, i16)> {
        Self::ALL.iter().filter_map(|&key| {
            let versions = key.versions()?;
            let min = if key == Self::Produce { 0 } else { versions.min };
            Some((key, min, versions.max))
        })
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The table of the compatibility page, in Markdown.
#[must_use]
pub fn compatibility_table() -> String {
    let rows = ApiKey::ALL.iter().map(|key| {
        let (versions, note) = match key.support() {
            Support::Served(Versions { min, max, .. }) if min == max => (min.to_string(), ""),
            Support::Served(Versions { min, max, .. }) => (format!("{min}-{max}"), served_note(*key)),
            Support::NotServed { reason } => ("-".to_owned(), reason),
        };
        format!("| {} | {key} | {versions} | {note} |\n", key.code())
    });
    let head = "| Key | API | Versions | Note |\n|--:|---|---|---|\n".to_owned();
    head + &rows.collect::<String>()
}

fn served_note(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => "listed from 0 for librdkafka; 0-2 are refused, as in Kafka 4",
        ApiKey::InitProducerId => "without a transactional id",
        ApiKey::FindCoordinator => "groups; transactions and share groups are refused with the reason",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_key_from_0_to_92_in_order() {
        assert_eq!(ApiKey::ALL.iter().map(|key| key.code()).collect::<Vec<_>>(), (0..=92).collect::<Vec<_>>());
    }

    #[test]
    fn served_versions_are_those_of_kafka_4_1() {
        // their tables of keys count a version that Kafka 4.1 marks as unstable and does not advertise
        let unstable = [ApiKey::OffsetCommit, ApiKey::OffsetFetch, ApiKey::InitProducerId];
        for (key, _, max) in ApiKey::listed() {
            let theirs = kafka_protocol::messages::ApiKey::try_from(key.code()).unwrap();
            assert_eq!(format!("{theirs:?}"), format!("{key:?}"));
            let max_of_theirs = theirs.valid_versions().max - i16::from(unstable.contains(&key));
            let min = key.versions().unwrap().min;
            assert_eq!((min, max), (theirs.valid_versions().min, max_of_theirs), "{key}");
            for version in 0..=max {
                assert_eq!(
                    1 + i16::from(key.is_flexible(version)),
                    theirs.request_header_version(version),
                    "{key} v{version}"
                );
            }
        }
    }

    #[test]
    fn produce_is_listed_from_0_and_served_from_3() {
        assert_eq!(ApiKey::listed().next(), Some((ApiKey::Produce, 0, 13)));
        assert!(!ApiKey::Produce.serves(2));
        assert!(ApiKey::Produce.serves(3));
    }

    #[test]
    fn the_compatibility_table_has_a_line_for_each_api() {
        let table = compatibility_table();
        assert_eq!(table.lines().count(), 2 + ApiKey::ALL.len());
        assert!(table.contains("| 47 | OffsetDelete | 0 |  |\n"), "{table}");
    }
}
