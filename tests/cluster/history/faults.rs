//! What happens to the servers meanwhile: replicas that lag, die and come back, connections that end, a primary that is restarted.
use crate::ledger::Ledger;
use crate::random::Dice;
use pgherd_lab::lab::Lab;
use pgherd_lab::node::{Mode, Node};
use std::time::{Duration, Instant};

/// Longest pause between two faults, and longest time a replica stands still, in milliseconds.
const LONGEST: u64 = 1200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Replay of one replica, or of all, stands still for a while.
    Pause { all: bool },
    /// One replica replays each commit late, until it is told otherwise.
    Delay(&'static str),
    /// One replica dies and comes back, behind what it has shown.
    Kill,
    /// Some connections to one node are ended.
    Terminate,
    /// The connection that looks at one node's log is ended.
    Blind,
    /// The primary is restarted.
    Restart,
}

/// Each kind comes up once in a round, in an order that is drawn.
const ROUND: [Fault; 13] = [
    Fault::Pause { all: false },
    Fault::Pause { all: false },
    Fault::Pause { all: true },
    Fault::Delay("60ms"),
    Fault::Delay("400ms"),
    Fault::Delay("0"),
    Fault::Kill,
    Fault::Kill,
    Fault::Terminate,
    Fault::Terminate,
    Fault::Blind,
    Fault::Blind,
    Fault::Restart,
];

/// Goes on until the time is over, then sets everything right. Gives the number of faults.
pub(crate) async fn rage(lab: &Lab, ledger: &Ledger, mut dice: Dice, until: Instant) -> usize {
    let mut count = 0;
    'all: loop {
        let mut round = ROUND;
        dice.shuffle(&mut round);
        for fault in round {
            let (pause, which, length) = (dice.below(LONGEST / 2), dice.roll(), dice.below(LONGEST));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            if Instant::now() >= until {
                break 'all;
            }
            println!("{:.3} s: {fault:?}", ledger.when());
            happen(lab, fault, which, Duration::from_millis(length)).await;
            count += 1;
        }
    }
    for node in lab.replicas() {
        delay(node, "0").await;
    }
    count
}

async fn happen(lab: &Lab, fault: Fault, which: u64, length: Duration) {
    let pick = |nodes: &[Node]| usize::try_from(which % nodes.len() as u64).unwrap();
    let replica = &lab.replicas()[pick(lab.replicas())];
    let any = &lab.nodes()[pick(lab.nodes())];
    match fault {
        Fault::Pause { all } => {
            let victims = if all { lab.replicas() } else { std::slice::from_ref(replica) };
            for node in victims {
                run(node, "SELECT pg_wal_replay_pause()").await;
            }
            tokio::time::sleep(length).await;
            for node in victims {
                run(node, "SELECT pg_wal_replay_resume()").await;
            }
        }
        // Always the same one, so that the other has a chance to keep up.
        Fault::Delay(time) => delay(&lab.replicas()[0], time).await,
        Fault::Kill => {
            replica.kill9().await.unwrap();
            tokio::time::sleep(length / 4).await;
            start(replica).await;
        }
        Fault::Terminate => {
            let text = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND (pid + {}) % 3 = 0",
                which % 3
            );
            run(any, &text).await;
        }
        Fault::Blind => {
            let text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE pid <> pg_backend_pid() AND query LIKE '%pg_last_wal_replay_lsn()::text%'";
            run(any, text).await;
        }
        Fault::Restart => {
            lab.primary().stop(Mode::Fast).await.unwrap();
            lab.primary().start().await.unwrap();
        }
    }
}

pub(crate) async fn run(node: &Node, text: &str) {
    node.sql("postgres", text).await.unwrap();
}

async fn delay(node: &Node, time: &str) {
    run(node, &format!("ALTER SYSTEM SET recovery_min_apply_delay = '{time}'")).await;
    node.reload();
}

/// Starts a node that was killed. While a process of its old life is still ending, PostgreSQL refuses.
async fn start(node: &Node) {
    for _ in 0..40 {
        if node.start().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    node.start().await.unwrap();
}
