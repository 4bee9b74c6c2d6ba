"""Kills the server at every step of everything it does, by the points that are compiled into it (`fault/src/point.rs`).

Every run makes sure that there is an operation for each point, and tries some, chosen anew each time. With
`SEBRING_TEST_FAULTS=points` each is tried in the first operation that passes it; with `all` every operation is tried at
every point it passes.
"""

import itertools
import os
import random
import re
import signal
import subprocess
import time

import httpx
import pytest
from conftest import Server
from live import assert_exact, listed, made_ahead
from test_survival import init_of, wait_for

SCOPE = os.environ.get("SEBRING_TEST_FAULTS", "some")
# Of those that could be tried, by default.
SHARE = 0.12
COUNTER = (
    "nohup bash -c 'while :; do n=$((n+1)); echo $n > next; mv next counter; sleep 0.02; done' >/dev/null 2>&1 & "
    "until [ -s counter ]; do :; done"
)


class Faults:
    """The directory that tells a server where to end."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def arm(self, point):
        (self.path / "armed").write_text(point)

    def disarm(self):
        (self.path / "armed").unlink(missing_ok=True)

    def seen(self):
        """Like `passed`, which still gets them."""
        file = self.path / "passed"
        return file.read_text().split() if file.exists() else []

    def passed(self):
        """The points since the last time, in their order."""
        file = self.path / "passed"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return list(dict.fromkeys(text.split()))


@pytest.fixture
def faults(tmp_path, monkeypatch):
    made = Faults(tmp_path / "faults")
    monkeypatch.setenv("SEBRING_FAULTS", str(made.path))
    return made


class Operation:
    """One thing that a server does to a sandbox; `states` are those that a crash in it may end in.

    `told`: a sandbox that is stopped then says why.
    """

    def __init__(self, prepare, run, states, check=lambda server, id: None, told=False):
        self.prepare, self.run, self.states, self.check, self.told = prepare, run, states, check, told


def post(server, id, what, **body):
    return server.client.post(f"/api/sandbox/{id}/{what}", json=body)


def started(server, **body):
    id = server.create(**body)
    server.run(id, "echo kept > file; sync")
    return id


def stopped(server, **body):
    id = started(server, **body)
    assert post(server, id, "stop").status_code == 200
    wait_for(server, id, "stopped")
    return id


def create_linked(server, parent):
    create(server, linkedSandbox=parent, autoDeleteInterval=0)


def parent(server):
    """Of a child that runs, and ends with it."""
    made = started(server)
    create_linked(server, made)
    return made


def confined_to_names(server):
    return started(server, domainAllowList="one.test")


def unstartable(server):
    """Its user goes away before it is started again."""
    id = started(server)
    server.run(id, "sudo sed -i /^daytona:/d /etc/passwd")
    post(server, id, "stop")
    wait_for(server, id, "stopped")
    return id


def delete(server, id):
    server.client.delete(f"/api/sandbox/{id}")
    wait_for(server, id, 404)


def stop(server, id):
    post(server, id, "stop")
    wait_for(server, id, "stopped")


def end(server, id):
    os.kill(init_of(server, id), signal.SIGKILL)
    wait_for(server, id, "stopped")


def create(server, **body):
    server.client.post("/api/sandbox", json=body)


def restart(server, id):
    server.kill()
    server.start()


def stop_for_good(server, id):
    """Until the disk, which is kept for a start that follows at once, is given away."""
    stop(server, id)
    end_of = time.monotonic() + 10
    while "disk.closed" not in server.faults.seen() and server.process.poll() is None:
        assert time.monotonic() < end_of
        time.sleep(0.05)


def stop_and_start(server, id):
    stop(server, id)
    assert post(server, id, "start").status_code == 200


def half_made(server):
    """A create that is cut off, for the next start to clean up."""
    server.faults.arm("boot.ready")
    with pytest.raises(httpx.HTTPError):
        server.client.post("/api/sandbox", json={})
    server.process.wait()
    return None


def resize(server, id, **sizes):
    assert post(server, id, "resize", **sizes).status_code == 200


def check_sizes(server, id):
    """What is in force is what the API says."""
    item = server.client.get(f"/api/sandbox/{id}").json()
    if item["state"] == "stopped":
        assert post(server, id, "start").status_code == 200
    quota, memory, blocks = server.run(
        id, "cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/memory.max; df -k --output=size / | tail -1"
    ).split()
    assert (int(quota) // 100_000, int(memory) >> 30) == (item["cpu"], item["memory"])
    assert item["disk"] * 0.9 < int(blocks) / (1 << 20) <= item["disk"]
    assert server.run(id, "cat file") == "kept\n"


def check_kept(server, id):
    """Its files are there, also when it must be started for that."""
    if server.state(id) == "stopped":
        assert post(server, id, "start").status_code == 200
    assert server.run(id, "cat file") == "kept\n"


def check_linked(server, id):
    """A child finds its parent, by id; the child has no file of ours."""
    parent = server.client.get(f"/api/sandbox/{id}").json().get("linkedSandboxId")
    if parent:
        assert server.run(id, f"getent hosts {parent} >/dev/null && echo found") == "found\n"
    else:
        check_kept(server, id)


SIZES = itertools.count(4)
OPERATIONS = {
    "create": Operation(lambda server: None, lambda server, _: create(server), {"started"}),
    "create with rules": Operation(
        lambda server: None, lambda server, _: create(server, networkBlockAll=True), {"started"}
    ),
    "create of another size": Operation(
        lambda server: None, lambda server, _: create(server, disk=next(SIZES)), {"started"}
    ),
    "create that fails": Operation(lambda server: None, lambda server, _: create(server, user="nobody-here"), set()),
    "stop": Operation(started, stop, {"stopped"}, check_kept),
    "start": Operation(
        stopped, lambda server, id: post(server, id, "start"), {"started", "stopped"}, check_kept, told=True
    ),
    "start that fails": Operation(unstartable, lambda server, id: post(server, id, "start"), {"stopped"}, told=True),
    "end on its own": Operation(started, end, {"stopped"}, check_kept, told=True),
    "resize while it runs": Operation(
        started, lambda server, id: resize(server, id, memory=2), {"started"}, check_sizes
    ),
    "resize while it is stopped": Operation(
        stopped, lambda server, id: resize(server, id, memory=2, disk=5), {"stopped"}, check_sizes
    ),
    "change of the network": Operation(
        started,
        lambda server, id: post(server, id, "network-settings", networkBlockAll=True),
        {"started"},
        check_kept,
    ),
    "change of the names": Operation(
        confined_to_names,
        lambda server, id: post(server, id, "network-settings", domainAllowList="two.test"),
        {"started"},
        check_kept,
    ),
    "first rule by name": Operation(
        started,
        lambda server, id: post(server, id, "network-settings", domainAllowList="two.test"),
        {"started"},
        check_kept,
    ),
    "create of a linked one": Operation(
        started, create_linked, {"started"}, check_linked
    ),
    "delete of a parent": Operation(parent, delete, set()),
    "stop for good": Operation(started, stop_for_good, {"stopped"}, check_kept),
    "stop and start": Operation(started, stop_and_start, {"started", "stopped"}, check_kept),
    "delete": Operation(lambda server: started(server, networkBlockAll=True), delete, set()),
    "delete of a stopped one": Operation(stopped, delete, set()),
    "restart": Operation(started, restart, {"started"}, check_kept),
    "restart after a crash": Operation(half_made, lambda server, _: server.start(), set()),
}


@pytest.mark.timeout(900)
def test_killed_at_every_step(tmp_path, faults):
    points = subprocess.run(
        [os.environ["SEBRING_BIN"], "runner", "faults"], capture_output=True, text=True, check=True
    ).stdout.split()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    random.seed(seed)
    seen = first_start(tmp_path, faults)
    server = Server(tmp_path / "data").start()
    server.faults = faults
    try:
        witness = server.create(name="witness")
        server.run(witness, COUNTER)
        before = identity(server, witness)
        for name, operation in OPERATIONS.items():
            for point in points_of(server, faults, operation):
                # What is prepared ahead follows from creates; at other times it is late by chance.
                late = re.match("slot|spare", point) and not name.startswith("create")
                wanted = not late if SCOPE == "all" else point not in seen and chosen()
                seen.add(point)
                if wanted:
                    print(f"{name}: {point}")
                    kill_at(server, faults, operation, point)
                    assert identity(server, witness) == before, "the other sandbox goes on"
        assert sorted(set(points) - seen) == [], "points that no operation passes"
        assert sorted(seen - set(points)) == []
    finally:
        faults.disarm()
        if server.process.poll() is not None:
            server.start()
        server.purge()


def chosen(_=None):
    return SCOPE != "some" or random.random() < SHARE


def first_start(tmp_path, faults):
    """Ends a server at each step of what it does in an empty directory only, the first create included."""
    certificates = tmp_path / "certificates.pem"
    certificates.write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    server = Server(tmp_path / "first", "--ca-bundle", certificates)
    server.warm = 1
    made_ahead(server.start(), 1)
    server.create()
    server.purge()
    points = [point for point in faults.passed() if re.match(r"host\.claimed|pool|agent|template|layer|warm", point)]
    for point in filter(chosen, points):
        print(f"first start: {point}")
        server.data_dir.mkdir(exist_ok=True)
        faults.arm(point)
        try:
            server.warm = 1
            start_and_die(server)
            server.warm = 0
            server.start()
            assert server.run(server.create(), "echo works") == "works\n"
            assert_exact(server)
        finally:
            server.purge()
    return set(points)


def start_and_die(server):
    """It may have said before that it serves: some steps are taken by threads of their own."""
    try:
        server.start()
        server.create()
    except (AssertionError, httpx.HTTPError):
        pass
    server.process.wait(30)
    server.assert_alone()


def points_of(server, faults, operation):
    """Does it once without a crash, and sees what it passes."""
    id = operation.prepare(server)
    faults.disarm()
    faults.passed()
    operation.run(server, id)
    assert_exact(server)
    passed = faults.passed()
    tidy(server)
    return passed


def kill_at(server, faults, operation, point):
    known = set(listed(server))
    id = operation.prepare(server)
    faults.arm(point)
    try:
        operation.run(server, id)
    except (httpx.HTTPError, AssertionError):
        pass
    server.process.wait(30)
    server.assert_alone()
    server.start()
    assert_exact(server)
    left = {found: item for found, item in listed(server).items() if found not in known}
    for found, item in left.items():
        assert item["state"] in operation.states, item
        if item["state"] == "stopped" and operation.told:
            assert item["errorReason"], item
        operation.check(server, found)
        if server.state(found) == "started":
            assert server.run(found, "echo works") == "works\n"
    if id is not None and operation.states:
        assert id in left, "a sandbox that nobody deleted is there"
    tidy(server)


def tidy(server):
    for id, item in listed(server).items():
        if item["name"] != "witness":
            server.client.delete(f"/api/sandbox/{id}")
            wait_for(server, id, 404)


def identity(server, id):
    """The same processes, still at work."""
    wait = "a=$(cat counter); until [ $(cat counter) != $a ]; do :; done"
    return server.run(id, f"{wait}; readlink /proc/1/ns/pid; pgrep -o bash")
