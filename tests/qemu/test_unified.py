"""What is particular to cgroup v2, seen from the host: the groups themselves. Runs in the guest of `tests/qemu/run`."""

import os
import secrets
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path("/sys/fs/cgroup")
GIB = 1 << 30
unified = pytest.mark.skipif(not (ROOT / "cgroup.controllers").exists(), reason="this machine has cgroup v1 as well")


def group(sandbox):
    (found,) = ROOT.glob(f"sebring/*/{sandbox['id']}.*")
    return found


def run(box, command):
    response = box.post("/process/execute", json={"command": command, "timeout": 100})
    assert response.status_code == 200, response.text
    return response.json()


@unified
def test_limits_of_the_group(raw_sandbox, toolbox, api):
    sandbox = raw_sandbox(cpu=1, memory=1)
    found = group(sandbox)
    limits = {
        "memory.max": str(GIB), "memory.swap.max": "0", "memory.high": "max", "memory.oom.group": "0",
        "cpu.max": "100000 100000", "pids.max": "2048", "cgroup.type": "domain",
    }  # fmt: skip
    assert {name: (found / name).read_text().strip() for name in limits} == limits
    assert api.post(f"/sandbox/{sandbox['id']}/resize", json={"cpu": 2, "memory": 2}).status_code == 200
    assert (found / "memory.max").read_text() == f"{2 * GIB}\n"
    assert (found / "memory.high").read_text() == "max\n"
    assert (found / "cpu.max").read_text() == "200000 100000\n"
    # The sandbox sees its own part of the tree, and can't change it.
    box = toolbox(sandbox)
    assert run(box, "cat /sys/fs/cgroup/memory.max /proc/self/cgroup")["result"] == f"{2 * GIB}\n0::/\n"
    assert run(box, "sudo sh -c 'echo max > /sys/fs/cgroup/memory.max' 2>&1")["exitCode"] != 0


@unified
def test_processes_are_throttled(raw_sandbox, toolbox):
    sandbox = raw_sandbox(cpu=1)
    run(toolbox(sandbox), "timeout 3 sh -c 'while :; do :; done' & timeout 3 sh -c 'while :; do :; done'; wait")
    statistics = dict(line.split() for line in (group(sandbox) / "cpu.stat").read_text().splitlines())
    assert int(statistics["nr_throttled"]) > 0


@unified
def test_a_deleted_sandbox_leaves_no_group(api, raw_sandbox):
    sandbox = raw_sandbox()
    found = group(sandbox)
    assert (found / "cgroup.procs").read_text()
    assert api.delete(f"/sandbox/{sandbox['id']}").status_code == 200
    end = time.monotonic() + 30
    while found.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@unified
def test_weights_where_a_disk_heeds_them(tmp_path):
    """With the scheduler BFQ on a disk, a server that starts then gives weights."""
    if subprocess.run(["modprobe", "bfq"]).returncode:
        pytest.skip("this kernel has no BFQ")
    disk = next(Path("/sys/block").glob("vd?")) / "queue/scheduler"
    disk.write_text("bfq")
    try:
        with Server(tmp_path / "data") as server:
            created = server.client.post("/api/sandbox", json={"cpu": 2})
            assert created.status_code == 200, created.text
            weight = (group(created.json()) / "io.bfq.weight").read_text()
            assert weight.split() == ["default", "200"]
            doctor = subprocess.run([os.environ["SEBRING_BIN"], "doctor"], capture_output=True, text=True).stdout
            assert "io v2" in doctor and "by weight" in doctor
    finally:
        disk.write_text("none")


@unified
def test_a_server_in_a_group_that_is_not_the_root(tmp_path):
    """As in a container: the root that the server sees has its own processes in it, so they must move aside."""
    with Server(tmp_path / "data", CONTAINED) as server:
        created = server.client.post("/api/sandbox", json={})
        assert created.status_code == 200, server.log() + created.text
        (where,) = ROOT.glob(f"contained/sebring/*/{created.json()['id']}.*")
        assert (where / "memory.max").read_text() == f"{GIB}\n"
    # The purge from outside saw no groups of this server.
    contained = ROOT / "contained"
    for directory in sorted((path for path in contained.rglob("*") if path.is_dir()), reverse=True):
        directory.rmdir()
    contained.rmdir()


# A group like any other becomes the root of what the server sees.
CONTAINED = [
    "sh", "-c",
    'mkdir /sys/fs/cgroup/contained && echo 0 > /sys/fs/cgroup/contained/cgroup.procs && exec unshare --cgroup --mount "$@"',
    "sh", "sh", "-c", 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh",
]  # fmt: skip


class Server:
    """One more server, started by some command before its own."""

    def __init__(self, data_dir, before=()):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.data_dir = data_dir
        self.before = before
        data_dir.mkdir()
        reader, writer = os.pipe()
        key = secrets.token_hex(16)
        self.binary = os.environ["SEBRING_BIN"]
        with open(data_dir / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*before, self.binary, "serve", "--data-dir", data_dir, "--snapshot-dir", os.environ["SEBRING_DATA_DIR"],
                 "--listen", f"127.0.0.1:{port}", "--ready-fd", str(writer)],
                env={**os.environ, "SEBRING_API_KEY": key}, pass_fds=[writer], stdout=log, stderr=log,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader) as ready:
            assert ready.readline() == "READY\n", self.log()
        headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60, trust_env=False)

    def log(self):
        return (self.data_dir / "log").read_text()[-4000:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for item in self.client.get("/api/sandbox").json()["items"]:
            self.client.delete(f"/api/sandbox/{item['id']}")
        self.process.terminate()
        self.process.wait(60)
        subprocess.run([self.binary, "purge", "--data-dir", self.data_dir], check=True, timeout=60)
