"""Servers of the suite's own, each with a scratch data directory: started, killed, started again, purged.

`SEBRING_BIN` names the program, `SEBRING_DATA_DIR` the data directory whose snapshots are borrowed.
"""

import os
import resource
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from internet import Internet
from inventory import inventory


def _required(name):
    value = os.environ.get(name)
    if not value:
        raise pytest.UsageError(f"{name} must be set: `tests/run` does so")
    return Path(value)


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Server:
    """One server; the same port, key, data directory and options over all its lives."""

    def __init__(self, data_dir, *options):
        self.binary = _required("SEBRING_BIN")
        self.data_dir = data_dir
        self.options = options
        self.port = _free_port()
        self.key = f"test-{secrets.token_hex(16)}"
        self.process = None
        self.lives = 0
        # Sandboxes made ahead of need: none, so that what there is can be compared with what is asked for.
        self.warm = 0
        # Hard limits by their name in `resource`.
        self.limits = {}
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
            trust_env=False,
        )
        self.lender = _required("SEBRING_DATA_DIR")
        data_dir.mkdir(parents=True)

    def start(self):
        """Runs until the server says by its ready descriptor that it serves."""
        reader, writer = os.pipe()
        self.lives += 1
        with open(self.data_dir / f"life-{self.lives}.log", "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", self.data_dir, "--snapshot-dir", self.lender,
                 "--listen", f"127.0.0.1:{self.port}", "--ready-fd", str(writer), *self.options],
                env={**os.environ, "SEBRING_API_KEY": self.key, "SEBRING_WARM": str(self.warm)},
                pass_fds=[writer],
                preexec_fn=self.limit if self.limits else None,
                stdout=log,
                stderr=log,
            )  # fmt: skip
        os.close(writer)
        with os.fdopen(reader, "rb") as ready:
            assert ready.readline() == b"READY\n", self.log()
        return self

    def limit(self):
        for name, value in self.limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))

    def log(self):
        return (self.data_dir / f"life-{self.lives}.log").read_text()[-4000:]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.assert_alone()

    def assert_alone(self):
        """No process of the server outlives it, but those inside sandboxes, which have programs of their own."""
        end = time.monotonic() + 2
        while left := self.processes():
            assert time.monotonic() < end, left
            time.sleep(0.01)

    def processes(self):
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in words and os.fsencode(self.data_dir) in words:
                found.append(f"{path.name} {(path / 'comm').read_text().strip()}")
        return found

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log()
        self.assert_alone()

    def purge(self):
        if self.process and self.process.poll() is None:
            self.terminate()
        subprocess.run([self.binary, "purge", "--data-dir", self.data_dir], check=True, timeout=60)

    def create(self, **body):
        response = self.client.post("/api/sandbox", json=body)
        assert response.status_code == 200, response.text
        return response.json()["id"]

    def state(self, sandbox_id):
        response = self.client.get(f"/api/sandbox/{sandbox_id}")
        return response.json()["state"] if response.status_code == 200 else response.status_code

    def run(self, sandbox_id, command):
        response = self.client.post(f"/toolbox/{sandbox_id}/process/execute", json={"command": command})
        assert response.status_code == 200, response.text
        return response.json()["result"]


@pytest.fixture
def server(tmp_path):
    """A server that runs."""
    made = Server(tmp_path / "data")
    yield made.start()
    if made.data_dir.exists():
        made.purge()


@pytest.fixture
def before():
    """What was there before the server of the test; ask for it first."""
    return inventory()


@pytest.fixture(scope="session")
def internet():
    """Web, office and DNS servers of the tests; names are for those who set them."""
    made = Internet()
    yield made
    made.close()
