//! What an admitted client has shown us that opens server connections for the same user.

use std::fmt;

/// Proof of a user's identity that can be passed on to a server. Never shows itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub enum ClientSecret {
    /// Nothing that could be passed on.
    None,
    /// The password itself.
    Password(Box<str>),
    /// `md5` and 32 hexadecimal digits, as PostgreSQL stores it: opens servers that ask for md5.
    Md5(Box<str>),
    /// SCRAM keys: open servers that hold the same verifier.
    ScramKeys {
        /// Recovered from the client's proof.
        client_key: [u8; 32],
        /// From the verifier.
        server_key: [u8; 32],
    },
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientSecret::None => "None",
            ClientSecret::Password(_) => "Password(..)",
            ClientSecret::Md5(_) => "Md5(..)",
            ClientSecret::ScramKeys { .. } => "ScramKeys(..)",
        })
    }
}
