//! What everybody else holds: give a hint, change a node, look at the whole.

use crate::error::ControlError;
use crate::settings::{Login, NodeSettings};
use crate::view::View;
use arc_swap::ArcSwap;
use pgherd_failover::event::{Change, Hint};
use pgherd_failover::policy::Policy;
use pgherd_topology::cell::Cell;
use pgherd_topology::node::{NodeId, Tags};
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// How long a request waits for the controller.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request with the place its answer goes to.
pub(crate) struct Command {
    pub(crate) request: Request,
    pub(crate) answer: oneshot::Sender<Result<(), ControlError>>,
}

/// What may be asked.
pub(crate) enum Request {
    Add(NodeSettings),
    Remove(String),
    Change(String, Change),
    Login(String, Login),
    Reload(Policy),
    Switchover(Option<String>),
    Failover(Option<String>, bool),
    Pause(bool),
    Cancel,
}

/// A cloneable handle; works from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) hints: mpsc::Sender<(NodeId, Hint)>,
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) cell: Arc<Cell>,
}

impl Handle {
    /// Evidence from the data plane. Never waits; a hint too many is dropped, the others have done its work.
    pub fn hint(&self, node: NodeId, hint: Hint) {
        let _ = self.hints.try_send((node, hint));
    }

    /// Everything known at this moment.
    pub fn status(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// When the controller's time began: whoever compares times of a snapshot with the present counts from here.
    pub fn born(&self) -> Instant {
        self.view.load().clock.instant(Duration::ZERO)
    }

    /// The published topology, as soon as there is one.
    ///
    /// # Errors
    /// [`ControlError::TimedOut`] after `limit`.
    pub async fn known(&self, limit: Duration) -> Result<Arc<Snapshot>, ControlError> {
        let mut changes = self.cell.subscribe();
        let first = async {
            while self.cell.load().epoch == 0 {
                changes.changed().await.map_err(|_| ControlError::Stopped)?;
            }
            Ok(self.cell.load_full())
        };
        timeout(limit, first).await.map_err(|_| ControlError::TimedOut)?
    }

    /// A node joins.
    ///
    /// # Errors
    /// [`ControlError::Refused`] when its name or address is taken already.
    pub async fn add_node(&self, node: NodeSettings) -> Result<(), ControlError> {
        self.ask(Request::Add(node)).await
    }

    /// A node leaves. Its connections become stale; drain it first to be polite.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn remove_node(&self, name: &str) -> Result<(), ControlError> {
        self.ask(Request::Remove(name.to_owned())).await
    }

    /// Changes one thing about a node.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn change(&self, name: &str, change: Change) -> Result<(), ControlError> {
        self.ask(Request::Change(name.to_owned(), change)).await
    }

    /// Takes a node out of rotation for reads.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn drain(&self, name: &str) -> Result<(), ControlError> {
        self.change(name, Change::Draining(true)).await
    }

    /// Puts it back.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn undrain(&self, name: &str) -> Result<(), ControlError> {
        self.change(name, Change::Draining(false)).await
    }

    /// Sets its share of the reads.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn set_weight(&self, name: &str, weight: u32) -> Result<(), ControlError> {
        self.change(name, Change::Weight(weight)).await
    }

    /// Sets its marks.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn set_tags(&self, name: &str, tags: Tags) -> Result<(), ControlError> {
        self.change(name, Change::Tags(tags)).await
    }

    /// Logs in to it in another way from now on; it is looked at again at once.
    ///
    /// # Errors
    /// [`ControlError::UnknownNode`].
    pub async fn set_login(&self, name: &str, login: Login) -> Result<(), ControlError> {
        self.ask(Request::Login(name.to_owned(), login)).await
    }

    /// Replaces the policy.
    ///
    /// # Errors
    /// Only when the controller is gone or busy.
    pub async fn reload(&self, policy: Policy) -> Result<(), ControlError> {
        self.ask(Request::Reload(policy)).await
    }

    /// Begins a planned change of primary, to this node or to the best. It is under way when this returns; [`View::change`] tells how far.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the reason, [`ControlError::UnknownNode`].
    pub async fn switchover(&self, to: Option<&str>) -> Result<(), ControlError> {
        self.ask(Request::Switchover(to.map(str::to_owned))).await
    }

    /// Begins a failover while there is no primary, to this node or to the best. `allow_loss`: also when what nobody has any more is more than the limit, or was
    /// confirmed by standbys that are not there.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with the reason, [`ControlError::UnknownNode`].
    pub async fn failover(&self, to: Option<&str>, allow_loss: bool) -> Result<(), ControlError> {
        self.ask(Request::Failover(to.map(str::to_owned), allow_loss)).await
    }

    /// Nothing is begun without an operator, or that again.
    ///
    /// # Errors
    /// Only when the controller is gone or busy.
    pub async fn pause(&self, paused: bool) -> Result<(), ControlError> {
        self.ask(Request::Pause(paused)).await
    }

    /// Gives the plan under way up, while nobody was promoted.
    ///
    /// # Errors
    /// [`ControlError::Refused`] when there is none, or it is too late.
    pub async fn cancel(&self) -> Result<(), ControlError> {
        self.ask(Request::Cancel).await
    }

    async fn ask(&self, request: Request) -> Result<(), ControlError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.commands.send(Command { request, answer }).await.map_err(|_| ControlError::Stopped)?;
            answered.await.map_err(|_| ControlError::Stopped)?
        };
        timeout(PATIENCE, asked).await.map_err(|_| ControlError::TimedOut)?
    }
}
