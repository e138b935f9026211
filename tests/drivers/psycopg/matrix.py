"""psycopg 3: what it sees of every feature of the matrix. Run twice and compared, see ../README.md."""

import threading
import time

import psycopg
from psycopg import pq
from psycopg.types.composite import CompositeInfo
from psycopg.types.enum import EnumInfo

from transcript import BIG, CLIENTS, DATABASE, HOST, LISTENERS, PASSWORD, PORT, PREPARERS, ROUNDS, USER, Seen, fields, say


def connect(**more):
    where = dict(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, connect_timeout=20, autocommit=True)
    return psycopg.connect(**where | more)


def attempt(feature, action):
    try:
        say(feature, "no error", action())
    except psycopg.Error as error:
        say(feature, *fields(error))


def one(c, sql, parameters=None, **more):
    return c.execute(sql, parameters, **more).fetchone()[0]


def prepare(c):
    for n in (1, 2, 3, 4):
        cursor = c.execute("SELECT id, body FROM matrix.item WHERE id = %s", (n,), prepare=True)
        say("prepare", cursor.fetchall(), cursor.statusmessage, cursor.rowcount, [(d.name, d.type_code) for d in cursor.description])
    say("prepare", c.execute("SELECT %s::numeric, %s::text[]", (1.5, ["a", None]), prepare=True, binary=True).fetchone())
    attempt("prepare", lambda: c.execute("SELECT nothing FROM matrix.item WHERE id = %s", (1,), prepare=True))
    c.execute("PREPARE own (int) AS SELECT $1 * 2")
    say("sql prepare", one(c, "EXECUTE own(21)"))
    attempt("sql prepare", lambda: c.execute("PREPARE own AS SELECT 1"))
    attempt("sql prepare", lambda: c.execute("DEALLOCATE own").statusmessage)
    attempt("sql prepare", lambda: c.execute("EXECUTE own(1)"))


def pipeline(c):
    with c.pipeline() as p:
        cursors = [c.execute("SELECT %s::int", (n,)) for n in range(50)]
        p.sync()
        cursors += [c.execute("UPDATE matrix.item SET body = body WHERE id <= %s", (n,)) for n in range(4)]
    say("pipeline", [x.statusmessage for x in cursors], [x.fetchone()[0] for x in cursors[:50]])

    def broken():
        with c.pipeline() as p:
            c.execute("INSERT INTO matrix.item VALUES (90, 'undone with the error')")
            c.execute("SELECT 1/0")
            p.sync()
            c.execute("INSERT INTO matrix.item VALUES (91, 'after the sync')")

    attempt("pipeline", broken)
    say("pipeline", c.execute("SELECT id FROM matrix.item WHERE id >= 90").fetchall(), c.info.transaction_status.name)


def batch(c):
    with c.cursor() as cursor:
        cursor.executemany("INSERT INTO matrix.item VALUES (%s, %s)", [(n, f"batch {n}") for n in range(100, 600)])
        say("batch", cursor.rowcount, cursor.statusmessage)
        cursor.executemany("SELECT %s::int", [(n,) for n in range(5)], returning=True)
        results = [cursor.fetchone()]
        while cursor.nextset():
            results.append(cursor.fetchone())
        say("batch", results)
        attempt("batch", lambda: cursor.executemany("INSERT INTO matrix.item VALUES (%s, '')", [(n % 49 + 1000,) for n in range(50)]))
    say("batch", one(c, "SELECT count(*) FROM matrix.item"), c.info.transaction_status.name)
    # Several statements in one text, which a transaction of their own holds together.
    attempt("batch", lambda: c.execute("INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2"))
    cursor = c.execute("SELECT 1 AS a; UPDATE matrix.item SET body = 'x' WHERE id = 2; SELECT 2 AS b")
    statuses = [cursor.statusmessage]
    while cursor.nextset():
        statuses.append(cursor.statusmessage)
    say("batch", statuses, c.execute("SELECT id FROM matrix.item WHERE id = 700").fetchall())


def cursors(c):
    with c.transaction(), c.cursor(name="walker", scrollable=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        say("cursor", cursor.fetchmany(3), cursor.scroll(500), cursor.fetchone(), len(cursor.fetchall()), cursor.fetchone())
        cursor.scroll(0, mode="absolute")
        say("cursor", cursor.fetchone())
    with c.cursor(name="held", withhold=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 5) n")
        say("cursor", cursor.fetchone(), one(c, "SELECT count(*) FROM pg_cursors WHERE name = 'held'"), cursor.fetchall())
    attempt("cursor", lambda: c.execute("DECLARE outside CURSOR FOR SELECT 1"))
    attempt("cursor", lambda: c.execute("FETCH 1 FROM held"))
    say("cursor", [row[0] for row in c.cursor().stream("SELECT generate_series(1, %s::int)", (10,))])


def copy(c):
    with c.cursor() as cursor:
        with cursor.copy("COPY matrix.item (id, body) FROM STDIN") as into:
            for n in range(10_000, 15_000):
                into.write_row((n, f"row {n}"))
        say("copy in", cursor.rowcount, cursor.statusmessage)
        for nonsense in ("a\tb\n", "1\tdouble key\n"):
            def broken():
                with cursor.copy("COPY matrix.item FROM STDIN") as into:
                    into.write(nonsense)
            attempt("copy in", broken)

        def given_up():
            with cursor.copy("COPY matrix.item FROM STDIN") as into:
                into.write("20000\tgiven up\n")
                raise ValueError("the program stops")
        try:
            given_up()
        except ValueError as error:
            say("copy in", error, one(c, "SELECT count(*) FROM matrix.item WHERE id = 20000"))
        with cursor.copy("COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT (FORMAT binary)") as out:
            out.set_types(["int4", "text"])
            rows = list(out.rows())
        say("copy out", rows, cursor.statusmessage)

        def dies():
            with cursor.copy("COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT") as out:
                say("copy out", [bytes(block) for block in out])
        attempt("copy out", dies)
    say("copy out", c.info.transaction_status.name, one(c, "SELECT 1"))


def listen(c):
    with connect() as other:
        other.execute("LISTEN matrix_news")
        with c.transaction():
            c.execute("NOTIFY matrix_news, 'first'")
            c.execute("NOTIFY matrix_news, 'first'")
            c.execute("SELECT pg_notify('matrix_news', 'second')")
            c.execute("NOTIFY matrix_silence, 'to nobody'")
        say("listen", [(n.channel, n.payload) for n in other.notifies(timeout=20, stop_after=2)])
        with other.transaction():
            other.execute("NOTIFY matrix_news, 'its own'")
        say("listen", [(n.channel, n.payload) for n in other.notifies(timeout=20, stop_after=1)])
        say("listen", other.execute("SELECT pg_listening_channels()").fetchall())
        other.execute("UNLISTEN matrix_news")
        c.execute("NOTIFY matrix_news, 'to nobody'")
        say("listen", [n.payload for n in other.notifies(timeout=0.3)])


def savepoints(c):
    with c.transaction():
        c.execute("INSERT INTO matrix.item VALUES (50, 'outer')")
        try:
            with c.transaction("inner"):
                c.execute("INSERT INTO matrix.item VALUES (51, 'inner')")
                c.execute("INSERT INTO matrix.item VALUES (50, 'again')")
        except psycopg.Error as error:
            say("savepoint", *fields(error), c.info.transaction_status.name)
        with c.transaction("second"):
            c.execute("INSERT INTO matrix.item VALUES (52, 'second')")
        attempt("savepoint", lambda: c.execute("SELECT id FROM matrix.item WHERE id IN (50, 51, 52)").fetchall())
    say("savepoint", c.execute("SELECT * FROM matrix.item WHERE id IN (50, 51, 52)").fetchall())


def cancel_and_timeout(c):
    timer = threading.Timer(0.5, c.cancel_safe)
    timer.start()
    attempt("cancel", lambda: c.execute("SELECT pg_sleep(60)"))
    timer.join()
    c.cancel_safe()
    say("cancel", one(c, "SELECT 'a cancel of nothing hurts nobody'"), c.info.transaction_status.name)
    c.execute("SET statement_timeout = 200")
    attempt("timeout", lambda: c.execute("SELECT pg_sleep(60)"))
    with c.transaction():
        c.execute("SET LOCAL statement_timeout = 0")
        say("timeout", one(c, "SELECT pg_sleep(0.4)::text"))
    attempt("timeout", lambda: c.execute("SELECT pg_sleep(60)"))
    c.execute("RESET statement_timeout")
    say("timeout", one(c, "SHOW statement_timeout"))


def recovery(c):
    for text in ("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                 "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT (-1)::matrix.positive", "COMMIT; ROLLBACK TO nothing"):
        attempt("recovery", lambda: c.execute(text))
    c.autocommit = False
    attempt("recovery", lambda: c.execute("SELECT 1/0"))
    attempt("recovery", lambda: c.execute("SELECT 1"))
    say("recovery", c.info.transaction_status.name)
    c.commit()
    say("recovery", one(c, "SELECT 6"), c.info.transaction_status.name)
    c.rollback()
    c.autocommit = True
    with connect(autocommit=False) as lost:
        lost.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        say("recovery", one(lost, "SHOW transaction_isolation"))


def types(c):
    for info in (EnumInfo.fetch(c, "matrix.mood"), CompositeInfo.fetch(c, "matrix.pair")):
        info.register(c)
        say("types", info.name, getattr(info, "labels", None) or list(zip(info.field_names, info.field_types)))
    cursor = c.execute("SELECT * FROM matrix.kinds")
    say("types", [(d.name, d.type_code if d.type_code < 16384 else "own", d.internal_size, d.precision, d.scale) for d in cursor.description])
    say("types", *(value.name if hasattr(value, "name") else value for value in cursor.fetchone()))
    say("types", *c.execute("SELECT pair, mood, moods FROM matrix.kinds WHERE mood = %s", ("fine",), binary=True).fetchone())


def settings(c):
    names = ("server_encoding", "client_encoding", "application_name", "is_superuser", "session_authorization", "DateStyle", "IntervalStyle",
             "TimeZone", "integer_datetimes", "standard_conforming_strings", "server_version", "in_hot_standby")
    say("settings", *(f"{name}={c.info.parameter_status(name)}" for name in names))
    with connect(application_name="named", options="-c search_path=client_3 -c work_mem=5MB -c matrix.tag=startup") as other:
        say("settings", *(one(other, f"SHOW {name}") for name in ("application_name", "search_path", "work_mem", "matrix.tag")))
        say("settings", one(other, "SELECT tag FROM who"), c.execute("SHOW search_path").fetchone())
        other.execute("SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
        say("settings", one(other, "SELECT tag FROM who"), one(other, "SELECT '2024-02-29 12:00+00'::timestamptz::text"))
        say("settings", other.info.parameter_status("TimeZone"), other.info.parameter_status("DateStyle"))
        other.autocommit = False
        other.execute("SET search_path = client_5")
        other.execute("SET LOCAL work_mem = '7MB'")
        say("settings", one(other, "SELECT tag FROM who"), one(other, "SHOW work_mem"))
        other.rollback()
        say("settings", one(other, "SELECT tag FROM who"), one(other, "SHOW work_mem"))
        other.execute("SELECT set_config('matrix.tag', 'configured', false)")
        other.commit()
        say("settings", one(other, "SHOW matrix.tag"))
        other.execute("RESET ALL")
        say("settings", *(one(other, f"SHOW {name}") for name in ("search_path", "TimeZone", "work_mem", "matrix.tag")))
        attempt("settings", lambda: other.execute("SET work_mem = 'nonsense'"))
        other.rollback()
        attempt("settings", lambda: other.execute("SET no_such_setting = 1"))


def session_state(c):
    c.execute("CREATE TEMP TABLE mine (n int)")
    c.execute("INSERT INTO mine VALUES (1), (2)")
    say("temp table", one(c, "SELECT sum(n) FROM mine"))
    with connect() as other:
        attempt("temp table", lambda: other.execute("SELECT * FROM mine"))
        c.execute("DROP TABLE mine")
        attempt("temp table", lambda: c.execute("SELECT * FROM mine"))
        with c.transaction():
            c.execute("CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n")
            say("temp table", one(c, "SELECT n FROM brief"))
        attempt("temp table", lambda: c.execute("SELECT n FROM brief"))
        c.execute("SELECT pg_advisory_lock(41)")
        say("advisory lock", one(other, "SELECT pg_try_advisory_lock(41)"), one(c, "SELECT pg_try_advisory_lock(41)"))
        say("advisory lock", *(one(c, "SELECT pg_advisory_unlock(41)") for _ in range(3)))
        with c.transaction():
            c.execute("SELECT pg_advisory_xact_lock(42)")
            say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"))
        say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"), one(other, "SELECT pg_advisory_unlock(42)"))


def large(c):
    c.execute("INSERT INTO matrix.item VALUES (60, %s)", (BIG,))
    say("large value", one(c, "SELECT body FROM matrix.item WHERE id = 60"), one(c, "SELECT md5(body) FROM matrix.item WHERE id = 60"))
    say("large value", one(c, "SELECT %b::bytea", (BIG.encode() * 2,), binary=True))
    say("large value", one(c, "SELECT repeat('y', 30000000)"))
    say("large value", one(c, "SELECT length(%s)", (BIG,), prepare=True), one(c, f"SELECT length('{BIG}')"))


def notices(c):
    got = []
    c.add_notice_handler(lambda notice: got.append(fields(notice)))
    c.execute("DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
    c.execute("DROP TABLE IF EXISTS matrix.nothing")
    c.execute("BEGIN")
    c.execute("BEGIN")
    c.execute("COMMIT")
    c.execute("COMMIT")
    say("notices", *got)


def client(number, told):
    seen = told[number]
    try:
        with connect(application_name=f"client_{number}", options=f"-c matrix.tag={number}") as c:
            c.execute(f"SET search_path = client_{number}")
            if number < PREPARERS:
                c.execute(f"PREPARE mine (int) AS SELECT {number} * $1")
            if number < LISTENERS:
                c.execute(f"LISTEN channel_{number}")
                c.execute("LISTEN everybody")
            for n in range(ROUNDS):
                seen("who", one(c, "SELECT tag FROM who", prepare=True))
                seen("own", one(c, f"SELECT {number} + %s::int - %s::int", (n, n), prepare=True))
                seen("set", (one(c, "SHOW application_name"), one(c, "SHOW matrix.tag"), one(c, "SHOW search_path")))
                if number < PREPARERS:
                    seen("mine", one(c, f"EXECUTE mine({n})") - number * n)
                try:
                    c.execute("SELECT %s::text::int", (f"x{number}",))
                except psycopg.Error as error:
                    seen("error", error)
                with c.transaction():
                    c.execute("INSERT INTO matrix.mixed VALUES (%s, %s)", (number, n))
                    seen("inside", one(c, "SELECT tag FROM who"))
            c.execute("CREATE TEMP TABLE mine AS SELECT tag FROM who")
            seen("temp", one(c, "SELECT tag FROM mine"))
            c.execute("DROP TABLE mine")
            c.execute("SELECT pg_advisory_lock(7)")
            value = one(c, "SELECT value FROM matrix.counter")
            c.execute("UPDATE matrix.counter SET value = %s", (value + 1,))
            seen("unlock", one(c, "SELECT pg_advisory_unlock(7)"))
            if number < LISTENERS:
                c.execute(f"NOTIFY channel_{number}, 'for {number}'")
                for notify in c.notifies(timeout=20, stop_after=1):
                    seen("news", (notify.channel, notify.payload))
    except Exception as fault:  # it belongs into the transcript, too
        seen("fault", repr(fault))


def mix(c):
    told = [Seen(number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=client, args=(number, told)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seen in told:
        seen.tell()
    say("mix", c.execute("SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client").fetchall())
    say("mix", one(c, "SELECT value FROM matrix.counter"))


with connect() as c:
    for feature in (prepare, pipeline, batch, cursors, copy, listen, savepoints, cancel_and_timeout, recovery, types, settings, session_state,
                    large, notices, mix):
        feature(c)
