//! Reads behind what a vector has, into memory that nobody set to zeros before: where a gibibyte is read, that was a fifth of the time.
//!
//! Invariant: what counts as the vector's content afterwards is what the system has written there. The one place of this crate with `unsafe`, because no
//! safe interface has `preadv2` with RWF_NOWAIT for such memory.
#![expect(unsafe_code, reason = "the system writes into memory that has no content yet")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::fs::Wait;

/// Appends up to `length` bytes that the file has at `position`; fewer only at its end.
///
/// # Errors
/// The system's; `WouldBlock` when waiting is refused and would be needed. Nothing is appended then.
pub(super) fn read_more(
    file: &File,
    bytes: &mut Vec<u8>,
    length: usize,
    position: u64,
    wait: Wait,
) -> io::Result<usize> {
    let offset = libc::off_t::try_from(position).map_err(io::Error::other)?;
    let flags = match wait {
        Wait::Allowed => 0,
        Wait::Refused => libc::RWF_NOWAIT,
    };
    bytes.reserve(length);
    let place = &mut bytes.spare_capacity_mut()[..length];
    let part = libc::iovec { iov_base: place.as_mut_ptr().cast(), iov_len: place.len() };
    // SAFETY: the one part is `place`, memory of `bytes` that is borrowed for the whole call; the kernel writes there and nowhere else.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, offset, flags) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: `read` is at most `length`, and the kernel has written so many bytes behind the content.
    unsafe { bytes.set_len(bytes.len() + read) };
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::read_more;
    use crate::fs::Wait;

    #[test]
    fn what_is_read_follows_what_was_there_and_ends_with_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mut bytes = b"ab".to_vec();
        assert_eq!(read_more(&file, &mut bytes, 4, 3, Wait::Allowed).unwrap(), 4);
        assert_eq!(read_more(&file, &mut bytes, 100, 7, Wait::Allowed).unwrap(), 3);
        assert_eq!(read_more(&file, &mut bytes, 100, 10, Wait::Allowed).unwrap(), 0);
        assert_eq!(read_more(&file, &mut bytes, 0, 0, Wait::Allowed).unwrap(), 0);
        assert_eq!(bytes, b"ab3456789");
    }

    #[test]
    fn an_error_appends_nothing() {
        let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
        let mut bytes = b"ab".to_vec();
        assert!(read_more(&folder, &mut bytes, 10, 0, Wait::Allowed).is_err());
        assert!(read_more(&folder, &mut bytes, 10, u64::MAX, Wait::Allowed).is_err());
        assert_eq!(bytes, b"ab");
    }
}
