//! TLS material for the side that accepts: read from PEM files, swapped on reload.

pub mod client;
pub mod der;
pub mod verifier;
mod visitor;

#[cfg(test)]
mod tests;

use crate::tls::client::Verify;
use crate::tls::verifier::Verifier;
use crate::tls::visitor::Visitor;
use crate::transport::{Plain, Transport};
use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::server::StartHandshake;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// The only ALPN name of the PostgreSQL protocol; a client that starts TLS without asking must offer it
/// (PostgreSQL documentation, "SSL Session Encryption").
pub const ALPN: &[u8] = b"postgresql";

/// TLS material that cannot be used. Always the operator's fault, never worth a retry before the files change.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read or holds nothing usable.
    #[error("could not load {what} file \"{}\": {why}", path.display())]
    File {
        /// What the file should hold.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Certificate and key do not belong together, or the key's kind is not supported.
    #[error("could not use certificate and private key: {0}")]
    Identity(rustls::Error),
    /// `verify-ca` and `verify-full` need something to verify against.
    #[error("certificate verification needs a file of root certificates")]
    NoRoots,
    /// The host cannot be the name in a certificate.
    #[error("\"{0}\" cannot be verified: it is neither a host name nor an IP address")]
    Name(String),
    /// A setting the TLS library refuses.
    #[error("could not set up TLS: {0}")]
    Setup(rustls::Error),
}

/// Certificate, key and what follows from them, as one handshake sees them.
#[derive(Debug)]
pub struct Material {
    config: Arc<ServerConfig>,
    end_point: Option<Box<[u8]>>,
}

impl Material {
    /// The `tls-server-end-point` channel binding of our certificate (RFC 5929, section 4.1); `None` for a certificate whose
    /// signature names no hash (Ed25519), with which SCRAM-SHA-256-PLUS cannot be offered.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Performs the server side of a handshake. `read` are bytes of the ClientHello that were read from the stream already, empty
    /// when none were. Not cancel safe: a dropped handshake ends the connection.
    ///
    /// # Errors
    /// Whatever the stream or the handshake fails with; the connection is of no use afterwards.
    pub async fn accept(&self, plain: Plain, read: &[u8]) -> io::Result<Transport> {
        if read.is_empty() {
            let stream = TlsAcceptor::from(Arc::clone(&self.config)).accept(plain).await?;
            return Ok(Transport::Accepted(Box::new(stream)));
        }
        let mut acceptor = rustls::server::Acceptor::default();
        let mut rest = read;
        while !rest.is_empty() {
            if acceptor.read_tls(&mut rest)? == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let start = match acceptor.accept() {
            Ok(Some(accepted)) => StartHandshake::from_parts(accepted, plain),
            Ok(None) => LazyConfigAcceptor::new(acceptor, plain).await?,
            Err((error, _alert)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        };
        let stream = start.into_stream(Arc::clone(&self.config)).await?;
        Ok(Transport::Accepted(Box::new(stream)))
    }
}

/// The lowest version of TLS that is spoken (RFC 5246, RFC 8446); older ones never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oldest {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The server side's TLS: the files it came from and the material in use.
#[derive(Debug)]
pub struct ServerTls {
    oldest: Oldest,
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    current: ArcSwap<Material>,
}

impl ServerTls {
    /// Reads certificate chain, private key and, when clients may present certificates, the roots to verify them by.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be read or does not fit the others.
    pub fn load(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerTls, TlsError> {
        ServerTls::load_since(Oldest::default(), certificate, key, client_ca)
    }

    /// The same, with a lowest version of TLS.
    ///
    /// # Errors
    /// As [`ServerTls::load`].
    pub fn load_since(
        oldest: Oldest,
        certificate: &Path,
        key: &Path,
        client_ca: Option<&Path>,
    ) -> Result<ServerTls, TlsError> {
        let material = material(oldest, certificate, key, client_ca)?;
        Ok(ServerTls {
            oldest,
            certificate: certificate.into(),
            key: key.into(),
            client_ca: client_ca.map(Into::into),
            current: ArcSwap::from_pointee(material),
        })
    }

    /// Reads the same files again; handshakes from now on use what they hold. On an error the old material stays.
    ///
    /// # Errors
    /// As [`ServerTls::load`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = material(self.oldest, &self.certificate, &self.key, self.client_ca.as_deref())?;
        self.current.store(Arc::new(fresh));
        Ok(())
    }

    /// The material for one connection: handshake and channel binding must use the same.
    pub fn current(&self) -> Arc<Material> {
        self.current.load_full()
    }

    /// An acceptor over the material in use now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.load().config))
    }
}

/// The one provider of cryptography; named everywhere, because an implicit default panics as soon as two are linked.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn material(
    oldest: Oldest,
    certificate: &Path,
    key: &Path,
    client_ca: Option<&Path>,
) -> Result<Material, TlsError> {
    let chain = certificates("certificate", certificate)?;
    let end_point = chain.first().and_then(|leaf| der::end_point(leaf));
    let key = private_key(key)?;
    let versions = match oldest {
        Oldest::Tls12 => rustls::ALL_VERSIONS,
        Oldest::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(TlsError::Setup)?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(Arc::new(visitor(path)?)),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity(chain, &key)?)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // As PostgreSQL: no tickets, no session cache. Connections live long, and a resumed session would outlive a changed CA.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Material { config: Arc::new(config), end_point })
}

/// The judge of client certificates.
fn visitor(path: &Path) -> Result<Visitor, TlsError> {
    let roots = certificates("root certificate", path)?;
    let strict = WebPkiClientVerifier::builder_with_provider(Arc::new(root_store(path)?), provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| file("root certificate", path, error))?;
    let old = Verifier::new(Verify::Issuer, roots, &provider()).map_err(TlsError::Setup)?;
    Ok(Visitor::new(strict, old))
}

/// Certificate and key as one, proved to belong together. rustls proves it too, but for no version 1 certificate.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    let signer = provider().key_provider.load_private_key(key.clone_key()).map_err(TlsError::Identity)?;
    let of_key = signer.public_key();
    let of_certificate = chain.first().and_then(|leaf| der::Certificate::parse(leaf));
    let same = match (&of_key, &of_certificate) {
        (Some(key), Some(certificate)) => key.as_ref() == certificate.key_info,
        _ => return Err(TlsError::Identity(rustls::CertificateError::BadEncoding.into())),
    };
    if !same {
        return Err(TlsError::Identity(rustls::InconsistentKeys::KeyMismatch.into()));
    }
    Ok(CertifiedKey::new(chain, signer))
}

fn file(what: &'static str, path: &Path, why: impl ToString) -> TlsError {
    TlsError::File { what, path: path.into(), why: why.to_string() }
}

/// All certificates of a PEM file, in its order; at least one.
pub(crate) fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| file(what, path, error))?;
    if chain.is_empty() { Err(file(what, path, "no certificate found")) } else { Ok(chain) }
}

/// The first private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| file("private key", path, error))
}

fn root_store(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("root certificate", path)? {
        store.add(certificate).map_err(|error| file("root certificate", path, error))?;
    }
    Ok(store)
}
