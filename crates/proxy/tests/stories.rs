//! What went wrong once, word by word.
mod support;

use pgherd_route::intent::Routing;
use support::client::Client;
use support::message::{bind, close, describe, execute, parse, query, sync};
use support::random::Random;
use support::{Settings, Stage, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn stage(max_prepared_statements: usize) -> Stage {
    let settings = Settings { max_size: 1, max_prepared_statements, ..Settings::default() };
    Stage::new(settings, 1, &mut Random::new(1))
}

async fn tell(client: &mut Client, messages: &[Vec<u8>]) -> Vec<String> {
    client.send(&messages.concat()).await;
    client.answer().await
}

fn run_of(name: &str) -> Vec<u8> {
    [bind("", name, &[]), execute("")].concat()
}

#[test]
fn another_clients_unnamed_statement_is_never_bound() {
    run(async {
        let stage = stage(10);
        let mut first = Client::enter(&stage, "alice").await;
        let mut second = Client::enter(&stage, "alice").await;
        assert_eq!(tell(&mut first, &[parse("", "select 'first'"), sync()]).await, ["1", "Z:I"]);
        // Its own Parse never runs, because of the error before it.
        let skipped = [run_of("missing"), parse("", "select 'second'"), sync()];
        assert_eq!(tell(&mut second, &skipped).await, ["E:26000", "Z:I"]);
        assert_eq!(tell(&mut second, &[run_of(""), sync()]).await, ["E:26000", "Z:I"]);
        // Nor does it when the batch that binds it was sent before the error came.
        let mut third = Client::enter(&stage, "alice").await;
        assert_eq!(tell(&mut first, &[parse("", "select 'first'"), sync()]).await, ["1", "Z:I"]);
        let pipelined = [run_of("missing"), parse("", "select 'third'"), sync(), run_of(""), sync()];
        assert_eq!(tell(&mut third, &pipelined).await, ["E:26000", "Z:I"]);
        assert_eq!(third.answer().await, ["E:26000", "Z:I"]);
        // An injected one neither.
        assert_eq!(tell(&mut second, &[parse("", "select 'second'"), sync()]).await, ["1", "Z:I"]);
        assert_eq!(tell(&mut first, &[parse("", "select 'first'"), sync()]).await, ["1", "Z:I"]);
        assert_eq!(tell(&mut second, &[run_of("missing"), run_of(""), sync()]).await, ["E:26000", "Z:I"]);
        assert_eq!(tell(&mut second, &[run_of(""), sync()]).await, ["2", "D:second", "C:SELECT 1", "Z:I"]);
    });
}

#[test]
fn a_batch_may_use_more_statements_than_the_server_keeps() {
    run(async {
        let stage = stage(2);
        let mut client = Client::enter(&stage, "alice").await;
        let names = ["a", "b", "c", "d"];
        let parses: Vec<u8> = names.iter().flat_map(|n| parse(n, &format!("select '{n}'"))).collect();
        assert_eq!(tell(&mut client, &[parses, sync()]).await, ["1", "1", "1", "1", "Z:I"]);
        let all: Vec<u8> = ["a", "b", "c", "d", "a", "b"].iter().flat_map(|n| run_of(n)).collect();
        let answer = tell(&mut client, &[all, sync()]).await;
        let rows: Vec<&str> = answer.iter().filter_map(|word| word.strip_prefix("D:")).collect();
        assert_eq!(rows, ["a", "b", "c", "d", "a", "b"]);
    });
}

#[test]
fn an_error_behind_settings_keeps_the_server_until_the_sync() {
    run(async {
        let stage = stage(10);
        let mut other = Client::enter(&stage, "alice").await;
        let mut client = Client::enter(&stage, "alice").await;
        other.ask("set app.x to 'other'").await;
        client.ask("set app.x to 'mine'").await;
        other.ask("select 'x'").await;
        // The settings go ahead of this batch; its Sync comes later.
        client.send(&[describe(b'S', "missing"), run_of("missing")].concat()).await;
        assert_eq!(client.next().await.map(|(tag, _)| tag), Some(b'E'));
        other.send(&query("show app.x")).await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(tell(&mut client, &[sync()]).await, ["Z:I"]);
        assert_eq!(other.answer().await, ["T", "D:other", "C:SHOW", "Z:I"]);
    });
}

#[test]
fn a_begin_answered_here_is_not_answered_again_when_its_request_is_rerun() {
    run(async {
        let settings = Settings { routing: Routing::Replicas, ..Settings::default() };
        let stage = Stage::new(settings, 2, &mut Random::new(1));
        let mut client = Client::enter(&stage, "alice").await;
        client.send(&[query("begin"), query("sleep 1000 'x'")].concat()).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        stage.nodes[1].cut_all();
        assert_eq!(client.answer().await, ["C:BEGIN", "Z:T"]);
        assert_eq!(client.answer().await, ["T", "D:x", "C:SELECT 1", "Z:T"]);
    });
}

#[test]
fn names_survive_a_lost_server_as_they_were() {
    run(async {
        let stage = stage(10);
        let mut client = Client::enter(&stage, "alice").await;
        assert_eq!(tell(&mut client, &[parse("a", "select 'old'"), sync()]).await, ["1", "Z:I"]);
        client.send(&[parse("", "sleep 1000 'x'"), run_of(""), sync()].concat()).await;
        client.send(&[close(b'S', "a"), parse("a", "select 'new'"), sync()].concat()).await;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        stage.nodes[0].cut_all();
        client.answer().await;
        assert_eq!(client.answer().await, ["E:08007", "Z:I"]);
        assert_eq!(tell(&mut client, &[run_of("a"), sync()]).await, ["2", "D:old", "C:SELECT 1", "Z:I"]);
    });
}

#[test]
fn a_client_far_ahead_of_its_answers_waits_and_gets_them_all() {
    run(async {
        let stage = stage(10);
        let mut client = Client::enter(&stage, "alice").await;
        const MANY: usize = 3 * pgherd_session::pending::MAX_OWED;
        // Nothing asks for an answer before the Sync, and the Sync is not looked at before there are answers.
        let requests = [close(b'P', "none").repeat(MANY), sync()].concat();
        let (mut from, mut to) = tokio::io::split(&mut client.stream);
        let mut answers = vec![0; MANY * 5 + 6];
        let both = async { tokio::try_join!(to.write_all(&requests), from.read_exact(&mut answers)) };
        let both =
            tokio::time::timeout(std::time::Duration::from_secs(900), both).await.expect("answers in time");
        both.expect("an answer to each");
        assert!(answers.starts_with(&[b'3', 0, 0, 0, 4].repeat(MANY)));
        assert!(answers.ends_with(b"Z\0\0\0\x05I"));
    });
}
