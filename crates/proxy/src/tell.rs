//! Answers to what a session asks of pgherd itself.

use crate::answer;
use crate::card::Doing;
use crate::checkout::Way;
use crate::routed::Would;
use crate::session::{End, Session};
use crate::wait::FRESH_PACE;
use pgherd_route::choose::Reason;
use pgherd_route::floor::Requirement;
use pgherd_route::intent::{Class, Routing};
use pgherd_route::rule::Rule;
use pgherd_session::asked::Asked;
use pgherd_topology::lsn::Lsn;
use pgherd_topology::node::NodeId;
use std::time::Duration;
use tokio::time::Instant;

/// Longest time a token is waited for: a look at the primary takes milliseconds, a commit that was not flushed less than this.
const PATIENCE: Duration = Duration::from_secs(1);

/// How one unit was routed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Why {
    node: NodeId,
    reason: Reason,
    class: Class,
    /// Only where statements are read.
    rule: Option<Rule>,
    /// Only in shadow.
    would: Option<Would>,
}

impl Session {
    /// What the unit at the front asks.
    pub(crate) fn asked(&self) -> Option<Asked> {
        self.machine.asked(self.desk.as_ref()?.up.undecided_bytes())
    }

    /// Lends the session the answer, so that any server can give it. False: there is none, and the client has been told.
    pub(crate) async fn tell(&mut self, asked: Asked) -> Result<bool, End> {
        let answer = match asked {
            Asked::Why => self.why_in_words(),
            Asked::Token => match self.token().await? {
                Some(token) => token,
                None => return self.refuse_with(answer::no_token()).map(|()| false),
            },
        };
        self.machine.lend(asked, &answer);
        Ok(true)
    }

    /// `TIMELINE/HIGH/LOW` of a position that covers all this session wrote; `None` when it cannot be found out in time.
    async fn token(&mut self) -> Result<Option<String>, End> {
        let deadline = Instant::now() + PATIENCE;
        self.entry.card.does(Doing::Waiting, self.shared.now());
        let follows = self.terms.routing == Routing::Any;
        if !follows {
            // Its writes are not followed: whatever it did counts as one, also what may not be flushed.
            self.machine.watch_commits();
            self.heed_settings();
            self.unflushed = self.is_asynchronous().then(|| self.shared.moment());
        }
        let mut counts = follows;
        loop {
            // Both before the look at what is known, so that nothing is missed in between.
            let mut changes = self.shared.cell.subscribe();
            let mut looks = self.shared.pools.common().gauges.subscribe();
            let snapshot = self.shared.cell.load_full();
            if let Some(primary) = snapshot.primary {
                let gauges = self.shared.pools.common().gauges.clone();
                if !std::mem::replace(&mut counts, true) {
                    self.floors.wrote(primary, gauges.of(primary).now());
                }
                self.wish.stale = false;
                self.wait_for_flush(&snapshot);
                let too_early = std::mem::take(&mut self.wish.stale);
                let timeline = snapshot.timeline.0;
                match self.floors.position(&snapshot, &gauges) {
                    Requirement::Reached(lsn) if !too_early => return Ok(Some(format!("{timeline}/{lsn}"))),
                    Requirement::Nothing if !too_early => return Ok(Some(format!("{timeline}/{}", Lsn(0)))),
                    Requirement::Reached(_) | Requirement::Nothing | Requirement::Unresolved => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait_for_news(&mut changes, Some(&mut looks), left.min(FRESH_PACE)).await?;
        }
    }

    /// A unit was routed.
    pub(crate) fn note_why(&mut self, way: &Way) {
        if self.machine.is_lent() {
            return;
        }
        let wish = &self.wish;
        let (class, rule, would) = (wish.class, wish.rule, wish.would);
        self.why = Some(Why { node: way.node, reason: way.reason, class, rule, would });
    }

    /// The last unit went to the primary because no replica was known to be fresh enough.
    pub(crate) fn was_not_fresh(&self) -> bool {
        self.why.is_some_and(|why| why.reason == Reason::NotFresh)
    }

    fn why_in_words(&self) -> String {
        let Some(Why { node, reason, class, rule, would }) = self.why else {
            return "nothing was routed yet".into();
        };
        let snapshot = self.shared.cell.load();
        let name = snapshot.node(node).map_or("?", |node| &node.name);
        let mut words = format!("node={name} reason={}", reason.word());
        if let Some(rule) = rule {
            words.push_str(&format!(" class={} rule={}", class.word(), rule.word()));
        }
        if let Some(would) = would {
            words.push_str(&format!(" shadow={}", would.word()));
        }
        words
    }
}
