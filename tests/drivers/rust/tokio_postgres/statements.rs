//! Features that are about statements and what they give.
use crate::{ask, simply, tell, values};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};
use transcript::say;

pub(crate) async fn prepare(client: &mut Client) -> Result<(), Error> {
    let item = client.prepare("SELECT id, body FROM matrix.item WHERE id = $1").await?;
    say(
        "prepare",
        (item.params(), item.columns().iter().map(|c| (c.name(), c.type_().name())).collect::<Vec<_>>()),
    );
    for n in 1..5 {
        let other = client.prepare("SELECT $1::int + 1, $2::text[]").await?;
        say("prepare", values(&client.query(&item, &[&n]).await?));
        say("prepare", values(&client.query(&other, &[&n, &vec![Some("a"), None]]).await?));
    }
    tell("prepare", client.prepare("SELECT nothing FROM matrix.item").await.map(|_| ()));
    tell("prepare", client.query_one("SELECT 1 / $1::int", &[&0]).await.map(|_| ()));
    tell(
        "prepare",
        client
            .query_typed("SELECT $1 + $2", &[(&1, Type::INT4), (&2, Type::INT4)])
            .await
            .map(|rows| values(&rows)),
    );
    // What a statement gives has changed since it was prepared.
    let all = client.prepare("SELECT * FROM matrix.item WHERE id = 3").await?;
    client.batch_execute("ALTER TABLE matrix.item ADD COLUMN more int").await?;
    tell("prepare", client.query(&all, &[]).await.map(|rows| values(&rows)));
    client.batch_execute("ALTER TABLE matrix.item DROP COLUMN more").await?;
    tell("prepare", client.query(&all, &[]).await.map(|rows| values(&rows)));
    // Statements are closed when they are dropped.
    for n in 0..50 {
        let dropped = client.prepare(&format!("SELECT {n} * $1::int")).await?;
        assert_eq!(client.query_one(&dropped, &[&n]).await?.get::<_, i32>(0), n * n);
    }
    client.batch_execute("PREPARE own (int) AS SELECT $1 * 2").await?;
    say("sql prepare", ask(client, "EXECUTE own(21)", &[]).await?);
    tell("sql prepare", client.batch_execute("PREPARE own AS SELECT 1").await);
    tell("sql prepare", client.execute("DEALLOCATE own", &[]).await);
    tell("sql prepare", ask(client, "EXECUTE own(1)", &[]).await);
    Ok(())
}

/// Futures that are polled together leave in one write, and are answered in order.
pub(crate) async fn pipeline(client: &mut Client) -> Result<(), Error> {
    let twice = client.prepare("SELECT $1::int * 2").await?;
    let numbers: Vec<i32> = (0..100).collect();
    let asked = numbers
        .iter()
        .map(|n| async { client.query_one(&twice, &[n]).await.map(|row| row.get::<_, i32>(0)) });
    say("pipeline", join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?);
    let texts = ["SELECT 1", "SELECT 1/0", "SELECT nothing", "SELECT 4"];
    for result in join_all(texts.map(|text| ask(client, text, &[]))).await {
        tell("pipeline", result);
    }
    let texts = [
        "BEGIN",
        "INSERT INTO matrix.item VALUES (90, '')",
        "SELECT 1/0",
        "SELECT 1",
        "COMMIT",
        "TABLE matrix.item",
    ];
    for result in join_all(texts.map(|text| simply(client, text))).await {
        tell("pipeline", result);
    }
    Ok(())
}

pub(crate) async fn batch(client: &mut Client) -> Result<(), Error> {
    say("batch", simply(client, "SELECT 1 AS a; UPDATE matrix.item SET body = body; SELECT 2 AS b").await?);
    tell(
        "batch",
        client.batch_execute("INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2").await,
    );
    let ids: Vec<i32> = (100..600).collect();
    say(
        "batch",
        client
            .execute("INSERT INTO matrix.item SELECT n, $2 FROM unnest($1::int[]) n", &[&ids, &"batch"])
            .await?,
    );
    say("batch", ask(client, "SELECT count(*), max(id) FROM matrix.item", &[]).await?);
    Ok(())
}

pub(crate) async fn cursors(client: &mut Client) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    let statement = transaction.prepare("SELECT n FROM generate_series(1, $1::int) n").await?;
    let (first, second) =
        (transaction.bind(&statement, &[&1000]).await?, transaction.bind(&statement, &[&7]).await?);
    for size in [3, 500, 0, 1] {
        let rows = transaction.query_portal(&first, size).await?;
        say("cursor", (rows.len(), values(&transaction.query_portal(&second, 2).await?)));
    }
    let broken = transaction.bind("SELECT 1 / (5 - n) FROM generate_series(1, 10) n", &[]).await?;
    say("cursor", values(&transaction.query_portal(&broken, 2).await?));
    tell("cursor", transaction.query_portal(&broken, 5).await.map(|rows| values(&rows)));
    transaction.rollback().await?;
    client
        .batch_execute(
            "BEGIN; DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n; COMMIT",
        )
        .await?;
    for text in [
        "FETCH 2 FROM held",
        "FETCH ALL FROM held",
        "FETCH FIRST FROM held",
        "CLOSE held",
        "FETCH 1 FROM held",
    ] {
        tell("cursor", ask(client, text, &[]).await);
    }
    let rows = client.query_raw("SELECT n FROM generate_series(1, 10000) n", Vec::<i32>::new()).await?;
    say("cursor", rows.try_fold(0, |sum, row| async move { Ok(sum + row.get::<_, i32>(0)) }).await?);
    Ok(())
}

pub(crate) async fn copy(client: &mut Client) -> Result<(), Error> {
    let types = [Type::INT4, Type::TEXT];
    let writer =
        BinaryCopyInWriter::new(client.copy_in("COPY matrix.item FROM STDIN (FORMAT binary)").await?, &types);
    pin_mut!(writer);
    for n in 10_000..15_000_i32 {
        writer.as_mut().write(&[&n, &format!("row {n}")]).await?;
    }
    say("copy in", writer.finish().await?);
    for nonsense in ["a\tb\n", "1\tdouble key\n"] {
        let sink = client.copy_in("COPY matrix.item FROM STDIN").await?;
        pin_mut!(sink);
        sink.send(Bytes::from(nonsense)).await?;
        tell("copy in", sink.finish().await);
    }
    {
        let sink = client.copy_in("COPY matrix.item FROM STDIN").await?;
        pin_mut!(sink);
        sink.send(Bytes::from("20000\tgiven up\n")).await?;
    }
    say("copy in", ask(client, "SELECT count(*) FROM matrix.item WHERE id = 20000", &[]).await?);
    let out = client
        .copy_out("COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT (FORMAT binary)")
        .await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(out, &types).try_collect().await?;
    say("copy out", rows.iter().map(|row| (row.get::<i32>(0), row.get::<&str>(1))).collect::<Vec<_>>());
    let out =
        client.copy_out("COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT").await?;
    tell("copy out", out.try_collect::<Vec<_>>().await);
    // Given up in the middle: the driver reads the rest before the next answer.
    let out = client.copy_out("COPY (SELECT n FROM generate_series(1, 100000) n) TO STDOUT").await?;
    say("copy out", Box::pin(out).next().await.is_some());
    say("copy out", ask(client, "SELECT 1", &[]).await?);
    Ok(())
}

pub(crate) async fn savepoints(client: &mut Client) -> Result<(), Error> {
    let mut outer = client.transaction().await?;
    outer.execute("INSERT INTO matrix.item VALUES (50, 'outer')", &[]).await?;
    let inner = outer.savepoint("within").await?;
    inner.execute("INSERT INTO matrix.item VALUES (51, 'inner')", &[]).await?;
    tell("savepoint", inner.execute("INSERT INTO matrix.item VALUES ($1, 'again')", &[&50]).await);
    tell("savepoint", inner.execute("SELECT 1", &[]).await);
    inner.rollback().await?;
    let second = outer.transaction().await?;
    second.execute("INSERT INTO matrix.item VALUES (52, 'second')", &[]).await?;
    second.commit().await?;
    {
        let dropped = outer.transaction().await?;
        dropped.execute("INSERT INTO matrix.item VALUES (53, 'rolled back when dropped')", &[]).await?;
    }
    outer.commit().await?;
    say("savepoint", ask(client, "SELECT * FROM matrix.item WHERE id BETWEEN 50 AND 59", &[]).await?);
    Ok(())
}
