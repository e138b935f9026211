# Suites in Python, for suites.sh. The tests come from the source distributions, the drivers from wheels of the same version.

pip() { "$venv/bin/pip" --disable-pip-version-check "$@" </dev/null; }

# python_source PACKAGE [REQUIREMENT...]: installs the newest PACKAGE and leaves its source in $out/source/PACKAGE.
python_source() {
    local package=$1 dir=$out/source/$1 version
    shift
    [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" || return 1
    pip install -q pytest pytest-timeout "$@" "$package" || return 1
    [ ! -e "$dir" ] || return 0
    version=$(pip show "${package%%[*}" | sed -n 's/^Version: //p')
    # The newest source may be newer than the newest wheel: they must be of one version.
    rm -rf "$out/fetch" && mkdir -p "$out/fetch" "$out/source"
    local name=${package%%[*}
    pip download -q --no-deps --no-binary :all: -d "$out/fetch" "${name%-binary}==$version" || return 1
    mkdir "$dir" && tar -xf "$out"/fetch/*.tar.gz -C "$dir" --strip-components=1
}

# pytested DIR ARGUMENT...: runs pytest there and writes down what each test did.
pytested() {
    local dir=$1 code
    shift
    cd "$dir" || return 1
    bounded "$venv/bin/python" -m pytest -q -p no:cacheprovider --timeout=60 --tb=short --junitxml="$tests.xml" "$@"
    code=$?
    "$venv/bin/python" "$here/suites/junit.py" "$tests.xml" >"$tests"
    rm -f "$tests.xml"
    return $code
}

prepare_psycopg2() { python_source psycopg2-binary; }
suite_psycopg2() {
    export PSYCOPG2_TEST_REPL_DSN=
    pytested "$out/source/psycopg2-binary" tests
}

prepare_asyncpg() {
    python_source asyncpg pytest-asyncio distro uvloop || return 1
    # Only the tests: the driver's own directory would be found before the installed one.
    mkdir -p "$out/source/asyncpg-tests" && cp -r "$out/source/asyncpg/tests" "$out/source/asyncpg-tests/"
}
suite_asyncpg() { pytested "$out/source/asyncpg-tests" tests --deselect tests/test__sourcecode.py; }

prepare_pg8000() { python_source pg8000 pytz pytest-mock pytest-benchmark; }
suite_pg8000() {
    export PGPASSWORD=pw
    # Logins are refused by the test server's rules in these.
    pytested "$out/source/pg8000" test --benchmark-disable --ignore=test/native/auth --ignore=test/dbapi/auth --ignore=test/legacy/auth \
        --ignore=test/test_readme.py
}

prepare_sqlalchemy_psycopg() { python_source SQLAlchemy 'psycopg[binary]' greenlet asyncpg; }
prepare_sqlalchemy_asyncpg() { prepare_sqlalchemy_psycopg; }
sqlalchemy() {
    pytested "$out/source/SQLAlchemy" -p no:warnings --maxfail=100000 --dburi "postgresql+$1://postgres@127.0.0.1:$PGPORT/test" \
        test/dialect/postgresql test/dialect/test_suite.py test/engine/test_transaction.py test/engine/test_execute.py \
        test/sql/test_query.py test/sql/test_insert_exec.py test/orm/test_transaction.py
}
suite_sqlalchemy_psycopg() { sqlalchemy psycopg; }
suite_sqlalchemy_asyncpg() { sqlalchemy asyncpg; }

prepare_django() { python_source Django 'psycopg[binary]' psycopg-pool jinja2 Pillow PyYAML tblib docutils; }
suite_django() {
    cp "$here/suites/django_settings.py" "$out/source/Django/tests/pgherd_settings.py"
    cd "$out/source/Django/tests" || return 1
    bounded "$venv/bin/python" -W ignore runtests.py --settings=pgherd_settings --parallel=1 --noinput -v2 basic queries transactions \
        backends postgres_tests transaction_hooks select_for_update bulk_create lookup schema \
        db_functions expressions aggregation delete get_or_create inspectdb introspection test_utils >"$tests.out" 2>&1
    local code=$?
    cat "$tests.out"
    "$venv/bin/python" "$here/suites/unittests.py" "$tests.out" >"$tests"
    rm -f "$tests.out"
    return $code
}
