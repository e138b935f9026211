//! libpq's words for how much encryption a connection to a server wants (PostgreSQL documentation, "SSL Mode Descriptions").

use pgherd_net::tls::TlsError;
use pgherd_net::tls::client::{ClientFiles, ClientTls, Verify};
use std::fmt;
use std::str::FromStr;

/// One of libpq's `sslmode` words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// In clear; encrypted only when the server insists.
    Allow,
    /// Encrypted when the server can; in clear otherwise.
    #[default]
    Prefer,
    /// Encrypted; as `verify-ca` when root certificates are given.
    Require,
    /// Encrypted, and one of our roots issued the server's certificate.
    VerifyCa,
    /// As `verify-ca`, and the certificate names the host.
    VerifyFull,
}

impl SslMode {
    /// Every mode, weakest first.
    pub const ALL: [SslMode; 6] = [
        SslMode::Disable,
        SslMode::Allow,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no `sslmode`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid sslmode value: \"{0}\" (expected disable, allow, prefer, require, verify-ca or verify-full)"
)]
pub struct UnknownSslMode(pub String);

impl FromStr for SslMode {
    type Err = UnknownSslMode;

    fn from_str(word: &str) -> Result<SslMode, UnknownSslMode> {
        SslMode::ALL.into_iter().find(|mode| mode.word() == word).ok_or_else(|| UnknownSslMode(word.into()))
    }
}

/// Whether a login is bound to the TLS channel: libpq's `channel_binding` (PostgreSQL documentation, "Parameter Key Words").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// When the server offers it.
    #[default]
    Prefer,
    /// Or there is no login.
    Require,
}

/// An `sslmode` with the TLS it needs.
#[derive(Clone, Debug)]
pub struct Ssl {
    mode: SslMode,
    tls: Option<ClientTls>,
    binding: ChannelBinding,
}

impl Ssl {
    /// No encryption.
    pub const DISABLED: Ssl = Ssl { mode: SslMode::Disable, tls: None, binding: ChannelBinding::Prefer };

    /// Reads the certificate files the mode needs.
    ///
    /// # Errors
    /// [`TlsError`] when a file cannot be used, or when a verifying mode has no roots.
    pub fn load(mode: SslMode, files: ClientFiles<'_>) -> Result<Ssl, TlsError> {
        let verify = match mode {
            SslMode::Disable => return Ok(Ssl::DISABLED),
            SslMode::Allow | SslMode::Prefer => Verify::Nothing,
            SslMode::Require if files.roots.is_none() => Verify::Nothing,
            SslMode::Require | SslMode::VerifyCa => Verify::Issuer,
            SslMode::VerifyFull => Verify::IssuerAndHost,
        };
        Ok(Ssl { mode, tls: Some(ClientTls::load(verify, files)?), binding: ChannelBinding::default() })
    }

    /// The same with another channel binding.
    #[must_use]
    pub fn with_binding(self, binding: ChannelBinding) -> Ssl {
        Ssl { binding, ..self }
    }

    /// The channel binding.
    pub fn binding(&self) -> ChannelBinding {
        self.binding
    }

    /// The mode.
    pub fn mode(&self) -> SslMode {
        self.mode
    }

    /// The TLS to use; `None` only with [`SslMode::Disable`].
    pub fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_libpqs() {
        for mode in SslMode::ALL {
            assert_eq!(mode.word().parse(), Ok(mode));
        }
        let error = "on".parse::<SslMode>().unwrap_err();
        assert!(error.to_string().starts_with("invalid sslmode value: \"on\""));
    }

    #[test]
    fn verification_needs_roots() {
        assert!(Ssl::load(SslMode::Require, ClientFiles::default()).is_ok());
        assert!(matches!(Ssl::load(SslMode::VerifyCa, ClientFiles::default()), Err(TlsError::NoRoots)));
        assert!(matches!(Ssl::load(SslMode::VerifyFull, ClientFiles::default()), Err(TlsError::NoRoots)));
    }
}
