//! The rules about single files. Each returns faults as `PATH: what is wrong` (with the line where there is one).

use crate::source::Source;

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_INLINE_TEST_LINES: usize = 150;

/// Crates that decide and never wait.
const PURE: [&str; 4] = ["crates/sql/", "crates/session/", "crates/route/", "crates/failover/"];
/// Values without policy; they may hold a cell, but no clock.
const GROUND: [&str; 2] = ["crates/wire/", "crates/topology/"];
/// Crates that touch bytes from a network.
const NETWORK: [&str; 8] = [
    "crates/wire/",
    "crates/sql/",
    "crates/session/",
    "crates/route/",
    "crates/login/",
    "crates/pool/",
    "crates/proxy/",
    "crates/net/",
];

const CLOCKS_AND_CHANCE: [&str; 6] =
    ["Instant::now", "SystemTime::now", "rand::", "thread_rng", "getrandom", "RandomState::new"];
const GLOBALS_AND_WAITING: [&str; 7] =
    ["tokio::", "thread_local!", "LazyLock", "OnceLock", "static mut", "thread::sleep", "std::net"];

pub(crate) fn file_length(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_FILE_LINES).then(|| format!("{path}: {lines} lines, more than {MAX_FILE_LINES}"))
}

pub(crate) fn function_length(path: &str, source: &Source) -> Vec<String> {
    let long = source.functions().into_iter().filter(|function| function.lines > MAX_FUNCTION_LINES);
    long.map(|f| {
        format!("{path} {}: {} lines from line {}, more than {MAX_FUNCTION_LINES}", f.name, f.lines, f.line)
    })
    .collect()
}

pub(crate) fn inline_tests(path: &str, source: &Source) -> Vec<String> {
    if is_test_file(path) {
        return Vec::new();
    }
    let long = source.test_blocks().filter(|(_, lines)| *lines > MAX_INLINE_TEST_LINES);
    long.map(|(line, lines)| {
        format!("{path}: {lines} lines of tests at line {line} belong into a sibling file")
    })
    .collect()
}

/// A lib.rs is docs, attributes and `pub mod` lines.
pub(crate) fn lib_page(path: &str, text: &str, source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}: does not begin with the crate's page"));
    }
    for (number, line, _) in source.lines() {
        let line = line.trim();
        let is_module = line.strip_prefix("pub mod ").is_some_and(|rest| rest.ends_with(';'));
        if !line.is_empty() && !line.starts_with('#') && !is_module {
            faults.push(format!("{path}: line {number} is more than a `pub mod` line: {line}"));
        }
    }
    faults
}

/// A file named util says that nobody knew what it is for.
pub(crate) fn empty_name(path: &str) -> Option<String> {
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    let empty = ["util", "utils", "common", "types", "helper", "helpers", "misc"];
    // Cargo takes every file in tests/ for a test of its own; a shared part must be a folder's mod.rs there.
    let is_mod = stem == "mod" && !path.contains("/tests/");
    (empty.contains(&stem) || is_mod).then(|| format!("{path}: name a file after the one noun it holds"))
}

pub(crate) fn purity(path: &str, source: &Source) -> Vec<String> {
    let starts = |list: &[&str]| list.iter().any(|prefix| path.starts_with(prefix));
    let is_pure = starts(&PURE);
    if !is_pure && !starts(&GROUND) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line, _) in source.lines() {
        let globals = if is_pure { GLOBALS_AND_WAITING.as_slice() } else { &[] };
        for word in CLOCKS_AND_CHANCE.iter().chain(globals).filter(|word| stands_in(line, word)) {
            faults.push(format!(
                "{path}: line {number} uses {word}; a pure crate gets it as an argument or not at all"
            ));
        }
        if path.starts_with("crates/topology/") && stands_in(line, "tokio::") && !line.contains("tokio::sync")
        {
            faults.push(format!("{path}: line {number} uses more of tokio than its sync module"));
        }
    }
    faults
}

pub(crate) fn unwraps(path: &str, source: &Source) -> Vec<String> {
    if is_test_file(path) || !NETWORK.iter().any(|prefix| path.starts_with(prefix)) {
        return Vec::new();
    }
    let naked = source.lines().filter(|(_, line, is_test)| !is_test && line.contains(".unwrap()"));
    naked
        .map(|(number, _, _)| format!("{path}: line {number} unwraps in a crate that touches network bytes"))
        .collect()
}

pub(crate) fn re_exports(path: &str, source: &Source) -> Vec<String> {
    let lines = source.lines().filter(|(_, line, _)| line.trim_start().starts_with("pub use "));
    lines
        .map(|(number, _, _)| format!("{path}: line {number} re-exports; import a thing from where it lives"))
        .collect()
}

/// Paths of a developer's machine and names of tools that nobody else has.
pub(crate) fn machine_words(path: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not find itself.
    let words = [["/wo", "rk/"], ["/ro", "ot/"], ["/home", "/"], ["clau", "de"], ["anthro", "pic"]]
        .map(|w| w.concat());
    let mut faults = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let lower = line.to_ascii_lowercase();
        for word in words.iter().filter(|word| lower.contains(word.as_str())) {
            faults.push(format!("{path}: line {} names a machine or a tool: {word}", i + 1));
        }
    }
    faults
}

/// Roles have one name each (glossary: primary, standby, replica).
pub(crate) fn glossary(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (i, line) in text.lines().enumerate() {
        // The postmaster is PostgreSQL's own word.
        let lower = line.to_ascii_lowercase().replace("postmaster", "");
        if lower.contains("master") || lower.contains("slave") {
            faults.push(format!("{path}: line {} speaks of master or slave: {}", i + 1, line.trim()));
        }
    }
    faults
}

pub(crate) fn lock_sources(path: &str, text: &str) -> Vec<String> {
    let public = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let foreign = text.lines().filter(|line| line.starts_with("source = ") && *line != public);
    foreign.map(|line| format!("{path}: not from crates.io: {line}")).collect()
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.contains("/tests/")
        || path.starts_with("tests/")
}

/// `word` not preceded by a letter, so that `rand::` is not found in `operand::`.
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new(text)
    }

    #[test]
    fn length_has_a_limit() {
        assert_eq!(file_length("a.rs", &"x\n".repeat(400)), None);
        assert!(file_length("a.rs", &"x\n".repeat(401)).is_some());
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "    x();\n".repeat(lines - 2));
        assert!(function_length("a.rs", &source(&function(70))).is_empty());
        let faults = function_length("a.rs", &source(&function(71)));
        assert!(faults[0].starts_with("a.rs f: 71 lines"), "{faults:?}");
    }

    #[test]
    fn long_inline_tests_are_found() {
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "\n".repeat(150));
        assert_eq!(inline_tests("crates/wire/src/a.rs", &source(&text)).len(), 1);
        assert!(inline_tests("crates/wire/src/a/tests.rs", &source(&text)).is_empty());
    }

    #[test]
    fn a_lib_file_may_not_do_anything() {
        let page = |text: &str| lib_page("lib.rs", text, &source(text)).len();
        assert_eq!(page("//! Page.\n#![doc = \"x\"]\npub mod a;\n"), 0);
        assert_eq!(page("pub mod a;\n"), 1);
        for more in ["pub use a::B;", "mod a;", "fn f() {}", "pub mod a { }"] {
            assert_eq!(page(&format!("//! Page.\n{more}\n")), 1, "{more}");
        }
    }

    #[test]
    fn names_must_say_something() {
        for path in ["crates/a/src/util.rs", "common.rs", "a/helpers.rs", "a/mod.rs"] {
            assert!(empty_name(path).is_some(), "{path}");
        }
        for path in ["crates/a/src/frame.rs", "crates/a/tests/story/mod.rs"] {
            assert_eq!(empty_name(path), None, "{path}");
        }
    }

    #[test]
    fn a_pure_crate_may_not_look_at_the_clock() {
        let faults = |path: &str, line: &str| purity(path, &source(line)).len();
        for line in ["let t = Instant::now();", "rand::rng()", "use tokio::time;", "thread_local! {}"] {
            assert_eq!(faults("crates/session/src/a.rs", line), 1, "{line}");
        }
        assert_eq!(faults("crates/session/src/a.rs", "// Instant::now is an argument"), 0);
        assert_eq!(faults("crates/session/src/a.rs", "operand::new()"), 0);
        assert_eq!(faults("crates/proxy/src/a.rs", "Instant::now()"), 0);
        assert_eq!(faults("crates/topology/src/a.rs", "use tokio::sync::watch;"), 0);
        assert_eq!(faults("crates/topology/src/a.rs", "use tokio::time::sleep;"), 1);
    }

    #[test]
    fn an_unwrap_is_found_outside_tests() {
        let faults = |path: &str, text: &str| unwraps(path, &source(text)).len();
        assert_eq!(faults("crates/wire/src/a.rs", "fn f() { x.unwrap(); }"), 1);
        assert_eq!(faults("crates/wire/src/a.rs", "#[cfg(test)]\nmod t {\n fn f() { x.unwrap(); }\n}"), 0);
        assert_eq!(faults("crates/wire/src/a.rs", "fn f() { x.unwrap_or(0); /* .unwrap() */ }"), 0);
        assert_eq!(faults("crates/lab/src/a.rs", "fn f() { x.unwrap(); }"), 0);
    }

    #[test]
    fn words_are_found() {
        let path = ["/wo", "rk/main"].concat();
        assert_eq!(machine_words("a", &format!("x\ncd {path}\n")).len(), 1);
        assert_eq!(glossary("a", "the Master\nthe postmaster.pid").len(), 1);
        assert_eq!(re_exports("a", &source("    pub use a::B;\nuse c::D;")).len(), 1);
        let lock = "source = \"git+https://example.org/x\"\n";
        assert_eq!(lock_sources("Cargo.lock", lock).len(), 1);
    }
}
