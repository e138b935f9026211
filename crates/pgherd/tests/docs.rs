//! What README and docs/ say of settings and commands is what there is.

use clap::CommandFactory;
use pgherd::cli::Cli;
use pgherd::config::environment::Environment;
use pgherd::config::file::load_text;
use pgherd::config::keys;
use std::path::{Path, PathBuf};

fn pages() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(top.join("docs")).expect("docs/");
    let mut paths: Vec<PathBuf> = docs.map(|entry| entry.expect("an entry").path()).collect();
    paths.push(top.join("README.md"));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a page");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The fenced blocks of a page in one of these languages.
fn blocks(text: &str, languages: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
        if languages.contains(&language) {
            found.push(block.join("\n"));
        }
    }
    found
}

#[test]
fn every_example_of_settings_is_accepted() {
    let mut count = 0;
    for (path, text) in pages() {
        for block in blocks(&text, &["toml"]) {
            let missing = |header: &str, rest| if block.contains(header) { "" } else { rest };
            let whole = format!(
                "{block}\n{}{}",
                missing("[cluster]", "[cluster]\nuser = 'u'\npassword = 'p'\n"),
                missing("[[node]]", "[[node]]\nhost = 'a'\n"),
            );
            let loaded = load_text("example.toml", &whole, &Environment::default());
            let said = loaded.map_or_else(|report| report.render(), |loaded| loaded.report.render());
            // The files an example speaks of are the reader's.
            let faults: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("example.toml:") && !line.contains("no such file"))
                .collect();
            assert!(faults.is_empty(), "{}:\n{block}\n{faults:#?}", path.display());
            count += 1;
        }
    }
    assert!(count > 8, "{count} examples found");
}

#[test]
fn every_setting_that_is_named_exists() {
    let mut count = 0;
    for (path, text) in pages() {
        for span in text.split('`').skip(1).step_by(2) {
            let name = span.split([' ', '=']).next().unwrap_or_default();
            let Some((section, key)) = name.split_once('.') else { continue };
            let plain = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
            if keys::section(section).is_some() && plain && key != "toml" {
                assert!(!keys::find(name).is_empty(), "{}: there is no setting `{name}`", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count} names found");
}

#[test]
fn every_command_line_is_understood() {
    let mut count = 0;
    for (path, text) in pages() {
        for line in blocks(&text, &["sh"]).iter().flat_map(|block| block.lines()) {
            let line = line.trim_start_matches("target/release/");
            if let Some(rest) = line.strip_prefix("pgherd ") {
                let words = rest.split_whitespace().take_while(|word| !word.starts_with('#'));
                let parsed = Cli::command().try_get_matches_from(["pgherd"].into_iter().chain(words));
                assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 8, "{count} command lines found");
}
