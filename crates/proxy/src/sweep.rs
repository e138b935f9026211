//! Limits in time, and news of the topology: one task on the control thread looks over all sessions, so that no session needs a timer.

use crate::card::{Bell, Card, Doing};
use crate::shared::Shared;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Sessions are looked over at every so many ticks of the janitor.
const TICKS: u32 = 5;

/// Idleness after which a session gives its buffers back. Busy sessions keep theirs, so that a transaction need not fetch any.
const REST_AFTER: Duration = Duration::from_millis(500);

/// Runs for as long as the process serves: the pools' janitor, deadlines of sessions, changes of the topology.
pub async fn run(shared: Arc<Shared>) {
    let mut changes = shared.cell.subscribe();
    let mut ticks = tokio::time::interval(pgherd_pool::janitor::INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        // Both branches are cancel safe: a tick or a change that is not taken now is taken the next time.
        tokio::select! {
            biased;
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                follow(&shared);
            }
            _ = ticks.tick() => {
                pgherd_pool::janitor::tick(&shared.pools, Instant::now());
                let now = shared.now();
                count += 1;
                if count.is_multiple_of(TICKS) {
                    shared.cards.each(|card| check(card, now));
                    shared.go_on_vacating();
                }
            }
        }
    }
}

/// A new snapshot: pools close what is stale, and sessions that hold a server that is not valid any more are told.
fn follow(shared: &Shared) {
    let snapshot = shared.cell.load_full();
    shared.pools.follow(&snapshot);
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    let stale: HashSet<u64> = {
        let identities = shared.pools.common().identities.lock();
        let is_stale = |node, epoch| snapshot.node(node).is_none_or(|node| epoch < node.valid_since);
        identities
            .values()
            .filter(|known| is_stale(known.node, known.epoch))
            .map(|known| known.number)
            .collect()
    };
    let mut cut = 0;
    if !stale.is_empty() {
        shared.cards.each(|card| {
            if card.held_server().is_some_and(|number| stale.contains(&number)) {
                card.ring(Bell::Cut);
                cut += 1;
            }
        });
    }
    if cut > 0 {
        shared.forget_welcomes();
        tracing::info!(epoch = snapshot.epoch, sessions = cut, "server connections cut");
    }
}

fn check(card: &Arc<Card>, now: u64) {
    let (doing, since) = card.doing();
    let limits = &card.timeouts;
    let idle = Duration::from_millis(now.saturating_sub(since));
    if doing == Doing::Idle && idle >= REST_AFTER && idle < REST_AFTER + REST_AFTER {
        card.ring(Bell::Rest);
    }
    let (limit, bell) = match doing {
        Doing::Idle => (limits.client_idle, Bell::ClientIdle),
        Doing::IdleInTransaction => (limits.idle_in_transaction, Bell::IdleInTransaction),
        Doing::Active => (limits.query, Bell::QueryTimeout),
        Doing::Waiting => return,
    };
    if limit.is_some_and(|limit| idle > limit) {
        card.ring(bell);
    }
}

/// Tells every session that pgherd shuts down; `now` cuts even those in a transaction.
pub fn drain(shared: &Shared, now: bool) {
    shared.cards.close();
    shared.cards.each(|card| card.ring(if now { Bell::Stop } else { Bell::Drain }));
}
