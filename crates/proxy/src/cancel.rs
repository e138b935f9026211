//! Cancel requests: bound to the server a session holds, never to a session's next one.

use crate::shared::{Shared, Worker};
use pgherd_login::door::CancelRequest;
use pgherd_pool::connect::send_cancel;
use pgherd_pool::server::Identity;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Most cancel requests on their way to servers at once, per process; those above wait.
pub const MAX_IN_FLIGHT: usize = 32;

/// Limits how many cancel requests are on their way.
#[derive(Debug)]
pub struct Cancels(Semaphore);

impl Default for Cancels {
    fn default() -> Self {
        Cancels(Semaphore::new(MAX_IN_FLIGHT))
    }
}

/// Carries out a client's cancel request. Nothing happens when the key is wrong or the session holds no server; the client is not told (as in
/// PostgreSQL). False when no session here has the key.
pub async fn cancel(shared: &Shared, worker: &Worker, cancels: &Cancels, request: &CancelRequest) -> bool {
    let Some(card) = shared.cards.find(request.pid, &request.secret) else { return false };
    let Ok(_permit) = cancels.0.acquire().await else { return true };
    // Bound only now: the server the session holds at this moment, not the one it held when the request came.
    let Some(number) = card.bind_cancel() else { return true };
    let identity = shared.pools.common().identities.lock().get(&number).cloned();
    if let Some(identity) = identity {
        deliver(&identity).await;
        worker.counters.cancels.add(1);
    }
    card.unbind_cancel(number);
    true
}

/// Sends a cancel request to a server, and waits until the server has dealt with it.
pub(crate) async fn deliver(identity: &Arc<Identity>) {
    if identity.secret.is_empty() {
        return;
    }
    if let Err(error) = send_cancel(&identity.target, identity.pid, &identity.secret).await {
        tracing::debug!(%error, "cancel request was not delivered");
    }
}
