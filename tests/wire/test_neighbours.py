"""What a sandbox learns of others from what the kernel shows, and whether it can watch or lock what they use."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

BLOCK_DEVICES = (
    "/sys/block /sys/class/block /sys/dev/block /sys/devices/virtual/block /sys/class/bdi /sys/devices/virtual/bdi"
    " /sys/fs/ext4 /sys/fs/xfs /sys/fs/btrfs"
)
#: The view of cgroups is one for all where version 1 manages limits (SECURITY.md).
PATHS = """
import os
top = ["/dev", "/.sbx", "/usr/bin/env", "/etc/debian_version", "/sys/firmware", "/proc/acpi", "/proc/cmdline", "/sys", "/proc", "/"]
paths = top + [os.path.join(at, name) for at in ("/dev", "/.sbx", "/.sbx/bin") for name in ("null", "zero", "full", "random",
    "urandom", "tty", "fuse", "net", "net/tun", "pts", "shm", ".nest", ".empty", "bin", "ctl", "agent")]
"""
WATCH = f"""
{PATHS}
import ctypes, struct
libc = ctypes.CDLL(None)
watcher = libc.inotify_init()
open("/tmp/enough", "w").close()
names = {{libc.inotify_add_watch(watcher, path.encode(), 0xfff): path for path in [*paths, "/tmp/enough"]}}
open("/tmp/watching", "w").close()
seen = set()
while "/tmp/enough" not in seen:
    data, at = os.read(watcher, 65536), 0
    while at < len(data):
        watch, mask, _, length = struct.unpack_from("iIII", data, at)
        at += 16 + length
        seen.add(names[watch])
print("watched", len(names), "seen", sorted(seen))
"""
USE = f"""
{PATHS}
for path in paths:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        os.listdir(file) if os.path.isdir(path) else os.read(file, 1)
        os.close(file)
    except OSError:
        pass
"""
LOCK = f"""
{PATHS}
import fcntl, sys
held, inodes = [], set()
for path in paths:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        continue
    found = os.fstat(file)
    if (found.st_dev, found.st_ino) in inodes:
        continue
    inodes.add((found.st_dev, found.st_ino))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(file)
    except OSError:
        print("locked by another", path)
print("locked", len(held), flush=True)
sys.stdin.read(1)
"""


@pytest.fixture
def execute(toolbox):
    def execute(sandbox, command):
        response = toolbox(sandbox).post("/process/execute", json={"command": command})
        assert response.status_code == 200, response.text
        return response.json()["result"]

    return execute


def test_the_kernel_shows_no_disks(shared, execute):
    shown = execute(shared, f"find {BLOCK_DEVICES} -mindepth 1 2>/dev/null; cat /proc/diskstats /proc/partitions /proc/cmdline")
    assert shown == ""


def test_loop_devices_have_no_file_names(shared, execute):
    """Not in a /sys either that root inside mounts itself, which is whole in the profile *system*."""
    shown = execute(shared, """sudo sh -c '
        mkdir -p /tmp/sys && mount -t sysfs sysfs /tmp/sys && cat /tmp/sys/block/loop*/loop/backing_file; umount /tmp/sys'""")
    assert "/\n" in shown
    assert os.environ["SEBRING_DATA_DIR"] not in shown


def test_nobody_watches_what_others_use(shared, raw_sandbox, toolbox, execute):
    other, box = raw_sandbox(), toolbox(shared)
    with ThreadPoolExecutor() as pool:
        watching = pool.submit(execute, shared, f"python3 - <<'END'\n{WATCH}\nEND")
        while box.get("/files/info?path=/tmp/watching").status_code != 200:
            assert not watching.done(), watching.result()
        execute(other, f"python3 - <<'END'\n{USE}\nEND")
        box.get("/files/download?path=/tmp/enough")
        shown = watching.result()
    assert "seen ['/tmp/enough']" in shown, shown


def test_nobody_locks_what_others_use(shared, raw_sandbox, toolbox, execute):
    session = toolbox(shared)
    session.post("/process/session", json={"sessionId": "lock"})
    held = f"python3 -u - <<'END' & \n{LOCK}\nimport time; time.sleep(60)\nEND\nsleep 1"
    session.post("/process/session/lock/exec", json={"command": held})
    shown = execute(raw_sandbox(), f"python3 - <<'END'\n{LOCK}\nEND")
    assert "locked by another" not in shown and "locked 0" not in shown, shown
