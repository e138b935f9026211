//! One look at one node, over a connection that is kept between looks.

use crate::clock::Clock;
use crate::connector::{Connector, Mover, Target};
use crate::facts;
use crate::failure;
use pgherd_failover::observation::{Facts, Failure, FailureKind, Observation};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_postgres::{Client, Error, Statement};

/// Looks at one node.
pub struct Probe {
    node: NodeId,
    target: Target,
    connector: Arc<dyn Connector>,
    clock: Clock,
    session: Option<Session>,
    /// The kept connection died since the last look.
    broken: bool,
}

/// A kept connection with its prepared question.
struct Session {
    client: Client,
    question: Statement,
    mover: Mover,
}

impl Probe {
    /// A probe that has not connected yet.
    pub fn new(node: NodeId, target: Target, connector: Arc<dyn Connector>, clock: Clock) -> Probe {
        Probe { node, target, connector, clock, session: None, broken: false }
    }

    /// Looks once, within `limit` altogether. A kept connection that turns out dead is replaced at once, within the
    /// same limit: its death alone is no failure of the node, but it counts if the next attempt fails as well.
    ///
    /// Cancel safe: when dropped, the connection in use is closed and the next look opens another.
    pub async fn look(&mut self, limit: Duration) -> Observation {
        let sent = self.clock.now();
        let mut broke = std::mem::take(&mut self.broken);
        let looked = timeout(limit, self.ask(&mut broke)).await;
        let outcome = match looked {
            Ok(Ok(facts)) => Ok(facts),
            Ok(Err(failure)) => Err(Failure { broke, ..failure }),
            Err(_) => Err(Failure { broke, ..failure::timeout(limit) }),
        };
        Observation { node: self.node, sent, taken: self.clock.now(), outcome }
    }

    /// Ends when the kept connection does; never without one. Cancel safe.
    pub async fn closed(&mut self) {
        match &mut self.session {
            Some(session) => {
                // A task that panicked ends the connection as well.
                let _ = (&mut session.mover.0).await;
                self.session = None;
                self.broken = true;
            }
            None => std::future::pending().await,
        }
    }

    async fn ask(&mut self, broke: &mut bool) -> Result<Facts, Failure> {
        // Taken out while in use: a look that is cancelled or timed out drops it with whatever is still under way.
        if let Some(session) = self.session.take() {
            match self.query(&session).await {
                Ok(answer) => return self.keep(session, answer),
                Err(error) if failure::is_broken(&error) => *broke = true,
                Err(error) => return Err(failure::classify(&error)),
            }
        }
        let session = self.open().await.map_err(|error| failure::classify(&error))?;
        match self.query(&session).await {
            Ok(answer) => self.keep(session, answer),
            Err(error) => Err(failure::classify(&error)),
        }
    }

    fn keep(&mut self, session: Session, answer: Result<Facts, facts::Misshapen>) -> Result<Facts, Failure> {
        self.session = Some(session);
        answer.map_err(|facts::Misshapen(what)| Failure {
            kind: FailureKind::Query,
            text: format!("unexpected answer to the probe: {what}").into(),
            broke: false,
        })
    }

    async fn open(&self) -> Result<Session, Error> {
        let connected = self.connector.connect(&self.target).await?;
        let node = self.node;
        let mover = Mover(tokio::spawn(async move {
            if let Err(error) = connected.driver.await {
                tracing::debug!(node = node.0, %error, "probe connection ended");
            }
        }));
        let question = connected.client.prepare(facts::QUESTION).await?;
        Ok(Session { client: connected.client, question, mover })
    }

    async fn query(&self, session: &Session) -> Result<Result<Facts, facts::Misshapen>, Error> {
        let start = self.clock.now();
        let row = session.client.query_one(&session.question, &[]).await?;
        Ok(facts::read(&row, self.clock.now().saturating_sub(start)))
    }
}
