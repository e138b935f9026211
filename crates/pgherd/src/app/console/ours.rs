//! The tables PgBouncer does not have.

use super::facts::Facts;
use crate::app::faces;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::Row;
use pgherd_admin::source::{Failover, Member, MemberRole, Read};
use pgherd_admin::timestamp;
use pgherd_metrics::registry::Reading;
use pgherd_route::choose::Reason;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn millis(time: Option<Duration>) -> Cell {
    time.map_or(Cell::Null, |time| Cell::count(time.as_millis()))
}

fn maybe(number: Option<u64>) -> Cell {
    number.map_or(Cell::Null, Cell::count)
}

fn role(member: &Member) -> Cell {
    Cell::text(if member.role == MemberRole::Leader { "primary" } else { "replica" })
}

fn reads(member: &Member) -> (&'static str, Cell) {
    match &member.read {
        Read::Write => ("rw", Cell::Null),
        Read::Eligible => ("yes", Cell::Null),
        Read::No { reason, .. } => ("no", Cell::text(reason.clone())),
    }
}

/// One row for each node: what it is, whether it gets reads and why not, and what is connected to it.
pub(super) fn nodes(facts: &Facts) -> Vec<Row> {
    let row = |member: Member| {
        let (mut active, mut idle, mut login, mut waiting) = (0, 0, 0, 0);
        let here = facts.snapshot.nodes.iter().find(|node| node.name == member.name);
        for pool in facts.pools().iter().filter(|pool| here.is_some_and(|node| node.id == pool.key.node)) {
            let stats = pool.stats();
            active += stats.active;
            idle += stats.idle;
            login += stats.connecting;
            waiting += stats.waiting;
        }
        let (reads, reason) = reads(&member);
        vec![
            Cell::text(member.name.to_string()),
            Cell::text(member.host.clone()),
            Cell::count(member.port),
            role(&member),
            Cell::text(member.state.clone()),
            Cell::text(reads),
            reason,
            member.timeline.map_or(Cell::Null, |timeline| Cell::count(timeline.0)),
            maybe(member.replay_lag),
            millis(member.replay_delay),
            here.map_or(Cell::Null, |node| Cell::count(node.weight)),
            Cell::text(here.map(|node| node.region.to_string()).unwrap_or_default()),
            Cell::text(match &member.failover {
                Failover::Leader => "leader".to_owned(),
                Failover::Candidate(place) => format!("candidate {place}"),
                Failover::No(why) => format!("no: {why}"),
            }),
            Cell::count(active),
            Cell::count(idle),
            Cell::count(login),
            Cell::count(waiting),
            member.connections_limit.map_or(Cell::Null, Cell::count),
            millis(member.check_age),
        ]
    };
    faces::members(&facts.house).into_iter().map(row).collect()
}

pub(super) fn lag(facts: &Facts) -> Vec<Row> {
    let row = |member: Member| {
        let (reads, reason) = reads(&member);
        vec![
            Cell::text(member.name.to_string()),
            role(&member),
            Cell::maybe(member.received.map(|lsn| lsn.to_string())),
            Cell::maybe(member.replayed.map(|lsn| lsn.to_string())),
            maybe(member.receive_lag),
            maybe(member.replay_lag),
            millis(member.replay_delay),
            Cell::text(if reads == "no" { "no" } else { "yes" }),
            reason,
            millis(member.check_age),
        ]
    };
    faces::members(&facts.house).into_iter().map(row).collect()
}

/// Sessions that keep their server, those with the same reason together; the first of them says how many they are.
pub(super) fn pins(facts: &Facts) -> Vec<Row> {
    let mut by_reason: BTreeMap<&'static str, Vec<_>> = BTreeMap::new();
    for card in facts.cards() {
        if let Some(pin) = card.pin() {
            by_reason.entry(pin.word()).or_default().push(card);
        }
    }
    let mut rows = Vec::new();
    for (reason, cards) in by_reason {
        for card in &cards {
            let pid = card.held_server().and_then(|number| {
                let identities = facts.house.shared.pools.common().identities.lock();
                identities.get(&number).map(|identity| identity.pid)
            });
            rows.push(vec![
                Cell::text(reason),
                Cell::count(cards.len()),
                Cell::count(card.id),
                Cell::text(card.who.user.to_string()),
                Cell::text(card.who.database.to_string()),
                Cell::text(card.application()),
                pid.map_or(Cell::Null, |pid| Cell::Number(pid.into())),
                Cell::text(facts.time(card.doing().1)),
            ]);
        }
    }
    rows
}

/// Transactions by the reason of their route; then units by what they were found to be, the rule that decided, and where they went (or, in
/// shadow, would have gone).
pub(super) fn routing(facts: &Facts) -> Vec<Row> {
    let counted = facts.house.registry.read("pgherd_transactions_total");
    let by_reason = Reason::ALL.iter().map(|reason| {
        let label = format!("reason=\"{}\"", reason.word());
        let count = counted.iter().find(|(labels, _)| *labels == label);
        let total = match count {
            Some((_, Reading::Counter(total))) => *total,
            _ => 0,
        };
        let [class, rule, target, shadow] = [Cell::Null, Cell::Null, Cell::Null, Cell::Null];
        let meaning = Cell::text(meaning(*reason));
        vec![Cell::text(reason.word()), class, rule, target, shadow, Cell::count(total), meaning]
    });
    let units = facts.house.shared.routing_rows().into_iter().map(|row| {
        let shadow = Cell::text(if row.shadow { "yes" } else { "no" });
        let [class, rule, target] = [row.class, row.rule, row.target].map(Cell::text);
        vec![Cell::Null, class, rule, target, shadow, Cell::count(row.count), Cell::Null]
    });
    by_reason.chain(units).collect()
}

fn meaning(reason: Reason) -> &'static str {
    match reason {
        Reason::Primary => "only the primary will do",
        Reason::PrimaryPreferred => "the read preference asks for the primary",
        Reason::NoReplica => "no replica is eligible",
        Reason::NotFresh => "no replica is known to have what the session must not miss",
        Reason::Rerun => "a replica refused the statement",
        Reason::Weight => "a replica, drawn by weight",
        Reason::Region => "a replica of the own region, drawn by weight",
        Reason::Nearest => "among the fastest to answer",
        Reason::NoPrimary => "there is no primary, and a replica will do",
    }
}

/// Texts that some session has prepared now.
pub(super) fn prepared(facts: &Facts) -> Vec<Row> {
    /// Characters of a text that are shown.
    const SHOWN: usize = 200;
    let mut all = facts.house.shared.texts.all();
    all.sort_by_key(|statement| statement.id);
    let row = |statement: &Arc<pgherd_session::prepared::Statement>| {
        let query = String::from_utf8_lossy(statement.query());
        // One is ours.
        let holders = Arc::strong_count(statement).saturating_sub(1);
        vec![
            Cell::count(statement.id),
            Cell::text(String::from_utf8_lossy(&statement.name).into_owned()),
            Cell::count(holders),
            Cell::count(statement.rest.len()),
            Cell::text(query.chars().take(SHOWN).collect::<String>()),
        ]
    };
    all.iter().map(row).collect()
}

/// The journal, oldest line first.
pub(super) fn events(facts: &Facts) -> Vec<Row> {
    let view = facts.house.controller.status();
    let row = |line: &Arc<pgherd_controller::ledger::Line>| {
        vec![
            Cell::text(timestamp::iso(line.time)),
            Cell::text(line.entry.kind.word()),
            Cell::text(line.entry.phase.word()),
            Cell::text(line.entry.name.to_string()),
            Cell::text(line.entry.text.clone()),
        ]
    };
    view.journal.iter().map(row).collect()
}
