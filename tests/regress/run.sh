#!/usr/bin/env bash
# PostgreSQL's own tests (regression, isolation, libpq's pipelines), run directly and through pgherd, and compared:
#
#   tests/regress/run.sh
#
# The source package of the PostgreSQL that is installed is fetched from Debian (its tests are no part of this project); the
# programs that run them come with postgresql-server-dev. Each run gets a server of its own, started in a temporary
# directory on a free port. Not part of tests/run.
#
# A test differs when it passes directly and fails through pgherd, or fails in both and not in the same way. Those that must
# differ stand with their reasons in expected.txt. Exit code 1 when another one differs; what differs is shown in
# target/regress/MODE/.
#
#   PGHERD_REGRESS_MODES="session transaction small crowd"   pool modes. small is transaction mode with 22 servers, crowd is
#                                      transaction mode with other busy clients in the same pool
#   PGHERD_REGRESS_SUITES="core isolation pipeline"    which of them
#   PGHERD_REGRESS_PGHERD=target/debug/pgherd          the binary; built when it is not named
#   PGHERD_REGRESS_LIMIT=900                           seconds one suite may take in one mode
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/regress
modes=${PGHERD_REGRESS_MODES:-session transaction small crowd}
suites=${PGHERD_REGRESS_SUITES:-core isolation pipeline}
limit=${PGHERD_REGRESS_LIMIT:-900}
bin=${PGHERD_PG_BIN:-/usr/lib/postgresql/15/bin}
export DEBIAN_FRONTEND=noninteractive

say() { printf '%s\n' "$*"; }
die() { say "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
# PostgreSQL does not run as root. setpriv becomes the program, so that its process id is the program's.
drop=()
[ "$(id -u)" != 0 ] || drop=(setpriv --reuid=postgres --regid=postgres --init-groups)
as_postgres() { "${drop[@]}" "$@"; }

# ---- what is needed --------------------------------------------------------------------------------------------------

install() {
    say "installing $* with apt-get"
    as_root apt-get -q update </dev/null
    as_root apt-get -q install -y --no-install-recommends "$@" </dev/null || die "could not install $*"
}

tools=$bin/../lib/pgxs/src/test
prepare_packages() {
    [ -x "$bin/postgres" ] && [ -e "$bin/../lib/refint.so" ] || install postgresql-15
    [ -x "$tools/regress/pg_regress" ] && [ -x "$tools/isolation/pg_isolation_regress" ] ||
        install postgresql-server-dev-15
    command -v cc >/dev/null || install gcc libc6-dev
    command -v dpkg-source >/dev/null || install dpkg-dev
}

# The source of exactly the version that is installed, in $source.
fetch_source() {
    local version
    version=$(dpkg-query -W -f '${source:Version}' postgresql-15) || die "postgresql-15 is not installed from a package"
    source=$out/source-$version
    [ -e "$source/src/test/modules/libpq_pipeline" ] && return
    say "fetching the source of postgresql-15 $version"
    local dir=$out/fetch
    rm -rf "$dir" && mkdir -p "$dir/lists/partial"
    # The lists that are configured, as lists of sources; the system's own stay as they are.
    local types=Types
    {
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list 2>/dev/null
        cat /etc/apt/sources.list.d/*.list 2>/dev/null | sed -n 's/^deb /deb-src /p'
    } | grep debian >"$dir/source.list"
    mkdir "$dir/parts"
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] && grep -q debian "$file" && sed "s/^$types: .*/$types: deb-src/" "$file" >"$dir/parts/${file##*/}"
    done
    local options=(-q -o "Dir::Etc::sourcelist=$dir/source.list" -o "Dir::Etc::sourceparts=$dir/parts"
        -o "Dir::State::lists=$dir/lists" -o APT::Sandbox::User=root)
    (
        cd "$dir" && apt-get "${options[@]}" update </dev/null &&
            apt-get "${options[@]}" source --download-only "postgresql-15=$version" </dev/null
    ) || die "could not fetch the source of postgresql-15 $version"
    mkdir -p "$source"
    tar -xf "$dir"/postgresql-15_*.orig.tar.* -C "$source" --strip-components=1 --wildcards '*/src/test/regress' \
        '*/src/test/isolation' '*/src/test/modules/libpq_pipeline' || die "could not unpack the source"
    rm -rf "$dir"
}

prepare_pgherd() {
    pgherd=${PGHERD_REGRESS_PGHERD:-$target/debug/pgherd}
    [ -n "${PGHERD_REGRESS_PGHERD:-}" ] || (cd "$root" && cargo build -q -p pgherd) || die "pgherd does not build"
    [ -x "$pgherd" ] || die "$pgherd is not there"
}

# The suites and their helpers, where the user postgres may read and write, in $work.
prepare_work() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/pgherd-regress-XXXXXX")
    trap 'stop; rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
    cp -r "$source/src/test/regress" "$work/core"
    cp -r "$source/src/test/isolation" "$work/isolation"
    cp -r "$source/src/test/modules/libpq_pipeline" "$work/pipeline"
    cp "$pgherd" "$work/pgherd"
    mkdir "$work/lib"
    cp "$bin"/../lib/{refint,autoinc}.so "$work/lib"
    cc -O1 -w -shared -fPIC -I"$("$bin/pg_config" --includedir-server)" -o "$work/lib/regress.so" "$work/core/regress.c" ||
        die "regress.c does not compile"
    cc -O1 -shared -fPIC -I"$("$bin/pg_config" --includedir)" -o "$work/lib/pid.so" "$here/pid.c" ||
        die "pid.c does not compile"
    cc -O1 -w -I"$("$bin/pg_config" --includedir-server)" -I"$("$bin/pg_config" --includedir)" -o "$work/lib/pipeline" \
        "$work/pipeline/libpq_pipeline.c" -L"$bin/../lib" -lpq -lpgcommon -lpgport -lm || die "libpq_pipeline.c does not compile"
    [ "$(id -u)" != 0 ] || chown -R postgres "$work"
}

# ---- one server, perhaps with pgherd before it -----------------------------------------------------------------------

port_base=$((20000 + RANDOM % 10000))
free_port() {
    while ss -Htln "sport = :$port_base" 2>/dev/null | grep -q .; do port_base=$((port_base + 1)); done
    port=$port_base
    port_base=$((port_base + 1))
}

herd_pid= crowd_pid=
stop() {
    [ -z "$crowd_pid" ] || { kill "$crowd_pid"; wait "$crowd_pid"; } 2>/dev/null
    crowd_pid=
    [ -z "$herd_pid" ] || { kill "$herd_pid"; wait "$herd_pid"; } 2>/dev/null
    herd_pid=
    [ ! -e "$work/data/postmaster.pid" ] || as_postgres "$bin/pg_ctl" -D "$work/data" -m immediate -w stop >/dev/null
    rm -rf "$work/data"
}

start_server() {
    as_postgres "$bin/initdb" -D "$work/data" -U postgres -A trust --no-sync --locale=C -E UTF8 >/dev/null || die "initdb failed"
    free_port
    server_port=$port
    # As pg_regress configures a server of its own.
    cat >>"$work/data/postgresql.conf" <<-CONF
	port = $server_port
	listen_addresses = '127.0.0.1'
	unix_socket_directories = ''
	fsync = off
	max_connections = 100
	max_prepared_transactions = 2
	log_autovacuum_min_duration = 0
	log_lock_waits = on
	log_temp_files = 128kB
	CONF
    as_postgres "$bin/pg_ctl" -D "$work/data" -l "$work/server.log" -w start >/dev/null || die "PostgreSQL does not start"
}

# start_pgherd MODE SERVERS
start_pgherd() {
    free_port
    cat >"$work/pgherd.toml" <<-CONF
	[cluster]
	user = "postgres"
	[server]
	workers = 2
	shutdown_grace = "1s"
	[listen]
	primary = "127.0.0.1:$port"
	replicas = "off"
	any = "off"
	[auth]
	method = "trust"
	[pool]
	mode = "$1"
	max_pool_size = $2
	query_wait_timeout = "60s"
	[api]
	listen = "off"
	[[node]]
	host = "127.0.0.1"
	port = $server_port
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

# start_crowd DATABASE: other clients of the same pool, from the moment the database is there.
start_crowd() {
    (
        bench=
        trap '[ -z "$bench" ] || kill "$bench" 2>/dev/null; exit' TERM
        until "$bin/psql" -X -q -h 127.0.0.1 -p "$port" -U postgres -d "$1" -c '' 2>/dev/null; do sleep 0.2; done
        "$bin/pgbench" -n -h 127.0.0.1 -p "$port" -U postgres -c 8 -T "$limit" -f "$here/crowd.sql" "$1" >/dev/null 2>&1 &
        bench=$!
        wait "$bench"
    ) &
    crowd_pid=$!
}

# ---- runs ------------------------------------------------------------------------------------------------------------

# run_scheduled SUITE: by PostgreSQL's own runner.
run_scheduled() {
    local suite=$1 runner schedule extra=()
    if [ "$suite" = core ]; then
        runner=$tools/regress/pg_regress schedule=$work/core/parallel_schedule
        extra=(--max-concurrent-tests=20)
    else
        runner=$tools/isolation/pg_isolation_regress schedule=$work/isolation/isolation_schedule
        # The tester asks its connections, not its library, for the process that works for it.
        extra=(--launcher="env LD_PRELOAD=$work/lib/pid.so")
    fi
    cd "$work/build" && as_postgres timeout --kill-after=10 "$limit" "$runner" --host=127.0.0.1 --port="$port" --user=postgres \
        --bindir="$bin" --dlpath="$work/lib" --inputdir="$work/$suite" --outputdir="$work/build" --schedule="$schedule" "${extra[@]}"
}

# run_pipeline: each of its tests, and the messages of those whose order is certain.
run_pipeline() {
    local test result trace
    as_postgres mkdir "$work/build/results"
    for test in $("$work/lib/pipeline" tests); do
        result=FAILED trace=$work/build/results/$test.out
        if as_postgres timeout --kill-after=10 $((limit / 10)) "$work/lib/pipeline" -r 700 -t "$trace" "$test" \
            "host=127.0.0.1 port=$port user=postgres dbname=postgres" >&2; then
            [ ! -e "$work/pipeline/traces/$test.trace" ] || cmp "$work/pipeline/traces/$test.trace" "$trace" >&2
            [ $? != 0 ] || result=ok
        fi
        echo "test $test ... $result"
    done
}

# run_suite SUITE MODE: leaves NAME RESULT lines in $out/MODE/SUITE.tests, and its differences beside them.
run_suite() {
    local suite=$1 mode=$2 code
    local dir=$out/$mode database=regression
    [ "$suite" != isolation ] || database=isolation_regression
    [ "$suite" != pipeline ] || database=postgres
    mkdir -p "$dir"
    rm -rf "${dir:?}/$suite"*
    start_server
    port=$server_port
    case $mode in
        direct) ;;
        small) start_pgherd transaction 22 ;;
        crowd) start_pgherd transaction 32 && start_crowd $database ;;
        *) start_pgherd "$mode" 30 ;;
    esac
    rm -rf "$work/build" && as_postgres mkdir "$work/build"
    say "$suite, $mode"
    case $suite in
        pipeline) (run_pipeline) >"$dir/$suite.log" 2>"$dir/$suite.diffs" ;;
        *) (run_scheduled "$suite") >"$dir/$suite.log" 2>&1 ;;
    esac
    code=$?
    [ $code -lt 124 ] || say "  was stopped after $limit s"
    sed -nE 's/^(test |     )([a-z0-9_.-]+) +\.\.\. (ok|FAILED|failed \(ignored\)).*/\2 \3/p' "$dir/$suite.log" |
        sed 's/failed (ignored)/FAILED/' >"$dir/$suite.tests"
    cp -r "$work/build/results" "$dir/$suite.results" 2>/dev/null
    cp "$work/build/regression.diffs" "$dir/$suite.diffs" 2>/dev/null
    cp "$work/server.log" "$dir/$suite.server.log"
    [ -z "$herd_pid" ] || cp "$work/pgherd.log" "$dir/$suite.pgherd.log"
    stop
    rm -f "$work/server.log" "$work/pgherd.log"
    say "  $(grep -c ' ok$' "$dir/$suite.tests") passed, $(grep -c 'FAILED$' "$dir/$suite.tests") failed"
}

# expected SUITE MODE TEST: this one must differ.
expected() {
    grep -Eq "^$1 +$2 +$3( |\$)" "$here/expected.txt"
}

# compare SUITE MODE: prints what differs; false when something does that must not.
compare() {
    local suite=$1 mode=$2 test result directly good=0
    while read -r test directly; do
        result=$(awk -v t="$test" '$1 == t { print $2 }' "$out/$mode/$suite.tests")
        if [ "$result" = ok ] || { [ "$result" = "$directly" ] &&
            cmp -s "$out/direct/$suite.results/$test.out" "$out/$mode/$suite.results/$test.out"; }; then
            continue
        elif expected "$suite" "$mode" "$test"; then
            say "  $suite $mode: $test differs, as expected"
        else
            say "  $suite $mode: $test differs (directly $directly, here ${result:-not run})"
            good=1
        fi
    done <"$out/direct/$suite.tests"
    return $good
}

prepare_packages
fetch_source
prepare_pgherd
prepare_work
failed=0
for suite in $suites; do
    run_suite "$suite" direct
    [ -s "$out/direct/$suite.tests" ] || die "no test ran directly: see $out/direct/$suite.log"
    for mode in $modes; do
        run_suite "$suite" "$mode"
    done
done
say
for suite in $suites; do
    for mode in $modes; do
        compare "$suite" "$mode" || failed=1
    done
done
[ $failed = 0 ] && say "nothing differs but what must" || say "see $out/MODE/SUITE.diffs"
exit $failed
