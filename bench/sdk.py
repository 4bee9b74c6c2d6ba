"""The first thing that a user of the Python SDK does: `create()` and one `exec`. Prints milliseconds as JSON."""

import json
import statistics
import sys
import time

from daytona import Daytona


def main(turns):
    daytona = Daytona()
    create, execute, both = [], [], []
    for turn in range(turns + 5):
        began = time.perf_counter()
        sandbox = daytona.create()
        made = time.perf_counter()
        answer = sandbox.process.exec("echo ready")
        done = time.perf_counter()
        assert answer.result == "ready\n", answer
        sandbox.delete()
        if turn >= 5:  # the first ones pay for connections and imports
            create.append((made - began) * 1e3)
            execute.append((done - made) * 1e3)
            both.append((done - began) * 1e3)
    print(json.dumps({"create": summary(create), "exec": summary(execute), "create_and_exec": summary(both)}))


def summary(values):
    values.sort()
    return {
        "n": len(values),
        "p50_ms": round(statistics.median(values), 3),
        "p95_ms": round(values[len(values) * 95 // 100], 3),
        "min_ms": round(values[0], 3),
        "max_ms": round(values[-1], 3),
    }


main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
