//! PgBouncer's other tables.

use super::facts::Facts;
use super::{DATABASES, PGBOUNCER};
use crate::config::key::{Default, Reload};
use crate::config::keys::SECTIONS;
use crate::config::settings::Settings;
use crate::config::show;
use crate::config::value::{self, Raw, Value};
use crate::config::words::PoolMode;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::{Row, Standing};
use pgherd_pool::stats::Stats;
use pgherd_proxy::card::Doing;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod names;

pub(super) use names::ALIASES;

/// Names of all databases by which clients know them, the console's own left out.
pub(super) fn database_names(facts: &Facts) -> Vec<String> {
    let settings = &facts.settings;
    let mut names: BTreeSet<String> =
        settings.databases.iter().map(|database| database.name.clone()).collect();
    if !settings.auth.strict_databases
        && !settings.databases.iter().any(|d| d.dbname == settings.cluster.database)
    {
        names.insert(settings.cluster.database.clone());
    }
    names.extend(facts.house.shared.cards.counts().1.keys().map(|name| facts.keeper.base(name).to_owned()));
    names.extend(facts.pools().iter().map(|pool| facts.keeper.name_of(&pool.key.database).to_owned()));
    names.into_iter().collect()
}

fn mode(mode: PoolMode) -> Cell {
    Cell::text(mode.word())
}

fn flag(is: bool) -> Cell {
    Cell::Number(is.into())
}

/// True when a name means the console.
pub(super) fn is_own(database: &str) -> bool {
    DATABASES.contains(&database)
}

fn limit(limit: Option<u32>) -> Cell {
    // PgBouncer's 0 is no limit.
    Cell::count(limit.unwrap_or(0))
}

pub(super) fn databases(facts: &Facts) -> Vec<Row> {
    let settings = &facts.settings;
    let (_, clients) = facts.house.shared.cards.counts();
    let lifetime = settings.pool.server_lifetime.map_or(0, |time| time.as_secs());
    let mut rows = Vec::new();
    for name in database_names(facts) {
        let known = settings.databases.iter().find(|database| database.name == name);
        let dbname = known.map_or_else(|| name.clone(), |known| known.dbname.clone());
        let shape = settings.pool_shape("", &name, "");
        let address = facts.address();
        let mine = |asked: &&std::sync::Arc<str>| facts.keeper.base(asked) == name;
        let clients: usize = clients.keys().filter(mine).map(|asked| clients[asked]).sum();
        let connections: usize = facts
            .pools()
            .iter()
            .filter(|pool| facts.keeper.name_of(&pool.key.database) == name)
            .map(|pool| total(&pool.stats()))
            .sum();
        rows.push(vec![
            Cell::text(name.clone()),
            Cell::maybe(address.as_ref().map(|(host, _)| host.clone())),
            Cell::count(address.as_ref().map_or(0, |(_, port)| *port)),
            Cell::text(dbname.clone()),
            Cell::Null,
            Cell::count(shape.max_size),
            Cell::count(shape.min_size),
            Cell::count(shape.reserve_size),
            Cell::count(lifetime),
            known.and_then(|known| known.pool_mode).map_or(Cell::Null, mode),
            Cell::Null,
            Cell::Number(0),
            Cell::count(connections),
            limit(
                known
                    .and_then(|known| known.max_client_connections)
                    .or(settings.pool.max_client_connections_per_database),
            ),
            Cell::count(clients),
            flag(facts.house.shared.pools.is_paused(&dbname)),
            flag(facts.house.shared.disabled.read().contains(name.as_str())),
        ]);
    }
    rows.push(own_database(facts));
    rows
}

/// The row of the console itself, as PgBouncer shows its own.
fn own_database(facts: &Facts) -> Row {
    let port = facts.settings.listeners.first().map_or(0, |listener| listener.address.port);
    let number = Cell::Number;
    vec![
        Cell::text(PGBOUNCER),
        Cell::Null,
        Cell::count(port),
        Cell::text(PGBOUNCER),
        Cell::text(PGBOUNCER),
        number(2),
        number(0),
        number(0),
        number(0),
        Cell::text("statement"),
        Cell::Null,
        number(0),
        number(0),
        number(0),
        Cell::count(facts.house.consoles.guests().len()),
        number(0),
        number(0),
    ]
}

fn total(stats: &Stats) -> usize {
    stats.idle + stats.active + stats.connecting
}

#[derive(std::default::Default)]
struct Sum {
    clients: usize,
    waiting: usize,
    active: usize,
    idle: usize,
    connecting: usize,
    oldest: Duration,
    pinned: usize,
    nodes: usize,
}

/// One row for each database and user: all nodes together, since tools take the two for a key.
pub(super) fn pools(facts: &Facts) -> Vec<Row> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for pool in facts.pools() {
        let name = facts.keeper.name_of(&pool.key.database).to_owned();
        let (sum, stats) = (sums.entry((name, pool.key.user.to_string())).or_default(), pool.stats());
        sum.active += stats.active;
        sum.idle += stats.idle;
        sum.connecting += stats.connecting;
        sum.oldest = sum.oldest.max(stats.oldest_wait);
        sum.pinned += pool.kept.load(std::sync::atomic::Ordering::Relaxed);
        sum.nodes += 1;
    }
    for card in facts.cards() {
        let name = facts.keeper.base(&card.who.database).to_owned();
        let sum = sums.entry((name, card.who.user.to_string())).or_default();
        let (doing, since) = card.doing();
        if doing == Doing::Waiting {
            sum.waiting += 1;
            // Some wait for a node, and stand in no pool's line.
            sum.oldest = sum.oldest.max(facts.ago(since));
        } else {
            sum.clients += 1;
        }
    }
    let mut rows: Vec<Row> = sums.into_iter().map(|(key, sum)| pool_row(facts, key, sum)).collect();
    let own = Sum { clients: facts.house.consoles.guests().len(), ..Sum::default() };
    let mut row = pool_row(facts, (PGBOUNCER.to_owned(), PGBOUNCER.to_owned()), own);
    row[15] = Cell::text("statement");
    rows.push(row);
    rows
}

fn pool_row(facts: &Facts, (database, user): (String, String), sum: Sum) -> Row {
    let shape = facts.settings.pool_shape("", &database, &user);
    vec![
        Cell::text(database),
        Cell::text(user),
        Cell::count(sum.clients),
        Cell::count(sum.waiting),
        Cell::Number(0),
        Cell::Number(0),
        Cell::count(sum.active),
        Cell::Number(0),
        Cell::Number(0),
        Cell::count(sum.idle),
        Cell::Number(0),
        Cell::Number(0),
        Cell::count(sum.connecting),
        Cell::count(sum.oldest.as_secs()),
        Cell::count(sum.oldest.subsec_micros()),
        mode(shape.mode),
        Cell::Null,
        Cell::count(sum.pinned),
        Cell::count(sum.nodes),
    ]
}

fn user_names(facts: &Facts) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = facts.settings.users.iter().map(|user| user.name.clone()).collect();
    names.extend(facts.house.door.settings().users.each().map(|(name, _)| name.to_owned()));
    names.extend(facts.house.shared.cards.counts().0.keys().map(|name| name.to_string()));
    names
}

pub(super) fn users(facts: &Facts) -> Vec<Row> {
    let (clients, _) = facts.house.shared.cards.counts();
    let pools = facts.pools();
    let row = |name: String| {
        let known = facts.settings.users.iter().find(|user| user.name == name);
        let connections: usize =
            pools.iter().filter(|pool| *pool.key.user == *name).map(|pool| total(&pool.stats())).sum();
        let size = |size: Option<u32>| Cell::text(size.map(|size| format!("{size:9}")).unwrap_or_default());
        let own = known.and_then(|known| known.max_client_connections);
        vec![
            Cell::text(name.clone()),
            size(known.and_then(|known| known.max_pool_size)),
            size(known.and_then(|known| known.reserve_pool_size)),
            known.and_then(|known| known.pool_mode).map_or(Cell::Null, mode),
            Cell::Number(0),
            Cell::count(connections),
            limit(own.or(facts.settings.pool.max_client_connections_per_user)),
            Cell::count(clients.get(name.as_str()).copied().unwrap_or(0)),
            match facts.keeper.standing(&name) {
                Some(Standing::Admin) => Cell::text("admin"),
                Some(Standing::Stats) => Cell::text("stats"),
                None => Cell::Null,
            },
        ]
    };
    user_names(facts).into_iter().map(row).collect()
}

pub(super) fn lists(facts: &Facts) -> Vec<Row> {
    let pools = facts.pools();
    let (mut used, mut idle) = (0, 0);
    for stats in pools.iter().map(|pool| pool.stats()) {
        used += stats.active + stats.connecting;
        idle += stats.idle;
    }
    let clients = facts.house.shared.cards.count() + facts.house.consoles.guests().len();
    let max = facts.settings.pool.max_client_connections as usize;
    let pairs = [
        ("databases", database_names(facts).len() + 1),
        ("users", user_names(facts).len()),
        ("peers", 0),
        ("pools", super::tables::pools(facts).len()),
        ("peer_pools", 0),
        ("free_clients", max.saturating_sub(clients)),
        ("used_clients", clients),
        ("login_clients", facts.house.door.unauthenticated()),
        ("free_servers", idle),
        ("used_servers", used),
        ("dns_names", 0),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", 0),
    ];
    pairs.into_iter().map(|(name, count)| vec![Cell::text(name), Cell::count(count)]).collect()
}

pub(super) fn state(facts: &Facts) -> Vec<Row> {
    let paused = facts.house.shared.pools.is_all_paused();
    let row = |key: &'static str, is: bool| vec![Cell::text(key), Cell::text(if is { "yes" } else { "no" })];
    vec![row("active", !paused), row("paused", paused), row("suspended", false)]
}

/// Resident memory, in kilobytes and in all: nothing here comes from slabs of one size.
pub(super) fn memory() -> Vec<Row> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let used: u64 = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0);
    let number = |number: u64| Cell::count(number);
    vec![vec![
        Cell::text("resident"),
        number(1024),
        number(used),
        number(0),
        number(used.saturating_mul(1024)),
    ]]
}

/// PgBouncer's names first, for tools that look for one of them, then all of ours.
pub(super) fn config(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    for (theirs, section, key) in names::ALIASES {
        let row = single(&facts.settings, section, key, theirs);
        rows.extend(row);
    }
    rows.extend(names::fixed(&facts.settings));
    for section in SECTIONS.iter().filter(|section| section.repeated.is_none()) {
        for key in section.keys {
            let name = format!("{}.{}", section.name, key.name);
            rows.extend(single(&facts.settings, section.name, key.name, &name));
        }
    }
    rows
}

fn single(settings: &Settings, section: &str, key: &str, shown: &str) -> Option<Row> {
    let instance = settings.values.single(section);
    let key = instance.section.key(key)?;
    let say = |value: &Value| match value {
        _ if shown.contains('.') => show::value(key.kind, value).trim_matches('"').to_owned(),
        _ => names::theirs(key.kind, value),
    };
    let value = instance.get(key.name).map(|setting| say(&setting.value));
    let default = match key.default {
        Default::Is(text) => {
            value::read(key.kind, &Raw::Plain(text.to_owned())).ok().map(|value| say(&value))
        }
        Default::Unset { .. } | Default::Required(_) => None,
    };
    Some(vec![
        Cell::text(shown.to_owned()),
        Cell::maybe(value),
        Cell::maybe(default),
        Cell::text(if key.reload == Reload::Restart { "no" } else { "yes" }),
    ])
}

/// What SET takes.
pub(super) fn setting_names() -> Vec<String> {
    let ours = SECTIONS.iter().filter(|section| section.repeated.is_none()).flat_map(|section| {
        let changeable = section.keys.iter().filter(|key| key.reload != Reload::Restart);
        changeable.map(|key| format!("{}.{}", section.name, key.name))
    });
    names::ALIASES.iter().map(|(theirs, ..)| (*theirs).to_owned()).chain(ours).collect()
}
