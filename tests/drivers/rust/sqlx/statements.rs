//! Features that are about statements and what they give.
use crate::{all, ask, ask_with, options, simply, tell, values};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::{
    AssertSqlSafe, Column, Connection, Error, Executor, PgConnection, SqlSafeStr, Statement, TypeInfo,
};
use transcript::say;

pub(crate) async fn prepare(c: &mut PgConnection) -> Result<(), Error> {
    for n in 1..5 {
        say("prepare", ask_with(c, "SELECT id, body FROM matrix.item WHERE id = $1", n).await?);
        // Prepared without a name, and forgotten.
        let once = sqlx::query("SELECT $1::int + 1, $2::text[]")
            .bind(n)
            .bind(vec![Some("a"), None])
            .persistent(false);
        say("prepare", all(&once.fetch_all(&mut *c).await?));
    }
    tell("prepare", ask(c, "SELECT nothing FROM matrix.item").await);
    tell("prepare", ask_with(c, "SELECT 1 / $1::int", 0).await);
    say("prepare", c.cached_statements_size());
    let statement =
        (&mut *c).prepare(AssertSqlSafe("SELECT * FROM matrix.kinds WHERE id = $1").into_sql_str()).await?;
    let columns: Vec<_> =
        statement.columns().iter().map(|column| (column.name(), column.type_info().name())).collect();
    say("prepare", (columns, format!("{:?}", statement.parameters())));
    // What a statement gives has changed since it was prepared.
    let text = "SELECT * FROM matrix.item WHERE id = 3";
    say("prepare", ask(c, text).await?);
    simply(c, "ALTER TABLE matrix.item ADD COLUMN more int").await?;
    tell("prepare", ask(c, text).await);
    simply(c, "ALTER TABLE matrix.item DROP COLUMN more").await?;
    tell("prepare", ask(c, text).await);
    // Of few statements that are kept the oldest are closed.
    let mut small = PgConnection::connect_with(&options().statement_cache_capacity(2)).await?;
    for n in 0..20 {
        say("prepare", ask_with(&mut small, &format!("SELECT {} * $1::int", n % 5), n).await?);
    }
    c.clear_cached_statements().await?;
    simply(c, "PREPARE own (int) AS SELECT $1 * 2").await?;
    say("sql prepare", ask(c, "EXECUTE own(21)").await?);
    tell("sql prepare", simply(c, "PREPARE own AS SELECT 1").await);
    tell("sql prepare", ask(c, "DEALLOCATE own").await);
    tell("sql prepare", ask(c, "EXECUTE own(1)").await);
    Ok(())
}

pub(crate) async fn batch(c: &mut PgConnection) -> Result<(), Error> {
    say("batch", simply(c, "SELECT 1 AS a; UPDATE matrix.item SET body = body; SELECT 2 AS b").await?);
    tell("batch", simply(c, "INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2").await);
    let ids: Vec<i32> = (100..600).collect();
    let insert = sqlx::query("INSERT INTO matrix.item SELECT n, $2 FROM unnest($1::int[]) n RETURNING id")
        .bind(ids)
        .bind("batch");
    say("batch", all(&insert.fetch_all(&mut *c).await?));
    say("batch", ask(c, "SELECT count(*), max(id) FROM matrix.item").await?);
    Ok(())
}

pub(crate) async fn cursors(c: &mut PgConnection) -> Result<(), Error> {
    {
        // Given up in the middle: the driver reads the rest before the next answer.
        let mut rows =
            sqlx::query("SELECT n FROM generate_series(1, $1::int) n").bind(100_000).fetch(&mut *c);
        say("cursor", rows.next().await.transpose()?.map(|row| values(&row)));
    }
    say("cursor", ask(c, "SELECT 1").await?);
    tell("cursor", ask(c, "SELECT 1 / (5 - n) FROM generate_series(1, 10) n").await);
    let mut transaction = c.begin().await?;
    transaction.execute("DECLARE walker SCROLL CURSOR FOR SELECT n FROM generate_series(1, 1000) n").await?;
    for text in [
        "FETCH 2 FROM walker",
        "FETCH ABSOLUTE 500 FROM walker",
        "MOVE LAST FROM walker",
        "FETCH 2 FROM walker",
    ] {
        say("cursor", ask(&mut transaction, text).await?);
    }
    transaction.execute("DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n").await?;
    transaction.commit().await?;
    for text in
        ["FETCH 2 FROM held", "FETCH 2 FROM walker", "FETCH ALL FROM held", "CLOSE held", "FETCH 1 FROM held"]
    {
        tell("cursor", ask(c, text).await);
    }
    Ok(())
}

pub(crate) async fn copy(c: &mut PgConnection) -> Result<(), Error> {
    let lines: String = (10_000..15_000).map(|n| format!("{n}\trow {n}\n")).collect();
    let mut into = c.copy_in_raw("COPY matrix.item FROM STDIN").await?;
    for piece in lines.as_bytes().chunks(10_001) {
        into.send(piece).await?;
    }
    say("copy in", into.finish().await?);
    for nonsense in ["a\tb\n", "1\tdouble key\n"] {
        let mut into = c.copy_in_raw("COPY matrix.item FROM STDIN").await?;
        into.send(nonsense.as_bytes()).await?;
        tell("copy in", into.finish().await);
    }
    let mut given_up = c.copy_in_raw("COPY matrix.item FROM STDIN").await?;
    given_up.send(&b"20000\tgiven up\n"[..]).await?;
    tell("copy in", given_up.abort("the program stops").await);
    say("copy in", ask(c, "SELECT count(*) FROM matrix.item WHERE id >= 20000").await?);
    let out = c.copy_out_raw("COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT").await?;
    tell("copy out", out.try_collect::<Vec<_>>().await);
    say("copy out", ask(c, "SELECT 1").await?);
    Ok(())
}

pub(crate) async fn savepoints(c: &mut PgConnection) -> Result<(), Error> {
    let mut outer = c.begin().await?;
    ask(&mut outer, "INSERT INTO matrix.item VALUES (50, 'outer')").await?;
    let mut inner = outer.begin().await?;
    ask(&mut inner, "INSERT INTO matrix.item VALUES (51, 'inner')").await?;
    tell("savepoint", ask_with(&mut inner, "INSERT INTO matrix.item VALUES ($1, 'again')", 50).await);
    tell("savepoint", ask(&mut inner, "SELECT 1").await);
    inner.rollback().await?;
    let mut second = outer.begin().await?;
    ask(&mut second, "INSERT INTO matrix.item VALUES (52, 'second')").await?;
    second.commit().await?;
    let mut dropped = outer.begin().await?;
    ask(&mut dropped, "INSERT INTO matrix.item VALUES (53, 'rolled back when dropped')").await?;
    drop(dropped);
    outer.commit().await?;
    say("savepoint", ask(c, "SELECT * FROM matrix.item WHERE id BETWEEN 50 AND 59").await?);
    Ok(())
}
