#!/bin/sh
# Fuzzes each target for so many seconds:  tests/fuzz/run.sh SECONDS [TARGET...]
# Needs a C++ compiler for libFuzzer, and stable Rust only: coverage comes from LLVM's pass, asked for by name.
# A finding ends the run with its input in target/fuzz/found/TARGET-*; the line to repeat it is printed.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:?usage: tests/fuzz/run.sh SECONDS [TARGET...]}
shift
[ $# -gt 0 ] || set -- $(cd "$here/bin" && ls ./*.rs | sed 's|./||; s|\.rs$||') settings console

triple=$(rustc -vV | sed -n 's/^host: //p')
out="$root/target/fuzz"
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage="$coverage -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"

# The settings file and the console have no fuzzer of their own: their twins are run with one seed after another.
twin() {
    cd "$root"
    echo "trying $1 for $seconds s"
    end=$(($(date +%s) + seconds))
    seed=$(date +%s)
    runs=0
    while [ "$runs" -eq 0 ] || [ "$(date +%s)" -lt "$end" ]; do
        PGHERD_FUZZ_SEED=$seed cargo test --quiet --package pgherd-tests --test fuzz "$1" >"$out/$1.log" 2>&1 || {
            cat "$out/$1.log" >&2
            exit 1
        }
        seed=$((seed + 1))
        runs=$((runs + 1))
    done
    echo "  seeds tried: $runs"
}

mkdir -p "$out"
for target in "$@"; do
    case "$target" in
        settings | console)
            twin "$target"
            continue
            ;;
    esac
    # --target keeps the coverage flags away from build scripts and macros.
    RUSTFLAGS="$coverage" cargo build --quiet --release --manifest-path "$here/Cargo.toml" \
        --target "$triple" --target-dir "$out" --bin "$target"
    program="$out/$triple/release/$target"
    mkdir -p "$out/corpus/$target" "$out/found"
    echo "fuzzing $target for $seconds s"
    if ! "$program" -max_total_time="$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$out/found/$target-" \
        "$out/corpus/$target" "$here/seeds/$target" 2>"$out/$target.log"; then
        cat "$out/$target.log" >&2
        echo "$target: found something; repeat with: $program $out/found/$target-<HASH>" >&2
        exit 1
    fi
    sed -n 's/^stat::number_of_executed_units: */  inputs tried: /p; s/^stat::new_units_added: */  new to coverage: /p' \
        "$out/$target.log"
done
