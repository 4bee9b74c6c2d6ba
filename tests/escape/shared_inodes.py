"""Uses files that two sandboxes may share as a channel between them. Standard library only, for it runs inside.

    shared_inodes.py watch    prints what others opened, once /tmp/enough is there
    shared_inodes.py hold     opens and locks all that it may, and keeps that
    shared_inodes.py look     prints what somebody else has locked
"""

import ctypes
import errno
import fcntl
import glob
import json
import os
import struct
import sys
import time

PATTERNS = (
    "/dev", "/dev/*", "/dev/*/*", "/sys/fs/cgroup", "/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/.sbx", "/.sbx/*", "/.sbx/*/*",
    "/", "/etc/passwd", "/usr/bin/env", "/usr/lib/os-release", "/etc/ssl/certs/ca-certificates.crt", "/sys/kernel", "/sys/block",
    "/proc/cpuinfo", "/proc/sys/kernel/hostname", "/sys/class/net", "/sys/kernel/mm/transparent_hugepage/enabled",
)  # fmt: skip
OPEN = 0x20


def paths():
    found = {path for pattern in PATTERNS for path in glob.glob(pattern)}
    # Of these, who opens them gets something new, or something of its own.
    return sorted(path for path in found if not path.startswith(("/dev/pt", "/dev/tty", "/dev/fd", "/dev/std")))


def opened():
    """Each file once, by one of its names."""
    known = set()
    for path in paths():
        for flags in (os.O_RDWR, os.O_RDONLY):
            try:
                descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
            except OSError:
                continue
            file = os.fstat(descriptor)
            if (file.st_dev, file.st_ino) not in known:
                known.add((file.st_dev, file.st_ino))
                yield path, descriptor
            break


def watch():
    libc = ctypes.CDLL(None)
    queue = libc.inotify_init1(os.O_NONBLOCK)
    names = {libc.inotify_add_watch(queue, path.encode(), OPEN): path for path in paths()}
    print("ready", flush=True)
    while not os.path.exists("/tmp/enough"):
        time.sleep(0.05)
    seen = set()
    try:
        while data := os.read(queue, 1 << 16):
            while data:
                number, _, _, length = struct.unpack_from("iIII", data)
                data = data[16 + length :]
                seen.add(names.get(number, "?"))
    except BlockingIOError:
        print("SEEN", json.dumps(sorted(seen)), flush=True)


def locked(descriptor):
    """Locks it as a whole; answers whether somebody else has it."""
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Of others there is no need to know: lockf, for one, must be able to write.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return True
    return False


if sys.argv[1] == "watch":
    watch()
elif sys.argv[1] == "hold":
    kept = [(path, locked(descriptor)) for path, descriptor in opened()]
    print("ready", len(kept), flush=True)
    time.sleep(60)
else:
    print("SEEN", json.dumps([path for path, descriptor in opened() if locked(descriptor)]))
