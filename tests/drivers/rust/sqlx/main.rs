//! sqlx: what it sees of every feature of the matrix. Run twice and compared, see ../README.md.
mod sessions;
mod statements;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Connection, Either, Error, Executor, PgConnection, Row, TypeInfo, ValueRef};
use std::fmt;
use transcript::{ROUNDS, Seen, number, port, say, told};

fn options() -> PgConnectOptions {
    let options = PgConnectOptions::new_without_pgpass().host(&told("HOST")).port(port());
    options.username(&told("USER")).password(&told("PASSWORD")).database(&told("DATABASE"))
}

async fn connect() -> Result<PgConnection, Error> {
    PgConnection::connect_with(&options()).await
}

/// Values of a row as their types and their text, or their bytes where those are no text.
fn values(row: &PgRow) -> Vec<String> {
    (0..row.len())
        .map(|n| {
            let value = row.try_get_raw(n).expect("the column is there");
            let kind = value.type_info().name().to_owned();
            if value.is_null() {
                return "NULL".to_owned();
            }
            match kind.as_str() {
                "INT4" => row.get::<i32, _>(n).to_string(),
                "INT8" => row.get::<i64, _>(n).to_string(),
                "BOOL" => row.get::<bool, _>(n).to_string(),
                _ => format!("{kind} {}", String::from_utf8_lossy(value.as_bytes().unwrap_or_default())),
            }
        })
        .collect()
}

fn all(rows: &[PgRow]) -> Vec<Vec<String>> {
    rows.iter().map(values).collect()
}

fn fields(error: &Error) -> Vec<String> {
    let Some(error) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    else {
        return vec![error.to_string()];
    };
    let mut told =
        vec![format!("{:?}", error.severity()), error.code().to_owned(), error.message().to_owned()];
    told.extend(error.detail().map(str::to_owned));
    told.extend(error.hint().map(str::to_owned));
    told.extend(error.position().map(|position| format!("{position:?}")));
    told
}

fn tell<T: fmt::Debug>(feature: &str, result: Result<T, Error>) {
    match result {
        Ok(value) => say(feature, ("no error", value)),
        Err(error) => say(feature, fields(&error)),
    }
}

/// A statement that is prepared under a name and kept.
async fn ask(c: &mut PgConnection, text: &str) -> Result<Vec<Vec<String>>, Error> {
    c.fetch_all(sqlx::query(AssertSqlSafe(text))).await.map(|rows| all(&rows))
}

/// The same with a number.
async fn ask_with(c: &mut PgConnection, text: &str, n: i32) -> Result<Vec<Vec<String>>, Error> {
    c.fetch_all(sqlx::query(AssertSqlSafe(text)).bind(n)).await.map(|rows| all(&rows))
}

/// Any number of statements in the simple protocol.
async fn simply(c: &mut PgConnection, text: &str) -> Result<Vec<String>, Error> {
    let told = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(c).map_ok(|result| match result {
        Either::Left(done) => format!("{} rows", done.rows_affected()),
        Either::Right(row) => format!("{:?}", values(&row)),
    });
    told.try_collect().await
}

/// What one of many clients does and sees.
async fn client(number: i32, (preparers, listeners): (i32, i32), seen: &mut Seen) -> Result<(), Error> {
    let settings = [("search_path", format!("client_{number}")), ("matrix.tag", number.to_string())];
    let options = options().application_name(&format!("client_{number}")).options(settings);
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options).await?;
    let mut c = pool.acquire().await?;
    if number < preparers {
        simply(&mut c, &format!("PREPARE mine (int) AS SELECT {number} * $1")).await?;
    }
    for n in 0..ROUNDS {
        // The driver numbers its statements, so all clients use the same names.
        seen.see("who", ask(&mut c, "SELECT tag FROM who").await?);
        seen.see("own", ask_with(&mut c, &format!("SELECT {number} + $1 - $1"), n).await?);
        for name in ["application_name", "matrix.tag", "search_path"] {
            seen.see("set", ask(&mut c, &format!("SHOW {name}")).await?);
        }
        if number < preparers {
            let answer: i32 =
                sqlx::query_scalar(AssertSqlSafe(format!("EXECUTE mine({n})"))).fetch_one(&mut *c).await?;
            seen.see("mine", answer - number * n);
        }
        if let Err(error) = ask(&mut c, &format!("SELECT 'x{number}'::text::int")).await {
            seen.see("error", fields(&error));
        }
        let mut transaction = c.begin().await?;
        ask_with(&mut transaction, &format!("INSERT INTO matrix.mixed VALUES ({number}, $1)"), n).await?;
        seen.see("inside", ask(&mut transaction, "SELECT tag FROM who").await?);
        transaction.commit().await?;
    }
    ask(&mut c, "CREATE TEMP TABLE mine AS SELECT tag FROM who").await?;
    seen.see("temp", ask(&mut c, "SELECT tag FROM mine").await?);
    ask(&mut c, "DROP TABLE mine").await?;
    ask(&mut c, "SELECT 1 FROM pg_advisory_lock(7)").await?;
    let value: i32 = sqlx::query_scalar("SELECT value FROM matrix.counter").fetch_one(&mut *c).await?;
    ask_with(&mut c, "UPDATE matrix.counter SET value = $1", value + 1).await?;
    seen.see("unlock", ask(&mut c, "SELECT pg_advisory_unlock(7)").await?);
    drop(c);
    if number < listeners {
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await?;
        listener.listen(&format!("channel_{number}")).await?;
        let notify = format!("NOTIFY channel_{number}, 'for {number}'");
        listener.execute(AssertSqlSafe(notify)).await?;
        seen.see("news", sessions::heard(&mut listener, 1, 20_000).await?);
    }
    pool.close().await;
    Ok(())
}

async fn mix(c: &mut PgConnection) -> Result<(), Error> {
    let limits = (number("PREPARERS"), number("LISTENERS"));
    let all = (0..number("CLIENTS")).map(|number| async move {
        let mut seen = Seen::default();
        if let Err(fault) = client(number, limits, &mut seen).await {
            seen.see("fault", fields(&fault));
        }
        seen
    });
    for (number, seen) in (0..).zip(join_all(all).await) {
        seen.tell(number);
    }
    say(
        "mix",
        ask(c, "SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client")
            .await?,
    );
    say("mix", ask(c, "SELECT value FROM matrix.counter").await?);
    let pool = PgPoolOptions::new().max_connections(10).connect_with(options()).await?;
    let asked = (0..50).map(|n| sqlx::query_scalar::<_, i32>("SELECT $1::int * 2").bind(n).fetch_one(&pool));
    say("mix", join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?);
    pool.close().await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let c = &mut connect().await?;
    statements::prepare(c).await?;
    statements::batch(c).await?;
    statements::cursors(c).await?;
    statements::copy(c).await?;
    statements::savepoints(c).await?;
    sessions::listen(c).await?;
    sessions::cancel_and_timeout(c).await?;
    sessions::recovery(c).await?;
    sessions::types(c).await?;
    sessions::settings(c).await?;
    sessions::session_state(c).await?;
    sessions::migrate().await?;
    sessions::large(c).await?;
    mix(c).await
}
