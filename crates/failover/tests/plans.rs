//! Changes of primary told step by step: which deeds are asked for, in which order, and what undoes them.

mod story;

use pgherd_failover::deed::{Deed, Ended, Report};
use pgherd_failover::event::{Action, Event, Output, Request};
use pgherd_failover::journal::Kind;
use pgherd_failover::observation::{FailureKind, Receiver};
use pgherd_failover::plan::Step;
use pgherd_failover::policy::{Fencing, Policy};
use pgherd_failover::state::State;
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::collections::VecDeque;
use story::{Story, primary, standby};

/// A cluster of three whose pgherd acts.
fn cluster(policy: Policy) -> Story {
    let mut story = Story::new(Policy { acts: true, ..policy }, 3);
    story.sees(0, primary(1, 1000));
    for id in [1, 2] {
        let mut facts = standby(1, 1000);
        facts.conninfo = "host=pg0".into();
        story.sees(id, facts);
    }
    assert_eq!(story.routed(), Some(0));
    story
}

/// Deeds that were asked for and not ended yet.
#[derive(Default)]
struct Asked(VecDeque<(u64, u16, Deed)>);

impl Asked {
    fn note(&mut self, output: &Output) {
        for action in &output.actions {
            if let Action::Do { plan, node, deed, .. } = action {
                self.0.push_back((*plan, node.0, deed.clone()));
            }
        }
    }

    /// Their words, in order of the nodes.
    fn words(&self) -> Vec<(u16, &'static str)> {
        let mut words: Vec<_> = self.0.iter().map(|(_, node, deed)| (*node, deed.word())).collect();
        words.sort_unstable();
        words
    }

    /// The deed at this node ends so; what is asked for next joins.
    fn ends(&mut self, story: &mut Story, node: u16, outcome: Result<Report, &str>) {
        let at = self.0.iter().position(|(_, asked, _)| *asked == node).expect("it was asked for");
        let (plan, node, deed) = self.0.remove(at).expect("it is there");
        let ended =
            Ended { plan, node: NodeId(node), word: deed.word(), outcome: outcome.map_err(Into::into) };
        let output = story.happens(Event::Ended(ended));
        self.note(&output);
    }
}

fn at(lsn: u64) -> Result<Report, &'static str> {
    Ok(Report::At(Lsn(lsn)))
}

/// The primary is refused until it is lost.
fn kill(story: &mut Story) -> Asked {
    let mut asked = Asked::default();
    for _ in 0..3 {
        let output = story.later(1).misses(0, FailureKind::Refused);
        asked.note(&output);
    }
    asked
}

#[test]
fn a_lost_primary_is_replaced_by_whoever_has_most() {
    let mut story = cluster(Policy::default());
    let mut asked = kill(&mut story);
    assert_eq!(asked.words(), [(0, "fence"), (1, "freeze"), (2, "freeze")]);
    assert_eq!(story.routed(), None);
    let memory = story.state.memory().expect("settled");
    let plan = memory.plan.as_ref().expect("it is to be written down");
    assert_eq!((plan.step, plan.frozen.len(), &*plan.frozen["pg1"].conninfo), (Step::Freeze, 2, "host=pg0"));
    asked.ends(&mut story, 0, Err("refused"));
    asked.ends(&mut story, 1, at(1000));
    asked.ends(&mut story, 2, at(1200));
    assert_eq!(asked.words(), [(2, "prepare")], "pg2 has more");
    asked.ends(&mut story, 2, Ok(Report::Done));
    assert_eq!(asked.words(), [(2, "promote")]);
    asked.ends(&mut story, 2, Ok(Report::Promoted { timeline: Timeline(2) }));
    assert_eq!(story.routed(), None, "who says so is not seen to be it yet");
    let output = story.sees(2, primary(2, 1300));
    asked.note(&output);
    assert_eq!(story.routed(), Some(2));
    assert_eq!(asked.words(), [(1, "follow"), (2, "settle")]);
    asked.ends(&mut story, 1, Ok(Report::Done));
    asked.ends(&mut story, 2, Ok(Report::Done));
    assert_eq!((story.state.plan(), asked.words()), (None, vec![]));
    assert_eq!(story.state.phase().0.word(), "steady");
    assert!(story.state.memory().is_some_and(|memory| memory.debts.len() == 1), "the fence may have held");
}

#[test]
fn a_plan_goes_on_where_it_was_written_down() {
    let mut story = cluster(Policy::default());
    let mut asked = kill(&mut story);
    asked.ends(&mut story, 0, Err("refused"));
    asked.ends(&mut story, 1, at(1000));
    asked.ends(&mut story, 2, at(1000));
    let candidate = asked.0[0].1;
    asked.ends(&mut story, candidate, Ok(Report::Done));
    let memory = story.state.memory();
    assert_eq!(story.state.plan().map(|plan| plan.step), Some(Step::Promote));
    // Another process, which knows no more than that.
    let mut next = Story::new(Policy { acts: true, ..Policy::default() }, 0);
    next.state = State::new(Policy { acts: true, ..Policy::default() }, memory);
    for id in 0..3 {
        let spec = story.state.members()[id].spec.clone();
        next.happens(Event::Added(spec));
    }
    let mut asked = Asked::default();
    next.misses(0, FailureKind::Refused);
    for id in [1, 2] {
        let mut facts = standby(1, 1000);
        facts.receiver = None;
        let output = next.sees(id, facts);
        asked.note(&output);
    }
    assert_eq!(asked.words(), [(candidate, "promote")]);
}

#[test]
fn without_a_confirmed_fence_nobody_is_promoted_where_one_is_required() {
    let mut story = cluster(Policy { fencing: Fencing::Required, ..Policy::default() });
    let mut asked = kill(&mut story);
    asked.ends(&mut story, 1, at(1000));
    asked.ends(&mut story, 2, at(1000));
    assert_eq!(asked.words(), [(0, "fence")]);
    asked.ends(&mut story, 0, Err("refused"));
    let output = story.later(6).happens(Event::Woke);
    asked.note(&output);
    assert_eq!(asked.words(), [(1, "thaw"), (2, "thaw")], "all goes back");
    assert!(story.last(Kind::Refused).contains("could not be fenced"), "{}", story.last(Kind::Refused));
}

#[test]
fn a_standby_of_a_standby_stays_where_it_is() {
    let mut story = cluster(Policy::default());
    let mut facts = standby(1, 1000);
    facts.receiver = Some(Receiver {
        status: Some("streaming".into()),
        sender_host: Some("db".into()),
        // pg1's.
        sender_port: Some(5433),
        ..Receiver::default()
    });
    story.sees(2, facts);
    assert_eq!(kill(&mut story).words(), [(0, "fence"), (1, "freeze")]);
}

#[test]
fn nothing_is_begun_in_a_pause() {
    let mut story = cluster(Policy::default());
    story.happens(Event::Asked(Request::Pause(true)));
    assert_eq!(kill(&mut story).words(), []);
    assert!(story.last(Kind::Advice).contains("paused"), "{}", story.last(Kind::Advice));
    let mut asked = Asked::default();
    let output = story.happens(Event::Asked(Request::Pause(false)));
    asked.note(&output);
    assert_eq!(asked.words(), [(0, "fence"), (1, "freeze"), (2, "freeze")]);
}

#[test]
fn a_switchover_that_fails_leaves_all_as_it_was() {
    let mut story = cluster(Policy::default());
    let mut asked = Asked::default();
    let output = story.happens(Event::Asked(Request::Switchover { to: Some(NodeId(2)) }));
    asked.note(&output);
    assert_eq!((asked.words(), story.routed()), (vec![(0, "quiesce")], None));
    let since = story.valid_since(0);
    asked.ends(&mut story, 0, at(2000));
    assert!(story.valid_since(0) > since, "who still holds a connection to it is cut");
    assert_eq!(asked.words(), [(2, "catch_up")]);
    asked.ends(&mut story, 2, Err("not done in time"));
    let output = story.later(11).happens(Event::Woke);
    asked.note(&output);
    assert_eq!(asked.words(), [(0, "unfence")]);
    asked.ends(&mut story, 0, Ok(Report::Done));
    assert_eq!((story.routed(), story.state.plan()), (Some(0), None));
    assert!(story.state.memory().is_some_and(|memory| memory.debts.is_empty()), "nothing is left to undo");
}
