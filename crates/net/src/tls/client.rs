//! TLS for the side that connects.

use crate::tls::verifier::Verifier;
use crate::tls::{ALPN, TlsError, certificates, private_key, provider};
use crate::transport::{Plain, Transport};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// How much a server's certificate must prove (PostgreSQL documentation, "Client Verification of Server Certificates").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: encryption against listeners, no protection against an impostor.
    Nothing,
    /// That one of our roots issued it.
    Issuer,
    /// Also that it was issued for the host we meant.
    IssuerAndHost,
}

/// Files of certificates for connections to servers, all optional where the mode allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientFiles<'a> {
    /// Roots that may have issued the server's certificate.
    pub roots: Option<&'a Path>,
    /// Our own certificate chain and its private key, for servers that ask for one.
    pub identity: Option<(&'a Path, &'a Path)>,
}

/// Ready-made TLS for connections to servers. Cheap to clone; made anew on reload.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the files and prepares the handshake. Roots that are given with [`Verify::Nothing`] are not used.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be used, or [`TlsError::NoRoots`].
    pub fn load(verify: Verify, files: ClientFiles<'_>) -> Result<ClientTls, TlsError> {
        let roots = match (verify, files.roots) {
            (Verify::Nothing, _) => Vec::new(),
            (_, Some(path)) => certificates("root certificate", path)?,
            (_, None) => return Err(TlsError::NoRoots),
        };
        let verifier = Verifier::new(verify, roots, &provider()).map_err(TlsError::Setup)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match files.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(certificates("certificate", chain)?, private_key(key)?)
                .map_err(TlsError::Identity)?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        // PostgreSQL hands out no tickets.
        config.resumption = Resumption::disabled();
        Ok(ClientTls { config: Arc::new(config) })
    }

    /// The configuration itself, for whoever drives a handshake of their own.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// Performs the client side of a handshake on a stream whose server has agreed to it. `host` is the name that was meant, not
    /// the address it resolved to. Not cancel safe: a dropped handshake ends the connection.
    ///
    /// # Errors
    /// Whatever the stream or the handshake fails with (the certificate's faults as [`io::ErrorKind::InvalidData`]); a host that
    /// cannot stand in a certificate as [`io::ErrorKind::InvalidInput`].
    pub async fn connect(&self, plain: Plain, host: &str) -> io::Result<Transport> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, TlsError::Name(host.to_owned())))?;
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(name, plain).await?;
        Ok(Transport::Dialed(Box::new(stream)))
    }
}
