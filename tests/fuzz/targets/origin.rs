//! The header of a balancer: the first bytes a stranger may send, however they were cut on their way.

use pgherd_login::origin::{BadHeader, Header, MAX_BINARY, read};

/// Reads `data` at once and as it is asked for; both must come to the same end.
pub(crate) fn run(data: &[u8]) {
    let at_once = read(data);
    if let Ok(Header::Whole { length, .. }) = at_once {
        assert!(length <= data.len() && length <= MAX_BINARY);
        // What stands behind a header does not matter.
        assert_eq!(read(&data[..length]), at_once);
    }
    assert_eq!(fed(data), at_once);
}

/// Gives the reader no more than it asks for.
fn fed(data: &[u8]) -> Result<Header, BadHeader> {
    let mut have = 0;
    loop {
        match read(&data[..have])? {
            Header::Needs(needed) => {
                assert!(needed > have && needed <= MAX_BINARY, "{needed} after {have}");
                // No more is to come: what is there may be wrong already.
                if needed > data.len() {
                    return read(data);
                }
                have = needed;
            }
            whole => return Ok(whole),
        }
    }
}
