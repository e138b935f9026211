//! What the demo prints, and what it makes of the numbers.
use super::progress::{Progress, Totals};
use pgherd_lab::error::LabError;
use pgherd_lab::front::Ports;
use pgherd_lab::lab::Lab;
use std::fmt::Write;
use std::time::Duration;

/// Transactions committed so far in the demo's database, by replica, as each replica itself counts them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reads(Vec<(String, u64)>);

impl Reads {
    /// Asks every replica; one that does not answer is left out.
    pub(super) async fn now(lab: &Lab, database: &str) -> Self {
        let mut counts = Vec::new();
        for node in lab.replicas() {
            let text = format!("SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'");
            if let Some(count) = node.sql("postgres", &text).await.ok().and_then(|t| t.parse().ok()) {
                counts.push((node.name().to_owned(), count));
            }
        }
        Self(counts)
    }

    /// What was added since `before`. A replica that was restarted meanwhile may count from zero again.
    #[must_use]
    pub(super) fn since(&self, before: &Self) -> Self {
        let old = |name: &str| before.0.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count);
        Self(self.0.iter().map(|(n, count)| (n.clone(), count.saturating_sub(old(n)))).collect())
    }

    /// The names of replicas that had no read at all.
    #[must_use]
    pub(super) fn idle(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, count)| *count == 0).map(|(name, _)| name.as_str()).collect()
    }

    /// `pg2 51 % pg3 49 %`, or `-` when there were none.
    #[must_use]
    pub(super) fn shares(&self) -> String {
        let all: u64 = self.0.iter().map(|(_, count)| count).sum();
        if all == 0 {
            return "-".to_owned();
        }
        let share = |(name, count): &(String, u64)| format!("{name} {} %", (count * 100 + all / 2) / all);
        self.0.iter().map(share).collect::<Vec<_>>().join("  ")
    }
}

/// The block that says what was built and how to reach it.
#[must_use]
pub(super) fn opening(lab: &Lab, ports: Ports, user: &str, password: &str, took: Duration) -> String {
    let account = lab.nursery().account();
    let run_as =
        if account.is_dropped() { format!(", run as user {}", account.name()) } else { String::new() };
    let mut text = format!(
        "  PostgreSQL {} from {}{run_as}; everything is in {}\n  pg1 primary   127.0.0.1:{}",
        lab.binaries().version(),
        lab.binaries().directory().display(),
        lab.directory().display(),
        lab.primary().port()
    );
    for node in lab.replicas() {
        let _ = write!(text, "    {} replica :{}", node.name(), node.port());
    }
    let _ = write!(text, "      up in {:.1} s", took.as_secs_f64());
    let _ = write!(
        text,
        "\n  rw  postgres://{user}:{password}@127.0.0.1:{}/{user}      ro :{}     any :{}\n  api http://127.0.0.1:{}",
        ports.primary, ports.replicas, ports.any, ports.api
    );
    text
}

/// Which of the usual ports somebody else has, and what stands in for them.
#[must_use]
pub(super) fn moved(ports: Ports) -> Vec<String> {
    let usual = Ports::USUAL;
    [
        (usual.primary, ports.primary),
        (usual.replicas, ports.replicas),
        (usual.any, ports.any),
        (usual.api, ports.api),
    ]
    .into_iter()
    .filter(|(usual, now)| usual != now)
    .map(|(usual, now)| format!("  port {usual} is taken; using {now}"))
    .collect()
}

/// What one pgbench said in a second.
#[derive(Debug, Clone, Copy)]
pub(super) enum Heard {
    /// Its line.
    Progress(Progress),
    /// No line came in time.
    Silence,
    /// It has ended; in its last second pgbench often says nothing.
    End,
}

/// One second: `   3 s   rw 1203 tps  6.6 ms  0 failed  0 retried    ro 8100 tps ...    reads so far pg2 51 %  pg3 49 %`.
#[must_use]
pub(super) fn second(number: u64, writes: Heard, reads: Heard, shares: &Reads) -> String {
    format!("{number:4} s   rw {}    ro {}    reads so far {}", half(writes), half(reads), shares.shares())
}

fn half(heard: Heard) -> String {
    let p = match heard {
        Heard::Progress(progress) => progress,
        Heard::Silence => return "(silent)".to_owned(),
        Heard::End => return "(ended)".to_owned(),
    };
    let latency = p.latency_ms.map_or("    -".to_owned(), |ms| format!("{ms:5.1}"));
    let failed = p.failed.map_or(String::new(), |n| format!("  {n} failed  {} retried", p.retried));
    format!("{:6.0} tps {latency} ms{failed}", p.tps)
}

/// The end of a demo: what was found, and what of it is a failure.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Totals of the writing pgbench, if it ended by itself.
    pub(super) writes: Option<Totals>,
    /// Totals of the reading pgbench, if it ended by itself.
    pub(super) reads: Option<Totals>,
    /// Rows of `pgbench_history` on the primary.
    pub(super) found: Option<u64>,
    /// Where reads went.
    pub(super) shares: Reads,
    /// True when a person or a signal ended the demo: pgbench gives no totals then.
    pub(super) interrupted: bool,
}

impl Summary {
    /// Counts the rows the primary holds, not asking through the proxy.
    ///
    /// # Errors
    /// [`LabError::Program`] with the server's message.
    pub(super) async fn count(&mut self, lab: &Lab, database: &str) -> Result<(), LabError> {
        let text = lab.primary().sql(database, "SELECT count(*) FROM pgbench_history").await?;
        self.found = text.parse().ok();
        Ok(())
    }

    /// Everything that did not go as promised; empty when all went well.
    #[must_use]
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, totals) in [("writing", self.writes), ("reading", self.reads)] {
            match totals {
                Some(t) if t.failed > 0 => {
                    faults.push(format!("the {name} pgbench gave up {} transactions", t.failed))
                }
                Some(t) if t.processed == 0 => faults.push(format!("the {name} pgbench did nothing")),
                None if !self.interrupted => faults.push(format!("the {name} pgbench did not end well")),
                _ => {}
            }
        }
        if let Some(writes) = self.writes
            && self.found != Some(writes.processed)
        {
            let found = self.found.map_or("none".to_owned(), |n| n.to_string());
            faults.push(format!("{} rows acknowledged, {found} found", writes.processed));
        }
        if !self.interrupted {
            faults.extend(self.shares.idle().into_iter().map(|name| format!("no read went to {name}")));
        }
        faults
    }

    /// The closing block.
    #[must_use]
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        match (self.writes, self.found) {
            (Some(w), Some(found)) => {
                let relation = if w.processed == found { "=" } else { "IS NOT" };
                let all = w.processed + w.failed;
                let _ = writeln!(
                    text,
                    "  writes: {} failed of {all}, {} retried; {} rows acknowledged {relation} {found} rows found",
                    w.failed, w.retried, w.processed
                );
            }
            (None, Some(found)) => {
                let _ = writeln!(
                    text,
                    "  writes: {found} rows found; pgbench was stopped before it could count its own"
                );
            }
            _ => {}
        }
        if let Some(r) = self.reads {
            let _ = writeln!(
                text,
                "  reads: {} failed of {}, {} retried",
                r.failed,
                r.processed + r.failed,
                r.retried
            );
        }
        let _ = write!(text, "  reads by replica: {}", self.shares.shares());
        text
    }
}
