//! The fuzz targets' twin for every test run: the same bodies, fed with random bytes and with mutated seeds, without a
//! coverage-guided fuzzer. Deterministic: the seed is fixed, or taken from `PGHERD_FUZZ_SEED`; a failure prints it.
//! `tests/fuzz/run.sh` runs the same bodies under libFuzzer; those of the settings and the console only here, with changing seeds,
//! because building all they stand on for coverage takes longer than it finds anything.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fs;
use std::path::Path;

#[path = "targets/backend.rs"]
mod backend;
#[path = "targets/classify.rs"]
mod classify;
#[path = "targets/console.rs"]
mod console;
#[path = "targets/frames.rs"]
mod frames;
#[path = "targets/frontend.rs"]
mod frontend;
#[path = "targets/lexer.rs"]
mod lexer;
#[path = "targets/origin.rs"]
mod origin;
#[path = "targets/session.rs"]
mod session;
#[path = "targets/settings.rs"]
mod settings;

const CASES: u32 = 3000;
const DEFAULT_SEED: u64 = 5000;
/// Smaller inputs tried after a failure; each prints its own panic.
const MAX_SHRINKS: u32 = 200;
/// Changes made to one seed.
const MAX_EDITS: usize = 6;

#[test]
fn frames_are_the_same_however_they_are_cut() {
    feed("frames", frames::run);
}

#[test]
fn what_clients_send_is_viewed_without_a_panic() {
    feed("frontend", frontend::run);
}

#[test]
fn what_servers_send_is_viewed_without_a_panic() {
    feed("backend", backend::run);
}

#[test]
fn a_balancers_header_is_the_same_however_it_is_cut() {
    feed("origin", origin::run);
}

#[test]
fn a_session_decides_the_same_however_its_bytes_are_cut() {
    feed("session", session::run);
}

#[test]
fn sql_text_is_read_to_its_end() {
    feed("lexer", lexer::run);
}

#[test]
fn a_text_is_classified_with_care() {
    feed("classify", classify::run);
}

#[test]
fn the_console_answers_the_same_however_its_bytes_are_cut() {
    feed("console", console::run);
}

#[test]
fn a_settings_file_is_usable_or_refused_with_reasons() {
    feed("settings", settings::run);
}

/// A target that fails must fail here, or the runs above mean nothing.
#[test]
fn a_planted_fault_is_found() {
    let planted = |data: &[u8]| assert!(!data.windows(2).any(|pair| pair == b"\0S"), "planted");
    assert!(try_feed("frontend", planted, DEFAULT_SEED).is_err());
}

fn feed(name: &str, target: fn(&[u8])) {
    let seed =
        std::env::var("PGHERD_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_SEED);
    if let Err(report) = try_feed(name, target, seed) {
        panic!("{name} (repeat with PGHERD_FUZZ_SEED={seed}): {report}");
    }
}

fn try_feed(name: &str, target: impl Fn(&[u8]), seed: u64) -> Result<(), String> {
    let seeds = read_seeds(name);
    for bytes in &seeds {
        target(bytes);
    }
    let mut rng_seed = [0; 32];
    rng_seed[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: MAX_SHRINKS,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &rng_seed);
    let run = |input: Vec<u8>| {
        target(&input);
        Ok(())
    };
    TestRunner::new_with_rng(config, rng).run(&inputs(seeds), run).map_err(|error| error.to_string())
}

/// Random bytes, and seeds with a few edits.
fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<Edit>()), 0..MAX_EDITS);
    let mutated = (prop::sample::select(seeds), edits).prop_map(|(mut bytes, edits)| {
        for (place, edit) in edits {
            edit.apply(&mut bytes, place);
        }
        bytes
    });
    prop_oneof![1 => vec(any::<u8>(), 0..300), 3 => mutated]
}

/// One change of a seed.
#[derive(Clone, Debug)]
enum Edit {
    Replace(u8),
    Insert(u8),
    Remove,
    Cut,
    Double,
}

impl Arbitrary for Edit {
    type Parameters = ();
    type Strategy = BoxedStrategy<Edit>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let byte =
            || prop_oneof![any::<u8>(), Just(0), Just(b'S'), Just(0xff), Just(b'\''), Just(b'$'), Just(b'"')];
        prop_oneof![
            3 => byte().prop_map(Edit::Replace),
            2 => byte().prop_map(Edit::Insert),
            2 => Just(Edit::Remove),
            1 => Just(Edit::Cut),
            1 => Just(Edit::Double),
        ]
        .boxed()
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>, place: prop::sample::Index) {
        let at = place.index(bytes.len() + 1);
        match self {
            Edit::Insert(byte) => bytes.insert(at, *byte),
            Edit::Cut => bytes.truncate(at),
            Edit::Double => bytes.extend_from_within(at..),
            Edit::Replace(_) | Edit::Remove if at == bytes.len() => {}
            Edit::Replace(byte) => bytes[at] = *byte,
            Edit::Remove => drop(bytes.remove(at)),
        }
    }
}

fn read_seeds(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<_> = fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", directory.display());
    paths.iter().map(|path| fs::read(path).expect("a readable seed")).collect()
}
