"""The stream of file changes, through the proxy."""

import json
import time

import httpx
import pytest
from errors import check_toolbox_error


@pytest.fixture
def box(shared, toolbox):
    return toolbox(shared)


class Events:
    """The events of an open stream, one after the other."""

    def __init__(self, response):
        self.lines = response.iter_lines()
        assert self.next() == ("ready", {})

    def next(self):
        event = None
        for line in self.lines:
            if line.startswith("event: "):
                event = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return event, json.loads(line.removeprefix("data: "))
        return None


def watching(box, path, **query):
    return box.stream("GET", "/files/watch", params={"path": path, **query})


def execute(box, command):
    response = box.post("/process/execute", json={"command": command})
    assert response.status_code == 200 and response.json()["exitCode"] == 0, response.text
    return response.json()["result"]


def threads(box):
    """Of the sandbox's agent: each stream is one."""
    return int(execute(box, "awk '/^Threads:/ {print $2}' /proc/1/status"))


def test_changes_arrive_as_they_happen(box):
    home = execute(box, "mkdir -p watched/deep && pwd").strip()
    with watching(box, "watched", recursive="true") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        events = Events(response)
        execute(box, "echo x > watched/deep/a")
        path = f"{home}/watched/deep/a"
        assert events.next() == ("create", {"path": path, "type": "file"})
        assert events.next() == ("modify", {"path": path, "type": "file"})
        execute(box, "mv watched/deep watched/flat")
        moved = {"path": f"{home}/watched/flat", "from": f"{home}/watched/deep", "type": "directory"}
        assert events.next() == ("move", moved)
        assert box.post("/files/upload-v2?path=watched/new/b", content=b"").status_code == 200
        assert events.next() == ("create", {"path": f"{home}/watched/new", "type": "directory"})
        assert events.next() == ("create", {"path": f"{home}/watched/new/b", "type": "file"})
        execute(box, "rm -r watched")
        last = [("delete", {"path": f"{home}/watched", "type": "directory"})]
        while event := events.next():
            assert event[0] == "delete", event
            last = [event]
        assert last == [("delete", {"path": f"{home}/watched", "type": "directory"})]


def test_ends_with_its_client(box):
    execute(box, "mkdir -p w")
    with httpx.Client(base_url=box.base_url, headers=box.headers, timeout=30, trust_env=False) as client:
        opened = [
            client.send(client.build_request("GET", "/files/watch", params={"path": "w"}), stream=True)
            for _ in range(12)
        ]
        assert {response.status_code for response in opened} == {200}
        assert threads(box) > 12
    until_streams_end(box)


def until_streams_end(box):
    end = time.monotonic() + 5
    while (left := threads(box)) > 1:
        assert time.monotonic() < end, f"{left} threads are left"


def test_limit(box):
    with httpx.Client(base_url=box.base_url, headers=box.headers, timeout=30, trust_env=False) as client:
        opened = [
            client.send(client.build_request("GET", "/files/watch", params={"path": "/tmp"}), stream=True)
            for _ in range(16)
        ]
        assert {response.status_code for response in opened} == {200}
        check_toolbox_error(box.get("/files/watch?path=/tmp"), 503)
        for response in opened:
            response.close()
    until_streams_end(box)


@pytest.mark.parametrize(
    "query,status,code",
    [
        ("path=missing", 404, "FILE_NOT_FOUND"),
        ("path=/root", 403, "FILE_ACCESS_DENIED"),
        ("path=/tmp&recursive=perhaps", 400, None),
        ("path=%00", 400, None),
    ],
)
def test_refusals(box, query, status, code):
    check_toolbox_error(box.get(f"/files/watch?{query}"), status, code)


def test_no_desktop(box):
    for method, path in [
        ("POST", "/computeruse/start"),
        ("GET", "/computeruse/status"),
        ("GET", "/computeruse/screenshot"),
    ]:
        check_toolbox_error(box.request(method, path), 503, "SERVICE_UNAVAILABLE")
