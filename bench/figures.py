"""What `bench/run` measures and what is promised of it: the one list that tables are made from and runs are checked by."""

from dataclasses import dataclass

# By how much two figures that should be the same may differ: they are measured in turn, on shared machines.
ALIKE = 1.1


@dataclass(frozen=True)
class Figure:
    name: str
    # Where it stands in the results.
    path: tuple
    unit: str
    # The promises: a bound, another figure of the same run that it stays below, or one that it does not exceed.
    at_most: float | None = None
    at_least: float | None = None
    below: tuple | None = None
    like: tuple | None = None

    @property
    def is_promised(self):
        return any(promise is not None for promise in (self.at_most, self.at_least, self.below, self.like))

    @property
    def promise(self):
        """In words, or nothing."""
        words = []
        if self.at_most is not None:
            words.append(f"≤ {self.at_most:g} {self.unit}")
        if self.at_least is not None:
            words.append(f"≥ {self.at_least:g} {self.unit}")
        if self.below is not None:
            words.append("below `crun`")
        if self.like is not None:
            words.append("as without")
        return ", ".join(words)

    def value(self, results):
        """None when this run did not measure it."""
        return find(results, self.path)

    def misses(self, results):
        """Each promise that the run did not keep, in words; a promised figure that is missing keeps none."""
        value = self.value(results)
        if value is None:
            return ["was not measured"] if self.is_promised else []
        found = []
        if self.at_most is not None and value > self.at_most:
            found.append(f"is {shown(value)}, promised at most {self.at_most:g} {self.unit}")
        if self.at_least is not None and value < self.at_least:
            found.append(f"is {shown(value)}, promised at least {self.at_least:g} {self.unit}")
        for other, factor, what in ((self.below, 1, "crun"), (self.like, ALIKE, "the one that it should be like")):
            bound = find(results, other) if other is not None else None
            if other is not None and bound is None:
                found.append(f"could not be compared: {what} was not measured")
            elif bound is not None and value > bound * factor:
                found.append(f"is {shown(value)} {self.unit} where {what} is {shown(bound)}")
        return found


def find(results, path):
    for key in path:
        if not isinstance(results, dict) or results.get(key) is None:
            return None
        results = results[key]
    return results


def shown(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


FIGURES = [
    Figure("create, one after the other, p50", ("create", "loop", "p50_ms"), "ms", at_most=5, below=("create", "crun_loop", "p50_ms")),
    Figure("create, one after the other, p95", ("create", "loop", "p95_ms"), "ms", at_most=10),
    Figure("`crun run` of the same files, in turn, p50", ("create", "crun_loop", "p50_ms"), "ms"),
    Figure("`podman run` of the same files, in turn, p50", ("create", "podman_loop", "p50_ms"), "ms"),
    Figure("create, one each 50 ms, p50", ("create", "every_50_ms", "p50_ms"), "ms", at_most=5, below=("create", "crun_every_50_ms", "p50_ms")),
    Figure("create, one each 50 ms, p95", ("create", "every_50_ms", "p95_ms"), "ms", at_most=10),
    Figure("`crun run`, one each 50 ms, in turn, p50", ("create", "crun_every_50_ms", "p50_ms"), "ms"),
    Figure("`process/execute` of `true`, p50", ("process", "execute_true", "p50_ms"), "ms", at_most=3),
    Figure("`process/execute` of `true`, p95", ("process", "execute_true", "p95_ms"), "ms"),
    Figure("`process/execute` of `/bin/true`, p50", ("process", "execute_bin_true", "p50_ms"), "ms"),
    Figure("`code-run` of `print(1)`, Python, p50", ("process", "code_run_python", "p50_ms"), "ms"),
    Figure("`code-run` of `console.log(1)`, JavaScript, p50", ("process", "code_run_javascript", "p50_ms"), "ms"),
    Figure('Python SDK `create()` + `exec("echo ready")`, p50', ("sdk", "create_and_exec", "p50_ms"), "ms", at_most=40),
    Figure("Python SDK `create()`, p50", ("sdk", "create", "p50_ms"), "ms"),
    Figure('Python SDK `exec("echo ready")`, p50', ("sdk", "exec", "p50_ms"), "ms"),
    Figure("stop → stopped, p50", ("lifecycle", "stop", "p50_ms"), "ms", at_most=10),
    Figure("start → started, p50", ("lifecycle", "start", "p50_ms"), "ms", at_most=6),
    Figure("delete answered, p50", ("lifecycle", "delete", "p50_ms"), "ms", at_most=3),
    Figure("agent, idle, private memory", ("memory", "agent_private_kib"), "KiB", at_most=1024),
    Figure("upload of 1 GiB", ("transfer", "upload", "mb_per_s"), "MB/s", at_least=600),
    Figure("upload of 1 GiB: the server grew by", ("transfer", "upload", "server_grew_mib"), "MiB", at_most=16),
    Figure("upload of 1 GiB: the agent grew by", ("transfer", "upload", "agent_grew_mib"), "MiB", at_most=16),
    Figure("download of 1 GiB", ("transfer", "download", "mb_per_s"), "MB/s", at_least=1000),
    Figure("download of 1 GiB: the server grew by", ("transfer", "download", "server_grew_mib"), "MiB", at_most=16),
    Figure("download of 1 GiB: the agent grew by", ("transfer", "download", "agent_grew_mib"), "MiB", at_most=16),
    Figure("one TCP connection, sandbox → host", ("network", "from_sandbox_mb_per_s"), "MB/s"),
    Figure("the same over a plain veth pair, in turn", ("network", "plain_veth_mb_per_s"), "MB/s"),
    Figure("one TCP connection, sandbox → host, of a plain veth pair", ("network", "of_plain_percent"), "%", at_least=90),
    Figure("terminal, echo of a key typed at once, p50", ("toolbox", "terminal", "at_once", "p50_ms"), "ms", at_most=1.5),
    Figure("terminal, echo of a key typed at once, p95", ("toolbox", "terminal", "at_once", "p95_ms"), "ms"),
    Figure("terminal, echo of a key each 20 ms, p50", ("toolbox", "terminal", "every_20_ms", "p50_ms"), "ms", at_most=1.5),
    Figure("terminal, echo of a key each 20 ms, p95", ("toolbox", "terminal", "every_20_ms", "p95_ms"), "ms"),
    Figure("interpreter, `1+1` first in a fresh sandbox, p50", ("toolbox", "interpreter", "first", "p50_ms"), "ms", at_most=60),
    Figure("interpreter, `1+1` first in a fresh sandbox, p95", ("toolbox", "interpreter", "first", "p95_ms"), "ms"),
    Figure("interpreter, `1+1` afterwards, p50", ("toolbox", "interpreter", "next", "p50_ms"), "ms", at_most=5),
    Figure("interpreter, `1+1` afterwards, p95", ("toolbox", "interpreter", "next", "p95_ms"), "ms"),
    Figure("bulk upload of 1,000 small files, p50", ("toolbox", "files", "bulk_1000", "p50_ms"), "ms", at_most=500),
    Figure("find in the content of 100,000 files, p50", ("toolbox", "files", "find_100000", "p50_ms"), "ms"),
    Figure("search by name among 100,000 files, p50", ("toolbox", "files", "search_100000", "p50_ms"), "ms"),
    Figure("create + delete, 8 clients", ("load", "clients_8", "create_and_delete_per_s"), "/s", at_least=200),
    Figure("create + delete, 32 clients", ("load", "clients_32", "create_and_delete_per_s"), "/s"),
    Figure("create with 32 clients, p95", ("load", "clients_32", "create", "p95_ms"), "ms", at_most=250),
    Figure("burst of 100 creates, then `echo` in each, wall", ("load", "burst_100", "wall_ms"), "ms", at_most=800),
    Figure("memory of one idle sandbox", ("memory", "idle", "mib_each"), "MiB", at_most=1),
    Figure("create one more beside the idle ones, p50", ("memory", "idle", "create_one_more", "p50_ms"), "ms", at_most=9),
    Figure("start of a sandbox without the API, p50", ("ballast", "plain_p50_ms"), "ms"),
    Figure(
        "start in a process that holds 1 GiB, in turn, p50",
        ("ballast", "with_1_gib_p50_ms"),
        "ms",
        like=("ballast", "plain_p50_ms"),
    ),
]
