"""A host worth breaking into, and a runtime that lets it happen."""

import ctypes
import os
import pty
import secrets
import shlex
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

METADATA = "169.254.169.254"


def _addresses():
    shown = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True, check=True).stdout
    return sorted({line.split()[3].split("/")[0] for line in shown.splitlines()})


def _serve(listener):
    """Answers each connection with a byte."""

    def loop():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            # Who only knocks is gone by then.
            with client, suppress(OSError):
                client.sendall(b"y")

    threading.Thread(target=loop, daemon=True).start()


@contextmanager
def _secret_key(word):
    """A key of the host's root, in the keyring of its user id."""
    libc = ctypes.CDLL(None, use_errno=True)
    add, control = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
    key = libc.syscall(add, b"user", word.encode(), b"secret", 6, -4)
    yield
    if key > 0:
        libc.syscall(control, 9, key, -4)


@contextmanager
def _foreign_format(word):
    """An entry of the host's binfmt_misc."""
    place = Path("/proc/sys/fs/binfmt_misc")
    mounted = not (place / "register").exists()
    if mounted:
        done = subprocess.run(["mount", "-t", "binfmt_misc", "b", place], capture_output=True)
        mounted = done.returncode == 0
    entry = place / word
    if (place / "register").exists():
        (place / "register").write_text(f":{word}:M::sebring-escape-suite::/bin/true:")
    yield
    if entry.exists():
        entry.write_text("-1")
    if mounted:
        subprocess.run(["umount", place], check=True)


@contextmanager
def _terminal():
    """A terminal of the host; answers its path."""
    controller, terminal = pty.openpty()
    os.set_blocking(controller, False)
    yield os.ttyname(terminal)
    os.close(terminal)
    os.close(controller)


@contextmanager
def _packet_filter(word):
    subprocess.run(["nft", "add", "table", "inet", word], check=True)
    yield
    subprocess.run(["nft", "delete", "table", "inet", word], check=True)


@pytest.fixture(scope="session")
def neighbour(api):
    """Another sandbox of the same server."""
    made = api.post("/sandbox", json={}).json()
    assert made["state"] == "started", made
    yield made
    api.delete(f"/sandbox/{made['id']}")


@pytest.fixture(scope="session")
def host(tmp_path_factory, neighbour):
    """What is there to be reached, as the environment of the attempts."""
    word = f"victim_of_escape_{os.getpid()}"
    directory = tmp_path_factory.mktemp("host")
    (directory / "marker").write_text("secret of the host\n")
    victim = subprocess.Popen(["python3", "-c", "import signal; signal.pause()", word])
    port = socket.create_server(("0.0.0.0", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0{word}")
    abstract.listen()
    had_metadata = METADATA in _addresses()
    if not had_metadata:
        subprocess.run(["ip", "addr", "add", f"{METADATA}/32", "dev", "lo"], check=True)
    _serve(port)
    _serve(abstract)
    link = next(
        address
        for path in sorted(Path("/sys/class/net").glob("*/address"))
        if (address := path.read_text().strip()) not in ("", "00:00:00:00:00:00")
    )
    device = os.stat("/").st_dev
    with _secret_key(word), _packet_filter(word), _foreign_format(word), _terminal() as terminal:
        yield {
            "MARKER": str(directory / "marker"),
            "VICTIM": word,
            "ABSTRACT": word,
            "PORT": str(port.getsockname()[1]),
            "ADDRESSES": " ".join(_addresses()),
            "METADATA": METADATA,
            "LINK": link,
            "DISK": f"{os.major(device)} {os.minor(device)}",
            "HANDLES": "/.sbx/ctl",
            "AGENT": "1",
            "VICTIM_PID": str(victim.pid),
            "TERMINAL": terminal,
            "NEIGHBOUR": str(Path(os.environ["SEBRING_DATA_DIR"]).resolve() / "sandboxes" / neighbour["id"] / "ctl"),
        }
    if not had_metadata:
        subprocess.run(["ip", "addr", "del", f"{METADATA}/32", "dev", "lo"], check=True)
    abstract.close()
    port.close()
    victim.kill()
    victim.wait()


@pytest.fixture(scope="session")
def weak(host, api, tmp_path_factory):
    """`weak(command)` runs it in the same files with every protection left out: a chroot of the host's root."""
    snapshot = api.get("/snapshots").json()["items"][0]["id"]
    lower = Path(os.environ["SEBRING_DATA_DIR"]) / "snapshots" / snapshot / "rootfs"
    scratch = tmp_path_factory.mktemp("weak")
    agent = scratch / "agent"
    agent.write_bytes(b"stands for the agent")
    # A tmpfs, because a writable layer on the host's own overlay or disk would be left behind.
    prepare = f"""
        set -e
        mkdir -p {scratch}/top
        mount -t tmpfs t {scratch}/top
        mkdir {scratch}/top/upper {scratch}/top/work {scratch}/top/root
        mount -t overlay o -o lowerdir={lower},upperdir={scratch}/top/upper,workdir={scratch}/top/work {scratch}/top/root
        cd {scratch}/top/root
        mount --rbind /proc proc; mount --rbind /sys sys; mount --rbind /dev dev
        mkdir -p .sbx/ctl .sbx/bin
        mount --bind {scratch} .sbx/ctl
        cp {agent} .sbx/bin/agent
        exec 9</
        exec chroot . "$@"
    """

    def run(*command):
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", prepare, "sh", *command],
            env={"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **host, "AGENT": host["VICTIM_PID"]},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def strict_server(tmp_path_factory):
    """A server of the suite's own whose sandboxes are confined as far as can be; answers its address and key."""
    data_dir = tmp_path_factory.mktemp("strict") / "data"
    binary, key = os.environ["SEBRING_BIN"], f"test-{secrets.token_hex(16)}"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reader, writer = os.pipe()
    with open(data_dir.parent / "log", "wb") as log:
        process = subprocess.Popen(
            [binary, "serve", "--isolation", "strict", "--data-dir", data_dir,
             "--snapshot-dir", os.environ["SEBRING_DATA_DIR"],
             "--listen", f"127.0.0.1:{port}", "--ready-fd", str(writer)],
            env={**os.environ, "SEBRING_API_KEY": key},
            pass_fds=[writer],
            stdout=log,
            stderr=log,
        )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader, "rb") as ready:
        assert ready.readline() == b"READY\n", (data_dir.parent / "log").read_text()[-4000:]
    yield f"http://127.0.0.1:{port}/api", key
    process.terminate()
    process.wait(30)
    subprocess.run([binary, "purge", "--data-dir", data_dir], check=True, timeout=60)


@pytest.fixture(scope="module", params=["system", "strict"])
def server(request, api_url, api_key):
    """Address and key of a server with each profile; the one under test has the default, *system*."""
    return (api_url, api_key) if request.param == "system" else request.getfixturevalue("strict_server")


class Sandbox:
    """One of that server; `sandbox(command)` runs it as root inside and answers what it printed."""

    def __init__(self, server, environment):
        url, key = server
        self.api = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=70, trust_env=False)
        made = self.api.post(f"{url}/sandbox", json={"env": environment}).json()
        assert made["state"] == "started", made
        self.resource = f"{url}/sandbox/{made['id']}"
        self.toolbox = f"{made['toolboxProxyUrl']}/{made['id']}"

    def __call__(self, *command):
        line = "sudo -E " + " ".join(shlex.quote(word) for word in command)
        response = self.api.post(f"{self.toolbox}/process/execute", json={"command": line, "timeout": 60})
        assert response.status_code == 200, response.text
        return response.json()["result"]

    def delete(self):
        self.api.delete(self.resource)
        self.api.close()


@pytest.fixture(scope="module")
def sandbox(server, host):
    made = Sandbox(server, host)
    assert made("id", "-u").strip() == "0"
    yield made
    made.delete()
