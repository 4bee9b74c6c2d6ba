"""Makes the Markdown table of one run: `report.py last.json > RESULTS.md`."""

import json
import sys

# What is promised, beside where it stands in the results, its unit and the promise.
ROWS = [
    ("create, one after the other, p50", ("create", "loop", "p50_ms"), "ms", "≤ 5"),
    ("create, one after the other, p95", ("create", "loop", "p95_ms"), "ms", "≤ 10"),
    ("`crun run` of the same files, in turn, p50", ("create", "crun_loop", "p50_ms"), "ms", ""),
    ("`podman run` of the same files, in turn, p50", ("create", "podman_loop", "p50_ms"), "ms", ""),
    ("create, one each 50 ms, p50", ("create", "every_50_ms", "p50_ms"), "ms", "≤ 5"),
    ("create, one each 50 ms, p95", ("create", "every_50_ms", "p95_ms"), "ms", "≤ 10"),
    ("`crun run`, one each 50 ms, in turn, p50", ("create", "crun_every_50_ms", "p50_ms"), "ms", ""),
    ("`process/execute` of `true`, p50", ("process", "execute_true", "p50_ms"), "ms", "≤ 3"),
    ("`process/execute` of `true`, p95", ("process", "execute_true", "p95_ms"), "ms", ""),
    ("`process/execute` of `/bin/true`, p50", ("process", "execute_bin_true", "p50_ms"), "ms", ""),
    ("`code-run` of `print(1)`, Python, p50", ("process", "code_run_python", "p50_ms"), "ms", ""),
    ("`code-run` of `console.log(1)`, JavaScript, p50", ("process", "code_run_javascript", "p50_ms"), "ms", ""),
    ('Python SDK `create()` + `exec("echo ready")`, p50', ("sdk", "create_and_exec", "p50_ms"), "ms", "≤ 40"),
    ("Python SDK `create()`, p50", ("sdk", "create", "p50_ms"), "ms", ""),
    ('Python SDK `exec("echo ready")`, p50', ("sdk", "exec", "p50_ms"), "ms", ""),
    ("stop → stopped, p50", ("lifecycle", "stop", "p50_ms"), "ms", "≤ 10"),
    ("start → started, p50", ("lifecycle", "start", "p50_ms"), "ms", "≤ 6"),
    ("delete answered, p50", ("lifecycle", "delete", "p50_ms"), "ms", "≤ 3"),
    ("agent, idle, private memory", ("memory", "agent_private_kib"), "KiB", "≤ 1024"),
    ("upload of 1 GiB", ("transfer", "upload", "mb_per_s"), "MB/s", "≥ 600"),
    ("… the server grew by", ("transfer", "upload", "server_grew_mib"), "MiB", "≤ 16"),
    ("… the agent grew by", ("transfer", "upload", "agent_grew_mib"), "MiB", "≤ 16"),
    ("download of 1 GiB", ("transfer", "download", "mb_per_s"), "MB/s", "≥ 1000"),
    ("… the server grew by", ("transfer", "download", "server_grew_mib"), "MiB", "≤ 16"),
    ("… the agent grew by", ("transfer", "download", "agent_grew_mib"), "MiB", "≤ 16"),
    ("one TCP connection, sandbox → host", ("network", "from_sandbox_mb_per_s"), "MB/s", ""),
    ("the same over a plain veth pair, in turn", ("network", "plain_veth_mb_per_s"), "MB/s", ""),
    ("… the first of the second", ("network", "of_plain_percent"), "%", "≥ 90"),
    ("terminal, echo of a key typed at once, p50", ("toolbox", "terminal", "at_once", "p50_ms"), "ms", "≤ 1.5"),
    ("terminal, echo of a key typed at once, p95", ("toolbox", "terminal", "at_once", "p95_ms"), "ms", ""),
    ("terminal, echo of a key each 20 ms, p50", ("toolbox", "terminal", "every_20_ms", "p50_ms"), "ms", "≤ 1.5"),
    ("terminal, echo of a key each 20 ms, p95", ("toolbox", "terminal", "every_20_ms", "p95_ms"), "ms", ""),
    ("interpreter, `1+1` first in a fresh sandbox, p50", ("toolbox", "interpreter", "first", "p50_ms"), "ms", "≤ 60"),
    ("interpreter, `1+1` first in a fresh sandbox, p95", ("toolbox", "interpreter", "first", "p95_ms"), "ms", ""),
    ("interpreter, `1+1` afterwards, p50", ("toolbox", "interpreter", "next", "p50_ms"), "ms", "≤ 5"),
    ("interpreter, `1+1` afterwards, p95", ("toolbox", "interpreter", "next", "p95_ms"), "ms", ""),
    ("bulk upload of 1,000 small files, p50", ("toolbox", "files", "bulk_1000", "p50_ms"), "ms", "≤ 500"),
    ("find in the content of 100,000 files, p50", ("toolbox", "files", "find_100000", "p50_ms"), "ms", ""),
    ("search by name among 100,000 files, p50", ("toolbox", "files", "search_100000", "p50_ms"), "ms", ""),
    ("create + delete, 8 clients", ("load", "clients_8", "create_and_delete_per_s"), "/s", "≥ 200"),
    ("create + delete, 32 clients", ("load", "clients_32", "create_and_delete_per_s"), "/s", ""),
    ("create with 32 clients, p95", ("load", "clients_32", "create", "p95_ms"), "ms", "≤ 250"),
    ("burst of 100 creates, then `echo` in each, wall", ("load", "burst_100", "wall_ms"), "ms", "≤ 800"),
    ("memory of one idle sandbox", ("memory", "idle", "mib_each"), "MiB", "≤ 1"),
    ("create one more beside the idle ones, p50", ("memory", "idle", "create_one_more", "p50_ms"), "ms", "≤ 9"),
    ("start of a sandbox without the API, p50", ("ballast", "plain_p50_ms"), "ms", ""),
    ("… in a process that holds 1 GiB, in turn, p50", ("ballast", "with_1_gib_p50_ms"), "ms", "unchanged,"),
]


def find(results, path):
    for key in path:
        if not isinstance(results, dict) or results.get(key) is None:
            return None
        results = results[key]
    return results


def main(path):
    with open(path, encoding="utf-8") as file:
        results = json.load(file)
    machine = results["machine"]
    print("# Figures of the last run\n")
    print(
        f"{machine['date']}; {machine['cpu']}, {machine['cores']} cores, {machine['memory']}; Linux {machine['kernel']}."
    )
    print("Made by `bench/run`; the raw results are in [last.json](last.json). The same command drifts by a third")
    print("between minutes on shared machines: compare rows of one run only. `crun` and `podman` make an empty network")
    print("namespace and no agent; their figures hold the start of their own processes.\n")
    print("| what | measured | promised |\n|---|---|---|")
    for name, path, unit, promise in ROWS:
        value = find(results, path)
        if value is not None:
            shown = f"{value:.0f}" if value >= 100 else f"{value:.2f}"
            print(f"| {name} | {shown} {unit} | {f'{promise} {unit}' if promise else ''} |")


main(sys.argv[1])
