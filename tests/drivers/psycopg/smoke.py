"""psycopg 3 through the three ports of pgherd. Where to connect comes from the environment, see ../README.md."""

import os
import threading
import time

import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

BIG = "x" * 2_000_000
CLIENTS = 10


def connect(which, **more):
    return psycopg.connect(
        host=os.environ["PGHERD_HOST"],
        port=os.environ[f"PGHERD_{which}_PORT"],
        user=os.environ["PGHERD_USER"],
        password=os.environ["PGHERD_PASSWORD"],
        dbname=os.environ["PGHERD_DATABASE"],
        connect_timeout=20,
        row_factory=tuple_row,
        **more,
    )


def ok(what):
    print(f"ok    {what}", flush=True)


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r}, got {str(got)[:200]!r}")
    ok(what)


def refuses(what, error, action):
    try:
        action()
    except error:
        return ok(what)
    raise AssertionError(f"{what}: nothing was refused")


def one(connection, sql, args=None, **more):
    return connection.execute(sql, args, **more).fetchone()[0]


def transactions(c):
    with c.transaction():
        c.execute("INSERT INTO smoke_psycopg VALUES (10, 'kept')")
    try:
        with c.transaction():
            c.execute("INSERT INTO smoke_psycopg VALUES (11, 'gone')")
            raise psycopg.Rollback
    except psycopg.Rollback:
        pass
    expect("primary: commit and rollback", one(c, "SELECT count(*) FROM smoke_psycopg WHERE id IN (10, 11)"), 1)
    with c.transaction():
        try:
            with c.transaction():
                c.execute("SELECT 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        expect("primary: recovery by savepoint", one(c, "SELECT 5"), 5)
    c.autocommit = False
    try:
        c.execute("SELECT no_such_column")
    except psycopg.errors.UndefinedColumn:
        pass
    refuses("primary: a failed transaction stays failed", psycopg.errors.InFailedSqlTransaction, lambda: c.execute("SELECT 1"))
    c.rollback()
    expect("primary: and goes on after ROLLBACK", one(c, "SELECT 6"), 6)
    c.commit()
    c.autocommit = True


def cursors_and_copy(c):
    with c.transaction(), c.cursor(name="walker") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        expect("primary: a server-side cursor", sum(row[0] for row in cursor), 500_500)
    with c.cursor() as cursor, cursor.copy("COPY smoke_psycopg (id, body) FROM STDIN") as copy:
        for n in range(1000, 6000):
            copy.write_row((n, f"row {n}"))
    with c.cursor() as cursor, cursor.copy("COPY (SELECT id FROM smoke_psycopg WHERE id >= 1000) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4"])
        expect("primary: COPY in, binary COPY out, 5000 rows", sum(1 for _ in copy.rows()), 5000)

    def broken():
        with c.cursor() as cursor, cursor.copy("COPY smoke_psycopg FROM STDIN") as copy:
            copy.write("a\tb\n")

    refuses("primary: COPY of nonsense", psycopg.errors.InvalidTextRepresentation, broken)
    c.execute("INSERT INTO smoke_psycopg VALUES (20, %s)", (BIG,))
    expect("primary: a value of 2 MB there and back", one(c, "SELECT body FROM smoke_psycopg WHERE id = 20"), BIG)


def cancel(c):
    began = time.monotonic()
    timer = threading.Timer(1.0, c.cancel_safe if hasattr(c, "cancel_safe") else c.cancel)
    timer.start()
    refuses("primary: cancel", psycopg.errors.QueryCanceled, lambda: c.execute("SELECT pg_sleep(60)"))
    timer.join()
    expect("primary: cancel is quick", time.monotonic() - began < 20, True)
    expect("primary: the connection lives on", one(c, "SELECT 7"), 7)


def pipeline(c):
    with c.pipeline() as p:
        cursors = [c.execute("SELECT %s::int", (n,)) for n in range(50)]
        p.sync()
        more = [c.execute("SELECT %s::int * 2", (n,)) for n in range(50)]
    got = [x.fetchone()[0] for x in cursors + more]
    expect("primary: a pipeline of 100", got, list(range(50)) + [2 * n for n in range(50)])

    def broken():
        with c.pipeline():
            c.execute("SELECT 1")
            c.execute("SELECT 1/0")
            c.execute("SELECT 2")

    refuses("primary: an error inside a pipeline", psycopg.errors.DivisionByZero, broken)
    expect("primary: the connection lives on after it", one(c, "SELECT 8"), 8)


def client(number, faults):
    try:
        with connect("PRIMARY", autocommit=True, application_name=f"smoke_psycopg_{number}") as c:
            for n in range(20):
                # Every client prepares the same text and one of its own; both must stay the client's.
                if one(c, "SELECT %s::int + 1", (n,), prepare=True) != n + 1:
                    raise AssertionError("the shared statement answered wrongly")
                if one(c, f"SELECT {number} * %s::int", (n,), prepare=True) != number * n:
                    raise AssertionError("the own statement answered wrongly")
                if n % 5 == 0:
                    with c.transaction():
                        c.execute("SELECT pg_sleep(0.01)")
                        c.execute("INSERT INTO smoke_psycopg VALUES (%s, 'concurrent')", (100_000 + 1000 * number + n,))
            if one(c, "SHOW application_name") != f"smoke_psycopg_{number}":
                raise AssertionError("another client's application_name")
    except Exception as fault:  # reported by the main thread
        faults.append(f"client {number}: {fault!r}")


def concurrency(c):
    faults = []
    threads = [threading.Thread(target=client, args=(n, faults)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(f"primary: prepared statements of {CLIENTS} clients at once", faults, [])
    expect("primary: each of their rows", one(c, "SELECT count(*) FROM smoke_psycopg WHERE id >= 100000"), CLIENTS * 4)


def primary():
    with connect("PRIMARY", autocommit=True) as c:
        c.execute("DROP TABLE IF EXISTS smoke_psycopg")
        c.execute("CREATE TABLE smoke_psycopg (id int PRIMARY KEY, body text)")
        c.execute("INSERT INTO smoke_psycopg VALUES (%s, %s)", (1, "one"))
        with c.cursor() as cursor:
            cursor.executemany("INSERT INTO smoke_psycopg VALUES (%s, %s)", [(n, str(n)) for n in (2, 3, 4)])
        expect("primary: inserts with parameters", one(c, "SELECT count(*) FROM smoke_psycopg"), 4)
        expect("primary: binary results", c.execute("SELECT 1.5::float8, now() IS NOT NULL", binary=True).fetchone(), (1.5, True))
        transactions(c)
        cursors_and_copy(c)
        cancel(c)
        pipeline(c)
        concurrency(c)
    if pq.version() >= 180000:
        with connect("PRIMARY", max_protocol_version="latest") as c:
            expect("primary: protocol 3.2 asked for", one(c, "SELECT 9"), 9)


def replicas():
    with connect("REPLICAS", autocommit=True) as c:
        for _ in range(100):
            try:
                if one(c, "SELECT count(*) FROM smoke_psycopg WHERE id IN (1, 10)") == 2:
                    break
            except psycopg.errors.UndefinedTable:
                pass
            time.sleep(0.1)
        expect("replicas: rows arrive", one(c, "SELECT body FROM smoke_psycopg WHERE id = %s", (1,)), "one")
        expect("replicas: a node in recovery answers", one(c, "SELECT pg_is_in_recovery()"), True)
        expect("replicas: the driver is told so", c.info.parameter_status("in_hot_standby"), "on")
        write = lambda: c.execute("INSERT INTO smoke_psycopg VALUES (30, 'no')")
        refuses("replicas: a write (25006)", psycopg.errors.ReadOnlySqlTransaction, write)
        expect("replicas: the connection lives on", one(c, "SELECT 10"), 10)


def anywhere():
    with connect("ANY", autocommit=True) as c:
        c.execute("INSERT INTO smoke_psycopg VALUES (40, 'any')")
        expect("any: writes and reads", one(c, "SELECT body FROM smoke_psycopg WHERE id = 40"), "any")
        c.read_only = True
        with c.transaction():
            expect("any: BEGIN READ ONLY", one(c, "SELECT 11"), 11)

        def write():
            with c.transaction():
                c.execute("DELETE FROM smoke_psycopg")

        refuses("any: a write in it (25006)", psycopg.errors.ReadOnlySqlTransaction, write)
        c.read_only = None
        c.execute("DROP TABLE smoke_psycopg")


primary()
replicas()
anywhere()
