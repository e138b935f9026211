//! What the programs of the matrix for Rust share: where to connect, and how an observation is told. See ../README.md.
use md5::{Digest, Md5};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::{Debug, Write};

/// How often each of many clients does what it does.
pub const ROUNDS: i32 = 10;

/// What the runner tells about where to connect.
pub fn told(name: &str) -> String {
    env::var(format!("PGHERD_{name}")).unwrap_or_else(|_| panic!("PGHERD_{name} is not set"))
}

/// The same, a number.
pub fn number(name: &str) -> i32 {
    told(name).parse().expect("a number")
}

/// The port to connect to.
pub fn port() -> u16 {
    told("PORT").parse().expect("a port")
}

/// Eight million characters of which no two places are alike.
pub fn big() -> String {
    (0..1_000_000).fold(String::with_capacity(8_000_000), |mut text, n| {
        write!(text, "{n:08}").expect("a String takes everything");
        text
    })
}

/// The value in one line; a long one as its length and digest.
pub fn short(value: impl Debug) -> String {
    let text = format!("{value:?}");
    if text.len() <= 400 {
        return text;
    }
    let digest =
        Md5::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{} characters, md5 {digest}", text.len())
}

/// One line of the transcript: of which feature, and what was seen.
pub fn say(feature: &str, observed: impl Debug) {
    println!("{feature} | {}", short(observed));
}

/// What one of many clients has seen while the others ran: each thing once, so that a stranger's stands out.
#[derive(Debug, Default)]
pub struct Seen(BTreeMap<&'static str, BTreeSet<String>>);

impl Seen {
    /// Takes down what was seen.
    pub fn see(&mut self, what: &'static str, value: impl Debug) {
        self.0.entry(what).or_default().insert(short(value));
    }

    /// Tells all of it.
    pub fn tell(&self, number: i32) {
        let all: Vec<String> = self
            .0
            .iter()
            .map(|(what, seen)| format!("{what}: {}", seen.iter().cloned().collect::<Vec<_>>().join(", ")))
            .collect();
        println!("mix | client {number} | {}", all.join(" | "));
    }
}
