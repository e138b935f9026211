//! A connection that holds the lock of a server: whoever has it is the only one to change anything there.

use crate::connector::{Connector, Mover, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::{Client, Row};

/// The advisory lock of whoever changes roles (PostgreSQL documentation, chapter 13.3.5): two halves of its key.
const LOCK: (i32, i32) = (0x7067_6864, 1);

/// Pause between two tries to get the lock from who had it before.
const AGAIN: Duration = Duration::from_millis(20);

/// Pace of looks at a reload, and how many of them before it is asked for again.
const LOOK: Duration = Duration::from_millis(3);
const LOOKS: u32 = 40;

/// What went wrong, in words.
pub(crate) type Failed = Arc<str>;

/// A connection with the lock.
pub(crate) struct Grip {
    client: Client,
    mover: Mover,
}

impl Grip {
    /// Connects and takes the lock. Who holds it is an earlier pgherd, which may be stopped in the middle of something: its session is ended. The caller sets the deadline.
    pub(crate) async fn take(connector: &dyn Connector, target: &Target) -> Result<Grip, Failed> {
        let grip = Grip::open(connector, target).await?;
        loop {
            let row = grip.one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK.0, &LOCK.1]).await?;
            if row.try_get(0).unwrap_or(false) {
                return Ok(grip);
            }
            grip.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2
                 AND classid::bigint = $1::int AND objid::bigint = $2::int AND granted AND pid <> pg_backend_pid()",
                &[&LOCK.0, &LOCK.1],
            )
            .await?;
            sleep(AGAIN).await;
        }
    }

    /// Connects without the lock. The caller sets the deadline.
    pub(crate) async fn open(connector: &dyn Connector, target: &Target) -> Result<Grip, Failed> {
        let connected = connector.connect(target).await.map_err(|error| words(&error))?;
        let mover = Mover(tokio::spawn(async move {
            let _ = connected.driver.await;
        }));
        Ok(Grip { client: connected.client, mover })
    }

    /// It can still be used.
    pub(crate) fn holds(&self) -> bool {
        !self.client.is_closed() && !self.mover.0.is_finished()
    }

    pub(crate) async fn rows(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<Row>, Failed> {
        self.client.query(sql, parameters).await.map_err(|error| words(&error))
    }

    pub(crate) async fn one(
        &self,
        sql: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Row, Failed> {
        self.client.query_one(sql, parameters).await.map_err(|error| words(&error))
    }

    /// One value.
    pub(crate) async fn value<T>(&self, sql: &str) -> Result<T, Failed>
    where
        T: for<'r> tokio_postgres::types::FromSql<'r>,
    {
        self.one(sql, &[]).await?.try_get(0).map_err(|error| words(&error))
    }

    /// A command, such as ALTER SYSTEM, which takes no parameters.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), Failed> {
        self.client.batch_execute(sql).await.map_err(|error| words(&error))
    }

    /// ALTER SYSTEM and a reload that has taken place: it is read back, because it does not happen at once. `None` resets.
    pub(crate) async fn set(&self, name: &str, value: Option<&str>) -> Result<(), Failed> {
        let text = match value {
            Some(value) => format!("ALTER SYSTEM SET {name} = {}", literal(value)),
            None => format!("ALTER SYSTEM RESET {name}"),
        };
        self.run(&text).await?;
        let before: Option<String> = self.value("SELECT pg_conf_load_time()::text").await?;
        loop {
            self.run("SELECT pg_reload_conf()").await?;
            for _ in 0..LOOKS {
                sleep(LOOK).await;
                let row =
                    self.one("SELECT pg_conf_load_time()::text, current_setting($1, true)", &[&name]).await?;
                let get = |at| row.try_get::<_, Option<String>>(at).map_err(|error| words(&error));
                if get(0)? != before
                    && value.is_none_or(|value| get(1).is_ok_and(|reads| reads.as_deref() == Some(value)))
                {
                    return Ok(());
                }
            }
        }
    }
}

/// A string constant that is read alike with every setting (PostgreSQL documentation, chapter 4.1.2.2).
pub(crate) fn literal(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        false => format!("'{}'", text.replace('\'', "''")),
    }
}

pub(crate) fn words(error: &tokio_postgres::Error) -> Failed {
    crate::failure::classify(error).text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_carry_everything() {
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }
}
