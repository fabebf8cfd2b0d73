//! Record batches on their way to a client: several pieces of memory that are one field on the wire.
//!
//! A fetch takes batches from more than one place (a block in memory, a mapped or read piece of a segment); keeping
//! them as they are saves a copy. What is inside a batch is left to [`crate::record`].

use bytes::Bytes;

/// Record batches, one after the other, in one or more chunks.
#[derive(Debug, Clone, Default)]
pub struct Records {
    chunks: Vec<Bytes>,
    length: usize,
}

impl Records {
    /// Bytes in all chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The chunks in order.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// All bytes in one piece; copies when there is more than one chunk.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        match self.chunks.pop() {
            None => Bytes::new(),
            Some(only) if self.chunks.is_empty() => only,
            Some(last) => {
                self.chunks.push(last);
                self.chunks.concat().into()
            }
        }
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self { length: bytes.len(), chunks: vec![bytes] }
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(chunks: Vec<Bytes>) -> Self {
        Self { length: chunks.iter().map(Bytes::len).sum(), chunks }
    }
}

/// Equal bytes are equal, wherever the chunks end.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.chunks.iter().flatten().eq(other.chunks.iter().flatten())
    }
}
