//! What would become of statements: from the question over HTTP to the proxy's answer, and into words.

use crate::app::House;
use crate::config::words::ListenerRouting;
use pgherd_admin::explain::{Catalog, Explanation, Question, Standing, Verdict};
use pgherd_proxy::explain::{Answer, Explained};
use pgherd_proxy::terms::Refused;
use pgherd_route::choose::Decision;
use pgherd_route::digest::{Digest, Taint};
use pgherd_route::explain as words;
use pgherd_route::floor::Consistency;
use pgherd_route::intent::Preference;
use pgherd_route::rule::Rule;
use pgherd_route::verdict::{self, Span};
use pgherd_topology::node::NodeId;
use pgherd_topology::snapshot::Snapshot;
use std::sync::Arc;

/// Answers a question for the port that splits reads and writes.
///
/// # Errors
/// A sentence about what is wrong with the question.
pub async fn explain(house: Arc<House>, question: Question) -> Result<Explanation, String> {
    let asked = translate(&house, question)?;
    // Opening a book is a session's business: it is done where sessions live, and the probes are not kept waiting.
    let worker = house.workers.first().ok_or("there is no worker")?;
    let shared = house.shared.clone();
    let task = worker.runtime.spawn(async move {
        let found = pgherd_proxy::explain::explain(&shared, &asked).await;
        (asked, found)
    });
    let (asked, found) = task.await.map_err(|_| "the explanation was given up")?;
    match found {
        Ok(found) => Ok(explanation(&asked, &found)),
        Err(Refused::UnknownDatabase) => Err(format!("no database \"{}\" is served here", asked.database)),
    }
}

/// Fills in what was not said.
fn translate(house: &House, question: Question) -> Result<pgherd_proxy::explain::Question, String> {
    let settings = house.settings.read().clone();
    let splits = settings.listeners.iter().find(|listener| listener.routing == ListenerRouting::Any);
    let listener = splits.ok_or("no listener splits reads and writes (listen.any is off)")?;
    let first = settings.databases.first().map(|database| database.name.clone());
    let database = question.database.or(first).unwrap_or_else(|| settings.cluster.database.clone());
    let known = || house.shared.library.of_database(&database).map(|book| book.user().to_string());
    let named = || settings.users.first().map(|user| user.name.clone());
    let user = question.user.or_else(known).or_else(named).unwrap_or_else(|| settings.cluster.user.clone());
    Ok(pgherd_proxy::explain::Question {
        listener: listener.name.clone(),
        database: database.into(),
        user: user.into(),
        texts: question.statements,
        in_transaction: question.in_transaction,
        preference: word(question.read_preference, "read preference", Preference::from_word)?,
        consistency: word(question.consistency, "consistency", Consistency::from_word)?,
    })
}

fn word<T>(word: Option<String>, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, String> {
    let Some(word) = word else { return Ok(None) };
    read(&word).map(Some).ok_or_else(|| format!("\"{word}\" is no {what}"))
}

fn explanation(asked: &pgherd_proxy::explain::Question, found: &Explained) -> Explanation {
    let catalog = match &found.known {
        Some(known) => Catalog {
            loaded: true,
            epoch: known.digest.epoch(),
            names: known.digest.len(),
            splitting_off: known.digest.splitting_off().map(String::from),
            trouble: None,
        },
        None => Catalog { trouble: found.trouble.clone(), ..Catalog::default() },
    };
    let nothing = Digest::not_loaded();
    let digest = found.known.as_ref().map_or(&nothing, |known| &known.digest);
    let one = |(text, answer): (&String, &Answer)| {
        let mut told = tell(text, &answer.verdict, answer.span, answer.taint, digest);
        choice(&mut told, &answer.decision, &found.snapshot);
        let standing = |(id, eligible, why): &(NodeId, bool, String)| Standing {
            name: name(&found.snapshot, *id),
            eligible: *eligible,
            why: why.clone(),
        };
        told.nodes = answer.nodes.iter().map(standing).collect();
        told
    };
    Explanation {
        database: found.database.to_string(),
        user: asked.user.to_string(),
        catalog,
        verdicts: asked.texts.iter().zip(&found.answers).map(one).collect(),
    }
}

/// A verdict in words, without a choice.
pub fn tell(
    text: &str,
    verdict: &verdict::Verdict,
    span: Span,
    taint: Option<Taint>,
    digest: &Digest,
) -> Verdict {
    let mut why = words::rule(verdict.rule).to_string();
    let against = matches!(
        verdict.rule,
        Rule::TaintedFunction | Rule::TaintedRelation | Rule::TaintedType | Rule::TaintedOperator
    );
    if let (true, Some(taint)) = (against, taint) {
        let name = text.get(span.start..span.end).unwrap_or_default();
        why = format!("{why}: {name} {}", words::taint(taint));
    }
    if let (Rule::SplittingOff, Some(what)) = (verdict.rule, digest.splitting_off()) {
        why = format!("{why}: {what}");
    }
    Verdict {
        class: verdict.class.word(),
        means: words::class(verdict.class),
        rule: verdict.rule.word(),
        why,
        at: verdict.at,
        end: span.end,
        statements: verdict.statements,
        hint: words::hint(&verdict.hint),
        ..Verdict::default()
    }
}

fn choice(told: &mut Verdict, decision: &Decision, snapshot: &Snapshot) {
    let (target, reason, why) = match decision {
        Decision::Node { node, reason, .. } => {
            told.node = Some(name(snapshot, *node));
            let target = if snapshot.primary == Some(*node) { "primary" } else { "replica" };
            (target, reason.word(), words::reason(*reason).to_string())
        }
        Decision::Wait(want) => ("wait", want.word(), format!("it waits for {}", words::want(*want))),
        Decision::Refuse(why) => ("refuse", why.word(), format!("it is refused with {}", why.sqlstate())),
    };
    (told.target, told.reason, told.reason_why) = (target, reason, why);
}

fn name(snapshot: &Snapshot, id: NodeId) -> String {
    snapshot.node(id).map_or_else(|| format!("node-{}", id.0), |node| node.name.to_string())
}
