//! What pgherd asks a catalog, on every major version of PostgreSQL that is here: `tests/run` says which it brought.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use pgherd_lab::binaries::Binaries;
use pgherd_lab::lab::Lab;
use pgherd_lab::options::Options;
use pgherd_route::builtin::harmless_names;
use pgherd_route::digest::QUERY;
use pgherd_tests::fixture;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Names directories with the programs of further PostgreSQL servers, parted as in PATH.
const OTHERS: &str = "PGHERD_PG_OTHERS";

const EXPECTED: &str = include_str!("../routing/digest.tsv");
const HARMLESS: &str = include_str!("../../crates/route/src/builtin/harmless.sql");

/// Until 14 one of its forms was declared volatile, because it asks for the present date; it does nothing else.
const ONCE_VOLATILE: &str = "timezone";

type Rows = BTreeSet<String>;

#[tokio::test]
async fn the_digest_is_what_the_table_says_on_every_major() {
    let mut seen = BTreeMap::new();
    for binaries in installations() {
        let (major, version) = (binaries.major(), binaries.version().to_owned());
        if seen.contains_key(&major) {
            continue;
        }
        let lab = Lab::start(Options {
            prefix: "pgherd-catalog".to_owned(),
            replicas: 0,
            bin_dir: Some(binaries.directory().to_path_buf()),
            ..Options::default()
        });
        let lab = lab.await.unwrap();
        fixture::build(&lab, "postgres").await.unwrap();
        let faults = [digest(&lab).await, builtin(&lab).await].concat();
        lab.shutdown().await.unwrap();
        println!("PostgreSQL {version}: {} differences", faults.len());
        seen.insert(major, faults);
    }
    println!("majors: {:?}", seen.keys());
    seen.retain(|_, faults| !faults.is_empty());
    assert!(seen.is_empty(), "{seen:#?}");
}

/// The server that the other tests use, and those that are named.
fn installations() -> Vec<Binaries> {
    let others = std::env::var_os(OTHERS).unwrap_or_default();
    let named: Vec<PathBuf> =
        std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty()).collect();
    let others = named.iter().map(|directory| Binaries::find(Some(directory), None).unwrap());
    std::iter::once(Binaries::find(None, None).unwrap()).chain(others).collect()
}

/// The digest of the fixture, as pgherd asks for it, against the table.
async fn digest(lab: &Lab) -> Vec<String> {
    let names = harmless_names().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(",");
    let sql = QUERY.replace("$1", &format!("'{{{names}}}'"));
    let answer = lab.primary().sql("postgres", &sql).await.unwrap();
    let found: Rows = answer.lines().map(|line| line.replace('|', "\t")).collect();
    let expected: Rows = EXPECTED.lines().map(str::to_owned).collect();
    let missing = expected.difference(&found).map(|row| format!("the digest lacks {row:?}"));
    missing.chain(found.difference(&expected).map(|row| format!("the digest has {row:?}"))).collect()
}

/// Names that pgherd takes for harmless everywhere and that this version has, but not as harmless ones.
async fn builtin(lab: &Lab) -> Vec<String> {
    let ask = async |sql: &str| -> Rows {
        lab.primary().sql("postgres", sql).await.unwrap().lines().map(str::to_owned).collect()
    };
    // What takes or gives `internal` nobody can call.
    let callable = "SELECT DISTINCT proname FROM pg_proc WHERE oid < 16384 AND NOT 'internal'::regtype = ANY (proargtypes::oid[] || prorettype)";
    let there = ask(callable).await;
    let harmless = ask(HARMLESS).await;
    assert!(harmless.len() > 1000, "{} names", harmless.len());
    let wrong = harmless_names().filter(|name| there.contains(*name) && !harmless.contains(*name));
    let wrong = wrong.filter(|name| lab.binaries().major() > 14 || *name != ONCE_VOLATILE);
    wrong.map(|name| format!("{name} is not harmless here")).collect()
}
