use super::*;

fn flushed(lsn: u64) -> Position {
    Position { primary: true, timeline: Timeline(1), lsn: Lsn(lsn), inserted: Lsn(lsn) }
}

fn replayed(lsn: u64) -> Position {
    Position { primary: false, timeline: Timeline(0), lsn: Lsn(lsn), inserted: Lsn(lsn) }
}

#[test]
fn what_was_acknowledged_before_it_was_flushed_is_covered_too() {
    let gauge = Gauge::default();
    let moment = gauge.now();
    let look = |at: u64, lsn: u64, inserted: u64| {
        let number = gauge.begin();
        gauge.finish(number, Duration::from_millis(at), Position { inserted: Lsn(inserted), ..flushed(lsn) });
    };
    let written = || gauge.written_after(moment, Timeline(1)).map(|(lsn, last)| (lsn.0, last));
    assert_eq!(written(), None);
    look(0, 10, 30);
    assert_eq!(written(), Some((30, false)));
    look(100, 20, 40);
    assert_eq!(written(), Some((30, false)));
    // What an open transaction inserted may lie there unflushed for long; what was acknowledged does not.
    look(700, 25, 50);
    assert_eq!(written(), Some((25, true)));
    let moment = gauge.now();
    look(800, 60, 60);
    assert_eq!(gauge.written_after(moment, Timeline(1)), Some((Lsn(60), true)));
    let other = Gauge::default();
    let moment = other.now();
    for (lsn, inserted) in [(10, 30), (30, 50)] {
        let number = other.begin();
        other.finish(number, Duration::ZERO, Position { inserted: Lsn(inserted), ..flushed(lsn) });
    }
    assert_eq!(other.written_after(moment, Timeline(1)), Some((Lsn(30), true)));
}

#[test]
fn only_a_look_begun_later_covers_a_moment() {
    let gauge = Gauge::default();
    let under_way = gauge.begin();
    let moment = gauge.now();
    gauge.finish(under_way, Duration::ZERO, flushed(10));
    assert_eq!(gauge.written_after(moment, Timeline(1)), None);
    for lsn in [20, 30] {
        let number = gauge.begin();
        gauge.finish(number, Duration::ZERO, flushed(lsn));
    }
    assert_eq!(gauge.written_after(moment, Timeline(1)), Some((Lsn(20), true)));
    assert_eq!(gauge.written_after(moment, Timeline(2)), None);
    assert_eq!(gauge.replayed_after(moment), None);
}

#[test]
fn a_lost_connection_voids_all_looks() {
    let gauge = Gauge::default();
    let number = gauge.begin();
    gauge.finish(number, Duration::ZERO, replayed(7));
    assert_eq!(gauge.replayed().map(|sample| sample.position.lsn), Some(Lsn(7)));
    gauge.interrupt();
    assert_eq!(gauge.replayed(), None);
    assert!(!gauge.is_unbroken_since(Moment(number)));
    assert!(gauge.is_unbroken_since(gauge.now()));
}

#[test]
fn a_promoted_node_forgets_what_it_replayed() {
    let gauge = Gauge::default();
    let number = gauge.begin();
    gauge.finish(number, Duration::ZERO, replayed(7));
    let number = gauge.begin();
    gauge.finish(number, Duration::ZERO, flushed(9));
    assert_eq!((gauge.replayed(), gauge.replayed_after(Moment(0))), (None, None));
    assert_eq!(gauge.written_after(Moment(0), Timeline(1)), Some((Lsn(9), true)));
}

#[test]
fn what_is_remembered_is_bounded_and_errs_on_the_safe_side() {
    let gauge = Gauge::default();
    for lsn in 1..=200 {
        let number = gauge.begin();
        gauge.finish(number, Duration::ZERO, flushed(lsn));
    }
    assert_eq!(gauge.samples().len(), REMEMBERED);
    assert_eq!(gauge.written_after(Moment(0), Timeline(1)), Some((Lsn(200 - REMEMBERED as u64 + 1), true)));
}

#[test]
fn a_call_is_heard_once() {
    let gauge = Gauge::default();
    let is_called = || {
        let mut call = std::pin::pin!(gauge.wanted());
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        call.as_mut().poll(&mut cx).is_ready()
    };
    assert!(!is_called());
    gauge.want();
    gauge.want();
    assert!(is_called());
    assert!(!is_called());
    gauge.begin();
    gauge.want();
    assert!(is_called());
}

#[test]
fn gauges_are_made_when_they_are_asked_for() {
    let gauges = Gauges::default();
    let third = gauges.of(NodeId(3));
    third.begin();
    assert_eq!(gauges.of(NodeId(3)).now(), Moment(1));
    assert_eq!(gauges.of(NodeId(0)).now(), Moment(0));
    assert!(Arc::ptr_eq(&third, &gauges.of(NodeId(3))));
}

#[test]
fn a_finished_look_at_any_node_is_heard() {
    let gauges = Gauges::default();
    let looks = gauges.subscribe();
    let number = gauges.of(NodeId(2)).begin();
    assert!(!looks.has_changed().unwrap());
    gauges.of(NodeId(2)).finish(number, Duration::ZERO, replayed(1));
    assert!(looks.has_changed().unwrap());
}

#[test]
fn what_a_standby_has_is_as_old_as_the_last_look_it_covers() {
    let gauges = Gauges::default();
    let look = |node, seconds, position| {
        let gauge = gauges.of(NodeId(node));
        gauge.finish(gauge.begin(), Duration::from_secs(seconds), position);
    };
    let proven = || gauges.proven_at(NodeId(0), Timeline(1), NodeId(1)).map(|at| at.as_secs());
    for (seconds, lsn) in [(1, 10), (2, 20), (3, 20), (4, 30)] {
        look(0, seconds, flushed(lsn));
    }
    assert_eq!(proven(), None);
    for (lsn, at) in [(9, None), (10, Some(1)), (19, Some(1)), (20, Some(3)), (30, Some(4)), (31, Some(4))] {
        look(1, 5, replayed(lsn));
        assert_eq!(proven(), at, "{lsn}");
    }
    assert_eq!(gauges.proven_at(NodeId(0), Timeline(2), NodeId(1)), None);
    // A standby that was restarted may be behind what it has shown.
    gauges.of(NodeId(1)).interrupt();
    assert_eq!(proven(), None);
}
