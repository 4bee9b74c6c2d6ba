"""What a stopped or deleted sandbox held is free at once, and nobody waits for it."""

import statistics
import time
from pathlib import Path

from live import assert_exact, cgroups_of, place_of
from test_survival import wait_for


def test_a_stopped_sandbox_holds_only_files(server):
    sandbox = server.create()
    server.run(sandbox, "head -c 200M /dev/urandom > /dev/shm/held; echo kept > file")
    files = ("memory.usage_in_bytes", "memory.current")
    candidates = (Path(hierarchy, file) for hierarchy in cgroups_of(place_of(server)) for file in files)
    usage = next(path for path in candidates if path.exists())
    used = int(usage.read_text())
    assert server.client.post(f"/api/sandbox/{sandbox}/stop").status_code == 200
    wait_for(server, sandbox, "stopped")
    # No cgroup, process, namespace, interface, address or loop device is left.
    assert_exact(server)
    assert int(usage.read_text()) < used - (190 << 20)
    assert server.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert server.run(sandbox, "cat file; ls /dev/shm | wc -l") == "kept\n0\n"


def test_nobody_waits_for_a_large_disk_to_go(server):
    """Its blocks are freed in the background: neither the delete nor creates beside it take longer for it."""
    large = server.create(disk=5)
    server.run(large, "head -c 600M /dev/zero > big; sync")
    alone = creates(server)
    began = time.monotonic()
    assert server.client.delete(f"/api/sandbox/{large}").status_code == 200
    assert time.monotonic() - began < 0.1
    beside = creates(server)
    wait_for(server, large, 404)
    print(f"create: {alone * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside")
    assert beside < 3 * alone + 0.02
    assert_exact(server)


def creates(server):
    """The median of some, each deleted again."""
    took = []
    for _ in range(15):
        began = time.monotonic()
        sandbox = server.create()
        took.append(time.monotonic() - began)
        server.client.delete(f"/api/sandbox/{sandbox}")
    return statistics.median(took)
