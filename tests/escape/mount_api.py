"""Tries, inside, every call of the mount API on every mount, attribute by attribute; prints as JSON what succeeded.

    mount_api.py WHERE TRIED LOCKED    WHERE: here, or nested: from a user and mount namespace of its own
                                       TRIED, LOCKED: patterns of places, those to try, and those that must stay

A call counts when it took something away: a mount that is no longer there, or an attribute that a mount had. It is made in a
copy of the mount namespace, and a file system, which others may share, is only told to be what it is. Standard library only,
for it runs inside.
"""

import ctypes
import json
import os
import re
import struct
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
OPEN_TREE, MOVE_MOUNT, FSCONFIG, FSPICK, MOUNT_SETATTR = 428, 429, 431, 433, 442
HERE, EMPTY_PATH, RECURSIVE, CLONE = -100, 0x1000, 0x8000, 1
REMOUNT, BIND, DETACH = 32, 4096, 2
NEWNS, NEWUSER = 0x20000, 0x10000000
PRIVATE = 0x44000


# Where calls put mounts.
ASIDE = tempfile.mkdtemp()


def locked(place):
    return re.fullmatch(sys.argv[3], place)


def mounts():
    """The attributes of each mount that is on top at its place."""
    with open("/proc/self/mountinfo") as file:
        return {line.split()[4]: set(line.split()[5].split(",")) & set(ATTRIBUTES) for line in file}


def number_of(flags):
    return sum(ATTRIBUTES[name] for name in flags)


def set_attributes(dir, path, flags, clear):
    return libc.syscall(MOUNT_SETATTR, dir, path, flags, struct.pack("=QQQQ", 0, clear, 0, 0), 32)


def lost(path, had):
    """The attributes that it had and has no more."""
    now = mounts()
    return sorted(had - now[path]) if path in now else ["gone"]


def unmount(path, had):
    return libc.umount2(path, 0) == 0


def detach(path, had):
    return libc.umount2(path, DETACH) == 0


def move(path, had):
    return libc.syscall(MOVE_MOUNT, HERE, path, HERE, ASIDE.encode(), 0) == 0


def move_as_of_old(path, had):
    return libc.mount(path, ASIDE.encode(), None, 8192, None) == 0


def remount(path, had):
    done = [libc.mount(None, path, None, REMOUNT | BIND | number_of(had - {name}), None) == 0 for name in had]
    return any(done) and lost(path.decode(), had)


def set_each(path, had):
    return [name for name in sorted(had) if set_attributes(HERE, path, 0, ATTRIBUTES[name]) == 0]


def set_all_below(path, had):
    return had and set_attributes(HERE, path, RECURSIVE, number_of(had)) == 0


def clear_in_a_copy(path, had):
    copy = libc.syscall(OPEN_TREE, HERE, path, CLONE)
    return copy >= 0 and [name for name in sorted(had) if set_attributes(copy, b"", EMPTY_PATH, ATTRIBUTES[name]) == 0]


def clear_in_a_bind_mount(path, had):
    if libc.mount(path, ASIDE.encode(), None, BIND, None) != 0:
        return False
    return [name for name in sorted(had) if set_attributes(HERE, ASIDE.encode(), 0, ATTRIBUTES[name]) == 0]


def look_below(path, had):
    """A copy without the mounts on it shows what they hide, where they do not go with it."""
    with open("/proc/self/mountinfo") as file:
        lines = [line.split() for line in file]
    (number,) = [line[0] for line in lines if line[4] == path.decode()][-1:]
    below = [line[4] for line in lines if line[1] == number and locked(line[4])]
    return below and libc.syscall(OPEN_TREE, HERE, path, CLONE) >= 0 and below


def unmount_in_a_copy(path, had):
    """One of the mounts below it, in a copy of them all."""
    if libc.mount(path, ASIDE.encode(), None, BIND | 16384, None) != 0:
        return False
    below = [place for place in mounts() if place.startswith(f"{ASIDE}/")]
    return [place for place in below if libc.umount2(place.encode(), DETACH) == 0 and locked(place[len(ASIDE) :])]


def reconfigure(path, had):
    """The file system, not the mount."""
    with open("/proc/self/mountinfo") as file:
        (options,) = [line.split()[-1] for line in file if line.split()[4] == path.decode()][-1:]
    picked = libc.syscall(FSPICK, HERE, path, 0)
    same = options.split(",")[0].encode()
    return picked >= 0 and all(libc.syscall(FSCONFIG, picked, *step, None, 0) == 0 for step in ((0, same), (7, None)))


def become_the_root(path, had):
    os.chdir(path)
    return libc.pivot_root(b".", b".") == 0 and libc.umount2(b".", DETACH) == 0


CALLS = (
    unmount, detach, move, move_as_of_old, remount, set_each, set_all_below, clear_in_a_copy, clear_in_a_bind_mount,
    look_below, unmount_in_a_copy, reconfigure, become_the_root,
)  # fmt: skip


def tried(call, path, had):
    """What the call says, in a mount namespace that is a copy. Where there can be none, it must fail."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        libc.unshare(NEWNS)
        libc.mount(None, b"/", None, PRIVATE, None)
        try:
            answer = call(path.encode(), had)
        except OSError:
            answer = False
        os.write(writer, json.dumps(answer if isinstance(answer, (bool, list)) else bool(answer)).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return json.loads(file.read() or '"ended"')


def enter_namespaces():
    ids = os.getuid(), os.getgid()
    if libc.unshare(NEWUSER | NEWNS) != 0:
        return False
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {ids[0]} 1"), ("gid_map", f"0 {ids[1]} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    return True


if __name__ == "__main__":
    if sys.argv[1] == "here" or enter_namespaces():
        for place, attributes in sorted(mounts().items()):
            if not re.fullmatch(sys.argv[2], place):
                continue
            for attempt in CALLS:
                if answer := tried(attempt, place, attributes):
                    print(json.dumps([place, attempt.__name__, answer]))
    os.rmdir(ASIDE)
    print("TRIED")
