"""A checkpoint, and sandboxes restored from it under other ids, in other groups and namespaces than the source."""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import criu
from source import CGROUPS, CONTROL_FD, LIMITS, Freezer, group

HERE = Path(__file__).parent
PR_SET_CHILD_SUBREAPER = 36
READ_ONLY_DATA = "ro,nosuid,nodev,noexec"


class Checkpoint:
    """Images of a source's processes, and its disk at that moment."""

    def __init__(self, program, source, directory):
        self.program, self.source, self.directory = program, source, directory
        self.times = {}
        directory.mkdir()
        shutil.copytree(source.dir / "cgroup", directory / "limits")
        # What lies below .nest can't be seen from there.
        subprocess.run(["cp", "-ax", f"/proc/{source.pid}/root/dev", directory / "devices"], check=True)
        for name in ("proc", "sys"):
            (directory / "devices" / ".nest" / name).mkdir(parents=True)
        self.disk = None

    def take(self):
        """Leaves the source frozen."""
        steps = {
            "freeze": self.source.freezer.freeze,
            "dump": lambda: criu.dump(self.program, self.source.freezer, self.directory / "images"),
            "disk clone": self._clone,
        }
        for name, step in steps.items():
            begun = time.monotonic()
            step()
            self.times[name] = time.monotonic() - begun

    def _clone(self):
        self.disk = self.source.clone_disk(f"checkpoint-{self.source.id}")

    def remove(self):
        if self.disk:
            Path(f"{self.source.server_root}{self.disk}").unlink()


class Restored:
    """One more sandbox from a checkpoint. `number` (1 to 15) tells it from others: these slots are never the server's."""

    def __init__(self, checkpoint, number):
        source = checkpoint.source
        self.checkpoint = checkpoint
        self.place = checkpoint.directory / f"place{number}"
        self.outside = f"sebring-checkpoint-{number}"
        self.base = source.base + (number - source.slot) * criu.IDS
        self.cgroups = {name: CGROUPS / name / f"sebring-checkpoint-{number}" for name in LIMITS}
        self.network = {"OUTSIDE": self.outside, "ADDRESS": source.address, "GATEWAY": source.gateway}
        self.address = source.address
        self.disk = checkpoint.disk.with_name(f"{checkpoint.disk.name}-{number}")
        self.pid = None

    def start(self):
        source, place = self.checkpoint.source, self.place
        place.mkdir()
        for name, directory in self.cgroups.items():
            directory.mkdir()
            (directory / LIMITS[name]).write_text(source.limits[name])
        outside = [f"{source.server_root}{disk}" for disk in (self.checkpoint.disk, self.disk)]
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", *outside], check=True)
        # It was in use, and has no journal: what the server does with such a disk after a crash of the host.
        checked = subprocess.run(["e2fsck", "-f", "-y", outside[1]], capture_output=True, text=True)
        assert checked.returncode in (0, 1), checked.stdout
        shutil.copytree(self.checkpoint.directory / "limits", place / "limits")
        # CRIU opens the program as root inside, who may not read the host's.
        shutil.copy2(source.agent, place / "agent")
        os.chown(place / "agent", self.base, self.base)
        criu.with_ids(self.checkpoint.directory / "images", place / "images", self.base)
        # As the runtime shows them (compute/runtime/src/launch.rs).
        shown = {
            "files": (source.files, READ_ONLY_DATA),
            # Open to the agent until it has bound its socket.
            "control": ("tmpfs", f"size=16k,nr_inodes=8,mode=0700,uid={self.base},gid={self.base},nosuid,nodev,noexec"),
            "agent": (place / "agent", "ro,nosuid,nodev"),
            "view": (source.view, READ_ONLY_DATA),
            "limits": (place / "limits", READ_ONLY_DATA),
            **{f"group-{name}": (directory, READ_ONLY_DATA) for name, directory in self.cgroups.items()},
        }
        order = {
            "serverPid": source.server_pid,
            "cgroups": list(map(str, self.cgroups.values())),
            "base": self.base,
            "layers": list(map(str, source.layers)),
            "disk": str(self.disk),
            "devices": str(self.checkpoint.directory / "devices"),
            "shown": {name: (str(path), options) for name, (path, options) in shown.items()},
            "command": criu.restore_command(self.checkpoint.program, place, HERE / "hook"),
        }
        (place / "order.json").write_text(json.dumps(order))
        subprocess.run(["ip", "netns", "add", self.outside], check=True)
        # Its first process becomes our child when CRIU has ended.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, HERE / "place.py", place / "order.json"],
            env={**os.environ, **self.network},
            capture_output=True,
            text=True,
        )
        ended = time.monotonic()
        assert done.returncode == 0, criu.explain(place / "restore.log") or done.stderr
        placed = float(done.stdout.split()[0])
        self.checkpoint.times |= {"place": placed - begun, "restore": ended - placed}
        self.pid = int((place / "pid").read_text())
        os.chown(self.socket.parent, 0, 0)

    @property
    def socket(self):
        return Path(f"/proc/{self.pid}/fd/{CONTROL_FD}/agent.sock")

    def from_outside(self, url):
        """What its gateway is answered."""
        command = ["ip", "netns", "exec", self.outside, "curl", "--silent", "--fail", "--noproxy", "*", url]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    def set_hostname(self, name):
        subprocess.run(["nsenter", f"--uts=/proc/{self.pid}/ns/uts", "hostname", name], check=True)

    def ids(self):
        """The first user id outside, and how many."""
        inside, outside, count = map(int, Path(f"/proc/{self.pid}/uid_map").read_text().split())
        assert inside == 0
        return outside, count

    def groups(self):
        return {name: group(self.pid, name) for name in LIMITS}

    def dump(self):
        """Writes images of it once more, for nobody."""
        freezer = Freezer(f"sebring-checkpoint-{self.place.name}", self.pid)
        try:
            freezer.freeze()
            criu.dump(self.checkpoint.program, freezer, self.place / "images-of-the-copy")
        finally:
            freezer.release()

    def remove(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        subprocess.run(["ip", "netns", "delete", self.outside])
        for directory in self.cgroups.values():
            remove_group(directory)
        Path(f"{self.checkpoint.source.server_root}{self.disk}").unlink(missing_ok=True)


def remove_group(directory):
    """The kernel lets go of a group shortly after its last process has ended, and tells nobody."""
    end = time.monotonic() + 5
    while directory.exists():
        try:
            directory.rmdir()
        except OSError:
            assert time.monotonic() < end, (directory / "cgroup.procs").read_text()
            time.sleep(0.01)
