"""Prints NAME RESULT for each test of a JUnit report."""
import sys
from xml.etree import ElementTree

results = {}
for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
    name = f"{case.get('classname')}.{case.get('name')}".replace(" ", "_").replace("\n", "_")
    kinds = {child.tag for child in case}
    result = "FAILED" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "ok"
    # A test may be there twice: once for itself and once for its teardown.
    if results.get(name) != "FAILED":
        results[name] = result
for name, result in sorted(results.items()):
    print(name.encode("ascii", "backslashreplace").decode(), result)
