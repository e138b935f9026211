//! Replay delay without asking any clock but ours.
//!
//! The trail remembers when the primary was where. A standby that has replayed up to R is as old as the moment at which
//! the primary went beyond R. That is right on an idle primary (it is still at R: delay zero), with paused replay (the
//! moment stays where it is) and whatever the servers' clocks say; `now() - pg_last_xact_replay_timestamp()` is wrong in
//! all three.

use pgherd_topology::lsn::Lsn;
use std::collections::VecDeque;
use std::time::Duration;

/// Samples kept at most. When it is full, every second sample of the older half goes: the trail reaches further back
/// the coarser it gets.
const CAPACITY: usize = 256;

/// The primary stood at `lsn` from `first` to `last`.
#[derive(Clone, Copy, Debug)]
struct Sample {
    first: Duration,
    last: Duration,
    lsn: Lsn,
}

/// Where the primary was, and when.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    samples: VecDeque<Sample>,
}

impl Trail {
    /// Notes that the primary had flushed up to `lsn` at `at`. A position behind the newest one starts a new trail (the
    /// primary came back with less than it had).
    pub fn note(&mut self, at: Duration, lsn: Lsn) {
        match self.samples.back_mut() {
            Some(newest) if newest.lsn == lsn => newest.last = newest.last.max(at),
            Some(newest) if lsn < newest.lsn || at < newest.last => {
                self.samples.clear();
                self.samples.push_back(Sample { first: at, last: at, lsn });
            }
            _ => {
                if self.samples.len() == CAPACITY {
                    self.thin();
                }
                self.samples.push_back(Sample { first: at, last: at, lsn });
            }
        }
    }

    /// Forgets everything: another primary, another history.
    pub fn clear(&mut self) {
        self.samples.clear();
    }

    /// The newest known position of the primary.
    pub fn newest(&self) -> Option<Lsn> {
        self.samples.back().map(|sample| sample.lsn)
    }

    /// How old the data of a standby was at `at`, when it had received and replayed up to these positions. Between two
    /// samples the primary is taken to have moved evenly. `None` without any sample; "at least" when the trail does
    /// not reach back far enough.
    pub fn delay(&self, received: Lsn, replayed: Lsn, at: Duration) -> Option<Duration> {
        let known = self.samples.partition_point(|sample| sample.lsn <= replayed);
        let Some(before) = known.checked_sub(1).map(|index| self.samples[index]) else {
            return self.samples.front().map(|oldest| at.saturating_sub(oldest.first));
        };
        let (after, reached) = match self.samples.get(known) {
            Some(next) => (next.first, next.lsn),
            // Nothing we know of is missing, unless the standby itself holds WAL that it has not replayed.
            None if received > replayed => (at.max(before.last), received),
            None => return Some(Duration::ZERO),
        };
        let share = replayed.bytes_since(before.lsn) as f64 / reached.bytes_since(before.lsn).max(1) as f64;
        let left_at = before.last + after.saturating_sub(before.last).mul_f64(share.clamp(0.0, 1.0));
        Some(at.saturating_sub(left_at))
    }

    /// When the primary was seen last with nothing beyond `replayed`: what a standby that has replayed so far lacks was written after that. `None` when the
    /// trail does not reach back so far.
    pub fn covered_at(&self, replayed: Lsn) -> Option<Duration> {
        let known = self.samples.partition_point(|sample| sample.lsn <= replayed);
        known.checked_sub(1).map(|index| self.samples[index].last)
    }

    /// Where the primary was at `at`: between two samples it is taken to have moved evenly, before the first and after the
    /// last it stood there. `None` without any sample. Only positions of one moment can be compared.
    pub fn position(&self, at: Duration) -> Option<Lsn> {
        let begun = self.samples.partition_point(|sample| sample.first <= at);
        let Some(before) = begun.checked_sub(1).map(|index| self.samples[index]) else {
            return self.samples.front().map(|oldest| oldest.lsn);
        };
        let Some(next) = self.samples.get(begun).filter(|_| at > before.last) else {
            return Some(before.lsn);
        };
        let share = (at - before.last).as_secs_f64() / (next.first - before.last).as_secs_f64();
        Some(Lsn(before.lsn.0 + (next.lsn.bytes_since(before.lsn) as f64 * share) as u64))
    }

    fn thin(&mut self) {
        let half = self.samples.len() / 2;
        let mut index = 0;
        self.samples.retain(|_| {
            index += 1;
            index > half || index % 2 == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    fn delay(trail: &Trail, received: u64, replayed: u64, tenths: u64) -> f64 {
        trail.delay(Lsn(received), Lsn(replayed), at(tenths)).expect("samples").as_secs_f64()
    }

    #[test]
    fn an_idle_primary_means_no_delay_however_long() {
        let mut trail = Trail::default();
        for tenths in (0..36_000).step_by(50) {
            trail.note(at(tenths), Lsn(1000));
        }
        assert_eq!(delay(&trail, 1000, 1000, 36_000), 0.0);
        assert_eq!(trail.samples.len(), 1);
        // The first write after the idle hour does not make the standby an hour old.
        trail.note(at(36_010), Lsn(2000));
        assert!(delay(&trail, 2000, 1000, 36_012) < 7.0);
    }

    #[test]
    fn paused_replay_ages_also_when_the_primary_then_rests() {
        let mut trail = Trail::default();
        trail.note(at(0), Lsn(1000));
        trail.note(at(10), Lsn(2000));
        for tenths in 11..600 {
            trail.note(at(tenths), Lsn(2000));
        }
        assert_eq!(delay(&trail, 2000, 1000, 600), 60.0);
        assert_eq!(delay(&trail, 2000, 1500, 600), 59.5);
        assert_eq!(delay(&trail, 2000, 2000, 600), 0.0);
    }

    #[test]
    fn the_primarys_position_belongs_to_a_moment() {
        let mut trail = Trail::default();
        assert_eq!(trail.position(at(5)), None);
        trail.note(at(10), Lsn(1000));
        trail.note(at(20), Lsn(1000));
        trail.note(at(30), Lsn(3000));
        for (tenths, want) in
            [(0, 1000), (10, 1000), (15, 1000), (20, 1000), (25, 2000), (30, 3000), (99, 3000)]
        {
            assert_eq!(trail.position(at(tenths)), Some(Lsn(want)), "{tenths}");
        }
    }

    #[test]
    fn what_a_standby_has_is_as_old_as_the_last_look_it_covers() {
        let mut trail = Trail::default();
        assert_eq!(trail.covered_at(Lsn(1000)), None);
        for (tenths, lsn) in [(10, 1000), (20, 1000), (30, 3000)] {
            trail.note(at(tenths), Lsn(lsn));
        }
        for (replayed, tenths) in
            [(999, None), (1000, Some(20)), (2999, Some(20)), (3000, Some(30)), (4000, Some(30))]
        {
            assert_eq!(trail.covered_at(Lsn(replayed)), tenths.map(at), "{replayed}");
        }
    }

    #[test]
    fn a_busy_primary_sampled_rarely_does_not_look_late() {
        let mut trail = Trail::default();
        trail.note(at(0), Lsn(0));
        trail.note(at(50), Lsn(5_000_000));
        // 4.9 s after the last sample the standby is 1% of an interval behind what it received itself.
        let late = delay(&trail, 9_900_000, 9_850_000, 99);
        assert!(late < 0.1, "{late}");
    }

    #[test]
    fn without_samples_nothing_is_known_and_beyond_the_trail_at_least_its_length() {
        let mut trail = Trail::default();
        assert_eq!(trail.delay(Lsn(1), Lsn(1), at(1)), None);
        trail.note(at(100), Lsn(1000));
        assert_eq!(delay(&trail, 500, 500, 130), 3.0);
    }

    #[test]
    fn a_position_that_falls_starts_anew() {
        let mut trail = Trail::default();
        trail.note(at(1), Lsn(1000));
        trail.note(at(2), Lsn(900));
        assert_eq!(trail.newest(), Some(Lsn(900)));
        assert_eq!(delay(&trail, 950, 950, 3), 0.0);
    }

    #[test]
    fn the_trail_is_bounded_and_reaches_far_back() {
        let mut trail = Trail::default();
        for second in 0..100_000u64 {
            trail.note(at(second * 10), Lsn(second * 10));
        }
        assert!(trail.samples.len() <= CAPACITY);
        let newest = 999_990;
        for behind in [1u64, 10, 60, 600] {
            let is = delay(&trail, newest, newest - behind * 10, newest);
            assert!((is - behind as f64).abs() <= 1.0 + behind as f64 * 0.1, "{is} for {behind}");
        }
    }
}
