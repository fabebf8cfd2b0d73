//! The batches of one segment file, one after the other, for people and scripts.
//!
//! Reads only. It stops at the first bytes that are no intact batch and says where, whatever follows.

use std::io;
use std::path::Path;

use kennet_protocol::record::Batch;

use crate::fs::FileSystem;
use crate::scan::BatchScan;

/// How far a segment file is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dumped {
    /// Bytes of intact batches from the file's start on.
    pub whole: u64,
    /// The file's length in bytes.
    pub length: u64,
}

/// Calls `each` with the position and the batch, for all intact batches from the file's start on, until it says stop.
///
/// # Errors
/// When the file can't be read.
pub fn dump(
    fs: &dyn FileSystem,
    segment: &Path,
    mut each: impl FnMut(u64, &Batch) -> io::Result<()>,
) -> io::Result<Dumped> {
    let file = fs.open(segment)?;
    let length = file.length()?;
    let mut scan = BatchScan::new(file.as_ref(), 0, length);
    while let Some((position, batch)) = scan.next()? {
        each(position, &batch)?;
    }
    Ok(Dumped { whole: scan.position(), length })
}
