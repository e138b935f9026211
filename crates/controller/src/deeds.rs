//! Each deed in SQL. All of them may be asked for again after an answer that was lost, so each looks first at what is already so.

use crate::connector::Connector;
use crate::conninfo::elsewhere;
use crate::grip::{Failed, Grip};
use crate::hands::Job;
use pgherd_failover::deed::{Deed, Report};
use pgherd_topology::lsn::{Lsn, Timeline};
use pgherd_topology::node::Address;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Pace of looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(5);
/// Pace of reloads while a standby is being promoted: one that has just lost its receiver would sleep for `wal_retrieve_retry_interval` otherwise.
const NUDGE: Duration = Duration::from_millis(20);
/// Time the candidate's replay has to finish by itself before readers in its way are ended.
const REPLAY: Duration = Duration::from_millis(100);

/// What a standby has: after a restart what was received may be unknown, or less than what was replayed.
const STANDBY_HAS: &str = "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text";
const RECEIVERS: &str = "SELECT count(*) FROM pg_stat_wal_receiver";
const IN_RECOVERY: &str = "SELECT pg_is_in_recovery()";
/// Everybody who is connected as a client, but pgherd's own control.
const OTHERS: &str =
    "backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name <> 'pgherd'";

/// Does it. The caller sets the deadline.
pub(crate) async fn perform(grip: &Grip, connector: &dyn Connector, job: &Job) -> Result<Report, Failed> {
    match &job.deed {
        Deed::Fence => fence(grip).await,
        Deed::Unfence => {
            grip.set("default_transaction_read_only", None).await?;
            Ok(Report::Done)
        }
        Deed::Quiesce { drain } => quiesce(grip, *drain).await,
        Deed::CatchUp { to } => {
            must_be_standby(grip).await?;
            reach(grip, *to).await
        }
        Deed::Freeze => freeze(grip).await,
        Deed::Thaw { conninfo } => {
            must_be_standby(grip).await?;
            let value = Some(&**conninfo).filter(|text| !text.is_empty());
            grip.set("primary_conninfo", value).await?;
            Ok(Report::Done)
        }
        Deed::Forward { to, .. } => forward(grip, job, *to).await,
        Deed::Prepare => prepare(grip).await,
        Deed::Promote { from } => promote(grip, *from).await,
        Deed::Follow { conninfo, .. } => follow(grip, connector, job, conninfo).await,
        Deed::Settle => {
            grip.run("CHECKPOINT").await?;
            Ok(Report::Done)
        }
    }
}

async fn must_be_standby(grip: &Grip) -> Result<(), Failed> {
    match grip.value(IN_RECOVERY).await? {
        true => Ok(()),
        false => Err("it is no standby".into()),
    }
}

fn position(text: Option<String>) -> Result<Lsn, Failed> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "it does not know its position".into())
}

async fn fence(grip: &Grip) -> Result<Report, Failed> {
    if grip.value(IN_RECOVERY).await? {
        return Ok(Report::Done);
    }
    rest(grip).await?;
    Ok(Report::Done)
}

/// New transactions are READ ONLY, and who was there before is gone.
async fn rest(grip: &Grip) -> Result<(), Failed> {
    grip.set("default_transaction_read_only", Some("on")).await?;
    loop {
        let ended: i64 = grip
            .value(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {OTHERS}"))
            .await?;
        if ended == 0 {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

async fn quiesce(grip: &Grip, drain: Duration) -> Result<Report, Failed> {
    let open = format!("SELECT count(*) FROM pg_stat_activity WHERE {OTHERS} AND xact_start IS NOT NULL");
    let begun = Instant::now();
    while begun.elapsed() < drain && grip.value::<i64>(&open).await? > 0 {
        sleep(LOOK).await;
    }
    rest(grip).await?;
    Ok(Report::At(position(grip.value("SELECT pg_current_wal_flush_lsn()::text").await?)?))
}

/// Waits until everything up to `to` is received and replayed.
async fn reach(grip: &Grip, to: Lsn) -> Result<Report, Failed> {
    loop {
        let replayed: Option<String> = grip.value("SELECT pg_last_wal_replay_lsn()::text").await?;
        if let Some(at) = position(replayed).ok().filter(|at| *at >= to) {
            return Ok(Report::At(at));
        }
        sleep(LOOK).await;
    }
}

async fn freeze(grip: &Grip) -> Result<Report, Failed> {
    must_be_standby(grip).await?;
    grip.set("primary_conninfo", Some("")).await?;
    while grip.value::<i64>(RECEIVERS).await? > 0 {
        sleep(LOOK).await;
    }
    Ok(Report::At(position(grip.value(STANDBY_HAS).await?)?))
}

/// Where the job's other server is, in the words of `primary_conninfo`.
fn other(job: &Job, conninfo: &str) -> Result<String, Failed> {
    let target = job.other.as_ref().ok_or("the other server is no node any more")?;
    if conninfo.is_empty() {
        return Err(
            "its primary_conninfo is not known: ALTER SYSTEM SET primary_conninfo on it by hand".into()
        );
    }
    elsewhere(conninfo, &target.address)
        .ok_or_else(|| "its primary_conninfo cannot be read: it is no list of words and values".into())
}

/// The one that has more is streamed from, with the words of the candidate's own user and password.
async fn forward(grip: &Grip, job: &Job, to: Lsn) -> Result<Report, Failed> {
    must_be_standby(grip).await?;
    let Deed::Forward { conninfo, .. } = &job.deed else { return Err("no forward".into()) };
    grip.set("primary_conninfo", Some(&other(job, conninfo)?)).await?;
    loop {
        let has: Option<String> = grip.value(STANDBY_HAS).await?;
        if position(has).is_ok_and(|at| at >= to) {
            return freeze(grip).await;
        }
        sleep(LOOK).await;
    }
}

async fn prepare(grip: &Grip) -> Result<Report, Failed> {
    must_be_standby(grip).await?;
    if grip.value("SELECT pg_is_wal_replay_paused()").await? {
        grip.run("SELECT pg_wal_replay_resume()").await?;
    }
    // It may have been a primary that was told to take no writes.
    if grip.value::<String>("SELECT current_setting('default_transaction_read_only')").await? == "on" {
        grip.set("default_transaction_read_only", None).await?;
    }
    let behind = "SELECT coalesce(pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn(), false)";
    let begun = Instant::now();
    while begun.elapsed() < REPLAY {
        if !grip.value::<bool>(behind).await? {
            return Ok(Report::Done);
        }
        sleep(LOOK).await;
    }
    // A promotion replays all first, and would wait for them as long as max_standby_streaming_delay lets them.
    grip.run(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS} AND state <> 'idle'"
    ))
    .await?;
    Ok(Report::Done)
}

async fn promote(grip: &Grip, from: Timeline) -> Result<Report, Failed> {
    if grip.value(IN_RECOVERY).await? {
        grip.run("SELECT pg_promote(false)").await?;
    }
    let mut nudged = Instant::now();
    while grip.value(IN_RECOVERY).await? {
        if nudged.elapsed() >= NUDGE {
            grip.run("SELECT pg_reload_conf()").await?;
            nudged = Instant::now();
        }
        sleep(LOOK).await;
    }
    // The control file tells the old one until the next checkpoint.
    let file: String = grip.value("SELECT pg_walfile_name(pg_current_wal_flush_lsn())").await?;
    let timeline = file.get(..8).and_then(|prefix| u32::from_str_radix(prefix, 16).ok()).map(Timeline);
    match timeline {
        Some(timeline) if timeline > from => Ok(Report::Promoted { timeline }),
        _ => Err(format!("it is out of recovery on timeline {from}, where nobody promoted it").into()),
    }
}

async fn follow(grip: &Grip, connector: &dyn Connector, job: &Job, conninfo: &str) -> Result<Report, Failed> {
    must_be_standby(grip).await?;
    let slot: Option<String> = grip.value("SELECT current_setting('primary_slot_name', true)").await?;
    if let (Some(slot), Some(primary)) = (slot.filter(|slot| !slot.is_empty()), &job.other) {
        // Without it the new primary refuses to send anything.
        let primary = Grip::open(connector, primary).await?;
        primary
            .rows(
                "SELECT pg_create_physical_replication_slot($1, true)
                 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)",
                &[&slot],
            )
            .await?;
    }
    grip.set("primary_conninfo", Some(&other(job, conninfo)?)).await?;
    let (host, port) = match job.other.as_ref().map(|target| &target.address) {
        Some(Address::Tcp(host, port) | Address::Unix(host, port)) => (&**host, i32::from(*port)),
        None => return Err("the new primary is no node any more".into()),
    };
    // Until the reload reaches it the receiver may still have the old one.
    let streams = "SELECT count(*) FROM pg_stat_wal_receiver
                   WHERE status = 'streaming' AND sender_host = $1 AND sender_port = $2";
    while grip.one(streams, &[&host, &port]).await?.try_get::<_, i64>(0).unwrap_or(0) == 0 {
        sleep(LOOK).await;
    }
    Ok(Report::Done)
}
