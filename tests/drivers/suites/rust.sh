# Suites in Rust, for suites.sh: a crate's file has its tests in it.

# crate_source NAME: leaves the newest NAME in $out/source/NAME, a workspace of its own, with its tests compiled.
crate_source() {
    local dir=$out/source/$1 manifest
    if [ ! -e "$dir" ]; then
        rm -rf "$out/fetch" && mkdir -p "$out/fetch/src" "$out/source"
        cd "$out/fetch" && : >src/lib.rs &&
            printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s = "*"\n' "$1" \
                >Cargo.toml
        manifest=$(cargo metadata --format-version 1 | "$venv/bin/python" -c '
import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == sys.argv[1]))' "$1") || return 1
        cp -r "$(dirname "$manifest")" "$dir" && printf '\n[workspace]\n' >>"$dir/Cargo.toml"
        # The port is written into its tests: keep the place.
        grep -rlZ 5433 "$dir/src" "$dir/tests" 2>/dev/null | xargs -0r sed -i.port 's/5433/5433/g'
    fi
    cd "$dir" && CARGO_TARGET_DIR=$out/rust cargo test --no-run ${2:-}
}

# crate_tested NAME ARGUMENT...: runs its tests against $PGPORT.
crate_tested() {
    cd "$out/source/$1" || return 1
    shift
    local file
    find . -name '*.port' | while read -r file; do sed "s/5433/$PGPORT/g" "$file" >"${file%.port}"; done
    CARGO_TARGET_DIR=$out/rust cargo test --no-run "$@"
    CARGO_TARGET_DIR=$out/rust bounded cargo test --no-fail-fast "$@" >"$tests.out" 2>&1
    local code=$?
    cat "$tests.out"
    sed -nE 's/^test ([^ ]+)( - should panic)? \.\.\. (ok|FAILED|ignored).*/\1 \3/p' "$tests.out" | sed 's/ignored/skipped/' |
        sort -u >"$tests"
    rm -f "$tests.out"
    return $code
}

tokio_features="--features=with-serde_json-1,with-uuid-1,with-chrono-0_4,array-impls --test test"
prepare_tokio_postgres() {
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return 1
    crate_source tokio-postgres "$tokio_features"
}
# shellcheck disable=SC2086 # words
suite_tokio_postgres() { crate_tested tokio-postgres $tokio_features; }

prepare_postgres() {
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv" || return 1
    crate_source postgres --lib
}
suite_postgres() { crate_tested postgres --lib; }
