"""Makes the place for a restored sandbox, then becomes CRIU. A program, for it works in namespaces of its own:

    place.py ORDER.json

The order has `serverPid`, `cgroups`, `base` (of the new user ids), `layers`, `disk`, `devices` (what is to be in `/dev`),
`shown` (name: source and options of the other mounts from outside; the source `tmpfs` is a new one) and `command`.
Everything is attached below /mnt, of which this namespace has one of its own: the sandbox's root, nobody to the host, must
be able to reach it. It is seen by nobody else, and goes with the sandbox.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442  # alike on all architectures
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_NODEV, MS_REC, MS_PRIVATE = 4, 0x4000, 0x40000
OPEN_TREE_CLONE, MOVE_MOUNT_F_EMPTY_PATH, MOUNT_ATTR_IDMAP = 1, 4, 0x100000
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 4

PLACE = Path("/mnt")

libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    result = getattr(libc, function)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{function}{arguments}: {os.strerror(ctypes.get_errno())}")
    return result


def user_namespace(base):
    """A descriptor of a namespace with that range of ids."""
    told, tell = os.pipe()
    if (pid := os.fork()) == 0:
        call("unshare", CLONE_NEWUSER)
        os.write(tell, b"x")
        signal.pause()
    os.read(told, 1)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 {base} 65536")
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return namespace


def show_mapped(source, target, namespace):
    """Mounts `source` at `target`, id 0 shown as the first of the namespace."""
    target.mkdir()
    tree = call("syscall", OPEN_TREE, AT_FDCWD, os.fsencode(source), OPEN_TREE_CLONE)
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_IDMAP, 0, 0, namespace)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    call("syscall", MOUNT_SETATTR, tree, b"", AT_EMPTY_PATH, attributes, size)
    call("syscall", MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    return target


def show(source, target, options):
    if source == "tmpfs":
        target.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", target], check=True)
        return
    target.mkdir() if Path(source).is_dir() else target.touch()
    subprocess.run(["mount", "--bind", source, target], check=True)
    subprocess.run(["mount", "-o", f"remount,bind,{options}", target], check=True)


def show_root(order):
    namespace = user_namespace(order["base"])
    disk = PLACE / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-o", "loop", order["disk"], disk], check=True)
    lower = [show_mapped(layer, PLACE / f"layer{n}", namespace) for n, layer in enumerate(order["layers"])]
    upper = show_mapped(disk, PLACE / "upper", namespace)
    (PLACE / "root").mkdir()
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper}/u,workdir={upper}/w"
    # Overlayfs acts as whoever mounts it, and the host's root has no id in the mapped layer.
    call("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    libc.setfsuid(order["base"])
    libc.setfsgid(order["base"])
    call("mount", b"sebring", os.fsencode(PLACE / "root"), b"overlay", MS_NODEV, options.encode())
    libc.setfsuid(0)
    libc.setfsgid(0)
    call("prctl", PR_SET_SECUREBITS, 0, 0, 0, 0)


def show_devices(source, target):
    """As a file system of this sandbox alone."""
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "sebring-dev", target], check=True)
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro,nosuid,noexec", target], check=True)


def main():
    order = json.loads(Path(sys.argv[1]).read_text())
    for directory in order["cgroups"]:
        Path(directory, "cgroup.procs").write_text(str(os.getpid()))
    with open(f"/proc/{order['serverPid']}/ns/mnt") as namespace:
        call("setns", namespace.fileno(), CLONE_NEWNS)
    call("unshare", CLONE_NEWNS)
    call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    call("mount", b"sebring", os.fsencode(PLACE), b"tmpfs", 0, b"mode=755")
    show_root(order)
    for name, (source, options) in order["shown"].items():
        show(source, PLACE / name, options)
    show_devices(order["devices"], PLACE / "devices")
    # When the place was ready, for whoever measures.
    print(time.monotonic(), flush=True)
    os.execv(order["command"][0], order["command"])


if __name__ == "__main__":
    main()
