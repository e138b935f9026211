//! What the console asks of the control thread, which alone has the listeners in its hands.

use crate::app::console::setting;
use crate::app::entrance::Entrance;
use crate::app::{House, StartError, control};
use pgherd_admin::console::act::Shutdown;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

/// Orders that may wait at once; whoever comes when there are more waits before it is heard.
const WAITING: usize = 16;

/// How an order was carried out.
pub type Reply = oneshot::Sender<Result<(), StartError>>;

/// One order.
#[derive(Debug)]
pub enum Order {
    /// Read the settings again.
    Reload(Reply),
    /// One setting is another until the next reload.
    Set(Box<setting::Change>, Reply),
    /// End.
    Shutdown(Shutdown),
}

/// Where orders go in and come out.
pub struct Orders {
    sender: Sender<Order>,
    receiver: parking_lot::Mutex<Option<Receiver<Order>>>,
}

impl Default for Orders {
    fn default() -> Orders {
        let (sender, receiver) = channel(WAITING);
        Orders { sender, receiver: parking_lot::Mutex::new(Some(receiver)) }
    }
}

impl Orders {
    /// Gives an order. `Err` when nobody takes any more: pgherd ends.
    pub async fn give(&self, order: Order) -> Result<(), Order> {
        self.sender.send(order).await.map_err(|error| error.0)
    }

    /// The end where they come out; once.
    pub fn take(&self) -> Option<Receiver<Order>> {
        self.receiver.lock().take()
    }
}

/// Carries out one order; `Some` when it is to end.
pub(super) async fn carry_out(
    order: Order,
    house: &Arc<House>,
    entrance: &Entrance,
    ready: &AtomicBool,
) -> Option<Shutdown> {
    // Whoever asked may have hung up.
    match order {
        Order::Reload(reply) => drop(reply.send(control::reload_settings(house, entrance, ready).await)),
        Order::Set(change, reply) => drop(reply.send(control::change(house, entrance, &change).await)),
        Order::Shutdown(how) => return Some(how),
    }
    None
}

/// The next order that hastens the end; others are refused, since there is nothing they could still change.
pub(super) async fn end_now(orders: &mut Option<Receiver<Order>>) {
    loop {
        match orders {
            Some(receiver) => match receiver.recv().await {
                Some(Order::Shutdown(Shutdown::Immediate | Shutdown::WaitForServers)) => return,
                // A reply that is dropped is a refusal.
                Some(Order::Shutdown(Shutdown::WaitForClients) | Order::Reload(_) | Order::Set(..)) => {}
                None => *orders = None,
            },
            None => std::future::pending().await,
        }
    }
}
