//! How the door judges. A value: swapped whole on reload.

use crate::directory::Directory;
use crate::door::Peer;
use crate::ident::Map;
use crate::users::{Secret, Users};
use pgherd_net::tls::ServerTls;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Default of [`Settings::login_timeout`].
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Default of [`Settings::max_unauthenticated`].
pub const MAX_UNAUTHENTICATED: usize = 256;

/// Whether clients get TLS. Unix sockets never do.
#[derive(Clone, Debug, Default)]
pub enum TlsPolicy {
    /// Never.
    #[default]
    Off,
    /// Whoever asks.
    Prefer(Arc<ServerTls>),
    /// Everybody, or they are refused.
    Require(Arc<ServerTls>),
}

impl TlsPolicy {
    /// The material, when there is TLS.
    pub fn tls(&self) -> Option<&Arc<ServerTls>> {
        match self {
            TlsPolicy::Off => None,
            TlsPolicy::Prefer(tls) | TlsPolicy::Require(tls) => Some(tls),
        }
    }
}

/// How a client that is not trusted proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// By its password in clear; any stored secret can judge it.
    Password,
    /// By md5 challenge; users with a SCRAM verifier by SCRAM, as in PostgreSQL.
    Md5,
    /// By SCRAM; users with an md5 hash cannot.
    #[default]
    ScramSha256,
    /// By its certificate alone.
    Cert,
    /// By the user of the operating system on a Unix socket; by SCRAM from anywhere else.
    Peer,
}

/// What a client that comes by TCP must show besides (PostgreSQL documentation, "The pg_hba.conf File", `clientcert`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// Nothing.
    #[default]
    Off,
    /// A valid certificate.
    VerifyCa,
    /// A valid certificate that may be this user.
    VerifyFull,
}

/// How one user proves who it is, in place of what holds for all.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// How.
    pub method: Method,
    /// Where it need not.
    pub trusted: Trusted,
    /// What it must show besides.
    pub clientcert: ClientCert,
}

/// Who may be whom under another name; without a map only the name itself counts.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Common names of certificates.
    pub cert: Option<Arc<Map>>,
    /// Users of the operating system.
    pub peer: Option<Arc<Map>>,
}

/// Everything the door goes by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether clients get TLS.
    pub tls: TlsPolicy,
    /// How clients prove who they are.
    pub method: Method,
    /// Who need not prove it.
    pub trusted: Trusted,
    /// What clients must show besides.
    pub clientcert: ClientCert,
    /// Who may be whom.
    pub names: Names,
    /// Cleartext passwords are taken without TLS too. They never are by default.
    pub cleartext_without_tls: bool,
    /// Users for whom other rules hold.
    pub rules: HashMap<Box<str>, Rule>,
    /// Who may come.
    pub users: Arc<Users>,
    /// Where users are looked up who are not among them.
    pub directory: Option<Arc<Directory>>,
    /// From the first byte to the last message of the login.
    pub login_timeout: Duration,
    /// How many may be logging in at a time.
    pub max_unauthenticated: usize,
}

impl Settings {
    /// Method, trusted places and certificate for this user.
    pub fn rule(&self, user: &str) -> (Method, &Trusted, ClientCert) {
        let own = self.rules.get(user).map(|rule| (rule.method, &rule.trusted, rule.clientcert));
        own.unwrap_or((self.method, &self.trusted, self.clientcert))
    }

    /// True when most secrets are of this kind; a stranger is then treated like the most.
    pub(crate) fn mostly(&self, kind: impl Fn(&Secret) -> bool) -> bool {
        match &self.directory {
            Some(directory) => directory.usually(kind),
            None => self.users.mostly(kind),
        }
    }

    /// Users whose stored secret cannot be judged by the method that holds for them, in order: they can never log in by a password.
    pub fn locked_out(&self) -> Vec<Box<str>> {
        let unfit = |(name, secret): &(&str, &Secret)| {
            let (method, trusted, _) = self.rule(name);
            matches!((secret, method), (Secret::Md5(_), Method::ScramSha256))
                && *trusted == Trusted::default()
        };
        let mut names: Vec<_> = self.users.each().filter(unfit).map(|(name, _)| name.into()).collect();
        names.sort();
        names
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tls: TlsPolicy::default(),
            method: Method::default(),
            trusted: Trusted::default(),
            clientcert: ClientCert::default(),
            names: Names::default(),
            cleartext_without_tls: false,
            rules: HashMap::new(),
            users: Arc::default(),
            directory: None,
            login_timeout: LOGIN_TIMEOUT,
            max_unauthenticated: MAX_UNAUTHENTICATED,
        }
    }
}

/// Where clients may come from to be whoever they say they are. Nowhere by default; there is no "everywhere" but the network
/// `0.0.0.0/0` spelled out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Unix sockets.
    pub unix: bool,
    /// Networks.
    pub networks: Vec<Network>,
}

impl Trusted {
    /// This machine: Unix sockets and loopback addresses.
    pub fn local() -> Trusted {
        let v4 = Network { address: IpAddr::from([127, 0, 0, 0]), prefix: 8 };
        let v6 = Network { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), prefix: 128 };
        Trusted { unix: true, networks: vec![v4, v6] }
    }

    /// True when `peer` need not prove who it is.
    pub fn contains(&self, peer: &Peer) -> bool {
        match peer {
            Peer::Unix(_) => self.unix,
            Peer::Tcp(address) => self.networks.iter().any(|network| network.contains(address.ip())),
        }
    }
}

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// True when every address of its kind lies in it.
    pub fn is_everywhere(&self) -> bool {
        self.prefix == 0
    }

    /// True when the address lies in the network. An IPv4 address that arrives as IPv6 (`::ffff:a.b.c.d`) is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let (mine, theirs) = (bits(self.address), bits(address.to_canonical()));
        let host_bits = 128 - u32::from(self.prefix);
        mine.1 == theirs.1 && (mine.0 ^ theirs.0).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid network \"{0}\" (expected ADDRESS or ADDRESS/BITS)")]
pub struct BadNetwork(pub String);

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Network, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(widest), str::parse).map_err(|_| bad())?;
        if prefix > widest { Err(bad()) } else { Ok(Network { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.2", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::1", "::1", true),
        ] {
            let contains = network.parse::<Network>().unwrap().contains(address.parse().unwrap());
            assert_eq!(contains, expected, "{address} in {network}");
        }
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0/8"] {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork(text.into())));
        }
    }

    #[test]
    fn who_can_never_log_in_is_known() {
        let hash = format!("md5{}", "0123456789abcdef".repeat(2));
        let mut users = Users::default();
        for (name, secret) in [("a", "plain"), ("c", &*hash), ("b", &*hash), ("d", &*hash)] {
            users.insert(name, Secret::parse(secret));
        }
        let own = Rule { method: Method::Md5, ..Rule::default() };
        let rules = HashMap::from([("d".into(), own)]);
        let settings = Settings { users: Arc::new(users), rules, ..Settings::default() };
        assert_eq!(settings.locked_out(), ["b".into(), "c".into()]);
        assert!(Settings { method: Method::Md5, ..settings }.locked_out().is_empty());
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        let (local, remote) = (Peer::Tcp(([127, 0, 0, 1], 9).into()), Peer::Tcp(([10, 0, 0, 1], 9).into()));
        assert!(!Trusted::default().contains(&local) && !Trusted::default().contains(&Peer::Unix(None)));
        assert!(Trusted::local().contains(&local) && Trusted::local().contains(&Peer::Unix(Some(0))));
        assert!(!Trusted::local().contains(&remote));
    }
}
