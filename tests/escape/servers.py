"""Servers of the suite's own, and what a sandbox of theirs looks like from the host.

Their snapshots lie in a folder of the suite's own, for images are input, too.
"""

import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx

# Places of servers: compute/network/src/claim.rs.
CLAIMS = Path("/run/sebring")
# Far above what a start or a delete takes, for the machine may be busy; far below what waiting for a stranger takes.
SOON = 5.0


def lent():
    """The folder of the one snapshot that is borrowed."""
    (manifest,) = Path(os.environ["SEBRING_DATA_DIR"], "snapshots").glob("*/manifest.json")
    return manifest.parent.resolve()


class Running:
    """A server that somebody else started."""

    def __init__(self, url, key):
        self.client = httpx.Client(
            base_url=url.removesuffix("/api"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=70,
            trust_env=False,
        )

    def create(self, **body):
        """The answer to a create, and seconds that it took."""
        begun = time.monotonic()
        answer = self.client.post("/api/sandbox", json=body)
        return answer, time.monotonic() - begun

    def sandbox(self, **body):
        answer, _ = self.create(**body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "started", answer.text
        return self.known(answer.json()["id"])

    def known(self, id):
        return Sandbox(self, id)


class Server(Running):
    """One server of ours on a scratch data directory."""

    def __init__(self, data_dir, *options):
        self.binary = os.environ["SEBRING_BIN"]
        self.data_dir = data_dir
        self.snapshots = data_dir / "snapshots"
        self.options = options
        self.key = f"test-{secrets.token_hex(16)}"
        self.snapshots.mkdir(parents=True, mode=0o700)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        super().__init__(f"http://{self.address}/api", self.key)

    def start(self):
        reader, writer = os.pipe()
        with open(self.data_dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", self.data_dir, "--listen", self.address,
                 "--ready-fd", str(writer), *self.options],
                env={**os.environ, "SEBRING_API_KEY": self.key, "SEBRING_WARM": "0"},
                pass_fds=[writer],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            assert ready.readline() == b"READY\n", self.log()
        return self

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0, self.log()

    def purge(self):
        """Removes all of it, also of one that does not stop."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        subprocess.run([self.binary, "purge", "--data-dir", self.data_dir], check=True, timeout=60)

    def log(self):
        return (self.data_dir / "log").read_text()[-4000:]

    def lend(self, name, isolation):
        """A snapshot of that name: the default one, confined so."""
        return self.snapshot(name, isolation, lambda rootfs: rootfs.symlink_to(lent() / "rootfs"))

    def snapshot(self, name, isolation, fill, **manifest):
        """A snapshot of that name whose files `fill(rootfs)` makes."""
        made = f"01a00000-0000-7000-8000-{secrets.token_hex(6)}"
        folder = self.snapshots / f".new-{made}"
        folder.mkdir()
        fill(folder / "rootfs")
        found = {**json.loads((lent() / "manifest.json").read_text()), "id": made, "name": name, "isolation": isolation, **manifest}
        (folder / "manifest.json").write_text(json.dumps(found))
        folder.rename(self.snapshots / made)
        return name

    def forget(self, name):
        """Removes a snapshot that no sandbox stands on any more."""
        for manifest in self.snapshots.glob("*/manifest.json"):
            if json.loads(manifest.read_text())["name"] == name:
                shutil.rmtree(manifest.parent)

    def peak(self):
        """The most memory that the server itself had, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.M)[1]) << 10

    def place(self):
        return next(path.name for path in CLAIMS.glob("[0-9]*") if path.read_text() == str(self.data_dir))


class Sandbox:
    """One of a server. `sandbox(*words)` runs that as root inside, where there is sudo, and answers what it printed."""

    def __init__(self, server, id):
        self.server, self.id = server, id

    def __call__(self, *words):
        return self.run(["sudo", "-E", *words])

    def run(self, words, timeout=60):
        # The directory where commands begin otherwise may be anything.
        wanted = {"command": " ".join(map(shlex.quote, words)), "cwd": "/", "timeout": timeout}
        answer = self.toolbox("POST", "/process/execute", json=wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def has_root(self):
        """Whether sudo works: it reads files that may have become anything."""
        wanted = {"command": "sudo id -u", "cwd": "/", "timeout": 5}
        answer = self.toolbox("POST", "/process/execute", json=wanted)
        return answer.status_code == 200 and answer.json()["result"].strip() == "0"

    def toolbox(self, method, path, **more):
        return self.server.client.request(method, f"/toolbox/{self.id}{path}", **more)

    def call(self, method, path=""):
        """The answer, and seconds that it took."""
        begun = time.monotonic()
        answer = self.server.client.request(method, f"/api/sandbox/{self.id}{path}")
        return answer, time.monotonic() - begun

    def state(self):
        answer, _ = self.call("GET")
        return answer.json()["state"] if answer.status_code == 200 else answer.status_code

    def stop(self):
        answer, _ = self.call("POST", "/stop?force=true")
        assert answer.status_code == 200, answer.text

    def restart(self):
        """Stops it, and answers to the start and seconds that this took."""
        self.stop()
        return self.call("POST", "/start")

    def delete(self):
        return self.call("DELETE")

    def first_process(self):
        """The process id on the host of the first one inside; none when nothing runs."""
        group = f"sebring/{self.server.place()}/{self.id}.*/cgroup.procs"
        for procs in [*Path("/sys/fs/cgroup").glob(group), *Path("/sys/fs/cgroup").glob(f"*/{group}")]:
            for pid in procs.read_text().split():
                try:
                    status = Path(f"/proc/{pid}/status").read_text()
                except OSError:
                    continue
                if re.search(r"^NSpid:\t\d+\t1$", status, re.M):
                    return int(pid)
        return None

    def stranger(self):
        """What is wrong with the first process inside: it must be the server's agent, from a file that is not the sandbox's."""
        pid = self.first_process()
        if pid is None:
            return "nothing runs"
        program = Path(f"/proc/{pid}/exe")
        ours = [hashlib.sha256(path.read_bytes()).digest() for path in self.server.data_dir.glob("agents/*/*")]
        if hashlib.sha256(program.read_bytes()).digest() not in ours:
            return f"the first process is not the agent but {program.readlink()}"
        if program.stat().st_dev == Path(f"/proc/{pid}/root/").stat().st_dev:
            return "the agent's program is a file of the sandbox's own"
        if len(Path(f"/proc/{pid}/environ").read_bytes()) > 0:
            return "the agent has an environment"
        return None

    def mounts(self):
        """Each mount of the first process: where, what of it, its options and kind. The same for all sandboxes of a profile."""
        names = re.compile(rf"{self.id}(\.\d+)?|sbx[0-9a-f]+-\d+|(?<=/)\.?layer[^/ ]*")
        found = []
        for line in Path(f"/proc/{self.first_process()}/mountinfo").read_text().splitlines():
            fields, _, kind = line.partition(" - ")
            root, place, options = fields.split()[3:6]
            found.append((names.sub("ID", place), names.sub("ID", root), options, kind.split()[0]))
        return found


class Watch(threading.Thread):
    """Looks all the time at the first processes of all sandboxes of a server: any that is not the agent, however short it
    lives, is remembered in `strangers`. What root inside planted and a start executed stays long enough to be seen."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.strangers, self.known, self.over = server, set(), {}, threading.Event()
        self.start()

    def run(self):
        # Until it executes the agent, a new process is the server itself.
        ours = [self.server.binary, *self.server.data_dir.glob("agents/*/*")]
        ours = {hashlib.sha256(Path(path).read_bytes()).digest() for path in ours}
        groups = f"sebring/{self.server.place()}/*/cgroup.procs"
        while not self.over.wait(0.02):
            for procs in [*Path("/sys/fs/cgroup").glob(groups), *Path("/sys/fs/cgroup/memory").glob(groups)]:
                with suppress(OSError):
                    for pid in procs.read_text().split():
                        self.look(Path(f"/proc/{pid}"), ours)

    def look(self, process, ours):
        with suppress(OSError):
            if not re.search(r"^NSpid:\t\d+\t1$", (process / "status").read_text(), re.M):
                return
            program = (process / "exe").stat()
            key = program.st_dev, program.st_ino
            if key not in self.known:
                self.known[key] = hashlib.sha256((process / "exe").read_bytes()).digest() in ours
            if not self.known[key]:
                self.strangers.add(str((process / "exe").readlink()))

    def seen(self):
        """Those since it was asked last."""
        seen, self.strangers = self.strangers, set()
        return seen

    def close(self):
        self.over.set()
        self.join()
