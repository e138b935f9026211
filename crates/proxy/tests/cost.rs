//! What a session costs: bytes of its future, allocations per message, memory for a client that does not read.
mod support;

use pgherd_net::transport::Transport;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use support::client::Client;
use support::message::{bind, close, execute, parse, query, sync};
use support::random::Random;
use support::{Settings, Stage, run};
use tokio::io::AsyncWriteExt;

/// Largest future of one session.
const MAX_SESSION: usize = 2176;

/// Requests that must not allocate once everything is warm.
const REQUESTS: usize = 200;

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn the_future_of_a_session_is_small_and_can_move() {
    run(async {
        let stage = Stage::new(Settings::default(), 1, &mut Random::new(1));
        let (_ours, theirs) = tokio::io::duplex(64);
        let session = assert_send(stage.session("alice", &[], Transport::pipe(theirs)));
        let size = size_of_val(&session);
        println!("a session's future takes {size} bytes");
        assert!(size <= MAX_SESSION, "{size} bytes");
    });
}

/// Allocations while the session is polled, over as many requests as the client makes.
async fn allocations(request: Vec<u8>, prelude: Vec<u8>) -> u64 {
    let stage = Stage::new(Settings::default(), 1, &mut Random::new(1));
    // Real sockets: tokio's in-memory pipes allocate by themselves.
    let (ours, theirs) = tokio::net::UnixStream::pair().expect("a pair");
    let session = stage.session("alice", &[], Transport::unix(theirs));
    let (count, counting) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (counted, switch) = (count.clone(), counting.clone());
    let session = async move {
        let mut session = pin!(session);
        std::future::poll_fn(move |cx| {
            let mut poll = None;
            let info = allocation_counter::measure(|| poll = Some(session.as_mut().poll(cx)));
            if switch.get() {
                counted.set(counted.get() + info.count_total);
            }
            poll.expect("it was polled")
        })
        .await;
    };
    let client = async move {
        let mut ours = ours;
        let mut heard = bytes::BytesMut::new();
        hear_ready(&mut ours, &mut heard).await;
        for round in 0..REQUESTS + 20 {
            // The first rounds connect and warm up.
            counting.set(round >= 20);
            ours.write_all(if round == 0 { &prelude } else { &request }).await.expect("sent");
            hear_ready(&mut ours, &mut heard).await;
        }
        counting.set(false);
    };
    tokio::join!(session, client);
    count.get()
}

async fn hear_ready(stream: &mut tokio::net::UnixStream, heard: &mut bytes::BytesMut) {
    use tokio::io::AsyncReadExt;
    loop {
        while let Some((tag, body)) = support::message::take(heard) {
            assert_ne!(tag, b'E', "{}", body.escape_ascii());
            if tag == b'Z' {
                return;
            }
        }
        assert!(stream.read_buf(heard).await.expect("it lives") > 0);
    }
}

#[test]
fn a_select_allocates_nothing() {
    run(async {
        let batch = |name| [bind("", name, &["p"]), execute(""), sync()].concat();
        let unnamed = [parse("", "select 'x', $1"), batch("")].concat();
        let prepare = [parse("s", "select 'x', $1"), batch("s")].concat();
        for (what, request, prelude) in [
            ("a simple select", query("select 'x'"), query("select 'x'")),
            ("a prepared select", batch("s"), prepare),
            ("an unnamed select", unnamed.clone(), unnamed),
        ] {
            let count = allocations(request, prelude).await;
            println!("{what}: {count} allocations in {REQUESTS} requests");
            // The fake server answers over tokio's in-memory pipe, whose buffer the session's write may have to move.
            assert!(count < REQUESTS as u64 / 10, "{what}: {count} allocations");
        }
    });
}

/// A client that asks for answers of our own and never reads them.
#[test]
fn unread_answers_are_bounded() {
    run(async {
        let stage = Stage::new(Settings::default(), 1, &mut Random::new(1));
        for prelude in [Vec::new(), query("begin; select 'x'")] {
            let mut client = Client::enter(&stage, "alice").await;
            client.send(&prelude).await;
            let flood = close(b'S', "nothing").repeat(1000);
            let mut sent = 0;
            while let Ok(result) =
                tokio::time::timeout(Duration::from_secs(5), client.stream.write_all(&flood)).await
            {
                result.expect("it lives");
                sent += flood.len();
                assert!(sent < 16 << 20, "{sent} bytes were taken");
            }
            println!("{sent} bytes were taken");
        }
    });
}

/// A client slower than its server, with an answer larger than every buffer.
#[test]
fn a_slow_reader_gets_everything() {
    run(async {
        let stage = Stage::new(Settings::default(), 1, &mut Random::new(1));
        let mut client = Client::enter(&stage, "alice").await;
        client.send(&query("rows 100000 'some text that makes rows longer'")).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let answer = client.answer().await;
        assert_eq!(answer.len(), 100_003);
    });
}
