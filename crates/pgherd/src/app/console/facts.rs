//! What tables are made of, as it was at one moment.

use crate::app::House;
use crate::app::keeper::Keeper;
use crate::config::settings::Settings;
use pgherd_admin::timestamp;
use pgherd_pool::pool::Pool;
use pgherd_pool::server::Identity;
use pgherd_proxy::card::Card;
use pgherd_proxy::shared::Carried;
use pgherd_topology::node::{Address, NodeId};
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Everything a table may ask for.
pub(super) struct Facts {
    pub(super) house: Arc<House>,
    pub(super) settings: Arc<Settings>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) snapshot: Arc<Snapshot>,
    pools: Vec<Arc<Pool<Carried>>>,
    /// This moment, in milliseconds of the process and by the wall clock.
    now: (u64, SystemTime),
}

impl Facts {
    pub(super) fn gather(house: &Arc<House>) -> Facts {
        Facts {
            house: house.clone(),
            settings: house.settings.read().clone(),
            keeper: house.keeper.read().clone(),
            snapshot: house.shared.cell.load_full(),
            pools: house.shared.pools.all(),
            now: (house.shared.now(), SystemTime::now()),
        }
    }

    /// A moment in milliseconds of the process, for people.
    pub(super) fn time(&self, at: u64) -> String {
        timestamp::plain(self.now.1 - self.ago(at))
    }

    /// How long ago that was.
    pub(super) fn ago(&self, at: u64) -> Duration {
        Duration::from_millis(self.now.0.saturating_sub(at))
    }

    pub(super) fn cards(&self) -> Vec<Arc<Card>> {
        let mut cards = Vec::new();
        self.house.shared.cards.each(|card| cards.push(card.clone()));
        cards.sort_by_key(|card| card.id);
        cards
    }

    pub(super) fn pools(&self) -> &[Arc<Pool<Carried>>] {
        &self.pools
    }

    /// It is closed as soon as it is free.
    pub(super) fn is_outdated(&self, identity: &Identity) -> bool {
        self.pools.iter().any(|pool| pool.outdates(identity))
    }

    pub(super) fn node(&self, id: NodeId) -> String {
        self.snapshot.node(id).map_or_else(|| format!("node-{}", id.0), |node| node.name.to_string())
    }

    /// Where the primary is, or else the first node.
    pub(super) fn address(&self) -> Option<(String, u16)> {
        let node = self.snapshot.primary_node().or(self.snapshot.nodes.first())?;
        Some(host_port(&node.address))
    }
}

pub(super) fn host_port(address: &Address) -> (String, u16) {
    match address {
        Address::Tcp(host, port) | Address::Unix(host, port) => (host.to_string(), *port),
    }
}
