"""A host worth breaking into, and a runtime that lets it happen."""

import os
import shlex
import socket
import subprocess
import threading
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
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
            with client:
                client.sendall(b"y")

    threading.Thread(target=loop, daemon=True).start()


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """What is there to be reached, as the environment of the attempts."""
    word = f"sebring-victim-{os.getpid()}"
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
        cp {HERE}/mount.py usr/local/bin/mount; cp {HERE}/mount.py usr/local/bin/umount
        chmod 755 usr/local/bin/mount usr/local/bin/umount
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


@pytest.fixture(scope="module")
def sandbox(api, host, api_key):
    """`sandbox(command)` runs it as root inside a sandbox of the server under test."""
    made = api.post("/sandbox", json={"env": host}).json()
    assert made["state"] == "started", made

    def run(*command):
        line = "sudo -E " + " ".join(shlex.quote(word) for word in command)
        response = httpx.post(
            f"{made['toolboxProxyUrl']}/{made['id']}/process/execute",
            json={"command": line, "timeout": 60},
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=70,
            trust_env=False,
        )
        assert response.status_code == 200, response.text
        return response.json()["result"]

    for name in ("mount", "umount"):
        content = (HERE / "mount.py").read_bytes()
        upload = httpx.post(
            f"{made['toolboxProxyUrl']}/{made['id']}/files/upload-v2",
            params={"path": f"/tmp/{name}"},
            content=content,
            headers={"Authorization": f"Bearer {api_key}"},
            trust_env=False,
        )
        assert upload.status_code == 200, upload.text
        run("install", "-m", "755", f"/tmp/{name}", f"/usr/local/bin/{name}")
    assert run("id", "-u").strip() == "0"
    yield run
    api.delete(f"/sandbox/{made['id']}")
