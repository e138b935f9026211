#!/usr/bin/env bash
# psql (libpq) through the three ports of pgherd. Where to connect comes from the environment, see ../README.md.
set -euo pipefail

export PGHOST=$PGHERD_HOST PGUSER=$PGHERD_USER PGPASSWORD=$PGHERD_PASSWORD PGDATABASE=$PGHERD_DATABASE
export PGCONNECT_TIMEOUT=20 PGAPPNAME=smoke_psql
PSQL=${PGHERD_PSQL:-psql}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

ok() { printf 'ok    %s\n' "$*"; }
fail() { printf 'FAIL  %s\n' "$*"; exit 1; }
expect() { [ "$2" = "$3" ] && ok "$1" || fail "$1: wanted '$3', got '$2'"; }
sql() { local port=$1; shift; "$PSQL" -X -A -t -q -v ON_ERROR_STOP=1 -p "$port" "$@"; }

rw=$PGHERD_PRIMARY_PORT ro=$PGHERD_REPLICAS_PORT any=$PGHERD_ANY_PORT

sql "$rw" -c 'DROP TABLE IF EXISTS smoke_psql' 2>/dev/null
sql "$rw" -c 'CREATE TABLE smoke_psql (id int PRIMARY KEY, body text)'
ok "primary: create table"

got=$(sql "$rw" <<'SQL'
PREPARE put (int, text) AS INSERT INTO smoke_psql VALUES ($1, $2);
EXECUTE put(1, 'one');
EXECUTE put(2, 'two');
DEALLOCATE put;
SELECT count(*) FROM smoke_psql;
SQL
)
expect "primary: PREPARE and EXECUTE" "$got" 2

got=$(sql "$rw" <<'SQL'
BEGIN;
INSERT INTO smoke_psql VALUES (3, 'gone');
ROLLBACK;
BEGIN;
INSERT INTO smoke_psql VALUES (4, 'kept');
COMMIT;
SELECT string_agg(id::text, ',' ORDER BY id) FROM smoke_psql;
SQL
)
expect "primary: commit and rollback" "$got" "1,2,4"

got=$("$PSQL" -X -A -t -q -p "$rw" 2>"$scratch/errors" <<'SQL'
\set VERBOSITY sqlstate
BEGIN;
SELECT 1/0;
SELECT 1;
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT no_such_column;
ROLLBACK TO s;
SELECT 'recovered';
COMMIT;
SQL
)
expect "primary: recovery after an error in a transaction" "$got" "recovered"
expect "primary: the errors are PostgreSQL's own" "$(grep -o '[0-9A-Z]\{5\}$' "$scratch/errors" | tr '\n' ' ')" "22012 25P02 42703 "

got=$(sql "$rw" <<'SQL'
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 1000) n;
FETCH 2 FROM c;
MOVE 500 IN c;
FETCH 1 FROM c;
COMMIT;
SQL
)
expect "primary: a cursor in a transaction" "$(echo $got)" "1 2 503"

seq 1000 1 1999 | awk '{print $1 "\trow " $1}' >"$scratch/in"
sql "$rw" -c "\\copy smoke_psql FROM '$scratch/in'"
sql "$rw" -c "\\copy (SELECT * FROM smoke_psql WHERE id >= 1000 ORDER BY id) TO '$scratch/out'"
cmp -s "$scratch/in" "$scratch/out" || fail "primary: COPY out is not what went in"
ok "primary: COPY in and out, 1000 rows"
if printf 'a\tb\n' | sql "$rw" -c 'COPY smoke_psql FROM STDIN' 2>"$scratch/errors"; then fail "COPY of nonsense succeeded"; fi
grep -q 'invalid input syntax' "$scratch/errors" || fail "COPY of nonsense: $(cat "$scratch/errors")"
ok "primary: COPY of nonsense is refused"

got=$(sql "$rw" -c "INSERT INTO smoke_psql VALUES (5, repeat('x', 2000000))" -c 'SELECT body FROM smoke_psql WHERE id = 5' | wc -c)
expect "primary: a value of 2 MB there and back" "$got" 2000001

began=$SECONDS
"$PSQL" -X -q -v VERBOSITY=verbose -p "$rw" -c 'SELECT pg_sleep(60)' >"$scratch/cancel" 2>&1 &
sleeper=$!
sleep 1
kill -INT "$sleeper"
wait "$sleeper" && fail "primary: a cancelled query succeeded"
grep -q 57014 "$scratch/cancel" || fail "primary: cancel: $(cat "$scratch/cancel")"
[ $((SECONDS - began)) -lt 20 ] || fail "primary: cancel took too long"
ok "primary: Ctrl-C cancels a query"

for client in $(seq 10); do
    sql "$rw" >"$scratch/client$client" 2>&1 <<SQL &
SET application_name = 'smoke_psql_$client';
PREPARE mine AS SELECT $client * \$1::int;
EXECUTE mine(10);
SELECT pg_sleep(0.1);
EXECUTE mine(100);
SHOW application_name;
SQL
done
wait
for client in $(seq 10); do
    expect "primary: client $client of 10 at once" "$(echo $(cat "$scratch/client$client"))" \
        "$((client * 10)) $((client * 100)) smoke_psql_$client"
done

for _ in $(seq 100); do
    got=$(sql "$ro" -c 'SELECT count(*) FROM smoke_psql WHERE id < 5' 2>&1 || true)
    [ "$got" = 3 ] && break
    sleep 0.1
done
expect "replicas: rows arrive" "$got" 3
expect "replicas: a node in recovery answers" "$(sql "$ro" -c 'SELECT pg_is_in_recovery()')" t
if sql "$ro" -v VERBOSITY=verbose -c 'INSERT INTO smoke_psql VALUES (6, NULL)' 2>"$scratch/errors"; then
    fail "replicas: a write succeeded"
fi
grep -q 25006 "$scratch/errors" || fail "replicas: a write: $(cat "$scratch/errors")"
ok "replicas: a write is refused with 25006"

got=$(sql "$any" <<'SQL'
INSERT INTO smoke_psql VALUES (7, 'any');
SELECT body FROM smoke_psql WHERE id = 7;
BEGIN READ ONLY;
SELECT 'reading';
COMMIT;
SQL
)
expect "any: writes, reads, BEGIN READ ONLY" "$(echo $got)" "any reading"
if sql "$any" -v VERBOSITY=verbose -c 'BEGIN READ ONLY; DELETE FROM smoke_psql; COMMIT' 2>"$scratch/errors"; then
    fail "any: a write in a READ ONLY transaction succeeded"
fi
grep -q 25006 "$scratch/errors" || fail "any: READ ONLY: $(cat "$scratch/errors")"
ok "any: a READ ONLY transaction refuses writes with 25006"
sql "$rw" -c 'DROP TABLE smoke_psql'
