use super::*;
use proptest::prelude::*;

#[test]
fn last_used_first_and_own_home_first() {
    let mut shelf: Shelf<u32, u32> = Shelf::new(2);
    for (home, server) in [(0, 1), (0, 2), (1, 3)] {
        shelf.put(home, server);
    }
    assert_eq!(shelf.take(1, |_| false), Some(3));
    assert_eq!(shelf.take(1, |_| false), Some(2));
    assert_eq!(shelf.take(0, |_| true), Some(1));
    assert_eq!(shelf.take(0, |_| true), None);
}

#[test]
fn a_fitting_server_is_preferred() {
    let mut shelf: Shelf<u32, u32> = Shelf::new(1);
    (1..=4).for_each(|server| shelf.put(0, server));
    assert_eq!(shelf.take(0, |server| *server == 2), Some(2));
    assert_eq!(shelf.take(0, |server| *server == 9), Some(4));
}

#[test]
fn the_head_of_the_line_is_passed_over_at_most_so_often() {
    let mut shelf: Shelf<u32, u32> = Shelf::new(2);
    shelf.wait(0, 0);
    (1..=MAX_SKIPPED + 5).for_each(|waiter| {
        shelf.wait(1, waiter);
    });
    for turn in 0..MAX_SKIPPED {
        assert_eq!(shelf.next(1), Some(turn + 1));
    }
    assert_eq!(shelf.next(1), Some(0));
}

#[derive(Clone, Debug)]
enum Op {
    Arrive(usize),
    Release(usize),
    Abandon(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0usize..3).prop_map(Op::Arrive),
        (0usize..3).prop_map(Op::Release),
        (0usize..8).prop_map(Op::Abandon)
    ];
    prop::collection::vec(op, 1..400)
}

proptest! {
    /// No server and no waiter is ever lost or served twice, and nobody waits while a server is idle.
    #[test]
    fn conserves(ops in ops()) {
        const SERVERS: usize = 3;
        let mut shelf: Shelf<usize, u64> = Shelf::new(3);
        (0..SERVERS).for_each(|server| shelf.put(server, server));
        let (mut busy, mut waiting): (Vec<usize>, Vec<(u64, usize, Ticket)>) = (Vec::new(), Vec::new());
        let mut name = 0;
        for op in ops {
            match op {
                Op::Arrive(home) => match shelf.take(home, |_| false) {
                    Some(server) => busy.push(server),
                    None => {
                        name += 1;
                        let ticket = shelf.wait(home, name);
                        waiting.push((name, home, ticket));
                    }
                },
                Op::Release(home) => {
                    let Some(server) = busy.pop() else { continue };
                    match shelf.next(home) {
                        Some(waiter) => {
                            let at = waiting.iter().position(|(name, ..)| *name == waiter);
                            prop_assert!(at.is_some(), "served somebody who does not wait");
                            waiting.remove(at.unwrap());
                            busy.push(server);
                        }
                        None => shelf.put(home, server),
                    }
                }
                Op::Abandon(at) if !waiting.is_empty() => {
                    let (_, home, ticket) = waiting.remove(at % waiting.len());
                    prop_assert!(shelf.abandon(home, ticket));
                    prop_assert!(!shelf.abandon(home, ticket));
                }
                Op::Abandon(_) => {}
            }
            prop_assert_eq!(shelf.idle() + busy.len(), SERVERS);
            prop_assert_eq!(shelf.waiting(), waiting.len());
            prop_assert!(shelf.idle() == 0 || shelf.waiting() == 0);
        }
    }
}
