"""psycopg2: what it sees of every feature of the matrix. Run twice and compared, see ../README.md."""

import io
import select
import threading
import time

import psycopg2
from psycopg2.extras import CompositeCaster, execute_batch, execute_values, register_composite, register_default_jsonb

from transcript import BIG, CLIENTS, DATABASE, HOST, LISTENERS, PASSWORD, PORT, PREPARERS, ROUNDS, USER, Seen, fields, say


def connect(**more):
    c = psycopg2.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE, connect_timeout=20, **more)
    c.autocommit = True
    return c


def run(c, text, parameters=None):
    """The rows, when there are any, else what the command said."""
    with c.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall() if cursor.description else cursor.statusmessage


def one(c, text, parameters=None):
    return run(c, text, parameters)[0][0]


def attempt(feature, action, *parameters):
    try:
        say(feature, "no error", action(*parameters))
    except psycopg2.Error as error:
        say(feature, type(error).__name__, *fields(error))


def prepare(c):
    say("sql prepare", run(c, "PREPARE own (int, text) AS SELECT $1 * 2, $2"), run(c, "EXECUTE own(%s, %s)", (21, "it's")))
    attempt("sql prepare", run, c, "PREPARE own AS SELECT 1")
    attempt("sql prepare", run, c, "EXECUTE own('no number', '')")
    say("sql prepare", run(c, "EXPLAIN (COSTS OFF) EXECUTE own(1, '')"), run(c, "DEALLOCATE own"))
    attempt("sql prepare", run, c, "EXECUTE own(1, '')")


def batch(c):
    with c.cursor() as cursor:
        execute_batch(cursor, "INSERT INTO matrix.item VALUES (%s, %s)", [(n, f"batch {n}") for n in range(100, 600)], page_size=100)
        say("batch", cursor.statusmessage, cursor.rowcount)
        say("batch", execute_values(cursor, "INSERT INTO matrix.item VALUES %s RETURNING id", [(n, "") for n in range(600, 605)], fetch=True))
        attempt("batch", execute_batch, cursor, "INSERT INTO matrix.item VALUES (%s, '')", [(n % 49 + 1000,) for n in range(50)])
    attempt("batch", run, c, "INSERT INTO matrix.item VALUES (700, ''); SELECT 1/0; SELECT 2")
    say("batch", run(c, "SELECT 1; UPDATE matrix.item SET body = 'x' WHERE id = 2"), one(c, "SELECT count(*) FROM matrix.item"))


def cursors(c):
    c.autocommit = False
    with c.cursor("walker", scrollable=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        say("cursor", cursor.fetchmany(3), cursor.scroll(500), cursor.fetchone(), len(cursor.fetchall()), cursor.fetchone())
        cursor.scroll(0, mode="absolute")
        say("cursor", cursor.fetchone())
    with c.cursor("held", withhold=True) as cursor:
        cursor.execute("SELECT n FROM generate_series(1, 5) n")
        c.commit()
        say("cursor", cursor.fetchone(), one(c, "SELECT count(*) FROM pg_cursors WHERE name = 'held'"), cursor.fetchall())
    c.commit()
    c.autocommit = True
    attempt("cursor", run, c, "DECLARE outside CURSOR FOR SELECT 1")
    attempt("cursor", run, c, "FETCH 1 FROM held")


def copy(c):
    lines = "".join(f"{n}\trow {n}\n" for n in range(10_000, 15_000))
    with c.cursor() as cursor:
        cursor.copy_expert("COPY matrix.item (id, body) FROM STDIN", io.StringIO(lines))
        say("copy in", cursor.rowcount, cursor.statusmessage)
        for nonsense in ("a\tb\n", "1\tdouble key\n"):
            attempt("copy in", cursor.copy_expert, "COPY matrix.item FROM STDIN", io.StringIO(nonsense))

        class Stops(io.StringIO):
            def read(self, size=-1):
                raise ValueError("the program stops")
        attempt("copy in", cursor.copy_expert, "COPY matrix.item FROM STDIN", Stops())
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT * FROM matrix.item WHERE id >= 10000 ORDER BY id) TO STDOUT", out)
        say("copy out", out.getvalue() == lines, cursor.rowcount, cursor.statusmessage)
        out = io.StringIO()
        attempt("copy out", cursor.copy_expert, "COPY (SELECT 100 / (50 - n) FROM generate_series(1, 100) n) TO STDOUT", out)
        say("copy out", out.getvalue(), one(c, "SELECT 1"))


def heard(c, count, patience=20.0):
    """What was heard in this time, or as soon as it is so many."""
    end = time.monotonic() + patience
    while len(c.notifies) < count and (left := end - time.monotonic()) > 0:
        select.select([c], [], [], left)
        c.poll()
    got = [(notify.channel, notify.payload) for notify in c.notifies]
    c.notifies.clear()
    return got


def listen(c):
    other = connect()
    run(other, "LISTEN matrix_news")
    c.autocommit = False
    for text in ("NOTIFY matrix_news, 'first'", "NOTIFY matrix_news, 'first'", "SELECT pg_notify('matrix_news', 'second')", "NOTIFY matrix_silence"):
        run(c, text)
    c.commit()
    c.autocommit = True
    say("listen", *heard(other, 2))
    run(other, "NOTIFY matrix_news, 'its own'")
    say("listen", *heard(other, 1), run(other, "SELECT pg_listening_channels()"))
    run(other, "UNLISTEN matrix_news")
    run(c, "NOTIFY matrix_news, 'to nobody'")
    say("listen", heard(other, 1, 0.3))
    other.close()


def savepoints(c):
    c.autocommit = False
    run(c, "INSERT INTO matrix.item VALUES (50, 'outer')")
    run(c, "SAVEPOINT within")
    run(c, "INSERT INTO matrix.item VALUES (51, 'inner')")
    attempt("savepoint", run, c, "INSERT INTO matrix.item VALUES (50, 'again')")
    attempt("savepoint", run, c, "SELECT 1")
    say("savepoint", run(c, "ROLLBACK TO within"), run(c, "RELEASE within"), run(c, "SAVEPOINT within"))
    run(c, "INSERT INTO matrix.item VALUES (52, 'second')")
    c.commit()
    attempt("savepoint", run, c, "ROLLBACK TO within")
    c.rollback()
    c.autocommit = True
    say("savepoint", run(c, "SELECT * FROM matrix.item WHERE id IN (50, 51, 52)"))


def cancel_and_timeout(c):
    timer = threading.Timer(0.5, c.cancel)
    timer.start()
    attempt("cancel", run, c, "SELECT pg_sleep(60)")
    timer.join()
    c.cancel()
    say("cancel", one(c, "SELECT 'a cancel of nothing hurts nobody'"), c.get_transaction_status())
    run(c, "SET statement_timeout = 200")
    attempt("timeout", run, c, "SELECT pg_sleep(60)")
    say("timeout", run(c, "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_sleep(0.4)::text"), run(c, "COMMIT"))
    attempt("timeout", run, c, "SELECT pg_sleep(60)")
    run(c, "RESET statement_timeout")
    say("timeout", one(c, "SHOW statement_timeout"))


def recovery(c):
    for text in ("SELECT 1/0", "SELEC 1", "SELECT nothing", "TABLE nowhere", "INSERT INTO matrix.item VALUES (1, 'twice')",
                 "INSERT INTO matrix.kinds (id) VALUES (2)", "SELECT (-1)::matrix.positive", ""):
        attempt("recovery", run, c, text)
    c.autocommit = False
    c.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    say("recovery", one(c, "SHOW transaction_isolation"), one(c, "SHOW transaction_read_only"), one(c, "SHOW transaction_deferrable"))
    attempt("recovery", run, c, "DELETE FROM matrix.item")
    attempt("recovery", run, c, "SELECT 1")
    say("recovery", c.get_transaction_status(), c.status)
    c.commit()
    c.set_session(isolation_level="DEFAULT", readonly="DEFAULT", deferrable="DEFAULT")
    say("recovery", one(c, "SHOW transaction_isolation"), c.get_transaction_status())
    c.rollback()
    c.autocommit = True


def types(c):
    register_composite("matrix.pair", c)
    register_default_jsonb(c, loads=lambda text: f"decoded {text}")
    with c.cursor() as cursor:
        cursor.execute("SELECT * FROM matrix.kinds")
        say("types", [(d.name, d.type_code if d.type_code < 16384 else "own", d.internal_size, d.precision, d.scale) for d in cursor.description])
        say("types", *cursor.fetchone())
    caster = CompositeCaster._from_db("matrix.pair", c)
    say("types", caster.name, caster.schema, caster.attnames, caster.atttypes)
    attempt("types", register_composite, "matrix.nothing", c)


def settings(c):
    names = ("server_encoding", "client_encoding", "is_superuser", "session_authorization", "DateStyle", "IntervalStyle", "TimeZone",
             "integer_datetimes", "standard_conforming_strings", "server_version")
    say("settings", *(f"{name}={c.get_parameter_status(name)}" for name in names), c.server_version, c.encoding)
    other = connect(application_name="named", options="-c search_path=client_3 -c work_mem=5MB -c matrix.tag=startup")
    shown = ("application_name", "search_path", "work_mem", "matrix.tag")
    say("settings", *(one(other, f"SHOW {name}") for name in shown), one(other, "SELECT tag FROM who"), one(c, "SHOW search_path"))
    run(other, "SET search_path = client_4; SET TIME ZONE 'Asia/Tokyo'; SET DateStyle = 'German'")
    say("settings", one(other, "SELECT tag FROM who"), one(other, "SELECT '2024-02-29 12:00+00'::timestamptz::text"))
    say("settings", other.get_parameter_status("TimeZone"), other.get_parameter_status("DateStyle"))
    other.autocommit = False
    run(other, "SET search_path = client_5; SET LOCAL work_mem = '7MB'")
    say("settings", one(other, "SELECT tag FROM who"), one(other, "SHOW work_mem"))
    other.rollback()
    say("settings", one(other, "SELECT tag FROM who"), one(other, "SHOW work_mem"))
    other.rollback()
    other.set_client_encoding("LATIN1")
    say("settings", other.encoding, one(other, "SELECT 'é'"), one(other, "SHOW client_encoding"))
    other.rollback()
    other.autocommit = True
    # ABORT; RESET ALL; SET SESSION AUTHORIZATION DEFAULT
    other.reset()
    other.autocommit = True
    say("settings", *(one(other, f"SHOW {name}") for name in shown), other.get_parameter_status("TimeZone"), other.encoding)
    attempt("settings", run, other, "SET work_mem = 'nonsense'")
    attempt("settings", run, other, "SET no_such_setting = 1")
    other.close()


def session_state(c):
    other = connect()
    run(c, "CREATE TEMP TABLE mine (n int)")
    run(c, "INSERT INTO mine VALUES (1), (2)")
    say("temp table", one(c, "SELECT sum(n) FROM mine"))
    attempt("temp table", run, other, "SELECT * FROM mine")
    run(c, "DROP TABLE mine")
    attempt("temp table", run, c, "SELECT * FROM mine")
    say("temp table", run(c, "BEGIN; CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT 5 AS n; SELECT n FROM brief"), run(c, "COMMIT"))
    attempt("temp table", run, c, "SELECT n FROM brief")
    run(c, "SELECT pg_advisory_lock(41)")
    say("advisory lock", one(other, "SELECT pg_try_advisory_lock(41)"), one(c, "SELECT pg_try_advisory_lock(41)"))
    say("advisory lock", *(one(c, "SELECT pg_advisory_unlock(41)") for _ in range(3)))
    run(c, "BEGIN; SELECT pg_advisory_xact_lock(42)")
    say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"), run(c, "COMMIT"))
    say("advisory lock", one(other, "SELECT pg_try_advisory_lock(42)"), one(other, "SELECT pg_advisory_unlock(42)"))
    other.close()


def large(c):
    run(c, "INSERT INTO matrix.item VALUES (60, %s)", (BIG,))
    say("large value", one(c, "SELECT body FROM matrix.item WHERE id = 60"), one(c, "SELECT md5(body) FROM matrix.item WHERE id = 60"))
    say("large value", bytes(one(c, "SELECT %s::bytea", (psycopg2.Binary(BIG.encode()),))), one(c, "SELECT repeat('y', 30000000)"))
    # A large object, which lives in a transaction.
    c.autocommit = False
    thing = c.lobject(0, "wb")
    say("large value", thing.write(BIG.encode()[:3_000_000]), thing.tell())
    thing.close()
    thing = c.lobject(thing.oid, "rb")
    say("large value", thing.seek(1000), thing.read(16), len(thing.read()))
    thing.unlink()
    c.commit()
    c.autocommit = True


def notices(c):
    c.notices.clear()
    run(c, "DO $$ BEGIN RAISE NOTICE 'hello %', 1 USING DETAIL = 'd', HINT = 'h'; RAISE WARNING 'careful'; END $$")
    for text in ("DROP TABLE IF EXISTS matrix.nothing", "BEGIN", "BEGIN", "COMMIT", "COMMIT"):
        run(c, text)
    say("notices", *c.notices)


def client(number, told):
    seen = told[number]
    try:
        c = connect(application_name=f"client_{number}", options=f"-c matrix.tag={number}")
        run(c, f"SET search_path = client_{number}")
        if number < PREPARERS:
            run(c, f"PREPARE mine (int) AS SELECT {number} * $1")
        if number < LISTENERS:
            run(c, f"LISTEN channel_{number}")
        for n in range(ROUNDS):
            seen("who", one(c, "SELECT tag FROM who"))
            seen("set", (one(c, "SHOW application_name"), one(c, "SHOW matrix.tag"), one(c, "SHOW search_path")))
            if number < PREPARERS:
                seen("mine", one(c, f"EXECUTE mine({n})") - number * n)
            try:
                run(c, "SELECT %s::int", (f"x{number}",))
            except psycopg2.Error as error:
                seen("error", error.diag.message_primary)
            c.autocommit = False
            with c:
                run(c, "INSERT INTO matrix.mixed VALUES (%s, %s)", (number, n))
                seen("inside", one(c, "SELECT tag FROM who"))
            c.autocommit = True
        run(c, "CREATE TEMP TABLE mine AS SELECT tag FROM who")
        seen("temp", one(c, "SELECT tag FROM mine"))
        run(c, "DROP TABLE mine")
        run(c, "SELECT pg_advisory_lock(7)")
        value = one(c, "SELECT value FROM matrix.counter")
        run(c, "UPDATE matrix.counter SET value = %s", (value + 1,))
        seen("unlock", one(c, "SELECT pg_advisory_unlock(7)"))
        if number < LISTENERS:
            run(c, f"NOTIFY channel_{number}, 'for {number}'")
            seen("news", heard(c, 1))
        c.close()
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
    say("mix", run(c, "SELECT client, count(*), sum(round) FROM matrix.mixed GROUP BY client ORDER BY client"))
    say("mix", one(c, "SELECT value FROM matrix.counter"))


c = connect()
for feature in (prepare, batch, cursors, copy, listen, savepoints, cancel_and_timeout, recovery, types, settings, session_state, large,
                notices, mix):
    feature(c)
c.close()
