//! The console's conversation: any bytes have an answer, and it is the same however they come.

use bytes::BytesMut;
use pgherd_admin::console::cell::Cell;
use pgherd_admin::console::command::Command;
use pgherd_admin::console::office::Standing;
use pgherd_admin::console::talk::{Outcome, Speaker, Step, Talk};
use pgherd_wire::frame::header;

pub(crate) fn run(data: &[u8]) {
    let whole = play(&[data]);
    // Where it is cut comes from the bytes themselves.
    let at = data.iter().map(|byte| usize::from(*byte)).sum::<usize>() % (data.len() + 1);
    let (front, back) = data.split_at(at);
    assert_eq!(play(&[front, back]), whole);
    assert_eq!(play(&data.chunks(1).collect::<Vec<_>>()), whole);
}

/// What a client is sent, and whether it may go on.
fn play(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let speaker = Speaker {
        user: "u".into(),
        database: "pgherd".into(),
        standing: Standing::Admin,
        version: "pgherd".into(),
    };
    let (mut talk, mut input, mut out) = (Talk::new(speaker), BytesMut::new(), BytesMut::new());
    let mut goes_on = true;
    for piece in pieces {
        input.extend_from_slice(piece);
        while goes_on {
            match talk.step(&mut input, &mut out) {
                Ok(Step::More) => break,
                Ok(Step::Run(command)) => {
                    let outcome = match &command {
                        Command::Show(show) => {
                            Outcome::Rows(vec![vec![Cell::Number(-1); show.columns().len()]; 2])
                        }
                        Command::Complete(_) => Outcome::Rows(vec![vec![Cell::text("name")]]),
                        _ => Outcome::Done,
                    };
                    talk.answer(outcome, &mut out);
                }
                Ok(Step::Goodbye) | Err(_) => goes_on = false,
            }
        }
    }
    whole_frames(&out);
    (out.to_vec(), goes_on)
}

fn whole_frames(mut out: &[u8]) {
    while let Some(frame) = header(out).expect("our own lengths") {
        out = out.get(frame.total..).expect("a whole message");
    }
    assert!(out.is_empty(), "half a message");
}
