//! The task that probes one node whenever it is due.

use crate::clock::Clock;
use crate::probe::Probe;
use pgherd_failover::observation::Observation;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

/// Longest time without a probe, should nobody set the next one.
const FALLBACK: Duration = Duration::from_secs(60);

/// Least time between the end of a look and a look that is made because the kept connection died.
const GAP: Duration = Duration::from_millis(100);

/// When a node is to be looked at, and for how long at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// Not before this time (since the clock's start).
    pub(crate) at: Duration,
    /// Limit of one look.
    pub(crate) limit: Duration,
}

/// A running watcher; dropping it ends the task and closes its connection.
pub(crate) struct Watcher {
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Starts with a look at once.
    pub(crate) fn start(
        probe: Probe,
        first: Order,
        clock: Clock,
        seen: mpsc::Sender<Observation>,
    ) -> Watcher {
        let (orders, inbox) = watch::channel(first);
        Watcher { orders, task: tokio::spawn(watch_over(probe, clock, inbox, seen)) }
    }

    /// Replaces the time of the next look.
    pub(crate) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }
}

async fn watch_over(
    mut probe: Probe,
    clock: Clock,
    mut orders: watch::Receiver<Order>,
    seen: mpsc::Sender<Observation>,
) {
    let mut rested = Duration::ZERO;
    loop {
        let order = *orders.borrow_and_update();
        // Each branch is cancel safe: a timer, a change signal, the end of a kept connection.
        tokio::select! {
            () = sleep_until(clock.instant(order.at)) => {}
            // The kept connection died: the best reason of all to look now.
            () = probe.closed() => sleep_until(clock.instant(rested)).await,
            changed = orders.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let observation = probe.look(order.limit).await;
        rested = clock.now() + GAP;
        if seen.send(observation).await.is_err() {
            return;
        }
        // The next order is the answer to what was just seen.
        if let Ok(Err(_)) = timeout(FALLBACK, orders.changed()).await {
            return;
        }
    }
}
