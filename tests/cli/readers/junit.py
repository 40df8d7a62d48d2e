import sys

import junitparser
from junitparser import xunit2

# The basic reader accepts it too.
assert len(junitparser.JUnitXml.fromfile(sys.argv[1])) == 1
for suite in xunit2.JUnitXml.fromfile(sys.argv[1]):
    print(suite.name, suite.tests, suite.failures, suite.errors, suite.skipped, suite.hostname != "")
    for case in suite:
        told = lambda results: [(type(one).__name__, one.type, one.message) for one in results]
        properties = {p.name: p.value for p in case.properties()}
        print(case.classname, case.name, case.time >= 0, properties["stage"], told(case.result))
        print("again", told(case.rerun_failures()), told(case.flaky_failures()))
        print(repr(case.system_out), repr(case.system_err))
