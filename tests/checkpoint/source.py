"""A running sandbox as its host sees it, from the server's records and the kernel: the server itself knows no checkpoints."""

import json
import os
import subprocess
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# Where an agent keeps its control directory open (types/src/agent.rs): that has no path on the host.
CONTROL_FD = 4
LIMITS = {"memory": "memory.limit_in_bytes", "cpu": "cpu.cfs_quota_us", "pids": "pids.max"}


def mounts(pid):
    """The mount table, without what differs from host to host: point -> (root, options, file system)."""
    table = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        _, _, _, root, point, options = left.split()[:6]
        table[point] = (root, options, right.split()[0])
    return table


def status(pid, *fields):
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {field: lines[field].strip() for field in fields}


def group(pid, controller):
    """The directory of a process in one hierarchy of cgroup version 1."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":")
        if controller in controllers.split(","):
            return CGROUPS / controller / path.lstrip("/")
    raise AssertionError(f"no {controller} on version 1")


class Freezer:
    """Stops and wakes all processes of a sandbox, by a group made for this: the server leaves this hierarchy of version 1
    alone."""

    def __init__(self, name, pid):
        self.group, self.pid = CGROUPS / "freezer" / name, pid

    def freeze(self):
        self.group.mkdir()
        members, joined = group(self.pid, "memory") / "cgroup.procs", self.group / "cgroup.procs"
        # Children are born where their parents are, so nobody is missed in the end.
        while left := set(members.read_text().split()) - set(joined.read_text().split()):
            for pid in left:
                try:
                    joined.write_text(pid)
                except ProcessLookupError:
                    continue
        state = self.group / "freezer.state"
        state.write_text("FROZEN")
        # The kernel counts its tasks when it is asked.
        while state.read_text() != "FROZEN\n":
            continue

    def thaw(self):
        (self.group / "freezer.state").write_text("THAWED")

    def release(self):
        """Undoes `freeze` altogether."""
        if self.group.exists():
            self.thaw()
            for pid in (self.group / "cgroup.procs").read_text().split():
                (CGROUPS / "freezer/cgroup.procs").write_text(pid)
            self.group.rmdir()


class Source:
    """A sandbox of the server under test."""

    def __init__(self, data_dir, server_pid, sandbox_id):
        self.id = sandbox_id
        self.data_dir = Path(data_dir).resolve()
        # The pool and the device nodes are mounted in the server's namespace alone.
        self.server_root = Path(f"/proc/{server_pid}/root")
        self.server_pid = server_pid
        self.dir = self.data_dir / "sandboxes" / sandbox_id
        self.record = json.loads((self.dir / "record.json").read_text())
        running = self.record["phase"]["running"]
        self.pid, self.slot = running["pid"], running["slot"]
        self.base = int(Path(f"/proc/{self.pid}/uid_map").read_text().split()[1])
        self.socket = Path(f"/proc/{self.pid}/fd/{CONTROL_FD}/agent.sock")
        self.address, self.gateway = self._network()
        # The agent's program on the host, which must stay as long as there are images of it.
        inside = os.stat(f"/proc/{self.pid}/root/.sbx/bin/agent")
        self.agent = next(p for p in self.data_dir.glob("agents/*/sebring-agent") if os.path.samestat(p.stat(), inside))
        # What the server alone has mounted: places for the agent's files, and the shared view of cgroups.
        self.files = self.data_dir / "mounts" / "agent"
        self.view = self.data_dir / "mounts" / "cgroup"
        # The read-only layers, the topmost first.
        snapshot = self.record["snapshotId"]
        rootfs = (self.data_dir / f"snapshots/{snapshot}/rootfs").resolve()
        self.layers = [*self.data_dir.glob(f"layers/*/{snapshot}"), rootfs]
        self.limits = {name: (group(self.pid, name) / limit).read_text() for name, limit in LIMITS.items()}
        self.freezer = Freezer(f"sebring-checkpoint-{sandbox_id}", self.pid)

    def _network(self):
        """The address inside, and the gateway's."""

        def show(*what):
            command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", "-4", "-json", *what]
            return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]

        return show("address", "show", "eth0")["addr_info"][0]["local"], show("route", "show", "default")["gateway"]

    def clone_disk(self, name):
        """Copies the writable layer of the frozen sandbox; answers the path, which is valid for the server."""
        subprocess.run(["sync", "--file-system", f"/proc/{self.pid}/root/"], check=True)
        for root in (self.data_dir / "pool", self.data_dir):
            image, clone = (f"{self.server_root}{path}" for path in (root / "disks" / self.id, root / name))
            if os.path.isfile(image):
                subprocess.run(["cp", "--reflink=auto", "--sparse=always", image, clone], check=True)
                return root / name
        raise AssertionError("the disk of this sandbox is no image")
