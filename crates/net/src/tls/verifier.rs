//! Judges server certificates as libpq does where rustls alone is stricter: `require` proves nothing about the issuer, a certificate
//! in the roots file is trusted as it stands (also a self-signed one marked as an authority, which `openssl req -x509` makes), a
//! common name counts when there is no alternative name, and version 1 certificates issued directly by a root are good.

use crate::tls::client::Verify;
use crate::tls::der::Certificate;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// A certificate judge; one per set of TLS settings.
#[derive(Debug)]
pub(crate) struct Verifier {
    verify: Verify,
    store: RootCertStore,
    roots: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// A judge that trusts `roots`.
    pub(crate) fn new(
        verify: Verify,
        roots: Vec<CertificateDer<'static>>,
        provider: &CryptoProvider,
    ) -> Result<Verifier, Error> {
        let mut store = RootCertStore::empty();
        for root in &roots {
            store.add(root.clone())?;
        }
        Ok(Verifier { verify, store, roots, algorithms: provider.signature_verification_algorithms })
    }

    fn issuer(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.roots.iter().any(|root| root == leaf) {
            return in_time(&parse(leaf)?, now);
        }
        let error = match ParsedCertificate::try_from(leaf) {
            Ok(parsed) => {
                return verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    &self.store,
                    intermediates,
                    now,
                    self.algorithms.all,
                );
            }
            Err(error) => error,
        };
        self.version_one(leaf, now, error)
    }

    /// Judges a certificate that rustls cannot read, with `error`. Version 1 has no extensions: nothing in it could forbid what a direct
    /// signature by a root allows.
    pub(crate) fn version_one(
        &self,
        leaf: &CertificateDer<'_>,
        now: UnixTime,
        error: Error,
    ) -> Result<(), Error> {
        let certificate = parse(leaf)?;
        if !certificate.extensions.is_empty() {
            return Err(error);
        }
        in_time(&certificate, now)?;
        if self.roots.iter().any(|root| self.issued(root, &certificate)) {
            Ok(())
        } else {
            Err(CertificateError::UnknownIssuer.into())
        }
    }

    /// True when `root` signed `certificate`.
    fn issued(&self, root: &[u8], certificate: &Certificate<'_>) -> bool {
        let Some(root) = Certificate::parse(root) else { return false };
        root.subject == certificate.issuer
            && self.algorithms.all.iter().any(|algorithm| {
                algorithm.public_key_alg_id().as_ref() == root.key_algorithm
                    && algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm
                    && algorithm.verify_signature(root.key, certificate.signed, certificate.signature).is_ok()
            })
    }
}

fn parse<'a>(leaf: &'a CertificateDer<'_>) -> Result<Certificate<'a>, Error> {
    Certificate::parse(leaf).ok_or_else(|| CertificateError::BadEncoding.into())
}

fn in_time(certificate: &Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < certificate.not_before {
        Err(CertificateError::NotValidYet.into())
    } else if now > certificate.not_after {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

fn host(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let by_alternative =
        ParsedCertificate::try_from(leaf).and_then(|parsed| verify_server_name(&parsed, name));
    let Err(error) = by_alternative else { return Ok(()) };
    let certificate = parse(leaf)?;
    if certificate.has_alternative_host() {
        return Err(error);
    }
    match certificate.common_name() {
        Some(common_name) if covers(common_name, &name.to_str()) => Ok(()),
        _ => Err(CertificateError::NotValidForName.into()),
    }
}

/// True when a name in a certificate, perhaps with `*` as its first label, is the name of `host`. The star stands for exactly one
/// label, as in libpq.
pub(crate) fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(domain), Some((first, rest))) = (pattern.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    domain.contains('.') && !first.is_empty() && domain.eq_ignore_ascii_case(rest)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify {
            Verify::Nothing => {}
            Verify::Issuer => self.issuer(leaf, intermediates, now)?,
            Verify::IssuerAndHost => {
                self.issuer(leaf, intermediates, now)?;
                host(leaf, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(cert).is_ok() {
            return verify_tls13_signature(message, cert, dss, &self.algorithms);
        }
        // Version 1: the key is all we need of it.
        let key = SubjectPublicKeyInfoDer::from(parse(cert)?.key_info);
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
