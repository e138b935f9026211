//! tokio-postgres: what it sees of every feature of the matrix. Run twice and compared, see ../README.md.
mod sessions;
mod statements;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row, SimpleQueryMessage};
use transcript::{ROUNDS, Seen, number, port, say, told};

/// What came on a connection without being asked for.
type News = UnboundedReceiver<AsyncMessage>;
type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

fn config() -> Config {
    let mut config = Config::new();
    config
        .host(told("HOST"))
        .port(port())
        .user(told("USER"))
        .password(told("PASSWORD"))
        .dbname(told("DATABASE"));
    config.connect_timeout(Duration::from_secs(20));
    config
}

async fn connect(config: &Config) -> Result<(Client, News), Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (tell, news) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            // Nobody may be listening any more.
            let _ = tell.send(message);
        }
    });
    Ok((client, news))
}

/// A value of any type, as its text where that is told at once, else as its bytes.
struct Value(String);

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Value(match *kind {
            Type::INT4 => i32::from_sql(kind, raw)?.to_string(),
            Type::INT8 => i64::from_sql(kind, raw)?.to_string(),
            Type::BOOL => bool::from_sql(kind, raw)?.to_string(),
            _ => String::from_utf8_lossy(raw).into_owned(),
        }))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn values(rows: &[Row]) -> Vec<Vec<Option<Value>>> {
    rows.iter().map(|row| (0..row.len()).map(|n| row.get(n)).collect()).collect()
}

fn fields(error: &Error) -> Vec<String> {
    let Some(error) = error.as_db_error() else { return vec![error.to_string()] };
    let mut all =
        vec![error.severity().to_owned(), error.code().code().to_owned(), error.message().to_owned()];
    all.extend(error.detail().map(str::to_owned));
    all.extend(error.hint().map(str::to_owned));
    all.extend(error.position().map(|position| format!("{position:?}")));
    all
}

fn tell<T: fmt::Debug>(feature: &str, result: Result<T, Error>) {
    match result {
        Ok(value) => say(feature, ("no error", value)),
        Err(error) => say(feature, fields(&error)),
    }
}

async fn ask(
    client: &Client,
    text: &str,
    parameters: Parameters<'_>,
) -> Result<Vec<Vec<Option<Value>>>, Error> {
    client.query(text, parameters).await.map(|rows| values(&rows))
}

/// Results of the simple protocol.
async fn simply(client: &Client, text: &str) -> Result<Vec<String>, Error> {
    let results = client.simple_query(text).await?;
    Ok(results
        .iter()
        .map(|result| match result {
            SimpleQueryMessage::Row(row) => {
                format!("{:?}", (0..row.len()).map(|n| row.get(n)).collect::<Vec<_>>())
            }
            SimpleQueryMessage::CommandComplete(count) => format!("{count} rows"),
            SimpleQueryMessage::RowDescription(columns) => {
                columns.iter().map(|column| column.name()).collect()
            }
            _ => "something new".to_owned(),
        })
        .collect())
}

/// What one of many clients does and sees.
async fn client(number: i32, (preparers, listeners): (i32, i32), seen: &mut Seen) -> Result<(), Error> {
    let mut config = config();
    config.application_name(format!("client_{number}"));
    config.options(format!("-c search_path=client_{number} -c matrix.tag={number}"));
    let (mut client, mut news) = connect(&config).await?;
    if number < preparers {
        client.batch_execute(&format!("PREPARE mine (int) AS SELECT {number} * $1")).await?;
    }
    if number < listeners {
        client.batch_execute(&format!("LISTEN channel_{number}")).await?;
    }
    // The driver numbers its statements, so all clients use the same names.
    let who = client.prepare("SELECT tag FROM who").await?;
    let own = client.prepare(&format!("SELECT {number} + $1::int - $2::int")).await?;
    for n in 0..ROUNDS {
        seen.see("who", values(&client.query(&who, &[]).await?));
        seen.see("own", values(&client.query(&own, &[&n, &n]).await?));
        for name in ["application_name", "matrix.tag", "search_path"] {
            seen.see("set", ask(&client, &format!("SHOW {name}"), &[]).await?);
        }
        if number < preparers {
            let answer: i32 = client.query_one(&format!("EXECUTE mine({n})"), &[]).await?.get(0);
            seen.see("mine", answer - number * n);
        }
        if let Err(error) = client.query("SELECT $1::text::int", &[&format!("x{number}")]).await {
            seen.see("error", fields(&error));
        }
        let transaction = client.transaction().await?;
        transaction.execute("INSERT INTO matrix.mixed VALUES ($1, $2)", &[&number, &n]).await?;
        seen.see("inside", values(&transaction.query(&who, &[]).await?));
        transaction.commit().await?;
    }
    client.execute("CREATE TEMP TABLE mine AS SELECT tag FROM who", &[]).await?;
    seen.see("temp", ask(&client, "SELECT tag FROM mine", &[]).await?);
    client.execute("DROP TABLE mine", &[]).await?;
    client.execute("SELECT pg_advisory_lock(7)", &[]).await?;
    let value: i32 = client.query_one("SELECT value FROM matrix.counter", &[]).await?.get(0);
    client.execute("UPDATE matrix.counter SET value = $1", &[&(value + 1)]).await?;
    seen.see("unlock", ask(&client, "SELECT pg_advisory_unlock(7)", &[]).await?);
    if number < listeners {
        client.batch_execute(&format!("NOTIFY channel_{number}, 'for {number}'")).await?;
        seen.see("news", sessions::heard(&mut news, 1, 20_000).await);
    }
    Ok(())
}

async fn mix(c: &Client) -> Result<(), Error> {
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
        ask(c, "SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client", &[])
            .await?,
    );
    say("mix", ask(c, "SELECT value FROM matrix.counter", &[]).await?);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let (mut client, _news) = connect(&config()).await?;
    statements::prepare(&mut client).await?;
    statements::pipeline(&mut client).await?;
    statements::batch(&mut client).await?;
    statements::cursors(&mut client).await?;
    statements::copy(&mut client).await?;
    statements::savepoints(&mut client).await?;
    sessions::listen(&mut client).await?;
    sessions::cancel_and_timeout(&mut client).await?;
    sessions::recovery(&mut client).await?;
    sessions::types(&mut client).await?;
    sessions::settings(&mut client).await?;
    sessions::session_state(&mut client).await?;
    sessions::large(&mut client).await?;
    sessions::notices(&mut client).await?;
    mix(&client).await
}
