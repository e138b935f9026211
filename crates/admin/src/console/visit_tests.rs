use super::*;
use crate::console::office::{Acting, Standing};
use parking::Gate;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::watch::{Sender, channel};

/// Something a test can hold up.
mod parking {
    use tokio::sync::Semaphore;

    #[derive(Default)]
    pub(super) struct Gate(tokio::sync::OnceCell<Semaphore>);

    impl Gate {
        pub(super) async fn pass(&self) {
            let gate = self.0.get_or_init(|| async { Semaphore::new(0) }).await;
            gate.acquire().await.expect("never closed").forget();
        }

        pub(super) async fn open(&self) {
            self.0.get_or_init(|| async { Semaphore::new(0) }).await.add_permits(1);
        }
    }
}

#[derive(Default)]
struct Fake {
    gate: Gate,
    asked: AtomicUsize,
    resumed: AtomicUsize,
}

struct Door(Arc<Fake>);

impl Office for Door {
    fn rows(&self, show: Show) -> Vec<Row> {
        vec![vec![Cell::Number(1); show.columns().len()]]
    }

    fn settings(&self) -> Vec<String> {
        vec!["pool.mode".into()]
    }

    fn databases(&self) -> Vec<String> {
        vec!["app".into()]
    }

    fn act(&self, act: Act) -> Acting {
        let fake = self.0.clone();
        Box::pin(async move {
            match act {
                Act::Pause(_) => fake.gate.pass().await,
                Act::Resume(_) => drop(fake.resumed.fetch_add(1, Ordering::Relaxed)),
                _ => return Err(Report::new(Severity::Error, "55000", "no")),
            }
            Ok(())
        })
    }

    fn asked(&self) {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
    }
}

struct Stage {
    client: DuplexStream,
    calls: Sender<Call>,
    fake: Arc<Fake>,
    visit: tokio::task::JoinHandle<()>,
}

impl Stage {
    async fn begin() -> Stage {
        let (client, server) = duplex(1 << 20);
        let (calls, receiver) = channel(Call::Nothing);
        let fake = Arc::new(Fake::default());
        let speaker = Speaker {
            user: "u".into(),
            database: "pgherd".into(),
            standing: Standing::Admin,
            version: "pgherd 0".into(),
        };
        let arrival = Arrival {
            speaker,
            pid: 7,
            secret: vec![1, 2, 3, 4].into(),
            unsent: BytesMut::from(&b"R\0\0\0\x08\0\0\0\0"[..]),
            unread: BytesMut::new(),
            calls: receiver,
        };
        let visit = tokio::spawn(visit(server, arrival, Arc::new(Door(fake.clone()))));
        let mut stage = Stage { client, calls, fake, visit };
        let tags = stage.hear().await;
        assert!(tags.starts_with('R') && tags.ends_with("KZ"), "{tags}");
        stage
    }

    async fn say(&mut self, text: &str) {
        let mut out = BytesMut::new();
        write::query(&mut out, text.as_bytes());
        self.client.write_all(&out).await.unwrap();
    }

    /// Tags of what comes, up to ReadyForQuery or the end.
    async fn hear(&mut self) -> String {
        let mut tags = String::new();
        loop {
            let mut head = [0; 5];
            if self.client.read_exact(&mut head).await.is_err() {
                return tags;
            }
            tags.push(char::from(head[0]));
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            let mut body = vec![0; length];
            self.client.read_exact(&mut body).await.unwrap();
            if head[0] == b'Z' {
                return tags;
            }
        }
    }
}

#[tokio::test]
async fn tables_and_refusals() {
    let mut stage = Stage::begin().await;
    stage.say("SHOW POOLS").await;
    assert_eq!(stage.hear().await, "TDCZ");
    stage.say("RELOAD").await;
    assert_eq!(stage.hear().await, "EZ");
    assert_eq!(stage.fake.asked.load(Ordering::Relaxed), 2);
    drop(stage.client);
    stage.visit.await.unwrap();
}

#[tokio::test]
async fn a_pause_waits_and_can_be_given_up() {
    let mut stage = Stage::begin().await;
    stage.say("PAUSE").await;
    stage.fake.gate.open().await;
    assert_eq!(stage.hear().await, "CZ");
    // A cancel request that comes too late is no reason to give up the next command.
    stage.calls.send_replace(Call::Cancel);
    tokio::task::yield_now().await;
    stage.say("SHOW LISTS; PAUSE").await;
    tokio::task::yield_now().await;
    while stage.fake.asked.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    stage.calls.send_replace(Call::Cancel);
    assert_eq!(stage.hear().await, "TDCEZ");
    assert_eq!(stage.fake.resumed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn whoever_hangs_up_waits_no_longer_and_undoes_nothing() {
    let mut stage = Stage::begin().await;
    stage.say("PAUSE").await;
    while stage.fake.asked.load(Ordering::Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    drop(stage.client);
    stage.visit.await.unwrap();
    assert_eq!(stage.fake.resumed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn whoever_is_called_away_is_told_why() {
    let mut stage = Stage::begin().await;
    stage.calls.send_replace(Call::Leave(Report::new(Severity::Fatal, "57P01", "bye")));
    assert_eq!(stage.hear().await, "E");
    stage.visit.await.unwrap();
}

#[tokio::test]
async fn bad_bytes_end_the_visit_with_a_reason() {
    let mut stage = Stage::begin().await;
    stage.client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stage.hear().await, "E");
    stage.visit.await.unwrap();
}
