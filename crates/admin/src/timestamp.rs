//! Times as ISO 8601 text in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

/// `2026-11-20 16:35:01 UTC`, the form in which PgBouncer's console writes it.
pub fn plain(time: SystemTime) -> String {
    let iso = iso(time);
    let (day, time) = iso.split_once('T').unwrap_or_default();
    format!("{day} {} UTC", time.get(..8).unwrap_or_default())
}

/// `2026-11-20T16:35:01.000250+00:00`, the form in which Patroni and Python's `isoformat` write it. A time before 1970
/// is written as 1970.
pub fn iso(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = date(since.as_secs() / 86_400);
    let second = since.as_secs() % 86_400;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// Year, month and day of the day with this number since 1970-01-01 in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 1 March of year 0, a leap day is the last day of its year and of its cycle of 400 years.
    let days = days + 719_468;
    let cycle_day = days % 146_097;
    let year_of_cycle = (cycle_day - cycle_day / 1460 + cycle_day / 36_524 - cycle_day / 146_096) / 365;
    let year_day = cycle_day - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let march_month = (5 * year_day + 2) / 153;
    let day = year_day - (153 * march_month + 2) / 5 + 1;
    let (month, next_year) = if march_month < 10 { (march_month + 3, 0) } else { (march_month - 9, 1) };
    (days / 146_097 * 400 + year_of_cycle + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_moments() {
        let at = |secs, micros| iso(UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_micros(micros));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000000+00:00");
        assert_eq!(at(1_709_251_199, 250), "2024-02-29T23:59:59.000250+00:00");
        assert_eq!(at(1_735_689_599, 999_999), "2024-12-31T23:59:59.999999+00:00");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000+00:00");
    }

    #[test]
    fn pgbouncers_form() {
        assert_eq!(plain(UNIX_EPOCH + Duration::from_millis(951_782_400_999)), "2000-02-29 00:00:00 UTC");
    }

    #[test]
    fn days_follow_each_other() {
        let mut before = date(0);
        for day in 1..200_000 {
            let now = date(day);
            let next_day = now == (before.0, before.1, before.2 + 1);
            let next_month = now == (before.0, before.1 + 1, 1) && before.2 >= 28;
            let next_year = now == (before.0 + 1, 1, 1) && (before.1, before.2) == (12, 31);
            assert!(next_day || next_month || next_year, "{before:?} then {now:?}");
            before = now;
        }
    }
}
