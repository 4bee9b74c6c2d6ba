"""Sandboxes that are made ahead of need: taken by creates, and no burden to anybody."""

import json
import os
import signal
import time
import uuid
from pathlib import Path

import httpx
import pytest
from conftest import Server
from live import assert_exact, cgroups_of, made_ahead, place_of
from test_faults import Faults


@pytest.fixture
def warm(tmp_path):
    """A server that keeps two ready."""
    made = Server(tmp_path / "data")
    made.warm = 2
    yield made
    if made.data_dir.exists():
        made.purge()


def test_creates_take_what_was_made_ahead(warm):
    ready = made_ahead(warm.start(), 2)
    named = warm.create(name="My_Box", env={"WHO": "me"}, labels={"a": "b"}, networkBlockAll=True)
    assert named in ready
    said = warm.run(named, "hostname; cat /etc/hostname; getent hosts my-box | wc -l; echo $WHO; id -un")
    assert said.split() == ["my-box", "my-box", "1", "me", "daytona"]
    assert warm.run(named, "curl -sS -m 2 http://198.51.100.1/ || echo refused").endswith("refused\n")
    unnamed = warm.create()
    assert warm.run(unnamed, "hostname") == f"{unnamed}\n"
    # Each is used once, and others take their places.
    later = made_ahead(warm, 2)
    assert not later & {named, unnamed}
    assert warm.create() in later
    # Those of another kind are made when they are asked for.
    other = warm.create(memory=2)
    assert other not in made_ahead(warm, 2)
    assert warm.run(other, "cat /sys/fs/cgroup/memory.max") == f"{2 << 30}\n"


def test_it_lives_as_any_other(warm):
    ready = made_ahead(warm.start(), 2)
    sandbox = warm.create()
    assert sandbox in ready
    warm.run(sandbox, "echo kept > file; sync")
    warm.kill()
    warm.start()
    assert warm.run(sandbox, "cat file") == "kept\n"
    assert warm.client.post(f"/api/sandbox/{sandbox}/stop").status_code == 200
    while warm.state(sandbox) != "stopped":
        pass
    assert warm.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert warm.run(sandbox, "cat file") == "kept\n"


def test_a_refused_create_leaves_nothing(warm):
    made_ahead(warm.start(), 2)
    first = warm.create(name="taken")
    made_ahead(warm, 2)
    assert warm.client.post("/api/sandbox", json={"name": "taken"}).status_code == 409
    assert warm.client.post("/api/sandbox", json={"user": "nobody-here"}).status_code == 400
    # Others in their places, and no more.
    made_ahead(warm, 2)
    warm.warm = 0
    warm.kill()
    assert_exact(warm.start())
    assert warm.state(first) == "started"


def test_those_of_an_older_snapshot_make_room(warm, tmp_path):
    (lent,) = (path for path in (warm.lender / "snapshots").iterdir() if (path / "manifest.json").exists())
    manifest = json.loads((lent / "manifest.json").read_text())
    warm.lender = tmp_path / "lender"

    def snapshot(**changed):
        folder = warm.lender / "snapshots" / {**manifest, **changed}["id"]
        folder.mkdir(parents=True)
        (folder / "rootfs").symlink_to(lent / "rootfs")
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changed}))

    def stands_on(id):
        return json.loads((warm.data_dir / "sandboxes" / id / "record.json").read_text())["snapshotId"]

    snapshot()
    ready = made_ahead(warm.start(), 2)
    newer = str(uuid.uuid4())
    snapshot(id=newer, createdAt="2999-01-01T00:00:00Z")
    sandbox = warm.create()
    assert sandbox not in ready
    end = time.monotonic() + 15
    while (later := made_ahead(warm, 2)) & ready:
        assert time.monotonic() < end, "those of the older snapshot are still there"
    assert {stands_on(id) for id in [sandbox, *later]} == {newer}


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_they_go_with_their_server(warm, end):
    ready = made_ahead(warm.start(), 2)
    getattr(warm, end)()
    later = made_ahead(warm.start(), 2)
    assert not ready & later
    getattr(warm, end)()
    warm.warm = 0
    assert_exact(warm.start())


@pytest.mark.parametrize("point", ["create.inserted", "boot.confined", "boot.ready", "boot.running", "create.made"])
def test_a_crash_while_one_is_taken(warm, point, tmp_path, monkeypatch):
    faults = Faults(tmp_path / "faults")
    monkeypatch.setenv("SEBRING_FAULTS", str(faults.path))
    made_ahead(warm.start(), 2)
    faults.arm(point)
    with pytest.raises(httpx.HTTPError):
        warm.create()
    warm.process.wait(30)
    warm.assert_alone()
    warm.warm = 0
    assert_exact(warm.start())


def test_the_last_places_are_not_taken(tmp_path):
    server = Server(tmp_path / "data", "--max-running", "3")
    server.warm = 2
    try:
        server.start()
        for _ in range(3):
            server.create()
        made_ahead(server, 0)
        assert server.client.post("/api/sandbox", json={}).status_code == 503
    finally:
        server.purge()


def test_one_whose_agent_was_killed_is_made_anew(warm):
    ready = made_ahead(warm.start(), 2)
    for parent, names in cgroups_of(place_of(warm)).items():
        for name in names:
            for pid in Path(parent, name, "cgroup.procs").read_text().split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
    sandbox = warm.create()
    assert sandbox in ready
    assert warm.run(sandbox, "echo works") == "works\n"
