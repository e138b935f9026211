//! What can be said about one key of the settings file. Everything that explains, checks or prints a key reads it here.

use std::time::Duration;

/// What happens to a changed value when the file is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    /// Holds at once.
    AtOnce,
    /// Holds for connections opened from now on.
    NewConnections,
    /// The old listener drains, a new one opens.
    Drain,
    /// Holds after a restart only.
    Restart,
}

impl Reload {
    /// The letter used in tables.
    pub fn letter(self) -> char {
        match self {
            Reload::AtOnce => 'H',
            Reload::NewConnections => 'N',
            Reload::Drain => 'D',
            Reload::Restart => 'R',
        }
    }

    /// The class in words.
    pub fn sentence(self) -> &'static str {
        match self {
            Reload::AtOnce => "at once",
            Reload::NewConnections => "for new connections",
            Reload::Drain => "the old listener drains",
            Reload::Restart => "needs a restart",
        }
    }
}

/// What must be true of the path a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// A file that can be read.
    File,
    /// A directory that is there.
    Directory,
    /// Nothing: it is made when needed.
    Made,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `"10s"`, `"1h30m"`. `bare`: a plain number is taken as seconds. `off`: the word `"off"` is allowed.
    Duration {
        /// Least.
        min: Duration,
        /// Most.
        max: Duration,
        /// `"off"` allowed.
        off: bool,
        /// Plain number of seconds allowed.
        bare: bool,
    },
    /// `"16MB"`, in steps of 1024. `bare`: a plain number is taken as bytes.
    Bytes {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
        /// `"off"` allowed.
        off: bool,
        /// Plain number of bytes allowed.
        bare: bool,
    },
    /// A whole number, or one word that stands for "none" (`"off"`, `"auto"`).
    Int {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
        /// The word.
        none: Option<&'static str>,
    },
    /// `true` or `false`; the words `"on"` and `"off"` mean the same.
    Bool,
    /// Any text that is not empty unless `empty`.
    Text {
        /// The empty text is allowed.
        empty: bool,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of sizes.
    BytesList,
    /// `host:port`.
    Address {
        /// `"off"` allowed.
        off: bool,
    },
    /// A path; relative ones are relative to the settings file.
    Path {
        /// What must be there.
        rule: PathRule,
        /// `"off"` allowed.
        off: bool,
    },
    /// A text that is never shown.
    Secret,
    /// Permission bits in octal, as text: `"0770"`.
    Mode,
}

/// What holds when nobody says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// This value (without the quotes the file would need).
    Is(&'static str),
    /// No value of its own: why, and an example for the sample file.
    Unset {
        /// "as `pool.mode`", "none".
        means: &'static str,
        /// A value that could stand there.
        example: &'static str,
    },
    /// It must be given; an example for the sample file.
    Required(&'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in its section; dotted for a key in an inner table (`tags.nofailover`).
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is otherwise.
    pub default: Default,
    /// What a reload does.
    pub reload: Reload,
    /// First version that knows it.
    pub since: &'static str,
    /// Older spellings still understood.
    pub deprecated: &'static [&'static str],
    /// Accepted already, but read by a later part of pgherd only.
    pub later: bool,
    /// One paragraph for people.
    pub doc: &'static str,
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Name in brackets.
    pub name: &'static str,
    /// `[[name]]` instead of `[name]`; the key that names an instance.
    pub repeated: Option<&'static str>,
    /// One paragraph for people.
    pub doc: &'static str,
    /// Its keys, in the order people read them.
    pub keys: &'static [Key],
}

impl Section {
    /// The section as it is written in a file.
    pub fn header(&self) -> String {
        if self.repeated.is_some() { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    /// The key of this name (current spelling).
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Seconds, for the tables.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A day, the usual upper limit of a duration.
pub const DAY: Duration = Duration::from_secs(86_400);
/// A year, the upper limit of those that are rather never.
pub const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// The least duration that is not nothing.
pub const MS: Duration = Duration::from_millis(1);

const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    reload: Reload,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default: Default::Is(default),
        reload,
        since: "0.1",
        deprecated: &[],
        later: false,
        doc,
    }
}

/// A duration between `min` and `max`.
pub const fn duration(
    name: &'static str,
    default: &'static str,
    range: (Duration, Duration),
    reload: Reload,
    doc: &'static str,
) -> Key {
    key(name, Kind::Duration { min: range.0, max: range.1, off: false, bare: false }, default, reload, doc)
}

/// A size between `min` and `max` bytes.
pub const fn bytes(
    name: &'static str,
    default: &'static str,
    range: (u64, u64),
    reload: Reload,
    doc: &'static str,
) -> Key {
    key(name, Kind::Bytes { min: range.0, max: range.1, off: false, bare: false }, default, reload, doc)
}

/// A whole number between `min` and `max`.
pub const fn int(
    name: &'static str,
    default: &'static str,
    range: (u32, u32),
    reload: Reload,
    doc: &'static str,
) -> Key {
    key(name, Kind::Int { min: range.0, max: range.1, none: None }, default, reload, doc)
}

/// Yes or no.
pub const fn boolean(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Bool, default, reload, doc)
}

/// A text.
pub const fn text(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Text { empty: default.is_empty() }, default, reload, doc)
}

/// One word of these.
pub const fn word(
    name: &'static str,
    words: &'static [&'static str],
    default: &'static str,
    reload: Reload,
    doc: &'static str,
) -> Key {
    key(name, Kind::Word(words), default, reload, doc)
}

/// An address to listen on.
pub const fn address(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Address { off: true }, default, reload, doc)
}

/// A path that need not be given.
pub const fn path(name: &'static str, rule: PathRule, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Path { rule, off: true }, "off", reload, doc)
}

/// A text that is never shown; not given unless it is.
pub const fn secret(name: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Secret, "", reload, doc).unset("none", "correct horse battery staple")
}

/// A list of texts, empty unless given.
pub const fn list(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::List, default, reload, doc)
}

/// A list of sizes.
pub const fn bytes_list(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::BytesList, default, reload, doc)
}

/// Permission bits.
pub const fn mode(name: &'static str, default: &'static str, reload: Reload, doc: &'static str) -> Key {
    key(name, Kind::Mode, default, reload, doc)
}

impl Key {
    /// The same, with `"off"` allowed (for a number: the word that stands for no limit).
    pub const fn off(mut self) -> Key {
        self.kind = match self.kind {
            Kind::Duration { min, max, bare, .. } => Kind::Duration { min, max, off: true, bare },
            Kind::Bytes { min, max, bare, .. } => Kind::Bytes { min, max, off: true, bare },
            Kind::Int { min, max, .. } => Kind::Int { min, max, none: Some("off") },
            other => other,
        };
        self
    }

    /// The same number, with the word `"auto"` for none.
    pub const fn auto(mut self) -> Key {
        if let Kind::Int { min, max, .. } = self.kind {
            self.kind = Kind::Int { min, max, none: Some("auto") };
        }
        self
    }

    /// The same, and a plain number is understood as seconds or bytes: the requirement documents write it so.
    pub const fn bare(mut self) -> Key {
        self.kind = match self.kind {
            Kind::Duration { min, max, off, .. } => Kind::Duration { min, max, off, bare: true },
            Kind::Bytes { min, max, off, .. } => Kind::Bytes { min, max, off, bare: true },
            other => other,
        };
        self
    }

    /// The same, without a value of its own when not given.
    pub const fn unset(mut self, means: &'static str, example: &'static str) -> Key {
        self.default = Default::Unset { means, example };
        self.filled()
    }

    /// The same, and it must be given.
    pub const fn required(mut self, example: &'static str) -> Key {
        self.default = Default::Required(example);
        self.filled()
    }

    /// A text that is given must say something.
    const fn filled(mut self) -> Key {
        if let Kind::Text { .. } = self.kind {
            self.kind = Kind::Text { empty: false };
        }
        self
    }

    /// The same, with older spellings.
    pub const fn formerly(mut self, names: &'static [&'static str]) -> Key {
        self.deprecated = names;
        self
    }

    /// The same, accepted now and read by a later part.
    pub const fn later(mut self) -> Key {
        self.later = true;
        self
    }
}
