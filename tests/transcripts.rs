//! The session machine against written conversations: `transcripts/*.txt`, in the notation of `transcripts/script.rs`. Each is played whole, byte by byte, and
//! cut in two at every point of every line; what goes where must be the same each time.

#[path = "transcripts/notation.rs"]
mod notation;
#[path = "transcripts/player.rs"]
mod player;
#[path = "transcripts/script.rs"]
mod script;
#[path = "transcripts/words.rs"]
mod words;

use player::{Cut, play};
use script::{Script, Step, scripts};
use std::fs;
use std::path::Path;

/// Lines longer than this are cut only at both ends and around the sizes where the machine changes its mind.
const LONG_LINE: usize = 2000;

/// Points of a line where it is cut in two.
fn cuts(len: usize) -> impl Iterator<Item = usize> {
    const CHANGES: [usize; 2] = [64 * 1024, 1024 * 1024];
    let near = |at: usize, point: usize| at.abs_diff(point) < 7;
    (1..len).filter(move |at| {
        len <= LONG_LINE || near(*at, 0) || near(*at, len) || CHANGES.iter().any(|change| near(*at, *change))
    })
}

fn play_in_every_way(script: &Script) -> Result<(), String> {
    play(script, Cut::Whole)?;
    play(script, Cut::Bytes { patient: true })?;
    let longest = script.steps.iter().map(|(_, step)| sent(step)).max().unwrap_or(0);
    if longest <= LONG_LINE {
        play(script, Cut::Bytes { patient: false })?;
    }
    for (line, step) in &script.steps {
        cuts(sent(step)).try_for_each(|at| play(script, Cut::At(*line, at)))?;
    }
    Ok(())
}

fn sent(step: &Step) -> usize {
    match step {
        Step::Send(_, bytes) => bytes.len(),
        _ => 0,
    }
}

fn all() -> Vec<(String, Script)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is part of the tree") {
        let path = entry.expect("it can be listed").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).expect("it is text");
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let scripts = scripts(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            found.extend(scripts.into_iter().map(|script| (name.clone(), script)));
        }
    }
    found.sort_by_key(|(name, script)| (name.clone(), script.steps.first().map_or(0, |(line, _)| *line)));
    found
}

#[test]
fn every_transcript_plays_the_same_however_it_is_cut() {
    let all = all();
    assert!(all.len() >= 80, "only {} transcripts were found", all.len());
    let only = std::env::var("PGHERD_TRANSCRIPT").unwrap_or_default();
    let faults: Vec<String> = all
        .iter()
        .filter(|(name, script)| name.contains(&only) || script.title.contains(&only))
        .filter_map(|(name, script)| Some((name, &script.title, play_in_every_way(script).err()?)))
        .map(|(name, title, fault)| format!("{name}, \"{title}\":\n    {fault}"))
        .collect();
    assert!(faults.is_empty(), "{} of {} fail\n{}", faults.len(), all.len(), faults.join("\n"));
}

/// A transcript that tells a lie must be found out, whatever the lie is about.
#[test]
fn lies_are_found_out() {
    let truth = "== t\nC> Q \"select 1\"\nneed server lone\nattach a\n->S Q \"select 1\"\n\
                 S> C \"SELECT 1\" Z I\n->C C \"SELECT 1\" Z I\nno pin\nstatus I\nfree\nclean a\nC> X\ngoodbye\n";
    let fails = |from: &str, to: &str| {
        assert!(truth.contains(from), "{from}");
        let script = &scripts(&truth.replace(from, to)).expect("it can be read")[0];
        assert!(play_in_every_way(script).is_err(), "{from} became {to}");
    };
    play_in_every_way(&scripts(truth).expect("it can be read")[0]).expect("it is true");
    fails("need server lone", "need server");
    fails("->S Q \"select 1\"", "->S Q \"select 2\"");
    fails("->S Q \"select 1\"\n", "");
    fails("->C C \"SELECT 1\" Z I\n", "");
    fails("->C C \"SELECT 1\" Z I", "->C C \"SELECT 1\"");
    fails("no pin", "pin listen");
    fails("status I", "status T");
    fails("free\nclean a\n", "");
    fails("attach a\n", "attach a\nfree\n");
    fails("clean a", "dirty a listen");
    fails("goodbye", "broken x");
}
