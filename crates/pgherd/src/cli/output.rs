//! Standard output and standard error.

use crate::cli::Color;
use std::io::{IsTerminal, Write};

/// How to talk.
#[derive(Clone, Copy, Debug)]
pub struct Talk {
    /// Colours on standard output.
    pub color: bool,
    verbose: bool,
}

/// Colours used; each says the same as a word beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// All is well.
    Green,
    /// Not all of it.
    Yellow,
    /// Broken.
    Red,
}

impl Talk {
    /// From the command line, the environment and what standard output is.
    pub fn new(color: Color, verbose: bool) -> Talk {
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: set and not empty.
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::io::stdout().is_terminal()
            }
        };
        Talk { color, verbose }
    }

    /// The text in colour, if colours are used.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Green => 32,
            Paint::Yellow => 33,
            Paint::Red => 31,
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    /// Says something on standard error under `-v` only.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            say(text);
        }
    }
}

/// Says something on standard error. Nobody listening is no fault of ours.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Data for standard output. A reader that left early (`| head`) is no fault either, so this does not panic as `print!`
/// would.
pub fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
