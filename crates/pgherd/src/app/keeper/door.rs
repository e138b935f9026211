//! The door's rules: who may come in, and by which proof.

use super::Keeper;
use crate::app::StartError;
use crate::app::inquiry::Inquiry;
use crate::config::settings::Settings;
use crate::config::words::{self, AuthMethod, ClientTls};
use pgherd_login::directory::{Directory, Freshness};
use pgherd_login::ident::Maps;
use pgherd_login::settings::{ClientCert, Method, Names, Network, Rule, TlsPolicy, Trusted};
use pgherd_login::users::{Secret, Users};
use pgherd_topology::cell::Cell;
use std::sync::Arc;

impl Keeper {
    /// The door's rules. Users who are not in the settings are looked up on the nodes of `cell`.
    ///
    /// # Errors
    /// A users file or a file of user name maps that cannot be read.
    pub fn door(&self, cell: &Arc<Cell>) -> Result<pgherd_login::settings::Settings, StartError> {
        let settings = &self.settings;
        let mut users = match &settings.auth.users_file {
            Some(path) => Users::read(path)?,
            None => Users::default(),
        };
        for user in &settings.users {
            if let Some(password) = &user.password {
                users.insert(&user.name, Secret::parse(password.expose()));
            } else if users.lookup(&user.name).is_none() && settings.auth.inquiry.is_none() {
                users.insert(&user.name, Secret::None);
            }
        }
        let tls = match (&self.tls, settings.listen.client_tls) {
            (None, _) | (_, ClientTls::Off) => TlsPolicy::Off,
            (Some(tls), ClientTls::Prefer) => TlsPolicy::Prefer(tls.clone()),
            (Some(tls), ClientTls::Require) => TlsPolicy::Require(tls.clone()),
        };
        let directory = settings.auth.inquiry.as_ref().map(|wanted| {
            let (found, unknown, within) =
                (wanted.query_cache, wanted.query_unknown_cache, wanted.query_timeout);
            let source = Box::new(Inquiry::new(wanted, &self.ssl, cell));
            Arc::new(Directory::new(source, Freshness { found, unknown, within }))
        });
        let Rule { method, trusted, clientcert } = rule(settings, settings.auth.method, None);
        let own = |user: &crate::config::settings::front::User| {
            let differs = user.auth.is_some() || user.clientcert.is_some();
            let method = user.auth.unwrap_or(settings.auth.method);
            differs.then(|| (user.name.as_str().into(), rule(settings, method, user.clientcert)))
        };
        let maps = match &settings.auth.ident_file {
            Some(path) => Maps::read(path)?,
            None => Maps::default(),
        };
        let named = |name: &Option<String>| name.as_deref().map(|name| maps.named(name));
        Ok(pgherd_login::settings::Settings {
            tls,
            method,
            trusted,
            clientcert,
            names: Names { cert: named(&settings.auth.cert_map), peer: named(&settings.auth.peer_map) },
            cleartext_without_tls: false,
            rules: settings.users.iter().filter_map(own).collect(),
            users: Arc::new(users),
            directory,
            login_timeout: settings.listen.login_timeout,
            max_unauthenticated: settings.listen.max_unauthenticated_connections as usize,
        })
    }
}

/// `trust` means this machine (Unix sockets and loopback) and the networks that are named. From anywhere else such users prove themselves
/// by SCRAM.
fn rule(settings: &Settings, method: AuthMethod, clientcert: Option<words::ClientCert>) -> Rule {
    let nowhere = Trusted::default();
    let (method, trusted) = match method {
        AuthMethod::Trust => {
            let mut here = Trusted::local();
            // Those that are none were refused when the settings were checked.
            here.networks.extend(
                settings.auth.trusted_networks.iter().filter_map(|text| text.parse::<Network>().ok()),
            );
            (Method::ScramSha256, here)
        }
        AuthMethod::Peer => (Method::Peer, nowhere),
        AuthMethod::Cert => (Method::Cert, nowhere),
        AuthMethod::Password => (Method::Password, nowhere),
        AuthMethod::Md5 => (Method::Md5, nowhere),
        AuthMethod::ScramSha256 => (Method::ScramSha256, nowhere),
    };
    let clientcert = match clientcert.unwrap_or(settings.auth.clientcert) {
        words::ClientCert::Off => ClientCert::Off,
        words::ClientCert::VerifyCa => ClientCert::VerifyCa,
        words::ClientCert::VerifyFull => ClientCert::VerifyFull,
    };
    Rule { method, trusted, clientcert }
}
