//! The one question every probe asks, and how its answer is read.

use pgherd_failover::observation::{Facts, Peer, Receiver, Slot};
use pgherd_topology::lsn::{Lsn, Timeline};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Row;

/// Works on PostgreSQL 13 and later with the rights of `pg_monitor`. On a standby `pg_walfile_name` and the position
/// functions of a primary are errors, hence the CASEs; the timeline of a primary is the one in the name of the file it
/// writes, because the control file's lags a promotion until the next checkpoint. Rows travel as JSON so that a column
/// some version lacks is merely absent.
pub(crate) const QUESTION: &str = "
WITH here AS MATERIALIZED (SELECT pg_is_in_recovery() AS standby)
SELECT standby,
  (SELECT system_identifier::text FROM pg_control_system()),
  CASE WHEN NOT standby THEN substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8) END,
  (SELECT timeline_id FROM pg_control_checkpoint()),
  CASE WHEN standby THEN pg_last_wal_receive_lsn()::text ELSE pg_current_wal_flush_lsn()::text END,
  CASE WHEN standby THEN pg_last_wal_replay_lsn()::text END,
  CASE WHEN standby THEN pg_is_wal_replay_paused() ELSE false END,
  (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
  current_setting('default_transaction_read_only') = 'on',
  current_setting('server_version_num')::int,
  host(inet_server_addr()),
  (SELECT row_to_json(w)::text FROM (
     SELECT status, received_tli, sender_host, sender_port, slot_name,
       extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 AS silent
     FROM pg_stat_wal_receiver LIMIT 1) w),
  (SELECT json_agg(p)::text FROM (
     SELECT application_name, host(client_addr) AS client_addr, state, sync_state, replay_lsn,
       EXISTS (SELECT FROM pg_replication_slots s
               WHERE s.active_pid = r.pid AND s.slot_type = 'logical') AS logical
     FROM pg_stat_replication r LIMIT 256) p),
  (SELECT json_agg(s)::text FROM (
     SELECT slot_name, slot_type, active, restart_lsn, wal_status, to_jsonb(t) -> 'failover' AS failover
     FROM pg_replication_slots t LIMIT 256) s),
  CASE WHEN standby AND pg_has_role('pg_read_all_settings', 'USAGE')
    THEN current_setting('primary_conninfo', true) END,
  current_setting('synchronous_standby_names'),
  has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE')
FROM here";

/// The answer did not have the shape the question asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misshapen(pub(crate) &'static str);

/// Reads the only row of the answer.
pub(crate) fn read(row: &Row, round_trip: Duration) -> Result<Facts, Misshapen> {
    let in_recovery: bool = get(row, 0, "standby")?;
    let system: Option<String> = get(row, 1, "system_identifier")?;
    let file: Option<String> = get(row, 2, "WAL file name")?;
    let checkpoint: Option<i32> = get(row, 3, "timeline_id")?;
    let received = lsn(get(row, 4, "received position")?)?.unwrap_or_default();
    let replayed = lsn(get(row, 5, "replayed position")?)?;
    let receiver = json(get(row, 11, "pg_stat_wal_receiver")?)?;
    let timeline = match (&file, receiver.get("received_tli").and_then(Value::as_u64)) {
        (Some(prefix), _) => u32::from_str_radix(prefix, 16).map_err(|_| Misshapen("WAL file name"))?,
        (None, Some(streamed)) if streamed > 0 => {
            u32::try_from(streamed).map_err(|_| Misshapen("received_tli"))?
        }
        (None, _) => checkpoint.map_or(0, i32::cast_unsigned),
    };
    let replayed = replayed.unwrap_or(received);
    let version: i32 = get(row, 9, "server_version_num")?;
    Ok(Facts {
        in_recovery,
        system: system.and_then(|text| text.parse().ok()).ok_or(Misshapen("system_identifier"))?,
        timeline: Timeline(timeline),
        // After a restart the received position may be unknown or behind what is already replayed.
        received: received.max(replayed),
        replayed,
        replay_paused: get(row, 6, "replay paused")?,
        started: get(row, 7, "start time")?,
        read_only: get(row, 8, "default_transaction_read_only")?,
        receiver: (!receiver.is_null()).then(|| self::receiver(&receiver)),
        version: version.unsigned_abs(),
        round_trip,
        server_address: get::<Option<String>>(row, 10, "server address")?.map(Arc::from),
        peers: rows(&json(get(row, 12, "pg_stat_replication")?)?).map(peer).collect(),
        slots: rows(&json(get(row, 13, "pg_replication_slots")?)?).map(slot).collect(),
        conninfo: get::<Option<String>>(row, 14, "primary_conninfo")?.unwrap_or_default().into(),
        synchronous: get::<String>(row, 15, "synchronous_standby_names")?.into(),
        promotes: get(row, 16, "the right to promote")?,
    })
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a Row,
    index: usize,
    what: &'static str,
) -> Result<T, Misshapen> {
    row.try_get(index).map_err(|_| Misshapen(what))
}

fn lsn(text: Option<String>) -> Result<Option<Lsn>, Misshapen> {
    text.map(|text| text.parse().map_err(|_| Misshapen("position"))).transpose()
}

fn json(text: Option<String>) -> Result<Value, Misshapen> {
    text.map_or(Ok(Value::Null), |text| serde_json::from_str(&text).map_err(|_| Misshapen("JSON")))
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(row: &Value, column: &str) -> Option<Arc<str>> {
    row.get(column).and_then(Value::as_str).map(Arc::from)
}

fn receiver(row: &Value) -> Receiver {
    Receiver {
        status: text(row, "status"),
        sender_host: text(row, "sender_host"),
        sender_port: row.get("sender_port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()),
        slot: text(row, "slot_name"),
        silent: row
            .get("silent")
            .and_then(Value::as_f64)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
    }
}

fn peer(row: &Value) -> Peer {
    Peer {
        name: text(row, "application_name").unwrap_or_else(|| "".into()),
        address: text(row, "client_addr"),
        state: text(row, "state").unwrap_or_else(|| "".into()),
        sync_state: text(row, "sync_state").unwrap_or_else(|| "".into()),
        replayed: text(row, "replay_lsn").and_then(|text| text.parse().ok()),
        logical: row.get("logical").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn slot(row: &Value) -> Slot {
    Slot {
        name: text(row, "slot_name").unwrap_or_else(|| "".into()),
        logical: text(row, "slot_type").as_deref() == Some("logical"),
        active: row.get("active").and_then(Value::as_bool).unwrap_or(false),
        restart: text(row, "restart_lsn").and_then(|text| text.parse().ok()),
        wal_status: text(row, "wal_status"),
        failover: row.get("failover").and_then(Value::as_bool).unwrap_or(false),
    }
}
