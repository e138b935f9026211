//! Servers that write a log, stream it, fall behind, die, hang and fork.

use std::collections::BTreeMap;

/// Bytes a record of the log is long.
pub(crate) const RECORD: u64 = 100;

/// One record: the timeline it was written on, a number that no other has, and its place in the log.
pub(crate) type Record = (u32, u64, usize);

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) alive: bool,
    /// It accepts connections and does nothing else.
    pub(crate) hung: bool,
    pub(crate) standby: bool,
    pub(crate) timeline: u32,
    /// What it has on disk.
    pub(crate) log: Vec<Record>,
    /// Where it streams from; `None`: nowhere.
    pub(crate) upstream: Option<usize>,
    /// It was told to take no writes.
    pub(crate) read_only: bool,
    /// Whom its commits wait for: so many of these.
    pub(crate) quorum: Option<(usize, Vec<usize>)>,
    /// Grows with each start.
    pub(crate) life: i64,
    /// Ticks of a promotion still to go.
    pub(crate) promoting: Option<u32>,
}

impl Server {
    pub(crate) fn new(standby: bool) -> Server {
        Server {
            alive: true,
            hung: false,
            standby,
            timeline: 1,
            log: Vec::new(),
            upstream: standby.then_some(0),
            read_only: false,
            quorum: None,
            life: 1,
            promoting: None,
        }
    }

    pub(crate) fn works(&self) -> bool {
        self.alive && !self.hung
    }

    pub(crate) fn lsn(&self) -> u64 {
        1000 + self.log.len() as u64 * RECORD
    }

    /// What this one has is a beginning of what the other has. A record has come to both from where it was written, with all before it.
    pub(crate) fn is_behind(&self, other: &Server) -> bool {
        self.log.last().is_none_or(|last| other.has(last))
    }

    pub(crate) fn has(&self, record: &Record) -> bool {
        self.log.get(record.2) == Some(record)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let role = if self.standby { "standby" } else { "primary" };
        let (life, from, last) = (self.life, self.upstream, self.log.last());
        write!(f, "{role} on {} at {last:?} from {from:?}, life {life}", self.timeline)?;
        let states = [(!self.alive, ", dead"), (self.hung, ", hung"), (self.read_only, ", read only")];
        states.iter().filter(|(is, _)| *is).try_for_each(|(_, word)| f.write_str(word))
    }
}

/// Links that are cut, one way each: from, to. The controller is the number after the last server.
pub(crate) type Cuts = BTreeMap<(usize, usize), ()>;

/// What one tick does to all servers.
pub(crate) fn tick(servers: &mut [Server], cuts: &Cuts) {
    for index in 0..servers.len() {
        promote(servers, index);
        stream(servers, index, cuts);
    }
}

fn promote(servers: &mut [Server], index: usize) {
    let server = &mut servers[index];
    if !server.works() {
        return;
    }
    match server.promoting {
        Some(0) => {
            server.promoting = None;
            server.standby = false;
            server.timeline += 1;
            server.upstream = None;
        }
        Some(left) => server.promoting = Some(left - 1),
        None => {}
    }
}

/// A standby gets some records of what it lacks, if its log is a beginning of its upstream's.
fn stream(servers: &mut [Server], index: usize, cuts: &Cuts) {
    let Some(from) = streams_from(servers, index, cuts) else { return };
    let (have, more) = (servers[index].log.len(), 3);
    let records: Vec<Record> = servers[from].log.iter().skip(have).take(more).copied().collect();
    let timeline = servers[from].timeline;
    let server = &mut servers[index];
    server.log.extend(records);
    server.timeline = server.timeline.max(timeline);
}

/// The server it receives from now.
pub(crate) fn streams_from(servers: &[Server], index: usize, cuts: &Cuts) -> Option<usize> {
    let server = &servers[index];
    let from = server.upstream.filter(|_| server.works() && server.standby && server.promoting.is_none())?;
    let cut = cuts.contains_key(&(from, index)) || cuts.contains_key(&(index, from));
    let sends = servers[from].works() && servers[from].timeline >= server.timeline;
    (!cut && sends && server.is_behind(&servers[from])).then_some(from)
}
