//! The pure heart of a pool: who is idle, who waits, who is served next. No clock, no I/O; the pool keeps it under one short mutex.

use std::collections::VecDeque;

/// How often the head of the line may be passed over in favour of a waiter at the server's own home.
pub const MAX_SKIPPED: u32 = 32;

/// How deep into the stack of idle servers a better fitting one is looked for.
const LOOK: usize = 8;

/// A place in the line; rises with each arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Waiting<W> {
    ticket: Ticket,
    waiter: W,
}

#[derive(Debug)]
struct Home<S, W> {
    /// Idle servers, last used on top.
    idle: Vec<S>,
    /// Waiters of this home, oldest first.
    line: VecDeque<Waiting<W>>,
}

/// Idle servers (`S`) and waiters (`W`) of one pool. A home is the number of the worker whose event loop a server's socket or a session lives on.
#[derive(Debug)]
pub struct Shelf<S, W> {
    homes: Vec<Home<S, W>>,
    last: u64,
    /// How often the present head of the line was passed over.
    skipped: u32,
    idle: usize,
    waiting: usize,
}

impl<S, W> Shelf<S, W> {
    /// An empty shelf for this many homes (at least one).
    pub fn new(homes: usize) -> Shelf<S, W> {
        let home = || Home { idle: Vec::new(), line: VecDeque::new() };
        Shelf { homes: (0..homes.max(1)).map(|_| home()).collect(), last: 0, skipped: 0, idle: 0, waiting: 0 }
    }

    /// Idle servers.
    pub fn idle(&self) -> usize {
        self.idle
    }

    /// Waiters.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes an idle server: one of the own home that `fits`, any of the own home, or one of another home.
    pub fn take(&mut self, home: usize, fits: impl Fn(&S) -> bool) -> Option<S> {
        if self.idle == 0 {
            return None;
        }
        let own = home % self.homes.len();
        let from = if self.homes[own].idle.is_empty() {
            // The home with the most idle servers can best spare one.
            (0..self.homes.len()).max_by_key(|&at| self.homes[at].idle.len())?
        } else {
            own
        };
        let stack = &mut self.homes[from].idle;
        let top = stack.len().checked_sub(1)?;
        let best = stack.iter().rev().take(LOOK).position(fits).map_or(top, |depth| top - depth);
        self.idle -= 1;
        Some(stack.remove(best))
    }

    /// Stands in line. Only when there is no idle server.
    pub fn wait(&mut self, home: usize, waiter: W) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let own = home % self.homes.len();
        self.homes[own].line.push_back(Waiting { ticket, waiter });
        self.waiting += 1;
        ticket
    }

    /// Leaves the line; false when the waiter was served (or thrown out) already.
    pub fn abandon(&mut self, home: usize, ticket: Ticket) -> bool {
        let own = home % self.homes.len();
        let line = &mut self.homes[own].line;
        let Ok(at) = line.binary_search_by_key(&ticket, |waiting| waiting.ticket) else { return false };
        if self.head() == Some(own) && at == 0 {
            self.skipped = 0;
        }
        self.homes[own].line.remove(at);
        self.waiting -= 1;
        true
    }

    /// The home whose first waiter is the oldest of all.
    fn head(&self) -> Option<usize> {
        let first = |at: &usize| self.homes[*at].line.front().map(|waiting| waiting.ticket);
        (0..self.homes.len()).filter(|at| first(at).is_some()).min_by_key(first)
    }

    /// The waiter that a server of this home goes to: the oldest of the same home, but the head of the line is never passed over more than [`MAX_SKIPPED`] times.
    pub fn next(&mut self, home: usize) -> Option<W> {
        if self.waiting == 0 {
            return None;
        }
        let own = home % self.homes.len();
        let head = self.head()?;
        let from = if own != head && !self.homes[own].line.is_empty() && self.skipped < MAX_SKIPPED {
            self.skipped += 1;
            own
        } else {
            self.skipped = 0;
            head
        };
        self.waiting -= 1;
        self.homes[from].line.pop_front().map(|waiting| waiting.waiter)
    }

    /// Puts a server on the shelf. Only when nobody waits.
    pub fn put(&mut self, home: usize, server: S) {
        let own = home % self.homes.len();
        self.homes[own].idle.push(server);
        self.idle += 1;
    }

    /// Takes off all idle servers for which `gone` says so (oldest use first within a home).
    pub fn sweep(&mut self, mut gone: impl FnMut(&mut S) -> bool) -> Vec<S> {
        let mut taken = Vec::new();
        for home in &mut self.homes {
            taken.extend(home.idle.extract_if(.., |server| gone(server)));
        }
        self.idle -= taken.len();
        taken
    }

    /// Takes everybody out of the line for whom `gone` says so, oldest first within a home.
    pub fn dismiss(&mut self, mut gone: impl FnMut(&mut W) -> bool) -> Vec<W> {
        let mut taken = Vec::new();
        for home in &mut self.homes {
            let line = std::mem::take(&mut home.line);
            for mut waiting in line {
                if gone(&mut waiting.waiter) {
                    taken.push(waiting.waiter);
                } else {
                    home.line.push_back(waiting);
                }
            }
        }
        self.waiting -= taken.len();
        taken
    }

    /// Looks at every waiter.
    pub fn waiters(&self) -> impl Iterator<Item = &W> {
        self.homes.iter().flat_map(|home| home.line.iter().map(|waiting| &waiting.waiter))
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
