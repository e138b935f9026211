//! Judges client certificates as rustls does, and takes version 1 certificates that a root issued directly besides: OpenSSL, which
//! PostgreSQL has, takes them, and PostgreSQL's own instructions make them.

use crate::tls::verifier::Verifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;

/// A judge of clients, none of whom must bring a certificate.
#[derive(Debug)]
pub(crate) struct Visitor {
    strict: Arc<dyn ClientCertVerifier>,
    old: Verifier,
}

impl Visitor {
    /// `strict` knows the same roots as `old`.
    pub(crate) fn new(strict: Arc<dyn ClientCertVerifier>, old: Verifier) -> Visitor {
        Visitor { strict, old }
    }
}

impl ClientCertVerifier for Visitor {
    fn offer_client_auth(&self) -> bool {
        self.strict.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.strict.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match ParsedCertificate::try_from(leaf) {
            Ok(_) => self.strict.verify_client_cert(leaf, intermediates, now),
            Err(error) => self.old.version_one(leaf, now, error).map(|()| ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.old.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.old.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
