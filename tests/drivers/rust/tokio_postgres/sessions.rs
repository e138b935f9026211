//! Features that are about a session and what it has.
use crate::{News, ask, config, connect, simply, tell, values};
use postgres_types::{FromSql, Kind, ToSql};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Client, Config, Error, IsolationLevel, NoTls};
use transcript::{big, say};

pub(crate) async fn heard(news: &mut News, count: usize, patience: u64) -> Vec<(String, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        match timeout(Duration::from_millis(patience), news.recv()).await {
            Ok(Some(AsyncMessage::Notification(n))) => {
                all.push((n.channel().to_owned(), n.payload().to_owned()))
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => break,
        }
    }
    all
}

pub(crate) async fn listen(client: &mut Client) -> Result<(), Error> {
    let (other, mut news) = connect(&config()).await?;
    other.execute("LISTEN matrix_news", &[]).await?;
    let transaction = client.transaction().await?;
    for payload in ["first", "first", "second"] {
        transaction.execute("SELECT pg_notify('matrix_news', $1)", &[&payload]).await?;
    }
    transaction.batch_execute("NOTIFY matrix_silence, 'to nobody'").await?;
    transaction.commit().await?;
    say("listen", heard(&mut news, 2, 20_000).await);
    other.batch_execute("NOTIFY matrix_news, 'its own'").await?;
    say(
        "listen",
        (heard(&mut news, 1, 20_000).await, ask(&other, "SELECT pg_listening_channels()", &[]).await?),
    );
    other.execute("UNLISTEN matrix_news", &[]).await?;
    client.batch_execute("NOTIFY matrix_news, 'to nobody'").await?;
    say("listen", heard(&mut news, 1, 300).await);
    Ok(())
}

pub(crate) async fn cancel_and_timeout(client: &mut Client) -> Result<(), Error> {
    let token = client.cancel_token();
    let canceller = async {
        sleep(Duration::from_millis(500)).await;
        token.cancel_query(NoTls).await
    };
    let (slept, cancelled) = tokio::join!(client.batch_execute("SELECT pg_sleep(60)"), canceller);
    tell("cancel", slept);
    cancelled?;
    // The driver does not wait until the server has done it.
    sleep(Duration::from_millis(500)).await;
    token.cancel_query(NoTls).await?;
    sleep(Duration::from_millis(500)).await;
    say("cancel", ask(client, "SELECT 'a cancel of nothing hurts nobody'", &[]).await?);
    // A future that is dropped does not cancel: the answer is read and thrown away before the next one.
    let dropped = timeout(Duration::from_millis(100), client.query("SELECT 1 FROM pg_sleep(0.5)", &[])).await;
    say("cancel", (dropped.is_err(), ask(client, "SELECT 2", &[]).await?));
    client.batch_execute("SET statement_timeout = 200").await?;
    tell("timeout", client.batch_execute("SELECT pg_sleep(60)").await);
    let transaction = client.transaction().await?;
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    say("timeout", values(&transaction.query("SELECT 1 FROM pg_sleep(0.4)", &[]).await?));
    transaction.commit().await?;
    tell("timeout", client.query("SELECT pg_sleep($1)", &[&60.0]).await.map(|_| ()));
    client.batch_execute("RESET statement_timeout").await?;
    say("timeout", ask(client, "SHOW statement_timeout", &[]).await?);
    Ok(())
}

pub(crate) async fn recovery(client: &mut Client) -> Result<(), Error> {
    for text in [
        "SELECT 1/0",
        "SELEC 1",
        "SELECT nothing",
        "TABLE nowhere",
        "INSERT INTO matrix.item VALUES (1, 'twice')",
        "INSERT INTO matrix.kinds (id) VALUES (2)",
        "SELECT (-1)::matrix.positive",
    ] {
        tell("recovery", simply(client, text).await);
        tell("recovery", ask(client, text, &[]).await);
    }
    let serializable = client
        .build_transaction()
        .isolation_level(IsolationLevel::Serializable)
        .read_only(true)
        .deferrable(true);
    let transaction = serializable.start().await?;
    for name in ["transaction_isolation", "transaction_read_only", "transaction_deferrable"] {
        say("recovery", values(&transaction.query(&format!("SHOW {name}"), &[]).await?));
    }
    tell("recovery", transaction.execute("DELETE FROM matrix.item WHERE id = $1", &[&1]).await);
    tell("recovery", transaction.execute("SELECT 1", &[]).await);
    tell("recovery", transaction.commit().await);
    say(
        "recovery",
        (simply(client, "").await?, ask(client, "", &[]).await?, ask(client, "SELECT 6", &[]).await?),
    );
    client.check_connection().await
}

/// A type of the database's own, by what the driver has asked about it.
fn described(kind: &Kind) -> String {
    match kind {
        Kind::Enum(variants) => format!("enum {variants:?}"),
        Kind::Composite(fields) => {
            format!("composite {:?}", fields.iter().map(|f| (f.name(), f.type_().name())).collect::<Vec<_>>())
        }
        Kind::Array(of) | Kind::Domain(of) | Kind::Range(of) => {
            format!("of {} {}", of.name(), described(of.kind()))
        }
        other => format!("{other:?}"),
    }
}

#[derive(Debug, ToSql, FromSql)]
#[postgres(name = "mood")]
enum Mood {
    #[postgres(name = "sad")]
    Sad,
    #[postgres(name = "fine")]
    Fine,
}

#[derive(Debug, ToSql, FromSql)]
#[postgres(name = "pair")]
struct Pair {
    number: Option<i32>,
    label: Option<String>,
}

pub(crate) async fn types(client: &mut Client) -> Result<(), Error> {
    for round in 0..2 {
        let all = client.prepare("SELECT * FROM matrix.kinds WHERE mood = $1").await?;
        say("types", (round, all.params()[0].name(), described(all.params()[0].kind())));
        for column in all.columns() {
            let kind = column.type_();
            say(
                "types",
                (column.name(), kind.schema(), kind.name(), described(kind.kind()), column.type_modifier()),
            );
        }
        let row = client.query_one(&all, &[&Mood::Fine]).await?;
        say(
            "types",
            (
                row.get::<_, Vec<Mood>>("moods"),
                row.get::<_, Pair>("pair"),
                row.get::<_, serde_json::Value>("document"),
            ),
        );
        // What was asked is forgotten, and asked again.
        client.clear_type_cache();
    }
    let pair = Pair { number: Some(1), label: None };
    let row = client
        .query_one(
            "SELECT $1::matrix.pair, $2::matrix.mood[], $3::uuid, $4::bytea, $5::jsonb",
            &[
                &pair,
                &vec![Mood::Sad, Mood::Fine],
                &uuid::Uuid::from_u128(7),
                &vec![0_u8, 255],
                &serde_json::json!({ "a": [1, null] }),
            ],
        )
        .await?;
    say(
        "types",
        (
            row.get::<_, Pair>(0),
            row.get::<_, Vec<Mood>>(1),
            row.get::<_, uuid::Uuid>(2),
            row.get::<_, Vec<u8>>(3),
        ),
    );
    Ok(())
}

async fn shown(client: &Client) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for name in ["application_name", "search_path", "work_mem", "matrix.tag", "TimeZone"] {
        all.push(client.query_one(&format!("SHOW {name}"), &[]).await?.get(0));
    }
    Ok(all)
}

pub(crate) async fn settings(client: &mut Client) -> Result<(), Error> {
    let mut named: Config = config();
    named.application_name("named").options("-c search_path=client_3 -c work_mem=5MB -c matrix.tag=startup");
    let (mut other, news) = connect(&named).await?;
    let who = other.prepare("SELECT tag FROM who").await?;
    say(
        "settings",
        (
            shown(&other).await?,
            values(&other.query(&who, &[]).await?),
            ask(client, "SHOW search_path", &[]).await?,
        ),
    );
    other
        .batch_execute("SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
        .await?;
    let told = simply(&other, "SELECT '2024-02-29 12:00+00'::timestamptz").await?;
    say("settings", (values(&other.query(&who, &[]).await?), told));
    let transaction = other.transaction().await?;
    transaction.batch_execute("SET search_path = client_5; SET LOCAL work_mem = '7MB'").await?;
    say("settings", (values(&transaction.query(&who, &[]).await?), shown(transaction.client()).await?));
    transaction.rollback().await?;
    say("settings", (values(&other.query(&who, &[]).await?), shown(&other).await?));
    other.query("SELECT set_config('matrix.tag', $1, false)", &[&"configured"]).await?;
    say("settings", shown(&other).await?);
    other.batch_execute("RESET ALL").await?;
    say("settings", shown(&other).await?);
    tell("settings", other.batch_execute("SET work_mem = 'nonsense'").await);
    tell("settings", other.batch_execute("SET no_such_setting = 1").await);
    drop(news);
    Ok(())
}

pub(crate) async fn session_state(client: &mut Client) -> Result<(), Error> {
    let (other, _news) = connect(&config()).await?;
    // Prepared in one round, run in the next.
    client.execute("CREATE TEMP TABLE mine (n int)", &[]).await?;
    client.execute("INSERT INTO mine VALUES ($1), ($2)", &[&1, &2]).await?;
    say("temp table", ask(client, "SELECT sum(n) FROM mine", &[]).await?);
    tell("temp table", ask(&other, "SELECT * FROM mine", &[]).await);
    client.execute("DROP TABLE mine", &[]).await?;
    tell("temp table", ask(client, "SELECT * FROM mine", &[]).await);
    let transaction = client.transaction().await?;
    transaction.batch_execute("CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n").await?;
    say("temp table", values(&transaction.query("SELECT n FROM brief", &[]).await?));
    transaction.commit().await?;
    tell("temp table", ask(client, "SELECT n FROM brief", &[]).await);
    client.execute("SELECT pg_advisory_lock($1)", &[&41_i64]).await?;
    let attempt = "SELECT pg_try_advisory_lock(41)";
    say("advisory lock", (ask(&other, attempt, &[]).await?, ask(client, attempt, &[]).await?));
    for _ in 0..3 {
        say("advisory lock", ask(client, "SELECT pg_advisory_unlock(41)", &[]).await?);
    }
    let attempt = "SELECT pg_try_advisory_lock(42)";
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock(42)", &[]).await?;
    say("advisory lock", ask(&other, attempt, &[]).await?);
    transaction.commit().await?;
    say(
        "advisory lock",
        (ask(&other, attempt, &[]).await?, ask(&other, "SELECT pg_advisory_unlock(42)", &[]).await?),
    );
    Ok(())
}

pub(crate) async fn large(client: &mut Client) -> Result<(), Error> {
    let big = big();
    client.execute("INSERT INTO matrix.item VALUES (60, $1)", &[&big]).await?;
    say("large value", ask(client, "SELECT body FROM matrix.item WHERE id = 60", &[]).await?);
    say("large value", ask(client, "SELECT md5(body) FROM matrix.item WHERE id = 60", &[]).await?);
    say("large value", ask(client, "SELECT repeat('y', 30000000)", &[]).await?);
    say("large value", ask(client, &format!("SELECT length('{big}')"), &[]).await?);
    say("large value", simply(client, &format!("SELECT '{big}'")).await?);
    say("large value", ask(client, "SELECT $1::bytea", &[&big.as_bytes()]).await?);
    Ok(())
}

pub(crate) async fn notices(_: &mut Client) -> Result<(), Error> {
    let (client, mut news) = connect(&config()).await?;
    client
        .batch_execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
        .await?;
    for text in ["DROP TABLE IF EXISTS matrix.nothing", "BEGIN", "BEGIN", "COMMIT", "COMMIT"] {
        client.batch_execute(text).await?;
    }
    drop(client);
    while let Some(message) = news.recv().await {
        if let AsyncMessage::Notice(notice) = message {
            let (severity, code, message) = (notice.severity(), notice.code().code(), notice.message());
            say("notices", (severity, code, message, notice.detail(), notice.hint()));
        }
    }
    Ok(())
}
