//! SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS.

use super::facts::{Facts, host_port};
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::office::Row;
use pgherd_pool::server::Identity;
use pgherd_proxy::card::{Card, Doing, Who};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// PgBouncer's columns of one socket.
struct Socket {
    is_server: bool,
    user: String,
    database: String,
    state: &'static str,
    peer: (String, u16),
    local: (String, u16),
    since: u64,
    asked: u64,
    waits: Duration,
    close: bool,
    own: String,
    link: String,
    pid: i32,
    tls: String,
    application: String,
    statements: usize,
    id: u64,
}

impl Socket {
    fn row(self, facts: &Facts) -> Row {
        let text = |text: String| Cell::text(text);
        vec![
            Cell::text(if self.is_server { "S" } else { "C" }),
            text(self.user),
            text(self.database),
            Cell::text("none"),
            Cell::text(self.state),
            text(self.peer.0),
            Cell::count(self.peer.1),
            text(self.local.0),
            Cell::count(self.local.1),
            text(facts.time(self.since)),
            text(facts.time(self.asked)),
            Cell::count(self.waits.as_secs()),
            Cell::count(self.waits.subsec_micros()),
            Cell::count(u8::from(self.close)),
            text(self.own),
            text(self.link),
            Cell::Number(self.pid.into()),
            text(self.tls),
            text(self.application),
            Cell::count(self.statements),
            Cell::count(self.id),
        ]
    }
}

fn address(address: Option<SocketAddr>) -> (String, u16) {
    // PgBouncer's word for the other kind.
    address.map_or_else(|| ("unix".into(), 0), |address| (address.ip().to_string(), address.port()))
}

/// What PgBouncer shows as addresses in its memory: the same for both ends of a link, and nothing else.
fn client_mark(id: u64) -> String {
    format!("0xc{id:011x}")
}

fn server_mark(number: u64) -> String {
    format!("0x5{number:011x}")
}

fn client(facts: &Facts, card: &Card) -> Socket {
    let (doing, since) = card.doing();
    let held = card.held_server();
    let state = match doing {
        Doing::Waiting => "waiting",
        Doing::Active | Doing::IdleInTransaction => "active",
        Doing::Idle if held.is_some() => "active",
        Doing::Idle => "idle",
    };
    let waits = if doing == Doing::Waiting { facts.ago(since) } else { Duration::ZERO };
    Socket {
        asked: since,
        state,
        waits,
        link: held.map(server_mark).unwrap_or_default(),
        statements: card.statements.load(Ordering::Relaxed),
        application: card.application(),
        ..visitor(&card.who, card.id, card.came)
    }
}

fn visitor(who: &Who, id: u64, came: u64) -> Socket {
    Socket {
        is_server: false,
        user: who.user.to_string(),
        database: who.database.to_string(),
        state: "active",
        peer: address(who.peer),
        local: address(who.local),
        since: came,
        asked: came,
        waits: Duration::ZERO,
        close: false,
        own: client_mark(id),
        link: String::new(),
        pid: 0,
        tls: who.encryption.as_deref().unwrap_or_default().to_owned(),
        application: who.application.to_string(),
        statements: 0,
        id,
    }
}

fn all_clients(facts: &Facts) -> Vec<(Socket, [Cell; 3])> {
    let of_card = |card: &Arc<Card>| {
        let own = [
            Cell::text(card.who.listener.to_string()),
            Cell::text(card.doing().0.word()),
            Cell::maybe(card.pin().map(|pin| pin.word())),
        ];
        (client(facts, card), own)
    };
    let mut all: Vec<_> = facts.cards().iter().map(of_card).collect();
    for guest in facts.house.consoles.guests() {
        let own = [Cell::text(guest.who.listener.to_string()), Cell::text("active"), Cell::Null];
        all.push((visitor(&guest.who, guest.id, guest.came), own));
    }
    all
}

pub(super) fn clients(facts: &Facts) -> Vec<Row> {
    let row = |(socket, own): (Socket, [Cell; 3])| {
        let mut row = socket.row(facts);
        row.extend(own);
        row
    };
    all_clients(facts).into_iter().map(row).collect()
}

fn identities(facts: &Facts) -> Vec<Arc<Identity>> {
    let mut all: Vec<_> = facts.house.shared.pools.common().identities.lock().values().cloned().collect();
    all.sort_by_key(|identity| identity.number);
    all
}

/// Which session holds which server.
fn holders(facts: &Facts) -> HashMap<u64, Arc<Card>> {
    facts.cards().into_iter().filter_map(|card| Some((card.held_server()?, card))).collect()
}

fn server(facts: &Facts, identity: &Identity, holder: Option<&Arc<Card>>) -> Socket {
    Socket {
        is_server: true,
        user: identity.user.to_string(),
        database: facts.keeper.name_of(&identity.target.database).to_owned(),
        state: if holder.is_some() { "active" } else { "idle" },
        peer: host_port(&identity.target.address),
        local: address(identity.local),
        since: identity.since,
        asked: identity.used.load(Ordering::Relaxed),
        waits: Duration::ZERO,
        close: facts.is_outdated(identity),
        own: server_mark(identity.number),
        link: holder.map(|card| client_mark(card.id)).unwrap_or_default(),
        pid: identity.pid,
        tls: identity.encryption.as_deref().unwrap_or_default().to_owned(),
        application: holder.map(|card| card.application()).unwrap_or_default(),
        statements: identity.statements.load(Ordering::Relaxed),
        id: identity.number,
    }
}

pub(super) fn servers(facts: &Facts) -> Vec<Row> {
    let holders = holders(facts);
    let row = |identity: &Arc<Identity>| {
        let mut row = server(facts, identity, holders.get(&identity.number)).row(facts);
        row.push(Cell::text(facts.node(identity.node)));
        row.push(Cell::count(identity.epoch));
        row
    };
    identities(facts).iter().map(row).collect()
}

/// Both, with seven columns for what lies in buffers, which here belongs to nobody for longer than a moment.
pub(super) fn sockets(facts: &Facts, only_active: bool) -> Vec<Row> {
    const BUFFERS: usize = 7;
    let holders = holders(facts);
    let clients = all_clients(facts).into_iter().map(|(socket, _)| {
        let state = if socket.state == "waiting" { "cl_waiting" } else { "cl_active" };
        (socket.state != "idle", Socket { state, ..socket })
    });
    let servers = identities(facts).into_iter().map(|identity| {
        let holder = holders.get(&identity.number);
        let state = if holder.is_some() { "sv_active" } else { "sv_idle" };
        (holder.is_some(), Socket { state, ..server(facts, &identity, holder) })
    });
    let row = |(active, socket): (bool, Socket)| {
        let mut row = (active || !only_active).then(|| socket.row(facts))?;
        row.extend(std::iter::repeat_n(Cell::Number(0), BUFFERS));
        Some(row)
    };
    clients.chain(servers).filter_map(row).collect()
}
