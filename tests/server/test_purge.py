"""A purge, and a delete, give back everything that was taken from the machine."""

import os
import time

from inventory import count_by_kind, grown, inventory, left_over


def test_purge(before, server):
    sandboxes = [server.create() for _ in range(5)]
    server.run(sandboxes[0], "nohup sleep 1000 >/dev/null 2>&1 & dd if=/dev/zero of=big bs=1M count=100 2>/dev/null")
    server.client.post(f"/api/sandbox/{sandboxes[1]}/stop")
    server.purge()
    assert left_over(before) == []
    assert not server.data_dir.exists()


def test_purge_after_a_crash(before, server):
    """The server is killed while sandboxes run; nothing but their records tells what there is."""
    for _ in range(3):
        server.create()
    server.kill()
    server.purge()
    assert left_over(before) == []
    assert not server.data_dir.exists()


def test_purge_keeps_borrowed_snapshots(server):
    """They belong to another server's data directory."""
    before = sorted(server.lender.glob("snapshots/*/manifest.json"))
    server.create()
    server.purge()
    assert sorted(server.lender.glob("snapshots/*/manifest.json")) == before != []


def test_deleted_sandboxes_leave_nothing(server):
    """One sandbox first, so that what the server itself keeps ready is there."""
    first = server.create()
    server.client.delete(f"/api/sandbox/{first}")
    before, end = inventory(), time.monotonic() + 10
    time.sleep(0.5)
    while (now := inventory()) != before:
        assert time.monotonic() < end, "the host comes to no rest"
        before = now
        time.sleep(0.5)
    files = files_of(server)
    sandboxes = [server.create() for _ in range(10)]
    server.client.post(f"/api/sandbox/{sandboxes[0]}/stop")
    for sandbox in sandboxes:
        assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    end = time.monotonic() + 10
    while files_of(server) - files and time.monotonic() < end:
        time.sleep(0.1)
    assert files_of(server) - files == set()
    # Their directories are kept for others, with nothing of theirs.
    for record in server.data_dir.glob("blanks/*/record.*"):
        assert record.read_text() == ""
    counts = count_by_kind(before)
    while (more := grown(counts)) and time.monotonic() < end:
        time.sleep(0.1)
    assert more == {}


def files_of(server):
    """Directories may go away while they are walked, which `os.walk` takes as it is."""
    return {
        os.path.join(directory, name)
        for directory, folders, names in os.walk(server.data_dir)
        for name in folders + names
        if not name.endswith(".log") and not directory.startswith(str(server.data_dir / "blanks"))
    }
