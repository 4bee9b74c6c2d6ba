"""Whatever runs out: the answer says so and what to do, nothing is lost, and what is given back is used again."""

import re
import time
from pathlib import Path

import pytest
from conftest import Server
from live import assert_exact, cgroups_of, place_of


@pytest.fixture
def make(tmp_path):
    """Starts a server with flags or limits of its own."""
    made = Server(tmp_path / "data")

    def start(*options, **limits):
        made.options, made.limits = options, limits
        return made.start()

    yield start
    made.purge()


def fill(server, most):
    """Creates until it is refused; answers the sandboxes and the refusal."""
    sandboxes = []
    while len(sandboxes) < most:
        answer = server.client.post("/api/sandbox", json={})
        if answer.status_code != 200:
            return sandboxes, answer
        sandboxes.append(answer.json()["id"])
    raise AssertionError(f"{most} sandboxes, and no end")


def refused(answer, pattern):
    assert answer.status_code == 503, answer.text
    body = answer.json()
    assert re.search(pattern, body["message"]), body
    assert body["code"] == "RUNNER_EXHAUSTED"


def goes_on(server, sandboxes):
    """After the refusal everything works, and what one gives back the next one gets."""
    for sandbox in sandboxes[:3]:
        assert server.run(sandbox, "echo fine") == "fine\n"
    assert_exact(server)
    assert server.client.delete(f"/api/sandbox/{sandboxes[0]}").status_code == 200
    created(server)
    assert_exact(server)


def created(server):
    end = time.monotonic() + 20
    while (answer := server.client.post("/api/sandbox", json={})).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.05)
    return answer.json()["id"]


def test_addresses_and_user_ids(make):
    server = make("--max-running", "3")
    sandboxes, answer = fill(server, 4)
    assert len(sandboxes) == 3
    refused(answer, "all 3 places .* are taken: stop or delete some")
    # A stopped one gives its place to another, and has to wait for one itself.
    assert server.client.post(f"/api/sandbox/{sandboxes[0]}/stop").status_code == 200
    other = created(server)
    refused(server.client.post(f"/api/sandbox/{sandboxes[0]}/start"), "all 3 places")
    assert server.state(sandboxes[0]) == "stopped"
    assert server.client.delete(f"/api/sandbox/{other}").status_code == 200
    end = time.monotonic() + 20
    while (answer := server.client.post(f"/api/sandbox/{sandboxes[0]}/start")).status_code != 200:
        assert time.monotonic() < end, answer.text
    # They count over a restart.
    server.kill()
    server.start()
    refused(server.client.post("/api/sandbox", json={}), "all 3 places")
    goes_on(server, sandboxes)


def test_descriptors(make):
    server = make(RLIMIT_NOFILE=256)
    sandboxes, answer = fill(server, 200)
    refused(answer, "nearly all of the 256 descriptors .* stop or delete sandboxes, or start it with a higher limit")
    assert len(sandboxes) > 5
    goes_on(server, sandboxes)


@pytest.mark.parametrize("controller", ["pids", "memory"])
def test_of_the_host(make, controller):
    """What all sandboxes may have together is limited by the cgroup above them, as the host's own limit would.

    Out of memory the kernel chooses what to end, which may be another sandbox: that one says why it is stopped.
    """
    server = make()
    first = created(server)
    files = {"pids": ["pids.max"], "memory": ["memory.limit_in_bytes", "memory.max"]}[controller]
    limit = next(
        path
        for hierarchy in cgroups_of(place_of(server))
        for path in (Path(hierarchy, file) for file in files)
        if path.exists()
    )
    usage = {"pids": "pids.current", "memory": "memory.usage_in_bytes" if "limit" in limit.name else "memory.current"}
    before = limit.read_text()
    try:
        if controller == "pids":
            limit.write_text(str(int((limit.parent / usage[controller]).read_text()) + 1))
        else:
            squeeze(limit, limit.parent / usage[controller])
        _, answer = fill(server, 40)
        refused(answer, "out of resources|memory ran out")
    finally:
        # Version 1 writes -1 for none.
        limit.write_text("-1" if controller == "memory" and "limit" in limit.name else before)
    assert_exact(server)
    if controller == "pids":
        assert server.run(first, "echo fine") == "fine\n"
    assert server.run(created(server), "echo fine") == "fine\n"
    assert_exact(server)


def squeeze(limit, usage):
    """As low as the kernel lets it be, which takes the cache away first. Version 2 would end processes instead."""
    if limit.name == "memory.max":
        limit.write_text(str(int(usage.read_text()) + (1 << 20)))
        return
    try:
        while True:
            limit.write_text(str(int(usage.read_text()) * 9 // 10))
    except OSError:
        pass


def test_the_library_shows_it(make):
    """The message reaches who uses an SDK."""
    from daytona import Daytona, DaytonaConfig, DaytonaError

    server = make("--max-running", "1")
    created(server)
    client = Daytona(DaytonaConfig(api_key=server.key, api_url=f"http://127.0.0.1:{server.port}/api"))
    with pytest.raises(DaytonaError, match="all 1 places for running sandboxes of this runner are taken"):
        client.create()

