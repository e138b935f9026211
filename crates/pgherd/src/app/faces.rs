//! What the process shows over HTTP.

use crate::app::House;
use pgherd_admin::action::{self, Asking, Denied, Order};
use pgherd_admin::explain::Question;
use pgherd_admin::source::{Change, Explaining, Facts, Failover, Member, MemberRole, Read, Source};
use pgherd_controller::ledger::Line;
use pgherd_controller::view::View;
use pgherd_metrics::expose::{Kind as Shape, Sheet, label_text};
use pgherd_pool::stats::Stats;
use pgherd_proxy::card::Doing;
use pgherd_topology::node::{Address, NodeId, Role};
use pgherd_topology::snapshot::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The view of this process.
pub struct Faces {
    house: Arc<House>,
    ready: Arc<AtomicBool>,
}

impl Faces {
    /// `ready` is set when listeners are bound and the topology is known.
    pub fn new(house: Arc<House>, ready: Arc<AtomicBool>) -> Faces {
        Faces { house, ready }
    }
}

fn connections(house: &House) -> BTreeMap<NodeId, u32> {
    let mut sum = BTreeMap::new();
    for pool in house.shared.pools.all() {
        let stats = pool.stats();
        *sum.entry(pool.key.node).or_default() +=
            u32::try_from(stats.idle + stats.active + stats.connecting).unwrap_or(u32::MAX);
    }
    sum
}

/// All nodes as an operator sees them.
pub(super) fn members(house: &House) -> Vec<Member> {
    let view = house.controller.status();
    let connections = connections(house);
    let settings = house.settings.read().clone();
    let limit = |name: &str| {
        let own =
            settings.nodes.iter().find(|node| node.name == name).and_then(|node| node.max_node_connections);
        own.or(settings.pool.max_node_connections)
    };
    let member = |node: &pgherd_failover::member::Member| {
        member(&view, node, connections.get(&node.id).copied().unwrap_or(0), limit(&node.spec.name))
    };
    view.nodes.iter().map(member).collect()
}

impl Source for Faces {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.house.shared.cell.load_full()
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    fn alive(&self) -> bool {
        // Whoever answers this runs on the control thread: it turns.
        true
    }

    fn facts(&self) -> Facts {
        let view = self.house.controller.status();
        Facts {
            scope: self.house.settings.read().cluster.name.clone(),
            primary_since: view.primary.map(|_| view.time(view.primary_since)),
            auto_failover: view.acts && !view.paused,
            paused: view.paused,
        }
    }

    fn members(&self) -> Vec<Member> {
        members(&self.house)
    }

    fn metrics(&self) -> String {
        let mut sheet = Sheet::default();
        self.house.registry.render_into(&mut sheet);
        let snapshot = self.snapshot();
        nodes(&mut sheet, &snapshot);
        let name = |id: NodeId| {
            snapshot.node(id).map_or_else(|| format!("node-{}", id.0), |node| node.name.to_string())
        };
        pools(&mut sheet, &self.house, name);
        clients(&mut sheet, &self.house);
        routed(&mut sheet, &self.house);
        process(&mut sheet, &self.house);
        sheet.finish()
    }

    fn admits(&self, asking: &Asking) -> Result<(), Denied> {
        super::change::admits(&self.house.settings.read().api, asking)
    }

    fn act(&self, order: Order) -> action::Doing {
        let house = self.house.clone();
        Box::pin(async move { super::change::answered(&house, order).await })
    }

    fn explain(&self, question: Question) -> Explaining {
        Box::pin(super::explain::explain(self.house.clone(), question))
    }

    fn history(&self) -> Vec<Change> {
        let view = self.house.controller.status();
        view.journal.iter().filter_map(|line| change(line)).collect()
    }
}

/// A line of the journal that ended a timeline.
fn change(line: &Line) -> Option<Change> {
    let (timeline, at) = line.entry.ended?;
    Some(Change {
        timeline,
        at,
        reason: line.entry.text.clone(),
        time: Some(line.time),
        leader: Some(line.entry.name.to_string()),
    })
}

/// Why it cannot become primary, in words for people.
fn unfit(view: &View, id: NodeId) -> String {
    let found = view.plan.unfit.iter().find(|(node, _)| *node == id);
    // Whoever was the primary is not among those that are compared.
    found.map_or_else(|| "was the primary until now".to_owned(), |(_, unfit)| unfit.to_string())
}

fn member(
    view: &View,
    node: &pgherd_failover::member::Member,
    connections: u32,
    limit: Option<u32>,
) -> Member {
    let leader = view.primary == Some(node.id);
    let facts = node.facts.as_ref();
    let (host, port) = match &node.spec.address {
        Address::Tcp(host, port) | Address::Unix(host, port) => (host.to_string(), *port),
    };
    let state = match (node.answers(), node.role()) {
        (false, _) | (_, Role::Unknown) => "unknown",
        (true, Role::Primary) => "running",
        (true, Role::Standby) => match facts.and_then(|facts| facts.receiver.as_ref()) {
            Some(receiver) if receiver.streams() => "streaming",
            _ => "in archive recovery",
        },
    };
    let failover = match (leader, view.place(node.id)) {
        (true, _) => Failover::Leader,
        (false, Some(place)) => Failover::Candidate(u32::try_from(place).unwrap_or(u32::MAX)),
        (false, None) => Failover::No(unfit(view, node.id)),
    };
    let read = match &node.ineligible {
        _ if leader => Read::Write,
        None => Read::Eligible,
        Some(why) => Read::No { reason: node.told(why), since: Some(view.time(node.judged_since)) },
    };
    Member {
        name: node.spec.name.clone(),
        role: if leader { MemberRole::Leader } else { MemberRole::Replica },
        seen: node.role(),
        state: state.to_owned(),
        api_url: None,
        host,
        port,
        timeline: facts.map(|facts| facts.timeline),
        received: facts.map(|facts| facts.received),
        replayed: facts.map(|facts| facts.replayed),
        receive_lag: node.receive_lag,
        replay_lag: node.lag_bytes,
        replay_delay: node.lag_time,
        tags: node.spec.tags.clone(),
        read,
        failover,
        check_age: node.answered_at.map(|at| view.ago(at)),
        connections,
        connections_limit: limit,
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

fn flag(is: bool) -> i64 {
    i64::from(is)
}

fn nodes(sheet: &mut Sheet, snapshot: &Snapshot) {
    sheet.family("pgherd_cluster_has_primary", Shape::Gauge, "1 while a primary is routed.");
    sheet.level("", flag(snapshot.primary.is_some()));
    sheet.family("pgherd_topology_epoch", Shape::Gauge, "Number of the published topology.");
    sheet.level("", i64::try_from(snapshot.epoch).unwrap_or(i64::MAX));
    sheet.family("pgherd_node_primary", Shape::Gauge, "1 for the routed primary.");
    for node in &snapshot.nodes {
        sheet.level(&label_text(&[("node", &*node.name)]), flag(snapshot.primary == Some(node.id)));
    }
    sheet.family("pgherd_node_eligible", Shape::Gauge, "1 while the node gets reads.");
    for node in &snapshot.nodes {
        sheet.level(&label_text(&[("node", &*node.name), ("use", "read")]), flag(node.ineligible.is_none()));
    }
    sheet.family("pgherd_node_ineligible", Shape::Gauge, "1 with the reason why the node gets no reads.");
    for node in &snapshot.nodes {
        if let Some(why) = &node.ineligible {
            sheet.level(&label_text(&[("node", &*node.name), ("reason", why.word())]), 1);
        }
    }
    sheet.family("pgherd_node_lag_bytes", Shape::Gauge, "Bytes the node is behind the primary.");
    for node in &snapshot.nodes {
        if let Some(lag) = node.lag_bytes {
            sheet.level(&label_text(&[("node", &*node.name)]), i64::try_from(lag).unwrap_or(i64::MAX));
        }
    }
    sheet.family("pgherd_node_lag_seconds", Shape::Gauge, "Replay delay of the node.");
    for node in &snapshot.nodes {
        if let Some(lag) = node.lag_time {
            sheet.measure(&label_text(&[("node", &*node.name)]), seconds(lag));
        }
    }
    sheet.family("pgherd_node_timeline", Shape::Gauge, "Timeline of the node.");
    for node in &snapshot.nodes {
        sheet.level(&label_text(&[("node", &*node.name)]), i64::from(node.timeline.0));
    }
}

fn pools(sheet: &mut Sheet, house: &House, name: impl Fn(NodeId) -> String) {
    let pools = house.shared.pools.all();
    let rows: Vec<(String, Arc<str>, Arc<str>, Stats)> = pools
        .iter()
        .map(|pool| (name(pool.key.node), pool.key.database.clone(), pool.key.user.clone(), pool.stats()))
        .collect();
    sheet.family("pgherd_server_connections", Shape::Gauge, "Server connections by state.");
    for (node, database, user, stats) in &rows {
        for (state, count) in
            [("idle", stats.idle), ("active", stats.active), ("connecting", stats.connecting)]
        {
            let labels =
                [("node", node.as_str()), ("database", &**database), ("user", &**user), ("state", state)];
            sheet.level(&label_text(&labels), i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    sheet.family("pgherd_pool_waiting", Shape::Gauge, "Clients in line for a server.");
    for (node, database, user, stats) in &rows {
        let labels = [("node", node.as_str()), ("database", &**database), ("user", &**user)];
        sheet.level(&label_text(&labels), i64::try_from(stats.waiting).unwrap_or(i64::MAX));
    }
    sheet.family("pgherd_pool_oldest_wait_seconds", Shape::Gauge, "How long the first in line has waited.");
    for (node, database, user, stats) in &rows {
        let labels = [("node", node.as_str()), ("database", &**database), ("user", &**user)];
        sheet.measure(&label_text(&labels), seconds(stats.oldest_wait));
    }
    sheet.family(
        "pgherd_pool_checkouts_total",
        Shape::Counter,
        "Servers handed to a session: transactions by node.",
    );
    for (node, database, user, stats) in &rows {
        let labels = [("node", node.as_str()), ("database", &**database), ("user", &**user)];
        sheet.count(&label_text(&labels), stats.checkouts);
    }
    sheet.family("pgherd_server_connects_total", Shape::Counter, "Attempts to connect to a server.");
    for (node, database, user, stats) in &rows {
        for (result, count) in [("ok", stats.connects), ("failed", stats.connect_failures)] {
            let labels =
                [("node", node.as_str()), ("database", &**database), ("user", &**user), ("result", result)];
            sheet.count(&label_text(&labels), count);
        }
    }
}

fn routed(sheet: &mut Sheet, house: &House) {
    let help = "Units by what they were found to be, the rule that decided, and where they went, or in shadow would have gone.";
    sheet.family("pgherd_routed_total", Shape::Counter, help);
    for row in house.shared.routing_rows() {
        let shadow = if row.shadow { "true" } else { "false" };
        let labels = [("class", row.class), ("rule", row.rule), ("target", row.target), ("shadow", shadow)];
        sheet.count(&label_text(&labels), row.count);
    }
}

fn process(sheet: &mut Sheet, house: &House) {
    sheet.family("pgherd_build_info", Shape::Gauge, "1, with the version of this pgherd.");
    sheet.level(&label_text(&[("version", env!("CARGO_PKG_VERSION"))]), 1);
    let reloads = &house.reloads;
    sheet.family("pgherd_config_last_reload_successful", Shape::Gauge, "0 when the last reload was refused.");
    sheet.level("", flag(reloads.successful()));
    let help = "When the settings in force were read.";
    sheet.family("pgherd_config_last_reload_success_timestamp_seconds", Shape::Gauge, help);
    sheet.level("", i64::try_from(reloads.success_at()).unwrap_or(i64::MAX));
}

fn clients(sheet: &mut Sheet, house: &House) {
    let mut counts = BTreeMap::new();
    house.shared.cards.each(|card| {
        let state: Doing = card.doing().0;
        let labels =
            (card.who.listener.clone(), card.who.database.clone(), card.who.user.clone(), state.word());
        *counts.entry(labels).or_insert(0i64) += 1;
    });
    sheet.family("pgherd_client_connections", Shape::Gauge, "Client sessions by state.");
    for ((listener, database, user, state), count) in &counts {
        let labels =
            [("listener", &**listener), ("database", &**database), ("user", &**user), ("state", state)];
        sheet.level(&label_text(&labels), *count);
    }
    let mut pins = BTreeMap::new();
    house.shared.cards.each(|card| {
        if let Some(pin) = card.pin() {
            *pins.entry(pin.word()).or_insert(0i64) += 1;
        }
    });
    sheet.family("pgherd_client_pins", Shape::Gauge, "Sessions that keep their server, by reason.");
    for (reason, count) in &pins {
        sheet.level(&label_text(&[("reason", reason)]), *count);
    }
    sheet.family("pgherd_clients_logging_in", Shape::Gauge, "Connections that are not authenticated yet.");
    sheet.level("", i64::try_from(house.door.unauthenticated()).unwrap_or(i64::MAX));
}
