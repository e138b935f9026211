//! Promotions that others make, and what they cost those who are connected.

mod story;

use pgherd_failover::event::Action;
use pgherd_failover::journal::Kind;
use pgherd_failover::observation::FailureKind;
use pgherd_failover::policy::Policy;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::time::Duration;
use story::{Story, primary, standby};

#[test]
fn a_promotion_makes_connections_stale_once_however_it_is_seen() {
    // A server that makes a checkpoint before it leaves recovery shows its new timeline first.
    let mut story = Story::steady(3);
    let before = story.valid_since(1);
    let mut leaving = standby(2, 1100);
    leaving.receiver = None;
    story.later(1).sees(1, leaving);
    assert_eq!(story.valid_since(1), before, "it takes no writes yet");
    story.later(1).sees(1, primary(2, 1100));
    let promoted = story.valid_since(1);
    assert_eq!((story.routed(), promoted), (Some(1), story.snapshot.epoch));
    story.later(1).sees(1, primary(2, 1200));
    assert_eq!(story.valid_since(1), promoted);

    // The other way round: the role first. That is two claims to one timeline, until the new one is seen.
    let mut story = Story::steady(3);
    for _ in 0..3 {
        story.later(1).misses(0, FailureKind::Refused);
    }
    story.later(1).sees(1, primary(1, 1100));
    let promoted = story.valid_since(1);
    assert_eq!((story.routed(), promoted), (None, story.snapshot.epoch));
    story.later(1).sees(1, primary(2, 1100));
    assert_eq!((story.routed(), story.valid_since(1)), (Some(1), promoted));
}

#[test]
fn a_standby_that_follows_keeps_who_reads_from_it() {
    let mut story = Story::steady(3);
    let reading = story.valid_since(2);
    story.later(1).sees(1, primary(2, 1100));
    story.later(1).sees(2, standby(2, 1100));
    assert_eq!((story.ineligible(2), story.valid_since(2)), (None, reading));
}

#[test]
fn a_change_of_primary_says_which_timeline_it_ended() {
    let mut story = Story::steady(3);
    story.later(1).sees(1, primary(2, 1100));
    let ended: Vec<_> =
        story.journal.iter().filter(|line| line.kind == Kind::Routed).map(|line| line.ended).collect();
    assert_eq!(ended, [None, Some((Timeline(1), Lsn(1000)))]);
}

#[test]
fn an_old_primary_is_called_what_it_is() {
    let mut story = Story::steady(3);
    story.later(1).sees(1, primary(2, 1100));
    let old = story.state.member(NodeId(0)).expect("pg0");
    let told = old.told(old.ineligible.as_ref().expect("kept away"));
    assert_eq!(told, "accepts writes on timeline 1 without being the routed primary");
    let plan = pgherd_failover::candidate::plan(&story.state);
    let why = plan.unfit.iter().find(|(id, _)| *id == NodeId(0)).map(|(_, why)| why.to_string());
    assert_eq!(why.as_deref(), Some("is no standby"));
}

#[test]
fn a_start_that_ends_well_accuses_nobody() {
    for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1]] {
        let mut story = Story::new(Policy::default(), 3);
        for node in order {
            story.sees(node, if node == 0 { primary(1, 1000) } else { standby(1, 1000) });
        }
        assert_eq!(story.routed(), Some(0));
        assert_eq!(story.count(Kind::Ineligible), 0, "{:?}", story.last(Kind::Ineligible));
    }
}

/// When the next look at a node is due.
fn due(story: &mut Story, node: u16, lsn: u64, replayed: u64) -> Duration {
    let mut facts = if node == 0 { primary(1, lsn) } else { standby(1, lsn) };
    facts.replayed = Lsn(replayed);
    let output = story.sees(node, facts);
    let mut orders = output.actions.iter().rev().filter_map(|action| match action {
        Action::Probe { node: whom, at } if whom.0 == node => Some(*at),
        _ => None,
    });
    orders.next().expect("somebody looks again")
}

#[test]
fn a_paused_replica_leaves_soon_after_its_limit() {
    let limit = Duration::from_secs(5);
    let mut story = Story::steady(2);
    let paused = story.now;
    let mut dues = [story.now, story.now];
    while story.ineligible(1).is_none() {
        let node = u16::from(dues[1] < dues[0]);
        story.now = story.now.max(dues[usize::from(node)]);
        let written = 1000 + story.now.as_millis() as u64;
        let replayed = if node == 0 { written } else { 1000 };
        dues[usize::from(node)] = due(&mut story, node, written, replayed);
        assert!(story.now < paused + limit * 2, "it is read from for too long");
    }
    assert_eq!(story.ineligible(1), Some("lag_seconds"));
    let late = story.now - paused - limit;
    assert!(late <= limit / 4, "noticed {late:?} late");
}

#[test]
fn lag_compares_positions_of_one_moment() {
    let mut story = Story::steady(2);
    story.later(1).sees(0, primary(1, 2000));
    story.sees(1, standby(1, 2000));
    // Much is written after the standby was looked at: that is no lag of the standby's.
    story.later(1).sees(0, primary(1, 9_000_000));
    let member = story.state.member(NodeId(1)).expect("pg1");
    assert_eq!((member.lag_bytes, member.receive_lag), (Some(0), Some(0)));
}
