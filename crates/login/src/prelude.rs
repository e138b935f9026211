//! From the first byte to the startup packet: TLS by request or straight away, GSS refused, cancel requests told apart (PostgreSQL
//! documentation, "Message Flow", "SSL Session Encryption" and "GSSAPI Session Encryption").

use crate::door::{CancelRequest, Peer};
use crate::error::{LoginError, Stop};
use crate::settings::{Settings, TlsPolicy};
use crate::startup::{self, Opening, Startup};
use crate::stream::Stream;
use bytes::{Buf, BufMut};
use pgherd_net::tls::{ALPN, Material, ServerTls};
use pgherd_net::transport::Transport;
use std::sync::Arc;

/// First byte of a TLS handshake; no startup packet can begin with it, it would be far too long.
const HANDSHAKE: u8 = 0x16;

/// What a client wants.
#[derive(Debug)]
pub(crate) enum Wish {
    /// To log in. With the TLS material of its handshake, if there was one.
    Login(Startup, Option<Arc<Material>>),
    /// To cancel.
    Cancel(CancelRequest),
}

/// Reads up to and including the startup packet or cancel request.
pub(crate) async fn prelude(stream: &mut Stream, settings: &Settings, peer: &Peer) -> Result<Wish, Stop> {
    let tls = settings.tls.tls().filter(|_| !matches!(peer, Peer::Unix(_)));
    let (mut ssl_done, mut gss_done, mut material) = (false, false, None);
    stream.need(1).await?;
    if stream.input[0] == HANDSHAKE {
        material = Some(direct(stream, tls.ok_or(Stop::Left)?, peer).await?);
        (ssl_done, gss_done) = (true, true);
    }
    loop {
        match packet(stream).await? {
            Opening::Ssl if !ssl_done => {
                ssl_done = true;
                stream.output.put_u8(if tls.is_some() { b'S' } else { b'N' });
                stream.flush().await?;
                nothing_more(stream, "SSL")?;
                if let Some(tls) = tls {
                    gss_done = true;
                    material = Some(handshake(stream, tls, peer).await?);
                }
            }
            Opening::Gss if !gss_done => {
                gss_done = true;
                stream.output.put_u8(b'N');
                stream.flush().await?;
                nothing_more(stream, "GSSAPI encryption")?;
            }
            Opening::Ssl => return Err(LoginError::Protocol(1234, 5679).into()),
            Opening::Gss => return Err(LoginError::Protocol(1234, 5680).into()),
            Opening::Cancel(request) => return Ok(Wish::Cancel(request)),
            Opening::Startup(startup) => {
                stream.started = true;
                let required = matches!(settings.tls, TlsPolicy::Require(_)) && tls.is_some();
                if required && material.is_none() {
                    return Err(LoginError::TlsRequired.into());
                }
                return Ok(Wish::Login(startup, material));
            }
        }
    }
}

/// One packet without a tag.
async fn packet(stream: &mut Stream) -> Result<Opening, Stop> {
    stream.need(4).await?;
    let length = startup::length([stream.input[0], stream.input[1], stream.input[2], stream.input[3]])?;
    stream.need(4 + length).await?;
    let parsed = startup::parse(&stream.input[4..4 + length])?;
    stream.input.advance(4 + length);
    Ok(parsed)
}

/// Bytes that came in clear after a request for encryption must not count as encrypted (CVE-2021-23214).
fn nothing_more(stream: &Stream, request: &'static str) -> Result<(), Stop> {
    if stream.input.is_empty() { Ok(()) } else { Err(LoginError::Unencrypted(request).into()) }
}

async fn handshake(stream: &mut Stream, tls: &ServerTls, peer: &Peer) -> Result<Arc<Material>, Stop> {
    let material = tls.current();
    let Some(Transport::Plain(plain)) = stream.take() else { return Err(Stop::Left) };
    match material.accept(plain, &stream.input).await {
        Ok(transport) => {
            stream.put(transport);
            Ok(material)
        }
        Err(error) => {
            // A certificate that does not hold is worth knowing of; other handshakes are broken off by whoever scans the network.
            let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(rustls::Error::InvalidCertificate(why)) => {
                    tracing::info!(%peer, %why, "refused a client: its certificate is not valid");
                }
                _ => tracing::debug!(%peer, %error, "TLS handshake failed"),
            }
            Err(Stop::Left)
        }
    }
}

/// TLS from the first byte on. Such a client must name the protocol, so that no other can be tricked into speaking to us.
async fn direct(stream: &mut Stream, tls: &ServerTls, peer: &Peer) -> Result<Arc<Material>, Stop> {
    let material = handshake(stream, tls, peer).await?;
    let Some(transport) = stream.take() else { return Err(Stop::Left) };
    let named =
        matches!(&transport, Transport::Accepted(tls) if tls.get_ref().1.alpn_protocol() == Some(ALPN));
    if !named {
        tracing::debug!("direct TLS connection without ALPN");
        return Err(Stop::Left);
    }
    stream.put(transport);
    Ok(material)
}
