//! The shelf: what a checkout and a release cost inside the pool's mutex.

use std::hint::black_box;

use pgherd_pool::shelf::Shelf;

use crate::case::Case;

/// Workers, each a home.
const HOMES: usize = 4;

/// Idle servers, or clients that wait, while one operation is timed.
const CROWD: usize = 64;

/// Cases of the pool.
pub(crate) fn cases() -> Vec<Case> {
    let mut idle = shelf();
    for server in 0..CROWD {
        idle.put(server % HOMES, server);
    }
    let mut elsewhere = shelf();
    elsewhere.put(1, 0);
    let mut busy = shelf();
    for client in 0..CROWD {
        busy.wait(client % HOMES, client);
    }
    let mut impatient = shelf();
    for client in 0..CROWD {
        impatient.wait(client % HOMES, client);
    }
    vec![
        Case::hot("pool: take an idle server of the own home, put it back", move || {
            let server = idle.take(0, |server| *black_box(server) < CROWD).expect("64 are idle");
            idle.put(0, server);
        }),
        Case::hot("pool: take the only idle server, of another home, put it back", move || {
            let server = elsewhere.take(0, |_| true).expect("one is idle");
            elsewhere.put(1, server);
        }),
        Case::hot("pool: hand over to the next of 64 waiters, who waits again", move || {
            let client = busy.next(black_box(0)).expect("64 wait");
            busy.wait(client % HOMES, client);
        }),
        Case::hot("pool: join the line of 64 and leave it", move || {
            let ticket = impatient.wait(0, CROWD);
            assert!(impatient.abandon(0, ticket), "it waited");
        }),
    ]
}

fn shelf() -> Shelf<usize, usize> {
    Shelf::new(HOMES)
}
