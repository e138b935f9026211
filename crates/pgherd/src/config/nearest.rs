//! The name somebody probably meant.

/// Closest of `names` to `word`, when it is close enough to be worth saying. Distance is the number of insertions,
/// deletions, substitutions and swaps of neighbours (optimal string alignment), allowed up to about a third of the word.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(MAX_WORD + 1).flat_map(char::to_lowercase).collect();
    if word.is_empty() || word.len() > MAX_WORD {
        return None;
    }
    let allowed = (word.len() / 3).clamp(1, 5);
    let mut best: Option<(usize, &str)> = None;
    for name in names {
        let other: Vec<char> = name.chars().collect();
        if other.len().abs_diff(word.len()) > allowed {
            continue;
        }
        let distance = distance(&word, &other);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Longer words are no slips of a known name; the bound keeps the table small.
const MAX_WORD: usize = 64;

fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, &y) in b.iter().enumerate() {
            let cost = usize::from(x != y);
            let mut least = (last[j] + cost).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                least = least.min(before[j - 1] + 1);
            }
            row[j + 1] = least;
        }
        before = last;
        last = row;
    }
    last[width - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["health_check_interval", "health_check_timeout", "max_pool_size", "mode"];

    #[test]
    fn finds_slips() {
        for (word, want) in [
            ("healthcheck_interval", Some("health_check_interval")),
            ("health_check_timout", Some("health_check_timeout")),
            ("max_pool_szie", Some("max_pool_size")),
            ("MODE", Some("mode")),
            ("mdoe", Some("mode")),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, NAMES), want, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), NAMES), None);
    }
}
