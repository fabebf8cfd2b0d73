//! The journal's unit of writing: a header that binds the block into the chain, then fragments of entries.
//!
//! ```text
//! magic  8 | journal id 16 | open count 8 | sequence 8 | first entry 8 | content length 4 | previous 4 | content checksum 4 | header checksum 4
//! fragment: length 4 | flags 1 (1 = an entry starts, 2 = it ends) | bytes
//! ```
//!
//! Invariant: a block is valid only as the successor of one certain block: its sequence follows, and it carries that block's header checksum.
//! The journal id is drawn when a data directory is made and never shown to anybody, so nothing that a client sends can look like a block.
//! A header that is intact proves, even without its content, that every block before it was durable: only one is ever in flight.

/// Bytes of a block's header.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes before a fragment's content.
pub(crate) const FRAGMENT_BYTES: usize = 5;
const MAGIC: [u8; 8] = *b"kennetJ1";
const STARTS: u8 = 1;
const ENDS: u8 = 2;

/// A block's header, without the checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// The data directory's secret.
    pub(crate) journal_id: u128,
    /// Raised each time the directory is opened.
    pub(crate) open_count: u64,
    /// Counts blocks, without a gap, over all opens.
    pub(crate) sequence: u64,
    /// The number of the first entry that starts in this block, or of the one that would.
    pub(crate) first_entry: u64,
    /// Bytes of fragments.
    pub(crate) content_length: u32,
    /// The header checksum of the block before.
    pub(crate) previous: u32,
}

/// A header as found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundHeader {
    pub(crate) header: BlockHeader,
    content_checksum: u32,
    /// The header's own checksum, which the next block has to carry.
    pub(crate) checksum: u32,
}

/// A piece of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) starts: bool,
    pub(crate) ends: bool,
    pub(crate) bytes: &'a [u8],
}

impl BlockHeader {
    /// Writes the header in front of the content that follows it in `block`; returns the header's checksum.
    pub(crate) fn seal(&self, block: &mut [u8]) -> u32 {
        let content_end = HEADER_BYTES + usize::try_from(self.content_length).unwrap_or(usize::MAX);
        let content_checksum = crc(&block[HEADER_BYTES..content_end]);
        block[..8].copy_from_slice(&MAGIC);
        block[8..24].copy_from_slice(&self.journal_id.to_be_bytes());
        block[24..32].copy_from_slice(&self.open_count.to_be_bytes());
        block[32..40].copy_from_slice(&self.sequence.to_be_bytes());
        block[40..48].copy_from_slice(&self.first_entry.to_be_bytes());
        block[48..52].copy_from_slice(&self.content_length.to_be_bytes());
        block[52..56].copy_from_slice(&self.previous.to_be_bytes());
        block[56..60].copy_from_slice(&content_checksum.to_be_bytes());
        let checksum = crc(&block[..60]);
        block[60..64].copy_from_slice(&checksum.to_be_bytes());
        checksum
    }

    /// The header at the front of `bytes`; `None` when it is not intact or another journal's. Without `checks_id`, which is a rule, it may be any journal's.
    pub(crate) fn find(bytes: &[u8], journal_id: u128, checks_id: bool) -> Option<FoundHeader> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        // the cheap comparisons come first: the search for later blocks looks at every place where one can start
        if bytes[..8] != MAGIC || (bytes[8..24] != journal_id.to_be_bytes() && checks_id) {
            return None;
        }
        let checksum = word(bytes, 60);
        if crc(&bytes[..60]) != checksum {
            return None;
        }
        let header = Self {
            journal_id,
            open_count: long(bytes, 24),
            sequence: long(bytes, 32),
            first_entry: long(bytes, 40),
            content_length: word(bytes, 48),
            previous: word(bytes, 52),
        };
        Some(FoundHeader { header, content_checksum: word(bytes, 56), checksum })
    }
}

impl FoundHeader {
    /// Bytes of header and content.
    pub(crate) fn length(&self) -> u64 {
        crate::scan::to_u64(HEADER_BYTES) + u64::from(self.header.content_length)
    }

    /// Whether `content` is what was written behind this header.
    pub(crate) fn holds(&self, content: &[u8]) -> bool {
        crc(content) == self.content_checksum
    }
}

/// Puts a fragment's head and content at the front of `place`; returns the bytes used.
pub(crate) fn put_fragment_head(place: &mut [u8], starts: bool, ends: bool, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    place[..4].copy_from_slice(&length.to_be_bytes());
    place[4] = if starts { STARTS } else { 0 } | if ends { ENDS } else { 0 };
}

/// The fragments of a block's content; an error when the content is no sequence of them, which its checksum rules out.
pub(crate) fn fragments(content: &[u8]) -> impl Iterator<Item = Result<Fragment<'_>, Malformed>> {
    let mut rest = content;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fragment = take_fragment(&mut rest);
        if fragment.is_err() {
            rest = &[];
        }
        Some(fragment)
    })
}

/// A block whose checksum is right and whose content makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "its content makes no sense, though its checksum is right: it was written by another version of Kennet, or by a bug"
)]
pub(crate) struct Malformed;

fn take_fragment<'a>(rest: &mut &'a [u8]) -> Result<Fragment<'a>, Malformed> {
    let (head, after) = rest.split_first_chunk::<FRAGMENT_BYTES>().ok_or(Malformed)?;
    let length = usize::try_from(word(head, 0)).map_err(|_| Malformed)?;
    let bytes = after.get(..length).ok_or(Malformed)?;
    *rest = &after[length..];
    Ok(Fragment { starts: head[4] & STARTS != 0, ends: head[4] & ENDS != 0, bytes })
}

pub(crate) use crate::checkpoint::crc;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) << 32 | u64::from(word(bytes, at + 4))
}

#[cfg(test)]
mod tests {
    use super::{BlockHeader, Fragment, HEADER_BYTES, fragments, put_fragment_head};

    const ID: u128 = 7;

    fn block() -> Vec<u8> {
        let mut block = vec![0; HEADER_BYTES + 5 + 3];
        put_fragment_head(&mut block[HEADER_BYTES..], true, false, 3);
        block[HEADER_BYTES + 5..].copy_from_slice(b"abc");
        let header =
            BlockHeader { journal_id: ID, open_count: 1, sequence: 2, first_entry: 3, content_length: 8, previous: 4 };
        header.seal(&mut block);
        block
    }

    #[test]
    fn a_block_comes_back() {
        let block = block();
        let found = BlockHeader::find(&block, ID, true).unwrap();
        assert_eq!((found.header.sequence, found.header.previous, found.length()), (2, 4, 72));
        assert!(found.holds(&block[HEADER_BYTES..]));
        let fragments: Vec<_> = fragments(&block[HEADER_BYTES..]).map(Result::unwrap).collect();
        assert_eq!(fragments, [Fragment { starts: true, ends: false, bytes: b"abc" }]);
    }

    #[test]
    fn any_changed_byte_is_found() {
        let block = block();
        for at in 0..block.len() {
            let mut changed = block.clone();
            changed[at] ^= 0x10;
            let whole =
                BlockHeader::find(&changed, ID, true).is_some_and(|found| found.holds(&changed[HEADER_BYTES..]));
            assert!(!whole, "byte {at}");
        }
    }

    #[test]
    fn another_journals_block_is_none() {
        assert_eq!(BlockHeader::find(&block(), ID + 1, true), None);
    }

    #[test]
    fn content_that_is_cut_is_an_error_and_ends() {
        let block = block();
        let cut: Vec<_> = fragments(&block[HEADER_BYTES..HEADER_BYTES + 6]).collect();
        assert_eq!(cut.len(), 1);
        assert!(cut[0].is_err());
    }
}
