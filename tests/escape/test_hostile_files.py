"""File systems of root inside that nobody should wait for, and layers that all sandboxes of a snapshot share."""

import threading
import time
from pathlib import Path

import httpx
import pytest

SILENT = (Path(__file__).parents[1] / "wire/fuse_server.py").read_text()
# Says what it is, then nothing any more.
SILENT = SILENT.replace("        if operation == FORGET:", "        if operation != INIT:")


def run(box, command, timeout=60):
    answer = box.post("/process/execute", json={"command": command, "timeout": timeout})
    assert answer.status_code == 200, answer.text
    return answer.json()


def serve_silently(box, place):
    """Mounts it there, and returns when it is."""
    box.post("/files/upload-v2", params={"path": "/var/tmp/silent.py"}, content=SILENT.encode()).raise_for_status()
    done = run(
        box,
        f"cd /; setsid sudo python3 /var/tmp/silent.py {place} >/var/tmp/said 2>&1 </dev/null & "
        "until grep -q mounted /var/tmp/said; do :; done",
    )
    assert done["exitCode"] == 0, done


@pytest.mark.parametrize("place", ["/home/daytona", "/tmp", "/dev/shm"])
def test_a_file_system_that_never_answers_holds_nobody_up(api, raw_sandbox, toolbox, place):
    """Over a path that the agent uses, for all users. Whoever asks for its files waits, nobody else does. The sandbox ends
    when it is asked to, though threads of its agent wait for a process that would end after it."""
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    if run(box, "test -e /dev/fuse")["exitCode"] != 0:
        pytest.skip("no FUSE in this profile")
    serve_silently(box, place)

    def ask():
        try:
            box.get("/files", params={"path": place}, timeout=2)
        except httpx.TimeoutException:
            pass

    waiting = [threading.Thread(target=ask) for _ in range(40)]
    for thread in waiting:
        thread.start()
    assert box.get("/version", timeout=10).status_code == 200
    assert box.get("/files", params={"path": "/usr"}, timeout=10).status_code == 200
    assert api.get(f"/sandbox/{sandbox['id']}", timeout=10).json()["state"] == "started"
    other = raw_sandbox()
    assert run(toolbox(other), "echo works")["result"] == "works\n"
    for thread in waiting:
        thread.join()
    begun = time.monotonic()
    assert api.post(f"/sandbox/{sandbox['id']}/stop", params={"force": True}).status_code == 200
    while api.get(f"/sandbox/{sandbox['id']}").json()["state"] != "stopped":
        assert time.monotonic() - begun < 15
        time.sleep(0.05)
    assert api.post(f"/sandbox/{sandbox['id']}/start").json()["state"] == "started"
    assert run(box, "echo works")["result"] == "works\n"


def test_delete_of_one_whose_file_system_never_answers(api, raw_sandbox, toolbox):
    sandbox = raw_sandbox()
    box = toolbox(sandbox)
    if run(box, "test -e /dev/fuse")["exitCode"] != 0:
        pytest.skip("no FUSE in this profile")
    run(box, "mkdir /var/tmp/m")
    serve_silently(box, "/var/tmp/m")
    run(box, "setsid cat /var/tmp/m/hello >/dev/null 2>&1 </dev/null &")
    begun = time.monotonic()
    assert api.delete(f"/sandbox/{sandbox['id']}").status_code == 200
    while api.get(f"/sandbox/{sandbox['id']}").status_code != 404:
        assert time.monotonic() - begun < 15
        time.sleep(0.05)


def test_what_one_writes_into_the_shared_layers_nobody_else_sees(raw_sandbox, toolbox):
    look = (
        "cat /etc/hostid /usr/bin/env /etc/passwd /etc/ssl/certs/ca-certificates.crt 2>/dev/null | sha256sum; "
        "stat -c %a /usr"
    )
    first, second = toolbox(raw_sandbox()), toolbox(raw_sandbox())
    before = run(second, look)["result"]
    assert run(first, look)["result"] == before
    changed = run(
        first,
        "sudo sh -c 'echo evil >> /etc/passwd; echo evil > /etc/hostid; echo >> /etc/ssl/certs/ca-certificates.crt; "
        "cp /usr/bin/env /usr/bin/env.new; echo >> /usr/bin/env.new; mv /usr/bin/env.new /usr/bin/env; "
        "rm -rf /usr/share/doc; chmod 777 /usr; sync'",
    )
    assert changed["exitCode"] == 0, changed
    assert run(first, look)["result"] != before
    assert run(second, look)["result"] == before
    assert run(toolbox(raw_sandbox()), look)["result"] == before, "nor does a new one"
