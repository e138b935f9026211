#!/usr/bin/env bash
# Other people's tests of their drivers, run directly and through pgherd, and compared:
#
#   tests/drivers/suites.sh
#
# The suites are what the packages of the drivers ship; they and what they need are fetched from the registries of Python, Node
# and Rust and put below target/suites (they are no part of this project). Each run gets a PostgreSQL of its own in a temporary
# directory on a free port. Not part of tests/run.
#
# A test differs when it passes directly and does not pass through pgherd. Those that must stand with their reasons in
# suites/expected.txt. Exit code 1 when another one differs, or when a suite did not run at all.
#
#   PGHERD_SUITES="psycopg2 asyncpg ..."               which of them; what suites/*.sh define as suite_NAME
#   PGHERD_SUITES_MODES="session transaction"          pool modes; "split" is port 5002 with two replicas, in transaction mode,
#                                                      and tells which share of the transactions a replica had
#   PGHERD_SUITES_PGHERD=target/debug/pgherd           the binary; built when it is not named
#   PGHERD_SUITES_KEEP=1                               do not run directly again what was run before
#   PGHERD_SUITES_LIMIT=600                            seconds one suite may take in one mode
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/suites
modes=${PGHERD_SUITES_MODES:-session transaction}
suites=${PGHERD_SUITES:-psycopg2 asyncpg pg8000 sqlalchemy_psycopg sqlalchemy_asyncpg django tokio_postgres postgres node}
limit=${PGHERD_SUITES_LIMIT:-600}
bin=${PGHERD_PG_BIN:-/usr/lib/postgresql/15/bin}
venv=$out/venv
mkdir -p "$out"

say() { printf '%s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
# PostgreSQL does not run as root. setpriv becomes the program, so that its process id is the program's.
drop=()
[ "$(id -u)" != 0 ] || drop=(setpriv --reuid=postgres --regid=postgres --init-groups)
as_postgres() { "${drop[@]}" "$@"; }
bounded() { timeout --kill-after=10 "$limit" "$@" </dev/null; }

for file in "$here"/suites/*.sh; do
    # shellcheck source=/dev/null
    . "$file"
done

prepare_pgherd() {
    pgherd=${PGHERD_SUITES_PGHERD:-$target/debug/pgherd}
    [ -n "${PGHERD_SUITES_PGHERD:-}" ] || (cd "$root" && cargo build -q -p pgherd) || die "pgherd does not build"
    [ -x "$pgherd" ] || die "$pgherd is not there"
}

# ---- one server, perhaps with pgherd before it -----------------------------------------------------------------------

port_base=$((20000 + RANDOM % 10000))
free_port() {
    while ss -Htln "sport = :$port_base" 2>/dev/null | grep -q .; do port_base=$((port_base + 1)); done
    port=$port_base
    port_base=$((port_base + 1))
}

herd_pid=
stop() {
    [ -z "$herd_pid" ] || { kill "$herd_pid"; wait "$herd_pid"; } 2>/dev/null
    herd_pid=
    local data
    for data in data replica1 replica2; do
        [ ! -e "$work/$data/postmaster.pid" ] || as_postgres "$bin/pg_ctl" -D "$work/$data" -m immediate -w stop >/dev/null
        rm -rf "${work:?}/$data"
    done
}

start_server() {
    as_postgres "$bin/initdb" -D "$work/data" -U postgres -A trust --no-sync --locale=C.UTF-8 -E UTF8 >/dev/null ||
        die "initdb failed"
    free_port
    server_port=$port
    cat >>"$work/data/postgresql.conf" <<-CONF
	port = $server_port
	listen_addresses = 'localhost'
	unix_socket_directories = ''
	fsync = off
	max_connections = 150
	max_prepared_transactions = 20
	wal_level = logical
	timezone = 'UTC'
	CONF
    as_postgres "$bin/pg_ctl" -D "$work/data" -l "$work/server.log" -w start >/dev/null || die "PostgreSQL does not start"
    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$server_port" -U postgres -d postgres -f "$here/suites/setup.sql" \
        >/dev/null || die "suites/setup.sql failed"
}

# start_replica NAME: of the server that runs; leaves its port in $port.
start_replica() {
    "${drop[@]}" "$bin/pg_basebackup" -D "$work/$1" -h 127.0.0.1 -p "$server_port" -U postgres -R -c fast >/dev/null ||
        die "no copy of the server could be made"
    free_port
    echo "port = $port" >>"$work/$1/postgresql.conf"
    as_postgres "$bin/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w start >/dev/null || die "the replica does not start"
}

# split_share SUITE: what became of the transactions, by pgherd's own count.
split_share() {
    curl -s "http://127.0.0.1:$api_port/metrics" >"$out/split/$1.metrics"
    awk -F'[{}"= ]+' -v suite="$1" '
        /^pgherd_transactions_total[{]reason=/ {
            count[$3] = $NF
            # What a replica refused has been counted as its own already.
            if ($3 != "rerun") total += $NF
            if ($3 ~ /^(weight|region|nearest|no_primary)$/) moved += $NF
        }
        END {
            moved -= count["rerun"]
            printf "%s, split: %.0f of %.0f transactions on replicas (%.1f %%):", suite, moved, total, total ? 100 * moved / total : 0
            for (reason in count) if (count[reason] > 0) printf " %s %.0f", reason, count[reason]
            print ""
        }' "$out/split/$1.metrics"
}

# start_pgherd MODE
start_pgherd() {
    local servers=20 mode=$1 listener=primary other=any more=
    # There each client has a server to itself.
    [ "$mode" != session ] || servers=100
    if [ "$mode" = split ]; then
        mode=transaction listener=any other=primary
        start_replica replica1
        more="[[node]]"$'\n'"host = \"127.0.0.1\""$'\n'"port = $port"$'\n'
        start_replica replica2
        more+="[[node]]"$'\n'"host = \"127.0.0.1\""$'\n'"port = $port"$'\n'
    fi
    free_port
    api_port=$port
    free_port
    cat >"$work/pgherd.toml" <<-CONF
	[cluster]
	user = "postgres"
	[server]
	workers = 2
	shutdown_grace = "1s"
	[listen]
	$listener = "127.0.0.1:$port"
	replicas = "off"
	$other = "off"
	[auth]
	method = "trust"
	[pool]
	mode = "$mode"
	max_pool_size = $servers
	query_wait_timeout = "60s"
	[api]
	listen = "127.0.0.1:$api_port"
	[[node]]
	host = "127.0.0.1"
	port = $server_port
	$more
	CONF
    "${drop[@]}" "$work/pgherd" run -c "$work/pgherd.toml" >"$work/pgherd.log" 2>&1 &
    herd_pid=$!
    for _ in $(seq 100); do
        "$bin/psql" -X -q -h 127.0.0.1 -p "$port" -U postgres -d postgres -c '' 2>/dev/null && return
        sleep 0.1
    done
    cat "$work/pgherd.log"
    die "pgherd does not let anybody in"
}

# ---- runs ------------------------------------------------------------------------------------------------------------

# run_suite SUITE MODE: leaves NAME RESULT lines in $out/MODE/SUITE.tests, and the logs beside them.
run_suite() {
    local suite=$1 mode=$2 code
    local dir=$out/$mode
    mkdir -p "$dir"
    rm -f "${dir:?}/$suite".*
    start_server
    port=$server_port
    [ "$mode" = direct ] || start_pgherd "$mode"
    export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres
    tests=$dir/$suite.tests
    local began=$SECONDS
    ("suite_$suite") >"$dir/$suite.log" 2>&1
    code=$?
    touch "$tests"
    unset PGHOST PGPORT PGUSER PGDATABASE
    [ $code -lt 124 ] || say "  was stopped after $limit s"
    [ "$mode" != split ] || split_share "$suite"
    cp "$work/server.log" "$dir/$suite.server.log"
    [ -z "$herd_pid" ] || cp "$work/pgherd.log" "$dir/$suite.pgherd.log"
    stop
    rm -f "$work/server.log" "$work/pgherd.log"
    say "$suite, $mode: $(passed "$suite" "$mode") passed of $(wc -l <"$tests") ($((SECONDS - began)) s)"
}

passed() { grep -c ' ok$' "$out/$2/$1.tests"; }

expected() { grep -Eq "^$1 +($2|any) +$(printf '%s' "$3" | sed 's/[][\.*^$+?(){}|]/\\&/g')( |\$)" "$here/suites/expected.txt"; }

# compare SUITE MODE: prints what differs; false when something does that must not.
compare() {
    local suite=$1 mode=$2 test result good=0
    while read -r test result; do
        [ "$result" != ok ] && continue
        result=$(name=$test awk '$1 == ENVIRON["name"] { print $2 }' "$out/$mode/$suite.tests")
        [ "$result" = ok ] && continue
        if expected "$suite" "$mode" "$test"; then
            say "  $suite $mode: $test differs, as expected"
        else
            say "  $suite $mode: $test differs (here ${result:-not run})"
            good=1
        fi
    done <"$out/direct/$suite.tests"
    return $good
}

if [ "${1:-}" = --prepare ]; then
    "prepare_$2"
    exit
fi
prepare_pgherd
work=$(mktemp -d "${TMPDIR:-/tmp}/pgherd-suites-XXXXXX")
trap 'stop; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cp "$pgherd" "$work/pgherd"
[ "$(id -u)" != 0 ] || chown -R postgres "$work"

failed=0 table=()
for suite in $suites; do
    timeout --kill-after=10 "$limit" "$BASH" "$here/suites.sh" --prepare "$suite" </dev/null >"$out/$suite.prepare.log" 2>&1 || {
        say "$suite: could not be prepared, see $out/$suite.prepare.log"
        failed=1
        continue
    }
    [ -n "${PGHERD_SUITES_KEEP:-}" ] && [ -s "$out/direct/$suite.tests" ] || run_suite "$suite" direct
    row=$(printf '%-20s %10s' "$suite" "$(passed "$suite" direct)")
    [ "$(passed "$suite" direct)" != 0 ] || failed=1
    for mode in $modes; do
        run_suite "$suite" "$mode"
        row+=$(printf ' %11s' "$(passed "$suite" "$mode")")
        compare "$suite" "$mode" || failed=1
    done
    table+=("$row")
done
say
# shellcheck disable=SC2086 # words
say "$(printf '%-20s %10s' passed direct)$(printf ' %11s' $modes)"
printf '%s\n' "${table[@]}"
[ $failed = 0 ] && say "nothing differs but what must" || say "see $out/MODE/SUITE.log"
exit $failed
