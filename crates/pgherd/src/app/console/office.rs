//! The process behind the console.

use super::facts::Facts;
use super::statistics::Part;
use super::{PGBOUNCER, acts, ours, sockets, statistics, tables};
use crate::app::House;
use pgherd_admin::console::act::Act;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::{Acting, Office as Asked, Row};
use pgherd_admin::console::show::Show;
use pgherd_admin::console::visit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The view and the hands of the console.
pub(super) struct Office {
    house: Arc<House>,
}

impl Office {
    pub(super) fn new(house: Arc<House>) -> Office {
        Office { house }
    }

    /// Tools for PgBouncer read the one row literally; to people we say who we are.
    pub(super) fn version_for(&self, database: &str) -> String {
        if database == PGBOUNCER {
            format!("PgBouncer {}", visit::PGBOUNCER)
        } else {
            format!("pgherd {} (as PgBouncer {})", env!("CARGO_PKG_VERSION"), visit::PGBOUNCER)
        }
    }
}

impl Asked for Office {
    fn rows(&self, show: Show) -> Vec<Row> {
        let facts = Facts::gather(&self.house);
        match show {
            Show::Clients => sockets::clients(&facts),
            Show::Servers => sockets::servers(&facts),
            Show::Sockets => sockets::sockets(&facts, false),
            Show::ActiveSockets => sockets::sockets(&facts, true),
            Show::Config => tables::config(&facts),
            Show::Databases => tables::databases(&facts),
            Show::Lists => tables::lists(&facts),
            Show::Pools => tables::pools(&facts),
            Show::Users => tables::users(&facts),
            Show::State => tables::state(&facts),
            Show::Mem => tables::memory(),
            Show::Nodes => ours::nodes(&facts),
            Show::Lag => ours::lag(&facts),
            Show::Pins => ours::pins(&facts),
            Show::Routing => ours::routing(&facts),
            Show::Prepared => ours::prepared(&facts),
            Show::Events => ours::events(&facts),
            Show::Version => vec![vec![Cell::text(self.version_for(PGBOUNCER))]],
            // No hand-over of sockets, no group of processes, and names are looked up by the system when it connects.
            Show::Fds | Show::Peers | Show::PeerPools | Show::DnsHosts | Show::DnsZones | Show::Help => {
                Vec::new()
            }
            Show::Stats => statistics::databases(&facts, Part::Both),
            Show::StatsTotals => statistics::databases(&facts, Part::Totals),
            Show::StatsAverages => statistics::databases(&facts, Part::Averages),
            Show::Totals => statistics::totals_of_all(&facts),
        }
    }

    fn settings(&self) -> Vec<String> {
        tables::setting_names()
    }

    fn databases(&self) -> Vec<String> {
        tables::database_names(&Facts::gather(&self.house))
    }

    fn act(&self, act: Act) -> Acting {
        Box::pin(acts::act(self.house.clone(), act))
    }

    fn asked(&self) {
        self.house.consoles.asked.fetch_add(1, Ordering::Relaxed);
    }
}
