//! The header a balancer puts in front of a client's bytes, so that we know whose they are: the PROXY protocol, versions 1 and 2
//! (HAProxy, `doc/proxy-protocol.txt`, sections 2.1 and 2.2). Pure: bytes in, a value out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Longest header of version 1, its line end included.
pub const MAX_LINE: usize = 107;

/// Longest header of version 2 that is taken, its fixed part included. The protocol would allow 64 KiB; what balancers send (addresses, the
/// name asked for, facts about TLS) is some hundred bytes, and NGINX draws the line here too.
pub const MAX_BINARY: usize = 4096;

/// How version 1 begins.
const WORD: &[u8] = b"PROXY ";

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;

/// Whom the bytes after the header come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The balancer itself (`LOCAL`): it looks whether we are well.
    Balancer,
    /// A client whose address the balancer cannot tell (`UNKNOWN`, `UNSPEC`, a Unix socket of its own).
    Unknown,
    /// A client at this address.
    Client(SocketAddr),
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Nothing yet: at least so many bytes are needed, more than there are.
    Needs(usize),
    /// A whole header of `length` bytes; what follows is the client's.
    Whole {
        /// Length of the header in bytes.
        length: usize,
        /// Who speaks behind it.
        origin: Origin,
    },
}

/// Why the first bytes are no header. All are the balancer's fault, or that of whoever listed it as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Something else altogether.
    #[error("no PROXY header")]
    Missing,
    /// A version 1 header that is not as the specification has it; where.
    #[error("malformed PROXY header, version 1: {0}")]
    Line(&'static str),
    /// A version 2 header that is not as the specification has it; where.
    #[error("malformed PROXY header, version 2: {0}")]
    Binary(&'static str),
}

/// Reads the header that `input` must begin with. Whatever the bytes are, it asks for no more than [`MAX_BINARY`] of them, and how they were
/// cut on their way makes no difference.
///
/// # Errors
/// [`BadHeader`], as soon as the bytes cannot become a header any more.
pub fn read(input: &[u8]) -> Result<Header, BadHeader> {
    let begins = |with: &[u8]| input.iter().zip(with).all(|(a, b)| a == b);
    if input.is_empty() {
        Ok(Header::Needs(1))
    } else if begins(WORD) {
        line(input)
    } else if begins(SIGNATURE) {
        binary(input)
    } else {
        Err(BadHeader::Missing)
    }
}

/// True when `input` begins as a header does: for the log, where none is taken.
pub fn resembles(input: &[u8]) -> bool {
    input.starts_with(WORD) || input.starts_with(SIGNATURE)
}

fn line(input: &[u8]) -> Result<Header, BadHeader> {
    let bad = BadHeader::Line;
    let seen = &input[..input.len().min(MAX_LINE)];
    let end = seen.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let end = match end.map(|end| (end, seen[end], seen.get(end + 1))) {
        Some((end, b'\r', Some(b'\n'))) => end,
        // A line end may come in two pieces, but not in half.
        Some((end, b'\r', None)) if end + 1 < MAX_LINE => return Ok(Header::Needs(end + 2)),
        None if seen.len() < MAX_LINE => return Ok(Header::Needs(input.len() + 1)),
        Some((_, _, Some(_) | None)) => return Err(bad("a CR or LF alone")),
        None => return Err(bad("no line end within 107 bytes")),
    };
    let whole = |origin| Ok(Header::Whole { length: end + 2, origin });
    let text = seen[..end].get(WORD.len()..).and_then(|text| std::str::from_utf8(text).ok());
    let mut words = text.ok_or(bad("not ASCII"))?.split(' ');
    let v4 = match words.next() {
        // What stands behind it is to be ignored.
        Some("UNKNOWN") => return whole(Origin::Unknown),
        Some("TCP4") => true,
        Some("TCP6") => false,
        _ => return Err(bad("neither TCP4 nor TCP6 nor UNKNOWN")),
    };
    let mut next = || words.next().ok_or(bad("too few fields"));
    let (source, target) = (address(next()?, v4)?, address(next()?, v4)?);
    let (port, target_port) = (port(next()?)?, port(next()?)?);
    let _ = (target, target_port);
    match words.next() {
        None => whole(Origin::Client(SocketAddr::new(source, port))),
        Some(_) => Err(bad("too many fields")),
    }
}

fn address(text: &str, v4: bool) -> Result<IpAddr, BadHeader> {
    let address = match v4 {
        true => Ipv4Addr::from_str(text).map(IpAddr::from),
        false => Ipv6Addr::from_str(text).map(IpAddr::from),
    };
    address.map_err(|_| BadHeader::Line("not an address of its family"))
}

fn port(text: &str) -> Result<u16, BadHeader> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let port = plain.then(|| text.parse().ok()).flatten();
    port.ok_or(BadHeader::Line("not a port"))
}

fn binary(input: &[u8]) -> Result<Header, BadHeader> {
    let bad = BadHeader::Binary;
    let Some((fixed, rest)) = input.split_first_chunk::<FIXED>() else {
        return Ok(Header::Needs(FIXED));
    };
    let [.., version, family, high, low] = *fixed;
    if version >> 4 != 2 {
        return Err(bad("another version"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > MAX_BINARY {
        return Err(bad("longer than 4096 bytes"));
    }
    let origin = match (version & 0xf, family >> 4, family & 0xf) {
        // Families of such a header are to be ignored.
        (0, ..) => None,
        (1, 0..=3, 0..=2) => Some((family, address_length(family))),
        (1, ..) => return Err(bad("a family that is not specified")),
        _ => return Err(bad("neither LOCAL nor PROXY")),
    };
    if origin.is_some_and(|(_, needed)| length < needed) {
        return Err(bad("shorter than its addresses"));
    }
    // Not before everything is here: who gives half a header is not to be believed in half.
    let Some(block) = rest.get(..length) else { return Ok(Header::Needs(FIXED + length)) };
    let origin = match origin {
        None => Origin::Balancer,
        Some((0x11, _)) => source::<4>(block).map_or(Origin::Unknown, Origin::Client),
        Some((0x21, _)) => source::<16>(block).map_or(Origin::Unknown, Origin::Client),
        // Valid, and nothing a TCP client can come from.
        Some(_) => Origin::Unknown,
    };
    Ok(Header::Whole { length: FIXED + length, origin })
}

/// Bytes that addresses and ports of this family take.
fn address_length(family: u8) -> usize {
    match (family >> 4, family & 0xf) {
        (1, 1 | 2) => 12,
        (2, 1 | 2) => 36,
        (3, 1 | 2) => 216,
        // Unspecified: whatever there is, is ignored.
        _ => 0,
    }
}

/// Source address, target address, source port, target port.
fn source<const N: usize>(block: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let address = *block.first_chunk::<N>()?;
    let port = *block.get(2 * N..)?.first_chunk::<2>()?;
    Some(SocketAddr::new(IpAddr::from(address), u16::from_be_bytes(port)))
}

#[cfg(test)]
#[path = "origin_tests.rs"]
mod tests;
