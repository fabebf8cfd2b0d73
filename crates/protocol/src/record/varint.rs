//! Zigzag variable-length integers, as records use them.
//!
//! A reader takes at most 5 or 10 bytes and refuses bits beyond the value's width, so that every value has few forms
//! and no input makes it read on.

/// The most bytes that a number of 32 bits takes.
pub(super) const LENGTH_MAX_I32: usize = 5;
/// The most bytes that a number of 64 bits takes.
pub(super) const LENGTH_MAX_I64: usize = 10;

/// Takes a zigzag varint of at most 32 bits from the front of `bytes`.
pub(super) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    let raw = take(bytes, LENGTH_MAX_I32)?;
    let raw = u32::try_from(raw).ok()?;
    Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

/// Takes a zigzag varint of at most 64 bits from the front of `bytes`.
pub(super) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    let raw = take(bytes, LENGTH_MAX_I64)?;
    Some((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
}

fn take(bytes: &mut &[u8], length_max: usize) -> Option<u64> {
    let mut value = 0_u64;
    for at in 0..length_max {
        let byte = *bytes.get(at)?;
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * at;
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            *bytes = &bytes[at + 1..];
            return Some(value);
        }
    }
    None
}

/// Appends `value` as a zigzag varint.
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push(low_bits(raw) | 0x80);
        raw >>= 7;
    }
    out.push(low_bits(raw));
}

fn low_bits(raw: u64) -> u8 {
    raw.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{put, take_i32, take_i64};

    proptest! {
        #[test]
        fn a_number_comes_back(value in any::<i64>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_i64(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take_i32(&mut bytes.as_slice()), i32::try_from(value).ok());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let _ = take_i32(&mut bytes.as_slice());
            let _ = take_i64(&mut bytes.as_slice());
        }
    }

    #[test]
    fn a_number_without_an_end_is_refused() {
        assert_eq!(take_i32(&mut [0xff; 6].as_slice()), None);
        assert_eq!(take_i64(&mut [0xff; 11].as_slice()), None);
    }
}
