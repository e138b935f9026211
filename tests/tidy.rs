//! The house rules that a machine can check. Each rule is a function from text to faults, with a unit test that shows
//! it can fail; the tests of this file apply them to the whole tree. An exception stands in a table with its reason,
//! and one that is no longer needed is itself a fault.

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tree.rs"]
mod tree;

use source::Source;
use tree::{Tree, without_excused};

/// Files above the limit: path, reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions above the limit: `path function`, reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Files that may use words the glossary replaces: path, reason.
const FOREIGN_WORDS: &[(&str, &str)] = &[
    ("crates/admin/src/path.rs", "one health path of the API contract has such a name"),
    ("crates/pgherd/src/cli/cluster.rs", "reads the role words of other versions of the API"),
    (
        "crates/pgherd/tests/keys.rs",
        "proves that the words are kept out, and tries the old name of a setting",
    ),
    ("crates/pgherd/tests/settings.rs", "tries the old name of a setting"),
    ("crates/pgherd/src/config/keys/control.rs", "Patroni's names of two settings, accepted as they were"),
    ("crates/pgherd/src/config/words.rs", "Patroni 3's word for a role, asked for by a setting"),
    ("tests/tidy/rules.rs", "names the words it looks for"),
];

fn assert_tidy(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn crates_import_only_lower_floors() {
    let tree = Tree::read();
    let manifests: Vec<_> = tree.manifests().collect();
    assert!(manifests.len() > 14, "the walk found only {} crates", manifests.len());
    assert_tidy(manifests.iter().flat_map(|(path, text)| arrows::faults(path, text)).collect());
}

#[test]
fn every_crate_lives_by_the_workspace() {
    let tree = Tree::read();
    assert_tidy(tree.manifests().flat_map(|(path, text)| arrows::manifest_faults(path, text)).collect());
}

#[test]
fn files_stay_short() {
    let tree = Tree::read();
    let faults = tree.rust().flat_map(|(path, text)| rules::file_length(path, text)).collect();
    assert_tidy(without_excused(faults, LONG_FILES));
}

#[test]
fn functions_stay_short() {
    let tree = Tree::read();
    let faults = tree.rust().flat_map(|(path, text)| rules::function_length(path, &Source::new(text)));
    assert_tidy(without_excused(faults.collect(), LONG_FUNCTIONS));
}

#[test]
fn long_tests_live_in_a_sibling_file() {
    let tree = Tree::read();
    let faults = tree.rust().flat_map(|(path, text)| rules::inline_tests(path, &Source::new(text)));
    assert_tidy(faults.collect());
}

#[test]
fn lib_files_are_a_page_and_a_list() {
    let tree = Tree::read();
    let libs = tree.rust().filter(|(path, _)| path.ends_with("src/lib.rs"));
    assert_tidy(libs.flat_map(|(path, text)| rules::lib_page(path, text, &Source::new(text))).collect());
}

#[test]
fn nothing_is_named_after_nothing() {
    let tree = Tree::read();
    assert_tidy(tree.rust().filter_map(|(path, _)| rules::empty_name(path)).collect());
}

#[test]
fn pure_crates_get_time_and_chance_as_arguments() {
    let tree = Tree::read();
    assert_tidy(tree.rust().flat_map(|(path, text)| rules::purity(path, &Source::new(text))).collect());
}

#[test]
fn network_bytes_are_never_unwrapped() {
    let tree = Tree::read();
    assert_tidy(tree.rust().flat_map(|(path, text)| rules::unwraps(path, &Source::new(text))).collect());
}

#[test]
fn things_are_imported_from_where_they_live() {
    let tree = Tree::read();
    assert_tidy(tree.rust().flat_map(|(path, text)| rules::re_exports(path, &Source::new(text))).collect());
}

#[test]
fn no_machine_is_named() {
    let tree = Tree::read();
    assert_tidy(tree.all().flat_map(|(path, text)| rules::machine_words(path, text)).collect());
}

#[test]
fn the_glossary_is_kept() {
    let tree = Tree::read();
    let faults = tree.rust().flat_map(|(path, text)| rules::glossary(path, text)).collect();
    assert_tidy(without_excused(faults, FOREIGN_WORDS));
}

#[test]
fn dependencies_come_from_one_place() {
    let tree = Tree::read();
    let locks = tree.all().filter(|(path, _)| path.ends_with("Cargo.lock"));
    assert_tidy(locks.flat_map(|(path, text)| rules::lock_sources(path, text)).collect());
}

#[test]
fn the_top_level_stays_clean() {
    assert_tidy(tree::top_level_faults(&Tree::read().top_level));
}
