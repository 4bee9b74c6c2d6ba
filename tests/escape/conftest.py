"""A host worth breaking into, and a runtime that lets it happen."""

import ctypes
import os
import pty
import shutil
import socket
import stat
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hostile import link, plant_in_image
from servers import Running, Server, lent

PROFILES = ("system", "strict")
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
def own(tmp_path_factory):
    """A server of the suite's own, with a snapshot for each profile and a prepared one, which reads certificates of images."""
    data_dir = tmp_path_factory.mktemp("own") / "data"
    bundle = data_dir.parent / "bundle.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")
    made = Server(data_dir, "--ca-bundle", bundle)
    for isolation in PROFILES:
        made.lend(isolation, isolation)
        made.snapshot(f"prepared-{isolation}", isolation, prepare)
    yield made.start()
    made.purge()


def prepare(rootfs):
    """Most files of the default snapshot, with devices of the host and programs of the host's root among them."""
    large = shutil.ignore_patterns("dist-packages", "site-packages", "share", "node_modules", "locale")
    shutil.copytree(lent() / "rootfs", rootfs, symlinks=True, ignore=large, copy_function=link)
    refused = plant_in_image(rootfs, [(f"/evil/{kind}", kind, "") for kind in ("set-user-id", "capability")])
    assert not refused
    disk = os.stat("/").st_dev
    for name, kind, number in (
        ("disk", stat.S_IFBLK, disk),
        ("memory", stat.S_IFCHR, os.makedev(1, 1)),
        ("log", stat.S_IFCHR, os.makedev(1, 11)),
        ("ports", stat.S_IFCHR, os.makedev(1, 4)),
    ):
        os.mknod(rootfs / "evil" / name, kind | 0o666, number)
        os.chmod(rootfs / "evil" / name, 0o666)


@pytest.fixture(scope="module", params=PROFILES)
def profile(request):
    return request.param


@pytest.fixture(scope="module", params=["fresh", "again", "prepared"])
def life(request):
    """Of a sandbox: its first; its second, which begins with all that the attempts left in the first; or the first of one
    whose image was prepared by its tenant."""
    return request.param


@pytest.fixture(scope="session")
def of_default(api_url, api_key):
    """The server under test."""
    return Running(api_url, api_key)


@pytest.fixture(scope="module")
def sandboxes(own, of_default, host):
    """The sandbox for a profile and whether it was prepared, made when it is first asked for."""
    made = {}

    def find(profile, prepared):
        if (profile, prepared) not in made:
            # *system* is the default, and tried on the server under test.
            server, name = (of_default, {}) if profile == "system" and not prepared else (own, {"snapshot": profile})
            name = {"snapshot": f"prepared-{profile}"} if prepared else name
            made[profile, prepared] = server.sandbox(env=host, **name)
            assert made[profile, prepared]("id", "-u").strip() == "0"
        return made[profile, prepared]

    yield find
    for sandbox in made.values():
        sandbox.delete()


@pytest.fixture(scope="module")
def sandbox(sandboxes, profile):
    return sandboxes(profile, False)


@pytest.fixture(scope="module")
def lived(sandboxes, profile, life):
    """The sandbox of a profile in that life."""
    found = sandboxes(profile, life == "prepared")
    if life == "again":
        answer, _ = found.restart()
        assert answer.status_code == 200, answer.text
    return found
