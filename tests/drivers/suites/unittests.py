"""Prints NAME RESULT for each test of a verbose unittest run."""
import re
import sys

results, name = {}, None
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    begins = re.match(r"(\w+) \(([\w.]+)\)", line)
    if begins:
        name = begins[2] if begins[2].endswith(begins[1]) else f"{begins[2]}.{begins[1]}"
    ends = re.search(r"\.\.\. .*?(ok|skipped|FAIL|ERROR|expected failure)\b", line) or (
        name and re.match(r"(ok|FAIL|ERROR)$", line)
    )
    if name and ends:
        results[name] = {"ok": "ok", "expected failure": "ok", "skipped": "skipped"}.get(ends[1], "FAILED")
        name = None
# What fails in a subtest or while it is taken down is only told at the end.
for kind, test, path in re.findall(r"^(FAIL|ERROR): (\w+) \(([\w.]+)\)", open(sys.argv[1], errors="replace").read(), re.M):
    results[path if path.endswith(test) else f"{path}.{test}"] = "FAILED"
for name, result in sorted(results.items()):
    print(name, result)
