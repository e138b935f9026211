//! Points in time and spans as the status shows them, from the spellings JSON documents use.

use serde_json::Value;

/// Seconds since 1970 of a number, or of text like `2026-01-15T02:00:03.412+00:00`.
pub fn epoch(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => iso(text),
        _ => None,
    }
}

/// ISO 8601 with `T` or a blank, with or without fraction and zone (without: UTC).
fn iso(text: &str) -> Option<f64> {
    let text = text.trim();
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    let (hour, minute, second) = (part(11..13)?, part(14..16)?, part(17..19)?);
    let sane = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    if !sane || !(0..60).contains(&minute) || !(0..=60).contains(&second) || !(0..=9999).contains(&year) {
        return None;
    }
    let rest = text.get(19..)?;
    let zone_at = rest.find(['+', '-', 'Z']).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(zone_at);
    let fraction = if fraction.is_empty() { 0.0 } else { format!("0{fraction}").parse::<f64>().ok()? };
    let shift = match zone {
        "" | "Z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
            let hours: i64 = digits.get(0..2)?.parse().ok()?;
            let minutes: i64 = digits.get(2..4).unwrap_or("0").parse().ok()?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - shift;
    Some(seconds as f64 + fraction)
}

/// Days since 1970-01-01 of a Gregorian date (proleptic), counting years from March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Two largest units: `3d 4h`, `5m 12s`, `8s`.
pub fn ago(seconds: f64) -> String {
    let total = seconds.max(0.0) as u64;
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = total;
    let mut parts = Vec::new();
    for (unit, length) in units {
        if rest >= length {
            parts.push(format!("{}{unit}", rest / length));
            rest %= length;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_string() } else { parts.join(" ") }
}

/// Bytes with one unit: `0`, `31MB`, `1.5GB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (bytes, unit) {
        (0, _) => "0".to_string(),
        _ if value >= 10.0 || unit == 0 => format!("{value:.0}{}", units[unit]),
        _ => format!("{value:.1}{}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0.0)),
            ("2000-03-01 00:00:00", Some(951_868_800.0)),
            ("2026-01-15T02:00:03.500+02:00", Some(1_768_435_203.5)),
            ("2026-01-15T02:00:03.5-0130", Some(1_768_447_803.5)),
            ("yesterday", None),
            ("2026-13-15T02:00:03Z", None),
            ("", None),
            ("2026-01-15T02:00:03+é", None),
        ] {
            assert_eq!(iso(text), want, "{text}");
        }
    }

    #[test]
    fn spans_and_sizes() {
        for (seconds, want) in [
            (0.4, "0s"),
            (8.0, "8s"),
            (312.0, "5m 12s"),
            (3600.0, "1h"),
            (273_700.0, "3d 4h"),
            (86_405.0, "1d"),
        ] {
            assert_eq!(ago(seconds), want);
        }
        for (bytes, want) in [(0, "0"), (512, "512B"), (32_505_856, "31MB"), (1_610_612_736, "1.5GB")] {
            assert_eq!(size(bytes), want);
        }
    }
}
