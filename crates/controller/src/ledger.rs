//! The journal as people read it: a bounded tail in memory, every line in the log, and a file if there is a place.

use crate::clock::Clock;
use pgherd_failover::journal::{Entry, Kind};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines kept in memory.
pub const TAIL: usize = 512;
/// Lines that may wait for the disk; more are dropped from the file (never from memory or the log).
const WAITING: usize = 1024;
/// Size at which the file is put aside as `journal.jsonl.1`, replacing the one before.
const MAX_FILE: u64 = 16 << 20;
/// Name of the file under `state_dir`.
const NAME: &str = "journal.jsonl";

/// A journal line with its wall-clock time.
#[derive(Clone, Debug)]
pub struct Line {
    /// When, for people.
    pub time: SystemTime,
    /// The line.
    pub entry: Entry,
}

/// Where lines go.
pub(crate) struct Ledger {
    clock: Clock,
    tail: VecDeque<Arc<Line>>,
    shared: Arc<[Arc<Line>]>,
    file: Option<SyncSender<String>>,
}

impl Ledger {
    /// A ledger that also writes into `directory` when one is given. A file that cannot be opened is an error; one that
    /// fails later is reported in the log and given up.
    pub(crate) fn open(clock: Clock, directory: Option<&Path>) -> io::Result<Ledger> {
        let file = match directory {
            None => None,
            Some(directory) => {
                fs::create_dir_all(directory)?;
                let path = directory.join(NAME);
                let file = OpenOptions::new().create(true).append(true).open(&path)?;
                let (sender, lines) = sync_channel(WAITING);
                // A thread of its own: a slow disk must not delay a probe. It ends when the ledger is dropped.
                std::thread::Builder::new()
                    .name("pgherd-journal".to_owned())
                    .spawn(move || write_lines(file, &path, &lines))?;
                Some(sender)
            }
        };
        Ok(Ledger { clock, tail: VecDeque::with_capacity(TAIL), shared: Arc::from([]), file })
    }

    /// Takes the lines of one step.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        for entry in entries {
            log(&entry);
            let line = Line { time: self.clock.wall(entry.at), entry };
            if let Some(file) = &self.file
                && file.try_send(render(&line)).is_err()
            {
                tracing::warn!("a journal line was not written to the file: the disk is too slow or failed");
            }
            if self.tail.len() == TAIL {
                self.tail.pop_front();
            }
            self.tail.push_back(Arc::new(line));
        }
        self.shared = self.tail.iter().cloned().collect();
    }

    /// The tail, oldest line first.
    pub(crate) fn tail(&self) -> Arc<[Arc<Line>]> {
        self.shared.clone()
    }
}

fn log(entry: &Entry) {
    let (kind, phase, node, text) = (entry.kind.word(), entry.phase.word(), &*entry.name, &*entry.text);
    match entry.kind {
        Kind::Lost | Kind::Fenced | Kind::Down | Kind::Refused | Kind::Plan => {
            tracing::warn!(kind, phase, node, "{text}");
        }
        Kind::Added
        | Kind::Discovered
        | Kind::Removed
        | Kind::Changed
        | Kind::Up
        | Kind::Role
        | Kind::Restarted
        | Kind::Timeline
        | Kind::Eligible
        | Kind::Ineligible
        | Kind::Routed
        | Kind::Unfenced
        | Kind::Advice
        | Kind::Phase => tracing::info!(kind, phase, node, "{text}"),
    }
}

fn render(line: &Line) -> String {
    let since = line.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = json!({
        "unix_ms": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        "phase": line.entry.phase.word(),
        "kind": line.entry.kind.word(),
        "node": &*line.entry.name,
        "text": line.entry.text,
    })
    .to_string();
    text.push('\n');
    text
}

fn write_lines(mut file: File, path: &Path, lines: &Receiver<String>) {
    let mut size = file.metadata().map_or(0, |data| data.len());
    while let Ok(line) = lines.recv() {
        let written = put_aside(&mut file, path, &mut size).and_then(|()| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, path = %path.display(), "the journal file failed, no more is written to it");
            return;
        }
        size += line.len() as u64;
    }
}

fn put_aside(file: &mut File, path: &Path, size: &mut u64) -> io::Result<()> {
    if *size >= MAX_FILE {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, PathBuf::from(aside))?;
        *file = OpenOptions::new().create(true).append(true).open(path)?;
        *size = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgherd_failover::phase::Phase;
    use std::time::Duration;

    fn entry(number: usize) -> Entry {
        let text = format!("line \"{number}\"\n");
        Entry {
            at: Duration::ZERO,
            phase: Phase::Steady,
            kind: Kind::Up,
            node: None,
            name: "pg1".into(),
            text,
            ended: None,
        }
    }

    #[tokio::test]
    async fn the_tail_is_bounded_and_the_file_has_one_line_each() {
        let directory = std::env::temp_dir().join(format!("pgherd-ledger-{}", std::process::id()));
        let mut ledger = Ledger::open(Clock::start(), Some(&directory)).unwrap();
        for number in 0..TAIL + 10 {
            ledger.write(vec![entry(number)]);
        }
        let tail = ledger.tail();
        assert_eq!((tail.len(), &*tail[0].entry.text), (TAIL, "line \"10\"\n"));
        let path = directory.join(NAME);
        for _ in 0..200 {
            if fs::read_to_string(&path).unwrap().lines().count() == TAIL + 10 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), TAIL + 10);
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["kind"], "up");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}
