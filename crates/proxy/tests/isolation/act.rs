//! What a random client does next.

use crate::support::message::{bind, close, describe, execute, flush, parse, query, sync};
use crate::support::random::Random;

/// One message of an extended batch.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Parse { name: String, text: String },
    Bind { name: String, parameter: String },
    Describe { name: String },
    Execute,
    Close { name: String },
    Flush,
}

impl Op {
    pub(crate) fn bytes(&self, takes_parameter: bool) -> Vec<u8> {
        match self {
            Op::Parse { name, text } => parse(name, text),
            Op::Bind { name, parameter } if takes_parameter => bind("", name, &[parameter]),
            Op::Bind { name, .. } => bind("", name, &[]),
            Op::Describe { name } => describe(b'S', name),
            Op::Execute => execute(""),
            Op::Close { name } => close(b'S', name),
            Op::Flush => flush(),
        }
    }
}

/// What ends with one ReadyForQuery.
#[derive(Clone, Debug)]
pub(crate) enum Unit {
    /// Statements of one simple query.
    Simple(Vec<String>),
    /// An extended batch with its Sync.
    Batch(Vec<Op>),
    /// The same, but its answers are read after a Flush, before the Sync is sent.
    Flushed(Vec<Op>),
    /// COPY FROM STDIN of so many lines; fails it at the end when told.
    CopyIn(String, u64, bool),
}

impl Unit {
    /// What is sent at first.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Unit::Simple(texts) => query(&texts.join("; ")),
            Unit::Batch(ops) => [ops_bytes(ops), sync()].concat(),
            Unit::Flushed(ops) => [ops_bytes(ops), flush()].concat(),
            Unit::CopyIn(tag, ..) => query(&format!("copyin '{tag}'")),
        }
    }

    /// True when its answer need not be read before more is sent.
    pub(crate) fn pipelines(&self) -> bool {
        matches!(self, Unit::Simple(_) | Unit::Batch(_))
    }

    /// True when nothing pipelined behind it depends on whether all of it ran. What a name means to later batches while it is not known whether the batch that
    /// gave or took it failed is decided when they are sent; PostgreSQL would decide later.
    pub(crate) fn may_be_followed(&self) -> bool {
        let names = |op: &Op| matches!(op, Op::Parse { name, .. } | Op::Close { name } if !name.is_empty());
        match self {
            Unit::Simple(_) => true,
            Unit::Batch(ops) => !ops.iter().any(names),
            Unit::Flushed(_) | Unit::CopyIn(..) => false,
        }
    }
}

fn ops_bytes(ops: &[Op]) -> Vec<u8> {
    ops.iter().flat_map(|op| op.bytes(true)).collect()
}

/// Draws units; every tag begins with the client's own name.
pub(crate) struct Muse {
    pub(crate) me: String,
    pub(crate) random: Random,
    serial: u64,
}

const NAMES: [&str; 4] = ["s0", "s1", "s2", "s3"];

impl Muse {
    pub(crate) fn new(me: &str, random: Random) -> Muse {
        Muse { me: me.into(), random, serial: 0 }
    }

    pub(crate) fn tag(&mut self) -> String {
        self.serial += 1;
        format!("{}.{}", self.me, self.serial)
    }

    fn setting(&mut self) -> &'static str {
        ["app.x", "app.y", "application_name"][self.random.below(3) as usize]
    }

    /// A statement; every one takes a parameter in the extended protocol, used or not.
    fn statement(&mut self) -> String {
        let tag = self.tag();
        match self.random.below(24) {
            0 => format!("fail '{tag}'"),
            1..=3 => format!("set {} to '{tag}'", self.setting()),
            4 => format!("set local app.x to '{tag}'"),
            5 => format!("reset app.{}", if self.random.one_in(2) { "x" } else { "y" }),
            6..=9 => format!("show {}", self.setting()),
            10 => format!("notice '{tag}'"),
            11 => format!("rows {} '{tag}'", self.random.below(40)),
            12 => format!("big {} '{tag}'", self.random.below(2000)),
            13 => format!("sleep {} '{tag}'", self.random.below(30)),
            14 => format!("copyout {} '{tag}'", self.random.below(30)),
            // Nobody vouches for it: it takes a transaction that only reads to the primary.
            15 => format!("select nobody_knows('{tag}')"),
            _ => format!("select '{tag}'"),
        }
    }

    fn control(&mut self) -> String {
        let all = ["begin", "begin read only", "commit", "rollback", "commit", "rollback"];
        all[self.random.below(6) as usize].into()
    }

    fn prepared_text(&mut self) -> String {
        match self.random.below(8) {
            0..=2 => format!("select 'any.{}', $1", self.random.below(4)),
            3..=4 => format!("select '{}', $1", self.tag()),
            5 if self.random.one_in(4) => format!("broken {}", self.tag()),
            _ => self.statement(),
        }
    }

    fn name(&mut self) -> String {
        NAMES[self.random.below(4) as usize].into()
    }

    fn ops(&mut self) -> Vec<Op> {
        let mut ops = Vec::new();
        for _ in 0..=self.random.below(4) {
            let name = if self.random.one_in(3) { String::new() } else { self.name() };
            if self.random.one_in(3) || name.is_empty() && !self.random.one_in(4) {
                if !name.is_empty() && self.random.one_in(2) {
                    ops.push(Op::Close { name: name.clone() });
                }
                ops.push(Op::Parse { name: name.clone(), text: self.prepared_text() });
            }
            if self.random.one_in(4) {
                ops.push(Op::Describe { name: name.clone() });
            }
            if !self.random.one_in(6) {
                ops.push(Op::Bind { name: name.clone(), parameter: self.tag() });
                ops.push(Op::Execute);
            }
            match self.random.below(10) {
                0 => ops.push(Op::Flush),
                1 => ops.push(Op::Close { name: self.name() }),
                _ => {}
            }
        }
        ops
    }

    pub(crate) fn unit(&mut self) -> Unit {
        match self.random.below(20) {
            0..=4 => Unit::Simple(vec![self.statement()]),
            5 => Unit::Simple((0..=self.random.below(3)).map(|_| self.statement()).collect()),
            6..=8 => Unit::Simple(vec![self.control()]),
            9 => {
                let (name, text) = (String::new(), self.control());
                let bind = Op::Bind { name: name.clone(), parameter: self.tag() };
                Unit::Batch(vec![Op::Parse { name, text }, bind, Op::Execute])
            }
            10 => Unit::Flushed(self.ops()),
            11 => Unit::CopyIn(self.tag(), self.random.below(20), self.random.one_in(3)),
            12 if self.random.one_in(4) => Unit::Simple(Vec::new()),
            _ => Unit::Batch(self.ops()),
        }
    }
}
