//! The frame header, as the relays use it: a stream is a row of frames, however it was cut on its way.

use pgherd_wire::frame::{BadLength, HEADER_LEN, Header, MAX_LARGE_FRAME, header};

/// Longest body taken as present in full; a longer one is skipped as a relay skips what flows through it.
const SKIPPED_ABOVE: usize = 1 << 16;

/// Reads `data` at once and byte by byte; both must find the same frames and the same end.
pub(crate) fn run(data: &[u8]) {
    let whole = walk(&[data]);
    let single: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(whole, walk(&single));
    if let Some((&cut, rest)) = data.split_first() {
        let cut = usize::from(cut) % (rest.len() + 1);
        assert_eq!(walk(&[rest]), walk(&[&rest[..cut], &rest[cut..]]));
    }
}

/// The headers found in a stream that arrives in `pieces`, and the error that ended it.
fn walk(pieces: &[&[u8]]) -> (Vec<Header>, Option<BadLength>) {
    let (mut found, mut buffer, mut to_skip) = (Vec::new(), Vec::new(), 0usize);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let skipped = to_skip.min(buffer.len());
            buffer.drain(..skipped);
            to_skip -= skipped;
            match header(&buffer) {
                Err(bad) => {
                    assert!(bad.length < 4 || bad.length as usize >= MAX_LARGE_FRAME);
                    return (found, Some(bad));
                }
                Ok(None) => break,
                Ok(Some(header)) => {
                    assert!((HEADER_LEN..=MAX_LARGE_FRAME).contains(&header.total), "{header:?}");
                    found.push(header);
                    to_skip = header.total.min(SKIPPED_ABOVE);
                }
            }
        }
    }
    (found, None)
}
