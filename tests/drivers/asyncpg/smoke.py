"""asyncpg through the three ports of pgherd. Where to connect comes from the environment, see ../README.md."""

import asyncio
import io
import os
import time

import asyncpg

BIG = "x" * 2_000_000
CLIENTS = 10


async def connect(which, **more):
    return await asyncpg.connect(
        host=os.environ["PGHERD_HOST"],
        port=int(os.environ[f"PGHERD_{which}_PORT"]),
        user=os.environ["PGHERD_USER"],
        password=os.environ["PGHERD_PASSWORD"],
        database=os.environ["PGHERD_DATABASE"],
        timeout=20,
        **more,
    )


def ok(what):
    print(f"ok    {what}", flush=True)


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {str(got)[:200]!r}")
    ok(what)


async def refuses(what, error, action):
    try:
        await action
    except error:
        return ok(what)
    raise AssertionError(f"{what}: nothing was refused")


async def transactions(c):
    async with c.transaction():
        await c.execute("INSERT INTO smoke_asyncpg VALUES (10, 'kept')")
    tr = c.transaction()
    await tr.start()
    await c.execute("INSERT INTO smoke_asyncpg VALUES (11, 'gone')")
    await tr.rollback()
    got = await c.fetchval("SELECT count(*) FROM smoke_asyncpg WHERE id IN (10, 11)")
    expect("primary: commit and rollback", got, 1)
    async with c.transaction():
        try:
            async with c.transaction():
                await c.fetchval("SELECT 1/$1::int", 0)
        except asyncpg.DivisionByZeroError:
            pass
        expect("primary: recovery by savepoint", await c.fetchval("SELECT 5"), 5)
    tr = c.transaction()
    await tr.start()
    await refuses("primary: an error in a transaction", asyncpg.UndefinedColumnError, c.execute("SELECT no_such_column"))
    await refuses("primary: which stays failed", asyncpg.InFailedSQLTransactionError, c.fetchval("SELECT 1"))
    await tr.rollback()
    expect("primary: and goes on after ROLLBACK", await c.fetchval("SELECT 6"), 6)


async def cursors_and_copy(c):
    async with c.transaction():
        total = 0
        async for row in c.cursor("SELECT n FROM generate_series(1, $1::int) n", 1000, prefetch=100):
            total += row[0]
        expect("primary: a server-side cursor", total, 500_500)
    records = [(n, f"row {n}") for n in range(1000, 6000)]
    await c.copy_records_to_table("smoke_asyncpg", records=records)
    out = io.BytesIO()
    await c.copy_from_query("SELECT id FROM smoke_asyncpg WHERE id >= $1", 1000, output=out)
    expect("primary: binary COPY in, COPY out, 5000 rows", out.getvalue().count(b"\n"), 5000)
    nonsense = c.copy_to_table("smoke_asyncpg", source=io.BytesIO(b"a\tb\n"))
    await refuses("primary: COPY of nonsense", asyncpg.InvalidTextRepresentationError, nonsense)
    await c.execute("INSERT INTO smoke_asyncpg VALUES (20, $1)", BIG)
    expect("primary: a value of 2 MB there and back", await c.fetchval("SELECT body FROM smoke_asyncpg WHERE id = 20"), BIG)


async def cancel(c):
    began = time.monotonic()
    await refuses("primary: cancel by timeout", asyncio.TimeoutError, c.fetchval("SELECT pg_sleep(60)", timeout=1))
    task = asyncio.create_task(c.fetchval("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.5)
    task.cancel()
    await refuses("primary: cancel by task", asyncio.CancelledError, task)
    expect("primary: the connection lives on", await c.fetchval("SELECT 7"), 7)
    expect("primary: cancel is quick", time.monotonic() - began < 20, True)


async def client(number):
    c = await connect("PRIMARY", server_settings={"application_name": f"smoke_asyncpg_{number}"})
    # Two statements at once, each reused: asyncpg names them and counts on their staying.
    shared = await c.prepare("SELECT $1::int + 1")
    own = await c.prepare(f"SELECT {number} * $1::int")
    for n in range(20):
        assert await shared.fetchval(n) == n + 1, "the shared statement answered wrongly"
        assert await own.fetchval(n) == number * n, "the own statement answered wrongly"
        if n % 5 == 0:
            async with c.transaction():
                await c.execute("SELECT pg_sleep(0.01)")
                await c.execute("INSERT INTO smoke_asyncpg VALUES ($1, 'concurrent')", 100_000 + 1000 * number + n)
    name = await c.fetchval("SHOW application_name")
    assert name == f"smoke_asyncpg_{number}", f"another client's application_name: {name}"
    await c.close()


async def primary():
    c = await connect("PRIMARY")
    await c.execute("DROP TABLE IF EXISTS smoke_asyncpg")
    await c.execute("CREATE TABLE smoke_asyncpg (id int PRIMARY KEY, body text)")
    await c.execute("INSERT INTO smoke_asyncpg VALUES ($1, $2)", 1, "one")
    await c.executemany("INSERT INTO smoke_asyncpg VALUES ($1, $2)", [(n, str(n)) for n in (2, 3, 4)])
    expect("primary: inserts with parameters", await c.fetchval("SELECT count(*) FROM smoke_asyncpg"), 4)
    expect("primary: an array of a type looked up", await c.fetchval("SELECT $1::int[]", [1, 2, 3]), [1, 2, 3])
    await transactions(c)
    await cursors_and_copy(c)
    await cancel(c)
    await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    ok(f"primary: prepared statements of {CLIENTS} clients at once")
    got = await c.fetchval("SELECT count(*) FROM smoke_asyncpg WHERE id >= 100000")
    expect("primary: each of their rows", got, CLIENTS * 4)
    await c.close()
    async with asyncpg.create_pool(
        host=os.environ["PGHERD_HOST"],
        port=int(os.environ["PGHERD_PRIMARY_PORT"]),
        user=os.environ["PGHERD_USER"],
        password=os.environ["PGHERD_PASSWORD"],
        database=os.environ["PGHERD_DATABASE"],
        min_size=2,
        max_size=6,
    ) as pool:
        # A pool resets a connection when it comes back: pg_advisory_unlock_all, CLOSE ALL, UNLISTEN *, RESET ALL.
        got = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(30)))
        expect("primary: asyncpg's own pool, 30 queries", got, list(range(30)))


async def replicas():
    c = await connect("REPLICAS")
    for _ in range(100):
        try:
            if await c.fetchval("SELECT count(*) FROM smoke_asyncpg WHERE id IN (1, 10)") == 2:
                break
        except asyncpg.UndefinedTableError:
            pass
        await asyncio.sleep(0.1)
    expect("replicas: rows arrive", await c.fetchval("SELECT body FROM smoke_asyncpg WHERE id = $1", 1), "one")
    expect("replicas: a node in recovery answers", await c.fetchval("SELECT pg_is_in_recovery()"), True)
    write = c.execute("INSERT INTO smoke_asyncpg VALUES (30, $1)", "no")
    await refuses("replicas: a write (25006)", asyncpg.ReadOnlySQLTransactionError, write)
    expect("replicas: the connection lives on", await c.fetchval("SELECT 10"), 10)
    await c.close()
    c = await connect("REPLICAS", target_session_attrs="standby")
    expect("replicas: target_session_attrs=standby is satisfied", await c.fetchval("SELECT 11"), 11)
    await c.close()


async def anywhere():
    c = await connect("ANY")
    await c.execute("INSERT INTO smoke_asyncpg VALUES (40, 'any')")
    expect("any: writes and reads", await c.fetchval("SELECT body FROM smoke_asyncpg WHERE id = 40"), "any")
    async with c.transaction(readonly=True):
        expect("any: BEGIN READ ONLY", await c.fetchval("SELECT 12"), 12)

    async def write():
        async with c.transaction(readonly=True):
            await c.execute("DELETE FROM smoke_asyncpg WHERE id = $1", 1)

    await refuses("any: a write in it (25006)", asyncpg.ReadOnlySQLTransactionError, write())
    await c.execute("DROP TABLE smoke_asyncpg")
    await c.close()


async def main():
    await primary()
    await replicas()
    await anywhere()


asyncio.run(main())
