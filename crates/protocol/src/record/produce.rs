//! What a broker checks of a batch that a producer sent, before it touches the log.
//!
//! One batch of format 2 per partition and request, offsets 0 to n-1, no control records, a codec that exists, sane
//! sequence fields, timestamps within the topic's bounds.
//!
//! Uncompressed records are walked over, so that the number of offsets that a batch takes is the number of its records. Compressed
//! payloads are passed through, which is what makes large batches cheap; they are decompressed, as a stream, only where a rule needs it
//! (on a compacted topic every record must have a key, and compaction must be able to look into the batch) or where the number of records is
//! not plausible for the bytes. So a compressed batch can take at most one offset per byte.

use std::ops::ControlFlow;

use bytes::Bytes;

use crate::TimestampMs;
use crate::record::batch::{Batch, BatchError};
use crate::record::compression::{Compression, CompressionError};
use crate::record::header::HEADER_LENGTH;
use crate::record::item::RecordError;

/// The settings of a topic and a request that decide what is accepted.
#[derive(Debug, Clone, Copy)]
pub struct ProduceRules {
    /// `max.message.bytes`: the largest batch, as stored.
    pub batch_bytes_max: usize,
    /// `message.timestamp.before.max.ms`: how far a timestamp may lie in the past.
    pub before_ms_max: i64,
    /// `message.timestamp.after.max.ms`: how far it may lie in the future.
    pub after_ms_max: i64,
    /// Whether the topic sets timestamps itself, so that the producer's do not count.
    pub log_append_time: bool,
    /// Whether the topic is compacted, so that every record needs a key.
    pub keys_required: bool,
    /// Whether the request is new enough for zstd (Produce 7, KIP-110).
    pub zstd_allowed: bool,
}

/// Why a produced batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBatch {
    /// No batch, a damaged batch, or a format that is not served.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// More than one batch, or bytes behind the batch.
    #[error("{bytes} bytes follow the record batch: a produce request carries exactly one batch per partition")]
    MoreThanOne {
        /// Bytes after the first batch.
        bytes: usize,
    },
    /// Larger than the topic allows.
    #[error("the record batch has {bytes} bytes, more than the topic's max.message.bytes of {limit}")]
    TooLarge {
        /// The batch's bytes.
        bytes: usize,
        /// The topic's limit.
        limit: usize,
    },
    /// Header fields contradict each other or carry what only a broker may write.
    #[error("the record batch is invalid: {what}")]
    Invalid {
        /// What is wrong.
        what: &'static str,
    },
    /// The codec does not exist, or is newer than the request.
    #[error("the record batch uses compression codec {codec}, which this request's version does not allow")]
    Compression {
        /// The codec's number.
        codec: i16,
    },
    /// A timestamp outside the topic's bounds.
    #[error("timestamp {timestamp} is not within the topic's bounds of {earliest} to {latest}")]
    Timestamp {
        /// The batch's largest timestamp, or that of a record.
        timestamp: TimestampMs,
        /// The earliest allowed.
        earliest: TimestampMs,
        /// The latest allowed.
        latest: TimestampMs,
    },
    /// A compacted topic could never be compacted with it.
    #[error(
        "the record batch decompresses to more than {limit} bytes, and a compacted topic takes no larger ones: send smaller batches (batch.size) or records"
    )]
    Decompressed {
        /// What it may decompress to.
        limit: usize,
    },
    /// Records of a compacted topic that have no key, by index; the first thousand.
    #[error("a compacted topic needs a key in every record; at least {} have none", indexes.len())]
    MissingKeys {
        /// The records' indexes in the batch.
        indexes: Vec<i32>,
    },
    /// The records can't be read.
    #[error(transparent)]
    Records(#[from] RecordError),
}

/// Checks what a producer sent for one partition and returns its one batch.
///
/// # Errors
/// The first rule that the batch breaks.
pub fn check_produced(records: &Bytes, rules: &ProduceRules, now: TimestampMs) -> Result<Batch, InvalidBatch> {
    let batch = Batch::parse(records)?;
    let bytes = batch.bytes().len();
    if records.len() > bytes {
        return Err(InvalidBatch::MoreThanOne { bytes: records.len() - bytes });
    }
    if bytes > rules.batch_bytes_max {
        return Err(InvalidBatch::TooLarge { bytes, limit: rules.batch_bytes_max });
    }
    check_fields(&batch)?;
    check_codec(&batch, rules)?;
    check_time(&batch, rules, now)?;
    check_records(&batch, rules, now)?;
    Ok(batch)
}

fn check_fields(batch: &Batch) -> Result<(), InvalidBatch> {
    let header = batch.header();
    let invalid = |what| Err(InvalidBatch::Invalid { what });
    if header.base_offset.0 != 0 {
        return invalid("its first offset is not 0");
    }
    if header.record_count <= 0 {
        return invalid("it has no records");
    }
    if header.last_offset_delta.checked_add(1) != Some(header.record_count) {
        return invalid("its last offset does not match its number of records");
    }
    if header.attributes.is_control() {
        return invalid("it has control records, which only brokers write");
    }
    if header.producer_id.0 < -1 || header.producer_epoch.0 < -1 || header.base_sequence < -1 {
        return invalid("its producer id, epoch or sequence is below -1");
    }
    let idempotent = header.producer_id.0 >= 0;
    if idempotent && (header.producer_epoch.0 < 0 || header.base_sequence < 0) {
        return invalid("it has a producer id without an epoch or a sequence");
    }
    if !idempotent && header.attributes.is_transactional() {
        return invalid("it is transactional and has no producer id");
    }
    Ok(())
}

fn check_codec(batch: &Batch, rules: &ProduceRules) -> Result<(), InvalidBatch> {
    match batch.header().attributes.compression() {
        Err(_) => Err(InvalidBatch::Invalid { what: "its compression codec does not exist" }),
        Ok(Compression::Zstd) if !rules.zstd_allowed => {
            Err(InvalidBatch::Compression { codec: Compression::Zstd.number() })
        }
        Ok(_) => Ok(()),
    }
}

fn check_time(batch: &Batch, rules: &ProduceRules, now: TimestampMs) -> Result<(), InvalidBatch> {
    let timestamp = batch.header().max_timestamp;
    if rules.log_append_time || timestamp == TimestampMs::NONE {
        return Ok(());
    }
    let (earliest, latest) = bounds(rules, now);
    if timestamp < earliest || timestamp > latest || timestamp.0 < 0 {
        return Err(InvalidBatch::Timestamp { timestamp, earliest, latest });
    }
    Ok(())
}

fn bounds(rules: &ProduceRules, now: TimestampMs) -> (TimestampMs, TimestampMs) {
    let earliest = TimestampMs(now.0.saturating_sub(rules.before_ms_max));
    (earliest, TimestampMs(now.0.saturating_add(rules.after_ms_max)))
}

/// What a compressed batch of a compacted topic may decompress to. Compaction holds so much of a batch up to three times; one that was produced before
/// the topic was compacted and has more is never looked into, nor is the segment that it lies in.
pub const COMPACTED_BYTES_MAX: usize = 32 << 20;
/// How much larger than the largest batch a decompressed payload may be where the broker must look inside; this bounds the time.
const EXPANSION_MAX: usize = 64;
/// Bytes of the smallest record: length, attributes, timestamp, offset, no key, no value, no headers.
const RECORD_BYTES_MIN: usize = 7;
/// Keyless records that are named: each costs a message in the answer, and a compressed batch can hold millions.
const KEYLESS_NAMED_MAX: usize = 1_000;

fn check_records(batch: &Batch, rules: &ProduceRules, now: TimestampMs) -> Result<(), InvalidBatch> {
    let header = batch.header();
    let is_compressed = header.attributes.compression() != Ok(Compression::None);
    let count = usize::try_from(header.record_count).unwrap_or(usize::MAX);
    // real batches take several compressed bytes per record; only one that does not is worth the time
    let is_plausible = count <= batch.bytes().len().saturating_sub(HEADER_LENGTH);
    if is_compressed && is_plausible && !rules.keys_required {
        return Ok(());
    }
    let limit_of_all = rules.batch_bytes_max.saturating_mul(EXPANSION_MAX);
    let is_limited = rules.keys_required && is_compressed && limit_of_all > COMPACTED_BYTES_MAX;
    let limit = if is_limited { COMPACTED_BYTES_MAX } else { limit_of_all };
    if count > limit / RECORD_BYTES_MIN {
        return Err(InvalidBatch::Invalid { what: "it states more records than fit into a batch" });
    }
    let (earliest, latest) = bounds(rules, now);
    let mut keyless = Vec::new();
    let walked = batch.walk(limit, |record| {
        if record.offset_delta != record.index {
            return ControlFlow::Break(InvalidBatch::Invalid { what: "its records' offsets do not count up by one" });
        }
        let timestamp = record.timestamp;
        let is_bounded = !rules.log_append_time && timestamp != TimestampMs::NONE;
        if is_bounded && (timestamp < earliest || timestamp > latest) {
            return ControlFlow::Break(InvalidBatch::Timestamp { timestamp, earliest, latest });
        }
        if rules.keys_required && !record.has_key && keyless.len() < KEYLESS_NAMED_MAX {
            keyless.push(record.index);
        }
        ControlFlow::Continue(())
    });
    let broken = walked.map_err(|error| match error {
        RecordError::Compression(CompressionError::TooLarge { limit, .. }) if is_limited => {
            InvalidBatch::Decompressed { limit }
        }
        error => error.into(),
    })?;
    if let Some(broken) = broken {
        return Err(broken);
    }
    if keyless.is_empty() { Ok(()) } else { Err(InvalidBatch::MissingKeys { indexes: keyless }) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{COMPACTED_BYTES_MAX, InvalidBatch, ProduceRules, RECORD_BYTES_MIN, check_produced};
    use crate::TimestampMs;
    use crate::record::batch::{assemble, checksum};
    use crate::record::{Attributes, Batch, BatchBuilder, BatchHeader, Compression, HEADER_LENGTH};

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    fn rules() -> ProduceRules {
        ProduceRules {
            batch_bytes_max: 1_048_588,
            before_ms_max: i64::MAX,
            after_ms_max: 3_600_000,
            log_append_time: false,
            keys_required: false,
            zstd_allowed: true,
        }
    }

    fn batch_of(key: Option<&[u8]>, time: TimestampMs) -> Bytes {
        let mut builder = BatchBuilder::new(time);
        builder.push(time, key, Some(b"value"), &[]);
        builder.push(time, Some(b"key"), Some(b"value"), &[]);
        builder.build().unwrap()
    }

    fn with_header(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
        let batch = Batch::parse(&batch_of(None, NOW)).unwrap();
        let mut header = *batch.header();
        change(&mut header);
        let attributes = header.attributes;
        assemble(header, attributes, &batch.payload()).unwrap()
    }

    #[track_caller]
    fn assert_invalid(records: &Bytes) {
        let error = check_produced(records, &rules(), NOW).unwrap_err();
        assert!(matches!(error, InvalidBatch::Invalid { .. }), "{error}");
    }

    #[test]
    fn an_ordinary_batch_is_accepted() {
        assert!(check_produced(&batch_of(None, NOW), &rules(), NOW).is_ok());
    }

    #[test]
    fn counts_that_contradict_each_other_are_refused() {
        assert_invalid(&with_header(|header| header.last_offset_delta = 5));
        assert_invalid(&with_header(|header| header.record_count = 0));
        assert_invalid(&with_header(|header| header.record_count = -1));
        assert_invalid(&with_header(|header| header.last_offset_delta = i32::MAX));
        assert_invalid(&with_header(|header| header.base_offset.0 = 1));
    }

    /// A batch of this payload that states `count` records, and as many offsets.
    fn stating(count: i32, codec: Compression, payload: &[u8]) -> Bytes {
        let mut header = *Batch::parse(&batch_of(None, NOW)).unwrap().header();
        header.record_count = count;
        header.last_offset_delta = count - 1;
        let payload = codec.compress(payload).unwrap();
        assemble(header, Attributes::default().with_compression(codec), &payload).unwrap()
    }

    fn payload_of(records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(NOW);
        (0..records).for_each(|_| builder.push(NOW, None, None, &[]));
        Batch::parse(&builder.build().unwrap()).unwrap().payload().to_vec()
    }

    #[test]
    fn a_count_of_records_that_are_not_there_is_refused_in_every_codec() {
        for codec in Compression::ALL {
            for (count, payload) in [(i32::MAX, vec![]), (i32::MAX, payload_of(2)), (5_000, payload_of(2))] {
                let records = stating(count, codec, &payload);
                let error = check_produced(&records, &rules(), NOW).unwrap_err();
                assert!(
                    matches!(error, InvalidBatch::Invalid { .. } | InvalidBatch::Records(_)),
                    "{codec:?}, {count} of {}: {error}",
                    payload.len()
                );
            }
        }
        for count in [1, 3] {
            let records = stating(count, Compression::None, &payload_of(2));
            assert!(matches!(check_produced(&records, &rules(), NOW), Err(InvalidBatch::Records(_))), "{count}");
        }
    }

    #[test]
    fn records_that_compress_to_less_than_a_byte_each_are_accepted() {
        for codec in Compression::ALL {
            let records = stating(20_000, codec, &payload_of(20_000));
            check_produced(&records, &rules(), NOW).unwrap();
        }
    }

    #[test]
    fn records_whose_offsets_have_gaps_are_refused() {
        let mut payload = payload_of(2);
        // the second record's offset: behind its length, attributes and timestamp
        payload[RECORD_BYTES_MIN + 3] = 4;
        assert_invalid(&stating(2, Compression::None, &payload));
    }

    #[test]
    fn what_only_brokers_write_is_refused() {
        assert_invalid(&with_header(|header| header.attributes = Attributes(0x20)));
        assert_invalid(&with_header(|header| header.attributes = Attributes(0x10)));
        assert_invalid(&with_header(|header| header.attributes = Attributes(5)));
    }

    #[test]
    fn a_producer_id_needs_epoch_and_sequence() {
        assert_invalid(&with_header(|header| header.producer_id.0 = 7));
        assert_invalid(&with_header(|header| header.producer_id.0 = -2));
    }

    #[test]
    fn two_batches_are_one_too_many() {
        let two = Bytes::from([batch_of(None, NOW), batch_of(None, NOW)].concat());
        assert!(matches!(check_produced(&two, &rules(), NOW), Err(InvalidBatch::MoreThanOne { .. })));
    }

    #[test]
    fn a_batch_above_the_limit_is_refused_as_stored() {
        let rules = ProduceRules { batch_bytes_max: HEADER_LENGTH, ..rules() };
        assert!(matches!(check_produced(&batch_of(None, NOW), &rules, NOW), Err(InvalidBatch::TooLarge { .. })));
    }

    #[test]
    fn keyless_records_are_named_on_a_compacted_topic() {
        let rules = ProduceRules { keys_required: true, ..rules() };
        let error = check_produced(&batch_of(None, NOW), &rules, NOW).unwrap_err();
        assert!(matches!(error, InvalidBatch::MissingKeys { indexes } if indexes == [0]));
        assert!(check_produced(&batch_of(Some(b"k"), NOW), &rules, NOW).is_ok());
    }

    #[test]
    fn a_compacted_topic_takes_no_batch_that_compaction_could_not_look_into() {
        let compacted = ProduceRules { keys_required: true, ..rules() };
        let value = vec![7; COMPACTED_BYTES_MAX];
        for codec in Compression::ALL.into_iter().filter(|codec| *codec != Compression::None) {
            let of = |bytes: usize| {
                let mut builder = BatchBuilder::new(NOW).compression(codec);
                builder.push(NOW, Some(b"k"), Some(&value[..bytes]), &[]);
                builder.build().unwrap()
            };
            let (large, small) = (of(COMPACTED_BYTES_MAX), of(COMPACTED_BYTES_MAX - 100));
            // what does not compress well is refused by its size as stored
            let wide = ProduceRules { batch_bytes_max: large.len().max(1 << 20), ..compacted };
            let error = check_produced(&large, &wide, NOW).unwrap_err();
            assert!(matches!(error, InvalidBatch::Decompressed { .. }), "{codec:?}: {error}");
            let batch = check_produced(&small, &wide, NOW).unwrap();
            batch.records(COMPACTED_BYTES_MAX).unwrap();
            check_produced(&large, &ProduceRules { keys_required: false, ..wide }, NOW).unwrap();
        }
    }

    #[test]
    fn a_timestamp_in_the_far_future_is_refused_unless_the_broker_sets_it() {
        let far = batch_of(None, TimestampMs(NOW.0 + 3_600_001));
        assert!(matches!(check_produced(&far, &rules(), NOW), Err(InvalidBatch::Timestamp { .. })));
        let rules = ProduceRules { log_append_time: true, ..rules() };
        assert!(check_produced(&far, &rules, NOW).is_ok());
    }

    #[test]
    fn each_uncompressed_record_must_be_within_the_bounds() {
        let mut builder = BatchBuilder::new(NOW);
        builder.push(TimestampMs(NOW.0 - 60_001), None, Some(b"old"), &[]);
        builder.push(NOW, None, Some(b"new"), &[]);
        let records = builder.build().unwrap();
        assert!(check_produced(&records, &rules(), NOW).is_ok());
        let rules = ProduceRules { before_ms_max: 60_000, ..rules() };
        assert!(matches!(check_produced(&records, &rules, NOW), Err(InvalidBatch::Timestamp { .. })));
    }

    #[test]
    fn zstd_needs_a_request_that_knows_it() {
        let mut builder = BatchBuilder::new(NOW).compression(Compression::Zstd);
        builder.push(NOW, None, Some(b"value"), &[]);
        let records = builder.build().unwrap();
        let rules = ProduceRules { zstd_allowed: false, ..rules() };
        assert!(matches!(check_produced(&records, &rules, NOW), Err(InvalidBatch::Compression { codec: 4 })));
    }

    #[test]
    fn a_batch_cut_at_any_byte_is_refused() {
        let whole = batch_of(None, NOW);
        for length in 0..whole.len() {
            assert!(check_produced(&whole.slice(..length), &rules(), NOW).is_err(), "{length} bytes");
        }
        assert_ne!(checksum(&whole), 0);
    }
}
