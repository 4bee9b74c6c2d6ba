"""A tenant who tries anything: random states of the file system at our mount points, in images and inside, between creates,
starts, uses, stops and deletes; now and then the server starts anew.

The server stays alive and quick, a neighbour notices nothing, and the host is as it was. `SEBRING_TEST_HOSTILE_SECONDS` says
how long (20), `SEBRING_TEST_HOSTILE_SEED` where to begin; what failed is named by its seed.
"""

import os
import random
import time
from pathlib import Path

import httpx
import loops
import plant
import pytest
from hostile import Images, chosen, plant_inside, wrong_after_delete, wrong_after_start
from servers import SOON, Server, Watch

SECONDS = float(os.environ.get("SEBRING_TEST_HOSTILE_SECONDS", 20))
SEED = int(os.environ.get("SEBRING_TEST_HOSTILE_SEED", random.randrange(1 << 32)))
# How many sandboxes come and go between starts of the server.
LIFE = 60


class Tenant:
    """One server, a neighbour, and what must stay so whatever the tenant does."""

    def __init__(self, data_dir, trap):
        self.server = Server(data_dir)
        for isolation in ("system", "strict"):
            self.server.lend(isolation, isolation)
        self.server.start()
        self.images = Images(self.server, str(trap))
        self.watch = Watch(self.server)
        self.plain, self.seen = {}, set()
        for isolation in ("system", "strict"):
            for name in (isolation, self.images.make([], isolation)):
                sandbox = self.server.sandbox(snapshot=name)
                self.plain[isolation, name == isolation] = sandbox.mounts()
                sandbox.delete()
        self.neighbour = self.server.sandbox(snapshot="strict")
        self.neighbour.run(["sh", "-c", "echo kept > /tmp/kept"])
        self.process = self.neighbour.first_process()
        self.trap, self.trapped = trap, listing(trap)
        self.mounts = host_mounts()

    def close(self):
        self.watch.close()
        self.server.purge()

    def turn(self, seed):
        """One sandbox of the tenant's; answers what went wrong."""
        name, wrong = self.life(seed)
        if name not in ("system", "strict"):
            self.server.forget(name)
        return wrong

    def life(self, seed):
        """Its snapshot, and what went wrong."""
        choice = random.Random(seed)
        isolation, inside = choice.choice(("system", "strict")), choice.random() < 0.5
        states = chosen(seed)
        plain = self.plain[isolation, inside]
        name = isolation if inside else self.images.make(states, isolation)
        answer, seconds = self.server.create(snapshot=name)
        if answer.status_code != 200:
            return name, f"the create took {seconds:.1f} s: {answer.text[:200]}" if seconds > SOON or inside else None
        sandbox = self.server.known(answer.json()["id"])
        self.seen.add(sandbox.id)
        wrong = wrong_after_start(sandbox, answer, seconds, plain)
        for _ in range(choice.randrange(3)):
            if wrong or sandbox.state() != "started":
                break
            self.use(sandbox, choice, states)
            if inside:
                plant_inside(sandbox, states)
                states = chosen(choice.random())
                inside = False
            answer, seconds = sandbox.restart()
            wrong = wrong_after_start(sandbox, answer, seconds, plain)
        return name, wrong or wrong_after_delete(sandbox)

    def use(self, sandbox, choice, states):
        """Requests at what was planted. A file system may make a fool of whoever asks, not of others."""
        path = choice.choice(states)[0]
        for method, route, more in choice.sample(
            (
                ("POST", "/process/execute", {"json": {"command": f"cat {path}/* | head -c 100", "timeout": 2}}),
                ("GET", "/files", {"params": {"path": path}}),
                ("GET", "/files/info", {"params": {"path": path}}),
                ("POST", "/files/upload-v2", {"params": {"path": f"{path}/x"}, "content": b"x"}),
                ("GET", "/files/search", {"params": {"path": path, "pattern": "*"}}),
                ("DELETE", "/files", {"params": {"path": f"{path}/x"}}),
            ),
            2,
        ):
            try:
                sandbox.toolbox(method, route, timeout=SOON, **more)
            except httpx.TimeoutException:
                continue

    def harmed(self):
        """What a neighbour or the host noticed."""
        if self.watch.strangers:
            return f"these ran as first processes: {self.watch.strangers}"
        begun = time.monotonic()
        if self.server.client.get("/api/health").status_code != 200 or time.monotonic() - begun > SOON:
            return f"the server is unwell: {self.server.log()}"
        if self.server.peak() > plant.SPARSE / 2:
            return f"the server took {self.server.peak() >> 20} MiB"
        if self.neighbour.run(["cat", "/tmp/kept"]) != "kept\n" or self.neighbour.first_process() != self.process:
            return "the neighbour is not what it was"
        if listing(self.trap) != self.trapped or Path("/evil").exists():
            return "files of the host were changed"
        if host_mounts() != self.mounts:
            return f"mounts of the host: {sorted(host_mounts() ^ self.mounts)}"
        return None

    def left(self):
        """What is there beyond the neighbour, once the kernel has finished what it does in the background."""
        end = time.monotonic() + 10
        while left := self.beyond():
            if time.monotonic() > end:
                return left
            time.sleep(0.05)
        return None

    def beyond(self):
        place = self.server.place()
        found = Path("/sys/fs/cgroup").glob(f"**/sebring/{place}/*.*")
        groups = {path.name.rsplit(".", 1)[0] for path in found if path.is_dir()}
        process = self.server.process.pid
        pool = Path(f"/proc/{process}/root{self.server.data_dir}/pool/disks")
        disks = set(loops.images(pool)) if pool.is_dir() else set()
        kept = {path.name for path in (self.server.data_dir / "sandboxes").iterdir()}
        disks = {name for name in disks if name in self.seen or name.startswith("deleted")}
        return (groups | kept | disks) - {self.neighbour.id}


def listing(directory):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in directory.rglob("*"))


def host_mounts():
    """Those of this process, without what other servers and tests of the machine mount."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {place for line in lines if not (place := line.split()[4]).startswith(("/tmp", "/run/netns"))}


@pytest.mark.timeout(int(SECONDS) + 120)
def test_a_hostile_tenant_harms_nobody_else(tmp_path):
    trap = tmp_path / "trap"
    for name in ("bin", "ctl", "empty", "agent"):
        (trap / name).mkdir(parents=True)
    print(f"SEBRING_TEST_HOSTILE_SEED={SEED}")
    tenant = Tenant(tmp_path / "data", trap)
    end, seed = time.monotonic() + SECONDS, SEED
    try:
        while time.monotonic() < end:
            wrong = tenant.turn(seed) or tenant.harmed()
            assert not wrong, f"SEBRING_TEST_HOSTILE_SEED={seed}: {wrong}; planted: {chosen(seed)}"
            seed += 1
            if (seed - SEED) % LIFE == 0:
                tenant.server.stop()
                tenant.server.start()
        assert not tenant.left(), tenant.left()
    finally:
        tenant.close()
    print(f"{seed - SEED} sandboxes of the tenant came and went")
