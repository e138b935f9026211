//! What a session asks of pgherd itself.
use super::support::client::Client;
use super::support::message::{bind, execute, field, parse, query, sync};
use super::support::run;
use super::{HERE, enter, stage};
use pgherd_route::floor::Consistency;
use std::time::Duration;

#[test]
fn a_token_carries_what_was_written_to_another_session() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let (mut writer, mut reader) = (enter(&stage).await, Client::enter(&stage, "alice").await);
        assert_eq!(reader.value(HERE).await, "n1");
        assert_eq!(writer.value("SHOW pgherd.causal_token").await, "1/0/0");
        writer.ask("insert").await;
        writer.send(&query("show pgherd.causal_token;")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        stage.look(&[20, 10]);
        assert_eq!(writer.answer().await, ["T", "D:1/0/14", "C:SHOW", "Z:I"]);
        reader.ask("set pgherd.causal_token to '1/0/14'").await;
        assert_eq!(reader.value(HERE).await, "n0");
        stage.look(&[20, 20]);
        assert_eq!(reader.value(HERE).await, "n1");
        // A statement prepared once tells what is so when it is executed; nothing stays behind.
        let prepared = [parse("s", "show pgherd.causal_token"), sync()].concat();
        let execute = [bind("", "s", &[]), execute(""), sync()].concat();
        writer.send(&prepared).await;
        assert_eq!(writer.answer().await, ["1", "Z:I"]);
        stage.look(&[30, 20]);
        writer.ask("insert").await;
        stage.look(&[40, 20]);
        writer.send(&execute).await;
        assert_eq!(writer.answer().await, ["2", "D:1/0/28", "C:SHOW", "Z:I"]);
        // Nobody looks at the primary any more.
        writer.ask("insert").await;
        let begun = tokio::time::Instant::now();
        assert_eq!(writer.ask("show pgherd.causal_token").await, ["E:57014", "Z:I"]);
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert_eq!(writer.ask("insert").await, ["C:INSERT 0 1", "Z:I"]);
        writer.leave().await;
        reader.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn an_old_token_is_never_given() {
    run(async {
        let stage = stage(Consistency::ReadAfterWrite, 2);
        let mut client = enter(&stage).await;
        client.send(&[parse("s", "show pgherd.causal_token"), sync()].concat()).await;
        client.answer().await;
        let execute = [bind("", "s", &[]), execute(""), sync()].concat();
        client.ask("insert").await;
        stage.look(&[5, 5]);
        client.ask("begin").await;
        assert_eq!(client.value("show pgherd.causal_token").await, "1/0/5");
        client.ask("insert").await;
        assert_eq!(client.ask("show pgherd.causal_token").await, ["E:55000", "Z:E"]);
        client.ask("rollback").await;
        client.ask("begin").await;
        client.ask("insert").await;
        client.send(&execute).await;
        assert_eq!(client.answer().await, ["E:55000", "Z:E"]);
        client.ask("rollback").await;
        stage.look(&[20, 20]);
        client.send(&execute).await;
        assert_eq!(client.answer().await, ["2", "D:1/0/14", "C:SHOW", "Z:I"]);
        client.send(&[query("insert"), query("show pgherd.why")].concat()).await;
        assert_eq!(client.answer().await, ["C:INSERT 0 1", "Z:I"]);
        client.answer().await;
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn a_session_is_told_why() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        assert_eq!(client.value("show pgherd.why").await, "nothing was routed yet");
        client.ask(HERE).await;
        for _ in 0..2 {
            assert_eq!(client.value("show pgherd.why").await, "node=n1 reason=weight class=read rule=reads");
        }
        client.ask("insert").await;
        assert_eq!(
            client.value("show pgherd.why").await,
            "node=n0 reason=primary class=write rule=data_change"
        );
        client.leave().await;
        stage.assert_sound().await;
    });
}

#[test]
fn wrong_values_are_refused() {
    run(async {
        let stage = stage(Consistency::Eventual, 2);
        let mut client = enter(&stage).await;
        for text in [
            "set pgherd.causal_token to 'x'",
            "set pgherd.consistency = 'always'",
            "set session pgherd.read_preference to elsewhere",
            "set pgherd.consistency to 'strong'; set pgherd.consistency to 'stronger'",
        ] {
            assert_eq!(client.ask(text).await, ["E:22023", "Z:I"], "{text}");
        }
        client.send(&[parse("", "set pgherd.consistency = 'always'"), sync()].concat()).await;
        assert_eq!(client.answer().await, ["E:22023", "Z:I"]);
        assert_eq!(client.value(HERE).await, "n1");
        client.send(&query("set pgherd.read_preference to Elsewhere")).await;
        let (_, body) = client.next().await.expect("an error");
        assert_eq!(
            [field(&body, b'M'), field(&body, b'H')],
            [
                "invalid value for parameter \"pgherd.read_preference\": \"Elsewhere\"",
                "Available values: primary, primary_preferred, replica, replica_preferred, nearest."
            ]
        );
        client.answer().await;
        client.ask("begin").await;
        assert_eq!(client.ask("set pgherd.consistency = 'always'").await, ["E:22023", "Z:E"]);
        assert_eq!(client.ask("set pgherd.consistency = 'always'").await, ["E:25P02", "Z:E"]);
        client.ask("rollback").await;
        client.leave().await;
        stage.assert_sound().await;
    });
}
