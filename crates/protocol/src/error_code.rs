//! Kafka's error codes, as numbers on the wire and names in code.
//!
//! The table is that of `org.apache.kafka.common.protocol.Errors` (Kafka 4.1). A number that is not in it is kept as
//! `Unknown`, so that a response of a newer broker still decodes and encodes to the same bytes.

use std::fmt;

macro_rules! error_codes {
    ($($code:literal $name:ident),* $(,)?) => {
        /// An error code of Kafka's protocol; `None` is success.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("Error code ", stringify!($code), ".")] $name,)*
            /// A code that this version of the table does not know.
            Unknown(i16),
        }

        impl ErrorCode {
            /// The number on the wire.
            #[must_use]
            pub fn code(self) -> i16 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown(code) => code,
                }
            }
        }

        impl From<i16> for ErrorCode {
            fn from(code: i16) -> Self {
                match code {
                    $($code => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }
        }
    };
}

error_codes! {
    -1 UnknownServerError,
    0 None,
    1 OffsetOutOfRange,
    2 CorruptMessage,
    3 UnknownTopicOrPartition,
    4 InvalidFetchSize,
    5 LeaderNotAvailable,
    6 NotLeaderOrFollower,
    7 RequestTimedOut,
    8 BrokerNotAvailable,
    9 ReplicaNotAvailable,
    10 MessageTooLarge,
    11 StaleControllerEpoch,
    12 OffsetMetadataTooLarge,
    13 NetworkException,
    14 CoordinatorLoadInProgress,
    15 CoordinatorNotAvailable,
    16 NotCoordinator,
    17 InvalidTopicException,
    18 RecordListTooLarge,
    19 NotEnoughReplicas,
    20 NotEnoughReplicasAfterAppend,
    21 InvalidRequiredAcks,
    22 IllegalGeneration,
    23 InconsistentGroupProtocol,
    24 InvalidGroupId,
    25 UnknownMemberId,
    26 InvalidSessionTimeout,
    27 RebalanceInProgress,
    28 InvalidCommitOffsetSize,
    29 TopicAuthorizationFailed,
    30 GroupAuthorizationFailed,
    31 ClusterAuthorizationFailed,
    32 InvalidTimestamp,
    33 UnsupportedSaslMechanism,
    34 IllegalSaslState,
    35 UnsupportedVersion,
    36 TopicAlreadyExists,
    37 InvalidPartitions,
    38 InvalidReplicationFactor,
    39 InvalidReplicaAssignment,
    40 InvalidConfig,
    41 NotController,
    42 InvalidRequest,
    43 UnsupportedForMessageFormat,
    44 PolicyViolation,
    45 OutOfOrderSequenceNumber,
    46 DuplicateSequenceNumber,
    47 InvalidProducerEpoch,
    48 InvalidTxnState,
    49 InvalidProducerIdMapping,
    50 InvalidTransactionTimeout,
    51 ConcurrentTransactions,
    52 TransactionCoordinatorFenced,
    53 TransactionalIdAuthorizationFailed,
    54 SecurityDisabled,
    55 OperationNotAttempted,
    56 KafkaStorageError,
    57 LogDirNotFound,
    58 SaslAuthenticationFailed,
    59 UnknownProducerId,
    60 ReassignmentInProgress,
    61 DelegationTokenAuthDisabled,
    62 DelegationTokenNotFound,
    63 DelegationTokenOwnerMismatch,
    64 DelegationTokenRequestNotAllowed,
    65 DelegationTokenAuthorizationFailed,
    66 DelegationTokenExpired,
    67 InvalidPrincipalType,
    68 NonEmptyGroup,
    69 GroupIdNotFound,
    70 FetchSessionIdNotFound,
    71 InvalidFetchSessionEpoch,
    72 ListenerNotFound,
    73 TopicDeletionDisabled,
    74 FencedLeaderEpoch,
    75 UnknownLeaderEpoch,
    76 UnsupportedCompressionType,
    77 StaleBrokerEpoch,
    78 OffsetNotAvailable,
    79 MemberIdRequired,
    80 PreferredLeaderNotAvailable,
    81 GroupMaxSizeReached,
    82 FencedInstanceId,
    83 EligibleLeadersNotAvailable,
    84 ElectionNotNeeded,
    85 NoReassignmentInProgress,
    86 GroupSubscribedToTopic,
    87 InvalidRecord,
    88 UnstableOffsetCommit,
    89 ThrottlingQuotaExceeded,
    90 ProducerFenced,
    91 ResourceNotFound,
    92 DuplicateResource,
    93 UnacceptableCredential,
    94 InconsistentVoterSet,
    95 InvalidUpdateVersion,
    96 FeatureUpdateFailed,
    97 PrincipalDeserializationFailure,
    98 SnapshotNotFound,
    99 PositionOutOfRange,
    100 UnknownTopicId,
    101 DuplicateBrokerRegistration,
    102 BrokerIdNotRegistered,
    103 InconsistentTopicId,
    104 InconsistentClusterId,
    105 TransactionalIdNotFound,
    106 FetchSessionTopicIdError,
    107 IneligibleReplica,
    108 NewLeaderElected,
    109 OffsetMovedToTieredStorage,
    110 FencedMemberEpoch,
    111 UnreleasedInstanceId,
    112 UnsupportedAssignor,
    113 StaleMemberEpoch,
    114 MismatchedEndpointType,
    115 UnsupportedEndpointType,
    116 UnknownControllerId,
    117 UnknownSubscriptionId,
    118 TelemetryTooLarge,
    119 InvalidRegistration,
    120 TransactionAbortable,
    121 InvalidRecordState,
    122 ShareSessionNotFound,
    123 InvalidShareSessionEpoch,
    124 FencedStateEpoch,
    125 InvalidVoterKey,
    126 DuplicateVoter,
    127 VoterNotFound,
    128 InvalidRegularExpression,
    129 RebootstrapRequired,
}

#[expect(clippy::derivable_impls, reason = "the macro writes the variants")]
impl Default for ErrorCode {
    fn default() -> Self {
        Self::None
    }
}

impl ErrorCode {
    /// Whether this code means that nothing went wrong.
    #[must_use]
    pub fn is_ok(self) -> bool {
        self == Self::None
    }

    /// Whether a client may send the same request again and hope (Kafka's `RetriableException`).
    #[must_use]
    pub fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::CorruptMessage
                | Self::UnknownTopicOrPartition
                | Self::LeaderNotAvailable
                | Self::NotLeaderOrFollower
                | Self::RequestTimedOut
                | Self::ReplicaNotAvailable
                | Self::NetworkException
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::NotController
                | Self::KafkaStorageError
                | Self::FetchSessionIdNotFound
                | Self::InvalidFetchSessionEpoch
                | Self::ListenerNotFound
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::OffsetNotAvailable
                | Self::PreferredLeaderNotAvailable
                | Self::EligibleLeadersNotAvailable
                | Self::ElectionNotNeeded
                | Self::UnstableOffsetCommit
                | Self::ThrottlingQuotaExceeded
                | Self::UnknownTopicId
                | Self::InconsistentTopicId
                | Self::FetchSessionTopicIdError
                | Self::ConcurrentTransactions
        )
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(code) => write!(f, "unknown error code {code}"),
            known => write!(f, "{known:?} ({})", known.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn every_number_keeps_its_value() {
        for code in i16::MIN..=i16::MAX {
            assert_eq!(ErrorCode::from(code).code(), code);
        }
    }
}
