//! Producer ids are given out in blocks, so that one commit serves many producers and no id is ever given twice.

use std::ops::Range;

use crate::image::Image;
use crate::record::{ProducerIdsRecord, Record};

/// Ids of one block, as in Kafka.
pub const BLOCK: i64 = 1_000;

/// Decides on the next block.
#[must_use]
pub fn decide(image: &Image) -> (Vec<Record>, Range<i64>) {
    let first = image.next_producer_id();
    let next_producer_id = first + BLOCK;
    (vec![Record::ProducerIds(ProducerIdsRecord { next_producer_id })], first..next_producer_id)
}

#[cfg(test)]
mod tests {
    use super::decide;
    use crate::decisions::create_topics::tests::{apply, image};

    #[test]
    fn blocks_never_overlap() {
        let mut image = image();
        let (records, first) = decide(&image);
        apply(&mut image, &records);
        assert_eq!(decide(&image).1.start, first.end);
    }
}
