//! A connection through a balancer: who is at its other end.

use crate::door::Peer;
use crate::error::Stop;
use crate::origin::{Header, Origin, read};
use crate::stream::Stream;
use bytes::Buf;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads the header that the connection must begin with. Not cancel safe: what was read is in `stream`.
///
/// A wrong one ends the connection without a word: a balancer would not understand it, and who is behind it is not known.
pub(crate) async fn client(stream: &mut Stream, balancer: SocketAddr) -> Result<Peer, Stop> {
    loop {
        match read(&stream.input) {
            Ok(Header::Needs(bytes)) => stream.need(bytes).await?,
            Ok(Header::Whole { length, origin }) => {
                stream.input.advance(length);
                return Ok(Peer::Tcp(address(origin, balancer)));
            }
            Err(error) => {
                tracing::warn!(%balancer, "closed a connection from a balancer: {error}");
                return Err(Stop::Left);
            }
        }
    }
}

/// The address that counts, in rules and in the log.
fn address(origin: Origin, balancer: SocketAddr) -> SocketAddr {
    let client = match origin {
        Origin::Balancer => balancer,
        // No address at all, rather than the balancer's: a stranger must not be trusted because the balancer is.
        Origin::Unknown => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        Origin::Client(client) => SocketAddr::new(client.ip().to_canonical(), client.port()),
    };
    // "This machine" is the balancer's: such a client is where the balancer is.
    match is_local(client.ip()) && !is_local(balancer.ip()) {
        true => SocketAddr::new(balancer.ip(), client.port()),
        false => client,
    }
}

fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_where_the_balancer_says_unless_that_cannot_be() {
        for (origin, balancer, counts) in [
            (Some("203.0.113.9:7"), "10.0.0.1:9", "203.0.113.9:7"),
            (Some("[::ffff:203.0.113.9]:7"), "10.0.0.1:9", "203.0.113.9:7"),
            (Some("203.0.113.9:7"), "127.0.0.1:9", "203.0.113.9:7"),
            (Some("127.0.0.1:7"), "127.0.0.1:9", "127.0.0.1:7"),
            (Some("127.0.0.1:7"), "10.0.0.1:9", "10.0.0.1:7"),
            (Some("[::1]:7"), "10.0.0.1:9", "10.0.0.1:7"),
            (Some("[::ffff:127.0.0.1]:7"), "10.0.0.1:9", "10.0.0.1:7"),
            (None, "127.0.0.1:9", "0.0.0.0:0"),
            (None, "10.0.0.1:9", "0.0.0.0:0"),
        ] {
            let of = origin.map_or(Origin::Unknown, |text| Origin::Client(text.parse().unwrap()));
            assert_eq!(address(of, balancer.parse().unwrap()), counts.parse().unwrap(), "{origin:?}");
        }
        let balancer = "127.0.0.1:9".parse().unwrap();
        assert_eq!(address(Origin::Balancer, balancer), balancer);
    }
}
