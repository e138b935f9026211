//! Frames: a tag byte, a big-endian length that counts itself but not the tag, and a body (documentation, chapter 55.7).

/// Bytes of a frame before its body.
pub const HEADER_LEN: usize = 5;

/// Longest frame PostgreSQL accepts for messages that may be large, tag included (`MaxAllocSize`, 1 GB - 1).
pub const MAX_LARGE_FRAME: usize = 0x3fff_ffff;

/// Longest frame PostgreSQL accepts for messages that are always small, tag included (`PQ_SMALL_MESSAGE_LIMIT` + tag).
pub const MAX_SMALL_FRAME: usize = 10_001;

/// A frame's first five bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message type.
    pub tag: u8,
    /// Length of the whole frame in bytes, tag included; at least [`HEADER_LEN`].
    pub total: usize,
}

/// The length field of a frame is impossible; nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadLength {
    /// Message type of the frame.
    pub tag: u8,
    /// The length field as it stood there.
    pub length: i32,
}

/// Reads the header at the start of `bytes`; `None` when fewer than [`HEADER_LEN`] bytes are there yet.
///
/// # Errors
/// [`BadLength`] for a length below 4 or above what PostgreSQL accepts for any message.
#[inline]
pub fn header(bytes: &[u8]) -> Result<Option<Header>, BadLength> {
    let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length < 4 || length as usize >= MAX_LARGE_FRAME {
        return Err(BadLength { tag, length: length as i32 });
    }
    Ok(Some(Header { tag, total: 1 + length as usize }))
}

/// Splits off a NUL-terminated string; `None` when there is no NUL.
pub fn c_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&b| b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_five_bytes() {
        let frame = [b'Z', 0, 0, 0, 5];
        for have in 0..HEADER_LEN {
            assert_eq!(header(&frame[..have]), Ok(None));
        }
        assert_eq!(header(&frame), Ok(Some(Header { tag: b'Z', total: 6 })));
    }

    #[test]
    fn refuses_impossible_lengths() {
        for length in [0i32, 3, -1, i32::MIN, i32::MAX, 0x3fff_ffff] {
            let mut frame = vec![b'Q'];
            frame.extend(length.to_be_bytes());
            assert_eq!(header(&frame), Err(BadLength { tag: b'Q', length }));
        }
    }

    #[test]
    fn finds_c_strings() {
        assert_eq!(c_string(b"ab\0c"), Some((&b"ab"[..], &b"c"[..])));
        assert_eq!(c_string(b"ab"), None);
        assert_eq!(c_string(b""), None);
    }
}
