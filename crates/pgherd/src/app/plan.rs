//! From settings to the controller's own.

use crate::app::StartError;
use crate::config::settings::Settings;
use crate::config::settings::node::Node;
use crate::config::words::{self, FailoverStrategy, SslMode};
use parking_lot::RwLock;
use pgherd_controller::connector::Connector;
use pgherd_controller::secure::{Binding, Secure, Tls};
use pgherd_controller::settings::{Login, NodeSettings};
use pgherd_failover::policy::{Fencing, Limits, Policy, Spec, Strategy};
use pgherd_net::tls::client::ClientFiles;
use pgherd_pool::sslmode::{ChannelBinding, Ssl};
use pgherd_topology::node::{Address, Tags};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where systems keep the roots they trust: Debian, Fedora, openSUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Replay delay no node reaches.
const NO_LAG_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);

/// Where a node listens.
pub fn address(node: &Node) -> Address {
    if node.host.starts_with('/') {
        Address::Unix(node.host.as_str().into(), node.port)
    } else {
        Address::Tcp(node.host.as_str().into(), node.port)
    }
}

/// Encryption of server connections to a node.
///
/// # Errors
/// TLS files that cannot be used.
pub fn ssl(node: &Node) -> Result<Ssl, StartError> {
    let mode = match node.ssl {
        SslMode::Disable => pgherd_pool::sslmode::SslMode::Disable,
        SslMode::Allow => pgherd_pool::sslmode::SslMode::Allow,
        SslMode::Prefer => pgherd_pool::sslmode::SslMode::Prefer,
        SslMode::Require => pgherd_pool::sslmode::SslMode::Require,
        SslMode::VerifyCa => pgherd_pool::sslmode::SslMode::VerifyCa,
        SslMode::VerifyFull => pgherd_pool::sslmode::SslMode::VerifyFull,
    };
    let identity = node.ssl_cert.as_deref().zip(node.ssl_key.as_deref());
    let roots = match (&node.ssl_root_cert, node.ssl) {
        (Some(file), _) => Some(file.as_path()),
        (None, SslMode::VerifyCa | SslMode::VerifyFull) => {
            SYSTEM_ROOTS.iter().map(Path::new).find(|file| file.exists())
        }
        (None, SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require) => None,
    };
    let load = Ssl::load(mode, ClientFiles { roots, identity });
    let binding = match node.channel_binding {
        words::ChannelBinding::Disable => ChannelBinding::Disable,
        words::ChannelBinding::Prefer => ChannelBinding::Prefer,
        words::ChannelBinding::Require => ChannelBinding::Require,
    };
    let ssl = load.map_err(|error| StartError::NodeTls(node.name.clone(), error))?;
    Ok(ssl.with_binding(binding))
}

/// How the control plane logs in to a node.
pub fn login(node: &Node) -> Login {
    let word = node.ssl.word();
    Login {
        user: node.user.as_str().into(),
        password: node.password.as_ref().map(|password| password.expose().into()),
        database: node.database.as_str().into(),
        ssl: pgherd_controller::settings::SslMode::from_word(word).unwrap_or_default(),
    }
}

/// A node as the control plane wants it.
pub fn node(node: &Node) -> NodeSettings {
    let spec = Spec {
        name: node.name.as_str().into(),
        address: address(node),
        weight: node.weight,
        region: node.region.as_str().into(),
        tags: tags(&node.tags),
        limits: limits(node),
    };
    NodeSettings { spec, login: login(node) }
}

/// A node's own lag limits. What it does not limit itself it has from `[health]` already, so "off" here is off: a limit
/// nothing exceeds, not the cluster's.
pub fn limits(node: &Node) -> Limits {
    Limits {
        max_lag: Some(node.max_lag_seconds.unwrap_or(NO_LAG_LIMIT)),
        max_lag_bytes: Some(node.max_lag_bytes.unwrap_or(u64::MAX)),
    }
}

/// A node's marks.
pub fn tags(tags: &crate::config::settings::node::Tags) -> Tags {
    Tags {
        noloadbalance: tags.noloadbalance,
        nofailover: tags.nofailover,
        nosync: tags.nosync,
        clonefrom: tags.clonefrom,
        replicatefrom: tags.replicatefrom.as_deref().map(Arc::from),
        failover_priority: tags.failover_priority,
    }
}

/// What the controller decides by.
pub fn policy(settings: &Settings) -> Policy {
    let (health, failover) = (&settings.health, &settings.failover);
    Policy {
        health_check_interval: health.health_check_interval,
        fast_check_interval: health.fast_check_interval,
        lag_check_interval: health.lag_check_interval,
        health_check_timeout: health.health_check_timeout,
        threshold: health.consecutive_failures_threshold,
        max_lag: health.max_lag_threshold,
        max_lag_bytes: health.max_lag_bytes,
        max_staleness: settings.routing.max_staleness,
        auto_remediate: health.auto_remediate,
        auto_discover: health.auto_discover,
        strategy: match failover.failover_strategy {
            _ if !failover.enable_auto_failover => Strategy::Manual,
            FailoverStrategy::Automatic => Strategy::Automatic,
            FailoverStrategy::Supervised => Strategy::Supervised,
            FailoverStrategy::Manual => Strategy::Manual,
        },
        // What is to be done is written down first; without a place for that only advice is given.
        acts: settings.server.state_dir.is_some(),
        fencing: match failover.fencing {
            crate::config::words::Fencing::None => Fencing::None,
            crate::config::words::Fencing::BestEffort => Fencing::BestEffort,
            crate::config::words::Fencing::Required => Fencing::Required,
        },
        drain_timeout: failover.drain_timeout,
        min_replicas_for_failover: failover.min_replicas_for_failover,
        maximum_lag_on_failover: failover.maximum_lag_on_failover,
        ..Policy::default()
    }
}

/// Everything the controller is configured with.
pub fn controller(settings: &Settings) -> pgherd_controller::settings::Settings {
    let cluster = &settings.cluster;
    let word = settings.nodes.first().map_or("prefer", |node| node.ssl.word());
    pgherd_controller::settings::Settings {
        nodes: settings.nodes.iter().map(node).collect(),
        login: Login {
            user: cluster.user.as_str().into(),
            password: cluster.password.as_ref().map(|password| password.expose().into()),
            database: cluster.database.as_str().into(),
            ssl: pgherd_controller::settings::SslMode::from_word(word).unwrap_or_default(),
        },
        policy: policy(settings),
        state_dir: settings.server.state_dir.clone(),
    }
}

/// Encryption by where nodes listen; shared with the controller's connector, so that a reload reaches it.
#[derive(Clone, Default)]
pub struct Encryption(Arc<RwLock<Vec<(Address, Ssl)>>>);

impl Encryption {
    /// Reads the TLS files of all nodes; on an error what was there stays.
    ///
    /// # Errors
    /// TLS files that cannot be used.
    pub fn read(&self, settings: &Settings) -> Result<(), StartError> {
        let each = settings.nodes.iter().map(|node| Ok((address(node), ssl(node)?)));
        *self.0.write() = each.collect::<Result<Vec<_>, StartError>>()?;
        Ok(())
    }

    /// How the controller connects. A node that was discovered is met as the first of the settings.
    pub fn connector(&self) -> Arc<dyn Connector> {
        let all = self.0.clone();
        Arc::new(Secure::new(Box::new(move |target| {
            let all = all.read();
            let known = all.iter().find(|(address, _)| *address == target.address).or(all.first());
            let (_, ssl) = known?;
            Some(Tls {
                config: ssl.tls()?.config(),
                binding: match ssl.binding() {
                    ChannelBinding::Disable => Binding::Disable,
                    ChannelBinding::Prefer => Binding::Prefer,
                    ChannelBinding::Require => Binding::Require,
                },
                end_point: pgherd_net::tls::der::end_point,
            })
        })))
    }
}
