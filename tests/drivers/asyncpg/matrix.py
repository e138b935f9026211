"""asyncpg: what it sees of every feature of the matrix. Run twice and compared, see ../README.md."""

import asyncio
import io

import asyncpg

from transcript import BIG, CLIENTS, DATABASE, HOST, LISTENERS, PASSWORD, PORT, PREPARERS, ROUNDS, USER, Seen, say


def connect(**settings):
    where = dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, timeout=20)
    return asyncpg.connect(**where, server_settings=settings)


def fields(error):
    """What an error or a notice says, in the protocol's fields."""
    told = error.as_dict() if hasattr(error, "as_dict") else {"class": type(error).__name__, "text": str(error)}
    return [told[name] for name in ("severity", "sqlstate", "message", "detail", "hint", "position", "class", "text") if name in told]


async def attempt(feature, action):
    try:
        say(feature, "no error", await action)
    except (asyncpg.PostgresError, asyncio.TimeoutError, asyncio.CancelledError, asyncpg.InterfaceError) as error:
        say(feature, *fields(error))


async def prepare(c):
    item = await c.prepare("SELECT id, body FROM matrix.item WHERE id = $1")
    other = await c.prepare("SELECT $1::numeric(5, 2), $2::text[], $3::matrix.mood")
    say("prepare", [p.name for p in item.get_parameters()], [(a.name, a.type.name) for a in item.get_attributes()])
    for n in (1, 2, 3, 4):
        say("prepare", await item.fetch(n), item.get_statusmsg(), await other.fetchrow(n, ["a", None], "sad"))
    await attempt("prepare", c.prepare("SELECT nothing FROM matrix.item"))
    await attempt("prepare", item.fetch(2**40))
    await attempt("prepare", c.fetch("SELECT 1 / $1::int", 0))
    say("prepare", await item.fetch(1))
    await c.execute("PREPARE own (int) AS SELECT $1 * 2")
    say("sql prepare", await c.fetchval("EXECUTE own(21)"))
    await attempt("sql prepare", c.execute("PREPARE own AS SELECT 1"))
    await attempt("sql prepare", c.execute("DEALLOCATE own"))
    await attempt("sql prepare", c.execute("EXECUTE own(1)"))


async def batch(c):
    await c.executemany("INSERT INTO matrix.item VALUES ($1, $2)", [(n, f"batch {n}") for n in range(100, 600)])
    say("batch", await c.fetchval("SELECT count(*) FROM matrix.item"))
    twice = [(n % 49 + 1000, "") for n in range(50)]
    await attempt("batch", c.executemany("INSERT INTO matrix.item VALUES ($1, $2)", twice))
    say("batch", await c.fetchval("SELECT count(*) FROM matrix.item"), c.is_in_transaction())
    say("batch", await c.fetchmany("SELECT $1::int * 2", [(n,) for n in range(5)]))
    await attempt("batch", c.execute("INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2"))
    say("batch", await c.execute("SELECT 1; UPDATE matrix.item SET body = 'x' WHERE id = 2"))
    say("batch", await c.fetch("SELECT id FROM matrix.item WHERE id = 700"))


async def cursors(c):
    async with c.transaction():
        say("cursor", sum([row[0] async for row in c.cursor("SELECT n FROM generate_series(1, $1::int) n", 1000, prefetch=100)]))
        walker = await c.cursor("SELECT n FROM generate_series(1, 1000) n")
        other = await c.cursor("SELECT -n FROM generate_series(1, 3) n")
        say("cursor", await walker.fetch(3), await other.fetchrow(), await walker.forward(500), await walker.fetchrow())
        say("cursor", await other.fetch(10), len(await walker.fetch(1000)), await walker.fetchrow())

    async def outside():
        return await c.cursor("SELECT 1")
    await attempt("cursor", outside())
    await c.execute("BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT n FROM generate_series(1, 5) n; COMMIT")
    say("cursor", await c.fetch("FETCH 2 FROM held"), await c.fetch("FETCH ALL FROM held"), await c.execute("CLOSE held"))
    await attempt("cursor", c.fetch("FETCH 1 FROM held"))


async def copy(c):
    records = [(n, f"row {n}") for n in range(10_000, 15_000)]
    say("copy in", await c.copy_records_to_table("item", schema_name="matrix", records=records))
    for nonsense in (b"a\tb\n", b"1\tdouble key\n"):
        await attempt("copy in", c.copy_to_table("item", schema_name="matrix", source=io.BytesIO(nonsense)))

    async def stops():
        yield b"20000\tgiven up\n"
        raise ValueError("the program stops")
    try:
        await c.copy_to_table("item", schema_name="matrix", source=stops())
    except Exception as error:
        say("copy in", error, await c.fetchval("SELECT count(*) FROM matrix.item WHERE id = 20000"))
    out = io.BytesIO()
    say("copy out", await c.copy_from_query("SELECT * FROM matrix.item WHERE id >= $1 ORDER BY id", 10_000, output=out), out.getvalue())
    out = io.BytesIO()
    await attempt("copy out", c.copy_from_query("SELECT 100 / (50 - n) FROM generate_series(1, 100) n", output=out))
    say("copy out", await c.fetchval("SELECT 1"))


async def listen(c):
    other = await connect()
    news = asyncio.Queue()
    hear = lambda connection, pid, channel, payload: news.put_nowait((channel, payload))
    await other.add_listener("matrix_news", hear)
    async with c.transaction():
        await c.execute("NOTIFY matrix_news, 'first'")
        await c.execute("NOTIFY matrix_news, 'first'")
        await c.execute("SELECT pg_notify($1, $2)", "matrix_news", "second")
        await c.execute("NOTIFY matrix_silence, 'to nobody'")
    say("listen", *[await asyncio.wait_for(news.get(), 20) for _ in range(2)])
    await other.execute("NOTIFY matrix_news, 'its own'")
    say("listen", await asyncio.wait_for(news.get(), 20), await other.fetch("SELECT pg_listening_channels()"))
    await other.remove_listener("matrix_news", hear)
    await c.execute("NOTIFY matrix_news, 'to nobody'")
    await asyncio.sleep(0.3)
    say("listen", news.qsize())
    await other.close()


async def savepoints(c):
    async with c.transaction():
        await c.execute("INSERT INTO matrix.item VALUES (50, 'outer')")

        async def inner():
            async with c.transaction():
                await c.execute("INSERT INTO matrix.item VALUES (51, 'inner')")
                await c.execute("INSERT INTO matrix.item VALUES (50, 'again')")
        await attempt("savepoint", inner())
        async with c.transaction():
            await c.execute("INSERT INTO matrix.item VALUES (52, 'second')")
        say("savepoint", await c.fetch("SELECT id FROM matrix.item WHERE id IN (50, 51, 52)"))
    say("savepoint", await c.fetch("SELECT * FROM matrix.item WHERE id IN (50, 51, 52)"))


async def cancel_and_timeout(c):
    task = asyncio.create_task(c.fetchval("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.4)
    task.cancel()
    await attempt("cancel", task)
    say("cancel", await c.fetchval("SELECT 'the connection lives on'"))
    await attempt("timeout", c.fetchval("SELECT pg_sleep(60)", timeout=0.3))
    await c.execute("SET statement_timeout = 200")
    await attempt("timeout", c.fetchval("SELECT pg_sleep(60)"))
    async with c.transaction():
        await c.execute("SET LOCAL statement_timeout = 0")
        say("timeout", await c.fetchval("SELECT pg_sleep(0.4)::text"))
    await attempt("timeout", c.fetchval("SELECT pg_sleep(60)"))
    await c.execute("RESET statement_timeout")
    say("timeout", await c.fetchval("SHOW statement_timeout"))


async def recovery(c):
    for text in ("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                 "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT (-1)::matrix.positive"):
        await attempt("recovery", c.fetch(text))
        await attempt("recovery", c.execute(text))
    transaction = c.transaction(isolation="serializable")
    await transaction.start()
    say("recovery", await c.fetchval("SHOW transaction_isolation"))
    await attempt("recovery", c.fetch("SELECT 1/0"))
    await attempt("recovery", c.fetch("SELECT 1"))
    await attempt("recovery", transaction.commit())
    await attempt("recovery", c.execute("COMMIT"))
    say("recovery", await c.fetchval("SELECT 6"), c.is_in_transaction())


async def types(c):
    await c.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=lambda text: f"decoded {text}")
    row = await c.fetchrow("SELECT * FROM matrix.kinds")
    say("types", *row.items())
    kinds = await c.prepare("SELECT mood, moods, pair, positive FROM matrix.kinds WHERE mood = $1 AND pair IS NOT NULL")
    say("types", [(a.name, a.type.name, a.type.kind, a.type.schema) for a in kinds.get_attributes()], [p.name for p in kinds.get_parameters()])
    say("types", await kinds.fetch("fine"))
    await c.reset_type_codec("jsonb", schema="pg_catalog")
    await c.reload_schema_state()
    say("types", await c.fetchval("SELECT document FROM matrix.kinds"), c.get_server_version())


async def settings(c):
    say("settings", *((name, getattr(c.get_settings(), name, None)) for name in ("client_encoding", "TimeZone", "application_name", "in_hot_standby")))
    other = await connect(application_name="named", search_path="client_3", work_mem="5MB", **{"matrix.tag": "startup"})
    names = ("application_name", "search_path", "work_mem", "matrix.tag")
    who = await other.prepare("SELECT tag FROM who")
    say("settings", *[await other.fetchval(f"SHOW {name}") for name in names], await who.fetchval(), await c.fetchval("SHOW search_path"))
    await other.execute("SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
    say("settings", await who.fetchval(), await other.fetchval("SELECT '2024-02-29 12:00+00'::timestamptz::text"), other.get_settings().TimeZone)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SET search_path = client_5; SET LOCAL work_mem = '7MB'")
    say("settings", await who.fetchval(), await other.fetchval("SHOW work_mem"))
    await transaction.rollback()
    say("settings", await who.fetchval(), await other.fetchval("SHOW work_mem"))
    await other.fetchval("SELECT set_config($1, $2, false)", "matrix.tag", "configured")
    say("settings", await other.fetchval("SHOW matrix.tag"))
    await attempt("settings", other.execute("SET work_mem = 'nonsense'"))
    # What its pool does when a connection comes back.
    await other.reset()
    say("settings", *[await other.fetchval(f"SHOW {name}") for name in names], other.get_settings().TimeZone)
    await attempt("settings", other.execute("SET no_such_setting = 1"))
    await other.close()


async def session_state(c):
    other = await connect()
    await c.execute("CREATE TEMP TABLE mine (n int)")
    await c.executemany("INSERT INTO mine VALUES ($1)", [(1,), (2,)])
    say("temp table", await c.fetchval("SELECT sum(n) FROM mine"))
    await attempt("temp table", other.fetch("SELECT * FROM mine"))
    await c.execute("DROP TABLE mine")
    await attempt("temp table", c.fetch("SELECT * FROM mine"))
    async with c.transaction():
        await c.execute("CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n")
        say("temp table", await c.fetchval("SELECT n FROM brief"))
    await attempt("temp table", c.fetch("SELECT n FROM brief"))
    await c.fetch("SELECT pg_advisory_lock($1)", 41)
    say("advisory lock", await other.fetchval("SELECT pg_try_advisory_lock($1)", 41), await c.fetchval("SELECT pg_try_advisory_lock($1)", 41))
    say("advisory lock", *[await c.fetchval("SELECT pg_advisory_unlock($1)", 41) for _ in range(3)])
    async with c.transaction():
        await c.fetch("SELECT pg_advisory_xact_lock(42)")
        say("advisory lock", await other.fetchval("SELECT pg_try_advisory_lock(42)"))
    say("advisory lock", await other.fetchval("SELECT pg_try_advisory_lock(42)"), await other.fetchval("SELECT pg_advisory_unlock(42)"))
    await other.close()


async def large(c):
    await c.execute("INSERT INTO matrix.item VALUES (60, $1)", BIG)
    say("large value", await c.fetchval("SELECT body FROM matrix.item WHERE id = 60"), await c.fetchval("SELECT md5(body) FROM matrix.item WHERE id = 60"))
    say("large value", await c.fetchval("SELECT $1::bytea", BIG.encode() * 2), await c.fetchval("SELECT repeat('y', 30000000)"))
    say("large value", len(await c.fetch("SELECT repeat('z', 1000) FROM generate_series(1, 20000)")), await c.fetchval(f"SELECT length('{BIG}')"))


async def notices(c):
    got = []
    c.add_log_listener(lambda connection, notice: got.append(fields(notice)))
    await c.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
    for text in ("DROP TABLE IF EXISTS matrix.nothing", "BEGIN", "BEGIN", "COMMIT", "COMMIT"):
        await c.execute(text)
    say("notices", *got)


async def client(number):
    seen = Seen(number)
    try:
        c = await connect(application_name=f"client_{number}", search_path=f"client_{number}", **{"matrix.tag": str(number)})
        news = asyncio.Queue()
        if number < PREPARERS:
            await c.execute(f"PREPARE mine (int) AS SELECT {number} * $1")
        if number < LISTENERS:
            await c.add_listener(f"channel_{number}", lambda connection, pid, *what: news.put_nowait(what))
        who = await c.prepare("SELECT tag FROM who")
        for n in range(ROUNDS):
            seen("who", await who.fetchval())
            seen("own", await c.fetchval(f"SELECT {number} + $1::int - $2::int", n, n))
            seen("set", [await c.fetchval(f"SHOW {name}") for name in ("application_name", "matrix.tag", "search_path")])
            if number < PREPARERS:
                seen("mine", await c.fetchval(f"EXECUTE mine({n})") - number * n)
            try:
                await c.fetchval("SELECT $1::text::int", f"x{number}")
            except asyncpg.PostgresError as error:
                seen("error", error)
            async with c.transaction():
                await c.execute("INSERT INTO matrix.mixed VALUES ($1, $2)", number, n)
                seen("inside", await who.fetchval())
        await c.execute("CREATE TEMP TABLE mine AS SELECT tag FROM who")
        seen("temp", await c.fetchval("SELECT tag FROM mine"))
        await c.execute("DROP TABLE mine")
        await c.execute("SELECT pg_advisory_lock(7)")
        value = await c.fetchval("SELECT value FROM matrix.counter")
        await c.execute("UPDATE matrix.counter SET value = $1", value + 1)
        seen("unlock", await c.fetchval("SELECT pg_advisory_unlock(7)"))
        if number < LISTENERS:
            await c.execute(f"NOTIFY channel_{number}, 'for {number}'")
            seen("news", await asyncio.wait_for(news.get(), 20))
        await c.close()
    except Exception as fault:  # it belongs into the transcript, too
        seen("fault", repr(fault))
    return seen


async def mix(c):
    for seen in await asyncio.gather(*(client(number) for number in range(CLIENTS))):
        seen.tell()
    say("mix", await c.fetch("SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client"))
    say("mix", await c.fetchval("SELECT value FROM matrix.counter"))
    # Its pool resets a connection when it comes back: pg_advisory_unlock_all, CLOSE ALL, UNLISTEN *, RESET ALL.
    pool = asyncpg.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE, min_size=2, max_size=CLIENTS)
    async with pool:
        say("mix", await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(30))))


async def main():
    c = await connect()
    for feature in (prepare, batch, cursors, copy, listen, savepoints, cancel_and_timeout, recovery, types, settings, session_state, large,
                    notices, mix):
        await feature(c)
    await c.close()


asyncio.run(main())
