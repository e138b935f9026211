//! Which connections come from a balancer that says for whom it speaks.

use crate::config::settings::Settings;
use pgherd_login::settings::Network;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Networks of balancers, by the name of the listener they stand in front of. A value: swapped whole on reload.
#[derive(Debug, Default)]
pub(super) struct Balancers(BTreeMap<Box<str>, Vec<Network>>);

impl Balancers {
    pub(super) fn new(settings: &Settings) -> Balancers {
        let networks = settings.listeners.iter().map(|listener| {
            // Those that are none were refused when the settings were checked.
            let networks = listener.proxy_protocol_from.iter().filter_map(|text| text.parse().ok());
            (listener.name.as_str().into(), networks.collect())
        });
        Balancers(networks.collect())
    }

    /// True when a connection from there to this listener must begin with a PROXY header.
    pub(super) fn contains(&self, listener: &str, address: IpAddr) -> bool {
        self.0.get(listener).is_some_and(|all| all.iter().any(|network| network.contains(address)))
    }
}
