//! Whatever bytes stand in a settings file, reading it ends, with a report that can be printed.

use pgherd::config::environment::Environment;
use pgherd::config::file::load_text;
use pgherd::config::{doc, nearest, overlay, sample, unit, url, value};
use proptest::prelude::*;
use std::sync::LazyLock;

static SAMPLE: LazyLock<String> = LazyLock::new(sample::text);
/// A file with an instance of everything, small enough to be mutated often.
const SMALL: &str = include_str!("operators.toml");

fn survives(text: &str) {
    match load_text("f.toml", text, &Environment::default()) {
        Ok(loaded) => drop(loaded.report.render()),
        Err(report) => {
            let text = report.render();
            assert!(text.lines().count() < 500, "a report of {} lines", text.lines().count());
        }
    }
}

/// Texts that are likely to matter where they land.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\\[\\]{}=\"'#\\n\\\\.,$_a-z0-9-]{0,12}",
        Just("\"\"\"".to_string()),
        Just("[[node]]\n".to_string()),
        Just("${".to_string()),
        Just("\u{0}\u{1b}é\u{202e}".to_string()),
        Just("99999999999999999999999999".to_string()),
        Just("1979-05-27T07:32:00Z".to_string()),
        Just("0x_".to_string()),
        any::<String>(),
    ]
}

fn mutate(text: &str, changes: &[(prop::sample::Index, usize, String)]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (index, remove, insert) in changes {
        let at = index.index(bytes.len() + 1);
        let end = (at + remove).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_files(changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, piece()), 1..8)) {
        survives(&mutate(SMALL, &changes));
    }

    #[test]
    fn any_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn any_value_of_any_key(section in 0usize..16, key in any::<prop::sample::Index>(), text in piece()) {
        let section = &pgherd::config::keys::SECTIONS[section];
        let key = &section.keys[key.index(section.keys.len())];
        survives(&format!("{}\n{} = {text}\n", section.header(), key.name));
        survives(&format!("{}\n{} = '{text}'\n", section.header(), key.name));
        let name = format!("{}{}__0__{}", overlay::PREFIX, section.name.to_uppercase(), key.name.to_uppercase());
        let env: Environment = [(name, text.clone()), (overlay::PRIMARY_URL.to_string(), text)].into_iter().collect();
        if let Err(report) = load_text("f.toml", "", &env) {
            let _ = report.render();
        }
    }

    #[test]
    fn small_parsers(text in piece()) {
        let _ = unit::duration(&text);
        let _ = unit::bytes(&text);
        let _ = url::parse(&format!("postgres://{text}"));
        let _ = value::host_port(&text);
        let _ = nearest::nearest(&text, ["abc", "max_pool_size"]);
        let _ = doc::text(Some(&text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_mutated_sample(changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..200, piece()), 1..6)) {
        survives(&mutate(&SAMPLE, &changes));
    }
}

#[test]
fn deep_and_long_texts() {
    for text in [
        "[".repeat(200_000),
        "a = ".to_string() + &"[".repeat(200_000),
        "a = ".to_string() + &"{a=".repeat(100_000),
        "a.".repeat(100_000) + "b = 1",
        format!("[{}]\nx = 1", "a.".repeat(50_000) + "b"),
        "[[node]]\n".repeat(30_000),
        "x = 1\n".repeat(50_000),
        "=\n".repeat(100_000),
        "[pool]\nmode = \"".to_string() + &"x".repeat(900_000) + "\"",
    ] {
        let began = std::time::Instant::now();
        survives(&text);
        // Quadratic work on a megabyte takes minutes; the bound is far above what a slow machine needs otherwise.
        assert!(began.elapsed().as_secs() < 20, "{:?} for {}", began.elapsed(), &text[..20]);
    }
}
