//! Random bytes for secrets.

use aws_lc_rs::rand;

/// Fills `bytes` from the system's generator. False when the system has none: then nothing may be built on `bytes`.
#[must_use]
pub fn fill(bytes: &mut [u8]) -> bool {
    rand::fill(bytes).is_ok()
}
