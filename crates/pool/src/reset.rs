//! Cleaning a server after a session that left something on it.

use crate::exchange::{Failed, answer, simple};
use crate::pool::Pool;
use crate::server::{Baggage, Server};
use std::sync::Arc;
use std::time::Duration;

/// Time a server has for it; then it is closed.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Resets the server on its own home and puts it back; when anything goes wrong it is closed.
pub(crate) fn start<B: Baggage>(pool: Arc<Pool<B>>, server: Box<Server<B>>) {
    let home = server.home;
    spawn(&pool.clone(), home, reset(pool, server));
}

impl<B: Baggage> Pool<B> {
    /// A session leaves a server in the middle of a transaction that has changed nothing: it is rolled back, and the server goes to the next.
    pub fn roll_back(self: &Arc<Self>, server: Box<Server<B>>) {
        let pool = self.clone();
        spawn(self, server.home, async move {
            let mut server = server;
            match simple(&mut server.transport, b"ROLLBACK", RESET_TIMEOUT).await {
                Ok(_) => pool.release(server),
                Err(_) => pool.forget(server),
            }
        });
    }
}

impl<B: Baggage> Pool<B> {
    /// A session leaves a server that owes one more answer, to a question of ours: it is waited for, then the server is cleaned.
    pub fn clean_after_answer(self: &Arc<Self>, server: Box<Server<B>>) {
        if server.baggage.is_spoiled() {
            return self.forget(server);
        }
        let pool = self.clone();
        spawn(self, server.home, async move {
            let mut server = server;
            match answer(&mut server.transport, RESET_TIMEOUT).await {
                Ok(_) | Err(Failed::Refused(_)) => reset(pool, server).await,
                Err(_) => pool.forget(server),
            }
        });
    }
}

/// Runs it on the server's own home.
fn spawn<B: Baggage>(pool: &Pool<B>, home: usize, task: impl Future<Output = ()> + Send + 'static) {
    match pool.common.homes.get(home) {
        Some(runtime) => drop(runtime.spawn(task)),
        None => drop(tokio::spawn(task)),
    }
}

async fn reset<B: Baggage>(pool: Arc<Pool<B>>, mut server: Box<Server<B>>) {
    match simple(&mut server.transport, b"DISCARD ALL", RESET_TIMEOUT).await {
        Ok(_) => {
            server.baggage.was_reset();
            pool.release(server);
        }
        Err(_) => pool.forget(server),
    }
}
