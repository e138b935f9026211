//! Stories of single clusters, told event by event.

mod story;

use pgherd_failover::event::{Action, Change, Event, Hint};
use pgherd_failover::journal::Kind;
use pgherd_failover::observation::{FailureKind, Peer, Receiver};
use pgherd_failover::phase::Phase;
use pgherd_failover::policy::{Limits, Policy, Spec};
use pgherd_failover::state::{Memory, State};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::{Address, NodeId, Tags};
use std::time::Duration;
use story::{SYSTEM, Story, primary, standby};

#[test]
fn nothing_is_published_before_everybody_was_tried_once() {
    let mut story = Story::new(Policy::default(), 3);
    story.sees(0, primary(1, 1000));
    story.sees(1, standby(1, 1000));
    assert_eq!(story.snapshot.epoch, 0);
    story.misses(2, FailureKind::Timeout);
    assert_eq!((story.snapshot.epoch, story.routed()), (1, Some(0)));
    assert_eq!(story.ineligible(1), None);
    assert_eq!(story.ineligible(2), Some("down"));
    assert_eq!(story.state.phase().0, Phase::Steady);
}

#[test]
fn standbys_seen_before_their_primary_have_a_lag_at_once() {
    let mut story = Story::new(Policy::default(), 2);
    story.sees(1, standby(1, 900));
    story.sees(0, primary(1, 1000));
    let node = story.snapshot.node(NodeId(1)).expect("published");
    assert_eq!((node.lag_bytes, node.lag_time), (Some(100), Some(Duration::ZERO)));
}

#[test]
fn two_nodes_out_of_recovery_on_one_timeline_route_nothing() {
    let mut story = Story::new(Policy::default(), 2);
    story.sees(0, primary(1, 1000));
    story.sees(1, primary(1, 900));
    assert_eq!(story.routed(), None);
    assert!(story.last(Kind::Refused).contains("both out of recovery"));
    // One of them dying does not make the other the right one.
    story.later(1).misses(1, FailureKind::Refused);
    story.later(1).sees(0, primary(1, 1000));
    assert_eq!(story.routed(), None);
    story.later(1).sees(1, standby(1, 1000));
    assert_eq!(story.routed(), Some(0));
    assert_eq!(story.count(Kind::Refused), 1, "a standing reason is written once");
}

#[test]
fn at_the_start_the_newer_timeline_wins_and_the_other_is_fenced() {
    let mut story = Story::new(Policy::default(), 3);
    story.sees(0, primary(1, 5000));
    story.sees(1, primary(2, 1000));
    story.sees(2, standby(2, 1000));
    assert_eq!(story.routed(), Some(1));
    assert_eq!(story.ineligible(0), Some("fenced"));
    let since = story.valid_since(0);
    story.later(1).sees(0, standby(2, 1000));
    assert_eq!(story.ineligible(0), None);
    assert!(story.valid_since(0) > since, "a changed role makes old connections stale");
}

#[test]
fn a_standby_on_a_newer_timeline_is_enough_to_distrust_an_old_primary() {
    let mut story = Story::new(Policy::default(), 3);
    story.sees(0, primary(1, 5000));
    story.misses(1, FailureKind::Timeout);
    story.sees(2, standby(2, 1000));
    assert_eq!(story.routed(), None);
    assert!(story.last(Kind::Refused).contains("timeline 2 exists"), "{}", story.last(Kind::Refused));
}

#[test]
fn what_was_routed_before_a_restart_of_pgherd_is_remembered() {
    let mut story = Story::new(Policy::default(), 0);
    story.state = State::new(
        Policy::default(),
        Some(Memory { system: SYSTEM, timeline: Timeline(2), ..Memory::default() }),
    );
    story.happens(Event::Added(Spec::new("pg0", Address::Tcp("db".into(), 5432))));
    story.sees(0, primary(1, 5000));
    assert_eq!(story.routed(), None);
    assert_eq!(story.ineligible(0), Some("fenced"));
}

#[test]
fn a_promotion_behind_our_back_is_followed_and_the_old_primary_fenced() {
    let mut story = Story::steady(3);
    assert_eq!(story.routed(), Some(0));
    let (old, heir) = (story.valid_since(0), story.valid_since(1));
    story.later(1).sees(1, primary(2, 1100));
    assert_eq!(story.routed(), Some(1));
    assert!(story.valid_since(0) > old && story.valid_since(1) > heir);
    assert_eq!(story.ineligible(0), Some("fenced"));
    assert_eq!(story.ineligible(2), Some("other_timeline"));
    assert!(story.last(Kind::Lost).contains("pg1 was promoted to timeline 2"));
    story.later(1).sees(0, primary(1, 9000));
    assert_eq!(story.routed(), Some(1), "the old one stays out although it has more");
    story.later(1).misses(1, FailureKind::Refused);
    story.later(1).misses(1, FailureKind::Refused);
    story.later(1).misses(1, FailureKind::Refused);
    story.sees(0, primary(1, 9000));
    assert_eq!(story.routed(), None);
}

#[test]
fn a_stranger_that_claims_a_newer_timeline_does_not_unseat_a_living_primary() {
    let mut story = Story::steady(2);
    story.happens(Event::Added(Spec::new("stranger", Address::Tcp("elsewhere".into(), 5432))));
    story.sees(2, primary(9, 10));
    assert_eq!(story.routed(), Some(0));
    assert_eq!(story.ineligible(2), Some("fenced"));
    assert!(story.last(Kind::Fenced).contains("not known to descend"));
    story.happens(Event::Added(Spec::new("foreign", Address::Tcp("elsewhere".into(), 5433))));
    let mut foreign = primary(1, 10);
    foreign.system = 5;
    story.sees(3, foreign);
    assert_eq!((story.routed(), story.ineligible(3)), (Some(0), Some("foreign_system")));
}

#[test]
fn nodes_of_different_systems_route_nothing_at_the_start() {
    let mut story = Story::new(Policy::default(), 2);
    let mut foreign = standby(1, 1000);
    foreign.system = 5;
    story.sees(0, primary(1, 1000));
    story.sees(1, foreign);
    assert_eq!(story.routed(), None);
    assert_eq!(story.ineligible(1), Some("foreign_system"));
    story.happens(Event::Removed(NodeId(1)));
    assert_eq!(story.routed(), Some(0));
}

#[test]
fn a_dead_primary_parks_clients_and_the_journal_says_what_would_be_done() {
    let mut story = Story::steady(3);
    story.later(5).sees(0, primary(1, 5000));
    story.sees(1, standby(1, 4000));
    story.sees(2, standby(1, 4500));
    story.later(1).misses(0, FailureKind::Timeout);
    assert_eq!((story.routed(), story.state.phase().0), (Some(0), Phase::Suspecting));
    story.later(1).misses(0, FailureKind::Timeout);
    let parked = story.later(1).misses(0, FailureKind::Timeout);
    assert_eq!((story.routed(), story.state.phase().0), (None, Phase::Halted));
    assert_eq!(story.snapshot.phase, "halted");
    assert!(story.last(Kind::Advice).contains("would promote pg2 (received 0/1194, 500 bytes"));
    let asked = |id| {
        parked
            .actions
            .iter()
            .any(|action| matches!(action, Action::Probe { node, .. } if *node == NodeId(id)))
    };
    assert!(asked(0) && asked(1) && asked(2), "everybody is asked now");
    // Reads go on although nobody streams any more.
    let mut orphan = standby(1, 4500);
    orphan.receiver = None;
    story.sees(2, orphan);
    assert_eq!(story.ineligible(2), None);
    // It was only away: the same primary, the same connections.
    let since = story.valid_since(0);
    story.later(3).sees(0, primary(1, 5000));
    assert_eq!((story.routed(), story.valid_since(0)), (Some(0), since));
    assert_eq!(story.ineligible(2), Some("not_streaming"));
}

#[test]
fn a_restart_leaves_connections_made_since_alone() {
    let mut story = Story::steady(2);
    let since = story.valid_since(1);
    let mut again = standby(1, 1000);
    again.started = 2;
    story.later(1).misses(1, FailureKind::Refused);
    assert_eq!(story.ineligible(1), Some("down"));
    story.later(1).sees(1, again);
    // The older ones ended with their postmaster; by now there are new ones.
    assert_eq!(story.valid_since(1), since);
    assert_eq!(story.ineligible(1), None);
}

#[test]
fn what_a_living_server_answers_never_costs_the_primary_its_route() {
    for kind in
        [FailureKind::Rejected, FailureKind::TooManyConnections, FailureKind::Query, FailureKind::Local]
    {
        let mut story = Story::steady(2);
        for _ in 0..20 {
            story.later(1).misses(0, kind);
        }
        assert_eq!(story.routed(), Some(0), "{kind:?}");
    }
}

#[test]
fn crash_recovery_and_a_partition_of_ours_are_recognized() {
    let mut story = Story::steady(2);
    for _ in 0..3 {
        story.later(1).misses(0, FailureKind::StartingUp);
    }
    assert_eq!(story.routed(), None);
    assert!(story.last(Kind::Advice).contains("starting up"));

    let mut story = Story::steady(2);
    for _ in 0..3 {
        story.later(1).misses(0, FailureKind::ShuttingDown);
    }
    assert!(story.last(Kind::Advice).contains("still shutting down"), "{}", story.last(Kind::Advice));
    story.later(1).misses(0, FailureKind::Refused);
    assert!(story.last(Kind::Advice).contains("only advises"), "{}", story.last(Kind::Advice));

    let mut story = Story::steady(2);
    for _ in 0..3 {
        story.later(1).misses(0, FailureKind::Timeout);
    }
    let mut fresh = standby(1, 1100);
    let silent = Some(Duration::from_millis(1));
    fresh.receiver = Some(Receiver { status: Some("streaming".into()), silent, ..Receiver::default() });
    story.sees(1, fresh);
    assert!(story.last(Kind::Advice).contains("pg1 still receives WAL"), "{}", story.last(Kind::Advice));
}

#[test]
fn lag_excludes_and_comes_back_with_hysteresis() {
    let mut story = Story::steady(2);
    let limit = 100u64 << 20;
    story.later(1).sees(0, primary(1, limit + 2000));
    story.sees(1, standby(1, 1000));
    assert_eq!(story.ineligible(1), Some("lag_bytes"));
    story.later(1).sees(1, standby(1, 2000 + limit / 10));
    assert_eq!(story.ineligible(1), Some("lag_bytes"), "90% of the limit is not enough to return");
    story.later(1).sees(1, standby(1, 2000 + limit * 3 / 10));
    assert_eq!(story.ineligible(1), None);

    // Seconds: the replay stands still while the primary moves on.
    for _ in 0..7 {
        let flushed = story.state.member(NodeId(0)).expect("pg0").facts.as_ref().expect("seen").received.0;
        story.later(1).sees(0, primary(1, flushed + 10_000));
    }
    story.sees(1, standby(1, limit + 2000));
    assert_eq!(story.ineligible(1), Some("lag_seconds"));
    story.later(3600).sees(0, primary(1, limit + 72_000));
    story.sees(1, standby(1, limit + 72_000));
    assert_eq!(story.ineligible(1), None, "an idle hour is no lag");
}

#[test]
fn own_limits_weight_tags_and_draining_are_obeyed() {
    let mut story = Story::steady(2);
    let mut change = |change| {
        story.happens(Event::Changed(NodeId(1), change));
        story.ineligible(1)
    };
    assert_eq!(change(Change::Weight(0)), Some("zero_weight"));
    assert_eq!(change(Change::Weight(10)), None);
    assert_eq!(change(Change::Tags(Tags { noloadbalance: true, ..Tags::default() })), Some("noloadbalance"));
    assert_eq!(change(Change::Tags(Tags::default())), None);
    assert_eq!(change(Change::Draining(true)), Some("draining"));
    assert_eq!(change(Change::Draining(false)), None);
    assert_eq!(change(Change::Fenced(true)), Some("fenced"));
    story.later(1).sees(1, standby(1, 1000));
    assert_eq!(story.ineligible(1), Some("fenced"), "an operator's fence is an operator's to end");
}

#[test]
fn without_auto_remediate_a_replica_waits_for_an_operator() {
    let mut story = Story::steady(2);
    story.happens(Event::Reloaded(Policy { auto_remediate: false, ..Policy::default() }));
    story.later(1).misses(1, FailureKind::Refused);
    assert_eq!(story.ineligible(1), Some("down"));
    story.later(1).sees(1, standby(1, 1000));
    assert_eq!(story.ineligible(1), Some("draining"));
    story.happens(Event::Changed(NodeId(1), Change::Draining(false)));
    assert_eq!(story.ineligible(1), None);
}

#[test]
fn a_hint_hastens_one_probe_and_decides_nothing() {
    let mut story = Story::steady(2);
    story.later(2);
    let epoch = story.snapshot.epoch;
    let output = story.happens(Event::Hinted(NodeId(0), Hint::Reset));
    assert_eq!(output.actions, [Action::Probe { node: NodeId(0), at: story.now }]);
    assert!(
        output.snapshot.is_none_or(|snapshot| snapshot.epoch == epoch && snapshot.primary == Some(NodeId(0)))
    );
    story.misses(0, FailureKind::Refused);
    let output = story.happens(Event::Hinted(NodeId(0), Hint::Refused));
    assert_eq!(output.actions, [], "a suspicious node is looked at fast enough");
}

#[test]
fn positions_are_renewed_at_most_once_a_second_without_a_new_epoch() {
    let mut story = Story::steady(2);
    let epoch = story.snapshot.epoch;
    let mut renewals = 0;
    for round in 0..100u64 {
        story.now += Duration::from_millis(40);
        let output = story.sees(0, primary(1, 2000 + round));
        renewals += usize::from(output.snapshot.is_some());
        assert!(output.snapshot.is_some() || output.wake_at.is_some_and(|at| at > story.now));
    }
    assert_eq!(story.snapshot.epoch, epoch);
    assert!((4..=6).contains(&renewals), "{renewals}");
}

#[test]
fn the_pace_is_calm_in_peace_and_fast_in_trouble() {
    let mut story = Story::steady(2);
    let next = |output: pgherd_failover::event::Output, now: Duration| match output.actions.last() {
        Some(Action::Probe { at, .. }) => at.saturating_sub(now),
        other => panic!("{other:?}"),
    };
    let output = story.later(1).sees(1, standby(1, 1000));
    assert_eq!(next(output, story.now), Duration::from_secs(1), "a fifth of the lag limit");
    let limits = Limits { max_lag: Some(Duration::from_secs(60)), ..Limits::default() };
    story.happens(Event::Changed(NodeId(1), Change::Limits(limits)));
    let output = story.later(1).sees(1, standby(1, 1000));
    assert_eq!(next(output, story.now), Duration::from_secs(5), "its own limit asks for less");
    let limits = Limits { max_lag: Some(Duration::from_millis(10)), ..Limits::default() };
    story.happens(Event::Changed(NodeId(1), Change::Limits(limits)));
    for (node, facts) in [(0, primary(1, 1000)), (1, standby(1, 1000))] {
        let output = story.later(1).sees(node, facts);
        assert_eq!(next(output, story.now), Duration::from_millis(200), "tight, but not without end");
    }
    let output = story.later(1).misses(1, FailureKind::Timeout);
    assert_eq!(next(output, story.now), Duration::from_secs(1));
}

#[test]
fn standbys_seen_at_the_primary_join_once() {
    let mut story = Story::steady(2);
    story.happens(Event::Reloaded(Policy { auto_discover: true, ..Policy::default() }));
    let peer = |name: &str, host: &str, logical| Peer {
        name: name.into(),
        address: Some(host.into()),
        state: "streaming".into(),
        sync_state: "async".into(),
        replayed: Some(Lsn(1)),
        logical,
    };
    let mut facts = primary(1, 2000);
    facts.peers = [
        peer("pg1", "10.0.0.1", false),
        peer("pg9", "10.0.0.9", false),
        peer("walreceiver", "10.0.0.8", false),
        peer("pg_receivewal", "10.0.0.7", false),
        peer("subscription", "10.0.0.6", true),
    ]
    .into();
    for _ in 0..3 {
        story.later(1).sees(0, facts.clone());
    }
    let names: Vec<_> = story.snapshot.nodes.iter().map(|node| &*node.name).collect();
    assert_eq!(names, ["pg0", "pg1", "pg9", "10.0.0.8:5432"]);
    assert_eq!(story.count(Kind::Discovered), 2);
    assert_eq!(story.ineligible(2), Some("unprobed"));
}

#[test]
fn joining_twice_is_refused_and_ids_are_never_used_again() {
    let mut story = Story::steady(2);
    story.happens(Event::Added(Spec::new("pg1", Address::Tcp("other".into(), 1))));
    assert!(story.last(Kind::Refused).contains("pg1 already"));
    story.happens(Event::Removed(NodeId(1)));
    story.happens(Event::Added(Spec::new("pg1", Address::Tcp("db".into(), 5433))));
    let ids: Vec<_> = story.snapshot.nodes.iter().map(|node| node.id.0).collect();
    assert_eq!(ids, [0, 2]);
}

#[test]
fn what_a_standby_has_is_proven_by_looks_at_the_primary_and_ages_without_one() {
    let mut story = Story::steady(2);
    let proven = |story: &Story| story.snapshot.node(NodeId(1)).expect("published").proven_at;
    // The primary is seen again where it was: so the standby has all of it, without being asked again.
    story.later(10).sees(0, primary(1, 1000));
    let idle = proven(&story);
    assert_eq!(idle, Some(story.now));
    assert_eq!(story.snapshot.node(NodeId(0)).expect("published").proven_at, None);
    story.later(10).sees(0, primary(1, 2000));
    story.later(1).sees(1, standby(1, 1999));
    assert_eq!(proven(&story), idle, "it lacks something written since then");
    story.later(1).sees(0, primary(1, 2000));
    let newest = story.now;
    story.later(1).sees(1, standby(1, 2000));
    assert_eq!(proven(&story), Some(newest));
    for _ in 0..3 {
        story.later(1).misses(0, FailureKind::Refused);
    }
    story.later(9).sees(1, standby(1, 2000));
    assert_eq!(
        (story.routed(), proven(&story)),
        (None, Some(newest)),
        "nobody looks at the primary any more"
    );
}
