//! READ ONLY transactions that begin on a replica and cannot stay there.
use super::support::client::Client;
use super::support::message::{bind, describe, execute, parse, query, sync};
use super::support::run;
use super::{HERE, enter, stage};
use pgherd_route::floor::Consistency;
use std::time::Duration;

/// What nobody vouches for, and so must run on the primary.
const UNKNOWN: &str = "select where_am_i, nobody_knows(1)";

async fn begin(client: &mut Client, text: &str) {
    assert_eq!(client.ask(text).await.last().map(String::as_str), Some("Z:T"));
    assert_eq!(client.value(HERE).await, "n1");
}

#[test]
fn a_later_refusal_is_never_seen() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        begin(&mut client, "begin read only").await;
        assert_eq!(client.ask("select unlogged 'x'").await, ["T", "D:x", "C:SELECT 1", "Z:T"]);
        assert_eq!(client.value(HERE).await, "n0");
        client.ask("commit").await;
        // At this level all statements share one snapshot, which exists on the replica only.
        begin(&mut client, "begin isolation level repeatable read, read only").await;
        assert_eq!(client.ask("select unlogged 'y'").await, ["T", "E:0A000", "Z:E"]);
        assert_eq!(client.ask("rollback").await, ["C:ROLLBACK", "Z:I"]);
        // Before the first snapshot it may still go.
        client.ask("begin isolation level repeatable read, read only").await;
        client.ask("set local a to 'b'").await;
        assert_eq!(client.ask("select unlogged 'z'").await, ["T", "D:z", "C:SELECT 1", "Z:T"]);
        client.ask("commit").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_must_be_on_the_primary_takes_the_transaction_there() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        begin(&mut client, "begin read only").await;
        client.ask("set local application_name to 'mine'").await;
        client.ask("savepoint a").await;
        assert_eq!(client.value(HERE).await, "n1");
        assert_eq!(client.value(UNKNOWN).await, "n0");
        // What was set is set there too, until the end.
        assert_eq!(client.value("show application_name").await, "mine");
        client.ask("commit").await;
        assert_eq!(client.value("show application_name").await, "");
        // The replica's connection was not lost.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let dials = stage.nodes[1].dials();
        assert_eq!(client.value(HERE).await, "n1");
        assert_eq!(stage.nodes[1].dials(), dials);
        client.leave().await;
        stage.assert_sound().await;
    });
}

/// Begins in the extended protocol, where BEGIN goes to a server at once.
async fn begin_extended(client: &mut Client, text: &str) {
    client.send(&[parse("", text), bind("", "", &[]), execute(""), sync()].concat()).await;
    assert_eq!(client.answer().await, ["1", "2", "C:BEGIN", "Z:T"]);
}

#[test]
fn what_outlives_the_transaction_is_made_where_it_can_stay() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        for text in [
            // A text that says today's date is the session's own: it is kept by its server.
            "prepare x as select 'today'::date",
            "declare c cursor with hold for select 1",
            "commit; prepare x as select 'today'::date",
            "rollback; declare c cursor with hold for select 1",
        ] {
            for extended in [false, true] {
                // It keeps its server until it leaves.
                let mut client = enter(&stage).await;
                match extended {
                    true => begin_extended(&mut client, "begin read only").await,
                    false => drop(client.ask("begin read only").await),
                }
                client.ask(text).await;
                assert_eq!(client.value(HERE).await, "n0", "{text}, extended: {extended}");
                client.ask("rollback").await;
                client.leave().await;
            }
        }
        // An ordinary cursor ends with it.
        let mut client = enter(&stage).await;
        begin_extended(&mut client, "begin read only").await;
        client.ask("declare c cursor for select 1").await;
        assert_eq!(client.value(HERE).await, "n1");
        client.ask("rollback").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_begin_alone_is_no_read() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        for text in ["begin read only", "begin isolation level repeatable read, read only"] {
            begin_extended(&mut client, text).await;
            client.ask("set transaction read write").await;
            assert_eq!(client.ask("insert").await, ["C:INSERT 0 1", "Z:T"], "{text}");
            client.ask("rollback").await;
        }
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_follows_the_end_runs_where_it_can() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        for level in ["", "isolation level repeatable read "] {
            for (end, tag) in [("commit", "C:COMMIT"), ("rollback", "C:ROLLBACK")] {
                begin(&mut client, &format!("begin {level}read only")).await;
                let answer = client.ask(&format!("{end}; insert into writable")).await;
                assert_eq!(answer, [tag, "C:INSERT 0 1", "Z:I"], "{level}{end}");
                // The same as messages before one Sync.
                begin(&mut client, &format!("begin {level}read only")).await;
                let insert = "insert into writable";
                let messages = [
                    parse("", end),
                    bind("", "", &[]),
                    execute(""),
                    parse("", insert),
                    bind("", "", &[]),
                    execute(""),
                    sync(),
                ];
                client.send(&messages.concat()).await;
                assert_eq!(client.answer().await, ["1", "2", tag, "1", "2", "C:INSERT 0 1", "Z:I"]);
            }
        }
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_follows_the_end_is_not_known_after_a_flush() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        begin(&mut client, "begin read only").await;
        let flush = super::support::message::flush();
        client.send(&[parse("", "commit"), bind("", "", &[]), execute(""), flush].concat()).await;
        client
            .send(&[parse("", "insert into writable"), bind("", "", &[]), execute(""), sync()].concat())
            .await;
        assert_eq!(client.answer().await, ["1", "2", "C:COMMIT", "1", "2", "C:INSERT 0 1", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_follows_the_end_of_a_failed_one_runs_where_it_can() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        let fail = async |client: &mut Client| {
            begin(client, "begin read only").await;
            assert_eq!(client.ask("select 1/0").await.last().map(String::as_str), Some("Z:E"));
        };
        fail(&mut client).await;
        assert_eq!(
            client.ask(&format!("rollback; {UNKNOWN}")).await,
            ["C:ROLLBACK", "T", "D:n0", "C:SELECT 1", "Z:I"]
        );
        // None but a failed transaction answers COMMIT with ROLLBACK, and there is none on the primary.
        fail(&mut client).await;
        assert_eq!(client.ask(&format!("commit; {UNKNOWN}")).await, ["E:55000", "Z:E"]);
        let messages =
            ["commit", UNKNOWN].map(|text| [parse("", text), bind("", "", &[]), execute("")].concat());
        client.send(&[messages.concat(), sync()].concat()).await;
        assert_eq!(client.answer().await, ["E:55000", "Z:E"]);
        assert_eq!(client.ask("commit; select 1").await, ["C:ROLLBACK", "T", "D:", "C:SELECT 1", "Z:I"]);
        // Without an end in front it is refused as in any failed transaction.
        fail(&mut client).await;
        assert_eq!(client.ask(UNKNOWN).await, ["E:25P02", "Z:E"]);
        assert_eq!(client.ask("rollback").await, ["C:ROLLBACK", "Z:I"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_comes_after_an_answer_of_ours_is_looked_at_too() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        client.send(&[parse("p", "select 1"), sync()].concat()).await;
        client.answer().await;
        begin(&mut client, "begin read only").await;
        assert_eq!(client.ask("deallocate p").await, ["C:DEALLOCATE", "Z:T"]);
        assert_eq!(client.value(UNKNOWN).await, "n0");
        client.ask("commit").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_is_set_by_a_function_is_set_there_too() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        begin(&mut client, "begin read only").await;
        client.ask("select set_config('app.tenant', 'mine', true)").await;
        assert_eq!(client.value(UNKNOWN).await, "n0");
        assert_eq!(client.value("show app.tenant").await, "mine");
        client.ask("commit").await;
        // What cannot be given again keeps its transaction where it is.
        for text in [
            "select where_am_i, set_config('app.tenant', 'mine', true)",
            "select 1; select set_config('app.tenant', 'mine', true)",
        ] {
            begin(&mut client, "begin read only").await;
            client.ask(text).await;
            assert_eq!(client.value(UNKNOWN).await, "n1", "{text}");
            client.ask("rollback").await;
        }
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn what_cannot_be_taken_along_stays() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        // A setting that is not the transaction's, a portal that outlives its unit, a cursor.
        begin(&mut client, "begin read only").await;
        client.ask("set application_name to 'x'").await;
        assert_eq!(client.value(UNKNOWN).await, "n1");
        client.ask("rollback").await;
        begin(&mut client, "begin read only").await;
        client.send(&[parse("", HERE), bind("p", "", &[]), execute("p"), sync()].concat()).await;
        assert_eq!(client.answer().await, ["1", "2", "D:n1", "C:SELECT 1", "Z:T"]);
        assert_eq!(client.value(UNKNOWN).await, "n1");
        client.ask("rollback").await;
        // What both refuse is refused where it is.
        begin(&mut client, "begin read only").await;
        assert_eq!(client.ask("insert").await, ["E:25006", "Z:E"]);
        assert_eq!(client.ask(UNKNOWN).await.last().map(String::as_str), Some("Z:E"));
        client.ask("rollback").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_lock_that_would_exclude_nobody_is_refused() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        let lock = "select pg_advisory_xact_lock('x')";
        let strict = "begin isolation level repeatable read read only";
        begin(&mut client, strict).await;
        assert_eq!(client.ask(lock).await, ["E:55000", "Z:E"]);
        assert_eq!(client.ask(HERE).await.last().map(String::as_str), Some("Z:E"));
        client.ask("rollback").await;
        begin(&mut client, strict).await;
        client.send(&[parse("", lock), bind("", "", &[]), execute(""), sync()].concat()).await;
        assert_eq!(client.answer().await, ["E:55000", "Z:E"]);
        client.ask("rollback").await;
        client.send(&[parse("s", lock), sync()].concat()).await;
        client.answer().await;
        begin(&mut client, strict).await;
        // To describe it takes nothing.
        client.send(&[describe(b'S', "s"), sync()].concat()).await;
        assert_eq!(client.answer().await, ["t", "T", "Z:T"]);
        assert_eq!(client.value(HERE).await, "n1");
        client.send(&[bind("", "s", &[]), execute(""), sync()].concat()).await;
        assert_eq!(client.answer().await, ["E:55000", "Z:E"]);
        client.ask("rollback").await;
        // Before anything was read it goes to the primary.
        client.ask(strict).await;
        assert_eq!(client.ask(lock).await.last().map(String::as_str), Some("Z:T"));
        assert_eq!(client.value(HERE).await, "n0");
        client.ask("rollback").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn the_extended_protocol_moves_too() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        let unit = |text: &str| [parse("", text), bind("", "", &[]), execute(""), sync()].concat();
        // As JDBC does it: BEGIN and the first statement in one batch.
        let both = [parse("", "begin read only"), bind("", "", &[]), execute(""), unit(HERE)].concat();
        client.send(&both).await;
        assert_eq!(client.answer().await, ["1", "2", "C:BEGIN", "1", "2", "D:n1", "C:SELECT 1", "Z:T"]);
        client.send(&unit(HERE)).await;
        assert_eq!(client.answer().await, ["1", "2", "D:n1", "C:SELECT 1", "Z:T"]);
        client.send(&unit("select unlogged 'x'")).await;
        assert_eq!(client.answer().await, ["1", "2", "D:x", "C:SELECT 1", "Z:T"]);
        client.send(&unit(HERE)).await;
        assert_eq!(client.answer().await, ["1", "2", "D:n0", "C:SELECT 1", "Z:T"]);
        client.send(&unit("commit")).await;
        assert_eq!(client.answer().await, ["1", "2", "C:COMMIT", "Z:I"]);
        // A statement prepared on the replica is known on the primary.
        client.send(&[parse("s", UNKNOWN), sync()].concat()).await;
        client.answer().await;
        begin(&mut client, "begin read only").await;
        client.send(&[query(HERE), bind("", "s", &[]), execute(""), sync()].concat()).await;
        assert_eq!(client.answer().await[1], "D:n1");
        assert_eq!(client.answer().await, ["2", "D:n0", "C:SELECT 1", "Z:T"]);
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_replica_that_dies_takes_no_reading_transaction_with_it() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 3);
        let mut client = enter(&stage).await;
        client.ask("begin read only").await;
        let first = client.value(HERE).await;
        client.ask("savepoint a").await;
        for node in &stage.nodes[1..] {
            node.cut_all();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_ne!(first, "n0");
        // Nobody can say what the dead one had shown: only the primary has it for sure.
        assert_eq!(client.ask("release a").await, ["C:RELEASE", "Z:T"]);
        assert_eq!(client.value(HERE).await, "n0");
        assert_eq!(client.ask("commit").await, ["C:COMMIT", "Z:I"]);
        // In the middle of an answer that has not begun.
        client.ask("set pgherd.consistency to 'eventual'").await;
        client.ask("begin isolation level repeatable read read only").await;
        client.ask("set local a to 'b'").await;
        client.send(&query("select where_am_i slowly")).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stage.nodes.iter().for_each(|node| node.cut_all());
        assert_eq!(client.answer().await.last().map(String::as_str), Some("Z:T"));
        client.leave().await;
        stage.assert_sound().await;
    });
}
