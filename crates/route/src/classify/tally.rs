//! From the statements of one unit to one verdict: the worst decides, and a block is followed from BEGIN to COMMIT.

use crate::rule::Rule;
use crate::verdict::{Access, Class, Verdict};

/// A block that was opened in the unit and is still open.
#[derive(Debug)]
struct Block {
    access: Access,
    serializable: bool,
    /// Why it must be on the primary, and where that stands.
    rule: Rule,
    at: usize,
}

/// What was added so far.
#[derive(Debug)]
pub struct Tally {
    total: Verdict,
    block: Option<Block>,
    in_transaction: bool,
}

impl Tally {
    /// Nothing was added. `in_transaction`: a block is open in front of the unit.
    pub fn new(in_transaction: bool) -> Tally {
        let total = Verdict { statements: 0, ..Verdict::new(Class::Read, Rule::Empty, 0) };
        Tally { total, block: None, in_transaction }
    }

    /// The next statement, or the next text.
    pub fn add(&mut self, one: &Verdict) {
        let total = &mut self.total;
        total.hint = total.hint.and(one.hint);
        if total.rule == Rule::Empty {
            (total.rule, total.at) = (one.rule, one.at);
        }
        total.statements += one.statements;
        total.pins |= one.pins;
        total.touches_session |= one.touches_session;
        total.speaks_of_commit |= one.speaks_of_commit;
        total.sets_locally |= one.sets_locally;
        total.control.begins |= one.control.begins;
        total.control.ends |= one.control.ends;
        total.control.serializable |= one.control.serializable;
        total.needs_block = one.needs_block;
        total.subject = one.subject.filter(|_| total.statements == 1);
        match one.class {
            Class::BeginReadOnly | Class::BeginReadWrite => self.begin(one),
            Class::End => self.end(one),
            _ => self.inside(one),
        }
    }

    fn begin(&mut self, one: &Verdict) {
        if self.block.is_some() || (self.in_transaction && !one.control.ends) {
            // PostgreSQL warns and changes nothing.
            return self.total.raise(Class::Session, one.rule, one.at);
        }
        let access = one.control.leaves_open.unwrap_or(Access::ReadWrite);
        self.block =
            Some(Block { access, serializable: one.control.serializable, rule: one.rule, at: one.at });
    }

    fn end(&mut self, one: &Verdict) {
        let ended = self.block.take();
        let chains = one.control.begins;
        if chains && ended.is_none() && !self.in_transaction {
            return self.total.raise(Class::Error, Rule::NeedsBlock, one.at);
        }
        if let Some(block) = &ended {
            if block.access == Access::ReadWrite {
                let rule = if block.rule == Rule::Begin { Rule::Block } else { block.rule };
                self.total.raise(Class::Write, rule, block.at);
            }
        } else {
            self.total.raise(Class::End, Rule::End, one.at);
        }
        self.in_transaction = false;
        if chains {
            let chained = Block { access: Access::ReadWrite, serializable: true, rule: one.rule, at: one.at };
            self.block = Some(ended.map_or(chained, |block| Block { rule: one.rule, at: one.at, ..block }));
        }
    }

    fn inside(&mut self, one: &Verdict) {
        let Some(block) = &mut self.block else {
            let lonely = one.rule == Rule::Savepoint && !self.in_transaction;
            let (class, rule) = if lonely { (Class::Error, Rule::NeedsBlock) } else { (one.class, one.rule) };
            self.total.control.mode = one.control.mode.or(self.total.control.mode);
            return self.total.raise(class, rule, one.at);
        };
        match one.control.mode {
            Some(Access::ReadOnly) if block.rule == Rule::Begin && !block.serializable => {
                block.access = Access::ReadOnly;
            }
            Some(_) => (block.access, block.rule, block.at) = (Access::ReadWrite, one.rule, one.at),
            None => {}
        }
        if one.class > Class::Session && block.access == Access::ReadOnly {
            (block.access, block.rule, block.at) = (Access::ReadWrite, one.rule, one.at);
        }
        self.total.raise(one.class, one.rule, one.at);
    }

    /// The verdict on all of it.
    pub fn finish(mut self) -> Verdict {
        let outside = self.block.is_none() && !self.in_transaction;
        let total = &mut self.total;
        if total.needs_block && total.statements == 1 && outside {
            total.raise(Class::Error, Rule::NeedsBlock, total.at);
        }
        total.control.leaves_open = self.block.as_ref().map(|block| block.access);
        if let Some(block) = self.block
            && total.class != Class::Error
        {
            let movable = block.access == Access::ReadOnly && total.class <= Class::Session;
            if !movable {
                total.control.leaves_open = Some(Access::ReadWrite);
            }
            total.class = if movable { Class::BeginReadOnly } else { Class::BeginReadWrite };
            (total.rule, total.at) = (block.rule, block.at);
        }
        self.total
    }
}
