//! The choice a client's statement would meet, for somebody who only wants to know.

use crate::age;
use crate::fresh::need;
use crate::library::Known;
use crate::manner::Manner;
use crate::shared::Shared;
use crate::terms::{Refused, Terms};
use crate::wish::{Wish, context, read_text};
use pgherd_route::choose::{Decision, choose};
use pgherd_route::classify::combine;
use pgherd_route::digest::Taint;
use pgherd_route::explain::{standing, token};
use pgherd_route::floor::{Consistency, Floors, Need};
use pgherd_route::intent::{Preference, Routing};
use pgherd_route::verdict::{Span, Verdict};
use pgherd_session::step::Demand;
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;
use std::time::Duration;

/// Time an unread catalog is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Who would send which texts, and how.
#[derive(Clone, Debug)]
pub struct Question {
    /// Name of the listener that splits reads and writes.
    pub listener: String,
    /// Database, as clients name it.
    pub database: Arc<str>,
    /// User.
    pub user: Arc<str>,
    /// The texts, each by itself.
    pub texts: Vec<String>,
    /// A read-write transaction was begun in front of each.
    pub in_transaction: bool,
    /// `pgherd.read_preference` of the session.
    pub preference: Option<Preference>,
    /// `pgherd.consistency` of the session.
    pub consistency: Option<Consistency>,
}

/// What would become of them. The session is one that has neither written nor read yet.
#[derive(Debug)]
pub struct Explained {
    /// Database on the servers.
    pub database: Arc<str>,
    /// The catalog, when it is known.
    pub known: Option<Arc<Known>>,
    /// Why it is not.
    pub trouble: Option<String>,
    /// The topology it was chosen by.
    pub snapshot: Arc<Snapshot>,
    /// One for each text.
    pub answers: Vec<Answer>,
}

/// What would become of one text.
#[derive(Debug)]
pub struct Answer {
    /// What it is.
    pub verdict: Verdict,
    /// The token that decided.
    pub span: Span,
    /// What the catalog holds against that token.
    pub taint: Option<Taint>,
    /// Where it goes.
    pub decision: Decision,
    /// All nodes: may it be read from, and why (not)?
    pub nodes: Vec<(NodeId, bool, String)>,
}

/// Looks at the texts as a session would, and sends nothing anywhere. Opens the database's book, so it must run where sessions do.
///
/// # Errors
/// [`Refused`] when such a client would not be served.
pub async fn explain(shared: &Arc<Shared>, question: &Question) -> Result<Explained, Refused> {
    let steward = shared.steward.read().clone();
    let terms = steward.terms(&question.listener, &question.database, &question.user)?;
    let (book, known) = shared.library.look(shared, &terms.database, &terms.user, PATIENCE).await;
    let nothing = Known::default();
    let catalog = known.as_deref().unwrap_or(&nothing);
    let snapshot = shared.cell.load_full();
    let mut manner = Manner::default();
    (manner.preference, manner.consistency) = (question.preference, question.consistency);
    let context = context(&manner, catalog, question.in_transaction);
    let demand = Demand { lone: !question.in_transaction, ..Demand::default() };
    let answer = |text: &String| {
        let mut wish = Wish::before(demand, &manner, catalog, &terms);
        let verdict = combine([&read_text(Some(&book), text.as_bytes(), &context)], &context);
        if terms.routing == Routing::Any {
            wish.heed(&verdict);
            wish.stay_if(catalog.defaults.unclear);
        }
        let (span, taint) =
            token(text.as_bytes(), verdict.at, context.standard_conforming_strings, context.digest);
        let (decision, nodes) = decide(shared, &terms, &mut wish, &snapshot);
        Answer { verdict, span, taint, decision, nodes }
    };
    Ok(Explained {
        database: terms.database.clone(),
        answers: question.texts.iter().map(answer).collect(),
        trouble: book.trouble().filter(|_| known.is_none()),
        known: known.clone(),
        snapshot: snapshot.clone(),
    })
}

fn decide(
    shared: &Shared,
    terms: &Terms,
    wish: &mut Wish,
    snapshot: &Snapshot,
) -> (Decision, Vec<(NodeId, bool, String)>) {
    let cares = terms.routing == Routing::Any && wish.consistency != Consistency::Eventual;
    let needed = if cares {
        need(&mut Floors::default(), wish, || shared.written(&terms.database), terms, snapshot, shared)
    } else {
        Need::default()
    };
    let (stale, policy) = (wish.stale, shared.policy.load());
    let limit = age::limit(wish.max_staleness, snapshot, &policy);
    let young = |node| age::check(node, limit, snapshot, shared);
    let fresh = |node| !stale && needed.admits(node, &shared.pools.common().gauges).is_some();
    let mut random = [0; 8];
    (shared.random)(&mut random);
    let intent = wish.intent(terms.routing);
    let decision = choose(snapshot, &intent, &policy, u64::from_ne_bytes(random), |node| {
        young(node).is_ok() && fresh(node)
    });
    let nodes = snapshot.nodes.iter().map(|node| {
        let (may, why) = standing(node, snapshot, young(node.id), fresh(node.id));
        (node.id, may, why)
    });
    (decision, nodes.collect())
}
