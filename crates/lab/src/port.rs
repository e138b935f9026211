//! Free loopback ports.
use crate::error::LabError;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

/// The range ports are taken from. It lies below the ephemeral ranges of Linux (32768) and macOS (49152): a stopped node's
/// port must not be taken as the source port of somebody's outgoing connection before the node is started again.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

/// `count` different ports nobody listens on at this moment, on 127.0.0.1.
///
/// Nothing reserves them afterwards: who binds one must be ready to find it taken and ask again.
///
/// # Errors
/// [`LabError::Io`] when the whole range is taken.
pub fn free(count: usize) -> Result<Vec<u16>, LabError> {
    let span = RANGE.end - RANGE.start;
    // A random beginning, so that labs started at the same moment rarely look at the same ports.
    let begin = u16::try_from(RandomState::new().hash_one(std::process::id()) % u64::from(span)).unwrap_or(0);
    let mut held = Vec::with_capacity(count);
    for step in 0..span {
        if held.len() == count {
            break;
        }
        let port = RANGE.start + (begin + step) % span;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        return Err(LabError::Io { what: format!("find {count} free ports"), source });
    }
    Ok(held.into_iter().map(|(port, _listener)| port).collect())
}

/// True when nobody listens on this loopback port.
#[must_use]
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_different_free_ports() {
        let ports = free(5).expect("a machine with five free ports");
        let distinct: std::collections::HashSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 5);
        assert!(ports.iter().all(|p| RANGE.contains(p)));
    }

    #[test]
    fn a_listening_port_is_not_free() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let port = listener.local_addr().expect("address").port();
        assert!(!is_free(port));
    }
}
