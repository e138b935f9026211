//! What is remembered, as JSON. Numbers of 64 bits are texts, so that they survive readers that know only floating point.

use pgherd_failover::plan::{Debt, Frozen, Kind, Plan, Step};
use pgherd_failover::state::Memory;
use pgherd_failover::sync::Quorum;
use pgherd_topology::lsn::{Lsn, Timeline};
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) fn write(memory: &Memory) -> Value {
    json!({
        "system": memory.system.to_string(),
        "timeline": memory.timeline.0,
        "quorum": memory.quorum.as_ref().map(quorum),
        "plans": memory.plans.to_string(),
        "plan": memory.plan.as_ref().map(plan),
        "debts": memory.debts.iter().map(|(name, debt)| json!({
            "name": &**name, "conninfo": debt.conninfo.as_deref(), "held_down": debt.held_down,
        })).collect::<Vec<_>>(),
    })
}

fn quorum(quorum: &Quorum) -> Value {
    json!({ "needed": quorum.needed, "names": quorum.names.iter().map(|name| &**name).collect::<Vec<_>>() })
}

fn plan(plan: &Plan) -> Value {
    json!({
        "id": plan.id.to_string(),
        "kind": plan.kind.word(),
        "step": plan.step.word(),
        "old": plan.old.as_deref(),
        "candidate": plan.candidate.as_deref(),
        "source": plan.source.as_deref(),
        "timeline": plan.timeline.0,
        "known": plan.known.to_string(),
        "least": plan.least.to_string(),
        "allow_loss": plan.allow_loss,
        "reason": plan.reason,
        "frozen": plan.frozen.iter().map(|(name, frozen)| json!({
            "name": &**name, "at": frozen.at.map(|at| at.to_string()), "conninfo": &*frozen.conninfo,
        })).collect::<Vec<_>>(),
    })
}

/// `None`: it is damaged. What is not there was written by a version that did not know it.
pub(crate) fn read(text: &str) -> Option<Memory> {
    let value: Value = serde_json::from_str(text).ok()?;
    let there = |name: &str| value.get(name).filter(|value| !value.is_null());
    Some(Memory {
        system: number(value.get("system")?)?,
        timeline: timeline(value.get("timeline")?)?,
        quorum: match there("quorum") {
            Some(quorum) => Some(read_quorum(quorum)?),
            None => None,
        },
        plans: there("plans").map_or(Some(0), number)?,
        plan: match there("plan") {
            Some(plan) => Some(read_plan(plan)?),
            None => None,
        },
        debts: list(there("debts")).map(read_debt).collect::<Option<_>>()?,
    })
}

fn read_quorum(value: &Value) -> Option<Quorum> {
    let needed = usize::try_from(value.get("needed")?.as_u64()?).ok()?;
    let names = list(value.get("names")).map(|name| Some(name.as_str()?.into())).collect::<Option<_>>()?;
    Some(Quorum { needed, names })
}

fn read_debt(value: &Value) -> Option<(Arc<str>, Debt)> {
    let held_down = value.get("held_down")?.as_bool()?;
    Some((value.get("name")?.as_str()?.into(), Debt { conninfo: word(value, "conninfo"), held_down }))
}

fn read_plan(value: &Value) -> Option<Plan> {
    let frozen = |value: &Value| {
        let at = match word(value, "at") {
            Some(at) => Some(at.parse().ok()?),
            None => None,
        };
        let conninfo = word(value, "conninfo").unwrap_or_else(|| "".into());
        Some((value.get("name")?.as_str()?.into(), Frozen { at, conninfo }))
    };
    let kinds = [Kind::Failover, Kind::Switchover];
    let lsn = |name: &str| -> Option<Lsn> { value.get(name)?.as_str()?.parse().ok() };
    Some(Plan {
        id: number(value.get("id")?)?,
        kind: kinds.into_iter().find(|kind| Some(kind.word()) == value["kind"].as_str())?,
        step: Step::from_word(value.get("step")?.as_str()?)?,
        old: word(value, "old"),
        candidate: word(value, "candidate"),
        source: word(value, "source"),
        timeline: timeline(value.get("timeline")?)?,
        known: lsn("known")?,
        least: lsn("least")?,
        frozen: list(value.get("frozen")).map(frozen).collect::<Option<_>>()?,
        allow_loss: value.get("allow_loss")?.as_bool()?,
        reason: value.get("reason")?.as_str()?.to_owned(),
    })
}

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

fn timeline(value: &Value) -> Option<Timeline> {
    u32::try_from(value.as_u64()?).ok().map(Timeline)
}

fn word(value: &Value, name: &str) -> Option<Arc<str>> {
    value.get(name).and_then(Value::as_str).map(Arc::from)
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_comes_back() {
        let conninfo: Arc<str> = "host=db1 password='x\"y'".into();
        let frozen = Frozen { at: Some(Lsn(0x1_0000_0010)), conninfo: conninfo.clone() };
        let plan = Plan {
            id: u64::MAX,
            kind: Kind::Switchover,
            step: Step::Promote,
            old: Some("pg1".into()),
            candidate: Some("pg2".into()),
            source: None,
            timeline: Timeline(7),
            known: Lsn(1),
            least: Lsn(2),
            frozen: [("pg2".into(), frozen), ("pg3".into(), Frozen { at: None, conninfo: "".into() })].into(),
            allow_loss: true,
            reason: "asked".into(),
        };
        let memory = Memory {
            system: u64::MAX,
            timeline: Timeline(7),
            quorum: Some(Quorum { needed: 1, names: vec!["pg2".into()] }),
            plans: 3,
            plan: Some(plan),
            debts: [("pg3".into(), Debt { conninfo: Some(conninfo), held_down: true })].into(),
        };
        assert_eq!(read(&write(&memory).to_string()), Some(memory));
        let old = r#"{"system": "5", "timeline": 2}"#;
        assert_eq!(read(old), Some(Memory { system: 5, timeline: Timeline(2), ..Memory::default() }));
        assert_eq!(read(r#"{"system": "5", "timeline": 2, "plan": {"id": "1"}}"#), None);
    }
}
