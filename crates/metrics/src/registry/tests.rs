use super::*;
use std::time::Duration;

const NAME: &str = "pgherd_things_total";

#[test]
fn equal_labels_are_summed_whatever_their_order() {
    let registry = Registry::default();
    let one = registry.counter(NAME, "Things.", &[("node", "pg1"), ("user", "app")]);
    let two = registry.counter(NAME, "Things.", &[("user", "app"), ("node", "pg1")]);
    let other = registry.counter(NAME, "Things.", &[("node", "pg2"), ("user", "app")]);
    one.add(1);
    two.add(2);
    other.add(5);
    let want = [
        ("node=\"pg1\",user=\"app\"".to_string(), Reading::Counter(3)),
        ("node=\"pg2\",user=\"app\"".to_string(), Reading::Counter(5)),
    ];
    assert_eq!(registry.read(NAME), want);
}

#[test]
fn a_total_does_not_fall_when_one_of_several_workers_ends() {
    let registry = Registry::default();
    let one = registry.counter(NAME, "Things.", &[]);
    let two = registry.counter(NAME, "Things.", &[]);
    one.add(60);
    two.add(40);
    drop(one);
    assert_eq!(registry.read(NAME), [(String::new(), Reading::Counter(100))]);
    two.add(1);
    assert_eq!(registry.read(NAME), [(String::new(), Reading::Counter(101))]);
}

#[test]
fn durations_of_a_retired_worker_stay_too() {
    let registry = Registry::default();
    let one = registry.latency("pgherd_wait_seconds", "Waits.", &[]);
    let two = registry.latency("pgherd_wait_seconds", "Waits.", &[]);
    one.record(Duration::from_millis(1));
    two.record(Duration::from_millis(2));
    drop(one);
    let read = registry.read("pgherd_wait_seconds");
    let [(_, Reading::Latency(distribution))] = read.as_slice() else { panic!("one series: {read:?}") };
    assert_eq!(distribution.count(), 2);
}

#[test]
fn a_series_goes_with_its_last_handle() {
    let registry = Registry::default();
    let pool = registry.gauge("pgherd_pool", "Size.", &[("node", "pg1")]);
    let kept = registry.gauge("pgherd_pool", "Size.", &[("node", "pg2")]);
    pool.set(7);
    kept.set(1);
    drop(pool);
    assert_eq!(registry.read("pgherd_pool"), [("node=\"pg2\"".to_string(), Reading::Gauge(1))]);
    drop(kept);
    assert!(!registry.render().contains("pgherd_pool"));
}

#[test]
fn a_dropped_gauge_takes_its_level_along() {
    let registry = Registry::default();
    let one = registry.gauge("pgherd_clients", "Clients.", &[]);
    let two = registry.gauge("pgherd_clients", "Clients.", &[]);
    one.set(3);
    two.set(4);
    drop(one);
    assert_eq!(registry.read("pgherd_clients"), [(String::new(), Reading::Gauge(4))]);
}

#[test]
fn removal_does_not_wait_for_the_handle() {
    let registry = Registry::default();
    let counter = registry.counter(NAME, "Things.", &[("node", "pg1")]);
    assert!(registry.remove(NAME, &[("node", "pg1")]));
    assert!(!registry.remove(NAME, &[("node", "pg1")]));
    counter.add(1);
    assert!(registry.read(NAME).is_empty());
}

#[test]
fn churn_without_scrapes_does_not_pile_up() {
    let registry = Registry::default();
    for i in 0..10 * SWEEP_AFTER {
        drop(registry.counter(NAME, "Things.", &[("user", &i.to_string())]));
    }
    let series = registry.describe()[0].series;
    assert!(series <= SWEEP_AFTER + 1, "{series} dead series remembered");
}

#[test]
fn a_family_has_a_limit_and_says_nothing_of_what_is_beyond() {
    let registry = Registry::default();
    let make = |i: usize| registry.counter(NAME, "Things.", &[("user", &i.to_string())]);
    let handles: Vec<_> = (0..MAX_SERIES + 5).map(make).collect();
    handles.iter().for_each(|counter| counter.add(1));
    assert_eq!(registry.read(NAME).len(), MAX_SERIES);
}

#[test]
fn families_are_described() {
    let registry = Registry::default();
    let _counter = registry.counter(NAME, "Things.", &[]);
    let want = [Description { name: NAME, kind: Kind::Counter, help: "Things.", series: 1 }];
    assert_eq!(registry.describe(), want);
}

#[test]
#[should_panic(expected = "another kind")]
#[cfg(debug_assertions)]
fn one_name_is_one_kind() {
    let registry = Registry::default();
    let _counter = registry.counter(NAME, "Things.", &[]);
    let _gauge = registry.gauge(NAME, "Things.", &[]);
}
