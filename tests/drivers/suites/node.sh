# Suites in JavaScript, for suites.sh. node-postgres ships no tests; the last versions of its pool, cursor and stream that do are
# run with the newest driver.

prepare_node() {
    local one name
    mkdir -p "$out/node"
    cd "$out/node" || return 1
    npm install --prefix . --no-audit --no-fund --loglevel=error pg mocha@9 bluebird co lodash expect.js concat-stream JSONStream \
        stream-spec through pg-pool pg-cursor pg-query-stream </dev/null || return 1
    for one in pg-pool@2.0.3 pg-cursor@2.0.0 pg-query-stream@3.0.0; do
        name=${one%@*}
        [ ! -e "$name/test" ] || continue
        npm pack -s "$one" </dev/null && mkdir -p "$name" && tar -xf "$name"-*.tgz -C "$name" --strip-components=1 package/test
        rm -f "$name"-*.tgz
        # These need a package that cannot be installed any more.
        grep -lZ "require('stream-tester')" "$name"/test/*.js | xargs -0r rm
        # Ends everything at the first warning, and the newest driver warns.
        rm -f "$name/test/setup.js"
        # "../" was the package itself.
        echo "module.exports = require('$name')" >"$name/index.js"
    done
}

suite_node() {
    local name
    cd "$out/node" || return 1
    for name in pg-pool pg-cursor pg-query-stream; do
        (cd $name && bounded ../node_modules/.bin/mocha --exit --timeout 20000 --reporter json test/*.js >"$tests.json")
        "$venv/bin/python" - "$name" "$tests.json" >>"$tests" <<'PY'
import json, sys
text = open(sys.argv[2]).read()
report = json.loads(text[text.index("{\n"):])
for kind, result in (("passes", "ok"), ("failures", "FAILED"), ("pending", "skipped")):
    for test in report[kind]:
        print(f"{sys.argv[1]}:{test['fullTitle']}".replace(" ", "_"), result)
        if result == "FAILED":
            print(test["fullTitle"], test["err"].get("stack"), file=sys.stderr)
PY
        rm -f "$tests.json"
    done
}
