//! The files of the project, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold no source: build output and what tools leave.
const SKIPPED: [&str; 6] = [".git", "target", "node_modules", ".venv", "__pycache__", "corpus"];

/// What may stand beside the crates (design: nothing else without need).
const TOP_LEVEL: [&str; 21] = [
    ".cargo",
    ".ci",
    ".config",
    ".dockerignore",
    ".gitattributes",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "bench",
    "clippy.toml",
    "config",
    "crates",
    "deny.toml",
    "docs",
    "rustfmt.toml",
];

/// All text files by their path from the root of the workspace.
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    /// Names at the root.
    pub(crate) top_level: Vec<String>,
}

impl Tree {
    pub(crate) fn read() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
        let mut files = BTreeMap::new();
        let mut top_level = Vec::new();
        let mut waiting: Vec<PathBuf> = vec![root.to_path_buf()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).expect("a readable tree") {
                let path = entry.expect("a readable entry").path();
                let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
                if SKIPPED.contains(&name.as_str()) || name.starts_with("target-") || name.ends_with(".swp") {
                    continue;
                }
                if directory == root {
                    top_level.push(name);
                }
                if path.is_dir() {
                    waiting.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    let from_root = path.strip_prefix(root).expect("below the root");
                    files.insert(from_root.to_string_lossy().into_owned(), text);
                }
            }
        }
        Tree { files, top_level }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The Cargo.toml of every crate of the workspace (not the workspace's own).
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_member = |path: &str| {
            path.strip_prefix("crates/").is_some_and(|rest| rest.split('/').count() == 2)
                || path == "tests/Cargo.toml"
                || path == "bench/Cargo.toml"
        };
        self.all().filter(move |(path, _)| path.ends_with("/Cargo.toml") && is_member(path))
    }
}

pub(crate) fn top_level_faults(names: &[String]) -> Vec<String> {
    let known = |name: &str| TOP_LEVEL.contains(&name) || name == "tests";
    let strangers = names.iter().filter(|name| !known(name));
    strangers.map(|name| format!("{name}: not one of the things that stand at the top level")).collect()
}

/// Takes out the faults that an exception excuses (a fault begins with `KEY: `), and adds one for each exception that
/// excuses nothing or gives no reason.
pub(crate) fn without_excused(faults: Vec<String>, exceptions: &[(&str, &str)]) -> Vec<String> {
    let excuses =
        |key: &str, fault: &String| fault.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    let idle = exceptions.iter().filter(|(key, _)| !faults.iter().any(|fault| excuses(key, fault)));
    let idle: Vec<_> = idle.map(|(key, _)| format!("{key}: is excused but needs no excuse")).collect();
    let mute = exceptions.iter().filter(|(_, reason)| reason.trim().is_empty());
    let mute: Vec<_> = mute.map(|(key, _)| format!("{key}: is excused without a reason")).collect();
    let left = faults.iter().filter(|fault| !exceptions.iter().any(|(key, _)| excuses(key, fault)));
    left.cloned().chain(idle).chain(mute).collect()
}

#[test]
fn an_exception_excuses_its_own_fault_only() {
    let faults = || vec!["a.rs: long".to_string(), "b.rs: long".to_string()];
    assert_eq!(without_excused(faults(), &[("a.rs", "a list")]), ["b.rs: long"]);
    assert_eq!(
        without_excused(faults(), &[("a.rs", "x"), ("b.rs", " ")]),
        ["b.rs: is excused without a reason"]
    );
    let stale = without_excused(vec![], &[("a.rs", "a list")]);
    assert_eq!(stale, ["a.rs: is excused but needs no excuse"]);
}

#[test]
fn a_stranger_at_the_top_is_seen() {
    let names = ["crates".to_string(), "tests".to_string(), "notes.txt".to_string()];
    assert_eq!(top_level_faults(&names).len(), 1);
}

#[test]
fn the_walk_sees_the_tree() {
    let tree = Tree::read();
    for path in ["Cargo.toml", "crates/wire/src/lib.rs", "tests/tidy.rs", "deny.toml"] {
        assert!(tree.all().any(|(found, _)| found == path), "{path} was not found");
    }
    assert!(tree.manifests().any(|(path, _)| path == "crates/topology/Cargo.toml"));
}
