//! Settings that are one word out of a few: each an enum with the words the file uses.

/// Declares an enum, its words in the file, and the way back.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// The words a settings file may use, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The value a word stands for.
            pub fn from_word(word: &str) -> Option<$name> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }

            /// The word for this value.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }
    };
}

words! {
    /// When a server connection goes back to its pool.
    PoolMode {
        /// When the client leaves.
        Session = "session",
        /// When the transaction ends.
        Transaction = "transaction",
        /// After every statement; transactions of several statements are refused.
        Statement = "statement",
    }
}
words! {
    /// How a client proves who it is.
    AuthMethod {
        /// Not at all.
        Trust = "trust",
        /// By the user of the operating system, on a Unix socket.
        Peer = "peer",
        /// By its certificate.
        Cert = "cert",
        /// Clear text password.
        Password = "password",
        /// MD5 challenge.
        Md5 = "md5",
        /// SCRAM-SHA-256 (RFC 7677).
        ScramSha256 = "scram-sha-256",
    }
}
words! {
    /// What certificate a client must show besides: PostgreSQL's `clientcert`.
    ClientCert {
        /// None.
        Off = "off",
        /// One that is valid.
        VerifyCa = "verify-ca",
        /// One that is valid and may be the user.
        VerifyFull = "verify-full",
    }
}
words! {
    /// Whether clients may or must use TLS.
    ClientTls {
        /// Refused.
        Off = "off",
        /// Offered.
        Prefer = "prefer",
        /// Clear text is refused.
        Require = "require",
    }
}
words! {
    /// TLS towards a server: libpq's `sslmode` (PostgreSQL documentation, "SSL Support").
    SslMode {
        /// Never.
        Disable = "disable",
        /// Only when the server insists.
        Allow = "allow",
        /// When the server can.
        Prefer = "prefer",
        /// Always, certificate not checked.
        Require = "require",
        /// Always, chain checked.
        VerifyCa = "verify-ca",
        /// Always, chain and host name checked.
        VerifyFull = "verify-full",
    }
}
words! {
    /// Whether the login to a server is bound to TLS: libpq's `channel_binding`.
    ChannelBinding {
        /// Never.
        Disable = "disable",
        /// When the server offers it.
        Prefer = "prefer",
        /// Or there is no login.
        Require = "require",
    }
}
words! {
    /// Lowest TLS version spoken with clients.
    TlsVersion {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }
}
words! {
    /// Log lines' verbosity.
    LogLevel {
        /// Errors.
        Error = "error",
        /// And warnings.
        Warn = "warn",
        /// And events.
        Info = "info",
        /// And details.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}
words! {
    /// Log lines' shape.
    LogFormat {
        /// Text on a terminal, JSON otherwise.
        Auto = "auto",
        /// Text.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
words! {
    /// What a listener stands for.
    ListenerRouting {
        /// The writable node.
        Primary = "primary",
        /// Eligible replicas.
        Replicas = "replicas",
        /// Split by transaction.
        Any = "any",
    }
}
words! {
    /// Where reads prefer to go.
    ReadPreference {
        /// The primary only.
        Primary = "primary",
        /// The primary, a replica while there is none.
        PrimaryPreferred = "primary_preferred",
        /// A replica only.
        Replica = "replica",
        /// A replica, the primary while none is eligible.
        ReplicaPreferred = "replica_preferred",
        /// Whatever answers probes fastest.
        Nearest = "nearest",
    }
}
words! {
    /// What a read must have seen.
    Consistency {
        /// Anything within the lag limits.
        Eventual = "eventual",
        /// The session's own writes.
        ReadAfterWrite = "read_after_write",
        /// All writes through this proxy so far.
        Global = "global",
        /// Every write, whoever made it.
        Strong = "strong",
    }
}
words! {
    /// Which transactions of several statements may leave the primary.
    SplitInTransactions {
        /// None.
        Never = "never",
        /// `BEGIN READ ONLY`.
        ReadOnlyOnly = "read_only_only",
    }
}
words! {
    /// When the automatic failover acts.
    FailoverStrategy {
        /// Soft guards do not stop it.
        Automatic = "automatic",
        /// Alone when every guard is green, else it asks.
        Supervised = "supervised",
        /// Never by itself.
        Manual = "manual",
    }
}
words! {
    /// How sure pgherd must be that the old primary is down before it promotes.
    Fencing {
        /// Only our own sockets are closed.
        None = "none",
        /// Try, go on when it fails.
        BestEffort = "best_effort",
        /// Must succeed.
        Required = "required",
    }
}
words! {
    /// From which moment clients are held.
    HoldStart {
        /// The first bad sign.
        Suspicion = "suspicion",
        /// The confirmed failure.
        Confirmed = "confirmed",
    }
}
words! {
    /// How a COMMIT in doubt is resolved.
    CommitResolution {
        /// Not: the client gets 08007.
        Off = "off",
        /// By transaction id on the new primary.
        Xid = "xid",
    }
}
words! {
    /// Which protocol-level prepared statements sessions share on servers.
    PreparedStatements {
        /// Those with names.
        Named = "named",
        /// All; the plan of one without a name is made for its values.
        All = "all",
        /// All, and any plan will do.
        Generic = "generic",
    }
}
words! {
    /// When a server is asked what a session has left in it.
    SessionProbe {
        /// When the text gave reason to.
        Auto = "auto",
        /// Every time.
        Always = "always",
        /// Never.
        Never = "never",
    }
}
words! {
    /// A first guess at a node's role, used only until it was seen.
    RoleHint {
        /// Probably the primary.
        Primary = "primary",
        /// Probably a replica.
        Replica = "replica",
    }
}
words! {
    /// How changes through the API are protected.
    ApiAuth {
        /// Password, or loopback without one.
        Password = "password",
        /// Not at all.
        None = "none",
    }
}
words! {
    /// What the API calls a primary.
    PrimaryRoleName {
        /// As Patroni 4.
        Primary = "primary",
        /// As Patroni 3.
        Master = "master",
    }
}
words! {
    /// Where a notification goes.
    NotifyKind {
        /// Slack incoming webhook.
        Slack = "slack",
        /// PagerDuty Events v2.
        Pagerduty = "pagerduty",
        /// Alertmanager v2.
        Alertmanager = "alertmanager",
        /// JSON by POST.
        Webhook = "webhook",
        /// A program.
        Exec = "exec",
    }
}
