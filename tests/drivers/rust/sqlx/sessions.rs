//! Features that are about a session and what it has.
use crate::{all, ask, ask_with, connect, options, simply, tell};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgAdvisoryLock, PgListener, PgPoolOptions};
use sqlx::types::{Json, Uuid};
use sqlx::{Connection, Either, Error, Executor, PgConnection, Row};
use std::time::Duration;
use tokio::time::timeout;
use transcript::{big, say};

pub(crate) async fn heard(
    listener: &mut PgListener,
    count: usize,
    patience: u64,
) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    while all.len() < count {
        let Ok(news) = timeout(Duration::from_millis(patience), listener.recv()).await else { break };
        let news = news?;
        all.push((news.channel().to_owned(), news.payload().to_owned()));
    }
    Ok(all)
}

pub(crate) async fn listen(c: &mut PgConnection) -> Result<(), Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen_all(["matrix_news", "Matrix \"quoted\""]).await?;
    let mut transaction = c.begin().await?;
    for payload in ["first", "first", "second"] {
        sqlx::query("SELECT pg_notify('matrix_news', $1)").bind(payload).execute(&mut *transaction).await?;
    }
    transaction.execute("NOTIFY matrix_silence, 'to nobody'").await?;
    transaction.commit().await?;
    say("listen", heard(&mut listener, 2, 20_000).await?);
    // It is a connection like others, too.
    (&mut listener).execute("SELECT pg_notify('Matrix \"quoted\"', 'its own')").await?;
    say("listen", heard(&mut listener, 1, 20_000).await?);
    listener.unlisten("matrix_news").await?;
    c.execute("NOTIFY matrix_news, 'to nobody'").await?;
    say("listen", heard(&mut listener, 1, 300).await?);
    listener.unlisten_all().await?;
    say("listen", all(&(&mut listener).fetch_all("SELECT pg_listening_channels()").await?));
    Ok(())
}

pub(crate) async fn cancel_and_timeout(c: &mut PgConnection) -> Result<(), Error> {
    // A future that is dropped does not cancel: the answer is read and thrown away before the next one.
    let dropped = timeout(Duration::from_millis(100), ask(c, "SELECT 1 FROM pg_sleep(0.5)")).await;
    say("cancel", (dropped.is_err(), ask(c, "SELECT 2").await?));
    c.execute("SET statement_timeout = 200").await?;
    tell("timeout", ask(c, "SELECT 1 FROM pg_sleep(60)").await);
    let mut transaction = c.begin().await?;
    transaction.execute("SET LOCAL statement_timeout = 0").await?;
    say("timeout", ask(&mut transaction, "SELECT 1 FROM pg_sleep(0.4)").await?);
    transaction.commit().await?;
    tell("timeout", ask_with(c, "SELECT 1 FROM pg_sleep($1::int)", 60).await);
    c.execute("RESET statement_timeout").await?;
    say("timeout", ask(c, "SHOW statement_timeout").await?);
    Ok(())
}

pub(crate) async fn recovery(c: &mut PgConnection) -> Result<(), Error> {
    for text in [
        "SELECT 1/0",
        "SELEC 1",
        "SELECT nothing",
        "TABLE nowhere",
        "INSERT INTO matrix.item VALUES (1, 'twice')",
        "INSERT INTO matrix.kinds (id) VALUES (2)",
        "SELECT (-1)::matrix.positive",
    ] {
        tell("recovery", simply(c, text).await);
        tell("recovery", ask(c, text).await);
    }
    let mut transaction = c.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").await?;
    say("recovery", ask(&mut transaction, "SHOW transaction_isolation").await?);
    tell("recovery", ask_with(&mut transaction, "DELETE FROM matrix.item WHERE id = $1", 1).await);
    tell("recovery", ask(&mut transaction, "SELECT 1").await);
    tell("recovery", transaction.commit().await);
    tell("recovery", c.begin_with("SELECT 1").await.map(|_| ()));
    say("recovery", (simply(c, "").await?, ask(c, "SELECT 6").await?));
    c.ping().await
}

#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "matrix.mood", rename_all = "lowercase")]
enum Mood {
    Sad,
    Fine,
}

#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "matrix.pair")]
struct Pair {
    number: Option<i32>,
    label: Option<String>,
}

pub(crate) async fn types(_: &mut PgConnection) -> Result<(), Error> {
    // Types of the database's own are asked about once for each connection.
    for _ in 0..2 {
        let mut c = connect().await?;
        let kinds = "SELECT mood, pair, positive, document, moods::text FROM matrix.kinds WHERE mood = $1";
        let row = sqlx::query(kinds).bind(Mood::Fine).fetch_one(&mut c).await?;
        let document: Json<serde_json::Value> = row.get("document");
        say(
            "types",
            (
                row.get::<Mood, _>("mood"),
                row.get::<Pair, _>("pair"),
                row.get::<i32, _>("positive"),
                document.0,
            ),
        );
        let echo = sqlx::query(
            "SELECT $1::matrix.pair, $2::matrix.mood, $3::uuid, $4::bytea, $5::jsonb, $6::int8[]",
        )
        .bind(Pair { number: Some(1), label: None })
        .bind(Mood::Sad)
        .bind(Uuid::from_u128(7))
        .bind(vec![0_u8, 255])
        .bind(Json([1, 2]))
        .bind(vec![Some(9_007_199_254_740_993_i64), None]);
        let row = echo.fetch_one(&mut c).await?;
        say(
            "types",
            (row.get::<Pair, _>(0), row.get::<Mood, _>(1), row.get::<Uuid, _>(2), row.get::<Vec<u8>, _>(3)),
        );
        say("types", (row.get::<Json<Vec<i32>>, _>(4).0, row.get::<Vec<Option<i64>>, _>(5)));
        c.close().await?;
    }
    Ok(())
}

async fn shown(c: &mut PgConnection) -> Result<Vec<Vec<Vec<String>>>, Error> {
    let mut all = Vec::new();
    for name in
        ["application_name", "search_path", "work_mem", "matrix.tag", "TimeZone", "extra_float_digits"]
    {
        all.push(ask(c, &format!("SHOW {name}")).await?);
    }
    Ok(all)
}

pub(crate) async fn settings(c: &mut PgConnection) -> Result<(), Error> {
    let named = options().application_name("named");
    let named = named.options([("search_path", "client_3"), ("work_mem", "5MB"), ("matrix.tag", "startup")]);
    let mut other = PgConnection::connect_with(&named).await?;
    let who = "SELECT tag FROM who";
    say(
        "settings",
        (shown(&mut other).await?, ask(&mut other, who).await?, ask(c, "SHOW search_path").await?),
    );
    simply(&mut other, "SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
        .await?;
    let told = simply(&mut other, "SELECT '2024-02-29 12:00+00'::timestamptz::text").await?;
    say("settings", (ask(&mut other, who).await?, told));
    let mut transaction = other.begin().await?;
    simply(&mut transaction, "SET search_path = client_5; SET LOCAL work_mem = '7MB'").await?;
    say("settings", (ask(&mut transaction, who).await?, shown(&mut transaction).await?));
    transaction.rollback().await?;
    say("settings", (ask(&mut other, who).await?, shown(&mut other).await?));
    ask(&mut other, "SELECT set_config('matrix.tag', 'configured', false)").await?;
    say("settings", shown(&mut other).await?);
    ask(&mut other, "RESET ALL").await?;
    say("settings", shown(&mut other).await?);
    tell("settings", ask(&mut other, "SET work_mem = 'nonsense'").await);
    tell("settings", ask(&mut other, "SET no_such_setting = 1").await);
    other.close().await
}

pub(crate) async fn session_state(c: &mut PgConnection) -> Result<(), Error> {
    let mut other = connect().await?;
    ask(c, "CREATE TEMP TABLE mine (n int)").await?;
    ask(c, "INSERT INTO mine VALUES (1), (2)").await?;
    say("temp table", ask(c, "SELECT sum(n) FROM mine").await?);
    tell("temp table", ask(&mut other, "SELECT * FROM mine").await);
    ask(c, "DROP TABLE mine").await?;
    tell("temp table", ask(c, "SELECT * FROM mine").await);
    let mut transaction = c.begin().await?;
    ask(&mut transaction, "CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n").await?;
    say("temp table", ask(&mut transaction, "SELECT n FROM brief").await?);
    transaction.commit().await?;
    tell("temp table", ask(c, "SELECT n FROM brief").await);
    // The driver's own lock, which it gives back when it is dropped.
    let lock = PgAdvisoryLock::new("matrix");
    for _ in 0..2 {
        let mut guard = lock.acquire(&mut *c).await?;
        say("advisory lock", lock.try_acquire(&mut other).await?.is_left());
        say(
            "advisory lock",
            ask(guard.as_mut(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").await?,
        );
        guard.release_now().await?;
        say(
            "advisory lock",
            match lock.try_acquire(&mut other).await? {
                Either::Left(guard) => guard.release_now().await.is_ok(),
                Either::Right(_) => false,
            },
        );
    }
    drop(lock.acquire(&mut *c).await?);
    c.ping().await?;
    say("advisory lock", lock.try_acquire(&mut other).await?.is_left());
    other.close().await
}

/// Each migrator takes an advisory lock, so the clients go one after the other, and only the first has something to do.
pub(crate) async fn migrate() -> Result<(), Error> {
    let migration = |version, sql: &'static str| {
        let text = sqlx::SqlStr::from_static(sql);
        Migration::new(version, format!("number {version}").into(), MigrationType::Simple, text, false)
    };
    let migrator = Migrator::with_migrations(vec![
        migration(1, "CREATE TABLE matrix.migrated (n int); INSERT INTO matrix.migrated VALUES (1)"),
        migration(2, "INSERT INTO matrix.migrated VALUES (2)"),
    ]);
    simply(&mut connect().await?, "DROP TABLE IF EXISTS _sqlx_migrations").await?;
    let run = || async {
        let mut c = connect().await?;
        migrator.run(&mut c).await.map_err(|error| Error::Protocol(error.to_string()))?;
        ask(&mut c, "SELECT * FROM matrix.migrated").await
    };
    for told in futures_util::future::join_all((0..5).map(|_| run())).await {
        tell("advisory lock", told);
    }
    simply(&mut connect().await?, "DROP TABLE _sqlx_migrations").await.map(|_| ())
}

pub(crate) async fn large(c: &mut PgConnection) -> Result<(), Error> {
    let big = big();
    sqlx::query("INSERT INTO matrix.item VALUES (60, $1)").bind(&big).execute(&mut *c).await?;
    for text in [
        "SELECT body FROM matrix.item WHERE id = 60",
        "SELECT md5(body) FROM matrix.item WHERE id = 60",
        "SELECT repeat('y', 30000000)",
        &format!("SELECT length('{big}')"),
    ] {
        say("large value", ask(c, text).await?);
    }
    say("large value", simply(c, &format!("SELECT '{big}'")).await?);
    let echo = sqlx::query("SELECT $1::bytea").bind(big.as_bytes()).fetch_all(&mut *c).await?;
    say("large value", all(&echo));
    Ok(())
}
