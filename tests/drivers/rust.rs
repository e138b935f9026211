//! tokio-postgres, the driver pgherd itself uses for its probes.
use futures_util::{StreamExt, pin_mut};
use pgherd_lab::front::Ports;
use pgherd_tests::stand::{PASSWORD, USER};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, Error, NoTls};

const CLIENTS: i32 = 10;

async fn connect(port: u16, name: &str) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(USER).password(PASSWORD).dbname(USER).application_name(name);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

fn refused<T>(what: &str, result: Result<T, Error>, state: &SqlState) {
    match result {
        Err(error) => assert_eq!(error.code(), Some(state), "{what}: {error:?}"),
        Ok(_) => panic!("{what}: nothing was refused"),
    }
    println!("ok    {what}");
}

/// Everything the other programs do, in this driver's words.
pub(crate) async fn smoke(ports: Ports) {
    let mut client = connect(ports.primary, "smoke_rust").await;
    client.batch_execute("CREATE TABLE smoke_rust (id int PRIMARY KEY, body text)").await.unwrap();
    let put = client.prepare("INSERT INTO smoke_rust VALUES ($1, $2)").await.unwrap();
    for (id, body) in [(1, "one"), (2, "two")] {
        assert_eq!(client.execute(&put, &[&id, &body]).await.unwrap(), 1);
    }
    transactions(&mut client).await;
    copy(&client).await;
    large_value(&client).await;
    cancel(&client).await;
    pipeline(&client).await;
    concurrency(ports.primary, &client).await;
    replicas(ports.replicas).await;
    anywhere(ports.any).await;
}

async fn transactions(client: &mut Client) {
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO smoke_rust VALUES (10, 'kept')", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO smoke_rust VALUES (11, 'gone')", &[]).await.unwrap();
    transaction.rollback().await.unwrap();
    let row = client.query_one("SELECT count(*) FROM smoke_rust WHERE id IN (10, 11)", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1, "commit and rollback");

    let transaction = client.transaction().await.unwrap();
    let divided = transaction.query("SELECT 1 / $1::int", &[&0]).await;
    refused("primary: an error in a transaction", divided, &SqlState::DIVISION_BY_ZERO);
    let again = transaction.query("SELECT 1", &[]).await;
    refused("primary: which stays failed", again, &SqlState::IN_FAILED_SQL_TRANSACTION);
    transaction.rollback().await.unwrap();

    let mut transaction = client.transaction().await.unwrap();
    let savepoint = transaction.savepoint("s").await.unwrap();
    let unknown = savepoint.query("SELECT no_such_column", &[]).await;
    refused("primary: an error after a savepoint", unknown, &SqlState::UNDEFINED_COLUMN);
    savepoint.rollback().await.unwrap();
    let statement = transaction.prepare("SELECT n FROM generate_series(1, 1000) n").await.unwrap();
    let portal = transaction.bind(&statement, &[]).await.unwrap();
    let mut total = 0;
    loop {
        let rows = transaction.query_portal(&portal, 100).await.unwrap();
        if rows.is_empty() {
            break;
        }
        total += rows.iter().map(|row| i64::from(row.get::<_, i32>(0))).sum::<i64>();
    }
    transaction.commit().await.unwrap();
    assert_eq!(total, 500_500, "a portal fetched in parts");
    println!("ok    primary: transactions, savepoints, portals");
}

async fn copy(client: &Client) {
    let types = [Type::INT4, Type::TEXT];
    let sink = client.copy_in("COPY smoke_rust FROM STDIN (FORMAT binary)").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    for n in 1000..6000_i32 {
        writer.as_mut().write(&[&n, &"row"]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 5000);
    let out =
        client.copy_out("COPY (SELECT * FROM smoke_rust WHERE id >= 1000) TO STDOUT (FORMAT binary)").await;
    let rows = BinaryCopyOutStream::new(out.unwrap(), &types);
    pin_mut!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        assert_eq!(row.unwrap().get::<&str>(1), "row");
        count += 1;
    }
    assert_eq!(count, 5000);
    println!("ok    primary: binary COPY in and out, 5000 rows");
}

async fn large_value(client: &Client) {
    let big = "x".repeat(2_000_000);
    client.execute("INSERT INTO smoke_rust VALUES (20, $1)", &[&big]).await.unwrap();
    let row = client.query_one("SELECT body FROM smoke_rust WHERE id = 20", &[]).await.unwrap();
    assert!(row.get::<_, String>(0) == big, "a value of 2 MB came back changed");
    println!("ok    primary: a value of 2 MB there and back");
}

async fn cancel(client: &Client) {
    let began = Instant::now();
    let token = client.cancel_token();
    let canceller = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        token.cancel_query(NoTls).await.unwrap();
    };
    let (slept, ()) = tokio::join!(client.batch_execute("SELECT pg_sleep(60)"), canceller);
    refused("primary: cancel", slept, &SqlState::QUERY_CANCELED);
    assert!(began.elapsed() < Duration::from_secs(20), "cancel took {:?}", began.elapsed());
}

/// Futures of one client that are polled together leave in one write and are answered in order.
async fn pipeline(client: &Client) {
    let twice = client.prepare("SELECT $1::int * 2").await.unwrap();
    let parameters: Vec<i32> = (0..50).collect();
    let asked = parameters
        .iter()
        .map(|n| async { client.query_one(&twice, &[n]).await.map(|row| row.get::<_, i32>(0)) });
    let answers = futures_util::future::join_all(asked).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(usize::try_from(answer.unwrap()), Ok(2 * n));
    }
    let (first, broken, last) = tokio::join!(
        client.query_one("SELECT 1", &[]),
        client.query_one("SELECT 1 / $1::int", &[&0]),
        client.query_one("SELECT 3", &[]),
    );
    assert_eq!((first.unwrap().get::<_, i32>(0), last.unwrap().get::<_, i32>(0)), (1, 3));
    refused("primary: an error inside a pipeline hurts only itself", broken, &SqlState::DIVISION_BY_ZERO);
}

async fn concurrency(port: u16, client: &Client) {
    let mut all = JoinSet::new();
    for number in 0..CLIENTS {
        all.spawn(async move {
            let name = format!("smoke_rust_{number}");
            let mut client = connect(port, &name).await;
            let shared = client.prepare("SELECT $1::int + 1").await.unwrap();
            let own = client.prepare(&format!("SELECT {number} * $1::int")).await.unwrap();
            for n in 0..20 {
                assert_eq!(client.query_one(&shared, &[&n]).await.unwrap().get::<_, i32>(0), n + 1);
                assert_eq!(client.query_one(&own, &[&n]).await.unwrap().get::<_, i32>(0), number * n);
                if n % 5 == 0 {
                    let transaction = client.transaction().await.unwrap();
                    transaction.batch_execute("SELECT pg_sleep(0.01)").await.unwrap();
                    let id = 100_000 + 1000 * number + n;
                    transaction
                        .execute("INSERT INTO smoke_rust VALUES ($1, 'concurrent')", &[&id])
                        .await
                        .unwrap();
                    transaction.commit().await.unwrap();
                }
            }
            let row = client.query_one("SHOW application_name", &[]).await.unwrap();
            assert_eq!(row.get::<_, String>(0), name, "another client's application_name");
        });
    }
    all.join_all().await;
    let row = client.query_one("SELECT count(*) FROM smoke_rust WHERE id >= 100000", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), i64::from(CLIENTS) * 4);
    println!("ok    primary: prepared statements of {CLIENTS} clients at once");
}

async fn replicas(port: u16) {
    let client = connect(port, "smoke_rust").await;
    let mut seen = None;
    for _ in 0..100 {
        // The table itself may not have arrived yet.
        let row = client.query_one("SELECT count(*) FROM smoke_rust WHERE id IN (1, 10)", &[]).await.ok();
        seen = row.map(|row| row.get::<_, i64>(0));
        if seen == Some(2) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(seen, Some(2), "rows arrive");
    let row = client.query_one("SELECT pg_is_in_recovery()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0), "a node in recovery answers");
    let write = client.execute("INSERT INTO smoke_rust VALUES ($1, NULL)", &[&30]).await;
    refused("replicas: a write", write, &SqlState::READ_ONLY_SQL_TRANSACTION);
    assert_eq!(client.query_one("SELECT 10", &[]).await.unwrap().get::<_, i32>(0), 10);
}

async fn anywhere(port: u16) {
    let mut client = connect(port, "smoke_rust").await;
    client.execute("INSERT INTO smoke_rust VALUES (40, 'any')", &[]).await.unwrap();
    let row = client.query_one("SELECT body FROM smoke_rust WHERE id = $1", &[&40]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "any");
    let transaction = client.build_transaction().read_only(true).start().await.unwrap();
    assert_eq!(transaction.query_one("SELECT 11", &[]).await.unwrap().get::<_, i32>(0), 11);
    let write = transaction.execute("DELETE FROM smoke_rust WHERE id = $1", &[&1]).await;
    refused("any: a write in a READ ONLY transaction", write, &SqlState::READ_ONLY_SQL_TRANSACTION);
    transaction.rollback().await.unwrap();
    client.batch_execute("DROP TABLE smoke_rust").await.unwrap();
}
