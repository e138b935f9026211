//! Running a request again: on the primary, when a replica refused it for a reason of its own; with its text, when what stood for that on a server is out of
//! date.

use crate::checkout::Held;
use crate::session::{Fate, Session};
use pgherd_session::cached::Omen;
use pgherd_session::outlook::Outlook;
use pgherd_topology::node::NodeId;
use pgherd_wire::frame::HEADER_LEN;

/// Most bytes of a replica's answer that are held back to see whether it is a refusal. Rows are never held back for one.
const HELD_BACK: usize = 16 * 1024;

impl Session {
    /// Looks at the answer before anything of it is decided. While it is not known what it will be, the chance stays.
    pub(crate) fn look_ahead(&mut self) -> Option<Fate> {
        let desk = self.desk.as_mut()?;
        let again = desk.up.can_rewind() && self.machine.can_rewind();
        let (bytes, _) = desk.down.parts();
        match self.machine.outlook(bytes) {
            Outlook::Open if again && bytes.len() < HELD_BACK => {
                self.want_down = bytes.len() + 1;
                return None;
            }
            // Without a primary the replica's own words are the best there are.
            Outlook::Refusal(state) if again && self.shared.cell.load().primary.is_some() => {
                return Some(Fate::Refused(state));
            }
            Outlook::Open | Outlook::Answer | Outlook::Refusal(_) => {}
        }
        self.chance = false;
        None
    }

    /// Looks at the first answer of a server that has a statement of ours where the client has an unnamed one. `Ok(false)`: more of it must be there.
    pub(crate) fn look_for_outdated(&mut self) -> Result<bool, Fate> {
        let Some(desk) = self.desk.as_mut() else { return Ok(true) };
        let again = desk.up.can_rewind() && self.machine.can_rewind();
        let (bytes, _) = desk.down.parts();
        match self.machine.omen(bytes) {
            Omen::Open if again && bytes.len() < HELD_BACK => {
                self.want_down = bytes.len() + 1;
                Ok(false)
            }
            Omen::Outdated if again => Err(Fate::Outdated),
            Omen::Open | Omen::Good | Omen::Outdated => Ok(true),
        }
    }

    /// Nothing of the answer reached the client, and nothing was executed: the request is shown again, and this time its text goes to the server.
    pub(crate) fn run_with_text(&mut self, held: Held) {
        self.machine.shun();
        let node = self.show_again(held);
        tracing::debug!(session = self.entry.card.id, node = node.0, "an unnamed statement was out of date");
    }

    /// Nothing of the answer reached the client, and a replica changed nothing: the request is shown to the primary.
    pub(crate) fn run_again(&mut self, held: Held, state: [u8; 5]) {
        let node = self.show_again(held);
        if matches!(&state, b"25006" | b"0A000") {
            // It will say so again; the other refusals pass.
            self.burn();
        }
        self.wish.refused = true;
        self.worker.counters.refusals.add(1);
        tracing::debug!(session = self.entry.card.id, node = node.0, state = %state.escape_ascii(), "run again on the primary");
    }

    fn show_again(&mut self, held: Held) -> NodeId {
        let node = held.node;
        let _ = self.card().let_go();
        if self.machine.has_read() {
            // Of a transaction that goes on.
            self.note_floors(&held);
        }
        // What it still has to say is nobody's; that it is closed costs less than to find out what it has learned.
        let (server, pool) = held.give();
        pool.forget(server);
        self.machine.rewind();
        if let Some(desk) = self.desk.as_mut() {
            let undecided = desk.down.undecided();
            desk.down.plan().skip(undecided);
            desk.up.rewind();
        }
        self.want_up = HEADER_LEN;
        node
    }
}
