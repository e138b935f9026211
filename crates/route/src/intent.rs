//! What a transaction wants, before anybody has looked at the cluster.

use pgherd_topology::node::NodeId;

/// What the listener a client came through promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Routing {
    /// Always the writable node (port 5000).
    #[default]
    Primary,
    /// Eligible replicas; read only whatever node it is (port 5001).
    Replicas,
    /// Reads and writes split per transaction (port 5002).
    Any,
}

/// Where reads should go; the words are those of the setting `default_read_preference`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preference {
    /// The primary, or wait for one.
    Primary,
    /// The primary; a replica while there is none.
    PrimaryPreferred,
    /// A replica, or wait for one.
    Replica,
    /// A replica; the primary while none is eligible.
    #[default]
    ReplicaPreferred,
    /// Whichever answers probes fastest, primary included.
    Nearest,
}

impl Preference {
    /// Every preference, in the order in which documentation lists them.
    pub const ALL: [Preference; 5] = [
        Preference::Primary,
        Preference::PrimaryPreferred,
        Preference::Replica,
        Preference::ReplicaPreferred,
        Preference::Nearest,
    ];

    /// The word used in settings, `SET pgherd.read_preference` and tables.
    pub fn word(self) -> &'static str {
        match self {
            Preference::Primary => "primary",
            Preference::PrimaryPreferred => "primary_preferred",
            Preference::Replica => "replica",
            Preference::ReplicaPreferred => "replica_preferred",
            Preference::Nearest => "nearest",
        }
    }

    /// The preference with this word, if there is one; case matters, as in the settings file.
    pub fn from_word(word: &str) -> Option<Preference> {
        Preference::ALL.into_iter().find(|preference| preference.word() == word)
    }
}

/// What the first statement of a transaction was found to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Class {
    /// Proven to only read.
    Read,
    /// Known to write.
    Write,
    /// Touches session state that lives on one server (advisory locks, temporary tables, LISTEN).
    Session,
    /// Not classified. Treated as a write wherever that matters.
    #[default]
    Unknown,
}

impl Class {
    /// The word used in tables.
    pub fn word(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Write => "write",
            Class::Session => "session",
            Class::Unknown => "unknown",
        }
    }
}

/// What one transaction wants. The default is the careful one: the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// The listener's promise.
    pub routing: Routing,
    /// What the session, transaction or statement asked for; `None` leaves it to [`crate::choose::Policy`].
    pub preference: Option<Preference>,
    /// What the first statement is.
    pub class: Class,
    /// The transaction was begun READ ONLY (by BEGIN, SET TRANSACTION or the session's default).
    pub read_only: bool,
    /// The transaction is SERIALIZABLE, which a standby refuses (PostgreSQL documentation, chapter 13.2.3).
    pub serializable: bool,
    /// A replica that has just failed this transaction: any other is better.
    pub avoid: Option<NodeId>,
}

impl Intent {
    /// May this transaction run on a standby without anybody noticing? Only what is proven: a READ ONLY transaction
    /// or a statement classified as a read, and never SERIALIZABLE.
    pub fn may_leave_primary(&self) -> bool {
        match self.class {
            Class::Write | Class::Session => false,
            Class::Read => !self.serializable,
            Class::Unknown => self.read_only && !self.serializable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back() {
        for preference in Preference::ALL {
            assert_eq!(Preference::from_word(preference.word()), Some(preference));
        }
        assert_eq!(Preference::from_word("Replica"), None);
    }

    #[test]
    fn only_proven_reads_leave_the_primary() {
        let intent =
            |class, read_only, serializable| Intent { class, read_only, serializable, ..Intent::default() };
        for (class, read_only, serializable, may) in [
            (Class::Unknown, false, false, false),
            (Class::Unknown, true, false, true),
            (Class::Unknown, true, true, false),
            (Class::Read, false, false, true),
            (Class::Read, true, true, false),
            (Class::Write, true, false, false),
            (Class::Session, true, false, false),
        ] {
            assert_eq!(
                intent(class, read_only, serializable).may_leave_primary(),
                may,
                "{class:?} {read_only}"
            );
        }
    }
}
