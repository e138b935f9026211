//! Users who are looked up on the servers, by a query of the operator's (PgBouncer's `auth_query`): over few connections of an account of
//! their own, that no client ever uses, so that nothing a client sets can change what the query means.

use crate::config::settings::front::Inquiry as Wanted;
use parking_lot::Mutex;
use pgherd_login::directory::{Fetching, NotAnswered, Source};
use pgherd_login::users::Secret;
use pgherd_net::keepalive::Keepalive;
use pgherd_net::transport::Transport;
use pgherd_pool::connect::credentials::{Credentials, Password};
use pgherd_pool::connect::{Target, connect};
use pgherd_pool::exchange::{Failed, Row, bound};
use pgherd_pool::sslmode::Ssl;
use pgherd_topology::cell::Cell;
use pgherd_topology::node::{Ineligible, Node, NodeId, Role};
use pgherd_topology::snapshot::Snapshot;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

/// Most questions at once, and most connections for them.
const AT_ONCE: usize = 4;

/// How long a connection is kept for the next question.
const IDLE: Duration = Duration::from_secs(60);

/// Most bytes of an answer.
const MOST: usize = 16 * 1024;

/// Asks the primary, or a standby while there is none.
pub(super) struct Inquiry(Arc<Inner>);

struct Inner {
    wanted: Wanted,
    credentials: Credentials,
    ssl: HashMap<String, Ssl>,
    cell: Arc<Cell>,
    places: Semaphore,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    kept: Vec<Kept>,
    /// Somebody closes what is not used for long.
    watched: bool,
}

/// A connection nobody uses at the moment.
struct Kept {
    transport: Transport,
    node: NodeId,
    epoch: u64,
    since: Instant,
}

impl Inquiry {
    /// One that has no connection yet.
    pub(super) fn new(wanted: &Wanted, ssl: &HashMap<String, Ssl>, cell: &Arc<Cell>) -> Inquiry {
        let password = wanted.query_password.as_ref();
        Inquiry(Arc::new(Inner {
            credentials: password.map_or(Credentials::None, |password| {
                Credentials::Password(Password::new(password.expose()))
            }),
            wanted: wanted.clone(),
            ssl: ssl.clone(),
            cell: cell.clone(),
            places: Semaphore::new(AT_ONCE),
            shelf: Mutex::default(),
        }))
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inquiry").field(&self.0.wanted).finish()
    }
}

impl Source for Inquiry {
    fn fetch(&self, name: &str) -> Fetching {
        let (inner, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move {
            let _place = inner.places.acquire().await.map_err(|error| NotAnswered(error.to_string()))?;
            let rows = inner.ask(&name).await?;
            read(&name, &rows)
        })
    }
}

impl Inner {
    /// Asks over a kept connection or a new one. Dropping the future closes the connection.
    async fn ask(self: &Arc<Self>, name: &str) -> Result<Vec<Row>, NotAnswered> {
        let snapshot = self.cell.load_full();
        let node = whom(&snapshot).ok_or_else(|| NotAnswered("no node to ask".into()))?;
        if let Some(mut kept) = self.take(node)
            && let Some(answer) = self.over(&mut kept.transport, name).await
        {
            self.keep(kept);
            return answer;
        }
        // None was kept, or it broke: a server may have been restarted.
        let target = self.target(node);
        let settings = [("application_name".into(), "pgherd auth".into())];
        let made = connect(&target, &settings).await.map_err(|error| NotAnswered(error.to_string()))?;
        let mut fresh =
            Kept { transport: made.transport, node: node.id, epoch: snapshot.epoch, since: Instant::now() };
        match self.over(&mut fresh.transport, name).await {
            Some(answer) => {
                self.keep(fresh);
                answer
            }
            None => Err(NotAnswered("the connection broke".into())),
        }
    }

    /// The answer over this connection; `None` when it is of no use any more.
    async fn over(&self, transport: &mut Transport, name: &str) -> Option<Result<Vec<Row>, NotAnswered>> {
        match bound(transport, self.wanted.query.as_bytes(), name.as_bytes(), self.wanted.query_timeout, MOST)
            .await
        {
            Ok(rows) => Some(Ok(rows)),
            Err(Failed::Refused(body)) => {
                let text = pgherd_wire::backend::Fields::view(&body).get(b'M').unwrap_or_default();
                Some(Err(NotAnswered(format!("auth.query: {}", String::from_utf8_lossy(text)))))
            }
            Err(Failed::Timeout | Failed::Io(_) | Failed::Protocol) => None,
        }
    }

    /// A kept connection to this node that lives and was not fenced since.
    fn take(&self, node: &Node) -> Option<Kept> {
        let kept = &mut self.shelf.lock().kept;
        kept.retain(|kept| kept.node == node.id && kept.epoch >= node.valid_since);
        std::iter::from_fn(|| kept.pop()).find(|kept| !kept.transport.is_stirred())
    }

    /// Keeps a connection for the next question, for a while.
    fn keep(self: &Arc<Self>, mut used: Kept) {
        used.since = Instant::now();
        let mut shelf = self.shelf.lock();
        shelf.kept.push(used);
        if !std::mem::replace(&mut shelf.watched, true) {
            tokio::spawn(watch(Arc::downgrade(self)));
        }
    }

    /// Takes what was not used for long; `None` when nothing is left to watch.
    fn aged(&self) -> Option<Vec<Kept>> {
        let mut shelf = self.shelf.lock();
        shelf.watched = !shelf.kept.is_empty();
        let aged = shelf.kept.extract_if(.., |kept| kept.since.elapsed() >= IDLE).collect();
        shelf.watched.then_some(aged)
    }

    fn target(&self, node: &Node) -> Target {
        Target {
            address: node.address.clone(),
            user: self.wanted.query_user.as_str().into(),
            database: self.wanted.query_database.as_str().into(),
            credentials: self.credentials.clone(),
            ssl: self.ssl.get(&*node.name).cloned().unwrap_or(Ssl::DISABLED),
            connect_timeout: self.wanted.query_timeout,
            keepalive: Keepalive::default(),
            dialer: None,
        }
    }
}

/// Closes connections nobody has used for a while, until there are none.
async fn watch(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(IDLE / 2).await;
        let Some(aged) = inner.upgrade().and_then(|inner| inner.aged()) else { return };
        for mut kept in aged {
            let _ = kept.transport.write_all(&pgherd_wire::write::TERMINATE).await;
        }
    }
}

/// The primary; else an eligible replica; else any standby that answers probes: roles are the same on all of them.
fn whom(snapshot: &Snapshot) -> Option<&Arc<Node>> {
    let answers = |node: &&Arc<Node>| {
        node.role == Role::Standby
            && !matches!(
                node.ineligible,
                Some(
                    Ineligible::Unprobed
                        | Ineligible::Down(_)
                        | Ineligible::ForeignSystem
                        | Ineligible::Fenced
                )
            )
    };
    let replica = || snapshot.eligible_replicas().next().or_else(|| snapshot.nodes.iter().find(answers));
    snapshot.primary_node().or_else(replica)
}

/// What an answer says about the user of that name: no row, or a name that is null, is nobody (a function with OUT parameters always
/// makes a row); a secret that is null is a user without one.
fn read(name: &str, rows: &[Row]) -> Result<Option<Secret>, NotAnswered> {
    let wrong = |what: &str| Err(NotAnswered(format!("auth.query: {what}")));
    match rows {
        [] => Ok(None),
        [row] => match &row[..] {
            [None, _] => Ok(None),
            [Some(found), _] if **found != *name => wrong("the row is of another user"),
            [Some(_), None] => Ok(Some(Secret::None)),
            // Nobody's password, but a damaged verifier.
            [Some(_), Some(text)] => Ok(Some(match Secret::parse(text) {
                Secret::Plain(text) if text.starts_with("SCRAM-SHA-256$") => Secret::None,
                secret => secret,
            })),
            _ => wrong("a row needs two columns, name and secret"),
        },
        _ => wrong("more than one row"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        let row = |columns: &[Option<&str>]| columns.iter().map(|text| text.map(Into::into)).collect::<Row>();
        let one = |columns: &[Option<&str>]| read("alice", &[row(columns)]);
        assert_eq!(read("alice", &[]), Ok(None));
        assert_eq!(one(&[None, None]), Ok(None));
        assert_eq!(one(&[Some("alice"), None]), Ok(Some(Secret::None)));
        assert_eq!(one(&[Some("alice"), Some("x")]), Ok(Some(Secret::Plain("x".into()))));
        assert_eq!(one(&[Some("alice"), Some("SCRAM-SHA-256$damaged")]), Ok(Some(Secret::None)));
        for faulty in
            [&[Some("bob"), Some("x")][..], &[Some("alice")], &[Some("alice"), Some("x"), None], &[]]
        {
            assert!(one(faulty).is_err(), "{faulty:?}");
        }
        let twice = row(&[Some("alice"), Some("x")]);
        assert!(read("alice", &[twice.clone(), twice]).is_err());
    }
}
