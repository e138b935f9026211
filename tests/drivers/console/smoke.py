"""The console as drivers and tools meet it: psycopg 3 and 2, asyncpg, psql's TAB, and the PgBouncer exporter of PyPI.

Where to connect comes from the environment, see ../README.md; PGHERD_USER is an admin user of the console, "watcher" a stats
user, "stranger" neither, both with PGHERD_PASSWORD.
"""

import asyncio
import os
import pty
import subprocess
import sys
import tempfile
import time
import urllib.request

import asyncpg
import psycopg
import psycopg2

HOST, PASSWORD = os.environ["PGHERD_HOST"], os.environ["PGHERD_PASSWORD"]
USER, DATABASE = os.environ["PGHERD_USER"], os.environ["PGHERD_DATABASE"]
PORTS = [int(os.environ[f"PGHERD_{port}_PORT"]) for port in ("PRIMARY", "REPLICAS", "ANY")]

# PgBouncer's names for what it shows, as many as there are rows to be had in every case.
FULL = "CONFIG DATABASES LISTS POOLS USERS STATE STATS STATS_TOTALS STATS_AVERAGES TOTALS CLIENTS MEM VERSION".split()
REST = "SERVERS SOCKETS ACTIVE_SOCKETS FDS PEERS PEER_POOLS DNS_HOSTS DNS_ZONES PREPARED PINS".split()
OURS = "NODES LAG ROUTING EVENTS".split()


def ok(what):
    print(f"ok    {what}", flush=True)


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"FAIL  {what}: wanted {wanted!r}, got {got!r}")
    ok(what)


def dsn(port, user=USER, database="pgbouncer"):
    return dict(host=HOST, port=port, user=user, password=PASSWORD, dbname=database)


def refusal(port, user, statement=None):
    try:
        with psycopg.connect(**dsn(port, user), autocommit=True) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        return str(error).splitlines()[0].split(": ")[-1].strip()
    return None


def psycopg3():
    for port in PORTS:
        for database in ("pgherd", "pgbouncer"):
            with psycopg.connect(**dsn(port, database=database), autocommit=True) as connection:
                expect(f"{port} {database}: simple version", connection.pgconn.parameter_status(b"server_version"), b"1.25.0/bouncer")
    with psycopg.connect(**dsn(PORTS[0]), autocommit=True) as connection:
        expect("SHOW VERSION", connection.execute("SHOW VERSION").fetchone(), ("PgBouncer 1.25.0",))
        for show in FULL + OURS + REST:
            columns = {}
            for binary in (False, True):
                cursor = connection.cursor(binary=binary)
                rows = cursor.execute(f"SHOW {show}", prepare=True).fetchall()
                columns[binary] = [(column.name, column.type_code) for column in cursor.description]
                if show in FULL + OURS and not rows:
                    sys.exit(f"FAIL  SHOW {show} has no rows")
            expect(f"SHOW {show}: text and binary", columns[False] == columns[True] != [], True)
        lists = dict(connection.execute("SHOW LISTS").fetchall())
        expect("LISTS counts", (lists["peers"], lists["dns_pending"]), (0, 0))
    with psycopg.connect(**dsn(PORTS[0])) as connection:
        connection.execute("SHOW POOLS").fetchall()
        connection.commit()
        try:
            connection.execute("nonsense")
        except psycopg.Error as error:
            expect("unknown command", str(error).splitlines()[0], "invalid command 'nonsense', use SHOW HELP;")
        connection.rollback()
        expect("after an error", connection.execute("SHOW STATE").fetchone(), ("active", "yes"))


def who_may():
    port = PORTS[0]
    expect("a stats user looks", refusal(port, "watcher", "SHOW POOLS"), None)
    for statement in ("SHOW FDS", "PAUSE", "SET pool.max_pool_size = 3", "RELOAD"):
        expect(f"a stats user: {statement}", refusal(port, "watcher", statement), "admin access needed")
    expect("a stranger", refusal(port, "stranger", "SHOW POOLS"), "not allowed")


async def asyncpgs():
    connection = await asyncpg.connect(host=HOST, port=PORTS[2], user=USER, password=PASSWORD, database="pgbouncer")
    for show in FULL + OURS:
        rows = await connection.fetch(f"SHOW {show}")
        if not rows:
            sys.exit(f"FAIL  asyncpg: SHOW {show} has no rows")
    ok("asyncpg reads every table in binary")
    pools = await connection.fetch("SHOW POOLS")
    expect("asyncpg: a number is a number", type(pools[0]["cl_active"]), int)
    await connection.execute("PAUSE")
    expect("asyncpg: paused", (await connection.fetchrow("SHOW STATE"))["value"], "no")
    await connection.execute("RESUME")
    await connection.reset()
    await connection.close()


def pause_keeps_clients():
    """A restart behind a PAUSE, as scripts for PgBouncer do it: nobody sees an error."""
    with psycopg.connect(**dsn(PORTS[0]), autocommit=True) as console:
        clients = [psycopg.connect(**dsn(PORTS[0], database=DATABASE), autocommit=True) for _ in range(6)]
        for client in clients:
            client.execute("SELECT 1")
        console.execute("PAUSE")
        servers = console.execute("SHOW SERVERS").fetchall()
        expect("PAUSE closes all servers", servers, [])
        for client in clients:
            client.pgconn.send_query(b"SELECT 'served'")
            client.pgconn.flush()
        time.sleep(1)
        pools = {row[0]: row for row in console.execute("SHOW POOLS").fetchall()}
        expect("clients wait", pools[DATABASE][3], 6)
        console.execute("RESUME")
        for client in clients:
            result = client.pgconn.get_result()
            expect("served after RESUME", result.get_value(0, 0), b"served")
            client.pgconn.get_result()
            client.close()
        console.execute("RECONNECT")
        console.execute("WAIT_CLOSE")
        stats = {row[0]: row for row in console.execute("SHOW STATS_TOTALS").fetchall()}
        expect("queries are counted", stats[DATABASE][3] >= 12, True)


def psycopg2s():
    connection = psycopg2.connect(**dsn(PORTS[0]))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SHOW POOLS")
    expect("psycopg2: rows", len(cursor.fetchall()) > 0, True)
    connection.close()


def completion():
    """psql asks the server what a name could become; a wrong guess is an unknown command."""
    psql = os.environ.get("PGHERD_PSQL", "psql")
    ours, theirs = pty.openpty()
    environment = dict(os.environ, PGPASSWORD=PASSWORD, TERM="dumb", PAGER="cat")
    arguments = [psql, "-X", "-h", HOST, "-p", str(PORTS[0]), "-U", USER, "pgherd"]
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True)
    os.close(theirs)

    def until(text):
        seen, end = "", time.time() + 20
        while text not in seen:
            if time.time() > end:
                sys.exit(f"FAIL  psql: no {text!r} in {seen!r}")
            seen += os.read(ours, 4096).decode(errors="replace")

    until("pgherd=")
    os.write(ours, b"SHOW STATS_T\t")
    until("stats_totals")
    os.write(ours, b";\n")
    until("server_assignment_count")
    ok("psql completes SHOW")
    os.write(ours, b"\\q\n")
    process.wait(20)
    os.close(ours)


def exporter():
    """The exporter of PyPI, as it is."""
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        port = free_port()
        config.write(
            f"exporter_host: 127.0.0.1\nexporter_port: {port}\npgbouncers:\n"
            f"  - dsn: postgresql://watcher:{PASSWORD}@{HOST}:{PORTS[0]}/pgbouncer\n    connect_timeout: 5\n"
        )
        config.flush()
        program = os.path.join(os.path.dirname(sys.executable), "pgbouncer-exporter")
        process = subprocess.Popen([program, "--config", config.name], stderr=subprocess.PIPE)
        try:
            text = scrape(port, process)
        finally:
            process.terminate()
            process.wait(20)
    metrics = {line.split(" ")[0]: line.split(" ")[1] for line in text.splitlines() if line.startswith("pgbouncer_")}
    expect("exporter: up", metrics["pgbouncer_up"], "1.0")
    expect("exporter: config", metrics["pgbouncer_config_max_client_conn"], "10000.0")
    queries = metrics[f'pgbouncer_stats_queries_total{{database="{DATABASE}"}}']
    expect("exporter: queries", float(queries) >= 12, True)
    waiting = metrics[f'pgbouncer_pools_client_waiting_connections{{database="{DATABASE}",user="{USER}"}}']
    expect("exporter: pools", waiting, "0.0")
    size = metrics[f'pgbouncer_databases_database_pool_size{{backend_database="{DATABASE}",database="{DATABASE}"}}']
    expect("exporter: databases", size, "3.0")


def free_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def scrape(port, process):
    for _ in range(100):
        if process.poll() is not None:
            sys.exit(f"FAIL  the exporter ended: {process.stderr.read().decode()}")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        except OSError:
            time.sleep(0.1)
    sys.exit("FAIL  the exporter does not answer")


psycopg3()
who_may()
asyncio.run(asyncpgs())
pause_keeps_clients()
psycopg2s()
completion()
exporter()
