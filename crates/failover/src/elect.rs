//! Who is promoted: among those that receive nothing more, the one that has most.

use crate::member::Member;
use crate::plan::Plan;
use crate::policy::Strategy;
use crate::state::State;
use crate::sync::{Quorum, application_name};
use pgherd_topology::lsn::Lsn;
use pgherd_topology::node::Role;
use std::cmp::Reverse;
use std::sync::Arc;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elected {
    pub(crate) candidate: Arc<str>,
    /// What it must have when it is promoted.
    pub(crate) least: Lsn,
    /// Who has it, if the candidate does not.
    pub(crate) source: Option<Arc<str>>,
}

/// Compares what the frozen standbys have. `Err`: why nobody is promoted.
pub(crate) fn elect(state: &State, plan: &Plan) -> Result<Elected, String> {
    let frozen: Vec<(&Member, Lsn)> = plan
        .frozen
        .iter()
        .filter_map(|(name, frozen)| Some((state.named(name)?, frozen.at?)))
        .filter(|(member, _)| member.belongs_to(state.system) && member.role() == Role::Standby)
        .filter(|(member, _)| member.timeline() == plan.timeline)
        .collect();
    let Some(most) = frozen.iter().map(|(_, at)| *at).max() else {
        return Err("no standby could be frozen".to_owned());
    };
    if let Some(quorum) = state.quorum.as_ref().filter(|_| !plan.allow_loss) {
        let name = |(member, _): &(&Member, Lsn)| {
            let frozen = plan.frozen.get(&member.spec.name);
            let called = frozen.and_then(|frozen| application_name(&frozen.conninfo));
            // Names are compared as PostgreSQL does: without regard to case.
            called.unwrap_or_else(|| member.spec.name.to_string()).to_lowercase()
        };
        let names: Vec<String> = frozen.iter().map(name).collect();
        enough(quorum, &names)?;
    }
    let lost = plan.known.max(plan.least).bytes_since(most);
    let accepts = plan.allow_loss || state.policy.strategy == Strategy::Automatic;
    let limit = state.policy.maximum_lag_on_failover.filter(|limit| lost > *limit && !accepts);
    if let Some(limit) = limit {
        return Err(format!(
            "{lost} bytes that the old primary is known to have had are on no standby, more than maximum_lag_on_failover {limit}"
        ));
    }
    let wanted = |member: &Member| match &plan.candidate {
        Some(name) => *name == member.spec.name,
        None => !member.spec.tags.nofailover && member.spec.tags.failover_priority > 0,
    };
    let fit = frozen.iter().filter(|(member, _)| wanted(member) && member.fenced.is_none());
    let best = fit.max_by_key(|(member, at)| (*at, member.spec.tags.failover_priority, Reverse(member.id)));
    let Some((candidate, at)) = best else {
        return Err(match &plan.candidate {
            Some(name) => format!("{name} could not be frozen"),
            None => "no standby that may be promoted could be frozen".to_owned(),
        });
    };
    let source = frozen.iter().find(|(_, has)| *has == most && *has > *at);
    Ok(Elected {
        candidate: candidate.spec.name.clone(),
        least: most,
        source: source.map(|(member, _)| member.spec.name.clone()),
    })
}

/// Each set of standbys that may have confirmed a commit has a frozen member.
fn enough(quorum: &Quorum, frozen: &[String]) -> Result<(), String> {
    let members = quorum.names.len();
    let have = quorum.names.iter().filter(|name| frozen.contains(&name.to_lowercase())).count();
    // Any `needed` of the members may be those that confirmed.
    if have + quorum.needed > members {
        return Ok(());
    }
    Err(format!(
        "{have} of {members} synchronous standbys could be frozen; with {needed} needed for a commit that does not prove that nothing confirmed is lost",
        needed = quorum.needed
    ))
}
