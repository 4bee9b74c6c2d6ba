"""Sandboxes outlive the server: a crash, a restart and an upgrade end no process."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import Server

COUNTER = (
    "nohup bash -c 'n=0; while :; do n=$((n+1)); echo $n > next; mv next counter; sleep 0.02; done' >/dev/null 2>&1 & "
    "until [ -s counter ]; do :; done; echo $!"
)


def boot(server, sandbox_id):
    """What changes when a sandbox is started anew."""
    return server.run(sandbox_id, "stat -c %Y.%i /proc/1; cut -d' ' -f22 /proc/1/stat; readlink /proc/self/ns/pid").split()


def assert_alive(server, sandbox_id, pid, before):
    assert server.state(sandbox_id) == "started"
    assert boot(server, sandbox_id) == before, "it is the same sandbox, not one started again"
    counts = server.run(
        sandbox_id,
        f"kill -0 {pid} && a=$(cat counter); for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; b=$(cat counter); done; echo $a $b",
    ).split()
    assert int(counts[1]) > int(counts[0]), "its processes go on"


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_running_sandboxes_go_on(server, end):
    sandboxes = [server.create() for _ in range(3)]
    counters = {sandbox: server.run(sandbox, COUNTER).strip() for sandbox in sandboxes}
    boots = {sandbox: boot(server, sandbox) for sandbox in sandboxes}
    for _ in range(2):
        getattr(server, end)()
        server.start()
        for sandbox in sandboxes:
            assert_alive(server, sandbox, counters[sandbox], boots[sandbox])


def test_the_agent_is_found_under_whatever_was_mounted_over_it(server):
    """The next server reaches it by what the agent has open, not by a path that root inside can have lead elsewhere."""
    sandbox = server.create()
    hidden = server.run(
        sandbox,
        "sudo sh -c 'mkdir -p /tmp/mine && for place in /.sbx/ctl /.sbx; do mount --bind /tmp/mine $place; done; "
        "ls /.sbx | wc -l'",
    )
    assert hidden == "0\n"
    before = boot(server, sandbox)
    server.kill()
    server.start()
    assert boot(server, sandbox) == before
    assert not (server.data_dir / "sandboxes" / sandbox / "ctl").exists()


def test_everything_works_after_a_crash(server):
    """The adopted sandbox can do what a new one can; so can the server."""
    sandbox = server.create(name="adopted", labels={"a": "b"}, env={"WHO": "me"}, autoStopInterval=33)
    server.run(sandbox, "echo kept > file")
    server.kill()
    server.start()
    found = server.client.get("/api/sandbox/adopted").json()
    assert (found["id"], found["labels"]["a"], found["autoStopInterval"]) == (sandbox, "b", 33)
    assert server.run(sandbox, "echo $WHO; cat file") == "me\nkept\n"
    response = server.client.post(f"/toolbox/{sandbox}/files/upload-v2?path=new", content=b"x")
    assert response.status_code == 200, response.text
    assert server.client.post(f"/api/sandbox/{sandbox}/stop").status_code == 200
    wait_for(server, sandbox, "stopped")
    assert server.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert server.run(sandbox, "cat file new") == "kept\nx"
    assert server.client.delete(f"/api/sandbox/{sandbox}").status_code == 200
    assert server.run(server.create(), "echo new") == "new\n"


def test_stopped_sandboxes_stay_stopped(server):
    sandbox = server.create()
    server.run(sandbox, "echo kept > file")
    server.client.post(f"/api/sandbox/{sandbox}/stop")
    wait_for(server, sandbox, "stopped")
    server.kill()
    server.start()
    assert server.state(sandbox) == "stopped"
    assert server.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert server.run(sandbox, "cat file") == "kept\n"


def test_deleted_sandboxes_stay_deleted(server):
    sandbox = server.create()
    server.client.delete(f"/api/sandbox/{sandbox}")
    server.kill()
    server.start()
    wait_for(server, sandbox, 404)


def test_a_sandbox_that_died_meanwhile(server):
    """Its processes ended while no server was there: it is found stopped, with its files."""
    sandbox = server.create()
    server.run(sandbox, "echo kept > file; sync")
    pid = init_of(server, sandbox)
    server.kill()
    os.kill(pid, signal.SIGKILL)
    server.start()
    # Its last moments may be seen: a killed process takes a while to end.
    wait_for(server, sandbox, "stopped")
    assert server.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert server.run(sandbox, "cat file") == "kept\n"


def test_a_sandbox_that_dies_is_noticed(server):
    sandbox = server.create()
    os.kill(init_of(server, sandbox), signal.SIGKILL)
    wait_for(server, sandbox, "stopped")
    assert server.client.get(f"/api/sandbox/{sandbox}").json()["errorReason"]
    assert server.client.post(f"/api/sandbox/{sandbox}/start").status_code == 200
    assert server.run(sandbox, "echo again") == "again\n"


def test_killed_in_the_middle_of_creates(server):
    """What was being made is either whole or gone; the rest of the machine does not notice."""
    stop = threading.Event()

    def create():
        while not stop.is_set():
            try:
                server.client.post("/api/sandbox", json={})
            except Exception:
                return

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    keeper = server.create()
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    server.start()
    assert server.run(keeper, "echo here") == "here\n"
    for item in server.client.get("/api/sandbox?limit=200").json()["items"]:
        if item["state"] == "destroying":
            # Nobody waits for its create any more.
            wait_for(server, item["id"], 404)
            continue
        assert item["state"] == "started", item
        assert server.run(item["id"], "echo here") == "here\n"
        assert server.client.delete(f"/api/sandbox/{item['id']}").status_code == 200


def test_the_key_is_kept_hashed(server):
    for path in server.data_dir.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000_000:
            assert server.key.encode() not in path.read_bytes(), path


def test_two_servers_on_one_directory(server):
    """The second one says so and ends; the first one goes on."""
    second = subprocess.run(
        [server.binary, "serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0"],
        env=dict(os.environ), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert second.returncode != 0
    assert str(server.data_dir) in second.stderr + second.stdout
    assert server.run(server.create(), "echo fine") == "fine\n"


def test_port_in_use(server, tmp_path):
    second = subprocess.run(
        [server.binary, "serve", "--data-dir", tmp_path / "other", "--listen", f"127.0.0.1:{server.port}"],
        env=dict(os.environ), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert second.returncode != 0
    assert str(server.port) in second.stderr + second.stdout
    subprocess.run([server.binary, "purge", "--data-dir", tmp_path / "other"], check=True)


def wait_for(server, sandbox_id, state):
    end = time.monotonic() + 20
    while server.state(sandbox_id) != state:
        assert time.monotonic() < end, server.state(sandbox_id)
        time.sleep(0.02)


def init_of(server, sandbox_id):
    """The host's pid of a sandbox's pid 1: the process whose mount namespace the sandbox shows."""
    inside = server.run(sandbox_id, "sudo readlink /proc/self/ns/pid").strip()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                pids = re.search(r"^NSpid:\t(.*)$", (entry / "status").read_text(), re.M).group(1).split()
                if len(pids) == 2 and pids[1] == "1" and (entry / "ns/pid").readlink().name == inside:
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError(f"no process is pid 1 of {inside}")


def test_what_can_not_be_read_is_left_alone(server):
    """A record of another version: its sandbox goes on, and nobody else gets its address."""
    sandbox = server.create()
    pid = init_of(server, sandbox)
    server.kill()
    record = server.data_dir / "sandboxes" / sandbox / "record.json"
    content = record.read_text()
    record.write_text(content.replace('"version":1', '"version":999'))
    server.start()
    others = [server.create() for _ in range(3)]
    addresses = {server.run(other, "hostname -I || ip -4 -o addr show eth0") for other in others}
    assert len(addresses) == 3
    os.kill(pid, 0)
    # Readable again, it is found as it was.
    server.kill()
    record.write_text(content)
    server.start()
    assert init_of(server, sandbox) == pid


def test_other_certificates_take_nothing_from_running_sandboxes(tmp_path):
    bundles = [tmp_path / "first.pem", tmp_path / "second.pem"]
    for bundle in bundles:
        bundle.write_text(f"-----BEGIN CERTIFICATE-----\n{bundle.stem}\n-----END CERTIFICATE-----\n")
    server = Server(tmp_path / "data", "--ca-bundle", bundles[0])
    look = "tail -n 2 $SSL_CERT_FILE | head -n 1; sha256sum < $SSL_CERT_FILE"
    try:
        sandbox = server.start().create()
        before = server.run(sandbox, look)
        server.kill()
        server.options = ("--ca-bundle", bundles[1])
        server.start()
        assert server.run(sandbox, look) == before != ""
        assert before.startswith("first\n")
        assert server.run(server.create(), look).startswith("second\n")
    finally:
        server.purge()
