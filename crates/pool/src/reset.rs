//! Cleaning a server after a session that left something on it.

use crate::exchange::simple;
use crate::pool::Pool;
use crate::server::{Baggage, Server};
use std::sync::Arc;
use std::time::Duration;

/// Time a server has for it; then it is closed.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// Resets the server on its own home and puts it back; when anything goes wrong it is closed.
pub(crate) fn start<B: Baggage>(pool: Arc<Pool<B>>, server: Box<Server<B>>) {
    let home = server.home;
    let runtime = pool.common.homes.get(home).cloned();
    let task = reset(pool, server);
    match runtime {
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
