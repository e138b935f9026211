//! Durations and sizes as people write them.

use std::time::Duration;

/// Why a text is not a duration or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFault {
    /// A number without a unit.
    NoUnit,
    /// Not understood at all.
    NotOne,
    /// More than can be counted.
    TooLarge,
}

/// Units of time and their length in nanoseconds, longest first.
const TIME_UNITS: [(&str, u128); 8] = [
    ("w", 604_800_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size and their bytes, as in PostgreSQL in steps of 1024.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

/// A number with up to nine decimals as an integer scaled by 10^9, its unit, and what follows.
fn term(text: &str) -> Result<(u128, &str, &str), UnitFault> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    let rest = rest.trim_start();
    let unit_end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.chars().filter(|c| *c != '_').collect::<String>();
    let (whole, mut decimals) = (digits(whole), digits(decimals));
    if whole.is_empty() || decimals.contains('.') {
        return Err(UnitFault::NotOne);
    }
    if decimals.len() > 9 || whole.len() > 18 {
        return Err(UnitFault::TooLarge);
    }
    while decimals.len() < 9 {
        decimals.push('0');
    }
    let number = format!("{whole}{decimals}").parse::<u128>().map_err(|_| UnitFault::NotOne)?;
    if unit.is_empty() {
        return Err(UnitFault::NoUnit);
    }
    Ok((number, unit, rest.trim_start()))
}

/// `"10s"`, `"1h30m"`, `"250ms"`, `"1.5s"`. Zero needs no unit.
pub fn duration(text: &str) -> Result<Duration, UnitFault> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos: u128 = 0;
    let mut last = u128::MAX;
    loop {
        let (number, unit, tail) = term(rest)?;
        let (_, length) = TIME_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitFault::NotOne)?;
        if *length >= last {
            return Err(UnitFault::NotOne); // "5s3m", "1s1s": more likely a slip than a sum
        }
        last = *length;
        let part = number.checked_mul(*length).ok_or(UnitFault::TooLarge)? / 1_000_000_000;
        nanos = nanos.checked_add(part).ok_or(UnitFault::TooLarge)?;
        if tail.is_empty() {
            let nanos = u64::try_from(nanos).map_err(|_| UnitFault::TooLarge)?;
            return Ok(Duration::from_nanos(nanos));
        }
        rest = tail;
    }
}

/// `"16MB"`, `"256 kB"`, `"1.5GB"`; `K`, `M`, `G`, `T` and the `iB` forms mean the same. Zero needs no unit.
pub fn bytes(text: &str) -> Result<u64, UnitFault> {
    let text = text.trim();
    if text == "0" {
        return Ok(0);
    }
    let (number, unit, tail) = term(text)?;
    if !tail.is_empty() {
        return Err(UnitFault::NotOne);
    }
    let lower = unit.to_ascii_lowercase();
    let size = SIZE_UNITS.iter().find(|(name, _)| {
        let name = name.to_ascii_lowercase();
        let first = &name[..1];
        lower == name || (name.len() == 2 && (lower == first || lower == format!("{first}ib")))
    });
    let (_, size) = size.ok_or(UnitFault::NotOne)?;
    let total = number.checked_mul(u128::from(*size)).ok_or(UnitFault::TooLarge)? / 1_000_000_000;
    u64::try_from(total).map_err(|_| UnitFault::TooLarge)
}

/// The shortest text [`duration`] reads back as the same: `"1h30m"`, `"250ms"`.
pub fn show_duration(value: Duration) -> String {
    let mut nanos = value.as_nanos();
    if nanos == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    for (unit, length) in TIME_UNITS {
        // "90s" reads better as "1m30s", but a week is 7d for most people and "min" is the long spelling of "m".
        if unit == "w" || unit == "min" || nanos < length {
            continue;
        }
        text.push_str(&format!("{}{unit}", nanos / length));
        nanos %= length;
    }
    if text.is_empty() { "0s".to_string() } else { text }
}

/// The shortest exact text [`bytes()`] reads back as the same: `"16MB"`.
pub fn show_bytes(value: u64) -> String {
    for (unit, size) in SIZE_UNITS {
        if value >= size && value.is_multiple_of(size) {
            return format!("{}{unit}", value / size);
        }
    }
    "0B".to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        let ms = Duration::from_millis;
        for (text, want) in [
            ("10s", ms(10_000)),
            ("1h30m", ms(5_400_000)),
            ("1h 30min", ms(5_400_000)),
            ("250ms", ms(250)),
            ("1.5s", ms(1_500)),
            ("0", ms(0)),
            ("0s", ms(0)),
            ("1_000ms", ms(1_000)),
            (" 2 d ", ms(172_800_000)),
        ] {
            assert_eq!(duration(text), Ok(want), "{text}");
        }
        for (text, want) in [
            ("10", UnitFault::NoUnit),
            ("", UnitFault::NotOne),
            ("s", UnitFault::NotOne),
            ("10x", UnitFault::NotOne),
            ("-1s", UnitFault::NotOne),
            ("5s3m", UnitFault::NotOne),
            ("1s 1s", UnitFault::NotOne),
            ("1.2.3s", UnitFault::NotOne),
            ("99999999999w", UnitFault::TooLarge),
            ("9999999999999999999999s", UnitFault::TooLarge),
            ("1h30", UnitFault::NoUnit),
        ] {
            assert_eq!(duration(text), Err(want), "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, want) in [
            ("16MB", 16 << 20),
            ("1kB", 1024),
            ("1k", 1024),
            ("1 KiB", 1024),
            ("1.5GB", 3 << 29),
            ("7B", 7),
            ("0", 0),
            ("2TB", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for (text, want) in [
            ("16", UnitFault::NoUnit),
            ("16MBB", UnitFault::NotOne),
            ("MB", UnitFault::NotOne),
            ("1MB1kB", UnitFault::NotOne),
            ("99999999999TB", UnitFault::TooLarge),
        ] {
            assert_eq!(bytes(text), Err(want), "{text}");
        }
    }

    #[test]
    fn shown_values_are_read_back() {
        for nanos in
            [0u64, 1_000, 1_500_000, 250_000_000, 90_000_000_000, 5_400_000_000_000, 604_800_000_000_000]
        {
            let value = Duration::from_nanos(nanos);
            assert_eq!(duration(&show_duration(value)), Ok(value), "{}", show_duration(value));
        }
        for value in [0u64, 1, 1023, 1024, 1536, 100 << 20, 3 << 40] {
            assert_eq!(bytes(&show_bytes(value)), Ok(value));
        }
        assert_eq!(show_duration(Duration::from_secs(5400)), "1h30m");
        assert_eq!(show_bytes(100 << 20), "100MB");
    }
}
