//! What the console does.

use super::setting;
use super::tables::is_own;
use crate::app::House;
use crate::app::change::{self, Failed};
use crate::app::orders::{Order, Reply};
use pgherd_admin::console::act::{Act, Shutdown};
use pgherd_proxy::card::{Bell, Card};
use pgherd_wire::sqlstate::code;
use pgherd_wire::write::{Report, Severity};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a wait looks whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// A database as the commands name it: by which clients know it, and by which servers do.
struct Meant {
    name: String,
    dbname: String,
}

/// Does it; the error is what the client is told.
pub(super) async fn act(house: Arc<House>, act: Act) -> Result<(), Report> {
    match act {
        Act::Pause(database) => pause(&house, meant(&house, database, "pause")?.as_ref()).await,
        Act::Resume(database) => resume(&house, meant(&house, database, "resume")?.as_ref()),
        Act::Disable(database) => {
            let name = known(&house, database, "disable")?.name;
            house.shared.disabled.write().insert(name.into());
            Ok(())
        }
        Act::Enable(database) => {
            let name = known(&house, database, "enable")?.name;
            house.shared.disabled.write().remove(name.as_str());
            Ok(())
        }
        Act::Reconnect(database) => {
            let meant = meant(&house, database, "reconnect")?;
            house.shared.pools.reconnect(dbname(meant.as_ref()));
            Ok(())
        }
        Act::Kill(database) => kill(&house, meant(&house, database, "kill")?.as_ref()),
        Act::KillClient(id) => kill_client(&house, id),
        Act::WaitClose(database) => {
            let meant = meant(&house, database, "wait in")?;
            while house.shared.pools.outdated(dbname(meant.as_ref())) > 0 {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        }
        Act::Suspend => Err(error(code::FEATURE_NOT_SUPPORTED, "SUSPEND is not supported")
            .detail(
                "It prepares PgBouncer's hand-over of sockets to a new process, which pgherd does not do.",
            )
            .hint("PAUSE lets go of all servers and keeps the clients.")),
        Act::Reload => {
            let done = order(&house, Order::Reload).await?;
            done.map_err(|why| {
                error("F0000", "RELOAD failed, see logs for additional details").detail(why.to_string())
            })
        }
        Act::Set(name, value) => {
            let change = Box::new(setting::find(&name, &value)?);
            let done = order(&house, |reply| Order::Set(change, reply)).await?;
            done.map_err(|why| error(code::INVALID_PARAMETER_VALUE, "SET failed").detail(why.to_string()))
        }
        Act::Switchover(to) => told(change::switchover(&house, to.as_deref()).await, "SWITCHOVER"),
        Act::Failover { to, allow_loss } => {
            told(change::failover(&house, to.as_deref(), allow_loss).await, "FAILOVER")
        }
        Act::Shutdown(how) => {
            house.orders.give(Order::Shutdown(how)).await.map_err(|_| ending())?;
            if how == Shutdown::Immediate {
                // As with PgBouncer there is no answer but the end.
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    }
}

/// What became of a change of primary, for whoever waits at the console.
fn told(done: Result<String, Failed>, what: &str) -> Result<(), Report> {
    let (words, why) = match done {
        Ok(_) => return Ok(()),
        Err(Failed::Impossible(why)) => (format!("{what} cannot be done"), why),
        Err(Failed::GivenUp(why)) => (format!("{what} was given up"), why),
    };
    Err(error(code::NOT_IN_PREREQUISITE_STATE, words).detail(why))
}

fn error(code: &'static str, what: impl Into<String>) -> Report {
    Report::new(Severity::Error, code, what)
}

fn ending() -> Report {
    error(code::NOT_IN_PREREQUISITE_STATE, "pooler is shutting down")
}

/// Has the control thread do something. The outer error: it ends and does nothing any more.
async fn order(
    house: &House,
    make: impl FnOnce(Reply) -> Order,
) -> Result<Result<(), crate::app::StartError>, Report> {
    let (reply, done) = oneshot::channel();
    house.orders.give(make(reply)).await.map_err(|_| ending())?;
    done.await.map_err(|_| ending())
}

/// The database of this name, if it can be one.
fn known(house: &House, name: String, verb: &str) -> Result<Meant, Report> {
    if is_own(&name) && house.keeper.read().is_console(&name) {
        return Err(error(code::FEATURE_NOT_SUPPORTED, format!("cannot {verb} admin db: {name}")));
    }
    let settings = house.settings.read().clone();
    let keeper = house.keeper.read().clone();
    let base = keeper.base(&name).to_owned();
    match settings.databases.iter().find(|database| database.name == base) {
        Some(database) => Ok(Meant { name: base, dbname: database.dbname.clone() }),
        None if settings.auth.strict_databases => {
            Err(error(code::INVALID_CATALOG_NAME, format!("no such database: {name}")))
        }
        None => Ok(Meant { dbname: base.clone(), name: base }),
    }
}

fn meant(house: &House, name: Option<String>, verb: &str) -> Result<Option<Meant>, Report> {
    name.map(|name| known(house, name, verb)).transpose()
}

fn dbname(meant: Option<&Meant>) -> Option<&str> {
    meant.map(|meant| &*meant.dbname)
}

/// Returns when the last connection is closed. Given up, it stays a pause.
async fn pause(house: &House, meant: Option<&Meant>) -> Result<(), Report> {
    let pools = &house.shared.pools;
    if pools.is_all_paused() {
        return Err(error(code::NOT_IN_PREREQUISITE_STATE, "already suspended/paused"));
    }
    pools.pause(dbname(meant));
    while pools.connections(dbname(meant)) > 0 {
        tokio::time::sleep(LOOK).await;
        if !dbname(meant).map_or_else(|| pools.is_all_paused(), |database| pools.is_paused(database)) {
            return Err(error(code::QUERY_CANCELED, "the pause was ended while it waited for servers"));
        }
    }
    Ok(())
}

fn resume(house: &House, meant: Option<&Meant>) -> Result<(), Report> {
    if house.shared.pools.resume(dbname(meant)) {
        return Ok(());
    }
    let what = match meant {
        Some(meant) => format!("database {} is not paused", meant.name),
        None => "pooler is not paused/suspended".to_owned(),
    };
    Err(error(code::NOT_IN_PREREQUISITE_STATE, what))
}

/// Clients are cut, and the database is paused: new clients wait for RESUME, as with PgBouncer.
fn kill(house: &House, meant: Option<&Meant>) -> Result<(), Report> {
    if house.shared.pools.is_all_paused() {
        return Err(error(code::NOT_IN_PREREQUISITE_STATE, "already suspended/paused"));
    }
    house.shared.pools.pause(dbname(meant));
    let keeper = house.keeper.read().clone();
    let is_meant = |card: &Card| meant.is_none_or(|meant| keeper.base(&card.who.database) == meant.name);
    house.shared.cards.each(|card| {
        if is_meant(card) {
            card.ring(Bell::Kill);
        }
    });
    Ok(())
}

fn kill_client(house: &House, id: u64) -> Result<(), Report> {
    let mut found = house.consoles.kill(id);
    house.shared.cards.each(|card| {
        if card.id == id {
            card.ring(Bell::Kill);
            found = true;
        }
    });
    if found { Ok(()) } else { Err(error("42704", "client not found")) }
}
