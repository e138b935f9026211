//! Other sessions of the same pool, who do everything that must not be felt by their neighbours.
use pgherd_tests::raw::{Raw, frame};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What they say, in turn. Anything that makes a session keep its server ends with the next DISCARD ALL.
const SAYINGS: [&str; 14] = [
    "SET search_path TO noise; SET DateStyle TO 'German'; SET application_name TO 'noise'",
    "SELECT * FROM item",
    "BEGIN; SET TimeZone TO 'Asia/Tokyo'; SET LOCAL work_mem TO '77MB'; ROLLBACK",
    "BEGIN; SET statement_timeout TO '3min'; SELECT 1; COMMIT",
    "SELECT 1/0",
    "BEGIN; SELECT 1/0",
    "ROLLBACK",
    "SET client_encoding TO 'LATIN1'; SET extra_float_digits TO 0; SET my.own TO 'noise'; SET bytea_output TO escape",
    "PREPARE s1 AS SELECT 'noise'; PREPARE a AS SELECT 'noise'",
    "CREATE TEMP TABLE item (noise int)",
    "SET ROLE other",
    "DISCARD ALL",
    "BEGIN; DECLARE c CURSOR FOR SELECT 'noise' FROM generate_series(1, 10); FETCH 2 FROM c; SAVEPOINT a",
    "ROLLBACK",
];

/// Sessions that go on until this is dropped.
pub(crate) struct Noise {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Noise {
    pub(crate) fn start(port: u16, user: &'static str, database: &'static str, sessions: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..sessions)
            .map(|number| {
                let stop = stop.clone();
                std::thread::spawn(move || make(port, [user, database], number, &stop))
            })
            .collect();
        Self { stop, threads }
    }

    /// Ends them; how many things each one said.
    pub(crate) fn stop(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("noise has no surprises")).collect()
    }
}

fn make(port: u16, [user, database]: [&str; 2], number: usize, stop: &AtomicBool) -> usize {
    let mut said = 0;
    while said == 0 || !stop.load(Ordering::Relaxed) {
        let settings = [
            ("user", user),
            ("database", database),
            ("application_name", "noise"),
            ("options", "-c geqo=off"),
        ];
        let mut raw = Raw::connect(port, &settings, "").expect("pgherd listens");
        assert!(raw.is_in(), "noise was refused: {:?}", raw.login.last());
        for turn in 0..SAYINGS.len() * 3 {
            if said > 0 && stop.load(Ordering::Relaxed) {
                break;
            }
            raw.query(SAYINGS[(turn + number * 5) % SAYINGS.len()]);
            prepared(&mut raw, turn);
            said += 1;
        }
    }
    said
}

/// The same names that scripts use, for other statements.
fn prepared(raw: &mut Raw, turn: usize) {
    let mut batch = Vec::new();
    for name in ["s1", "a", ""] {
        let sql = format!("SELECT 'noise {turn}', $1::int");
        batch.extend(frame(b'C', format!("S{name}\0").as_bytes()));
        batch.extend(frame(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat()));
        batch.extend(frame(b'B', &[b"\0", name.as_bytes(), b"\0\0\0\0\x01\0\0\0\x017\0\0"].concat()));
        batch.extend(frame(b'E', b"\0\0\0\0\0"));
    }
    batch.extend(frame(b'S', b""));
    let _ = raw.send(&batch);
    raw.until_ready();
}
