//! Looks at how far a node's log is, as often as sessions need to know. A connection of its own: a probe that is late because of these looks would be a false alarm.

use crate::clock::Clock;
use crate::connector::{Connector, Mover, Target};
use pgherd_topology::gauge::{Gauge, Gauges, Position};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::NodeId;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::{Client, Error, Row, Statement};

/// Least time from the beginning of one look to the next: everybody who asks meanwhile is served by that one.
const FLOOR: Duration = Duration::from_millis(1);

/// The same while looks are wanted all the time: what they cost is bounded by this.
const STEADY_FLOOR: Duration = Duration::from_millis(4);

/// So many looks one after the other, each wanted by the time the one before was over, are all the time.
const STEADY: u32 = 16;

/// Pace while sessions have asked lately.
const PACE: Duration = Duration::from_millis(100);

/// Time after the last question until looking stops.
const ATTENTION: Duration = Duration::from_secs(10);

/// Pause after a connection could not be made.
const BACKOFF: Duration = Duration::from_millis(500);

/// Works with the rights of any role. `pg_walfile_name` names the timeline the node writes now.
const QUESTION: &str = "
WITH here AS MATERIALIZED (SELECT pg_is_in_recovery() AS standby)
SELECT standby,
  CASE WHEN standby THEN pg_last_wal_replay_lsn()::text ELSE pg_current_wal_flush_lsn()::text END,
  CASE WHEN NOT standby THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END
FROM here";

/// A running sampler; dropping it ends the task, closes its connection and voids what it found.
pub(crate) struct Sampler {
    gauge: Arc<Gauge>,
    task: JoinHandle<()>,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
        self.gauge.interrupt();
    }
}

impl Sampler {
    /// Starts without looking: the first look is made when somebody wants one. `limit` bounds each connect and each look.
    pub(crate) fn start(
        gauges: Arc<Gauges>,
        node: NodeId,
        target: Target,
        connector: Arc<dyn Connector>,
        clock: Clock,
        limit: Duration,
    ) -> Sampler {
        let gauge = gauges.of(node);
        let task = tokio::spawn(run(gauges, gauge.clone(), target, connector, clock, limit));
        Sampler { gauge, task }
    }
}

/// A connection with its prepared question.
struct Line {
    client: Client,
    question: Statement,
    mover: Mover,
}

async fn run(
    gauges: Arc<Gauges>,
    gauge: Arc<Gauge>,
    target: Target,
    connector: Arc<dyn Connector>,
    clock: Clock,
    limit: Duration,
) {
    loop {
        gauge.wanted().await;
        match timeout(limit, open(&target, &*connector)).await {
            Ok(Ok(line)) => {
                // The node may have been restarted since the last connection.
                gauge.interrupt();
                serve(&gauges, &gauge, line, clock, limit).await;
            }
            Ok(Err(error)) => {
                tracing::debug!(address = %target.address, %error, "no connection to look at the log")
            }
            Err(_) => tracing::debug!(address = %target.address, "no connection to look at the log in time"),
        }
        // Whoever still wants it asks again.
        gauge.interrupt();
        sleep(BACKOFF).await;
    }
}

async fn open(target: &Target, connector: &dyn Connector) -> Result<Line, Error> {
    let connected = connector.connect(target).await?;
    let mover = Mover(tokio::spawn(async move {
        let _ = connected.driver.await;
    }));
    let question = connected.client.prepare(QUESTION).await?;
    Ok(Line { client: connected.client, question, mover })
}

/// Looks until the connection is lost.
async fn serve(gauges: &Gauges, gauge: &Gauge, mut line: Line, clock: Clock, limit: Duration) {
    let mut asked = Instant::now();
    let (mut wanted, mut streak) = (true, 0u32);
    loop {
        let (begun, at) = (Instant::now(), clock.now());
        let number = gauge.begin();
        let looked = timeout(limit, line.client.query_one(&line.question, &[])).await;
        match looked {
            Ok(Ok(row)) => match read(&row) {
                Some(position) => {
                    gauge.finish(number, at, position);
                    if position.primary && wanted {
                        gauges.want_others(gauge);
                    }
                }
                None => return,
            },
            Ok(Err(_)) | Err(_) => return,
        }
        let attentive = asked.elapsed() < ATTENTION;
        // Each branch is cancel safe: a call, a timer, the end of the connection.
        tokio::select! {
            () = gauge.wanted() => (asked, wanted) = (Instant::now(), true),
            () = sleep_until(begun + PACE), if attentive => wanted = false,
            _ = &mut line.mover.0 => return,
        }
        streak = if begun.elapsed() < 2 * STEADY_FLOOR { streak.saturating_add(1) } else { 0 };
        sleep_until(begun + if streak < STEADY { FLOOR } else { STEADY_FLOOR }).await;
    }
}

fn read(row: &Row) -> Option<Position> {
    let standby: bool = row.try_get(0).ok()?;
    let lsn: Option<String> = row.try_get(1).ok()?;
    let file: Option<String> = row.try_get(2).ok()?;
    let lsn: Lsn = lsn?.parse().ok()?;
    let timeline = match file {
        Some(prefix) => u32::from_str_radix(&prefix, 16).ok()?,
        None => 0,
    };
    Some(Position { primary: !standby, timeline: Timeline(timeline), lsn })
}
